package auth

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/headgate-io/headgate/internal/store"
	"github.com/headgate-io/headgate/internal/store/storetest"
	"github.com/headgate-io/headgate/internal/tenant"
)

// tamper runs statements on the audit as somebody would who owns the database: past the triggers.
func (w *world) tamper(statements ...string) {
	w.t.Helper()
	drop := []string{`DROP TRIGGER audit_no_update`, `DROP TRIGGER audit_no_delete`}
	if storetest.IsPostgres(w.t) {
		drop = []string{`DROP TRIGGER IF EXISTS audit_no_update ON audit`, `DROP TRIGGER IF EXISTS audit_no_delete ON audit`}
	}
	for _, q := range append(drop, statements...) {
		if err := w.db.Update(w.t.Context(), execute(q)); err != nil && !strings.Contains(err.Error(), "no such trigger") {
			w.t.Fatalf("%s: %v", q, err)
		}
	}
}

func (w *world) verify(ref string, anchor *Anchor) Chain {
	w.t.Helper()
	chains, err := w.VerifyAudit(w.t.Context(), w.op, ref, anchor)
	if err != nil || len(chains) != 1 {
		w.t.Fatalf("VerifyAudit = %+v, %v", chains, err)
	}
	return chains[0]
}

func kinds(c Chain) string {
	var out []string
	for _, f := range c.Findings {
		out = append(out, fmt.Sprintf("%s %d", f.Kind, f.Seq))
	}
	return strings.Join(out, ", ")
}

// Whatever is done to the rows of a chain, the verification names the entry, and leaves the chains of others alone.
func TestVerificationNamesEachKindOfTampering(t *testing.T) {
	storetest.Each(t, testVerificationNamesEachKindOfTampering)
}

