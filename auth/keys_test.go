package auth

import (
	"encoding/json"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/headgate-io/headgate/internal/store"
	"github.com/headgate-io/headgate/internal/store/storetest"
)

func TestKeysAreListedWithoutTheirSecret(t *testing.T) {
	storetest.Each(t, testKeysAreListedWithoutTheirSecret)
}

func testKeysAreListedWithoutTheirSecret(t *testing.T) {
	w := newWorld(t)
	w.tenant(NewTenant{Name: "acme"})
	var want []Key
	for range 5 {
		w.clock.Add(time.Second)
		k, _ := w.key(NewKey{Tenant: "acme", Scopes: []KeyScope{ScopeUsage, ScopeIngest}, DailyBytes: ptr(int64(3)),
			ExpiresAt: ptr(w.clock.Now().Add(time.Hour))})
		want = append(want, k)
	}
	revoked, err := w.Keys().Revoke(t.Context(), w.op, want[2].ID)
	if err != nil {
		t.Fatal(err)
	}
	want[2] = revoked
	var got []Key
	after := ""
	for {
		page, next, err := w.Keys().List(t.Context(), w.op, "ACME", after, 2)
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, page...)
		if after = next; after == "" {
			break
		}
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("keys\n%+v, want\n%+v", got, want)
	}
	if k, err := w.Keys().Show(t.Context(), w.op, want[0].ID); err != nil || !reflect.DeepEqual(k, want[0]) {
		t.Errorf("Show = %+v, %v", k, err)
	}
}

func TestRevokingTwiceKeepsTheFirstTime(t *testing.T) {
	storetest.Each(t, testRevokingTwiceKeepsTheFirstTime)
}

func testRevokingTwiceKeepsTheFirstTime(t *testing.T) {
	w := newWorld(t)
	w.tenant(NewTenant{Name: "acme"})
	k, text := w.key(NewKey{Tenant: "acme"})
	first, err := w.Keys().Revoke(t.Context(), w.op, k.ID)
	if err != nil {
		t.Fatal(err)
	}
	w.clock.Add(time.Hour)
	second, err := w.Keys().Revoke(t.Context(), w.op, k.ID)
	if err != nil || !second.RevokedAt.Equal(*first.RevokedAt) {
		t.Errorf("revoked at %v, then %v, %v", first.RevokedAt, second.RevokedAt, err)
	}
	w.expect(text, ErrUnknownKey)
}

func TestBadKeysAreNotMade(t *testing.T) { storetest.Each(t, testBadKeysAreNotMade) }

func testBadKeysAreNotMade(t *testing.T) {
	w := newWorld(t)
	w.tenant(NewTenant{Name: "acme"})
	for name, n := range map[string]NewKey{
		"no scope":       {},
		"odd scope":      {Scopes: []KeyScope{"root"}},
		"scope list":     {Scopes: []KeyScope{"ingest,admin"}},
		"past expiry":    {Scopes: []KeyScope{ScopeIngest}, ExpiresAt: ptr(w.clock.Now())},
		"negative limit": {Scopes: []KeyScope{ScopeIngest}, DailyBytes: ptr(int64(-1))},
	} {
		n.Tenant = "acme"
		k, text, err := w.Keys().Create(t.Context(), w.op, n)
		wantErr(t, name, err, ErrInvalid)
		if text != "" || k.ID != "" {
			t.Errorf("%s: a key came with the error", name)
		}
	}
	_, _, err := w.Keys().Create(t.Context(), w.op, NewKey{Tenant: "nobody", Scopes: []KeyScope{ScopeIngest}})
	wantErr(t, "no tenant", err, ErrNotFound)
}

func TestForeignKeyIDsAnswerLikeNoneAtAll(t *testing.T) {
	storetest.Each(t, testForeignKeyIDsAnswerLikeNoneAtAll)
}

