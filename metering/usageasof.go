package metering

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"

	"github.com/headgate-io/headgate/internal/store"
)

// pin makes the state of the ledger at a moment final: afterwards no seal is dated at or before it, on whichever replica and
// by whichever clock. Without it, a seal that is dated now and committed a moment later would change what was read as of now.
func (l *Ledger) pin(ctx context.Context, at time.Time) error {
	now := l.now()
	if at.After(now) {
		return fmt.Errorf("%w: as_of %s is in the future", ErrFilter, at.UTC().Format(time.RFC3339Nano))
	}
	ms, wrong := at.UnixMilli(), now.Add(maxSealAhead).UnixMilli() // beyond it a clock was wrong
	var readAt int64
	err := l.db.View(ctx, func(tx *store.Tx) error {
		return tx.QueryRowContext(ctx, `SELECT read_at FROM usage_state`).Scan(&readAt)
	})
	if err == nil && (readAt < ms || readAt > wrong) {
		err = l.db.Update(ctx, func(tx *store.Tx) error {
			_, err := tx.ExecContext(ctx, `UPDATE usage_state SET read_at = ? WHERE read_at < ? OR read_at > ?`, ms, ms, wrong)
			return err
		})
	}
	if err != nil {
		return fmt.Errorf("read usage as of %s: %w", at.UTC().Format(time.RFC3339Nano), err)
	}
	return nil
}

// seal tells the query what is sealed: now, or as of a moment, and then nothing else is there for it.
func (q *usageQuery) seal(ctx context.Context, tx *store.Tx, asOf, now time.Time) (err error) {
	if asOf.IsZero() {
		q.open, err = sealedThrough(ctx, tx, now)
		return err
	}
	q.open, err = sealedAsOf(ctx, tx, asOf)
	q.to = min(q.to, q.open)
	return err
}

// sealedAsOf returns the first hour that was open at a moment that is pinned.
func sealedAsOf(ctx context.Context, tx *store.Tx, at time.Time) (through int64, err error) {
	err = tx.QueryRowContext(ctx, `SELECT through FROM usage_seals WHERE sealed_at <= ? ORDER BY sealed_at DESC LIMIT 1`,
		at.UnixMilli()).Scan(&through)
	if errors.Is(err, sql.ErrNoRows) {
		return 0, nil
	}
	return trusted(through, at), err
}

// named is the expression for the name of tenant u.tenant_id, and its arguments. It needs tenants joined as t.
type named struct {
	name string
	args []any
}

// namedAsOf returns how tenants were named at the last seal before a moment, or are named today.
func namedAsOf(at time.Time) named {
	if at.IsZero() {
		return named{name: `COALESCE(t.name, '')`}
	}
	return named{`COALESCE((SELECT n.name FROM usage_names n WHERE n.tenant_id = u.tenant_id AND n.since <= ?
		ORDER BY n.since DESC LIMIT 1), '')`, []any{at.UnixMilli()}}
}
