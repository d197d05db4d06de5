package auth

import (
	"encoding/json"
	"errors"
	"testing"
	"time"

	"github.com/headgate-io/headgate/internal/store"
	"github.com/headgate-io/headgate/internal/store/storetest"
)

func TestActIsKeptWithItsEntryOrNotAtAll(t *testing.T) {
	storetest.Each(t, testActIsKeptWithItsEntryOrNotAtAll)
}

func testActIsKeptWithItsEntryOrNotAtAll(t *testing.T) {
	w := newWorld(t)
	acme := w.tenant(NewTenant{Name: "acme"})
	by := w.as("acme", ScopeAdmin)
	rename := func(outcome error) error {
		return w.Act(t.Context(), by, "thing.change", "t1", func(tx *store.Tx, _ time.Time) (Entry, error) {
			_, err := tx.ExecContext(t.Context(), `UPDATE tenants SET placement = 'shared-99' WHERE id = ?`, acme.ID.String())
			return Entry{Tenant: acme.ID, Target: "t1", Detail: json.RawMessage(`{"x":1}`)}, errors.Join(err, outcome)
		})
	}
	placement := func() (p string) {
		err := w.db.View(t.Context(), func(tx *store.Tx) error {
			return tx.QueryRowContext(t.Context(), `SELECT placement FROM tenants WHERE id = ?`, acme.ID.String()).Scan(&p)
		})
		if err != nil {
			t.Fatal(err)
		}
		return p
	}
	boom := errors.New("boom")
	if err := rename(boom); !errors.Is(err, boom) || placement() == "shared-99" {
		t.Errorf("Act = %v, placement %s", err, placement())
	}
	if err := rename(nil); err != nil || placement() != "shared-99" {
		t.Errorf("Act = %v, placement %s", err, placement())
	}
	err := w.db.Update(t.Context(), func(tx *store.Tx) error {
		return Note(t.Context(), tx, w.clock.Now(), acme.ID.String(), "thing.seen", "t2", nil)
	})
	if err != nil {
		t.Fatal(err)
	}
	entries, _, err := w.Audit(t.Context(), by, AuditFilter{})
	if err != nil || len(entries) < 2 {
		t.Fatal(entries, err)
	}
	seen, changed := entries[0], entries[1]
	if seen.Actor != System || seen.Action != "thing.seen" || seen.Target != "t2" || seen.Tenant != acme.ID {
		t.Errorf("noted %+v", seen)
	}
	if changed.Actor != "key:"+by.KeyID() || changed.Action != "thing.change" || changed.Outcome != OutcomeOK || string(changed.Detail) != `{"x":1}` {
		t.Errorf("audited %+v", changed)
	}
	for _, e := range entries[2:] {
		if e.Action == "thing.change" {
			t.Errorf("a change that failed is in the audit: %+v", e)
		}
	}
}

func TestDerivedKeysDiffer(t *testing.T) {
	w, other := newWorld(t), newWorld(t)
	a := w.DeriveKey("a")
	if a != w.DeriveKey("a") || a == w.DeriveKey("b") || a == other.DeriveKey("a") || a == [32]byte{} {
		t.Error("a derived key is not one of its pepper and purpose")
	}
	if again := openWorld(t, w.place, w.dir, w.clock); again.DeriveKey("a") != a {
		t.Error("a restart changes the key")
	}
}
