package auth

import (
	"testing"
	"time"

	"github.com/headgate-io/headgate/auth/permission"
	"github.com/headgate-io/headgate/internal/store/storetest"
	"github.com/headgate-io/headgate/internal/timetest"
)

func TestGrantsReachNoFurtherThanWhoGives(t *testing.T) {
	storetest.Each(t, func(t *testing.T) {
		w := newWorld(t)
		root := w.tenant(NewTenant{Name: "root"})
		child := w.tenant(NewTenant{Name: "child", Parent: "root"})
		w.tenant(NewTenant{Name: "grandchild", Parent: "child"})
		sibling := w.tenant(NewTenant{Name: "sibling", Parent: "root"})
		w.tenant(NewTenant{Name: "foreign"})
		_, rita := w.signedIn("rita", root, permission.RootAdmin)
		annID, ann := w.signedIn("ann", root, permission.Admin)
		vicID, vic := w.signedIn("vic", root, permission.Viewer)
		bossID, boss := w.signedIn("boss", child, permission.Admin)
		_, helper := w.signedIn("hugo", root, w.customRole("root", "helper", permission.UsersManage, permission.UsersRead).ID)
		grants, ctx := w.Grants(), t.Context()
		put := func(by Principal, user, ref string) error { _, err := grants.Put(ctx, by, user, ref); return err }

		wantErr(t, "out of the granter's reach", put(ann, vicID, "child"), ErrNotFound)
		wantErr(t, "that there is not", put(ann, vicID, "nothing"), ErrNotFound)
		wantErr(t, "beyond the granter's permissions", put(helper, vicID, "child"), ErrNotFound)
		wantErr(t, "root admin grants", put(rita, annID, "child"), nil)
		wantErr(t, "by id, once more", put(rita, annID, child.ID.String()), nil)
		wantErr(t, "in force", ann.Can(permission.UsersManage, child.ID), nil)
		wantErr(t, "nowhere else", ann.Can(permission.UsersRead, sibling.ID), ErrNotFound)
		wantErr(t, "what one has, one gives", put(ann, vicID, "child"), nil)
		wantErr(t, "as a viewer", vic.Can(permission.UsersManage, child.ID), ErrForbidden)
		wantErr(t, "as a viewer", vic.Can(permission.QueriesRun, child.ID), nil)
		wantErr(t, "without users.manage at home", put(vic, vicID, "child"), ErrForbidden)
		wantErr(t, "the own tenant", put(rita, annID, "root"), ErrInvalid)
		wantErr(t, "not below the user's own", put(rita, bossID, "sibling"), ErrInvalid)
		wantErr(t, "foreign", put(rita, annID, "foreign"), ErrNotFound)
		wantErr(t, "foreign, by the operator", put(w.op, annID, "foreign"), ErrInvalid)
		wantErr(t, "a user of above", put(boss, annID, "grandchild"), ErrNotFound)
		wantErr(t, "a user that there is not", put(boss, "nobody", "grandchild"), ErrNotFound)

		// Hugo reaches child now, but may not do there what ann does.
		hugo := helper.User()
		wantErr(t, "helper", put(rita, hugo, "child"), nil)
		_, err := grants.Put(ctx, helper, annID, "child")
		wantErr(t, "a grant of more than one's own", err, ErrForbidden)
		wantErr(t, "an end of more than one's own", grants.Withdraw(ctx, helper, annID, "child"), ErrForbidden)

		if list, err := grants.List(ctx, vic, vicID); err != nil || len(list) != 1 || list[0].Tenant != child.ID || list[0].GrantedBy != "user:"+annID {
			t.Errorf("own grants: %+v, %v", list, err)
		}
		if _, err := grants.List(ctx, vic, annID); err == nil {
			t.Error("a viewer lists the grants of others")
		}
		if list, err := grants.List(ctx, w.session(w.tokenOf("una", root, "helper")), annID); err != nil || len(list) != 0 {
			t.Errorf("grants into tenants that the caller does not reach: %+v, %v", list, err)
		}
		wantErr(t, "withdraw", grants.Withdraw(ctx, ann, vicID, "child"), nil)
		wantErr(t, "in force", vic.Can(permission.QueriesRun, child.ID), ErrNotFound)
		wantErr(t, "withdraw again", grants.Withdraw(ctx, ann, vicID, "child"), ErrNotFound)
		_, err = grants.Show(ctx, ann, vicID, "child")
		wantErr(t, "show", err, ErrNotFound)
		wantErr(t, "grant again", put(ann, vicID, "child"), nil)
		wantErr(t, "in force again", vic.Can(permission.QueriesRun, child.ID), nil)
		for _, at := range []Tenant{root, child} { // both tenants have it in their audit
			entries, _, err := w.Audit(ctx, w.op, AuditFilter{Tenant: at.Name, Limit: 1})
			if err != nil || len(entries) != 1 || entries[0].Action != "grant.add" || entries[0].Target != vicID || entries[0].Actor != "user:"+annID {
				t.Errorf("audit of %s: %+v, %v", at.Name, entries, err)
			}
		}
	})
}

