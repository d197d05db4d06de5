package auth

import (
	"context"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/headgate-io/headgate/internal/store"
	"github.com/headgate-io/headgate/internal/store/storetest"
	"github.com/headgate-io/headgate/internal/tenant"
)

func TestKeyBecomesItsTenantsPrincipal(t *testing.T) {
	storetest.Each(t, testKeyBecomesItsTenantsPrincipal)
}

func testKeyBecomesItsTenantsPrincipal(t *testing.T) {
	w := newWorld(t)
	acme := w.tenant(NewTenant{Name: "Acme", DailyBytes: ptr(int64(1000)), RetentionDays: 7, AtLimit: tenant.Drop})
	k, text := w.key(NewKey{Tenant: "acme", Scopes: []KeyScope{ScopeQuery, ScopeIngest, ScopeIngest}, DailyBytes: ptr(int64(10))})
	p, err := w.Authenticate(text)
	if err != nil {
		t.Fatal(err)
	}
	if p.Tenant() != acme.ID || p.TenantName() != "acme" || p.KeyID() != k.ID || p.IsOperator() ||
		p.RetentionDays() != 7 || p.AtLimit() != tenant.Drop || p.Partition() != acme.Partition {
		t.Errorf("principal %+v of tenant %+v", p.g, acme)
	}
	if got := p.Scope().Strings(); !reflect.DeepEqual(got, []string{acme.ID.String()}) {
		t.Errorf("Scope = %v, want the own tenant only", got)
	}
	want := []tenant.Limit{{Owner: tenant.OwnerKey, ID: k.ID, DailyBytes: 10, AtLimit: tenant.Drop}, {Owner: tenant.OwnerTenant, ID: acme.ID.String(), DailyBytes: 1000, AtLimit: tenant.Drop}}
	if got := p.Limits(); !reflect.DeepEqual(got, want) {
		t.Errorf("Limits = %v, want %v", got, want)
	}
	for sc, want := range map[KeyScope]error{ScopeIngest: nil, ScopeQuery: nil, ScopeUsage: ErrScope, ScopeAdmin: ErrScope, "": ErrScope} {
		wantErr(t, "Require "+string(sc), p.Require(sc), want)
	}
}

func TestPrincipalCannotBeChangedThroughItsResults(t *testing.T) {
	storetest.Each(t, testPrincipalCannotBeChangedThroughItsResults)
}

func testPrincipalCannotBeChangedThroughItsResults(t *testing.T) {
	w := newWorld(t)
	w.tenant(NewTenant{Name: "acme"})
	p := w.as("acme", ScopeIngest)
	p.Limits()[0].DailyBytes = 5
	p.Scope().Strings()[0] = "x"
	if p.Limits()[0].DailyBytes != tenant.Unlimited || !p.Scope().Contains(p.Tenant()) {
		t.Error("the principal changed")
	}
}

func TestChainNamesKeyTenantAndAncestors(t *testing.T) {
	storetest.Each(t, testChainNamesKeyTenantAndAncestors)
}

func testChainNamesKeyTenantAndAncestors(t *testing.T) {
	w := newWorld(t)
	root := w.tenant(NewTenant{Name: "root", DailyBytes: ptr(int64(0)), AtLimit: tenant.Sample})
	mid := w.tenant(NewTenant{Name: "mid", Parent: "ROOT", AtLimit: tenant.Bill})
	leaf := w.tenant(NewTenant{Name: "leaf", Parent: mid.ID.String(), DailyBytes: ptr(int64(5))})
	p := w.as("leaf", ScopeIngest)
	want := []tenant.Limit{
		{Owner: tenant.OwnerKey, ID: p.KeyID(), DailyBytes: tenant.Unlimited, AtLimit: tenant.Refuse},
		{Owner: tenant.OwnerTenant, ID: leaf.ID.String(), DailyBytes: 5, AtLimit: tenant.Refuse},
		{Owner: tenant.OwnerParent, ID: mid.ID.String(), DailyBytes: tenant.Unlimited, AtLimit: tenant.Bill},
		{Owner: tenant.OwnerParent, ID: root.ID.String(), DailyBytes: 0, AtLimit: tenant.Sample},
	}
	if got := p.Limits(); !reflect.DeepEqual(got, want) {
		t.Errorf("Limits = %v, want %v", got, want)
	}
}

