package auth

import (
	"testing"

	"github.com/headgate-io/headgate/auth/permission"
	"github.com/headgate-io/headgate/internal/store/storetest"
)

// What a user may by a team counts like what the user's own role allows: who lacks it neither takes it nor touches who has it.
func TestNobodyTouchesWhoHasMoreByATeam(t *testing.T) {
	storetest.Each(t, func(t *testing.T) {
		w := newTown(t)
		ctx, users := t.Context(), w.Users()
		w.tenant(NewTenant{Name: "acme"})
		_, ann := w.admin("acme", "ann@example.com", permission.Admin)
		vic, err := users.Create(ctx, w.op, NewUser{Tenant: "acme", Email: "vic@example.com", Role: permission.Viewer, Password: goodPassword})
		wantErr(t, "create", err, nil)
		ops, err := w.Teams().Create(ctx, w.op, NewTeam{Tenant: "acme", Name: "ops", Roles: []string{permission.RootAdmin}})
		wantErr(t, "team", err, nil)
		_, err = w.Teams().AddMember(ctx, w.op, ops.ID, vic.ID)
		wantErr(t, "member", err, nil)
		touches := map[string]func() error{
			"set":        func() error { _, err := users.Set(ctx, ann, vic.ID, UserPatch{Name: ptr("Vic")}); return err },
			"deactivate": func() error { _, err := users.Deactivate(ctx, ann, vic.ID); return err },
			"activate":   func() error { _, err := users.Activate(ctx, ann, vic.ID); return err },
			"reset":      func() error { _, err := users.ResetSecondFactor(ctx, ann, vic.ID); return err },
			"leave":      func() error { _, err := w.Teams().RemoveMember(ctx, ann, ops.ID, vic.ID); return err },
			"delete":     func() error { return users.Delete(ctx, ann, vic.ID) },
		}
		for what, touch := range touches {
			wantErr(t, what, touch(), ErrForbidden)
		}
		_, err = w.Teams().RemoveMember(ctx, w.op, ops.ID, vic.ID)
		wantErr(t, "out of the team", err, nil)
		wantErr(t, "delete who has no more", touches["delete"](), nil)
	})
}