func testVerificationNamesEachKindOfTampering(t *testing.T) {
	of := func(seq int) string { return fmt.Sprintf(` WHERE tenant_id = '%%[1]s' AND seq = %d`, seq) }
	for _, c := range []struct {
		name, want string
		statements []string
	}{
		{"nothing", "", nil},
		{"time", "changed 3", []string{`UPDATE audit SET at = at + 1` + of(3)}},
		{"actor", "changed 3", []string{`UPDATE audit SET actor = 'nobody'` + of(3)}},
		{"acting", "changed 3", []string{`UPDATE audit SET acting = 'x'` + of(3)}},
		{"address", "changed 3", []string{`UPDATE audit SET address = '192.0.2.1'` + of(3)}},
		{"action", "changed 1", []string{`UPDATE audit SET action = 'key.show'` + of(1)}},
		{"target", "changed 3", []string{`UPDATE audit SET target = 'x'` + of(3)}},
		{"outcome", "changed 3", []string{`UPDATE audit SET outcome = 'refused'` + of(3)}},
		{"detail", "changed 3", []string{`UPDATE audit SET detail = '{}'` + of(3)}},
		{"a letter between two fields", "changed 3", []string{`UPDATE audit SET action = action || substr(target, 1, 1), target = substr(target, 2)` + of(3)}},
		{"two entries", "changed 2, changed 4", []string{`UPDATE audit SET actor = 'a'` + of(2), `UPDATE audit SET actor = 'b'` + of(4)}},
		{"hash", "changed 3, changed 4", []string{`UPDATE audit SET hash = (SELECT hash FROM audit` + of(2) + `)` + of(3)}},
		{"no hash", "inserted 3, removed 3", []string{`UPDATE audit SET hash = NULL` + of(3)}},
		{"removed", "removed 3", []string{`DELETE FROM audit` + of(3)}},
		{"removed first", "removed 1", []string{`DELETE FROM audit` + of(1)}},
		{"removed run", "removed 2", []string{`DELETE FROM audit` + of(2), `DELETE FROM audit` + of(3)}},
		{"truncated", "truncated 5", []string{`DELETE FROM audit` + of(6), `DELETE FROM audit` + of(5)}},
		{"truncated with its head", "head 4", []string{`DELETE FROM audit` + of(6), `DELETE FROM audit` + of(5), `DELETE FROM audit_heads WHERE tenant_id = '%[1]s'`}},
		{"head moved back", "head 6", []string{`UPDATE audit_heads SET seq = 4, hash = (SELECT hash FROM audit` + of(4) + `) WHERE tenant_id = '%[1]s'`}},
		{"everything", "head 0", []string{`DELETE FROM audit WHERE tenant_id = '%[1]s'`, `DELETE FROM audit_heads WHERE tenant_id = '%[1]s'`}},
		{"reordered", "reordered 3", []string{`UPDATE audit SET id = -1` + of(3), `UPDATE audit SET id = id - 2` + of(4),
			`UPDATE audit SET id = (SELECT id FROM audit` + of(4) + `) + 2` + of(3)}},
		{"inserted", "inserted 3", []string{`INSERT INTO audit (id, at, actor, tenant_id, acting, address, action, target, outcome, detail, seq, hash)
			SELECT id + 1000000, at, actor, tenant_id, acting, address, action, target, outcome, detail, seq, hash FROM audit` + of(3)}},
		{"inserted without a link", "inserted 0", []string{`INSERT INTO audit (at, actor, tenant_id, action, target, outcome, detail)
			VALUES (1, 'operator', '%[1]s', 'key.create', 'x', 'ok', '{}')`}},
		{"moved to another tenant", "removed 3", []string{`UPDATE audit SET tenant_id = '%[2]s'` + of(3)}},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := newWorld(t)
			acme, globex := w.tenant(NewTenant{Name: "acme"}), w.tenant(NewTenant{Name: "globex"})
			for range 5 {
				w.key(NewKey{Tenant: "acme"})
				w.key(NewKey{Tenant: "globex"})
			}
			for _, q := range c.statements {
				w.tamper(fmt.Sprintf(q, acme.ID, globex.ID))
			}
			if got := w.verify("acme", nil); kinds(got) != c.want {
				t.Errorf("found %q, want %q\n%+v", kinds(got), c.want, got.Findings)
			}
			if got := w.verify("globex", nil); len(got.Findings) > 0 && c.name != "moved to another tenant" {
				t.Errorf("found in another tenant's: %+v", got.Findings)
			}
		})
	}
}

// What was written before there were chains is held by the first link.
func TestChainHoldsWhatWasWrittenBeforeIt(t *testing.T) {
	storetest.Each(t, func(t *testing.T) {
		for _, c := range []struct{ name, statement, want string }{
			{"nothing", "", ""},
			{"changed", `UPDATE audit SET actor = 'x' WHERE hash IS NULL AND action = 'key.create'`, "changed 1"},
			{"removed", `DELETE FROM audit WHERE hash IS NULL AND action = 'tenant.create'`, "changed 1"},
			{"inserted", `INSERT INTO audit (id, at, actor, tenant_id, action, target, outcome, detail)
				SELECT id - 1000, at, actor, tenant_id, action, target, outcome, detail FROM audit WHERE action = 'tenant.create'`, "changed 1"},
		} {
			t.Run(c.name, func(t *testing.T) {
				w := newWorld(t)
				w.tenant(NewTenant{Name: "acme"})
				w.key(NewKey{Tenant: "acme"})
				w.tamper(`UPDATE audit SET seq = 0, hash = NULL`, `DELETE FROM audit_heads`)
				if got, err := w.verifyChain(t.Context(), w.tenantID("acme"), nil); err != nil || got.Unchained != 2 || len(got.Findings) > 0 {
					t.Errorf("before the first link: %+v, %v", got, err)
				}
				w.key(NewKey{Tenant: "acme"})
				if c.statement != "" {
					w.tamper(c.statement)
				}
				if got := w.verify("acme", nil); kinds(got) != c.want || got.Seq != 1 {
					t.Errorf("found %q at %d, want %q", kinds(got), got.Seq, c.want)
				}
			})
		}
	})
}

