package metering

import (
	"sync"
	"time"
)

// Backlog knows how old the oldest receipt is that has not reached the ledger; its Oldest is LedgerOptions.Pending. It
// holds a number per hour, not the receipts. The zero value is empty. It is safe for concurrent use.
type Backlog struct {
	mu    sync.Mutex // guards hours
	hours map[int64]int64
}

// Add is called for each receipt before it is appended to the log; and at a start, before Ledger.Run, for each in the log
// whose run is not done, whether it is applied or not.
func (b *Backlog) Add(receipts ...Receipt) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.hours == nil {
		b.hours = map[int64]int64{}
	}
	for _, r := range receipts {
		b.hours[hourOf(r.ReceivedAt)]++
	}
}

// Remove is called once for each receipt that was added: after Apply has returned nil for it, or after it could not be
// appended. One that was not added is ignored where that shows: the ledger copes with an hour that is sealed too early.
func (b *Backlog) Remove(receipts ...Receipt) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, r := range receipts {
		h := hourOf(r.ReceivedAt)
		if n := b.hours[h]; n > 1 {
			b.hours[h] = n - 1
		} else {
			delete(b.hours, h)
		}
	}
}

// Oldest returns the hour of the oldest receipt, false if there is none.
func (b *Backlog) Oldest() (oldest time.Time, ok bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for h := range b.hours {
		if t := time.Unix(h, 0).UTC(); !ok || t.Before(oldest) {
			oldest, ok = t, true
		}
	}
	return oldest, ok
}
