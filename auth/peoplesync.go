package auth

import (
	"context"
	"crypto/sha256"
	"database/sql"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/headgate-io/headgate/auth/permission"
	"github.com/headgate-io/headgate/internal/store"
	"github.com/headgate-io/headgate/internal/tenant"
)

// peopleDelta is what changed of users and what belongs to them.
type peopleDelta struct {
	users    []changedUser
	roles    []changedRole
	teams    []changedTeam
	grants   []changedGrant
	sessions []changedSession
	access   []changedAccess
	doors    []changedDoor
}

type (
	changedUser struct {
		userRow
		gone bool
	}
	changedRole struct {
		Role
		gone bool
	}
	changedTeam struct {
		Team
		gone bool
	}
	changedGrant struct {
		user   string
		tenant tenant.ID
		gone   bool
	}
	changedSession struct {
		entry *sessionEntry
		gone  bool
	}
	changedAccess struct {
		user string
		access
		gone bool
	}
	changedDoor struct {
		tenant tenant.ID
		door   tenantDoor
	}
)

// readPeople finds what changed since a revision.
func readPeople(ctx context.Context, tx *store.Tx, seen int64) (x peopleDelta, err error) {
	for _, read := range []struct {
		what string
		from func() error
	}{
		{"users", func() (err error) { x.users, err = queryUsers(ctx, tx, `WHERE rev > ?`, seen); return err }},
		{"roles", func() (err error) { x.roles, err = queryRoles(ctx, tx, `WHERE rev > ?`, seen); return err }},
		{"teams", func() (err error) { x.teams, err = queryTeams(ctx, tx, `WHERE rev > ?`, seen); return err }},
		{"grants", func() (err error) { x.grants, err = queryGrants(ctx, tx, seen); return err }},
		{"sessions", func() (err error) { x.sessions, err = querySessions(ctx, tx, seen); return err }},
		{"access requests", func() (err error) { x.access, err = queryAccess(ctx, tx, seen); return err }},
		{"ways in", func() (err error) { x.doors, err = queryDoors(ctx, tx, seen); return err }},
	} {
		if err := read.from(); err != nil {
			return x, fmt.Errorf("%s: %w", read.what, err)
		}
	}
	return x, nil
}

// apply puts a delta into memory; gone are tenants that were deleted, with everybody in them.
func (p *people) apply(x peopleDelta, gone map[tenant.ID]bool) {
	for _, c := range x.doors {
		p.doors[c.tenant] = c.door
	}
	for _, c := range x.roles {
		put(p.roles, c.ID, c.gone, func() *Role { return &c.Role })
	}
	for _, c := range x.teams {
		if old := p.teams[c.ID]; old != nil {
			for _, m := range old.Members {
				putList(p.teamsOf, m, slices.DeleteFunc(p.teamsOf[m], func(id string) bool { return id == c.ID }))
			}
		}
		put(p.teams, c.ID, c.gone, func() *Team { return &c.Team })
		if !c.gone {
			for _, m := range c.Members {
				p.teamsOf[m] = append(p.teamsOf[m], c.ID)
			}
		}
	}
	for _, c := range x.users {
		put(p.users, c.ID, c.gone, func() *userRow { return &c.userRow })
		if c.gone {
			delete(p.teamsOf, c.ID)
			delete(p.grants, c.ID)
			delete(p.access, c.ID)
		}
	}
	for _, c := range x.grants {
		of := p.grants[c.user]
		switch {
		case !c.gone && of == nil:
			p.grants[c.user] = map[tenant.ID]struct{}{c.tenant: {}}
		case !c.gone:
			of[c.tenant] = struct{}{}
		default:
			if delete(of, c.tenant); len(of) == 0 {
				delete(p.grants, c.user)
			}
		}
	}
	for _, c := range x.access {
		of := slices.DeleteFunc(slices.Clone(p.access[c.user]), func(a access) bool { return a.id == c.id })
		if !c.gone {
			of = append(of, c.access)
		}
		putList(p.access, c.user, of)
	}
	for _, c := range x.sessions {
		if old := p.sessions[c.entry.id]; old != nil && old.seen.Load() > c.entry.seen.Load() {
			c.entry.seen.Store(old.seen.Load())
		}
		put(p.sessions, c.entry.id, c.gone, func() *sessionEntry { return c.entry })
	}
	if len(gone) > 0 {
		p.forget(gone)
	}
}