func (w *world) tenantID(name string) tenant.ID {
	w.t.Helper()
	t, err := w.Tenants().Show(w.t.Context(), w.op, name)
	if err != nil {
		w.t.Fatal(err)
	}
	return t.ID
}

// Who can write every row can write a chain of their own. An anchor that was kept elsewhere shows it.
func TestAnchorShowsAChainThatWasWrittenAgain(t *testing.T) {
	storetest.Each(t, func(t *testing.T) {
		w := newWorld(t)
		id := w.tenant(NewTenant{Name: "acme"}).ID
		w.key(NewKey{Tenant: "acme"})
		c := w.verify("acme", nil)
		anchor, err := ParseAnchor(Anchor{c.Seq, c.Hash}.String())
		if err != nil || c.Seq != 2 {
			t.Fatal(c, err)
		}
		w.key(NewKey{Tenant: "acme"})
		if got := w.verify("acme", &anchor); len(got.Findings) > 0 {
			t.Errorf("a whole chain: %+v", got.Findings)
		}
		var all []*Entry
		err = w.db.Update(t.Context(), func(tx *store.Tx) error {
			return eachEntry(t.Context(), tx, `tenant_id = ? ORDER BY id`, []any{id.String()}, func(e *Entry) error { all = append(all, e); return nil })
		})
		if err != nil {
			t.Fatal(err)
		}
		w.tamper(`DELETE FROM audit WHERE tenant_id = '`+id.String()+`'`, `DELETE FROM audit_heads WHERE tenant_id = '`+id.String()+`'`)
		err = w.db.Update(t.Context(), func(tx *store.Tx) error {
			for _, e := range all {
				e.Actor = "key:X"
				if err := appendEntry(t.Context(), tx, e); err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		if got := w.verify("acme", nil); len(got.Findings) > 0 {
			t.Errorf("a chain that was written again is consistent: %+v", got.Findings)
		}
		if got := w.verify("acme", &anchor); kinds(got) != "anchor 2" {
			t.Errorf("with the anchor: found %q", kinds(got))
		}
		for _, bad := range []string{"", "2", "x:00", "2:00", "0:" + strings.Repeat("0", 64), "2:" + strings.Repeat("0", 66)} {
			_, err := ParseAnchor(bad)
			wantErr(t, "ParseAnchor "+bad, err, ErrInvalid)
		}
		_, err = w.VerifyAudit(t.Context(), w.op, "", &anchor)
		wantErr(t, "an anchor of no tenant", err, ErrInvalid)
	})
}

// Chains grow without a break whoever writes at once, over several processes.
func TestChainsAreWholeAfterConcurrentChanges(t *testing.T) {
	storetest.Each(t, func(t *testing.T) {
		w := newWorld(t)
		w.tenant(NewTenant{Name: "acme"})
		w.tenant(NewTenant{Name: "globex"})
		other := openWorld(t, w.place, w.dir, w.clock)
		done := make(chan error, 4)
		for i, at := range []*world{w, other, w, other} {
			go func() {
				var failed error
				for range 10 {
					if _, _, err := at.Keys().Create(t.Context(), at.op, NewKey{Tenant: []string{"acme", "globex"}[i/2], Scopes: []KeyScope{ScopeIngest}}); err != nil {
						failed = err
					}
				}
				done <- failed
			}()
		}
		for range 4 {
			if err := <-done; err != nil {
				t.Fatal(err)
			}
		}
		chains, err := w.VerifyAudit(t.Context(), w.op, "", nil)
		if err != nil || len(chains) != 2 {
			t.Fatalf("%d chains, %v", len(chains), err)
		}
		if !slices.ContainsFunc(chains, func(c Chain) bool { return c.Seq == 21 }) {
			t.Errorf("chains %+v", chains)
		}
		for _, c := range chains {
			if len(c.Findings) > 0 {
				t.Errorf("chain of %s: %+v", c.Tenant, c.Findings)
			}
		}
	})
}