func testForeignKeyIDsAnswerLikeNoneAtAll(t *testing.T) {
	w := newWorld(t)
	ctx := t.Context()
	w.tenant(NewTenant{Name: "acme"})
	w.tenant(NewTenant{Name: "child", Parent: "acme"})
	w.tenant(NewTenant{Name: "globex"})
	foreign, text := w.key(NewKey{Tenant: "globex"})
	child, _ := w.key(NewKey{Tenant: "child"})
	admin := w.as("acme", ScopeAdmin)
	for _, id := range []string{foreign.ID, child.ID} {
		_, missing := w.Keys().Show(ctx, admin, "01ARZ3NDEKTSV4RRFFQ69G5FAV")
		_, err := w.Keys().Show(ctx, admin, id)
		wantErr(t, "Show", err, ErrNotFound)
		if err == nil || strings.ReplaceAll(err.Error(), id, "01ARZ3NDEKTSV4RRFFQ69G5FAV") != missing.Error() {
			t.Errorf("%q and %q tell apart what exists", err, missing)
		}
		_, err = w.Keys().Revoke(ctx, admin, id)
		wantErr(t, "Revoke", err, ErrNotFound)
	}
	w.expect(text, nil)
	_, _, err := w.Keys().List(ctx, admin, "globex", "", 0)
	wantErr(t, "List", err, ErrNotFound)
	_, _, err = w.Keys().Create(ctx, admin, NewKey{Tenant: "globex", Scopes: []KeyScope{ScopeAdmin}})
	wantErr(t, "Create", err, ErrNotFound)
}

func TestNobodyGrantsWhatTheyDoNotHave(t *testing.T) {
	storetest.Each(t, testNobodyGrantsWhatTheyDoNotHave)
}

func testNobodyGrantsWhatTheyDoNotHave(t *testing.T) {
	w := newWorld(t)
	ctx := t.Context()
	w.tenant(NewTenant{Name: "acme"})
	admin := w.as("acme", ScopeAdmin, ScopeIngest)
	k, _, err := w.Keys().Create(ctx, admin, NewKey{Tenant: "acme", Scopes: []KeyScope{ScopeIngest, ScopeAdmin}})
	if err != nil {
		t.Fatal(err)
	}
	_, _, err = w.Keys().Create(ctx, admin, NewKey{Tenant: "acme", Scopes: []KeyScope{ScopeIngest, ScopeQuery}})
	wantErr(t, "Create with a scope the caller lacks", err, ErrForbidden)
	_, err = w.Keys().Revoke(ctx, w.as("acme", ScopeIngest, ScopeQuery, ScopeUsage), k.ID)
	wantErr(t, "Revoke without the admin scope", err, ErrScope)
	_, err = w.Keys().Revoke(ctx, admin, k.ID)
	wantErr(t, "Revoke of the tenant's own key", err, nil)
}

func TestEveryChangeHasItsAuditEntry(t *testing.T) {
	storetest.Each(t, testEveryChangeHasItsAuditEntry)
}

