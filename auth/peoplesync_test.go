package auth

import (
	"testing"

	"github.com/headgate-io/headgate/auth/permission"
	"github.com/headgate-io/headgate/internal/store/storetest"
)

// People who come and go leave nothing in memory, nor do grants, access and memberships that end; a process that starts anew loads none.
func TestPeopleWhoAreGoneLeaveNothingInMemory(t *testing.T) {
	storetest.Each(t, func(t *testing.T) {
		w := newTown(t)
		ctx := t.Context()
		w.tenant(NewTenant{Name: "acme"})
		w.tenant(NewTenant{Name: "acme-dev", Parent: "acme"})
		w.admin("acme", "ann@example.com", permission.Admin)
		ops, err := w.Teams().Create(ctx, w.op, NewTeam{Tenant: "acme", Name: "ops"})
		wantErr(t, "team", err, nil)
		for _, end := range []func(u User, access string){
			func(u User, _ string) { wantErr(t, "delete", w.Users().Delete(ctx, w.op, u.ID), nil) },
			func(u User, access string) {
				wantErr(t, "withdraw", w.Grants().Withdraw(ctx, w.op, u.ID, "acme-dev"), nil)
				_, err := w.Access().Revoke(ctx, w.op, access)
				wantErr(t, "revoke", err, nil)
				_, err = w.Teams().RemoveMember(ctx, w.op, ops.ID, u.ID)
				wantErr(t, "leave", err, nil)
			},
		} {
			u, p := w.admin("acme", "vic@example.com", permission.Viewer)
			_, err := w.Grants().Put(ctx, w.op, u.ID, "acme-dev")
			wantErr(t, "grant", err, nil)
			r, err := w.Access().Request(ctx, p, NewAccess{Tenant: "acme-dev", Permissions: []string{"audit.read"}, Expiry: Expiry{Preset: "1h"}})
			wantErr(t, "request", err, nil)
			_, err = w.Access().Approve(ctx, w.op, r.ID)
			wantErr(t, "approve", err, nil)
			_, err = w.Teams().AddMember(ctx, w.op, ops.ID, u.ID)
			wantErr(t, "member", err, nil)
			if m := &w.people; len(m.grants) != 1 || len(m.access) != 1 || len(m.teamsOf) != 1 {
				t.Errorf("before: %d grants, %d access, %d memberships", len(m.grants), len(m.access), len(m.teamsOf))
			}
			end(u, r.ID)
			for what, d := range map[string]*Directory{"after": w.Directory, "anew": openWorld(t, w.place, w.dir, w.clock).Directory} {
				if m := &d.people; len(m.grants)+len(m.access)+len(m.teamsOf) != 0 {
					t.Errorf("%s: grants %v, access %v, memberships %v", what, m.grants, m.access, m.teamsOf)
				}
			}
		}
	})
}
