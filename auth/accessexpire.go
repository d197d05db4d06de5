package auth

import (
	"context"
	"time"

	"github.com/headgate-io/headgate/internal/store"
)

// expireBatch bounds what one transaction of the sweep writes.
const expireBatch = 500

// sweepAccess writes down which access has ended. Nothing waits for it: what has ended is over, and shown as expired, by the clock.
// It is asked about once a minute; of several processes one writes.
func (d *Directory) sweepAccess(ctx context.Context) error {
	for {
		d.mu.RLock()
		over, now := false, d.now()
		for _, of := range d.people.access {
			for _, a := range of {
				over = over || !now.Before(a.until)
			}
		}
		d.mu.RUnlock()
		if !over {
			return nil
		}
		wrote, err := d.unsafeExpireAccess(ctx, now.UTC().Truncate(time.Millisecond))
		if err != nil {
			return err
		}
		if err := d.sync(ctx); err != nil || wrote == 0 { // another process was first
			return err
		}
	}
}

// unsafeExpireAccess writes the end of access and its audit entries, under the tenant and the user's home, and returns of how many.
//
// SECURITY: it is for all tenants, and changes only what has ended by the clock.
func (d *Directory) unsafeExpireAccess(ctx context.Context, at time.Time) (wrote int, err error) {
	err = d.db.Update(ctx, func(tx *store.Tx) error {
		ended, err := accessRows(ctx, tx, at, `WHERE status = 'active' AND expires_at <= ? ORDER BY id LIMIT ?`, at.UnixMilli(), expireBatch)
		if err != nil || len(ended) == 0 {
			return err
		}
		var rev int64
		if err := tx.QueryRowContext(ctx, `UPDATE changes SET n = n + 1 RETURNING n`).Scan(&rev); err != nil {
			return err
		}
		for _, r := range ended {
			_, err := tx.ExecContext(ctx, `UPDATE access_requests SET status = 'expired', rev = ? WHERE id = ? AND tenant_id = ?`, rev, r.ID, r.Tenant.String())
			if err != nil {
				return err
			}
			home, err := unsafeHomeOf(ctx, tx, r.User)
			if err != nil {
				return err
			}
			e := accessEntry(r)
			e.At, e.Actor, e.Action, e.Outcome = at, System, "access.expire", OutcomeOK
			if err := writeEntry(ctx, tx, e); err != nil {
				return err
			}
			if e.Tenant != home {
				e.Tenant = home
				if err := writeEntry(ctx, tx, e); err != nil {
					return err
				}
			}
		}
		wrote = len(ended)
		return nil
	})
	return wrote, err
}
