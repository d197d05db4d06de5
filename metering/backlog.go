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

// Add is called for each receipt before it is appended to the log, and for those found there at a start, before
// Ledger.Run.
func (b *Backlog) Add(receipts ...Receipt) { b.count(1, receipts) }

// Remove is called once for what was added: after Apply has returned nil for it, or after it could not be appended.
func (b *Backlog) Remove(receipts ...Receipt) { b.count(-1, receipts) }

func (b *Backlog) count(n int64, receipts []Receipt) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.hours == nil {
		b.hours = map[int64]int64{}
	}
	for _, r := range receipts {
		h := hourOf(r.ReceivedAt)
		b.hours[h] += n
		switch {
		case b.hours[h] == 0:
			delete(b.hours, h)
		case b.hours[h] < 0:
			panic("BUG: receipt removed from the backlog without being in it")
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
