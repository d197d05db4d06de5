package auth

import (
	"context"
	"errors"

	"github.com/headgate-io/headgate/auth/permission"
	"github.com/headgate-io/headgate/internal/store"
	"github.com/headgate-io/headgate/internal/tenant"
)

// coversStanding returns nil if by has all of these permissions in the tenant for good, and so may give them and take them there.
//
// SECURITY: nobody grants what they do not have. What by may do for a time only does not count: what is given for good, or for a time
// that somebody else chooses, would outlive the access it was given by. The operator's token reads no telemetry, but its holder may
// make any key, and so may give any permission: that act is audited under the tenant.
func (p Principal) coversStanding(t tenant.ID, s permission.Set) error {
	if p.IsOperator() {
		return nil
	}
	own, reached := p.standing(t)
	switch {
	case !reached:
		if _, forNow := p.Permissions(t); !forNow {
			return ErrNotFound
		}
		return detail(ErrForbidden, "you reach the tenant for a time only, and give and take nothing there")
	case !own.Covers(s):
		return detail(ErrForbidden, "your own permissions there lack %s", s&^own)
	}
	return nil
}

// standing is Permissions without time-limited access.
func (p Principal) standing(t tenant.ID) (permission.Set, bool) {
	g := p.grant()
	if g.user == "" {
		return p.Permissions(t)
	}
	g.directory.mu.RLock()
	defer g.directory.mu.RUnlock()
	return g.directory.standingInLocked(g.user, t)
}

// canEither is Can for one of two permissions.
func (p Principal) canEither(a, b permission.Permission, t tenant.ID) error {
	if err := p.Can(a, t); !errors.Is(err, ErrForbidden) {
		return err
	}
	return p.Can(b, t)
}

// here resolves a tenant; "" is where the caller acts.
func here(ctx context.Context, tx *store.Tx, by Principal, ref string) (Tenant, error) {
	if ref == "" {
		if by.IsOperator() {
			return Tenant{}, detail(ErrInvalid, "tenant: name one")
		}
		ref = by.Tenant().String()
	}
	return resolve(ctx, tx, by, ref)
}

// changeable resolves a tenant in which by may do what, and that is not being deleted.
func changeable(ctx context.Context, tx *store.Tx, by Principal, ref string, what permission.Permission) (Tenant, error) {
	t, err := here(ctx, tx, by, ref)
	if err != nil {
		return Tenant{}, err
	}
	if err := by.Can(what, t.ID); err != nil {
		return Tenant{}, err
	}
	if t.Status == Deleting {
		return Tenant{}, detail(ErrState, "tenant %s: is being deleted", t.Name)
	}
	return t, nil
}

// unsafeRole returns the custom role of that id.
//
// SECURITY: roles of tenants out of reach are not found, by the same error as ids that do not exist.
func unsafeRole(ctx context.Context, tx *store.Tx, by Principal, id string) (Role, error) {
	if err := by.Require(ScopeAdmin); err != nil {
		return Role{}, err
	}
	rows, err := queryRoles(ctx, tx, `WHERE id = ? AND deleted_at IS NULL`, plainText(id))
	if err != nil {
		return Role{}, err
	}
	if len(rows) == 0 || !by.reaches(rows[0].Tenant) {
		return Role{}, detail(ErrNotFound, "no role %q", clip(id))
	}
	return rows[0].Role, nil
}

// customRole finds a role that by may change.
func customRole(ctx context.Context, tx *store.Tx, by Principal, id string) (Role, error) {
	if _, builtin := permission.OfRole(id); builtin {
		if err := by.Require(ScopeAdmin); err != nil {
			return Role{}, err
		}
		return Role{}, detail(ErrState, "role %s: is built in and does not change", id)
	}
	r, err := unsafeRole(ctx, tx, by, id)
	if err != nil {
		return Role{}, err
	}
	return r, by.Can(permission.RolesManage, r.Tenant)
}

// roleIn finds a role of a tenant by name or id, as users and teams are given it: a built-in one's id is its name. The caller has
// checked that the tenant may be looked at. Errors: ErrNotFound.
func roleIn(ctx context.Context, tx *store.Tx, t tenant.ID, ref string) (Role, error) {
	name, err := normalName(ref)
	if err == nil {
		if set, ok := permission.OfRole(name); ok {
			return Role{ID: name, Tenant: t, Name: name, Permissions: set}, nil
		}
	}
	rows, err := queryRoles(ctx, tx, `WHERE tenant_id = ? AND deleted_at IS NULL AND (id = ? OR name = ?)`, t.String(), plainText(ref), name)
	if err != nil {
		return Role{}, err
	}
	if len(rows) == 0 {
		return Role{}, detail(ErrNotFound, "no role %q", clip(ref))
	}
	return rows[0].Role, nil
}

// normalLabel is normalName for roles and teams.
func normalLabel(what, s string) (string, error) {
	name, err := normalName(s)
	if err != nil {
		return "", detail(ErrInvalid, "%s name %q: want 1 to %d characters of a-z 0-9 . _ - with a letter or digit first, not in the form of an id",
			what, clip(s), maxNameBytes)
	}
	return name, nil
}

func labelTaken(err error, what, name string) error {
	if err != nil && store.IsConflict(err) {
		return detail(ErrNameTaken, "%s name %s is taken", what, name)
	}
	return err
}

// checkCount returns ErrState if the query for a tenant's things counts as many as there may be.
func checkCount(ctx context.Context, tx *store.Tx, query string, t tenant.ID, most int, what string) error {
	var n int
	if err := tx.QueryRowContext(ctx, query, t.String()).Scan(&n); err != nil {
		return err
	}
	if n >= most {
		return detail(ErrState, "a tenant has at most %d %s", most, what)
	}
	return nil
}

// keepingManager is keepAdmin for a change that takes permissions from somebody: most take none that matter.
func keepingManager(ctx context.Context, tx *store.Tx, t tenant.ID, taken permission.Set, change func() error) error {
	if !taken.Has(permission.UsersManage) {
		return change()
	}
	return keepAdmin(ctx, tx, t, change)
}

// managers counts the active users of a tenant who manage its users, as the transaction sees them.
func managers(ctx context.Context, tx *store.Tx, t tenant.ID) (n int, err error) {
	var x peopleDelta
	if x.users, err = queryUsers(ctx, tx, `WHERE tenant_id = ? AND status = 'active' AND deleted_at IS NULL`, t.String()); err != nil {
		return 0, err
	}
	if x.roles, err = queryRoles(ctx, tx, `WHERE tenant_id = ? AND deleted_at IS NULL`, t.String()); err != nil {
		return 0, err
	}
	if x.teams, err = queryTeams(ctx, tx, `WHERE tenant_id = ? AND deleted_at IS NULL`, t.String()); err != nil {
		return 0, err
	}
	p := newPeople()
	p.apply(x, nil)
	for _, u := range p.users {
		if p.permissionsOf(&u.User).Has(permission.UsersManage) {
			n++
		}
	}
	return n, nil
}
