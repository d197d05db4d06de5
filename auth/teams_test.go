package auth

import (
	"errors"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/headgate-io/headgate/auth/permission"
	"github.com/headgate-io/headgate/internal/store/storetest"
	"github.com/headgate-io/headgate/internal/timetest"
)

func newClock() *timetest.Clock {
	return timetest.NewClock(time.Date(2025, 3, 1, 12, 0, 0, 0, time.UTC))
}

func TestMembersHaveTheirTeamsRolesAndNobodyTakesThemBeyond(t *testing.T) {
	storetest.Each(t, func(t *testing.T) {
		w := newWorld(t)
		acme, other := w.tenant(NewTenant{Name: "acme"}), w.tenant(NewTenant{Name: "other"})
		viewerID, viewer := w.signedIn("vic", acme, permission.Viewer)
		foreignID, foreign := w.signedIn("fay", other, permission.Admin)
		w.customRole("acme", "teamster", permission.TeamsManage, permission.UsersRead)
		_, teamster := w.signedIn("tom", acme, w.customRole("acme", "lead", permission.TeamsManage, permission.RolesManage, permission.UsersRead).ID)
		_, admin := w.signedIn("ann", acme, permission.Admin)
		teams, ctx := w.Teams(), t.Context()
		keys := w.customRole("acme", "keys", permission.KeysManage)

		team, err := teams.Create(ctx, admin, NewTeam{Name: "Ops", Roles: []string{"keys", keys.ID, "viewer"}})
		if err != nil || team.Name != "ops" || !slices.Equal(team.Roles, slices.Sorted(slices.Values([]string{keys.ID, "viewer"}))) {
			t.Fatalf("Create = %+v, %v", team, err)
		}
		wantErr(t, "before", viewer.Can(permission.KeysManage, acme.ID), ErrForbidden)
		for range 2 { // once more is fine
			if team, err = teams.AddMember(ctx, admin, team.ID, viewerID); err != nil || !slices.Equal(team.Members, []string{viewerID}) {
				t.Fatalf("AddMember = %+v, %v", team, err)
			}
		}
		wantErr(t, "as a member", viewer.Can(permission.KeysManage, acme.ID), nil)
		if of, err := teams.OfUser(ctx, viewer, viewerID); err != nil || len(of) != 1 || of[0].ID != team.ID {
			t.Errorf("own teams: %+v, %v", of, err)
		}
		if members, _, err := teams.Members(ctx, admin, team.ID, "", 0); err != nil || len(members) != 1 || members[0].Email != "vic@example.com" {
			t.Errorf("Members = %+v, %v", members, err)
		}

		call := func(what string, want error, fn func() (Team, error)) {
			t.Helper()
			_, err := fn()
			wantErr(t, what, err, want)
		}
		call("a user of another tenant", ErrNotFound, func() (Team, error) { return teams.AddMember(ctx, admin, team.ID, foreignID) })
		call("a user that there is not", ErrNotFound, func() (Team, error) { return teams.AddMember(ctx, admin, team.ID, "nobody") })
		call("no member", ErrNotFound, func() (Team, error) { return teams.RemoveMember(ctx, admin, team.ID, foreignID) })
		call("into a team beyond", ErrForbidden, func() (Team, error) { return teams.AddMember(ctx, teamster, team.ID, teamster.User()) })
		call("out of a team beyond", ErrForbidden, func() (Team, error) { return teams.RemoveMember(ctx, teamster, team.ID, viewerID) })
		call("roles of a team beyond", ErrForbidden, func() (Team, error) {
			return teams.Set(ctx, teamster, team.ID, TeamPatch{Roles: &[]string{}})
		})
		call("a team with a role beyond", ErrForbidden, func() (Team, error) {
			return teams.Create(ctx, teamster, NewTeam{Name: "mine", Roles: []string{"admin"}})
		})
		call("a team with another tenant's role", ErrNotFound, func() (Team, error) {
			return teams.Create(ctx, admin, NewTeam{Name: "mine", Roles: []string{w.customRole("other", "theirs", permission.UsersRead).ID}})
		})
		call("without teams.manage", ErrForbidden, func() (Team, error) { return teams.Create(ctx, viewer, NewTeam{Name: "mine"}) })
		call("the same name", ErrNameTaken, func() (Team, error) { return teams.Create(ctx, admin, NewTeam{Name: "OPS"}) })
		call("a bad name", ErrInvalid, func() (Team, error) { return teams.Create(ctx, admin, NewTeam{Name: "two words"}) })
		wantErr(t, "delete a team beyond", teams.Delete(ctx, teamster, team.ID), ErrForbidden)
		call("rename a team beyond", nil, func() (Team, error) { return teams.Set(ctx, teamster, team.ID, TeamPatch{Name: ptr("Night-Ops")}) })
		call("an empty team", nil, func() (Team, error) { return teams.Create(ctx, teamster, NewTeam{Name: "mine"}) })

		for name, ask := range map[string]func(id string) error{
			"show":    func(id string) error { _, err := teams.Show(ctx, foreign, id); return err },
			"set":     func(id string) error { _, err := teams.Set(ctx, foreign, id, TeamPatch{Name: ptr("x")}); return err },
			"delete":  func(id string) error { return teams.Delete(ctx, foreign, id) },
			"members": func(id string) error { _, _, err := teams.Members(ctx, foreign, id, "", 0); return err },
			"add":     func(id string) error { _, err := teams.AddMember(ctx, foreign, id, foreignID); return err },
			"remove":  func(id string) error { _, err := teams.RemoveMember(ctx, foreign, id, viewerID); return err },
		} {
			wantErr(t, name+" from elsewhere", ask(team.ID), ErrNotFound)
			wantErr(t, name+" of nothing", ask("01ARZ3NDEKTSV4RRFFQ69G5FAV"), ErrNotFound)
		}
		_, err = teams.OfUser(ctx, foreign, viewerID)
		wantErr(t, "teams of a user of elsewhere", err, ErrNotFound)

		wantErr(t, "delete", teams.Delete(ctx, admin, team.ID), nil)
		wantErr(t, "after the team", viewer.Can(permission.KeysManage, acme.ID), ErrForbidden)
		if of, err := teams.OfUser(ctx, admin, viewerID); err != nil || len(of) != 0 {
			t.Errorf("teams after the deletion: %+v, %v", of, err)
		}
	})
}

