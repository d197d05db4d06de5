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

// seal moves the seal as far as may be: as far as this process and all replicas agree.
func (l *Ledger) seal(ctx context.Context) error {
	now, own := l.sealable()
	if own == l.sealed {
		return nil
	}
	var p sealPlan
	look := func(tx *store.Tx) (err error) {
		p, err = l.planSeal(ctx, tx, now, own)
		return err
	}
	err := l.db.View(ctx, look)
	if err == nil && p.next != p.stored {
		err = l.db.Update(ctx, func(tx *store.Tx) error {
			if err := look(tx); err != nil || p.next == p.stored {
				return err
			}
			return moveSeal(ctx, tx, p.next, now)
		})
	}
	if err != nil {
		return fmt.Errorf("seal usage: %w", err)
	}
	if p.next < p.stored {
		l.log.Error("usage was sealed far ahead of this clock; the seal was set back",
			"sealed_through", time.Unix(p.stored, 0).UTC(), "now", now)
	}
	l.tellHolder(p.holder, own-p.next)
	l.sealed = p.next
	return nil
}

// sealPlan is where the seal is and should be, and the log of the replica that holds it back, "" if none does.
type sealPlan struct {
	stored, next int64
	holder       string
}

func (l *Ledger) planSeal(ctx context.Context, tx *store.Tx, now time.Time, own int64) (p sealPlan, err error) {
	through, holder, err := replicasAgree(ctx, tx, l.replica.Log, own)
	if err != nil {
		return p, err
	}
	stored, err := storedSeal(ctx, tx)
	return sealPlan{stored, max(trusted(stored, now), through), holder}, err
}

// moveSeal stores the seal and its place in history. No reader has been told of a moment at or after which it is dated: what
// was read as of a moment stays.
func moveSeal(ctx context.Context, tx *store.Tx, through int64, now time.Time) error {
	_, err := tx.ExecContext(ctx, `INSERT INTO usage_seal (id, through) VALUES (1, ?)
		ON CONFLICT (id) DO UPDATE SET through = excluded.through`, through)
	if err != nil {
		return err
	}
	var readAt, last int64
	err = tx.QueryRowContext(ctx, `SELECT read_at, COALESCE((SELECT MAX(sealed_at) FROM usage_seals), 0) FROM usage_state`).
		Scan(&readAt, &last)
	if err != nil {
		return err
	}
	at := now.UnixMilli()
	for _, before := range []int64{readAt, last} {
		if before <= now.Add(maxSealAhead).UnixMilli() { // else a clock was wrong
			at = max(at, before+1)
		}
	}
	_, err = tx.ExecContext(ctx, `INSERT INTO usage_seals (sealed_at, through) VALUES (?, ?)
		ON CONFLICT (sealed_at) DO UPDATE SET through = excluded.through`, at, through)
	if err != nil {
		return err
	}
	_, err = tx.ExecContext(ctx, `INSERT INTO usage_names (tenant_id, since, name)
		SELECT t.id, CAST(? AS BIGINT), t.name FROM tenants t WHERE t.name <> COALESCE(
			(SELECT n.name FROM usage_names n WHERE n.tenant_id = t.id ORDER BY n.since DESC LIMIT 1), '')
		ON CONFLICT (tenant_id, since) DO UPDATE SET name = excluded.name`, at)
	return err
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

// split parts rows of open hours from those that came after their hour was sealed.
func split(rows map[row]sums, open int64) (timely, late map[row]sums) {
	timely, late = make(map[row]sums, len(rows)), map[row]sums{}
	for k, s := range rows {
		if k.hour < open {
			late[k] = s
		} else {
			timely[k] = s
		}
	}
	return timely, late
}
