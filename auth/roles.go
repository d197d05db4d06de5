package auth

import (
	"cmp"
	"context"
	"encoding/json"
	"slices"
	"strings"
	"time"

	"github.com/headgate-io/headgate/auth/permission"
	"github.com/headgate-io/headgate/internal/store"
	"github.com/headgate-io/headgate/internal/tenant"
)

// maxRoles bounds the custom roles of a tenant: they are in memory, and a list of them is one read.
const maxRoles = 500

// Roles is the control of roles. Looking at them needs users.read or roles.manage, changing them roles.manage, and all the
// permissions that a role has before and after: nobody grants what they do not have. A change is in force on live sessions
// within a second.
type Roles struct{ d *Directory }

// Roles returns the control of roles.
func (d *Directory) Roles() *Roles { return &Roles{d} }

// NewRole is what Create needs. All but Tenant is required.
type NewRole struct {
	Tenant      string   // name or id; "" is where the caller acts
	Name        string   // unique within the tenant, in any case; not that of a built-in role
	Permissions []string // one at least
}

// RolePatch is a partial update: nil fields stay.
type RolePatch struct {
	Name        *string
	Permissions *[]string // all of them: those that are left out are removed
}

// Builtin reports whether every tenant has the role. Built-in ones have their names as ids.
func (r Role) Builtin() bool {
	_, ok := permission.OfRole(r.ID)
	return ok
}

// Create makes a custom role. Errors: ErrNotFound for the tenant, ErrForbidden, ErrInvalid, ErrNameTaken, ErrState for a tenant
// that is being deleted or has maxRoles.
func (s *Roles) Create(ctx context.Context, by Principal, n NewRole) (Role, error) {
	var r Role
	err := s.d.change(ctx, by, "role.create", n.Name, func(tx *store.Tx, rev int64, at time.Time) (Entry, error) {
		t, err := changeable(ctx, tx, by, n.Tenant, permission.RolesManage)
		if err != nil {
			return Entry{}, err
		}
		r = Role{ID: newID(at), Tenant: t.ID, CreatedAt: at, ChangedAt: at}
		if err := r.apply(RolePatch{&n.Name, &n.Permissions}); err != nil {
			return Entry{}, err
		}
		if err := by.coversStanding(t.ID, r.Permissions); err != nil {
			return Entry{}, err
		}
		if err := checkCount(ctx, tx, `SELECT count(*) FROM roles WHERE tenant_id = ? AND deleted_at IS NULL`, t.ID, maxRoles, "custom roles"); err != nil {
			return Entry{}, err
		}
		_, err = tx.ExecContext(ctx, `INSERT INTO roles (id, tenant_id, name, permissions, created_at, changed_at, rev)
			VALUES (?, ?, ?, ?, ?, ?, ?)`, r.ID, t.ID.String(), r.Name, r.Permissions.String(), at.UnixMilli(), at.UnixMilli(), rev)
		return roleEntry(nil, &r), labelTaken(err, "role", r.Name)
	})
	if err != nil {
		return Role{}, err
	}
	return r, nil
}

// Set changes a custom role and returns it as it is then. Errors: ErrNotFound, ErrForbidden, ErrInvalid, ErrNameTaken, ErrState
// for a built-in role, ErrLastAdmin.
func (s *Roles) Set(ctx context.Context, by Principal, id string, p RolePatch) (Role, error) {
	var r Role
	err := s.d.change(ctx, by, "role.set", id, func(tx *store.Tx, rev int64, at time.Time) (Entry, error) {
		before, err := customRole(ctx, tx, by, id)
		if err != nil {
			return Entry{}, err
		}
		r = before
		if err := r.apply(p); err != nil {
			return Entry{}, err
		}
		if err := by.coversStanding(r.Tenant, before.Permissions|r.Permissions); err != nil {
			return Entry{}, err
		}
		r.ChangedAt = at
		taken := before.Permissions &^ r.Permissions
		return roleEntry(&before, &r), keepingManager(ctx, tx, r.Tenant, taken, func() error {
			_, err := tx.ExecContext(ctx, `UPDATE roles SET name = ?, permissions = ?, changed_at = ?, rev = ? WHERE id = ? AND tenant_id = ?`,
				r.Name, r.Permissions.String(), at.UnixMilli(), rev, r.ID, r.Tenant.String())
			return labelTaken(err, "role", r.Name)
		})
	})
	if err != nil {
		return Role{}, err
	}
	return r, nil
}

// Delete removes a custom role that no user and no team has. Errors: ErrNotFound, ErrForbidden, ErrState with how many have it.
func (s *Roles) Delete(ctx context.Context, by Principal, id string) error {
	return s.d.change(ctx, by, "role.delete", id, func(tx *store.Tx, rev int64, at time.Time) (Entry, error) {
		r, err := customRole(ctx, tx, by, id)
		if err != nil {
			return Entry{}, err
		}
		if err := by.coversStanding(r.Tenant, r.Permissions); err != nil {
			return Entry{}, err
		}
		var users, teams int
		err = tx.QueryRowContext(ctx, `SELECT (SELECT count(*) FROM users WHERE tenant_id = ? AND role = ? AND deleted_at IS NULL),
			(SELECT count(*) FROM teams WHERE tenant_id = ? AND deleted_at IS NULL AND id IN (SELECT team_id FROM team_roles WHERE role = ?))`,
			r.Tenant.String(), r.ID, r.Tenant.String(), r.ID).Scan(&users, &teams)
		if err != nil {
			return Entry{}, err
		}
		if users+teams > 0 {
			return Entry{}, detail(ErrState, "role %s: users that have it: %d, teams that have it: %d", r.Name, users, teams)
		}
		_, err = tx.ExecContext(ctx, `UPDATE roles SET deleted_at = ?, changed_at = ?, rev = ? WHERE id = ? AND tenant_id = ?`,
			at.UnixMilli(), at.UnixMilli(), rev, r.ID, r.Tenant.String())
		return roleEntry(&r, nil), err
	})
}

