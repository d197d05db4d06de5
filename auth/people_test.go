package auth

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/headgate-io/headgate/auth/permission"
	"github.com/headgate-io/headgate/internal/store"
	"github.com/headgate-io/headgate/internal/store/storetest"
	"github.com/headgate-io/headgate/internal/tenant"
)

// person puts an active user with a session into the database, and returns the session's token.
func (w *world) person(name string, home tenant.ID, role string) (userID, token string) {
	w.t.Helper()
	userID = "U-" + name
	err := w.db.Update(w.t.Context(), func(tx *store.Tx) error {
		rev, at := w.bump(tx), w.clock.Now()
		_, err := tx.ExecContext(w.t.Context(), `INSERT INTO users (id, tenant_id, email, email_key, name, status, role, password, created_at, changed_at, rev)
			VALUES (?, ?, ?, ?, ?, 'active', ?, '', ?, ?, ?)`, userID, home.String(), name+"@example.com", name+"@example.com", name, role,
			at.UnixMilli(), at.UnixMilli(), rev)
		if err != nil {
			return err
		}
		token, err = w.beginSession(w.t.Context(), tx, &userRow{User: User{ID: userID}}, home, "127.0.0.1", "test", rev, at)
		return err
	})
	if err != nil {
		w.t.Fatal(err)
	}
	w.catchUp()
	return userID, token
}

func (w *world) bump(tx *store.Tx) (rev int64) {
	w.t.Helper()
	if err := tx.QueryRowContext(w.t.Context(), `UPDATE changes SET n = n + 1 RETURNING n`).Scan(&rev); err != nil {
		w.t.Fatal(err)
	}
	return rev
}

func (w *world) catchUp() {
	w.t.Helper()
	if err := w.Directory.sync(w.t.Context()); err != nil {
		w.t.Fatal(err)
	}
}

// sql runs a statement whose first %d is the revision.
func (w *world) sql(query string, args ...any) {
	w.t.Helper()
	err := w.db.Update(w.t.Context(), func(tx *store.Tx) error {
		_, err := tx.ExecContext(w.t.Context(), fmt.Sprintf(query, w.bump(tx)), args...)
		return err
	})
	if err != nil {
		w.t.Fatal(err)
	}
	w.catchUp()
}

func (w *world) session(token string) Principal {
	w.t.Helper()
	p, err := w.Directory.Session(token)
	if err != nil {
		w.t.Fatal(err)
	}
	return p
}

func TestUsersReachWhatTheirRolesGrantsAndAccessSay(t *testing.T) {
	storetest.Each(t, func(t *testing.T) {
		w := newWorld(t)
		root := w.tenant(NewTenant{Name: "root"})
		child := w.tenant(NewTenant{Name: "child", Parent: "root"})
		grandchild := w.tenant(NewTenant{Name: "grandchild", Parent: "child"})
		sibling := w.tenant(NewTenant{Name: "sibling", Parent: "root"})
		foreign := w.tenant(NewTenant{Name: "foreign"})
		_, everything := w.person("rita", root.ID, permission.RootAdmin)
		adminID, adminToken := w.person("ann", child.ID, permission.Admin)
		viewerID, viewerToken := w.person("vic", child.ID, permission.Viewer)
		rita, ann, vic := w.session(everything), w.session(adminToken), w.session(viewerToken)

		check := func(who string, p Principal, what permission.Permission, at Tenant, want error) {
			t.Helper()
			wantErr(t, who+" "+string(what)+" in "+at.Name, p.Can(what, at.ID), want)
		}
		for _, at := range []Tenant{root, child, grandchild, sibling} {
			check("root admin", rita, permission.TenantsDelete, at, nil)
		}
		check("root admin", rita, permission.TenantsRead, foreign, ErrNotFound)
		check("admin", ann, permission.UsersManage, child, nil)
		check("admin", ann, permission.TenantsCreate, child, ErrForbidden)
		for _, at := range []Tenant{root, grandchild, sibling, foreign} {
			check("admin", ann, permission.UsersManage, at, ErrNotFound)
		}

		w.sql(`INSERT INTO tenant_grants (user_id, tenant_id, granted_at, granted_by, rev) VALUES (?, ?, 0, 'operator', %d)`, adminID, grandchild.ID.String())
		check("granted", ann, permission.UsersManage, grandchild, nil)
		w.sql(`UPDATE tenant_grants SET withdrawn_at = 1, rev = %d WHERE user_id = ?`, adminID)
		check("no more granted", ann, permission.UsersManage, grandchild, ErrNotFound)

		until := w.clock.Now().Add(time.Hour)
		w.sql(`INSERT INTO access_requests (id, user_id, user_email, tenant_id, note, role, permissions, seconds, status, requested_at, expires_at, rev)
			VALUES ('A', ?, '', ?, '', '', 'audit.read', 3600, 'active', 0, ?, %d)`, viewerID, sibling.ID.String(), until.UnixMilli())
		check("with access", vic, permission.AuditRead, sibling, nil)
		check("with access", vic, permission.QueriesRun, sibling, ErrForbidden)
		check("at home", vic, permission.AuditRead, child, ErrForbidden)
		w.clock.Add(time.Hour - time.Millisecond)
		check("with access", vic, permission.AuditRead, sibling, nil)
		w.clock.Add(time.Millisecond)
		check("after its end", vic, permission.AuditRead, sibling, ErrNotFound)

		w.sql(`INSERT INTO roles (id, tenant_id, name, permissions, created_at, changed_at, rev) VALUES ('R', ?, 'keys', 'keys.manage', 0, 0, %d)`, child.ID.String())
		w.sql(`INSERT INTO teams (id, tenant_id, name, created_at, changed_at, rev) VALUES ('T', ?, 'ops', 0, 0, %d)`, child.ID.String())
		w.sql(`INSERT INTO team_roles (team_id, role) SELECT id, 'R' FROM teams WHERE rev < %d`)
		w.sql(`INSERT INTO team_members (team_id, user_id) SELECT id, ? FROM teams WHERE rev < %d`, viewerID)
		check("before the team's change is known", vic, permission.KeysManage, child, ErrForbidden)
		w.sql(`UPDATE teams SET rev = %d`)
		check("by the team", vic, permission.KeysManage, child, nil)
		w.sql(`UPDATE roles SET tenant_id = (SELECT id FROM tenants WHERE name = 'foreign'), rev = %d`)
		check("another tenant's role", vic, permission.KeysManage, child, ErrForbidden)

		w.sql(`UPDATE users SET status = 'inactive', rev = %d WHERE id = ?`, viewerID)
		check("inactive", vic, permission.QueriesRun, child, ErrNotFound)
		_, err := w.Session(viewerToken)
		wantErr(t, "session of an inactive user", err, ErrSignedOut)
		w.sql(`UPDATE users SET generation = 1, rev = %d WHERE id = ?`, adminID)
		_, err = w.Session(adminToken)
		wantErr(t, "session of another generation", err, ErrSignedOut)
	})
}

