package auth

import (
	"context"
	"database/sql"
	"errors"
	"time"

	"github.com/headgate-io/headgate/auth/permission"
	"github.com/headgate-io/headgate/internal/store"
	"github.com/headgate-io/headgate/internal/tenant"
)

// Grants is the control of which tenants a user reaches beside the own one: tenants below it, granted one by one. What the user may
// do there is what the user's roles allow at home. Looking needs users.read in the user's home, or to be the user; changing needs
// users.manage there and, for good, all of the user's permissions in the tenant: nobody grants what they do not have. A grant is
// in force within a second, and so is its end.
type Grants struct{ d *Directory }

// Grants returns the control of grants.
func (d *Directory) Grants() *Grants { return &Grants{d} }

// Grant says that a user reaches a tenant.
type Grant struct {
	User      string
	Tenant    tenant.ID
	GrantedAt time.Time
	GrantedBy string // as Entry.Actor
}

// Put grants a tenant, by name or id, to a user; once more is fine and keeps the first time. Errors: ErrNotFound for the user and the
// tenant, ErrForbidden, ErrInvalid for a tenant that is not below the user's, ErrState for one that is being deleted.
func (s *Grants) Put(ctx context.Context, by Principal, user, ref string) (Grant, error) {
	var g Grant
	err := s.d.change(ctx, by, "grant.add", user, func(tx *store.Tx, rev int64, at time.Time) (Entry, error) {
		u, t, err := s.d.grantable(ctx, tx, by, user, ref)
		if err != nil {
			return Entry{}, err
		}
		if t.Status == Deleting {
			return Entry{}, detail(ErrState, "tenant %s: is being deleted", t.Name)
		}
		below, err := isBelow(ctx, tx, t, u.Tenant)
		if err != nil {
			return Entry{}, err
		}
		if !below {
			return Entry{}, detail(ErrInvalid, "tenant %s: is not below the user's own", t.Name)
		}
		if _, err := findGrant(ctx, tx, u.ID, t.ID); !errors.Is(err, ErrNotFound) {
			if err != nil {
				return Entry{}, err
			}
		} else if _, err := tx.ExecContext(ctx, `INSERT INTO tenant_grants (user_id, tenant_id, granted_at, granted_by, rev) VALUES (?, ?, ?, ?, ?)
			ON CONFLICT (user_id, tenant_id) DO UPDATE SET granted_at = excluded.granted_at, granted_by = excluded.granted_by,
			withdrawn_at = NULL, rev = excluded.rev`, u.ID, t.ID.String(), at.UnixMilli(), by.actor(), rev); err != nil {
			return Entry{}, err
		}
		if g, err = findGrant(ctx, tx, u.ID, t.ID); err != nil {
			return Entry{}, err
		}
		return atHomeToo(ctx, tx, by, at, "grant.add", u.Tenant, grantEntry(u, t))
	})
	if err != nil {
		return Grant{}, err
	}
	return g, nil
}

// Withdraw ends a grant. Errors: ErrNotFound for the user, the tenant and the grant, ErrForbidden.
func (s *Grants) Withdraw(ctx context.Context, by Principal, user, ref string) error {
	return s.d.change(ctx, by, "grant.withdraw", user, func(tx *store.Tx, rev int64, at time.Time) (Entry, error) {
		u, t, err := s.d.grantable(ctx, tx, by, user, ref)
		if err != nil {
			return Entry{}, err
		}
		if _, err := findGrant(ctx, tx, u.ID, t.ID); err != nil {
			return Entry{}, err
		}
		_, err = tx.ExecContext(ctx, `UPDATE tenant_grants SET withdrawn_at = ?, rev = ? WHERE user_id = ? AND tenant_id = ?`,
			at.UnixMilli(), rev, u.ID, t.ID.String())
		if err != nil {
			return Entry{}, err
		}
		return atHomeToo(ctx, tx, by, at, "grant.withdraw", u.Tenant, grantEntry(u, t))
	})
}

