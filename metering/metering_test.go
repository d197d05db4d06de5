package metering

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/headgate-io/headgate/internal/store"
	"github.com/headgate-io/headgate/internal/store/storetest"
	"github.com/headgate-io/headgate/internal/tenant"
)

var noon = time.Date(2025, 3, 1, 12, 0, 0, 0, time.UTC)

func id(s string) tenant.ID {
	v, err := tenant.ParseID(s)
	if err != nil {
		panic(err)
	}
	return v
}

func limit(o tenant.Owner, id string, daily int64, p tenant.Policy) tenant.Limit {
	return tenant.Limit{Owner: o, ID: id, DailyBytes: daily, AtLimit: p}
}

// charge makes a charge of tenant t with key k: limits are the key's, the tenant's, then the parents'.
func charge(t, k string, p tenant.Policy, key, own int64, parents ...tenant.Limit) Charge {
	return Charge{Tenant: id(t), Key: k, AtLimit: p,
		Limits: append([]tenant.Limit{limit(tenant.OwnerKey, k, key, p), limit(tenant.OwnerTenant, t, own, p)}, parents...)}
}

func openDB(t *testing.T, path string) *store.DB {
	t.Helper()
	db, err := store.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close() })
	return db
}

func tempDB(t *testing.T) *store.DB {
	t.Helper()
	return openDB(t, storetest.Place(t))
}

// addTenant writes the row that auth would.
func addTenant(t *testing.T, db *store.DB, name, parent string) {
	t.Helper()
	err := db.Update(t.Context(), func(tx *store.Tx) error {
		_, err := tx.ExecContext(t.Context(), `INSERT INTO tenants (id, name, parent_id, status, retention_days, at_limit, placement, created_at,
			changed_at, rev) VALUES (?, ?, NULLIF(?, ''), 'active', 30, 'refuse', 'shared-00', 0, 0, 1)`, "ID-"+name, name, parent)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}

// startLedger runs a ledger until the test ends.
func startLedger(t *testing.T, db *store.DB, now func() time.Time) *Ledger {
	t.Helper()
	l := NewLedger(db, LedgerOptions{Now: now})
	stop := run(t, l)
	t.Cleanup(stop)
	return l
}

// run runs l; stop ends it and waits.
func run(t *testing.T, l *Ledger) (stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- l.Run(ctx) }()
	return sync.OnceFunc(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("Run = %v", err)
		}
	})
}

func openMeter(t *testing.T, db *store.DB, now time.Time) *Meter {
	t.Helper()
	m, err := OpenMeter(t.Context(), db, now, nil)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// Admit is Hold with a reservation of its own.
func (m *Meter) Admit(c Charge, bytes int64, at time.Time) (*Reservation, error) {
	r := &Reservation{}
	if err := m.Hold(r, c, bytes, at); err != nil {
		return nil, err
	}
	return r, nil
}

// spend admits n bytes and makes them final.
func spend(t *testing.T, m *Meter, c Charge, n int64, at time.Time) *Reservation {
	t.Helper()
	r, err := m.Admit(c, n, at)
	if err != nil {
		t.Fatalf("Admit %d: %v", n, err)
	}
	r.Commit()
	return r
}

// refusal admits n bytes and returns the LimitError it must meet.
func refusal(t *testing.T, m *Meter, c Charge, n int64, at time.Time) *LimitError {
	t.Helper()
	_, err := m.Admit(c, n, at)
	var e *LimitError
	if !errors.As(err, &e) {
		t.Fatalf("Admit %d = %v, want a LimitError", n, err)
	}
	return e
}

// used returns what is counted for the owner at at.
func used(m *Meter, key bool, owner string, at time.Time) int64 {
	m.mu.Lock()
	defer m.mu.Unlock()
	o := m.owners[ownerKey{key, owner}]
	if o == nil || o.accounts[0] == nil {
		return 0
	}
	for _, d := range o.accounts[0].days {
		if d != nil && d.number == dayOf(at) {
			return d.used
		}
	}
	return 0
}

func wantUsed(t *testing.T, m *Meter, key bool, owner string, at time.Time, want int64) {
	t.Helper()
	if got := used(m, key, owner, at); got != want {
		t.Errorf("used by %s (key %v) = %d, want %d", owner, key, got, want)
	}
}

// all returns every row of the ledger by tenant/signal/key, without refusals.
func all(t *testing.T, l *Ledger, f Filter) map[string]int64 {
	t.Helper()
	out := map[string]int64{}
	f.BySignal, f.ByKey = true, true
	u, err := l.UnsafeUsageOfAll(t.Context(), f)
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range u.Rows {
		out[fmt.Sprintf("%s/%s/%s", r.TenantID, r.Signal, r.Key)] += r.BilledBytes
	}
	return out
}

func ids(names ...string) (out []tenant.ID) {
	for _, n := range names {
		out = append(out, id(n))
	}
	return out
}

func benchDB(b *testing.B) *store.DB {
	db, err := store.Open(filepath.Join(b.TempDir(), "state.db"))
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { db.Close() })
	return db
}

func setParent(t *testing.T, db *store.DB, child, parent string) {
	t.Helper()
	err := db.Update(t.Context(), func(tx *store.Tx) error {
		_, err := tx.ExecContext(t.Context(), `UPDATE tenants SET parent_id = ? WHERE id = ?`, parent, child)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}

// wantOverage checks the sum over the ledger.
func wantOverage(t *testing.T, l *Ledger, want int64) {
	t.Helper()
	u, err := l.UnsafeUsageOfAll(t.Context(), Filter{})
	if err != nil {
		t.Fatal(err)
	}
	got := int64(0)
	for _, r := range u.Rows {
		got += r.OverageBytes
	}
	if got != want {
		t.Errorf("overage %d, want %d", got, want)
	}
}

// uses lists what a meter has counted, for comparison.
func uses(m *Meter) map[accountKey]int64 {
	m.mu.Lock()
	defer m.mu.Unlock()
	out := map[accountKey]int64{}
	for k, o := range m.owners {
		for code, a := range o.accounts {
			if a == nil {
				continue
			}
			for _, d := range a.days {
				if d != nil && d.used > 0 {
					out[accountKey{k.key, k.id, signalCodes[code], d.number}] = d.used
				}
			}
		}
	}
	return out
}
