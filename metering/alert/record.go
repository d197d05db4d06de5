package alert

import (
	"context"
	"crypto/rand"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/oklog/ulid/v2"

	"github.com/headgate-io/headgate/internal/store"
)

// entropy makes ids of one millisecond ascend, so that events that are recorded together are listed and sent in their order.
var entropy = &ulid.LockedMonotonicReader{MonotonicReader: ulid.Monotonic(rand.Reader, 0)}

// newID returns an id that sorts by its time of making and is never made twice.
func newID(at time.Time) string { return ulid.MustNew(ulid.Timestamp(at), entropy).String() }

// Record makes e an event, once: with another of the same name, of this process or any other, it does nothing. The
// deliveries to the webhooks that there are now belong to the same transaction. An error that is not the database's means
// that e is no event, and has changed nothing.
func Record(ctx context.Context, tx *store.Tx, e Event) error {
	if err := e.check(); err != nil {
		return err
	}
	id := newID(e.At)
	res, err := tx.ExecContext(ctx, `INSERT INTO alerts (id, tenant_id, kind, owner, owner_id, limit_id, signal, day, threshold,
			used, max, at) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING`,
		id, e.Tenant, string(e.Kind), e.Owner, e.OwnerID, e.LimitID, e.Signal, e.Day, e.Threshold, e.Used, e.Max,
		e.At.UnixMilli())
	if err != nil {
		return fmt.Errorf("record alert: %w", err)
	}
	if n, err := res.RowsAffected(); err != nil || n == 0 {
		return err
	}
	return addDeliveries(ctx, tx, id, e)
}

// addDeliveries makes a delivery of the event for each webhook that wants it.
//
// SECURITY: these are the tenant's own and the operator's; a parent's are not told of its descendants.
func addDeliveries(ctx context.Context, tx *store.Tx, id string, e Event) error {
	hooks, err := wanting(ctx, tx, e)
	if err != nil {
		return fmt.Errorf("find webhooks of an alert: %w", err)
	}
	for _, hook := range hooks {
		_, err := tx.ExecContext(ctx, `INSERT INTO webhook_deliveries (webhook_id, alert_id, state, created_at, attempts, next_at,
			last_error) VALUES (?, ?, 'pending', ?, 0, 0, '')`, hook, id, e.At.UnixMilli())
		if err != nil {
			return fmt.Errorf("record delivery of an alert: %w", err)
		}
	}
	return nil
}

func wanting(ctx context.Context, tx *store.Tx, e Event) (ids []string, err error) {
	rows, err := tx.QueryContext(ctx, `SELECT id, kinds FROM webhooks WHERE tenant_id IN (?, '')
		AND disabled_at IS NULL ORDER BY id`, e.Tenant)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	for rows.Next() {
		var id, kinds string
		if err := rows.Scan(&id, &kinds); err != nil {
			return nil, err
		}
		if kinds == "" || slices.Contains(strings.Split(kinds, ","), string(e.Kind)) {
			ids = append(ids, id)
		}
	}
	return ids, rows.Err()
}