// forget removes deleted tenants with everybody and everything in them: their rows are erased, so nothing else tells of them.
func (p *people) forget(gone map[tenant.ID]bool) {
	maps.DeleteFunc(p.doors, func(t tenant.ID, _ tenantDoor) bool { return gone[t] })
	maps.DeleteFunc(p.roles, func(_ string, r *Role) bool { return gone[r.Tenant] })
	maps.DeleteFunc(p.teams, func(_ string, t *Team) bool { return gone[t.Tenant] })
	for id, u := range p.users {
		if gone[u.Tenant] {
			delete(p.users, id)
			delete(p.teamsOf, id)
			delete(p.grants, id)
			delete(p.access, id)
		}
	}
	maps.DeleteFunc(p.grants, func(_ string, of map[tenant.ID]struct{}) bool {
		maps.DeleteFunc(of, func(t tenant.ID, _ struct{}) bool { return gone[t] })
		return len(of) == 0
	})
	for user, of := range p.access {
		putList(p.access, user, slices.DeleteFunc(slices.Clone(of), func(a access) bool { return gone[a.tenant] }))
	}
	maps.DeleteFunc(p.sessions, func(_ string, s *sessionEntry) bool { return p.users[s.user] == nil })
}

// putList keeps a list under a user's id; of an empty one nothing.
func putList[T any](in map[string][]T, user string, list []T) {
	if len(list) == 0 {
		delete(in, user)
		return
	}
	in[user] = list
}

func put[T any](in map[string]*T, id string, gone bool, made func() *T) {
	if gone {
		delete(in, id)
		return
	}
	in[id] = made()
}

func moment(ms int64) time.Time { return time.UnixMilli(ms).UTC() }

// collect reads all rows of a query by one.
func collect[T any](ctx context.Context, tx *store.Tx, query string, one func(*sql.Rows) (T, error), args ...any) ([]T, error) {
	rows, err := tx.QueryContext(ctx, query, args...)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var out []T
	for rows.Next() {
		v, err := one(rows)
		if err != nil {
			return nil, err
		}
		out = append(out, v)
	}
	return out, rows.Err()
}

func queryUsers(ctx context.Context, tx *store.Tx, where string, args ...any) ([]changedUser, error) {
	return collect(ctx, tx, `SELECT id, tenant_id, email, name, status, role, password, totp_at, issuer, generation, created_at,
		changed_at, signed_in_at, deleted_at FROM users `+where, func(rows *sql.Rows) (u changedUser, err error) {
		var owner, password string
		var totp, signedIn, deleted sql.NullInt64
		var created, changed int64
		err = rows.Scan(&u.ID, &owner, &u.Email, &u.Name, &u.Status, &u.Role, &password, &totp, &u.Issuer, &u.generation, &created,
			&changed, &signedIn, &deleted)
		if err != nil {
			return u, err
		}
		u.HasPassword, u.SecondFactor, u.gone = password != "", totp.Valid, deleted.Valid
		u.CreatedAt, u.ChangedAt, u.SignedInAt = moment(created), moment(changed), optionalTime(signedIn)
		u.Tenant, err = tenant.ParseID(owner)
		return u, err
	}, args...)
}

func queryRoles(ctx context.Context, tx *store.Tx, where string, args ...any) ([]changedRole, error) {
	return collect(ctx, tx, `SELECT id, tenant_id, name, permissions, created_at, changed_at, deleted_at FROM roles `+where,
		func(rows *sql.Rows) (r changedRole, err error) {
			var owner, permissions string
			var created, changed int64
			var deleted sql.NullInt64
			if err = rows.Scan(&r.ID, &owner, &r.Name, &permissions, &created, &changed, &deleted); err != nil {
				return r, err
			}
			// SECURITY: a permission of a later version is left out; it is never taken for one that this version has.
			for _, name := range strings.Fields(permissions) {
				r.Permissions |= permission.Of(permission.Permission(name))
			}
			r.CreatedAt, r.ChangedAt, r.gone = moment(created), moment(changed), deleted.Valid
			r.Tenant, err = tenant.ParseID(owner)
			return r, err
		}, args...)
}