func TestZeroPrincipalMayDoNothing(t *testing.T) { storetest.Each(t, testZeroPrincipalMayDoNothing) }

func testZeroPrincipalMayDoNothing(t *testing.T) {
	var p Principal
	for _, sc := range []KeyScope{ScopeIngest, ScopeQuery, ScopeUsage, ScopeAdmin} {
		wantErr(t, "Require", p.Require(sc), ErrNoCredential)
	}
	if p.Scope().Valid() || !p.Tenant().IsZero() || p.IsOperator() || len(p.Limits()) > 0 {
		t.Error("the zero principal is somebody")
	}
	w := newWorld(t)
	_, err := w.Tenants().Create(t.Context(), p, NewTenant{Name: "acme"})
	wantErr(t, "Create", err, ErrForbidden)
	_, _, err = w.Tenants().List(t.Context(), p, ListTenants{})
	wantErr(t, "List", err, ErrNoCredential)
}

func TestCredentialsThatAreRefused(t *testing.T) { storetest.Each(t, testCredentialsThatAreRefused) }

func testCredentialsThatAreRefused(t *testing.T) {
	w := newWorld(t)
	w.tenant(NewTenant{Name: "acme"})
	k, text := w.key(NewKey{Tenant: "acme"})
	_, other := w.key(NewKey{Tenant: "acme"})
	w.expect("", ErrNoCredential)
	for name, c := range map[string]string{
		"word":                  "secret",
		"cut short":             text[:len(text)-1],
		"longer":                text + "x",
		"misspelt":              strings.Replace(text, text[35:36], string('a'+(text[35]+1)%26), 1),
		"id alone":              k.ID,
		"unknown id":            keyText(newID(w.clock.Now()), newSecret()),
		"wrong secret":          keyText(k.ID, newSecret()),
		"secret of another key": keyText(k.ID, other[30:62]),
		"operator":              operatorPrefix + newSecret(),
	} {
		if c == text {
			t.Fatalf("%s: is the key", name)
		}
		p, err := w.Authenticate(c)
		if err == nil || err.Error() != ErrUnknownKey.Error() || p != (Principal{}) {
			t.Errorf("%s: Authenticate = %v, want ErrUnknownKey word by word", name, err)
		}
	}
	w.expect(text, nil)
}

func TestOperatorTokenIsNoKey(t *testing.T) { storetest.Each(t, testOperatorTokenIsNoKey) }

func testOperatorTokenIsNoKey(t *testing.T) {
	w := newWorld(t)
	token, err := os.ReadFile(filepath.Join(w.dir, OperatorFile))
	if err != nil {
		t.Fatal(err)
	}
	w.expect(strings.TrimSpace(string(token)), ErrUnknownKey)
	if w.op.Scope().Valid() || !w.op.IsOperator() {
		t.Error("the operator has a telemetry scope")
	}
	wantErr(t, "Require ingest", w.op.Require(ScopeIngest), ErrScope)
	wantErr(t, "Require query", w.op.Require(ScopeQuery), ErrScope)
	wantErr(t, "Require usage", w.op.Require(ScopeUsage), nil)
	wantErr(t, "Require admin", w.op.Require(ScopeAdmin), nil)
	for _, bad := range []string{"", operatorPrefix, operatorPrefix + newSecret(), strings.TrimSpace(string(token))[:30]} {
		if p, err := w.Operator(bad); err == nil || p.IsOperator() {
			t.Errorf("Operator(%q) = %v", bad, err)
		}
	}
}

