package metering

import (
	"sync"
	"time"
)

// backlog does for Pending what a log does: it knows how old the oldest receipt is that has not reached the ledger.
type backlog struct {
	mu    sync.Mutex // guards hours
	hours map[int64]int64
}

// Add is called for each receipt before it is in the log; and at a start for each whose run is not done.
func (b *backlog) Add(receipts ...Receipt) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.hours == nil {
		b.hours = map[int64]int64{}
	}
	for _, r := range receipts {
		b.hours[hourOf(r.ReceivedAt)]++
	}
}

// Remove is called for each receipt after its Apply.
func (b *backlog) Remove(receipts ...Receipt) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, r := range receipts {
		h := hourOf(r.ReceivedAt)
		if b.hours[h]--; b.hours[h] == 0 {
			delete(b.hours, h)
		}
	}
}

// Oldest is LedgerOptions.Pending.
func (b *backlog) Oldest() (oldest time.Time, ok bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for h := range b.hours {
		if t := time.Unix(h, 0).UTC(); !ok || t.Before(oldest) {
			oldest, ok = t, true
		}
	}
	return oldest, ok
}
