package auth

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/headgate-io/headgate/auth/permission"
	"github.com/headgate-io/headgate/internal/store/storetest"
)

// Every filter selects what it says, alone and together, in pages as in an export.
func TestAuditIsFilteredPagedAndExported(t *testing.T) {
	storetest.Each(t, func(t *testing.T) {
		w := newWorld(t)
		ctx := WithOrigin(t.Context(), "192.0.2.7")
		acme := w.tenant(NewTenant{Name: "acme"})
		w.tenant(NewTenant{Name: "globex"})
		admin := w.as("acme", ScopeAdmin)
		w.clock.Add(time.Hour)
		later := w.clock.Now()
		k, _, err := w.Keys().Create(ctx, admin, NewKey{Tenant: "acme", Scopes: []KeyScope{ScopeAdmin}})
		if err != nil {
			t.Fatal(err)
		}
		_, _, err = w.Keys().Create(ctx, admin, NewKey{Tenant: "acme", Scopes: []KeyScope{ScopeQuery}})
		wantErr(t, "a key with more scopes", err, ErrForbidden)
		for _, c := range []struct {
			name, want string
			filter     AuditFilter
		}{
			{"tenant", "key.create key.create key.create tenant.create", AuditFilter{Tenant: "acme"}},
			{"actor", "key.create key.create", AuditFilter{Actor: "key:" + admin.KeyID()}},
			{"action", "tenant.create tenant.create", AuditFilter{Action: "tenant.create"}},
			{"actions", "key.create key.create key.create", AuditFilter{Action: "key."}},
			{"no action", "", AuditFilter{Action: "key"}},
			{"not a pattern", "", AuditFilter{Action: "%."}},
			{"target", "key.create", AuditFilter{Target: k.ID}},
			{"outcome", "key.create", AuditFilter{Outcome: OutcomeRefused}},
			{"from", "key.create key.create", AuditFilter{From: later}},
			{"to", "key.create tenant.create tenant.create", AuditFilter{To: later}},
			{"all", "key.create", AuditFilter{Tenant: "acme", Actor: "key:" + admin.KeyID(), Action: "key.create", Target: k.ID, Outcome: OutcomeOK, From: later, To: later.Add(1e6)}},
		} {
			var got []string
			for f := c.filter; ; {
				f.Limit = 2
				page, next, err := w.Audit(ctx, w.op, f)
				if err != nil {
					t.Fatal(c.name, err)
				}
				for _, e := range page {
					got = append(got, e.Action)
				}
				if f.Before = next; next == 0 {
					break
				}
			}
			if strings.Join(got, " ") != c.want {
				t.Errorf("%s: %q, want %q", c.name, got, c.want)
			}
		}
		_, _, err = w.Audit(ctx, w.op, AuditFilter{Outcome: "fine"})
		wantErr(t, "an unknown outcome", err, ErrInvalid)

		var lines []Entry
		keep := func(e Entry) error { lines = append(lines, e); return nil }
		if err := w.ExportAudit(ctx, admin, AuditFilter{}, keep); err != nil {
			t.Fatal(err)
		}
		if len(lines) != 5 || lines[0].Action != "tenant.create" || lines[4].Action != "audit.export" || lines[4].Address != "192.0.2.7" || lines[4].Acting != acme.ID {
			t.Errorf("exported %+v", lines)
		}
		for i, e := range lines {
			if e.Tenant != acme.ID || e.Seq != int64(i+1) {
				t.Errorf("line %d: %+v", i, e)
			}
		}
		lines = nil
		wantErr(t, "export of another tenant", w.ExportAudit(ctx, admin, AuditFilter{Tenant: "globex"}, keep), ErrNotFound)
		wantErr(t, "export without the scope", w.ExportAudit(ctx, w.as("acme", ScopeQuery), AuditFilter{}, keep), ErrScope)
		if len(lines) > 0 {
			t.Errorf("a refusal exported %+v", lines)
		}
	})
}

// The audit is read with audit.read alone; a reader from another tenant is audited, and who reads is not told of tenants above.
func TestAuditTellsReadersWhatTheyReach(t *testing.T) {
	storetest.Each(t, func(t *testing.T) {
		w := newWorld(t)
		ctx := context.Background()
		parent := w.tenant(NewTenant{Name: "parent"})
		child := w.tenant(NewTenant{Name: "child", Parent: "parent"})
		_, rootToken := w.person("rita", parent.ID, permission.RootAdmin)
		_, adminToken := w.person("ann", child.ID, permission.Admin)
		_, viewerToken := w.person("vic", child.ID, permission.Viewer)
		rita, ann, vic := w.session(rootToken), w.session(adminToken), w.session(viewerToken)
		for name, f := range map[string]AuditFilter{"list": {}, "list of the own": {Tenant: "child"}} {
			_, _, err := w.Audit(ctx, vic, f)
			wantErr(t, name+" without audit.read", err, ErrForbidden)
		}
		_, err := w.VerifyAudit(ctx, vic, "child", nil)
		wantErr(t, "verify without audit.read", err, ErrForbidden)
		wantErr(t, "export without audit.read", w.ExportAudit(ctx, vic, AuditFilter{}, nil), ErrForbidden)
		if _, err := w.Tenants().Set(ctx, rita, "child", Patch{RetentionDays: ptr(7)}); err != nil {
			t.Fatal(err)
		}
		if _, _, err := w.Audit(ctx, rita, AuditFilter{Tenant: "child"}); err != nil {
			t.Fatal(err)
		}
		seen, _, err := w.Audit(ctx, ann, AuditFilter{Actor: "user:" + rita.User()})
		if err != nil || len(seen) != 2 || seen[0].Action != "audit.list" || seen[1].Action != "tenant.set" {
			t.Fatalf("child sees %+v, %v", seen, err)
		}
		for _, e := range seen {
			if !e.Acting.IsZero() {
				t.Errorf("child is told of %s", e.Acting)
			}
		}
		above, _, err := w.Audit(ctx, rita, AuditFilter{Action: "tenant.set"})
		if err != nil || len(above) == 0 || above[0].Acting != parent.ID {
			t.Errorf("parent sees %+v, %v", above, err)
		}
		home, _, err := w.Audit(ctx, rita, AuditFilter{Tenant: "parent", Action: "audit.list"})
		if err != nil || len(home) != 1 {
			t.Errorf("at home the reading is recorded as %+v, %v", home, err)
		}
	})
}