func TestExpiryEndsAKeyToTheMoment(t *testing.T) { storetest.Each(t, testExpiryEndsAKeyToTheMoment) }

func testExpiryEndsAKeyToTheMoment(t *testing.T) {
	w := newWorld(t)
	w.tenant(NewTenant{Name: "acme"})
	_, text := w.key(NewKey{Tenant: "acme", ExpiresAt: ptr(w.clock.Now().Add(time.Hour))})
	w.clock.Add(time.Hour - time.Millisecond)
	w.expect(text, nil)
	w.clock.Add(time.Millisecond)
	w.expect(text, ErrExpired)
}

func TestDisabledTenantAndDisabledAncestorAreRefused(t *testing.T) {
	storetest.Each(t, testDisabledTenantAndDisabledAncestorAreRefused)
}

func testDisabledTenantAndDisabledAncestorAreRefused(t *testing.T) {
	w := newWorld(t)
	ctx := t.Context()
	w.tenant(NewTenant{Name: "root"})
	w.tenant(NewTenant{Name: "mid", Parent: "root"})
	w.tenant(NewTenant{Name: "leaf", Parent: "mid"})
	w.tenant(NewTenant{Name: "sibling", Parent: "root"})
	_, leaf := w.key(NewKey{Tenant: "leaf"})
	_, sibling := w.key(NewKey{Tenant: "sibling"})
	for _, name := range []string{"leaf", "mid", "root"} {
		if _, err := w.Tenants().Disable(ctx, w.op, name); err != nil {
			t.Fatal(err)
		}
		w.expect(leaf, ErrTenantInactive)
		if name != "root" {
			w.expect(sibling, nil)
		}
		if _, err := w.Tenants().Enable(ctx, w.op, name); err != nil {
			t.Fatal(err)
		}
		w.expect(leaf, nil)
	}
	// Who does not hold the secret does not learn that the tenant is disabled.
	if _, err := w.Tenants().Disable(ctx, w.op, "leaf"); err != nil {
		t.Fatal(err)
	}
	id, _, _ := parseKeyText(leaf)
	w.expect(keyText(id, newSecret()), ErrUnknownKey)
}

func TestDamagedTreeCountsAsInactive(t *testing.T) {
	storetest.Each(t, testDamagedTreeCountsAsInactive)
}

