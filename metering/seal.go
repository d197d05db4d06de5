package metering

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"

	"github.com/headgate-io/headgate/internal/store"
)

const (
	// sealGrace is the time that a request may take from its receive time until Pending knows its receipt.
	sealGrace = 5 * time.Minute
	// maxSealAhead is how far the seal may be ahead of the clock before it is taken for the work of a clock that was wrong.
	maxSealAhead = 24 * time.Hour
)

// The seal is a row of the database. Readers read it with the usage, writers with what they change, each in one
// transaction; so whoever was told that an hour is final never sees it change, whatever clocks, restarts and restored logs
// do. Pending and the grace have another task: that receipts find their hour open.

// sealable returns what may be sealed now: the hours that ended five minutes ago, up to that of the oldest receipt that
// waits for Apply. Let r be any receipt. If Pending knows it, its hour stays open. If Pending knows it no more, it is in
// the ledger. If Pending does not know it yet, it will within the grace of its receive time, hence that was at most the
// grace before the clock was read, and its hour stays open too. So the clock must be read first: read after Pending, a
// pause between the two would count against the grace.
func (l *Ledger) sealable() (now time.Time, through int64) {
	now = l.now()
	through = hourOf(now.Add(-sealGrace))
	if l.pendingReceipts != nil {
		if oldest, ok := l.pendingReceipts(); ok {
			through = min(through, hourOf(oldest))
		}
	}
	return now, through
}

// seal moves the seal as far as may be.
func (l *Ledger) seal(ctx context.Context) error {
	now, through := l.sealable()
	if through == l.sealed {
		return nil
	}
	var stored, next int64
	err := l.db.Update(ctx, func(tx *store.Tx) error {
		var err error
		if stored, err = storedSeal(ctx, tx); err != nil {
			return err
		}
		if next = max(trusted(stored, now), through); next == stored {
			return nil
		}
		_, err = tx.ExecContext(ctx, `INSERT INTO usage_seal (id, through) VALUES (1, ?)
			ON CONFLICT (id) DO UPDATE SET through = excluded.through`, next)
		return err
	})
	if err != nil {
		return fmt.Errorf("seal usage: %w", err)
	}
	if next < stored {
		l.log.Error("usage was sealed by a clock far ahead of this one; the seal is taken back",
			"sealed_through", time.Unix(stored, 0).UTC(), "now_through", time.Unix(next, 0).UTC())
	}
	l.sealed = through
	return nil
}

func storedSeal(ctx context.Context, tx *store.Tx) (through int64, err error) {
	err = tx.QueryRowContext(ctx, `SELECT through FROM usage_seal WHERE id = 1`).Scan(&through)
	if errors.Is(err, sql.ErrNoRows) {
		return 0, nil
	}
	return through, err
}

// sealedThrough returns the first hour that is open: the one that is told to readers, and that late receipts go to.
func sealedThrough(ctx context.Context, tx *store.Tx, now time.Time) (int64, error) {
	stored, err := storedSeal(ctx, tx)
	return trusted(stored, now), err
}

// trusted returns the stored seal, or none if it is so far ahead of the clock that one of them must be wrong. Believing it
// would move all usage to an hour years from now. Small steps of the clock are no reason to open what was sealed.
func trusted(stored int64, now time.Time) int64 {
	if stored > now.Add(maxSealAhead).Unix() {
		return 0
	}
	return stored
}

// place moves rows of sealed hours to the first open one, and returns how many accepted requests that concerned.
func place(rows map[row]sums, open int64) (placed map[row]sums, late int64) {
	placed = make(map[row]sums, len(rows))
	for k, s := range rows {
		if k.hour < open {
			k.hour = open
			late += s.requests
		}
		add(placed, k, s)
	}
	return placed, late
}
