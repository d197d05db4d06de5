package auth

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/headgate-io/headgate/auth/permission"
	"github.com/headgate-io/headgate/internal/store"
	"github.com/headgate-io/headgate/internal/store/storetest"
	"github.com/headgate-io/headgate/internal/tenant"
)

// exportAll returns the lines of every kind.
func (w *world) exportAll(by Principal, id tenant.ID) map[string][]string {
	w.t.Helper()
	out := map[string][]string{}
	for _, kind := range ExportKinds() {
		n, err := w.Tenants().ExportState(w.t.Context(), by, id, kind, func(line []byte) error {
			if !json.Valid(line) || !strings.HasSuffix(string(line), "}\n") {
				w.t.Errorf("%s: %q", kind, line)
			}
			out[kind] = append(out[kind], string(line))
			return nil
		})
		if err != nil || int(n) != len(out[kind]) {
			w.t.Errorf("%s: %d rows, %v", kind, n, err)
		}
	}
	return out
}

// An export has what the state database has of the tenant, nothing of another, and no secret.
func TestExportHasTheTenantsStateWithoutSecrets(t *testing.T) {
	storetest.Each(t, func(t *testing.T) {
		w := newWorld(t)
		mine, other := w.tenant(NewTenant{Name: "mine"}), w.tenant(NewTenant{Name: "canary"})
		below := w.tenant(NewTenant{Name: "below", Parent: "mine"})
		for _, x := range []Tenant{mine, other} {
			w.key(NewKey{Tenant: x.Name, Name: "key-of-" + x.Name, Scopes: []KeyScope{ScopeIngest}})
			w.customRole(x.Name, "role-of-"+x.Name, permission.AuditRead)
		}
		userID, by := w.signedIn("ann", mine, permission.RootAdmin)
		w.signedIn("canary", other, permission.Viewer)
		w.sql(`INSERT INTO tenant_grants (user_id, tenant_id, granted_at, granted_by, rev) VALUES (?, ?, 0, 'operator', %d)`, userID, below.ID.String())
		hour := w.clock.Now().Truncate(time.Hour).Unix()
		err := w.db.Update(t.Context(), func(tx *store.Tx) error {
			for _, id := range []tenant.ID{mine.ID, other.ID} {
				for i := range maxPage + 3 { // more than a page
					_, err := tx.ExecContext(t.Context(), `INSERT INTO usage_hours (tenant_id, hour, signal, key_id, billed_bytes, overage_bytes, unbilled_bytes,
						records, requests, rejected_records, refused_bytes, refused_requests) VALUES (?, ?, 'logs', ?, 1, 0, 0, 1, 1, 0, 0, 0)`,
						id.String(), hour+3600*int64(i/2), fmt.Sprintf("k%d", i%2))
					if err != nil {
						return err
					}
				}
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		got := w.exportAll(by, mine.ID)
		all := ""
		for _, lines := range got {
			all += strings.Join(lines, "")
		}
		for _, never := range []string{"canary", other.ID.String(), "mac", "password", "totp", "argon2", "secret"} {
			if strings.Contains(all, never) {
				t.Errorf("the export has %q", never)
			}
		}
		for kind, n := range map[string]int{"tenants": 1, "users": 1, "api_keys": 1, "roles": 1, "tenant_grants": 1, "usage_hours": maxPage + 3} {
			if len(got[kind]) != n {
				t.Errorf("%d %s, want %d: %.300q", len(got[kind]), kind, n, got[kind])
			}
		}
		if len(slices.Compact(slices.Sorted(slices.Values(got["usage_hours"])))) != maxPage+3 {
			t.Error("a row is there twice")
		}
		if len(got["audit"]) < 3 || !strings.Contains(got["users"][0], `"email":"ann@example.com"`) || !strings.Contains(got["usage_hours"][0], `"hour":"2025-03-01T12:00:00Z"`) {
			t.Errorf("audit %q, users %q", got["audit"], got["users"])
		}
	})
}

// Every table that a deletion empties or keeps is exported, or left out for a reason.
func TestEveryTableOfATenantIsExportedOrLeftOutForAReason(t *testing.T) {
	w := newWorld(t)
	err := w.db.View(t.Context(), func(tx *store.Tx) error {
		all, err := erasures(t.Context(), tx)
		if err != nil {
			return err
		}
		tables := append([]string{"tenants"}, keptTables...)
		for _, e := range all {
			tables = append(tables, e.table)
		}
		for _, table := range tables {
			if !slices.Contains(ExportKinds(), table) && notExported[table] == "" {
				t.Errorf("table %s: name its columns in stateKinds, or say in notExported why it is left out", table)
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

// An export takes tenants.delete, where there is no other permission also to nothing else, and is in both audits; so is its refusal.
func TestExportTakesPermissionAndIsAudited(t *testing.T) {
	storetest.Each(t, func(t *testing.T) {
		w := newWorld(t)
		root := w.tenant(NewTenant{Name: "root"})
		child := w.tenant(NewTenant{Name: "child", Parent: "root"})
		foreign := w.tenant(NewTenant{Name: "foreign"})
		_, rita := w.signedIn("rita", root, permission.RootAdmin)
		_, adam := w.signedIn("adam", child, permission.Admin)
		x := w.Tenants()
		for _, c := range []struct {
			by   Principal
			ref  string
			want error
		}{{rita, "child", nil}, {rita, "foreign", ErrNotFound}, {rita, "nobody", ErrNotFound}, {adam, "child", ErrForbidden}, {adam, "root", ErrNotFound}, {w.op, "foreign", nil}} {
			_, err := x.Exportable(t.Context(), c.by, "tenant.export", c.ref)
			wantErr(t, "Exportable of "+c.ref, err, c.want)
			wantErr(t, "AuditExport of "+c.ref, x.AuditExport(t.Context(), c.by, "tenant.export", c.ref, map[string]any{"table": "otel_logs"}), c.want)
		}
		_, err := x.ExportState(t.Context(), adam, child.ID, "users", func([]byte) error { t.Error("a row for whom may not"); return nil })
		wantErr(t, "ExportState", err, ErrForbidden)
		_, err = x.ExportState(t.Context(), rita, foreign.ID, "users", func([]byte) error { t.Error("a row for whom may not"); return nil })
		wantErr(t, "ExportState", err, ErrNotFound)
		_, err = x.ExportState(t.Context(), rita, child.ID, "sessions", nil)
		wantErr(t, "ExportState of sessions", err, ErrNotFound)
		for where, want := range map[string]int{
			`action = 'tenant.export' AND outcome = 'ok' AND tenant_id = '` + child.ID.String() + `'`:      1,
			`action = 'tenant.export' AND outcome = 'ok' AND tenant_id = '` + root.ID.String() + `'`:       1,
			`action = 'tenant.export' AND outcome = 'ok' AND tenant_id = '` + foreign.ID.String() + `'`:    1,
			`action = 'tenant.export' AND outcome = 'refused' AND tenant_id = '` + child.ID.String() + `'`: 2,
		} {
			if n := w.count(`SELECT COUNT(*) FROM audit WHERE ` + where); n != want {
				t.Errorf("%d entries with %s, want %d", n, where, want)
			}
		}
		w.sql(`UPDATE tenants SET status = 'deleting', rev = %d WHERE id = ?`, child.ID.String())
		_, err = x.Exportable(t.Context(), rita, "tenant.export", "child")
		wantErr(t, "Exportable of a tenant that is being deleted", err, ErrState)
	})
}