func testDamagedTreeCountsAsInactive(t *testing.T) {
	w := newWorld(t)
	a := w.tenant(NewTenant{Name: "a"})
	b := w.tenant(NewTenant{Name: "b", Parent: "a"})
	_, text := w.key(NewKey{Tenant: "b"})
	err := w.db.Update(t.Context(), func(tx *store.Tx) error {
		if err := execute(`UPDATE changes SET n = 1000`)(tx); err != nil {
			return err
		}
		_, err := tx.ExecContext(t.Context(), `UPDATE tenants SET parent_id = ?, rev = 1000 WHERE id = ?`,
			b.ID.String(), a.ID.String())
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := w.sync(t.Context()); err != nil {
		t.Fatal(err)
	}
	w.expect(text, ErrTenantInactive)
}

func TestChangeIsInForceWhenItReturns(t *testing.T) {
	storetest.Each(t, testChangeIsInForceWhenItReturns)
}

func testChangeIsInForceWhenItReturns(t *testing.T) {
	w := newWorld(t)
	ctx := t.Context()
	w.tenant(NewTenant{Name: "acme"})
	k, text := w.key(NewKey{Tenant: "acme"})
	w.expect(text, nil)
	if _, err := w.Tenants().Set(ctx, w.op, "acme", Patch{DailyBytes: ptr(int64(3))}); err != nil {
		t.Fatal(err)
	}
	p, err := w.Authenticate(text)
	if err != nil || p.Limits()[1].DailyBytes != 3 {
		t.Errorf("limits %v, %v, want the new one", p.Limits(), err)
	}
	if _, err := w.Keys().Revoke(ctx, w.op, k.ID); err != nil {
		t.Fatal(err)
	}
	w.expect(text, ErrUnknownKey)
}

// The other process is a second database handle and directory on the same file; the second is synctest's.
func TestChangeByAnotherProcessIsInForceWithinASecond(t *testing.T) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		open := func() (*store.DB, *Directory) {
			db, err := store.Open(filepath.Join(dir, "state.db"))
			if err != nil {
				t.Fatal(err)
			}
			d, err := Open(t.Context(), db, Options{Now: time.Now, Dir: dir})
			if err != nil {
				t.Fatal(err)
			}
			return db, d
		}
		db1, here := open()
		db2, there := open()
		op := operatorOf(t, there, dir)
		ctx, stop := context.WithCancel(t.Context())
		done := make(chan error)
		go func() { done <- here.Run(ctx) }()
		defer func() {
			stop()
			if err := <-done; err != nil {
				t.Errorf("Run = %v", err)
			}
			db1.Close()
			db2.Close()
		}()
		// within waits the promised second and then asks once.
		within := func(what, text string, want error) {
			t.Helper()
			<-time.After(time.Second)
			_, err := here.Authenticate(text)
			wantErr(t, what, err, want)
		}
		must := func(err error) {
			t.Helper()
			if err != nil {
				t.Fatal(err)
			}
		}
		_, err := there.Tenants().Create(ctx, op, NewTenant{Name: "acme"})
		must(err)
		k, text, err := there.Keys().Create(ctx, op, NewKey{Tenant: "acme", Scopes: []KeyScope{ScopeIngest}})
		must(err)
		_, other, err := there.Keys().Create(ctx, op, NewKey{Tenant: "acme", Scopes: []KeyScope{ScopeIngest}})
		must(err)
		within("new key", text, nil)
		_, err = there.Keys().Revoke(ctx, op, k.ID)
		must(err)
		within("revoked key", text, ErrUnknownKey)
		_, err = there.Tenants().Disable(ctx, op, "acme")
		must(err)
		within("key of a disabled tenant", other, ErrTenantInactive)
		_, err = there.Tenants().BeginDelete(ctx, op, "acme", "acme")
		must(err)
		must(there.Tenants().FinishDelete(ctx, op, "acme"))
		within("key of a deleted tenant", other, ErrUnknownKey)
	})
}

func TestOutageKeepsTheLastKnownState(t *testing.T) {
	storetest.Each(t, testOutageKeepsTheLastKnownState)
}

func testOutageKeepsTheLastKnownState(t *testing.T) {
	w := newWorld(t)
	w.tenant(NewTenant{Name: "acme"})
	_, text := w.key(NewKey{Tenant: "acme"})
	w.db.Close()
	if err := w.sync(t.Context()); err == nil {
		t.Fatal("sync of a closed database succeeded")
	}
	w.expect(text, nil)
	w.expect(keyText(newID(w.clock.Now()), newSecret()), ErrKeysUnavailable)
	w.expect(keyText(newID(w.clock.Now().Add(-time.Hour)), newSecret()), ErrUnknownKey)
	if n := testutil.ToFloat64(w.m.syncFailures); n != 1 {
		t.Errorf("sync failures counted %v, want 1", n)
	}
}

func TestRestartFindsEverythingAgain(t *testing.T) {
	storetest.Each(t, testRestartFindsEverythingAgain)
}

