package metering

import (
	"context"
	"fmt"
	"time"

	"github.com/headgate-io/headgate/internal/store"
)

const (
	// settleGrace is the time that a request takes at most from its receive time until its log knows it: it waits some seconds for
	// its turn, or is refused, and is decoded. The seal, which cannot be taken back, waits longer.
	settleGrace = 30 * time.Second
	// replicaSeen is how long ago a replica was last seen for others to count on its word. It says something every ten seconds.
	replicaSeen = time.Minute
)

// Settled returns the moment before which everything that was received is in ClickHouse and in the ledger, in full seconds, and the
// logs of replicas that are away: what those hold comes later, whenever it was received.
func (l *Ledger) Settled(ctx context.Context) (before time.Time, away []string, err error) {
	now := l.now()
	before = now.Add(-settleGrace)
	if l.pendingReceipts != nil { // the clock is read first, as in sealable
		if oldest, ok := l.pendingReceipts(); ok && oldest.Before(before) {
			before = oldest
		}
	}
	away = []string{}
	err = l.db.View(ctx, func(tx *store.Tx) error {
		all, err := queryReplicas(ctx, tx)
		for _, r := range all {
			switch {
			case r.Log == l.replica.Log:
			case now.Sub(r.SeenAt) > replicaSeen:
				away = append(away, r.Log)
			default:
				before = earlier(before, r.SeenAt.Add(-settleGrace))
				if !r.OldestPending.IsZero() {
					before = earlier(before, r.OldestPending)
				}
			}
		}
		return err
	})
	if err != nil {
		return time.Time{}, nil, fmt.Errorf("read what replicas wait for: %w", err)
	}
	return before.UTC().Truncate(time.Second), away, nil
}

func earlier(a, b time.Time) time.Time {
	if b.Before(a) {
		return b
	}
	return a
}
