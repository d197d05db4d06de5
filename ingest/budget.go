package ingest

import (
	"sync"

	"github.com/headgate-io/headgate/internal/tenant"
)

// budget bounds the bytes of all requests that are being received, decoded or stored, and what one tenant may hold of
// them, so that neither many requests nor one tenant's take all memory. It counts bodies; decoded rows stand beside it, so
// that memory is a small multiple. It is safe for concurrent use.
type budget struct {
	limit int64
	share int64 // of one tenant

	mu      sync.Mutex // guards the fields below
	used    int64
	tenants map[tenant.ID]int64 // no entry is 0: as many as hold something
}

func newBudget(limit int64) *budget {
	return &budget{limit: limit, share: limit / 2, tenants: map[tenant.ID]int64{}}
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
}

func (b *budget) hold(t tenant.ID) *hold { return &hold{budget: b, tenant: t} }

// grow takes n bytes more, or nothing and reports false.
func (h *hold) grow(n int64) bool {
	b := h.budget
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.used+n > b.limit || b.tenants[h.tenant]+n > b.share {
		return false
	}
	b.used += n
	b.tenants[h.tenant] += n
	h.bytes += n
	return true
}

// release gives everything back. It may be called more than once.
func (h *hold) release() {
	b := h.budget
	b.mu.Lock()
	defer b.mu.Unlock()
	b.used -= h.bytes
	if b.tenants[h.tenant] -= h.bytes; b.tenants[h.tenant] == 0 {
		delete(b.tenants, h.tenant)
	}
	h.bytes = 0
}
