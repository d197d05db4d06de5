package auth

import (
	"strings"
	"testing"

	"github.com/headgate-io/headgate/auth/permission"
	"github.com/headgate-io/headgate/internal/store/storetest"
)

// A tenant that somebody acts in is told who came and went, and not of the tenants above and beside it. The home is told all.
func TestSwitchingTellsATenantOfNoOther(t *testing.T) {
	storetest.Each(t, func(t *testing.T) {
		w := newTown(t)
		home := w.tenant(NewTenant{Name: "umbrella"})
		alpha := w.tenant(NewTenant{Name: "alpha", Parent: "umbrella"})
		beta := w.tenant(NewTenant{Name: "beta", Parent: "umbrella"})
		in, err := w.Users().Create(t.Context(), w.op, NewUser{Tenant: "umbrella", Email: "rita@example.com", Role: permission.RootAdmin, Password: goodPassword})
		wantErr(t, "create", err, nil)
		signed, err := w.SignIn(t.Context(), SignIn{Slug: "umbrella", Email: "rita@example.com", Password: goodPassword})
		wantErr(t, "sign-in", err, nil)
		for _, to := range []string{"alpha", "beta", ""} {
			p, err := w.Session(signed.Token)
			wantErr(t, "session", err, nil)
			_, err = w.SwitchTenant(t.Context(), p, to)
			wantErr(t, "act in "+to, err, nil)
		}
		all := []Tenant{home, alpha, beta}
		for _, c := range []struct {
			of   Tenant
			acts int
		}{{home, 3}, {alpha, 2}, {beta, 2}} {
			entries, _, err := w.Audit(t.Context(), w.op, AuditFilter{Tenant: c.of.Name, Action: "session.act"})
			wantErr(t, "audit of "+c.of.Name, err, nil)
			if len(entries) != c.acts {
				t.Errorf("%s has %d entries, want %d", c.of.Name, len(entries), c.acts)
			}
			for _, e := range entries {
				told := e.Target + " " + string(e.Detail)
				for _, other := range all {
					if c.of.ID == home.ID || other.ID == c.of.ID {
						continue
					}
					if strings.Contains(told, other.Name) || strings.Contains(told, other.ID.String()) {
						t.Errorf("the audit of %s names %s: %s", c.of.Name, other.Name, told)
					}
				}
				if e.Actor != "user:"+in.ID || !strings.Contains(told, c.of.ID.String()) && c.of.ID != home.ID {
					t.Errorf("the audit of %s does not say who acted in it: %+v", c.of.Name, e)
				}
			}
		}
	})
}
