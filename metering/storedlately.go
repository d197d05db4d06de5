package metering

import (
	"context"
	"fmt"
	"time"

	"github.com/headgate-io/headgate/internal/store"
)

const (
	// storedFor is how long records are stored at least: retention is of whole days.
	storedFor = 24 * time.Hour
	// storedBy is how long after the end of its hour a record is taken to be stored on every server of a cluster.
	storedBy = time.Hour
	// storedTenants bounds what UnsafeStoredLately returns.
	storedTenants = 100
)

// UnsafeStoredLately returns ids of tenants of which ClickHouse must have rows at now, some of them if there are many: a receipt is in
// the ledger once its rows are stored. Tenants that are being deleted, or of which something was set aside, are left out.
//
// SECURITY: of all tenants. The ids are for headgate's own check of the walls, and go no further.
func UnsafeStoredLately(ctx context.Context, db *store.DB, now time.Time) (ids []string, err error) {
	from := now.Add(-storedFor).Truncate(time.Hour).Add(time.Hour)
	until := now.Add(-storedBy).Truncate(time.Hour) // hours that begin before it have ended storedBy ago
	err = db.View(ctx, func(tx *store.Tx) error {
		ids = nil
		rows, err := tx.QueryContext(ctx, `SELECT h.tenant_id FROM usage_hours h JOIN tenants t ON t.id = h.tenant_id
			WHERE h.hour >= ? AND h.hour < ? AND h.records > 0 AND t.deleted_at IS NULL AND t.status <> 'deleting'
				AND NOT EXISTS (SELECT 1 FROM usage_aside a WHERE a.tenant_id = h.tenant_id)
			GROUP BY h.tenant_id ORDER BY MAX(h.hour) DESC, h.tenant_id LIMIT ?`, from.Unix(), until.Unix(), storedTenants)
		if err != nil {
			return err
		}
		defer rows.Close()
		for rows.Next() {
			var id string
			if err := rows.Scan(&id); err != nil {
				return err
			}
			ids = append(ids, id)
		}
		return rows.Err()
	})
	if err != nil {
		return nil, fmt.Errorf("look whose records are stored: %w", err)
	}
	return ids, nil
}
