package query

import (
	"context"
	"errors"
	"slices"
	"sync"
	"time"
)

// errBusy is returned by gate.enter when there is no place in time.
var errBusy = errors.New("too many queries at once")

// gate gives out places to run a query in: so many in all, so many to one key. Who finds none waits in line, behind at
// most so many of the same key, and is let in in order, past those whose key is full. Safe for concurrent use.
type gate struct {
	max, maxPerKey, maxWaiting int
	wait                       time.Duration

	mu      sync.Mutex
	running int            // guarded by mu
	perKey  map[string]int // guarded by mu; no zero entries
	line    []*waiter      // guarded by mu
}

type waiter struct {
	key string
	in  chan struct{} // closed when a place is given
}

func newGate(limit, perKey, waiting int, wait time.Duration) *gate {
	return &gate{max: limit, maxPerKey: perKey, maxWaiting: waiting, wait: wait, perKey: map[string]int{}}
}

// enter returns the function that gives the place back, to be called once. It fails with errBusy, or when ctx ends.
func (g *gate) enter(ctx context.Context, key string) (release func(), err error) {
	g.mu.Lock()
	if g.free(key) {
		g.take(key)
		g.mu.Unlock()
		return func() { g.leave(key) }, nil
	}
	waiting := 0
	for _, w := range g.line {
		if w.key == key {
			waiting++
		}
	}
	if waiting >= g.maxWaiting {
		g.mu.Unlock()
		return nil, errBusy
	}
	w := &waiter{key: key, in: make(chan struct{})}
	g.line = append(g.line, w)
	g.mu.Unlock()

	timer := time.NewTimer(g.wait)
	defer timer.Stop()
	select {
	case <-w.in:
		return func() { g.leave(key) }, nil
	case <-timer.C:
		err = errBusy
	case <-ctx.Done():
		err = context.Cause(ctx)
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	if i := slices.Index(g.line, w); i >= 0 {
		g.line = slices.Delete(g.line, i, i+1)
		return nil, err
	}
	// The place came in the last moment.
	if ctx.Err() == nil {
		return func() { g.leave(key) }, nil
	}
	g.leaveLocked(key)
	return nil, err
}

func (g *gate) free(key string) bool { return g.running < g.max && g.perKey[key] < g.maxPerKey }

func (g *gate) take(key string) {
	g.running++
	g.perKey[key]++
}

func (g *gate) leave(key string) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.leaveLocked(key)
}

func (g *gate) leaveLocked(key string) {
	g.running--
	if g.perKey[key]--; g.perKey[key] == 0 {
		delete(g.perKey, key)
	}
	for i := 0; i < len(g.line) && g.running < g.max; {
		w := g.line[i]
		if !g.free(w.key) {
			i++
			continue
		}
		g.take(w.key)
		close(w.in)
		g.line = slices.Delete(g.line, i, i+1)
	}
}
