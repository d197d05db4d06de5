package auth

import (
	"strings"
	"testing"

	"github.com/headgate-io/headgate/auth/permission"
	"github.com/headgate-io/headgate/internal/store/storetest"
)

// Where grants and access end because a user is removed, or the tenant moved away, the tenant's audit says so, of itself alone.
func TestReachThatEndsByItselfIsToldWhereItWas(t *testing.T) {
	storetest.Each(t, func(t *testing.T) {
		for name, end := range map[string]func(w *town, u User) error{
			"removed": func(w *town, u User) error { return w.Users().Delete(t.Context(), w.op, u.ID) },
			"moved":   func(w *town, _ User) error { _, err := w.Tenants().Move(t.Context(), w.op, "dev", ""); return err },
		} {
			w := newTown(t)
			ctx := t.Context()
			w.tenant(NewTenant{Name: "acme"})
			dev := w.tenant(NewTenant{Name: "dev", Parent: "acme"})
			lab := w.tenant(NewTenant{Name: "lab", Parent: "dev"})
			w.admin("acme", "ann@example.com", permission.Admin)
			u, p := w.admin("acme", "vic@example.com", permission.Viewer)
			for _, to := range []string{"dev", "lab"} {
				_, err := w.Grants().Put(ctx, w.op, u.ID, to)
				wantErr(t, "grant", err, nil)
				_, err = w.Access().Request(ctx, p, NewAccess{Tenant: to, Permissions: []string{"audit.read"}, Expiry: Expiry{Preset: "1h"}})
				wantErr(t, "request", err, nil)
			}
			wantErr(t, name, end(w, u), nil)
			for _, of := range []Tenant{dev, lab} {
				entries, _, err := w.Audit(ctx, w.op, AuditFilter{Tenant: of.Name, Actor: System})
				wantErr(t, "audit", err, nil)
				var got []string
				for _, e := range entries {
					got = append(got, e.Action)
					if told := string(e.Detail); !strings.Contains(told, "vic@example.com") || !strings.Contains(told, of.ID.String()) {
						t.Errorf("%s: the audit of %s is told %s", name, of.Name, told)
					}
				}
				if want := "access.revoke grant.withdraw"; strings.Join(got, " ") != want {
					t.Errorf("%s: the audit of %s has %v, want %s", name, of.Name, got, want)
				}
				if c := w.verify(of.Name, nil); len(c.Findings) > 0 {
					t.Errorf("chain %+v", c.Findings)
				}
			}
			if reach := p.reaches(dev.ID); reach {
				t.Errorf("%s: still reached", name)
			}
		}
	})
}
