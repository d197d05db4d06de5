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

// unsafeUser finds a user whom the caller may do something about.
//
// SECURITY: it looks by the id alone, whatever the tenant; whom the caller does not reach is not found, by the same error as
// ids that do not exist.
func unsafeUser(ctx context.Context, tx *store.Tx, by Principal, id string, what permission.Permission) (changedUser, error) {
	rows, err := queryUsers(ctx, tx, `WHERE id = ? AND deleted_at IS NULL`, plainText(id))
	if err != nil {
		return changedUser{}, err
	}
	if len(rows) == 0 || !by.reaches(rows[0].Tenant) {
		return changedUser{}, detail(ErrNotFound, "no user %q", plainText(clip(id)))
	}
	return rows[0], by.Can(what, rows[0].Tenant)
}

// mayTouch returns ErrForbidden unless the caller has, for good, all permissions that a user of the tenant has by the own role and by
// teams. A role that there is no more allows nothing.
func mayTouch(ctx context.Context, tx *store.Tx, by Principal, u User) error {
	r, err := roleIn(ctx, tx, u.Tenant, u.Role)
	if err != nil && !errors.Is(err, ErrNotFound) {
		return err
	}
	teams, err := queryTeams(ctx, tx, `WHERE tenant_id = ? AND deleted_at IS NULL AND id IN (SELECT team_id FROM team_members WHERE user_id = ?)`,
		u.Tenant.String(), u.ID)
	if err != nil {
		return err
	}
	for _, t := range teams {
		given, err := t.permissions(ctx, tx)
		if err != nil {
			return err
		}
		r.Permissions |= given
	}
	return by.coversStanding(u.Tenant, r.Permissions)
}

// checkDomain returns ErrEmailDomain if the tenant is restricted to other domains.
func checkDomain(ctx context.Context, tx *store.Tx, t tenant.ID, domain string) error {
	var listed, same int
	err := tx.QueryRowContext(ctx, `SELECT count(*), count(CASE WHEN domain = ? THEN 1 END) FROM email_domains WHERE tenant_id = ?`,
		domain, t.String()).Scan(&listed, &same)
	if err == nil && listed > 0 && same == 0 {
		return detail(ErrEmailDomain, "the organization does not invite addresses of %s", domain)
	}
	return err
}

// UserUse is how many users count against the limit of a tenant, its own and its descendants', after one was added.
type UserUse struct {
	Tenant    tenant.ID
	Zone      *tenant.Zone
	Used, Max int64
	At        time.Time
}

// unsafeUserLimit returns ErrLimitUsers if one more user would be more than the tenant, or one above it, may have below it.
// Users who are invited or active count. Options.UserUse is told of each limit that the user is added under.
//
// SECURITY: it counts over tenants that the caller may not reach, and tells the caller only that there are too many.
func (d *Directory) unsafeUserLimit(ctx context.Context, tx *store.Tx, t Tenant, now time.Time) error {
	at := t.ID
	for depth := 0; depth < maxDepth && !at.IsZero(); depth++ {
		var limit sql.NullInt64
		var parent sql.NullString
		var zoneName string
		err := tx.QueryRowContext(ctx, `SELECT max_users, parent_id, time_zone FROM tenants WHERE id = ?`, at.String()).Scan(&limit, &parent, &zoneName)
		if err != nil {
			return err
		}
		if limit.Valid {
			used, err := unsafeUsersBelow(ctx, tx, at)
			if err != nil {
				return err
			}
			if used >= limit.Int64 {
				return ErrLimitUsers
			}
			if d.userUse != nil {
				zone, _ := zoneOf(zoneName) // one that this process cannot read is UTC, as for the days of other limits
				if err := d.userUse(ctx, tx, UserUse{at, zone, used + 1, limit.Int64, now}); err != nil {
					return err
				}
			}
		}
		if !parent.Valid {
			return nil
		}
		if at, err = tenant.ParseID(parent.String); err != nil {
			return err
		}
	}
	return nil
}