// tokenOf is person for a role by name.
func (w *world) tokenOf(name string, home Tenant, role string) string {
	w.t.Helper()
	w.mu.RLock()
	for id, r := range w.people.roles {
		if r.Tenant == home.ID && r.Name == role {
			role = id
		}
	}
	w.mu.RUnlock()
	_, token := w.person(name, home.ID, role)
	return token
}

func TestWhatIsReachedForATimeIsNotGrantedForGood(t *testing.T) {
	storetest.Each(t, func(t *testing.T) {
		w := newWorld(t)
		root := w.tenant(NewTenant{Name: "root"})
		child := w.tenant(NewTenant{Name: "child", Parent: "root"})
		annID, ann := w.signedIn("ann", root, permission.Admin)
		admin, _ := permission.OfRole(permission.Admin)
		w.giveAccess(annID, child, admin, time.Hour)
		wantErr(t, "for a time", ann.Can(permission.UsersManage, child.ID), nil)
		_, err := w.Grants().Put(t.Context(), ann, annID, "child")
		wantErr(t, "for good", err, ErrForbidden)
	})
}

// giveAccess gives a user active access, beside all rules.
func (w *world) giveAccess(user string, t Tenant, s permission.Set, length time.Duration) (id string) {
	w.t.Helper()
	id = newID(w.clock.Now())
	w.sql(`INSERT INTO access_requests (id, user_id, user_email, tenant_id, note, role, permissions, seconds, status, requested_at, expires_at, rev)
		VALUES (?, ?, '', ?, '', '', ?, 0, 'active', 0, ?, %d)`, id, user, t.ID.String(), s.String(), w.clock.Now().Add(length).UnixMilli())
	return id
}

func TestWithdrawnGrantsEndSessionsElsewhereWithinASecond(t *testing.T) {
	storetest.Each(t, func(t *testing.T) {
		place, dir := storetest.Place(t), t.TempDir()
		here := openWorld(t, place, dir, newClock())
		there := openWorld(t, place, dir, here.clock)
		background(t, there.Directory)
		root := here.tenant(NewTenant{Name: "root"})
		child := here.tenant(NewTenant{Name: "child", Parent: "root"})
		id, token := here.person("vic", root.ID, permission.Viewer)
		reaches := func() bool {
			p, err := there.Directory.Session(token)
			return err == nil && p.Can(permission.QueriesRun, child.ID) == nil
		}
		if _, err := here.Grants().Put(t.Context(), here.op, id, "child"); err != nil {
			t.Fatal(err)
		}
		timetest.Eventually(t, "the grant is known", reaches)
		here.sql(`UPDATE sessions SET acting = ?, rev = %d`, child.ID.String())
		timetest.Eventually(t, "the session acts in the child", func() bool { p, err := there.Directory.Session(token); return err == nil && p.Tenant() == child.ID })
		if err := here.Grants().Withdraw(t.Context(), here.op, id, "child"); err != nil {
			t.Fatal(err)
		}
		timetest.Eventually(t, "the session has ended", func() bool { _, err := there.Directory.Session(token); return err != nil })
	})
}