func TestMembersThatComeAtOnceAreAllThere(t *testing.T) {
	storetest.Each(t, func(t *testing.T) {
		w := newWorld(t)
		acme := w.tenant(NewTenant{Name: "acme"})
		team, err := w.Teams().Create(t.Context(), w.op, NewTeam{Tenant: "acme", Name: "ops"})
		if err != nil {
			t.Fatal(err)
		}
		var ids []string
		for _, name := range []string{"a", "b", "c", "d", "e", "f"} {
			id, _ := w.signedIn(name, acme, permission.Viewer)
			ids = append(ids, id)
		}
		var all sync.WaitGroup
		errs := make([]error, len(ids))
		for i, id := range ids {
			all.Go(func() { _, errs[i] = w.Teams().AddMember(t.Context(), w.op, team.ID, id) })
		}
		all.Wait()
		got, err := w.Teams().Show(t.Context(), w.op, team.ID)
		if err := errors.Join(append(errs, err)...); err != nil || !slices.Equal(got.Members, ids) {
			t.Errorf("members %v, %v", got.Members, err)
		}
	})
}

// Somebody who is there for a time leaves nothing behind that lasts.
func TestTimeLimitedAccessGivesNoRolesAndNoMembership(t *testing.T) {
	storetest.Each(t, func(t *testing.T) {
		w := newWorld(t)
		root := w.tenant(NewTenant{Name: "root"})
		child := w.tenant(NewTenant{Name: "child", Parent: "root"})
		tim, guest := w.signedIn("tim", root, permission.Viewer)
		vic, _ := w.signedIn("vic", child, permission.Viewer)
		role := w.customRole("child", "keys", permission.KeysManage)
		team, err := w.Teams().Create(t.Context(), w.op, NewTeam{Tenant: "child", Name: "ops", Roles: []string{"keys"}})
		if err != nil {
			t.Fatal(err)
		}
		w.giveAccess(tim, child, permission.Everything, time.Hour)
		ctx := t.Context()
		wantErr(t, "for a time", guest.Can(permission.RolesManage, child.ID), nil)
		_, err = w.Roles().Create(ctx, guest, NewRole{Tenant: "child", Name: "x", Permissions: []string{"keys.manage"}})
		wantErr(t, "make a role", err, ErrForbidden)
		_, err = w.Roles().Set(ctx, guest, role.ID, RolePatch{Permissions: &[]string{"keys.manage", "audit.read"}})
		wantErr(t, "change a role", err, ErrForbidden)
		_, err = w.Teams().AddMember(ctx, guest, team.ID, vic)
		wantErr(t, "add a member", err, ErrForbidden)
		_, err = w.Teams().Set(ctx, guest, team.ID, TeamPatch{Roles: &[]string{"admin"}})
		wantErr(t, "give a team a role", err, ErrForbidden)
		_, err = w.Teams().Create(ctx, guest, NewTeam{Tenant: "child", Name: "mine", Roles: []string{"keys"}})
		wantErr(t, "make a team with a role", err, ErrForbidden)
	})
}