func TestSessionsEnd(t *testing.T) {
	w := newWorld(t)
	home := w.tenant(NewTenant{Name: "home"})
	_, token := w.person("ann", home.ID, permission.Admin)
	if p := w.session(token); p.Tenant() != home.ID || p.User() != "U-ann" || !p.Scope().Valid() || p.IsOperator() {
		t.Errorf("principal of %v, user %q", p.Tenant(), p.User())
	}
	for name, text := range map[string]string{"none of": "", "garbage": "hgs_x", "of another secret": strings.Replace(token, token[len(token)-8:], "00000000", 1), "a key": "hg_a_b_c"} {
		if _, err := w.Session(text); err == nil || errors.Is(err, ErrNoCredential) != (text == "") {
			t.Errorf("%s: %v", name, err)
		}
	}
	w.clock.Add(SessionIdle - time.Minute)
	w.session(token) // is used, and so goes on
	w.clock.Add(SessionIdle - time.Minute)
	w.session(token)
	w.clock.Add(SessionIdle)
	_, err := w.Session(token)
	wantErr(t, "idle session", err, ErrSignedOut)
	_, token = w.person("bob", home.ID, permission.Admin)
	for range 14 * 24 {
		if _, err = w.Session(token); err != nil {
			t.Fatal(err)
		}
		w.clock.Add(time.Hour)
	}
	_, err = w.Session(token)
	wantErr(t, "old session", err, ErrSignedOut)
	_, token = w.person("eve", home.ID, permission.Viewer)
	if _, err := w.Tenants().Disable(t.Context(), w.op, "home"); err != nil {
		t.Fatal(err)
	}
	_, err = w.Session(token)
	wantErr(t, "session in a disabled tenant", err, ErrTenantInactive)
}

// The rows of a deleted tenant's people are erased, so no row tells a replica of their end: the tenant's own has to.
func TestMemoryForgetsThePeopleOfADeletedTenant(t *testing.T) {
	w := newWorld(t)
	root := w.tenant(NewTenant{Name: "root"})
	gone := w.tenant(NewTenant{Name: "gone", Parent: "root"})
	role := w.customRole("gone", "keys", permission.KeysManage)
	gusID, _ := w.signedIn("gus", gone, role.ID)
	annID, ann := w.signedIn("ann", root, permission.Viewer)
	team, err := w.Teams().Create(t.Context(), w.op, NewTeam{Tenant: "gone", Name: "ops", Roles: []string{role.ID}})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.Teams().AddMember(t.Context(), w.op, team.ID, gusID); err != nil {
		t.Fatal(err)
	}
	if _, err := w.Grants().Put(t.Context(), w.op, annID, "gone"); err != nil {
		t.Fatal(err)
	}
	w.giveAccess(annID, gone, permission.Of(permission.UsageRead), time.Hour)
	if err := ann.Can(permission.QueriesRun, gone.ID); err != nil {
		t.Fatal(err)
	}
	err = w.db.Update(t.Context(), func(tx *store.Tx) error {
		all, err := erasures(t.Context(), tx)
		if err != nil {
			return err
		}
		for _, e := range all {
			if _, err := e.run(t.Context(), tx, gone.ID); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	w.sql(`UPDATE tenants SET deleted_at = 1, rev = %d WHERE id = ?`, gone.ID.String())
	wantErr(t, "a grant in the deleted tenant", ann.Can(permission.QueriesRun, gone.ID), ErrNotFound)
	p := &w.people
	_, door := p.doors[gone.ID]
	if len(p.users) != 1 || len(p.roles) != 0 || len(p.teams) != 0 || len(p.teamsOf[gusID]) != 0 || len(p.grants[annID]) != 0 ||
		len(p.access[annID]) != 0 || len(p.sessions) != 1 || door {
		t.Errorf("memory still has %+v", *p)
	}
}
