package auth

import (
	"slices"
	"strings"
	"testing"

	"github.com/headgate-io/headgate/auth/permission"
	"github.com/headgate-io/headgate/internal/store/storetest"
	"github.com/headgate-io/headgate/internal/timetest"
)

// customRole makes a custom role of a tenant.
func (w *world) customRole(tenantName, name string, ps ...permission.Permission) Role {
	w.t.Helper()
	r, err := w.Roles().Create(w.t.Context(), w.op, NewRole{Tenant: tenantName, Name: name, Permissions: permission.Of(ps...).List()})
	if err != nil {
		w.t.Fatal(err)
	}
	return r
}

// signedIn puts a person into a tenant and returns the principal of a session.
func (w *world) signedIn(name string, home Tenant, role string) (id string, p Principal) {
	w.t.Helper()
	id, token := w.person(name, home.ID, role)
	return id, w.session(token)
}

func TestNobodyMakesChangesOrDeletesARoleBeyondTheirOwn(t *testing.T) {
	storetest.Each(t, func(t *testing.T) {
		w := newWorld(t)
		acme := w.tenant(NewTenant{Name: "acme"})
		_, admin := w.signedIn("ann", acme, permission.Admin)
		_, viewer := w.signedIn("vic", acme, permission.Viewer)
		roles, ctx := w.Roles(), t.Context()
		keys, err := roles.Create(ctx, admin, NewRole{Name: "Keys", Permissions: []string{"keys.manage", "usage.read"}})
		if err != nil || keys.Name != "keys" || keys.Tenant != acme.ID || keys.Permissions != permission.Of(permission.KeysManage, permission.UsageRead) {
			t.Fatalf("Create = %+v, %v", keys, err)
		}
		beyond := w.customRole("acme", "beyond", permission.TenantsDelete, permission.QueriesRun)
		more, less := []string{"tenants.create"}, []string{"keys.manage"}
		for _, c := range []struct {
			name string
			by   Principal
			call func(by Principal) error
			want error
		}{
			{"make beyond", admin, func(by Principal) error {
				_, err := roles.Create(ctx, by, NewRole{Name: "x", Permissions: more})
				return err
			}, ErrForbidden},
			{"set to beyond", admin, func(by Principal) error {
				_, err := roles.Set(ctx, by, keys.ID, RolePatch{Permissions: &more})
				return err
			}, ErrForbidden},
			{"set from beyond", admin, func(by Principal) error {
				_, err := roles.Set(ctx, by, beyond.ID, RolePatch{Permissions: &less})
				return err
			}, ErrForbidden},
			{"rename beyond", admin, func(by Principal) error {
				_, err := roles.Set(ctx, by, beyond.ID, RolePatch{Name: ptr("y")})
				return err
			}, ErrForbidden},
			{"delete beyond", admin, func(by Principal) error { return roles.Delete(ctx, by, beyond.ID) }, ErrForbidden},
			{"make without roles.manage", viewer, func(by Principal) error {
				_, err := roles.Create(ctx, by, NewRole{Name: "x", Permissions: []string{"queries.run"}})
				return err
			}, ErrForbidden},
			{"list without users.read", viewer, func(by Principal) error { _, _, err := roles.List(ctx, by, ListRoles{}); return err }, ErrForbidden},
			{"show without users.read", viewer, func(by Principal) error { _, err := roles.Show(ctx, by, keys.ID); return err }, ErrForbidden},
			{"set built-in", admin, func(by Principal) error {
				_, err := roles.Set(ctx, by, "viewer", RolePatch{Name: ptr("y")})
				return err
			}, ErrState},
			{"delete built-in", admin, func(by Principal) error { return roles.Delete(ctx, by, "viewer") }, ErrState},
			{"delete missing", admin, func(by Principal) error { return roles.Delete(ctx, by, "01ARZ3NDEKTSV4RRFFQ69G5FAV") }, ErrNotFound},
		} {
			wantErr(t, c.name, c.call(c.by), c.want)
		}
		refused, _, err := w.Audit(ctx, admin, AuditFilter{Limit: 1})
		if err != nil || len(refused) != 1 || refused[0].Action != "role.create" || refused[0].Outcome != OutcomeRefused {
			t.Errorf("the last refusal is audited as %+v, %v", refused, err)
		}
	})
}

