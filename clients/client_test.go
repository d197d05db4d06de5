package clients

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"
)

// The signals; batch i of a plan carries signals[i % len(signals)].
const (
	logs    = "logs"
	traces  = "traces"
	metrics = "metrics"
)

// A plan is what every client sends in a scenario: batches of records, each record named by its batch and its place
// there in the attribute "seq", so that every single one can be found again.
type plan struct {
	signals []string
	batches int
	records int           // of a batch
	largest int           // records that clients which put batches together may send at once; 0: as many as they are set to
	bad     int           // of a batch, the last ones, which headgate has to reject: no span id, no time
	pad     int           // bytes of an attribute beside
	workers int           // requests under way at once
	pace    time.Duration // between the batches of a client
	finish  time.Duration // how long clients may go on after the last batch was handed to them
}

func (p plan) signal(batch int) string { return p.signals[batch%len(p.signals)] }

func (p plan) good() int { return p.records - p.bad }

func seq(batch, record int) string { return fmt.Sprintf("%d.%d", batch, record) }

// target is where a client sends, and as whom.
type target struct {
	grpc, http, key string
	ca              string // PEM file of the authority of the server's certificate; empty: plaintext
	queue           string // directory of a queue on disk
}

// url is the target's address with the scheme that says whether there is TLS.
func (to target) url(addr string) string {
	if to.ca != "" {
		return "https://" + addr
	}
	return "http://" + addr
}

// A client drives one kind of exporter through a plan and keeps the tally. It returns when the exporter is done with
// everything, or gives what it still holds back as held when ctx ends.
type client struct {
	name string
	run  func(ctx context.Context, to target, p plan, t *tally) error
}

// A tally is what a client knows of its own telemetry: records, and requests where it says so. It is safe for
// concurrent use.
type tally struct {
	mu       sync.Mutex // guards the fields below
	sent     int        // handed to the exporter
	acked    int        // reported as delivered, rejected ones not among them
	rejected int        // told by partial success
	retried  int        // requests sent again
	dropped  int        // the exporter gave up
	held     int        // neither, when the scenario ended
	batches  []int      // acked with every good record, where the exporter tells
	reasons  map[string]int
}

// count changes the tally under its lock.
func (t *tally) count(f func(t *tally)) {
	t.mu.Lock()
	defer t.mu.Unlock()
	f(t)
}

// because counts a reason that the client gave, without what differs from one request to the next.
func (t *tally) because(text string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.reasons == nil {
		t.reasons = map[string]int{}
	}
	if len(t.reasons) < 20 {
		t.reasons[text[:min(len(text), 300)]]++
	}
}

func (t *tally) progress() (acked, dropped int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.acked, t.dropped
}

// why lists the reasons, the most frequent first.
func (t *tally) why() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	texts := slices.SortedFunc(maps.Keys(t.reasons), func(a, b string) int { return t.reasons[b] - t.reasons[a] })
	var b strings.Builder
	for _, text := range texts[:min(len(texts), 3)] {
		fmt.Fprintf(&b, "\n    %d× %s", t.reasons[text], text)
	}
	return b.String()
}

// feed calls send for each batch of the plan at its pace, with as many at once as the plan says, and waits for all. It
// stops early when ctx ends.
func feed(ctx context.Context, p plan, send func(batch int)) {
	queue := make(chan int)
	var wg sync.WaitGroup
	for range p.workers {
		wg.Go(func() {
			for batch := range queue {
				send(batch)
			}
		})
	}
	tick := time.NewTicker(p.pace)
	defer tick.Stop()
	for batch := range p.batches {
		select {
		case <-ctx.Done():
		case <-tick.C:
		}
		select {
		case <-ctx.Done():
		case queue <- batch:
			continue
		}
		break
	}
	close(queue)
	wg.Wait()
}