// ListRoles selects roles for List.
type ListRoles struct {
	Tenant string // name or id; "" is where the caller acts
	Search string // part of the name
	After  string // the next of the page before
	Limit  int    // 0 is 100, at most 1000
}

// List returns the built-in roles from least to most, then the custom ones by name, and what goes into After for the next page,
// "" at the end. Errors: ErrNotFound, ErrForbidden.
func (s *Roles) List(ctx context.Context, by Principal, l ListRoles) (out []Role, next string, err error) {
	var t Tenant
	err = s.d.db.View(ctx, func(tx *store.Tx) error {
		if t, err = here(ctx, tx, by, l.Tenant); err != nil {
			return err
		}
		if err := by.canEither(permission.UsersRead, permission.RolesManage, t.ID); err != nil {
			return err
		}
		for _, b := range permission.Builtin {
			out = append(out, Role{ID: b.Name, Tenant: t.ID, Name: b.Name, Permissions: b.Permissions})
		}
		custom, err := queryRoles(ctx, tx, `WHERE tenant_id = ? AND deleted_at IS NULL ORDER BY name`, t.ID.String())
		for _, r := range custom {
			out = append(out, r.Role)
		}
		return err
	})
	if err != nil {
		return nil, "", err
	}
	if err := s.d.AuditCrossTenant(ctx, by, t.ID, "role.list", t.ID.String()); err != nil {
		return nil, "", err
	}
	if at := slices.IndexFunc(out, func(r Role) bool { return r.Builtin() && r.Name == l.After }); at >= 0 {
		out = out[at+1:]
	} else if l.After != "" {
		out = slices.DeleteFunc(out, func(r Role) bool { return r.Builtin() || r.Name <= l.After })
	}
	search := strings.ToLower(l.Search)
	out = slices.DeleteFunc(out, func(r Role) bool { return !strings.Contains(r.Name, search) })
	out, next = page(out, pageSize(l.Limit), func(r *Role) string { return r.Name })
	return out, next, nil
}

// Show returns a custom role by id, or a built-in one by name. Errors: ErrNotFound, ErrForbidden.
func (s *Roles) Show(ctx context.Context, by Principal, id string) (r Role, err error) {
	if set, ok := permission.OfRole(id); ok {
		return Role{ID: id, Tenant: by.Tenant(), Name: id, Permissions: set}, by.Require(ScopeAdmin)
	}
	err = s.d.db.View(ctx, func(tx *store.Tx) error {
		if r, err = unsafeRole(ctx, tx, by, id); err != nil {
			return err
		}
		return by.canEither(permission.UsersRead, permission.RolesManage, r.Tenant)
	})
	if err == nil {
		err = s.d.AuditCrossTenant(ctx, by, r.Tenant, "role.show", r.ID)
	}
	if err != nil {
		return Role{}, err
	}
	return r, nil
}

// RoleName returns the name of a role as User.Role and Team.Roles have it: "" for one that there is not in the tenant.
func (d *Directory) RoleName(t tenant.ID, role string) string {
	if _, ok := permission.OfRole(role); ok {
		return role
	}
	d.mu.RLock()
	defer d.mu.RUnlock()
	if r := d.people.roles[role]; r != nil && r.Tenant == t {
		return r.Name
	}
	return ""
}

// apply changes r as p says, or returns the first rule that the outcome breaks.
func (r *Role) apply(p RolePatch) error {
	if p.Name != nil {
		name, err := normalLabel("role", *p.Name)
		if err != nil {
			return err
		}
		if _, builtin := permission.OfRole(name); builtin {
			return detail(ErrNameTaken, "role name %s is that of a built-in role", name)
		}
		r.Name = name
	}
	if p.Permissions != nil {
		set, err := permission.ParseList(*p.Permissions)
		if err != nil {
			return detail(ErrInvalid, "role: %s", err)
		}
		if set == 0 {
			return detail(ErrInvalid, "role: no permission")
		}
		r.Permissions = set
	}
	return nil
}

// roleEntry is what the audit tells of a change of a role.
func roleEntry(before, after *Role) Entry {
	show := func(r *Role) any {
		if r == nil {
			return nil
		}
		return map[string]any{"name": r.Name, "permissions": r.Permissions.List()}
	}
	r := cmp.Or(after, before)
	return Entry{Tenant: r.Tenant, Target: r.ID, Detail: changeDetail("role", show(before), show(after))}
}

// changeDetail is the detail of an entry: what a thing was and is; nil where it is not there.
func changeDetail(what string, before, after any) json.RawMessage {
	out := map[string]any{}
	if before != nil {
		out[what+"_before"] = before
	}
	if after != nil {
		out[what] = after
	}
	raw, err := json.Marshal(out)
	if err != nil {
		panic("BUG: audit detail: " + err.Error())
	}
	return raw
}