func TestRoleNamesAreOneOfAKind(t *testing.T) {
	storetest.Each(t, func(t *testing.T) {
		w := newWorld(t)
		acme := w.tenant(NewTenant{Name: "acme"})
		w.tenant(NewTenant{Name: "other"})
		_, admin := w.signedIn("ann", acme, permission.Admin)
		make := func(name string, ps ...string) error {
			_, err := w.Roles().Create(t.Context(), admin, NewRole{Name: name, Permissions: ps})
			return err
		}
		w.customRole("other", "ops", permission.UsageRead)
		wantErr(t, "first", make("ops", "usage.read"), nil)
		wantErr(t, "same name", make("ops", "usage.read"), ErrNameTaken)
		wantErr(t, "in another case", make("OPS", "usage.read"), ErrNameTaken)
		for _, r := range permission.Builtin {
			wantErr(t, "built-in", make(strings.ToUpper(r.Name), "usage.read"), ErrNameTaken)
		}
		for _, bad := range []string{"", "two words", "оps", "\u212a", strings.Repeat("x", 65), "01ARZ3NDEKTSV4RRFFQ69G5FAV", "a\x00"} {
			wantErr(t, bad, make(bad, "usage.read"), ErrInvalid)
		}
		wantErr(t, "no permission", make("empty"), ErrInvalid)
		wantErr(t, "unknown permission", make("odd", "usage.read", "tenants.burn"), ErrInvalid)
		r := w.customRole("acme", "second", permission.UsageRead)
		_, err := w.Roles().Set(t.Context(), admin, r.ID, RolePatch{Name: ptr("Ops")})
		wantErr(t, "rename to a taken name", err, ErrNameTaken)
		wantErr(t, "delete", w.Roles().Delete(t.Context(), admin, r.ID), nil)
		wantErr(t, "a deleted role's name", make("second", "usage.read"), nil)
	})
}

func TestARoleInUseIsNotDeleted(t *testing.T) {
	storetest.Each(t, func(t *testing.T) {
		w := newWorld(t)
		acme := w.tenant(NewTenant{Name: "acme"})
		r := w.customRole("acme", "keys", permission.KeysManage)
		w.signedIn("one", acme, r.ID)
		w.signedIn("two", acme, r.ID)
		_, admin := w.signedIn("ann", acme, permission.Admin)
		team, err := w.Teams().Create(t.Context(), admin, NewTeam{Name: "ops", Roles: []string{"keys"}})
		if err != nil {
			t.Fatal(err)
		}
		err = w.Roles().Delete(t.Context(), admin, r.ID)
		wantErr(t, "in use", err, ErrState)
		if err == nil || !strings.Contains(err.Error(), "users that have it: 2, teams that have it: 1") {
			t.Errorf("Delete = %v", err)
		}
		only := w.customRole("acme", "only", permission.KeysManage)
		w.signedIn("uma", acme, only.ID)
		wantErr(t, "in use by a user", w.Roles().Delete(t.Context(), admin, only.ID), ErrState)
		w.sql(`UPDATE users SET role = 'viewer', rev = %d WHERE role = ?`, r.ID)
		wantErr(t, "in use by a team", w.Roles().Delete(t.Context(), admin, r.ID), ErrState)
		if _, err := w.Teams().Set(t.Context(), admin, team.ID, TeamPatch{Roles: &[]string{}}); err != nil {
			t.Fatal(err)
		}
		wantErr(t, "free", w.Roles().Delete(t.Context(), admin, r.ID), nil)
		wantErr(t, "gone", w.Roles().Delete(t.Context(), admin, r.ID), ErrNotFound)
	})
}

