package metering

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/headgate-io/headgate/internal/store"
)

// tenantState is why rows of a tenant may be gone.
type tenantState struct {
	name              string
	deleting, deleted bool
	plans             []plan // oldest first; none if nothing is known
}

// plan is a retention that held from a time on.
type plan struct {
	since time.Time
	days  int
}

// retentionSlack is how far the clocks of ClickHouse and of rows may differ from this one, and how long a key may go on with
// a plan that was changed.
const retentionSlack = time.Hour

// expired reports whether a row of the hour may be due by now. Each row keeps the retention that its tenant had when it was
// received, so it is the shortest that held in that hour which counts.
func (t *tenantState) expired(hour int64, now time.Time) bool {
	start := time.Unix(hour, 0)
	end := start.Add(time.Hour + retentionSlack)
	least := 0
	for i, p := range t.plans {
		held := p.since.Before(end) && (i+1 == len(t.plans) || t.plans[i+1].since.After(start.Add(-retentionSlack)))
		if held && (least == 0 || p.days < least) {
			least = p.days
		}
	}
	return least > 0 && !start.AddDate(0, 0, least).After(now.Add(retentionSlack))
}

// tenantState reads what is known of a tenant, once for each signal. It is read after ClickHouse has begun to count: of a
// tenant that was not being deleted then, no row was missing for that reason.
func (c *comparison) tenantState(ctx context.Context, id string) (*tenantState, error) {
	if t := c.tenants[id]; t != nil {
		return t, nil
	}
	t := &tenantState{}
	err := c.ledger.db.View(ctx, func(tx *store.Tx) error {
		*t = tenantState{}
		var status string
		var deleted sql.NullInt64
		var days int
		err := tx.QueryRowContext(ctx, `SELECT name, status, retention_days, deleted_at FROM tenants WHERE id = ?`, id).
			Scan(&t.name, &status, &days, &deleted)
		if errors.Is(err, sql.ErrNoRows) {
			return nil
		}
		if err != nil {
			return err
		}
		t.deleting, t.deleted = status == "deleting", deleted.Valid
		t.plans, err = plans(ctx, tx, id, days)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("read tenant %s: %w", id, err)
	}
	if len(c.tenants) >= maxTenantStates {
		clear(c.tenants)
	}
	c.tenants[id] = t
	return t, nil
}

const maxTenantStates = 10_000

// plans reads from the audit which retention a tenant had when; days is today's, of a tenant without audit.
func plans(ctx context.Context, tx *store.Tx, id string, days int) ([]plan, error) {
	rows, err := tx.QueryContext(ctx, `SELECT at, detail FROM audit WHERE tenant_id = ? AND outcome = 'ok'
		AND action IN ('tenant.create', 'tenant.set') ORDER BY id`, id)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var out []plan
	for rows.Next() {
		var at int64
		var raw string
		if err := rows.Scan(&at, &raw); err != nil {
			return nil, err
		}
		var detail struct {
			Before, After *struct {
				RetentionDays int `json:"retention_days"`
			}
		}
		if err := json.Unmarshal([]byte(raw), &detail); err != nil {
			return nil, fmt.Errorf("audit of tenant %s: %w", id, err)
		}
		if detail.Before != nil && len(out) == 0 {
			out = append(out, plan{time.Time{}, detail.Before.RetentionDays})
		}
		if detail.After != nil {
			out = append(out, plan{time.UnixMilli(at), detail.After.RetentionDays})
		}
	}
	if len(out) == 0 {
		out = append(out, plan{time.Time{}, days})
	}
	return out, rows.Err()
}
