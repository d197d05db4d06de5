package metering

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/headgate-io/headgate/internal/store"
	"github.com/headgate-io/headgate/internal/tenant"
)

// maxChain bounds the walk up a tenant's ancestors, so that a damaged table cannot make it endless.
const maxChain = 64

// OpenMeter makes a meter that knows the use of yesterday and of every later day from the ledger, per key and tenant, with
// that of a tenant's descendants. It is called before anything is admitted; receipts applied by others afterwards would be
// missed, and those that wait in the log are for Restore. reg may be nil.
func OpenMeter(ctx context.Context, db *store.DB, now time.Time, reg prometheus.Registerer) (*Meter, error) {
	return readMeter(ctx, db, "", now, reg)
}

// readMeter reads the use by the requests of one log, "" for all.
func readMeter(ctx context.Context, db *store.DB, log string, now time.Time, reg prometheus.Registerer) (*Meter, error) {
	m := newMeter(floorDiv(now.Unix(), daySeconds)-1, reg)
	err := db.View(ctx, func(tx *store.Tx) error {
		var err error
		if m.parents, err = queryParents(ctx, tx); err != nil {
			return err
		}
		return m.restore(ctx, tx, log)
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

// restore adds what the ledger has from the floor on. Nobody else has m yet, so it takes no lock.
func (m *Meter) restore(ctx context.Context, tx *store.Tx, log string) error {
	rows, err := tx.QueryContext(ctx, `SELECT is_key, owner_id, signal, day, CAST(SUM(bytes) AS BIGINT) FROM day_use
		WHERE day >= ? AND (log_id = ? OR ? = '') GROUP BY 1, 2, 3, 4 ORDER BY 4`, m.floor, log, log)
	if err != nil {
		return err
	}
	defer rows.Close()
	for rows.Next() {
		var d Debit
		var isKey int
		var bytes int64
		if err := rows.Scan(&isKey, &d.ID, &d.Signal, &d.Day, &bytes); err != nil {
			return err
		}
		d.Key = isKey == 1
		if err := m.restoreLocked(d, bytes); err != nil {
			return err
		}
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
		for _, d := range r.debits(m.parents) {
			if d.Day < m.floor {
				continue
			}
			if err := m.restoreLocked(d, r.BilledBytes); err != nil {
				return err
			}
		}
	}
	return nil
}

func (m *Meter) restoreLocked(d Debit, bytes int64) error {
	use, err := m.ownerLocked(ownerKey{d.Key, d.ID}).account(d.Signal, m.floor).day(d.Day, &m.pushedOut)
	if err != nil {
		return err
	}
	use.used += bytes
	return nil
}

// debits returns the accounts that the receipt counts against; parents are needed for version 1.
func (r *Receipt) debits(parents map[string]string) []Debit {
	if len(r.Debits) > 0 {
		return r.Debits
	}
	day := floorDiv(r.ReceivedAt.Unix(), daySeconds)
	out := []Debit{{Key: true, ID: r.Key, Day: day, Limit: tenant.Unlimited}}
	id := r.Tenant.String()
	for depth := 0; id != "" && depth < maxChain; depth++ {
		out = append(out, Debit{ID: id, Day: day, Limit: tenant.Unlimited})
		id = parents[id]
	}
	return out
}
