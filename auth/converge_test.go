package auth

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/headgate-io/headgate/internal/store"
	"github.com/headgate-io/headgate/internal/store/storetest"
	"github.com/headgate-io/headgate/internal/tenant"
)

// memory is what a directory answers from, comparable.
type memory struct {
	tenants map[tenant.ID]Tenant
	keys    map[string]Key
	macs    map[string]string
}

func (d *Directory) memory() memory {
	d.mu.RLock()
	defer d.mu.RUnlock()
	m := memory{map[tenant.ID]Tenant{}, map[string]Key{}, map[string]string{}}
	for id, t := range d.tenants {
		m.tenants[id] = *t
	}
	for id, e := range d.keys {
		k := e.key
		k.LastUsed = nil // not a change
		m.keys[id], m.macs[id] = k, string(e.mac[:])
	}
	return m
}

// Two processes change tenants and keys at random, each learning of the other's changes now and then. What they hold is
// always what a third that starts then and there loads.
func TestCatchingUpEqualsLoadingAnew(t *testing.T) {
	storetest.Each(t, testCatchingUpEqualsLoadingAnew)
}

func testCatchingUpEqualsLoadingAnew(t *testing.T) {
	for seed := range uint64(4) {
		rng := rand.New(rand.NewPCG(seed, 3))
		first := newWorld(t)
		second := openWorld(t, first.place, first.dir, first.clock)
		var names, keys []string
		for step := range 120 {
			w := []*world{first, second}[rng.IntN(2)]
			ctx := t.Context()
			pick := func(from []string) string {
				if len(from) == 0 {
					return "none"
				}
				return from[rng.IntN(len(from))]
			}
			var err error
			switch rng.IntN(9) {
			case 0, 1:
				n := NewTenant{Name: fmt.Sprint("t", step)}
				if rng.IntN(2) == 0 && len(names) > 0 {
					n.Parent = pick(names)
				}
				if _, err = w.Tenants().Create(ctx, w.op, n); err == nil {
					names = append(names, n.Name)
				}
			case 2, 3:
				var k Key
				k, _, err = w.Keys().Create(ctx, w.op, NewKey{Tenant: pick(names), Scopes: []KeyScope{ScopeIngest}})
				if err == nil {
					keys = append(keys, k.ID)
				}
			case 4:
				_, err = w.Keys().Revoke(ctx, w.op, pick(keys))
			case 5:
				_, err = w.Tenants().Set(ctx, w.op, pick(names), Patch{DailyBytes: ptr(rng.Int64N(100))})
			case 6:
				_, err = w.Tenants().Disable(ctx, w.op, pick(names))
			case 7:
				_, err = w.Tenants().Enable(ctx, w.op, pick(names))
			default:
				name := pick(names)
				if _, err = w.Tenants().BeginDelete(ctx, w.op, name, name); err == nil {
					err = w.Tenants().FinishDelete(ctx, w.op, name)
				}
			}
			var known *Error
			if err != nil && !errors.As(err, &known) {
				t.Fatal(err)
			}
			if step%30 != 29 {
				continue
			}
			want := openWorld(t, first.place, first.dir, first.clock).memory()
			for i, w := range []*world{first, second} {
				if err := w.sync(ctx); err != nil {
					t.Fatal(err)
				}
				if got := w.memory(); !reflect.DeepEqual(got, want) {
					t.Fatalf("seed %d step %d: process %d holds\n%+v, a new one\n%+v", seed, step, i, got, want)
				}
			}
		}
	}
}

func TestParentsChangeReachesItsDescendantsKeys(t *testing.T) {
	storetest.Each(t, testParentsChangeReachesItsDescendantsKeys)
}

func testParentsChangeReachesItsDescendantsKeys(t *testing.T) {
	w := newWorld(t)
	w.tenant(NewTenant{Name: "root"})
	w.tenant(NewTenant{Name: "mid", Parent: "root"})
	w.tenant(NewTenant{Name: "leaf", Parent: "mid"})
	_, text := w.key(NewKey{Tenant: "leaf"})
	w.expect(text, nil) // builds the grant
	_, err := w.Tenants().Set(t.Context(), w.op, "root", Patch{DailyBytes: ptr(int64(42)), AtLimit: ptr(tenant.Drop), Name: ptr("top")})
	if err != nil {
		t.Fatal(err)
	}
	p, err := w.Authenticate(text)
	if err != nil {
		t.Fatal(err)
	}
	if l := p.Limits()[3]; l.DailyBytes != 42 || l.AtLimit != tenant.Drop || l.Owner != tenant.OwnerParent {
		t.Errorf("the root's link is %+v", l)
	}
	if p.AtLimit() != tenant.Refuse || p.TenantName() != "leaf" {
		t.Errorf("the child took over its ancestor's policy or name: %s, %s", p.AtLimit(), p.TenantName())
	}
}

