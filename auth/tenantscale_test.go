package auth

import (
	"fmt"
	"os"
	"runtime"
	"testing"
	"time"

	"github.com/headgate-io/headgate/internal/store"
	"github.com/headgate-io/headgate/internal/store/storetest"
)

// TestTenThousandTenantsAndAHundredThousandKeys measures a start, memory and lists; `make scale` runs it.
func TestTenThousandTenantsAndAHundredThousandKeys(t *testing.T) {
	if os.Getenv("HEADGATE_SCALE") == "" {
		t.Skip("measures; run make scale")
	}
	storetest.Each(t, func(t *testing.T) {
		const tenants, keys = 10_000, 10
		w := newWorld(t)
		root := w.tenant(NewTenant{Name: "root"})
		err := w.db.Update(t.Context(), func(tx *store.Tx) error {
			rev, mac := w.bump(tx), make([]byte, 32)
			for i := range tenants {
				id := newID(w.clock.Now())
				_, err := tx.ExecContext(t.Context(), `INSERT INTO tenants (id, name, slug, parent_id, status, retention_days, at_limit, placement, owner_email, created_at, changed_at, rev)
					VALUES (?, ?, ?, ?, 'active', 30, 'refuse', 'shared-00', ?, 0, 0, ?)`, id, fmt.Sprintf("t%05d", i), fmt.Sprintf("t%05d", i), root.ID.String(), fmt.Sprintf("o%d@example.com", i), rev)
				if err != nil {
					return err
				}
				for range keys {
					_, err := tx.ExecContext(t.Context(), `INSERT INTO api_keys (id, tenant_id, mac, scopes, created_at, rev) VALUES (?, ?, ?, 'ingest', 0, ?)`, newID(w.clock.Now()), id, mac, rev)
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
		heap := func() uint64 {
			var m runtime.MemStats
			runtime.GC()
			runtime.ReadMemStats(&m)
			return m.HeapAlloc
		}
		before, began := heap(), time.Now()
		d, err := Open(t.Context(), w.db, Options{Now: w.clock.Now, Dir: w.dir})
		if err != nil {
			t.Fatal(err)
		}
		t.Logf("start: %v, %d MiB", time.Since(began), (heap()-before)>>20)
		w.Directory, w.op = d, operatorOf(t, d, w.dir)
		_, token := w.person("rita", root.ID, "root-admin")
		rita := w.session(token)
		measure := func(what string, f func() error) {
			t.Helper()
			worst := time.Duration(0)
			for range 5 {
				began := time.Now()
				if err := f(); err != nil {
					t.Fatal(err)
				}
				worst = max(worst, time.Since(began))
			}
			t.Logf("%s: %v at worst of 5", what, worst)
			if worst > 10*time.Second {
				t.Errorf("%s takes %v", what, worst)
			}
		}
		for who, by := range map[string]Principal{"operator": w.op, "root admin": rita} {
			measure("first page of tenants, "+who, func() error { _, _, err := d.Tenants().List(t.Context(), by, ListTenants{}); return err })
			measure("search that finds one, "+who, func() error {
				_, _, err := d.Tenants().List(t.Context(), by, ListTenants{Search: "o9999@"})
				return err
			})
			measure("first page of keys, "+who, func() error { _, _, err := d.Keys().List(t.Context(), by, "", "", 0); return err })
			measure("one tenant, "+who, func() error { _, err := d.Tenants().Show(t.Context(), by, "t05000"); return err })
			measure("audit, "+who, func() error { _, _, err := d.Audit(t.Context(), by, AuditFilter{}); return err })
		}
		measure("a new key", func() error {
			_, _, err := d.Keys().Create(t.Context(), w.op, NewKey{Tenant: "t00001", Scopes: []KeyScope{ScopeIngest}})
			return err
		})
	})
}
