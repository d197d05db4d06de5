package auth

import (
	"context"
	"strings"

	"github.com/headgate-io/headgate/auth/permission"
	"github.com/headgate-io/headgate/internal/store"
)

// ListTeams selects teams for List.
type ListTeams struct {
	Tenant string // name or id; "" is where the caller acts
	Search string // part of the name
	After  string // the next of the page before
	Limit  int    // 0 is 100, at most 1000
}

// List returns a tenant's teams by name, and what goes into After for the next page, "" at the end. Errors: ErrNotFound, ErrForbidden.
func (s *Teams) List(ctx context.Context, by Principal, l ListTeams) (out []Team, next string, err error) {
	limit := pageSize(l.Limit)
	var t Tenant
	err = s.d.db.View(ctx, func(tx *store.Tx) error {
		if t, err = here(ctx, tx, by, l.Tenant); err != nil {
			return err
		}
		if err := by.Can(permission.UsersRead, t.ID); err != nil {
			return err
		}
		rows, err := queryTeams(ctx, tx, `WHERE tenant_id = ? AND deleted_at IS NULL AND name > ? AND name LIKE ? ESCAPE '!' ORDER BY name LIMIT ?`,
			t.ID.String(), plainText(l.After), contains(strings.ToLower(l.Search)), limit+1)
		for _, r := range rows {
			out = append(out, r.Team)
		}
		return err
	})
	if err == nil {
		err = s.d.AuditCrossTenant(ctx, by, t.ID, "team.list", t.ID.String())
	}
	if err != nil {
		return nil, "", err
	}
	out, next = page(out, limit, func(r *Team) string { return r.Name })
	return out, next, nil
}

// Show returns one team. Errors: ErrNotFound, ErrForbidden.
func (s *Teams) Show(ctx context.Context, by Principal, id string) (t Team, err error) {
	err = s.d.db.View(ctx, func(tx *store.Tx) error {
		t, err = unsafeTeam(ctx, tx, by, id, permission.UsersRead)
		return err
	})
	if err == nil {
		err = s.d.AuditCrossTenant(ctx, by, t.Tenant, "team.show", t.ID)
	}
	if err != nil {
		return Team{}, err
	}
	return t, nil
}

// Members returns a team's members by id, after one of them, and what goes into after for the next page. limit 0 is 100, at most
// 1000. Errors: ErrNotFound, ErrForbidden.
func (s *Teams) Members(ctx context.Context, by Principal, id, after string, limit int) (out []User, next string, err error) {
	limit = pageSize(limit)
	var t Team
	err = s.d.db.View(ctx, func(tx *store.Tx) error {
		if t, err = unsafeTeam(ctx, tx, by, id, permission.UsersRead); err != nil {
			return err
		}
		rows, err := queryUsers(ctx, tx, `WHERE tenant_id = ? AND deleted_at IS NULL AND id > ? AND id IN
			(SELECT user_id FROM team_members WHERE team_id = ?) ORDER BY id LIMIT ?`, t.Tenant.String(), plainText(after), t.ID, limit+1)
		for _, r := range rows {
			out = append(out, r.User)
		}
		return err
	})
	if err == nil {
		err = s.d.AuditCrossTenant(ctx, by, t.Tenant, "team.members", t.ID)
	}
	if err != nil {
		return nil, "", err
	}
	out, next = page(out, limit, func(r *User) string { return r.ID })
	return out, next, nil
}

// OfUser returns the teams of a user, by name: one's own, or with users.read those of everybody in the tenant. Errors: ErrNotFound,
// ErrForbidden.
func (s *Teams) OfUser(ctx context.Context, by Principal, user string) (out []Team, err error) {
	var u User
	err = s.d.db.View(ctx, func(tx *store.Tx) error {
		if u, err = lookAt(ctx, tx, by, user); err != nil {
			return err
		}
		rows, err := queryTeams(ctx, tx, `WHERE tenant_id = ? AND deleted_at IS NULL AND id IN (SELECT team_id FROM team_members WHERE user_id = ?)
			ORDER BY name`, u.Tenant.String(), u.ID)
		for _, r := range rows {
			out = append(out, r.Team)
		}
		return err
	})
	if err == nil {
		err = s.d.AuditCrossTenant(ctx, by, u.Tenant, "team.of", u.ID)
	}
	if err != nil {
		return nil, err
	}
	return out, nil
}

// lookAt finds a user that by may look at: oneself, or with users.read.
func lookAt(ctx context.Context, tx *store.Tx, by Principal, id string) (User, error) {
	u, err := unsafePerson(ctx, tx, by, id)
	if err != nil || u.ID == by.User() {
		return u, err
	}
	return u, by.Can(permission.UsersRead, u.Tenant)
}

// unsafePerson finds a user of a tenant in the caller's reach.
//
// SECURITY: it looks by the id alone. Users of tenants out of reach are not found, by the same error as ids that do not exist.
func unsafePerson(ctx context.Context, tx *store.Tx, by Principal, id string) (User, error) {
	if err := by.Require(ScopeAdmin); err != nil {
		return User{}, err
	}
	rows, err := queryUsers(ctx, tx, `WHERE id = ? AND deleted_at IS NULL`, plainText(id))
	if err != nil {
		return User{}, err
	}
	if len(rows) == 0 || !by.reaches(rows[0].Tenant) {
		return User{}, detail(ErrNotFound, "no user %q", clip(id))
	}
	return rows[0].User, nil
}