// List returns a user's grants in the caller's reach, by tenant id. Errors: ErrNotFound, ErrForbidden.
//
// SECURITY: tenants that the caller does not reach are left out.
func (s *Grants) List(ctx context.Context, by Principal, user string) (out []Grant, err error) {
	var u User
	err = s.d.db.View(ctx, func(tx *store.Tx) error {
		if u, err = lookAt(ctx, tx, by, user); err != nil {
			return err
		}
		found, err := grantRows(ctx, tx, `WHERE user_id = ? AND withdrawn_at IS NULL ORDER BY tenant_id`, u.ID)
		for _, g := range found {
			if by.reaches(g.Tenant) {
				out = append(out, g)
			}
		}
		return err
	})
	if err == nil {
		err = s.d.AuditCrossTenant(ctx, by, u.Tenant, "grant.list", u.ID)
	}
	if err != nil {
		return nil, err
	}
	return out, nil
}

// Show returns one grant. Errors: ErrNotFound, ErrForbidden.
func (s *Grants) Show(ctx context.Context, by Principal, user, ref string) (g Grant, err error) {
	var u User
	err = s.d.db.View(ctx, func(tx *store.Tx) error {
		if u, err = lookAt(ctx, tx, by, user); err != nil {
			return err
		}
		t, err := resolve(ctx, tx, by, ref)
		if err != nil {
			return err
		}
		g, err = findGrant(ctx, tx, u.ID, t.ID)
		return err
	})
	if err == nil {
		err = s.d.AuditCrossTenant(ctx, by, u.Tenant, "grant.show", u.ID)
	}
	if err != nil {
		return Grant{}, err
	}
	return g, nil
}

// grantable finds the user and the tenant of a grant that by may make or end.
//
// SECURITY: the caller's reach and permissions are those that hold for good: a grant outlives any time-limited access.
func (d *Directory) grantable(ctx context.Context, tx *store.Tx, by Principal, user, ref string) (User, Tenant, error) {
	u, err := unsafePerson(ctx, tx, by, user)
	if err != nil {
		return User{}, Tenant{}, err
	}
	if err := by.Can(permission.UsersManage, u.Tenant); err != nil {
		return User{}, Tenant{}, err
	}
	t, err := resolve(ctx, tx, by, ref)
	if err != nil {
		return User{}, Tenant{}, err
	}
	d.mu.RLock()
	given := d.people.permissionsOf(&u)
	d.mu.RUnlock()
	return u, t, by.coversStanding(t.ID, given)
}

// isBelow reports whether t is a descendant of ancestor, as the transaction sees it.
func isBelow(ctx context.Context, tx *store.Tx, t Tenant, ancestor tenant.ID) (bool, error) {
	for depth := 0; depth < maxDepth && !t.Parent.IsZero(); depth++ {
		if t.Parent == ancestor {
			return true, nil
		}
		rows, err := queryTenants(ctx, tx, `WHERE id = ?`, t.Parent.String())
		if err != nil || len(rows) == 0 {
			return false, err
		}
		t = rows[0].Tenant
	}
	return false, nil
}

func findGrant(ctx context.Context, tx *store.Tx, user string, t tenant.ID) (Grant, error) {
	found, err := grantRows(ctx, tx, `WHERE user_id = ? AND tenant_id = ? AND withdrawn_at IS NULL`, user, t.String())
	if err != nil {
		return Grant{}, err
	}
	if len(found) == 0 {
		return Grant{}, detail(ErrNotFound, "no such grant")
	}
	return found[0], nil
}

func grantRows(ctx context.Context, tx *store.Tx, where string, args ...any) ([]Grant, error) {
	return collect(ctx, tx, `SELECT user_id, tenant_id, granted_at, granted_by FROM tenant_grants `+where, func(rows *sql.Rows) (g Grant, err error) {
		var id string
		var at int64
		if err = rows.Scan(&g.User, &id, &at, &g.GrantedBy); err != nil {
			return g, err
		}
		g.GrantedAt = moment(at)
		g.Tenant, err = tenant.ParseID(id)
		return g, err
	}, args...)
}

func grantEntry(u User, t Tenant) Entry {
	return Entry{Tenant: t.ID, Target: u.ID, Detail: changeDetail("grant", nil, map[string]any{"user": u.Email, "tenant": t.ID.String()})}
}