func testEveryChangeHasItsAuditEntry(t *testing.T) {
	w := newWorld(t)
	ctx := t.Context()
	acme := w.tenant(NewTenant{Name: "acme"})
	k, text := w.key(NewKey{Tenant: "acme", Scopes: []KeyScope{ScopeAdmin}})
	admin, err := w.Authenticate(text)
	if err != nil {
		t.Fatal(err)
	}
	must := func(_ any, err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	must(w.Tenants().Set(ctx, w.op, "acme", Patch{DailyBytes: ptr(int64(5))}))
	_, err = w.Tenants().Set(ctx, admin, "acme", Patch{Unlimited: true})
	wantErr(t, "Set", err, ErrForbidden)
	_, err = w.Tenants().Set(ctx, w.op, "acme", Patch{RetentionDays: ptr(0)})
	wantErr(t, "Set", err, ErrInvalid) // a mistake, not an attempt
	must(w.Keys().Revoke(ctx, admin, k.ID))
	must(w.Tenants().Disable(ctx, w.op, "acme"))
	must(w.Tenants().Enable(ctx, w.op, "acme"))
	must(w.Tenants().Disable(ctx, w.op, "acme"))
	must(w.Tenants().BeginDelete(ctx, w.op, "acme", "acme"))
	must(nil, w.Tenants().FinishDelete(ctx, w.op, "acme"))

	id := acme.ID.String()
	want := [][4]string{ // newest first
		{"operator", "tenant.deleted", id, OutcomeOK},
		{"operator", "tenant.delete", id, OutcomeOK},
		{"operator", "tenant.disable", id, OutcomeOK},
		{"operator", "tenant.enable", id, OutcomeOK},
		{"operator", "tenant.disable", id, OutcomeOK},
		{"key:" + k.ID, "key.revoke", k.ID, OutcomeOK},
		{"key:" + k.ID, "tenant.set", "acme", OutcomeRefused},
		{"operator", "tenant.set", id, OutcomeOK},
		{"operator", "key.create", k.ID, OutcomeOK},
		{"operator", "tenant.create", id, OutcomeOK},
	}
	var got [][4]string
	f := AuditFilter{Limit: 3}
	_, secret, _ := parseKeyText(text)
	for {
		page, next, err := w.Audit(ctx, w.op, f)
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range page {
			got = append(got, [4]string{e.Actor, e.Action, e.Target, e.Outcome})
			if e.Tenant != acme.ID || !e.At.Equal(w.clock.Now()) || !json.Valid(e.Detail) || strings.Contains(string(e.Detail), secret) {
				t.Errorf("entry %+v", e)
			}
		}
		if f.Before = next; next == 0 {
			break
		}
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("audit\n%v, want\n%v", got, want)
	}
}

func TestChangeWithoutItsAuditEntryIsNotKept(t *testing.T) {
	storetest.Each(t, testChangeWithoutItsAuditEntryIsNotKept)
}

func testChangeWithoutItsAuditEntryIsNotKept(t *testing.T) {
	w := newWorld(t)
	w.tenant(NewTenant{Name: "acme"})
	k, text := w.key(NewKey{Tenant: "acme"})
	if err := w.db.Update(t.Context(), execute(`ALTER TABLE audit RENAME TO away`)); err != nil {
		t.Fatal(err)
	}
	if _, err := w.Keys().Revoke(t.Context(), w.op, k.ID); err == nil {
		t.Error("revoked without an entry")
	}
	if _, err := w.Tenants().Create(t.Context(), w.op, NewTenant{Name: "globex"}); err == nil {
		t.Error("created without an entry")
	}
	_, err := w.Tenants().Show(t.Context(), w.op, "globex")
	wantErr(t, "Show", err, ErrNotFound)
	if k, err := w.Keys().Show(t.Context(), w.op, k.ID); err != nil || k.RevokedAt != nil {
		t.Errorf("key %+v, %v", k, err)
	}
	w.expect(text, nil)
}

func TestAuditIsAppendOnlyAndItsTenantsOwn(t *testing.T) {
	storetest.Each(t, testAuditIsAppendOnlyAndItsTenantsOwn)
}

func testAuditIsAppendOnlyAndItsTenantsOwn(t *testing.T) {
	w := newWorld(t)
	acme := w.tenant(NewTenant{Name: "acme"})
	w.tenant(NewTenant{Name: "globex"})
	for _, q := range []string{`UPDATE audit SET actor = 'nobody'`, `DELETE FROM audit`} {
		err := w.db.Update(t.Context(), func(tx *store.Tx) error {
			_, err := tx.ExecContext(t.Context(), q)
			return err
		})
		if err == nil {
			t.Errorf("%s succeeded", q)
		}
	}
	admin := w.as("acme", ScopeAdmin)
	entries, _, err := w.Audit(t.Context(), admin, AuditFilter{})
	if err != nil || len(entries) != 2 {
		t.Errorf("Audit = %+v, %v, want the two of acme", entries, err)
	}
	for _, e := range entries {
		if e.Tenant != acme.ID {
			t.Errorf("acme sees %+v", e)
		}
	}
	_, _, err = w.Audit(t.Context(), admin, AuditFilter{Tenant: "globex"})
	wantErr(t, "Audit of another tenant", err, ErrNotFound)
	_, _, err = w.Audit(t.Context(), w.as("acme", ScopeQuery), AuditFilter{})
	wantErr(t, "Audit without the admin scope", err, ErrScope)
}

// What is made in one millisecond is listed in the order of its making.
func TestIDsOfOneMillisecondAscend(t *testing.T) {
	now := time.Date(2025, 3, 1, 12, 0, 0, 0, time.UTC)
	last := ""
	for i := range 1000 {
		id := newID(now.Add(time.Duration(i/100) * time.Millisecond))
		if id <= last {
			t.Fatalf("id %d is %s, after %s", i, id, last)
		}
		last = id
	}
}
