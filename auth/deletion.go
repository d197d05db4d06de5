package auth

import (
	"context"
	"time"

	"github.com/headgate-io/headgate/internal/store"
)

// BeginDelete marks the tenant as being deleted: from then on it cannot be enabled or changed, and its data may be
// removed. It needs an inactive tenant without active children, and confirm equal to the tenant's name in any case.
// Calling it again is fine. Errors: ErrForbidden, ErrNotFound, ErrInvalid for the confirmation, ErrState.
func (s *Tenants) BeginDelete(ctx context.Context, by Principal, ref, confirm string) (Tenant, error) {
	return s.modify(ctx, by, "tenant.delete", ref, func(tx *store.Tx, t *Tenant) error {
		if name, err := normalName(confirm); err != nil || name != t.Name {
			return detail(ErrInvalid, "tenant %s: the confirmation is not its name", t.Name)
		}
		if t.Status == Active {
			return detail(ErrState, "tenant %s: is active; disable it first", t.Name)
		}
		active, err := queryTenants(ctx, tx,
			`WHERE parent_id = ? AND status = 'active' AND deleted_at IS NULL ORDER BY name LIMIT 1`, t.ID.String())
		if err != nil {
			return err
		}
		if len(active) > 0 {
			return detail(ErrState, "tenant %s: its child %s is active", t.Name, active[0].Name)
		}
		t.Status = Deleting
		return nil
	})
}

// FinishDelete ends a deletion once all data is removed: the keys go, the name becomes free, the tenant is found no more.
// Its row, its ledger and its audit stay, and its id is never used again. Errors: ErrForbidden, ErrNotFound, ErrState
// unless BeginDelete came first.
func (s *Tenants) FinishDelete(ctx context.Context, by Principal, ref string) error {
	return s.d.change(ctx, by, "tenant.deleted", ref, func(tx *store.Tx, rev int64, at time.Time) (Entry, error) {
		t, err := resolve(ctx, tx, by, ref)
		if err != nil {
			return Entry{}, err
		}
		if !by.IsOperator() {
			return Entry{}, ErrForbidden
		}
		if t.Status != Deleting {
			return Entry{}, detail(ErrState, "tenant %s: its deletion has not begun", t.Name)
		}
		if _, err := tx.ExecContext(ctx, `DELETE FROM api_keys WHERE tenant_id = ?`, t.ID.String()); err != nil {
			return Entry{}, err
		}
		_, err = tx.ExecContext(ctx, `UPDATE tenants SET deleted_at = ?, changed_at = ?, rev = ? WHERE id = ?`,
			at.UnixMilli(), at.UnixMilli(), rev, t.ID.String())
		return tenantEntry(&t, nil), err
	})
}