func testRestartFindsEverythingAgain(t *testing.T) {
	w := newWorld(t)
	acme := w.tenant(NewTenant{Name: "acme", DailyBytes: ptr(int64(7)), OwnPartition: true})
	_, text := w.key(NewKey{Tenant: "acme"})
	revoked, revokedText := w.key(NewKey{Tenant: "acme"})
	if _, err := w.Keys().Revoke(t.Context(), w.op, revoked.ID); err != nil {
		t.Fatal(err)
	}
	w.db.Close()
	again := openWorld(t, w.place, w.dir, w.clock)
	again.expect(text, nil)
	again.expect(revokedText, ErrUnknownKey)
	got, err := again.Tenants().Show(t.Context(), again.op, "acme")
	if err != nil || !reflect.DeepEqual(got, acme) {
		t.Errorf("tenant %+v, %v, want %+v", got, err, acme)
	}
}

func TestRestoredOlderDatabaseIsReadWhole(t *testing.T) {
	storetest.Each(t, testRestoredOlderDatabaseIsReadWhole)
}

func testRestoredOlderDatabaseIsReadWhole(t *testing.T) {
	w := newWorld(t)
	w.tenant(NewTenant{Name: "acme"})
	_, text := w.key(NewKey{Tenant: "acme"})
	err := w.db.Update(t.Context(), func(tx *store.Tx) error {
		_, err := tx.ExecContext(t.Context(), `DELETE FROM api_keys; UPDATE changes SET n = 1`)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := w.sync(t.Context()); err != nil {
		t.Fatal(err)
	}
	w.expect(text, ErrUnknownKey)
}

func TestAuthenticateWhileEverythingChanges(t *testing.T) {
	storetest.Each(t, testAuthenticateWhileEverythingChanges)
}

func testAuthenticateWhileEverythingChanges(t *testing.T) {
	w := newWorld(t)
	ctx := t.Context()
	parent := w.tenant(NewTenant{Name: "parent"})
	child := w.tenant(NewTenant{Name: "child", Parent: "parent"})
	_, text := w.key(NewKey{Tenant: "child"})
	stop := make(chan struct{})
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				p, err := w.Authenticate(text)
				if err != nil {
					t.Error(err)
					return
				}
				// Both limits are set by one change each, the child's first.
				l := p.Limits()
				if p.Tenant() != child.ID || l[2].ID != parent.ID.String() || l[2].DailyBytes > l[1].DailyBytes {
					t.Errorf("torn principal: %v", l)
					return
				}
			}
		})
	}
	for i := range int64(30) {
		for _, name := range []string{"child", "parent"} {
			if _, err := w.Tenants().Set(ctx, w.op, name, Patch{DailyBytes: ptr(i)}); err != nil {
				t.Error(err)
			}
		}
	}
	close(stop)
	wg.Wait()
}

func TestMetricsCountRefusalsByCode(t *testing.T) {
	w := newWorld(t)
	w.expect("", ErrNoCredential)
	w.expect("nonsense", ErrUnknownKey)
	for code, want := range map[string]float64{ErrNoCredential.Code: 1, ErrUnknownKey.Code: 1, "ok": 0} {
		if got := testutil.ToFloat64(w.m.checks.WithLabelValues(code)); got != want {
			t.Errorf("checks{result=%q} = %v, want %v", code, got, want)
		}
	}
}

func BenchmarkAuthenticate(b *testing.B) {
	db, err := store.Open(filepath.Join(b.TempDir(), "state.db"))
	if err != nil {
		b.Fatal(err)
	}
	defer db.Close()
	d, err := Open(b.Context(), db, Options{Now: time.Now})
	if err != nil {
		b.Fatal(err)
	}
	op := Principal{operatorGrant}
	if _, err := d.Tenants().Create(b.Context(), op, NewTenant{Name: "acme"}); err != nil {
		b.Fatal(err)
	}
	_, text, err := d.Keys().Create(b.Context(), op, NewKey{Tenant: "acme", Scopes: []KeyScope{ScopeIngest}})
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	var id tenant.ID
	for b.Loop() {
		p, err := d.Authenticate(text)
		if err != nil {
			b.Fatal(err)
		}
		id = p.Tenant()
	}
	_ = id
}