func TestChangesOfRolesHoldOnLiveSessionsElsewhereWithinASecond(t *testing.T) {
	storetest.Each(t, func(t *testing.T) {
		place, dir := storetest.Place(t), t.TempDir()
		here := openWorld(t, place, dir, newClock())
		there := openWorld(t, place, dir, here.clock)
		background(t, there.Directory)
		acme := here.tenant(NewTenant{Name: "acme"})
		r := here.customRole("acme", "keys", permission.KeysManage)
		_, token := here.person("kim", acme.ID, r.ID)
		holds := func(what permission.Permission, want bool) {
			t.Helper()
			timetest.Eventually(t, "the role is known", func() bool {
				p, err := there.Directory.Session(token)
				return err == nil && (p.Can(what, acme.ID) == nil) == want
			})
		}
		holds(permission.KeysManage, true)
		_, err := here.Roles().Set(t.Context(), here.op, r.ID, RolePatch{Permissions: &[]string{"usage.read"}})
		if err != nil {
			t.Fatal(err)
		}
		holds(permission.KeysManage, false)
		holds(permission.UsageRead, true)
	})
}

func TestRolesAreListedInPages(t *testing.T) {
	storetest.Each(t, func(t *testing.T) {
		w := newWorld(t)
		acme := w.tenant(NewTenant{Name: "acme"})
		w.tenant(NewTenant{Name: "other"})
		for _, name := range []string{"b", "a", "zz"} {
			w.customRole("acme", name, permission.UsageRead)
		}
		w.customRole("other", "c", permission.UsageRead)
		_, admin := w.signedIn("ann", acme, permission.Admin)
		want := []string{"no-access", "viewer", "editor", "admin", "root-admin", "a", "b", "zz"}
		for limit := 1; limit <= len(want)+1; limit++ {
			var got []string
			for after := ""; ; {
				page, next, err := w.Roles().List(t.Context(), admin, ListRoles{After: after, Limit: limit})
				if err != nil || len(page) > limit {
					t.Fatalf("%d roles, %v", len(page), err)
				}
				for _, r := range page {
					got = append(got, r.Name)
				}
				if after = next; next == "" {
					break
				}
			}
			if !slices.Equal(got, want) {
				t.Errorf("in pages of %d: %v, want %v", limit, got, want)
			}
		}
		if page, _, err := w.Roles().List(t.Context(), admin, ListRoles{Search: "Z"}); err != nil || len(page) != 1 || page[0].Name != "zz" {
			t.Errorf("search: %v, %v", page, err)
		}
	})
}

// Whoever manages users last cannot be taken the permission, in whatever way they have it.
func TestATenantKeepsSomebodyWhoManagesItsUsers(t *testing.T) {
	storetest.Each(t, func(t *testing.T) {
		w := newWorld(t)
		acme := w.tenant(NewTenant{Name: "acme"})
		boss := w.customRole("acme", "boss", permission.UsersManage, permission.UsersRead)
		ann, _ := w.signedIn("ann", acme, boss.ID)
		_, err := w.Roles().Set(t.Context(), w.op, boss.ID, RolePatch{Permissions: &[]string{"users.read"}})
		wantErr(t, "role of the last", err, ErrLastAdmin)
		team, err := w.Teams().Create(t.Context(), w.op, NewTeam{Tenant: "acme", Name: "bosses", Roles: []string{"admin"}})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := w.Teams().AddMember(t.Context(), w.op, team.ID, ann); err != nil {
			t.Fatal(err)
		}
		_, err = w.Roles().Set(t.Context(), w.op, boss.ID, RolePatch{Permissions: &[]string{"users.read"}})
		wantErr(t, "role of one whose team still does", err, nil)
		_, err = w.Teams().RemoveMember(t.Context(), w.op, team.ID, ann)
		wantErr(t, "last member", err, ErrLastAdmin)
		_, err = w.Teams().Set(t.Context(), w.op, team.ID, TeamPatch{Roles: &[]string{"viewer"}})
		wantErr(t, "roles of the last member's team", err, ErrLastAdmin)
		wantErr(t, "the last member's team", w.Teams().Delete(t.Context(), w.op, team.ID), ErrLastAdmin)
		if got, err := w.Teams().Show(t.Context(), w.op, team.ID); err != nil || !slices.Equal(got.Members, []string{ann}) || !slices.Equal(got.Roles, []string{"admin"}) {
			t.Errorf("after the refusals: %+v, %v", got, err)
		}
		w.signedIn("bob", acme, permission.Admin)
		wantErr(t, "with another", w.Teams().Delete(t.Context(), w.op, team.ID), nil)
	})
}
