package main

import (
	"context"
	"slices"
	"sync"
	"time"
)

// probe is a tenant that sends a small request every 100 ms and asks how much of it can be queried.
type probe struct {
	srv    *server
	key    string
	client *client

	mu    sync.Mutex // guards the fields below
	acked []time.Time
	fresh []time.Duration // from ack to query, of those that were seen, in order
}

const (
	probeRecords = 10
	probeEvery   = 100 * time.Millisecond
)

func newProbe(ctx context.Context, srv *server) (*probe, error) {
	key, err := srv.tenant(ctx, "probe")
	if err != nil {
		return nil, err
	}
	c, err := newClient(ctx, srv.otlp, key, signals[0], probeRecords)
	return &probe{srv: srv, key: key, client: c}, err
}

// watch sends until ctx ends, and then only looks, at most for the patience, until all is seen. It returns the times from
// ack to query, sorted. A tenant's requests become visible in the order of their acks, so it is enough to count.
func (p *probe) watch(ctx context.Context, patience time.Duration) ([]time.Duration, error) {
	looking, cancel := context.WithCancel(context.WithoutCancel(ctx))
	defer cancel()
	context.AfterFunc(ctx, func() { time.AfterFunc(patience, cancel) })
	p.mu.Lock()
	from := len(p.fresh)
	p.mu.Unlock()
	var sending sync.WaitGroup
	var failed error
	sending.Go(func() {
		tick := time.NewTicker(probeEvery)
		defer tick.Stop()
		for ctx.Err() == nil {
			n := p.client.next.Add(1)
			if _, failed = p.client.send(p.client.conns[0], p.client.bodies[n%int64(len(p.client.bodies))], n); failed != nil {
				return
			}
			p.mu.Lock()
			p.acked = append(p.acked, time.Now())
			p.mu.Unlock()
			<-tick.C
		}
	})
	for ctx.Err() == nil || p.behind() {
		if looking.Err() != nil {
			break
		}
		if err := p.look(looking); err != nil && looking.Err() == nil {
			return nil, err
		}
		time.Sleep(probeEvery / 2)
	}
	sending.Wait()
	return slices.Sorted(slices.Values(p.fresh[from:])), failed
}

// behind reports whether something that was acked has not been seen yet.
func (p *probe) behind() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.fresh) < len(p.acked)
}

// look asks how much there is.
func (p *probe) look(ctx context.Context) error {
	n, err := p.srv.logs(ctx, p.key)
	if err != nil {
		return err
	}
	now := time.Now()
	p.mu.Lock()
	defer p.mu.Unlock()
	for i := len(p.fresh); i < min(int(n/probeRecords), len(p.acked)); i++ {
		p.fresh = append(p.fresh, now.Sub(p.acked[i]))
	}
	return nil
}
