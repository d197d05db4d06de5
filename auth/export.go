package auth

import (
	"context"
	"time"

	"github.com/headgate-io/headgate/auth/permission"
	"github.com/headgate-io/headgate/internal/store"
)

// Exportable returns a tenant whose data by may export: it takes tenants.delete, since whoever may end it may also keep it, and a
// tenant that is not being deleted. Errors: ErrNotFound, ErrForbidden, which is audited as a refused action, ErrState.
func (s *Tenants) Exportable(ctx context.Context, by Principal, action, ref string) (t Tenant, err error) {
	err = s.d.db.View(ctx, func(tx *store.Tx) error {
		t, err = exportable(ctx, tx, by, ref)
		return err
	})
	if err != nil {
		return Tenant{}, s.d.auditRefusal(ctx, by, action, ref, s.d.now().UTC().Truncate(time.Millisecond), err)
	}
	return t, nil
}

// AuditExport writes that by exports something of a tenant: what says what. It is called before the first byte leaves, for what
// was not written down is not exported. Errors: those of Exportable.
//
// SECURITY: permission is asked again in the transaction of the entry. A user's entry is under the home too.
func (s *Tenants) AuditExport(ctx context.Context, by Principal, action, ref string, what map[string]any) error {
	at := s.d.now().UTC().Truncate(time.Millisecond)
	err := s.d.db.Update(ctx, func(tx *store.Tx) error {
		t, err := exportable(ctx, tx, by, ref)
		if err != nil {
			return err
		}
		e := by.entry(at, action)
		e.Tenant, e.Target, e.Detail = t.ID, t.ID.String(), changeDetail("export", nil, what)
		if _, err := atHomeToo(ctx, tx, by, at, action, by.Home(), e); err != nil {
			return err
		}
		return writeEntry(ctx, tx, e)
	})
	return s.d.auditRefusal(ctx, by, action, ref, at, err)
}

func exportable(ctx context.Context, tx *store.Tx, by Principal, ref string) (Tenant, error) {
	t, err := permitted(ctx, tx, by, permission.TenantsDelete, ref)
	if err == nil && t.Status == Deleting {
		err = detail(ErrState, "tenant %s: is being deleted", t.Name)
	}
	return t, err
}

// Actor returns who the principal is, as Entry.Actor has it.
func (p Principal) Actor() string { return p.actor() }
