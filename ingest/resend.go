package ingest

import (
	"sync"
	"time"

	"github.com/headgate-io/headgate/internal/tenant"
)

// acks knows which tenants had a request acked of late. Only those may be sending one again whose ack was lost, and only
// for those is a body read at a spent limit: refusing the others stays nearly free. It is safe for concurrent use.
type acks struct {
	keep  time.Duration // at least as long as requests are known again; 0 is not at all
	start time.Time     // requests that an earlier process acked may be known, and nobody knows whose

	mu    sync.Mutex // guards the fields below
	last  map[tenant.ID]time.Time
	swept time.Time
}

func newAcks(window time.Duration, now time.Time) *acks {
	return &acks{keep: 2 * window, start: now, last: map[tenant.ID]time.Time{}, swept: now}
}

// note remembers that a request of t was acked.
func (a *acks) note(t tenant.ID, now time.Time) {
	if a.keep == 0 {
		return
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	a.last[t] = now
	if now.Sub(a.swept) < a.keep {
		return
	}
	a.swept = now
	for t, at := range a.last {
		if now.Sub(at) >= a.keep {
			delete(a.last, t)
		}
	}
}

// may tells whether a request of t that was acked may be known.
func (a *acks) may(t tenant.ID, now time.Time) bool {
	if now.Sub(a.start) < a.keep {
		return true
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	at, ok := a.last[t]
	return ok && now.Sub(at) < a.keep
}