// unsafeUsersBelow counts the users of a tenant and its descendants who count against a limit.
//
// SECURITY: it counts over all descendants, whatever the caller reaches.
func unsafeUsersBelow(ctx context.Context, tx *store.Tx, t tenant.ID) (n int64, err error) {
	err = tx.QueryRowContext(ctx, `WITH RECURSIVE below (id) AS (
			SELECT id FROM tenants WHERE id = ? UNION SELECT c.id FROM tenants c JOIN below b ON c.parent_id = b.id WHERE c.deleted_at IS NULL)
		SELECT count(*) FROM users WHERE tenant_id IN (SELECT id FROM below) AND deleted_at IS NULL AND status <> 'inactive'`,
		t.String()).Scan(&n)
	return n, err
}

// keepAdmin runs a change of a tenant's users, and returns ErrLastAdmin if the tenant had an active user who
// manages users before and has none after. The transaction is then not kept.
func keepAdmin(ctx context.Context, tx *store.Tx, t tenant.ID, change func() error) error {
	before, err := managers(ctx, tx, t)
	if err != nil {
		return err
	}
	if err := change(); err != nil || before == 0 {
		return err
	}
	after, err := managers(ctx, tx, t)
	if err == nil && after == 0 {
		return ErrLastAdmin
	}
	return err
}

// ListUsers selects users for List.
type ListUsers struct {
	Tenant string // name or id; "" is where the caller acts
	Search string // part of the address
	Status UserStatus
	Role   string // id of a role
	Team   string // id of a team
	After  string // the next of the page before
	Limit  int    // 0 is 100, at most 1000
}

// List returns users of a tenant, oldest first, and what goes into After for the next page, "" at the end. Errors:
// ErrNotFound for the tenant, ErrForbidden, ErrInvalid.
func (s *Users) List(ctx context.Context, by Principal, l ListUsers) (out []User, next string, err error) {
	switch l.Status {
	case "", UserInvited, UserActive, UserInactive:
	default:
		return nil, "", detail(ErrInvalid, "status %q: want invited, active or inactive", plainText(clip(string(l.Status))))
	}
	limit := pageSize(l.Limit)
	var t Tenant
	err = s.d.db.View(ctx, func(tx *store.Tx) error {
		if t, err = here(ctx, tx, by, l.Tenant); err != nil {
			return err
		}
		if err := by.Can(permission.UsersRead, t.ID); err != nil {
			return err
		}
		id, role, team, status := t.ID.String(), plainText(l.Role), plainText(l.Team), string(l.Status)
		rows, err := queryUsers(ctx, tx, `WHERE tenant_id = ? AND deleted_at IS NULL AND id > ? AND email_key LIKE ? ESCAPE '!'
			AND (? = '' OR status = ?) AND (? = '' OR role = ?)
			AND (? = '' OR id IN (SELECT m.user_id FROM team_members m JOIN teams t ON t.id = m.team_id
				WHERE t.id = ? AND t.tenant_id = ? AND t.deleted_at IS NULL)) ORDER BY id LIMIT ?`,
			id, plainText(l.After), contains(lowerASCII(l.Search)), status, status, role, role, team, team, id, limit+1)
		for _, r := range rows {
			out = append(out, r.User)
		}
		return err
	})
	if err == nil {
		err = s.d.AuditCrossTenant(ctx, by, t.ID, "user.list", t.ID.String())
	}
	if err != nil {
		return nil, "", err
	}
	out, next = page(out, limit, func(r *User) string { return r.ID })
	return out, next, nil
}

// Show returns one user, or ErrNotFound or ErrForbidden.
func (s *Users) Show(ctx context.Context, by Principal, id string) (u User, err error) {
	err = s.d.db.View(ctx, func(tx *store.Tx) error {
		row, err := unsafeUser(ctx, tx, by, id, permission.UsersRead)
		u = row.User
		return err
	})
	if err == nil {
		err = s.d.AuditCrossTenant(ctx, by, u.Tenant, "user.show", u.ID)
	}
	if err != nil {
		return User{}, err
	}
	return u, nil
}

func lowerASCII(s string) string {
	b := []byte(s)
	for i, c := range b {
		if 'A' <= c && c <= 'Z' {
			b[i] = c + 'a' - 'A'
		}
	}
	return string(b)
}
