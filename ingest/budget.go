package ingest

import (
	"sync"
	"time"

	"github.com/headgate-io/headgate/internal/tenant"
)

// budget bounds the memory of all requests that are being received, decoded or stored, and their number per tenant. It
// counts buffers by their capacity: of bodies as they arrive and as they are inflated, then of the rows as they are stored.
// It is safe for concurrent use.
//
// A tenant may hold as much as is free beside it: half of the limit if it is alone, a third each if there are two that
// want more, and there is room for a newcomer however many they are (Choudhury and Hahne's dynamic thresholds).
type budget struct {
	limit    int64
	share    int64 // of one tenant, whatever is free
	requests int   // of one tenant
	waste    *waste

	mu      sync.Mutex // guards the fields below
	used    int64
	tenants map[tenant.ID]*holding // as many as hold something
}

type holding struct {
	bytes    int64
	requests int
}

func newBudget(limit, share int64, requests int) *budget {
	return &budget{limit: limit, share: share, requests: requests, waste: newWaste(time.Now), tenants: map[tenant.ID]*holding{}}
}

// inUse returns what all requests hold.
func (b *budget) inUse() int64 {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.used
}

// A hold is what one request has of the budget. It is used by one goroutine.
type hold struct {
	budget *budget
	tenant tenant.ID
	bytes  int64
	ended  bool
}

// hold counts a request of t in, or returns nil if t has too many.
func (b *budget) hold(t tenant.ID) *hold {
	b.mu.Lock()
	defer b.mu.Unlock()
	h := b.tenants[t]
	if h == nil {
		h = &holding{}
		b.tenants[t] = h
	}
	if h.requests >= b.requests {
		return nil
	}
	h.requests++
	return &hold{budget: b, tenant: t}
}

// resize makes n what the request holds. It never fails to make it less; if it would take too much more, it changes
// nothing and reports false.
func (h *hold) resize(n int64) bool {
	b, more := h.budget, n-h.bytes
	b.mu.Lock()
	defer b.mu.Unlock()
	of := b.tenants[h.tenant]
	if used, own := b.used+more, of.bytes+more; more > 0 && (own > b.limit-used || own > b.share) {
		return false
	}
	b.used += more
	of.bytes += more
	h.bytes = n
	return true
}

// release gives everything back. It may be called more than once.
func (h *hold) release() {
	if h.ended {
		return
	}
	h.ended = true
	h.resize(0)
	b := h.budget
	b.mu.Lock()
	defer b.mu.Unlock()
	of := b.tenants[h.tenant]
	if of.requests--; of.requests == 0 {
		delete(b.tenants, h.tenant)
	}
}
