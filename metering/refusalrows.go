package metering

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/headgate-io/headgate/internal/store"
	"github.com/headgate-io/headgate/internal/tenant"
	"github.com/headgate-io/headgate/metering/alert"
)

// addRefusals adds rows to the refusals that the ledger has, and records the events of spent limits.
func addRefusals(ctx context.Context, tx *store.Tx, rows map[refusalRow]refusalSums) error {
	stmt, err := tx.PrepareContext(ctx, `INSERT INTO usage_refusals (tenant_id, hour, signal, key_id, reason, bytes, records,
			requests, first_at, last_at, last_text)
		VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
		ON CONFLICT (tenant_id, hour, signal, key_id, reason) DO UPDATE SET
			bytes = usage_refusals.bytes + excluded.bytes,
			records = usage_refusals.records + excluded.records,
			requests = usage_refusals.requests + excluded.requests,
			first_at = CASE WHEN excluded.first_at < usage_refusals.first_at
				THEN excluded.first_at ELSE usage_refusals.first_at END,
			last_text = CASE WHEN excluded.last_at >= usage_refusals.last_at
				THEN excluded.last_text ELSE usage_refusals.last_text END,
			last_at = CASE WHEN excluded.last_at >= usage_refusals.last_at
				THEN excluded.last_at ELSE usage_refusals.last_at END`)
	if err != nil {
		return err
	}
	defer stmt.Close()
	for k, s := range rows {
		text := strings.ReplaceAll(s.text, "\x00", "?") // which PostgreSQL does not take
		if s.limit != nil {
			text = s.limit.Error()
		}
		_, err := stmt.ExecContext(ctx, k.tenant, k.hour, k.signal, k.key, k.reason, s.bytes, s.records, s.requests,
			s.first.UnixMilli(), s.last.UnixMilli(), text)
		if err != nil {
			return err
		}
		for _, e := range limitEvents(k, s) {
			if err := alert.Record(ctx, tx, e); err != nil {
				return err
			}
		}
	}
	return nil
}

// limitEvents returns what a refusal tells of the limit that stood in the way: that it is spent, to its owner and, if that
// is an ancestor, to the tenant too. There are none for limits that are no sum of a day, nor for one of which not even half
// is used: then the request was large, and its refusal says that itself.
//
// SECURITY: a tenant hears of an ancestor's limit as its errors do, without a name and a number.
func limitEvents(k refusalRow, s refusalSums) []alert.Event {
	l := s.limit
	if l == nil || l.Kind != tenant.DailyBytes || l.owner.id == "" || l.owner.used < l.owner.max/2 {
		return nil
	}
	e := alert.Event{Tenant: k.tenant, Kind: alert.DailyBytes, LimitID: l.LimitID, Signal: string(l.Signal),
		Day: l.owner.day, Threshold: 100, OwnerID: l.owner.id, Used: l.owner.used, Max: max(0, l.owner.max), At: s.last}
	switch l.Owner {
	case tenant.OwnerKey:
		e.Owner = alert.OwnerKey
	case tenant.OwnerTenant:
		e.Owner = alert.OwnerTenant
	default:
		own, told := e, e
		own.Tenant, own.Owner, own.LimitID = l.owner.id, alert.OwnerTenant, LimitTenant
		told.Owner, told.OwnerID, told.Used, told.Max = alert.OwnerParent, "", 0, 0
		return []alert.Event{own, told}
	}
	return []alert.Event{e}
}

// keepRefusals is how long rows of refusals are kept.
const keepRefusals = 90 * 24 * time.Hour

// prune removes what is too old to be asked for, once an hour.
func (l *Ledger) prune(ctx context.Context) error {
	before := hourOf(l.now().Add(-keepRefusals))
	if before == l.pruned {
		return nil
	}
	err := l.db.Update(ctx, func(tx *store.Tx) error {
		if _, err := tx.ExecContext(ctx, `DELETE FROM usage_refusals WHERE hour < ?`, before); err != nil {
			return err
		}
		return dropDayUse(ctx, tx, l.now())
	})
	if err != nil {
		return fmt.Errorf("remove old refusals and days: %w", err)
	}
	l.pruned = before
	return nil
}

// DeleteRefusals removes a tenant's rows of refusals. The sums of usage stay.
func (l *Ledger) DeleteRefusals(ctx context.Context, id tenant.ID) error {
	err := l.db.Update(ctx, func(tx *store.Tx) error {
		_, err := tx.ExecContext(ctx, `DELETE FROM usage_refusals WHERE tenant_id = ?`, id.String())
		return err
	})
	if err != nil {
		return fmt.Errorf("delete refusals of tenant %s: %w", id, err)
	}
	return nil
}
