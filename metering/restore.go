package metering

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/headgate-io/headgate/internal/store"
)

// maxChain bounds the walk up a tenant's ancestors, so that a damaged table cannot make it endless.
const maxChain = 64

// OpenMeter makes a meter that knows the use of yesterday and of every later day from the ledger: per key, per tenant, and
// for each tenant the sum over its descendants. It is called before anything is admitted; receipts applied by others
// afterwards would be missed, and those that wait in the log are for Restore. reg may be nil.
func OpenMeter(ctx context.Context, db *store.DB, now time.Time, reg prometheus.Registerer) (*Meter, error) {
	m := newMeter(dayOf(now)-1, reg)
	err := db.View(ctx, func(tx *store.Tx) error {
		var err error
		if m.parents, err = queryParents(ctx, tx); err != nil {
			return err
		}
		return m.restore(ctx, tx)
	})
	if err != nil {
		return nil, fmt.Errorf("restore the day's use: %w", err)
	}
	return m, nil
}

// queryParents returns each child's parent. Deleted tenants are in it: what they used today still counts for their parents.
func queryParents(ctx context.Context, tx *store.Tx) (map[string]string, error) {
	rows, err := tx.QueryContext(ctx, `SELECT id, parent_id FROM tenants WHERE parent_id IS NOT NULL`)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	parents := map[string]string{}
	for rows.Next() {
		var id, parent string
		if err := rows.Scan(&id, &parent); err != nil {
			return nil, err
		}
		parents[id] = parent
	}
	return parents, rows.Err()
}

// restore adds the ledger's rows from the floor on. Nobody else has m yet, so it takes no lock.
func (m *Meter) restore(ctx context.Context, tx *store.Tx) error {
	// What came late counts on the day that it came on to headgate, and an operator's correction on none.
	rows, err := tx.QueryContext(ctx, `SELECT hour / 86400, tenant_id, key_id, CAST(SUM(billed_bytes) AS BIGINT) FROM (
			SELECT hour, tenant_id, key_id, billed_bytes FROM usage_hours WHERE hour >= ?
			UNION ALL
			SELECT corrects, tenant_id, key_id, billed_bytes FROM usage_corrections WHERE corrects >= ? AND source = 'late'
		) u GROUP BY 1, 2, 3 ORDER BY 1`, m.floor*daySeconds, m.floor*daySeconds)
	if err != nil {
		return err
	}
	defer rows.Close()
	for rows.Next() {
		var day, bytes int64
		var id, key string
		if err := rows.Scan(&day, &id, &key, &bytes); err != nil {
			return err
		}
		m.restoreLocked(day, id, key, bytes)
	}
	return rows.Err()
}

// Restore counts receipts that are in the log and not in the ledger, just as if OpenMeter had found them there: each
// exactly once, after OpenMeter, before anything is admitted and before Apply is called for any of them. Afterwards it is
// an error. Receipts of days before yesterday count nowhere, as there. A tenant that the tree does not know counts for
// itself alone.
func (m *Meter) Restore(receipts ...Receipt) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.parents == nil {
		return errors.New("restore the day's use: requests were admitted already")
	}
	for _, r := range receipts {
		if day := dayOf(r.ReceivedAt); day >= m.floor {
			m.restoreLocked(day, r.Tenant.String(), r.Key, r.BilledBytes)
		}
	}
	return nil
}

// restoreLocked counts bytes for the key, the tenant and its ancestors. The day is at or after the floor.
func (m *Meter) restoreLocked(day int64, id, key string, bytes int64) {
	m.restoreCounterLocked(day, counterKey{key: true, id: key}, bytes)
	for depth := 0; id != "" && depth < maxChain; depth++ {
		m.restoreCounterLocked(day, counterKey{id: id}, bytes)
		id = m.parents[id]
	}
}

func (m *Meter) restoreCounterLocked(day int64, k counterKey, bytes int64) {
	c := m.counterLocked(day, k)
	c.held += bytes
	c.settled += bytes
}
