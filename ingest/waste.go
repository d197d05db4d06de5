package ingest

import (
	"sync"
	"time"
)

// waste knows of each key how much work was done for nothing: for requests that were refused, had been stored before, or had
// no record that could be accepted. A key that has wasted more than its
// share is refused before its bodies are read, and after about a second only: clients that heed no Retry-After wait there, which
// costs nothing. It is safe for concurrent use, and remembers as many keys as have something to wait for.
//
// Work is estimated from sizes, so that a request costs its key the same on any machine, however busy.
type waste struct {
	now func() time.Time

	mu   sync.Mutex // guards keys
	keys map[string]debt
}

// debt is the processor time that a key owed at a moment. It falls by itself.
type debt struct {
	owed time.Duration
	at   time.Time
}

const (
	wasteFree    = 500 * time.Millisecond // that a key may owe
	wasteSuspect = 20 * time.Millisecond  // what a key owes whose requests are handled apart from others'
	wasteShare   = 20                     // it may waste a twentieth of one processor
	wasteDelay   = time.Second            // of the refusals beyond, on average

	costOfRequest    = 200 * time.Microsecond
	costOfByte       = 1 * time.Nanosecond  // received
	costOfInflated   = 4 * time.Nanosecond  // a byte that came out of a codec
	costOfTranslated = 28 * time.Nanosecond // of JSON, where objects are dense
)

func newWaste(now func() time.Time) *waste {
	return &waste{now: now, keys: map[string]debt{}}
}

// left is what of d is owed now.
func (d debt) left(now time.Time) time.Duration {
	return max(0, d.owed-now.Sub(d.at)/wasteShare)
}

// add charges a key.
func (w *waste) add(key string, cost time.Duration) {
	now := w.now()
	w.mu.Lock()
	defer w.mu.Unlock()
	owed := w.keys[key].left(now) + cost
	// No request and no crowd of them shuts a key out for long.
	w.keys[key] = debt{min(owed, 2*wasteFree), now}
}

// spent reports whether a key has wasted its share.
func (w *waste) spent(key string) bool { return w.owes(key) > wasteFree }

// suspect reports whether a key has wasted so much of late that more is to be expected.
func (w *waste) suspect(key string) bool { return w.owes(key) > wasteSuspect }

// owes is what a key has wasted that is not forgiven yet.
func (w *waste) owes(key string) time.Duration {
	now := w.now()
	w.mu.Lock()
	defer w.mu.Unlock()
	d, ok := w.keys[key]
	if !ok {
		return 0
	}
	left := d.left(now)
	if left == 0 {
		delete(w.keys, key)
	}
	return left
}