// queryTeams returns teams with their members and roles.
func queryTeams(ctx context.Context, tx *store.Tx, where string, args ...any) ([]changedTeam, error) {
	teams, err := collect(ctx, tx, `SELECT id, tenant_id, name, created_at, changed_at, deleted_at FROM teams `+where,
		func(rows *sql.Rows) (t changedTeam, err error) {
			var owner string
			var created, changed int64
			var deleted sql.NullInt64
			if err = rows.Scan(&t.ID, &owner, &t.Name, &created, &changed, &deleted); err != nil {
				return t, err
			}
			t.CreatedAt, t.ChangedAt, t.gone = moment(created), moment(changed), deleted.Valid
			t.Tenant, err = tenant.ParseID(owner)
			return t, err
		}, args...)
	if err != nil {
		return nil, err
	}
	text := func(rows *sql.Rows) (s string, err error) { return s, rows.Scan(&s) }
	for i := range teams {
		t := &teams[i]
		if t.Members, err = collect(ctx, tx, `SELECT user_id FROM team_members WHERE team_id = ? ORDER BY user_id`, text, t.ID); err != nil {
			return nil, err
		}
		if t.Roles, err = collect(ctx, tx, `SELECT role FROM team_roles WHERE team_id = ? ORDER BY role`, text, t.ID); err != nil {
			return nil, err
		}
	}
	return teams, nil
}

func queryGrants(ctx context.Context, tx *store.Tx, seen int64) ([]changedGrant, error) {
	return collect(ctx, tx, `SELECT user_id, tenant_id, withdrawn_at FROM tenant_grants WHERE rev > ?`,
		func(rows *sql.Rows) (g changedGrant, err error) {
			var owner string
			var withdrawn sql.NullInt64
			if err = rows.Scan(&g.user, &owner, &withdrawn); err != nil {
				return g, err
			}
			g.gone = withdrawn.Valid
			g.tenant, err = tenant.ParseID(owner)
			return g, err
		}, seen)
}

func querySessions(ctx context.Context, tx *store.Tx, seen int64) ([]changedSession, error) {
	return collect(ctx, tx, `SELECT id, user_id, mac, generation, acting, expires_at, seen_at, ended_at, second_factor FROM sessions WHERE rev > ?`,
		func(rows *sql.Rows) (c changedSession, err error) {
			c.entry = &sessionEntry{}
			var acting string
			var mac []byte
			var expires, used int64
			var ended sql.NullInt64
			var strong int
			if err = rows.Scan(&c.entry.id, &c.entry.user, &mac, &c.entry.generation, &acting, &expires, &used, &ended, &strong); err != nil {
				return c, err
			}
			if copy(c.entry.mac[:], mac) != sha256.Size {
				return c, fmt.Errorf("session %s: hash of %d bytes", c.entry.id, len(mac))
			}
			c.entry.expires, c.gone = moment(expires), ended.Valid
			c.entry.strong = strong != 0
			c.entry.seen.Store(used)
			c.entry.written.Store(used)
			c.entry.acting, err = tenant.ParseID(acting)
			return c, err
		}, seen)
}

func queryAccess(ctx context.Context, tx *store.Tx, seen int64) ([]changedAccess, error) {
	return collect(ctx, tx, `SELECT id, user_id, tenant_id, permissions, status, expires_at FROM access_requests WHERE rev > ?`,
		func(rows *sql.Rows) (c changedAccess, err error) {
			var owner, permissions, status string
			var expires sql.NullInt64
			if err = rows.Scan(&c.id, &c.user, &owner, &permissions, &status, &expires); err != nil {
				return c, err
			}
			for _, name := range strings.Fields(permissions) {
				c.permissions |= permission.Of(permission.Permission(name))
			}
			c.gone = status != "active" || !expires.Valid
			c.until = moment(expires.Int64)
			c.tenant, err = tenant.ParseID(owner)
			return c, err
		}, seen)
}

func queryDoors(ctx context.Context, tx *store.Tx, seen int64) ([]changedDoor, error) {
	return collect(ctx, tx, `SELECT id, slug, second_factor FROM tenants WHERE rev > ?`, func(rows *sql.Rows) (c changedDoor, err error) {
		var id string
		if err = rows.Scan(&id, &c.door.slug, &c.door.factor); err != nil {
			return c, err
		}
		c.tenant, err = tenant.ParseID(id)
		return c, err
	}, seen)
}
