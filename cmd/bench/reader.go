package main

import (
	"context"
	"slices"
	"time"
)

// reader is a tenant that only asks, always the same, about the few rows that it has. What changes is what else the engine
// and the processors are busy with.
type reader struct {
	srv *server
	key string
}

const (
	readerQuery = `logs | where severity >= "error" | summarize count() by service`
	readerEvery = 200 * time.Millisecond
)

func newReader(ctx context.Context, srv *server) (*reader, error) {
	key, err := srv.tenant(ctx, "reader")
	if err != nil {
		return nil, err
	}
	c, err := newClient(ctx, srv.otlp, key, signals[0], 1000)
	if err != nil {
		return nil, err
	}
	defer c.close()
	for n, body := range c.bodies {
		if _, err := c.send(c.conns[0], body, int64(n)); err != nil {
			return nil, err
		}
	}
	return &reader{srv, key}, srv.stored(ctx, 0)
}

// watch asks until ctx ends and returns how long the answers took, sorted.
func (r *reader) watch(ctx context.Context) (took []time.Duration, err error) {
	tick := time.NewTicker(readerEvery)
	defer tick.Stop()
	for ctx.Err() == nil {
		begin := time.Now()
		if _, err := r.srv.query(context.WithoutCancel(ctx), r.key, readerQuery); err != nil {
			return nil, err
		}
		took = append(took, time.Since(begin))
		select {
		case <-tick.C:
		case <-ctx.Done():
		}
	}
	slices.Sort(took)
	return took, nil
}
