package ingest

import (
	"container/list"
	"context"
	"errors"
	"math/rand/v2"
	"runtime"
	"sync"
	"time"
)

// gates decides how many requests of each key are received, inflated and decoded at a time. A key begins with a few, and
// gets one more for each request of it that was stored: a crowd that comes at once is met by degrees, from its first moment.
// A key that is suspect, because its requests are for nothing, has its share of one processor: see suspectPlaces. It is safe
// for concurrent use, and remembers as many keys as were used within gateMemory.
//
// SECURITY: goroutines have no priorities, and while all processors are at work for one sender the runtime looks for what came
// on other connections every 10 ms only. A request takes several such looks: its neighbour's would take 30 ms instead of one.
type gates struct {
	now     func() time.Time
	suspect func(key string) bool

	mu    sync.Mutex // guards the fields below
	keys  map[string]*gate
	swept time.Time
}

// gate is that of one key.
type gate struct {
	places  int       // for a key that is not suspect
	inside  int       // requests, and places of suspect ones that stay taken for a while
	waiting list.List // of chan struct{}, closed when a request is let in
	used    time.Time
}

const (
	// newcomerPatience is how long, on average, a request of a key that is not suspect waits for a place: then it goes in without. Senders
	// that are slow to send hold places too, and honest ones are only to be spread.
	newcomerPatience = 250 * time.Millisecond
	// suspectPatience is how long, on average, one of a suspect key waits before it is told to come again.
	suspectPatience = time.Second
	// minRest and maxRest bound for how long the place of a suspect key stays taken after its request.
	minRest = 2 * time.Millisecond
	maxRest = 50 * time.Millisecond
	// gateMemory is how long a key keeps the places that it has earned.
	gateMemory = time.Minute
)

// newcomerPlaces are as many as keep the processors busy while as many more are on their way.
func newcomerPlaces() int { return 4 * runtime.GOMAXPROCS(0) }

// suspectPlaces is one, or a quarter of the processors.
func suspectPlaces() int { return max(1, runtime.GOMAXPROCS(0)/4) }

func newGates(now func() time.Time, suspect func(string) bool) *gates {
	return &gates{now: now, suspect: suspect, keys: map[string]*gate{}, swept: now()}
}

// pass waits for a place of key. Each request that passes must leave.
func (gs *gates) pass(ctx context.Context, key string) error {
	gs.mu.Lock()
	g := gs.keyLocked(key)
	if g.waiting.Len() == 0 && g.inside < gs.roomLocked(key, g) {
		g.inside++
		gs.mu.Unlock()
		return nil
	}
	let := make(chan struct{})
	at := g.waiting.PushBack(let)
	gs.mu.Unlock()

	// Not all of a crowd in the same moment.
	err := await(ctx, let, newcomerPatience/2+rand.N(newcomerPatience))
	suspect := errors.Is(err, errWasted) && gs.suspect(key)
	if suspect {
		err = await(ctx, let, suspectPatience/2+rand.N(suspectPatience)-newcomerPatience)
	}
	if err == nil {
		return nil
	}
	gs.mu.Lock()
	defer gs.mu.Unlock()
	select {
	case <-let: // in the same moment
		return nil
	default:
	}
	g.waiting.Remove(at)
	if errors.Is(err, errWasted) && !suspect {
		g.inside++
		return nil
	}
	return err
}

// await waits for a place at most so long: then it returns errWasted, and errClientGone when ctx ends.
func await(ctx context.Context, let <-chan struct{}, most time.Duration) error {
	timer := time.NewTimer(most)
	defer timer.Stop()
	select {
	case <-let:
		return nil
	case <-ctx.Done():
		return errClientGone
	case <-timer.C:
		return errWasted
	}
}

// leave ends what pass began, took ago. The place of a suspect key stays taken for as long again: what goes on for its
// request outside of it takes time too, and small requests without end would keep all processors busy by their number.
func (gs *gates) leave(key string, took time.Duration) {
	if gs.suspect(key) {
		time.AfterFunc(min(max(took, minRest), maxRest), func() { gs.free(key) })
		return
	}
	gs.free(key)
}

// free gives a place to those that wait.
func (gs *gates) free(key string) {
	gs.mu.Lock()
	defer gs.mu.Unlock()
	g := gs.keys[key]
	g.inside--
	for g.waiting.Len() > 0 && g.inside < gs.roomLocked(key, g) {
		g.inside++
		close(g.waiting.Remove(g.waiting.Front()).(chan struct{}))
	}
}

// earn gives a key one more place, up to limit, for a request that was stored.
func (gs *gates) earn(key string, limit int) {
	gs.mu.Lock()
	defer gs.mu.Unlock()
	if g := gs.keyLocked(key); g.places < limit {
		g.places++
	}
}

// roomLocked is how many requests of a key may be inside now.
func (gs *gates) roomLocked(key string, g *gate) int {
	if gs.suspect(key) {
		return suspectPlaces()
	}
	return g.places
}

// keyLocked returns the gate of a key, and forgets those that were not used for long.
func (gs *gates) keyLocked(key string) *gate {
	now := gs.now()
	if now.Sub(gs.swept) > gateMemory {
		gs.swept = now
		for k, g := range gs.keys {
			if g.inside == 0 && g.waiting.Len() == 0 && now.Sub(g.used) > gateMemory {
				delete(gs.keys, k)
			}
		}
	}
	g := gs.keys[key]
	if g == nil {
		g = &gate{places: newcomerPlaces()}
		gs.keys[key] = g
	}
	g.used = now
	return g
}