// An outage is told once when it begins and once when it ends, whatever it lasts; nobody is refused meanwhile, and what
// changed meanwhile is in force within a second of its end.
func TestOutageIsToldOnceAndCaughtUpWith(t *testing.T) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		path := filepath.Join(dir, "state.db")
		db, err := store.Open(path)
		if err != nil {
			t.Fatal(err)
		}
		var out bytes.Buffer
		d, err := Open(t.Context(), db, Options{Now: time.Now, Dir: dir, Logger: slog.New(slog.NewTextHandler(&out, nil))})
		if err != nil {
			t.Fatal(err)
		}
		op := operatorOf(t, d, dir)
		if _, err := d.Tenants().Create(t.Context(), op, NewTenant{Name: "acme"}); err != nil {
			t.Fatal(err)
		}
		k, text, err := d.Keys().Create(t.Context(), op, NewKey{Tenant: "acme", Scopes: []KeyScope{ScopeIngest}})
		if err != nil {
			t.Fatal(err)
		}
		ctx, stop := context.WithCancel(t.Context())
		done := make(chan error)
		go func() { done <- d.Run(ctx) }()

		// The table is out of the way: every look fails.
		exec := func(q string) {
			t.Helper()
			if err := db.Update(t.Context(), execute(q)); err != nil {
				t.Fatal(err)
			}
		}
		exec(`ALTER TABLE changes RENAME TO away`)
		<-time.After(10 * time.Second)
		if _, err := d.Authenticate(text); err != nil {
			t.Errorf("refused in the outage: %v", err)
		}
		exec(`UPDATE away SET n = n + 1; UPDATE api_keys SET revoked_at = 1, rev = (SELECT n FROM away); ALTER TABLE away RENAME TO changes`)
		<-time.After(time.Second)
		_, err = d.Authenticate(text)
		wantErr(t, "Authenticate of key "+k.ID+" revoked in the outage", err, ErrUnknownKey)
		stop()
		if err := <-done; err != nil {
			t.Errorf("Run = %v", err)
		}
		db.Close()
		logged := out.String()
		if strings.Count(logged, "cannot be refreshed") != 1 || strings.Count(logged, "refreshed again") != 1 {
			t.Errorf("log\n%s", logged)
		}
		_, secret, _ := parseKeyText(text)
		if strings.Contains(logged, secret) {
			t.Error("the log holds a secret")
		}
	})
}

func TestRunKeepsLastUsesWhenItEnds(t *testing.T) { storetest.Each(t, testRunKeepsLastUsesWhenItEnds) }

func testRunKeepsLastUsesWhenItEnds(t *testing.T) {
	w := newWorld(t)
	w.tenant(NewTenant{Name: "acme"})
	k, text := w.key(NewKey{Tenant: "acme"})
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- w.Run(ctx) }()
	w.expect(text, nil)
	stop()
	if err := <-done; err != nil {
		t.Errorf("Run = %v", err)
	}
	if got, err := w.Keys().Show(t.Context(), w.op, k.ID); err != nil || got.LastUsed == nil {
		t.Errorf("key %+v, %v, want a last use", got, err)
	}
}

func TestMetricsAreWellNamed(t *testing.T) {
	w := newWorld(t)
	reg := prometheus.NewRegistry()
	if _, err := Open(t.Context(), w.db, Options{Now: w.clock.Now, Dir: w.dir, Registry: reg}); err != nil {
		t.Fatal(err)
	}
	problems, err := testutil.GatherAndLint(reg)
	if err != nil || len(problems) > 0 {
		t.Errorf("%v, %v", problems, err)
	}
}

// The hot path's cost: what the pooled hash needs and no more. The grant is built once.
func TestAuthenticateAllocatesLittle(t *testing.T) {
	w := newWorld(t)
	w.tenant(NewTenant{Name: "acme"})
	_, text := w.key(NewKey{Tenant: "acme"})
	n := testing.AllocsPerRun(1000, func() {
		if _, err := w.Authenticate(text); err != nil {
			t.Error(err)
		}
	})
	if n > 8 {
		t.Errorf("%v allocations per request, want 8 at most", n)
	}
}

func TestDamagedRowsAreAnErrorNotAGap(t *testing.T) {
	storetest.Each(t, testDamagedRowsAreAnErrorNotAGap)
}

func testDamagedRowsAreAnErrorNotAGap(t *testing.T) {
	for name, q := range map[string]string{
		"tenant id": `INSERT INTO tenants (id, name, status, retention_days, at_limit, placement, created_at, changed_at, rev)
			VALUES ('a b', 'x', 'active', 1, 'refuse', 'p', 0, 0, 9)`,
		"key hash": `UPDATE api_keys SET mac = substr(mac, 1, 1), rev = 9`,
	} {
		w := newWorld(t)
		w.tenant(NewTenant{Name: "acme"})
		_, text := w.key(NewKey{Tenant: "acme"})
		if err := w.db.Update(t.Context(), execute(q+`; UPDATE changes SET n = 9`)); err != nil {
			t.Fatal(err)
		}
		if err := w.sync(t.Context()); err == nil {
			t.Errorf("%s: loaded", name)
		}
		w.expect(text, nil) // the last known state
		if _, err := reopen(t, w); err == nil || !strings.Contains(err.Error(), "load tenants and keys") {
			t.Errorf("%s: Open = %v", name, err)
		}
	}
}

func TestSecretsMayLieElsewhere(t *testing.T) {
	db, err := store.Open(storetest.Place(t))
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	dir := t.TempDir()
	d, err := Open(t.Context(), db, Options{Now: time.Now, Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	operatorOf(t, d, dir)
	if _, err := Open(t.Context(), db, Options{Now: time.Now, Dir: filepath.Join(dir, "none")}); err == nil {
		t.Error("opened without a directory for its secrets")
	}
}
