package metering

import (
	"context"
	"fmt"

	"github.com/headgate-io/headgate/internal/store"
)

// maxCounts bounds the rows of refusals that wait while the database is away.
const maxCounts = 1 << 16

// CountRefused adds a request that was not accepted. It never waits.
func (l *Ledger) CountRefused(r Refusal) {
	if r.Tenant.IsZero() || !r.Signal.valid() || r.Bytes < 0 || r.Records < 0 {
		l.m.droppedCounts.Inc()
		return
	}
	k, s := r.row()
	l.mu.Lock()
	defer l.mu.Unlock()
	l.addCountLocked(k, s)
}

func (l *Ledger) addCountLocked(k row, s sums) {
	have, ok := l.counts[k]
	if !ok && len(l.counts) >= maxCounts {
		l.m.droppedCounts.Add(float64(s.refusedRequests))
		return
	}
	have.add(s)
	l.counts[k] = have
}

func (l *Ledger) takeCounts() map[row]sums {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.counts) == 0 {
		return nil
	}
	c := l.counts
	l.counts = map[row]sums{}
	return c
}

func (l *Ledger) returnCounts(c map[row]sums) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for k, s := range c {
		l.addCountLocked(k, s)
	}
}

// writeCounts adds what waits to the ledger. What is late counts in the first open hour: it is not billed.
func (l *Ledger) writeCounts(ctx context.Context) error {
	counts := l.takeCounts()
	if len(counts) == 0 {
		return nil
	}
	err := l.update(ctx, func(tx *store.Tx, open int64) error {
		rows, _ := place(counts, open)
		return addRows(ctx, tx, rows)
	})
	if err != nil {
		l.returnCounts(counts)
		return fmt.Errorf("write counts of refusals: %w", err)
	}
	return nil
}
