package auth

import (
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/headgate-io/headgate/internal/store/storetest"
	"github.com/headgate-io/headgate/internal/tenant"
)

func TestNamesThatLookAlikeAreRefused(t *testing.T) {
	good := func(s, want string) {
		t.Helper()
		if got, err := normalName(s); err != nil || got != want {
			t.Errorf("normalName(%q) = %q, %v, want %q", s, got, err, want)
		}
	}
	bad := func(s string) {
		t.Helper()
		if got, err := normalName(s); !errors.Is(err, ErrInvalid) {
			t.Errorf("normalName(%q) = %q, %v, want ErrInvalid", s, got, err)
		}
	}
	good("acme", "acme")
	good("Acme-Corp.EU_1", "acme-corp.eu_1")
	good("0", "0")
	good(strings.Repeat("x", 64), strings.Repeat("x", 64))
	bad("")
	bad(strings.Repeat("x", 65))
	for _, s := range []string{
		".acme", "-acme", "_acme", "ac me", " acme", "acme ", "acme\n", "acme\x00", "acme/..", "a:b", "a,b", "a%b", `a"b`,
		"аcme",      // Cyrillic а
		"acmе",      // Cyrillic е
		"\u212aube", // the Kelvin sign, which folds to k
		"ſhop",      // long s, which folds to s
		"ａｃｍｅ",      // full width
		"acme\u200b", "ac\u0301me", "café", "\xff",
	} {
		bad(s)
	}
	bad("01ARZ3NDEKTSV4RRFFQ69G5FAV")
	bad("01arz3ndektsv4rrffq69g5fav")
}

func TestNamesAreUniqueInAnyCase(t *testing.T) { storetest.Each(t, testNamesAreUniqueInAnyCase) }

func testNamesAreUniqueInAnyCase(t *testing.T) {
	w := newWorld(t)
	w.tenant(NewTenant{Name: "Acme"})
	for _, name := range []string{"acme", "ACME", "Acme"} {
		_, err := w.Tenants().Create(t.Context(), w.op, NewTenant{Name: name})
		wantErr(t, "Create "+name, err, ErrNameTaken)
	}
	w.tenant(NewTenant{Name: "globex"})
	_, err := w.Tenants().Set(t.Context(), w.op, "globex", Patch{Name: ptr("ACME")})
	wantErr(t, "rename", err, ErrNameTaken)
	for _, ref := range []string{"acme", "ACME"} {
		got, err := w.Tenants().Show(t.Context(), w.op, ref)
		if err != nil || got.Name != "acme" {
			t.Errorf("Show(%s) = %+v, %v", ref, got, err)
		}
	}
}

func TestNewTenantHasTheDefaults(t *testing.T) { storetest.Each(t, testNewTenantHasTheDefaults) }

func testNewTenantHasTheDefaults(t *testing.T) {
	w := newWorld(t)
	a := w.tenant(NewTenant{Name: "a"})
	if a.Status != Active || a.DailyBytes != nil || a.RetentionDays != 30 || a.AtLimit != tenant.Refuse || !a.Parent.IsZero() ||
		!a.CreatedAt.Equal(w.clock.Now()) || !regexp.MustCompile(`^shared-(0\d|1[0-5])$`).MatchString(a.Partition) {
		t.Errorf("tenant %+v", a)
	}
	if got, err := w.Tenants().Show(t.Context(), w.op, a.ID.String()); err != nil || !reflect.DeepEqual(got, a) {
		t.Errorf("Show by id = %+v, %v, want %+v", got, err, a)
	}
	if own := w.tenant(NewTenant{Name: "b", OwnPartition: true}); own.Partition != own.ID.String() {
		t.Errorf("own partition %s of %s", own.Partition, own.ID)
	}
}

func TestPlacementSpreadsOverAllSharedPartitions(t *testing.T) {
	count := map[string]int{}
	for range 1600 {
		id, err := tenant.ParseID(newID(time.Now()))
		if err != nil {
			t.Fatal(err)
		}
		if again := id.Partition(false); again != id.Partition(false) {
			t.Fatal("placement is not a function of the id")
		}
		count[id.Partition(false)]++
	}
	for i := range 16 {
		if n := count[fmt.Sprintf("shared-%02d", i)]; n < 40 || n > 200 {
			t.Errorf("shared-%02d has %d of 1600 tenants", i, n)
		}
	}
	if len(count) != 16 {
		t.Errorf("%d partitions, want 16", len(count))
	}
}

func TestValuesOutOfRangeAreRefused(t *testing.T) { storetest.Each(t, testValuesOutOfRangeAreRefused) }

func testValuesOutOfRangeAreRefused(t *testing.T) {
	w := newWorld(t)
	ctx := t.Context()
	for name, n := range map[string]NewTenant{
		"name":      {Name: "-"},
		"retention": {Name: "a", RetentionDays: 3651},
		"negative":  {Name: "a", RetentionDays: -1},
		"policy":    {Name: "a", AtLimit: "explode"},
		"bytes":     {Name: "a", DailyBytes: ptr(int64(-1))},
	} {
		_, err := w.Tenants().Create(ctx, w.op, n)
		wantErr(t, "Create with a bad "+name, err, ErrInvalid)
	}
	before := w.tenant(NewTenant{Name: "a"})
	for name, p := range map[string]Patch{
		"name":      {Name: ptr("a b")},
		"retention": {RetentionDays: ptr(0)},
		"policy":    {AtLimit: ptr(tenant.Policy(""))},
		"bytes":     {DailyBytes: ptr(int64(-1))},
		"both":      {DailyBytes: ptr(int64(1)), Unlimited: true},
	} {
		_, err := w.Tenants().Set(ctx, w.op, "a", p)
		wantErr(t, "Set with a bad "+name, err, ErrInvalid)
	}
	if got, err := w.Tenants().Show(ctx, w.op, "a"); err != nil || !reflect.DeepEqual(got, before) {
		t.Errorf("a refused change changed %+v to %+v, %v", before, got, err)
	}
}

func TestSetChangesWhatItNamesAndNothingElse(t *testing.T) {
	storetest.Each(t, testSetChangesWhatItNamesAndNothingElse)
}

func testSetChangesWhatItNamesAndNothingElse(t *testing.T) {
	w := newWorld(t)
	want := w.tenant(NewTenant{Name: "a", DailyBytes: ptr(int64(5)), RetentionDays: 9, AtLimit: tenant.Sample})
	w.clock.Add(time.Minute)
	set := func(p Patch) {
		t.Helper()
		want.ChangedAt = w.clock.Now()
		got, err := w.Tenants().Set(t.Context(), w.op, want.ID.String(), p)
		if err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("Set(%+v) = %+v, %v, want %+v", p, got, err, want)
		}
		if got, err := w.Tenants().Show(t.Context(), w.op, want.Name); err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("after Set(%+v): %+v, %v, want %+v", p, got, err, want)
		}
	}
	set(Patch{})
	want.Name = "b"
	set(Patch{Name: ptr("B")})
	want.DailyBytes = ptr(int64(0))
	set(Patch{DailyBytes: ptr(int64(0))})
	want.DailyBytes = nil
	set(Patch{Unlimited: true})
	want.RetentionDays = 3650
	set(Patch{RetentionDays: ptr(3650)})
	want.AtLimit = tenant.Bill
	set(Patch{AtLimit: ptr(tenant.Bill)})
	want.Partition = want.ID.String()
	set(Patch{OwnPartition: ptr(true)})
	want.Partition = want.ID.Partition(false)
	set(Patch{OwnPartition: ptr(false)})
	want.KeepResends = true
	set(Patch{KeepResends: ptr(true)})
	set(Patch{})
	want.KeepResends = false
	set(Patch{KeepResends: ptr(false)})
}

// TestKeepResendsIsEachTenantsOwn: keys learn of it at once, in other processes when they look; children do not have it from
// their parent; the audit tells.
func TestKeepResendsIsEachTenantsOwn(t *testing.T) {
	storetest.Each(t, testKeepResendsIsEachTenantsOwn)
}

func testKeepResendsIsEachTenantsOwn(t *testing.T) {
	w := newWorld(t)
	w.tenant(NewTenant{Name: "parent", KeepResends: true})
	w.tenant(NewTenant{Name: "child", Parent: "parent"})
	other := openWorld(t, w.place, w.dir, w.clock)
	_, parent := w.key(NewKey{Tenant: "parent"})
	_, child := w.key(NewKey{Tenant: "child"})
	want := func(wantParent, wantChild bool) {
		t.Helper()
		for _, d := range []*Directory{w.Directory, other.Directory} {
			if err := d.sync(t.Context()); err != nil {
				t.Fatal(err)
			}
			for text, want := range map[string]bool{parent: wantParent, child: wantChild} {
				p, err := d.Authenticate(text)
				if err != nil || p.KeepResends() != want {
					t.Errorf("KeepResends of a key of %s = %v, %v, want %v", p.TenantName(), p.KeepResends(), err, want)
				}
			}
		}
	}
	want(true, false)
	set := func(name string, keep bool) {
		t.Helper()
		if _, err := w.Tenants().Set(t.Context(), w.op, name, Patch{KeepResends: ptr(keep)}); err != nil {
			t.Fatal(err)
		}
	}
	set("child", true)
	want(true, true)
	set("parent", false)
	want(false, true)
	entries, _, err := w.Audit(t.Context(), w.op, AuditFilter{Limit: 1})
	if err != nil {
		t.Fatal(err)
	}
	var d auditDetail
	if err := json.Unmarshal(entries[0].Detail, &d); err != nil || !d.Before.KeepResends || d.After.KeepResends {
		t.Errorf("the audit has %s, %v", entries[0].Detail, err)
	}
	if (Principal{}).KeepResends() {
		t.Error("nobody's requests are kept")
	}
}

func TestTreeIsEightDeepAtMost(t *testing.T) { storetest.Each(t, testTreeIsEightDeepAtMost) }

func testTreeIsEightDeepAtMost(t *testing.T) {
	w := newWorld(t)
	parent := ""
	for depth := 1; depth <= 8; depth++ {
		name := fmt.Sprint("t", depth)
		w.tenant(NewTenant{Name: name, Parent: parent})
		parent = name
	}
	_, err := w.Tenants().Create(t.Context(), w.op, NewTenant{Name: "t9", Parent: "t8"})
	wantErr(t, "Create at depth 9", err, ErrState)
	if p := w.as("t8", ScopeIngest); len(p.Limits()) != 9 {
		t.Errorf("the deepest chain has %d links, want the key and 8 tenants", len(p.Limits()))
	}
	_, err = w.Tenants().Create(t.Context(), w.op, NewTenant{Name: "x", Parent: "nobody"})
	wantErr(t, "Create below nobody", err, ErrNotFound)
	if _, err := w.Tenants().Disable(t.Context(), w.op, "t2"); err != nil {
		t.Fatal(err)
	}
	_, err = w.Tenants().Create(t.Context(), w.op, NewTenant{Name: "x", Parent: "t3"})
	wantErr(t, "Create below a disabled ancestor", err, ErrState)
}

func TestListSearchesFiltersAndPages(t *testing.T) {
	storetest.Each(t, testListSearchesFiltersAndPages)
}

func testListSearchesFiltersAndPages(t *testing.T) {
	w := newWorld(t)
	for i := range 25 {
		w.tenant(NewTenant{Name: fmt.Sprintf("t-%02d", i)})
	}
	if _, err := w.Tenants().Disable(t.Context(), w.op, "t-07"); err != nil {
		t.Fatal(err)
	}
	list := func(l ListTenants) (names []string) {
		t.Helper()
		for {
			page, next, err := w.Tenants().List(t.Context(), w.op, l)
			if err != nil {
				t.Fatal(err)
			}
			for _, x := range page {
				names = append(names, x.Name)
			}
			if next == "" {
				return names
			}
			if len(page) != l.Limit {
				t.Fatalf("page of %d with more behind it, want %d", len(page), l.Limit)
			}
			l.After = next
		}
	}
	if got := list(ListTenants{Limit: 4}); len(got) != 25 || got[0] != "t-00" || got[24] != "t-24" {
		t.Errorf("all: %v", got)
	}
	if got := list(ListTenants{Search: "T-1", Limit: 5}); len(got) != 10 {
		t.Errorf("search: %v", got)
	}
	if got := list(ListTenants{Search: "_"}); len(got) != 0 {
		t.Errorf("a wildcard is a letter like others: %v", got)
	}
	if got := list(ListTenants{Status: Inactive}); len(got) != 1 || got[0] != "t-07" {
		t.Errorf("inactive: %v", got)
	}
}

func TestTenantsAdminSeesItsOwnAndNothingElse(t *testing.T) {
	storetest.Each(t, testTenantsAdminSeesItsOwnAndNothingElse)
}

func testTenantsAdminSeesItsOwnAndNothingElse(t *testing.T) {
	w := newWorld(t)
	ctx := t.Context()
	w.tenant(NewTenant{Name: "acme"})
	globex := w.tenant(NewTenant{Name: "globex"})
	admin := w.as("acme", ScopeAdmin)
	got, _, err := w.Tenants().List(ctx, admin, ListTenants{})
	if err != nil || len(got) != 1 || got[0].Name != "acme" {
		t.Errorf("List = %+v, %v", got, err)
	}
	_, missing := w.Tenants().Show(ctx, admin, "nobody")
	for _, ref := range []string{"globex", globex.ID.String()} {
		_, err := w.Tenants().Show(ctx, admin, ref)
		wantErr(t, "Show", err, ErrNotFound)
		if strings.ReplaceAll(err.Error(), ref, "X") != strings.ReplaceAll(missing.Error(), "nobody", "X") {
			t.Errorf("%q and %q tell apart what exists", err, missing)
		}
		_, err = w.Tenants().Set(ctx, admin, ref, Patch{})
		wantErr(t, "Set", err, ErrNotFound)
		_, err = w.Tenants().BeginDelete(ctx, admin, ref, "globex")
		wantErr(t, "BeginDelete", err, ErrNotFound)
	}
	// Its parent or the operator sets its limits, not the tenant.
	_, err = w.Tenants().Set(ctx, admin, "acme", Patch{Unlimited: true})
	wantErr(t, "Set of the own tenant", err, ErrForbidden)
	_, err = w.Tenants().Create(ctx, admin, NewTenant{Name: "child", Parent: "acme"})
	wantErr(t, "Create", err, ErrForbidden)
	ingest := w.as("acme", ScopeIngest, ScopeQuery, ScopeUsage)
	_, err = w.Tenants().Show(ctx, ingest, "acme")
	wantErr(t, "Show without the admin scope", err, ErrScope)
}

func TestDeletionNeedsEveryPrecaution(t *testing.T) {
	storetest.Each(t, testDeletionNeedsEveryPrecaution)
}

func testDeletionNeedsEveryPrecaution(t *testing.T) {
	w := newWorld(t)
	ctx := t.Context()
	ts := w.Tenants()
	acme := w.tenant(NewTenant{Name: "acme"})
	w.tenant(NewTenant{Name: "child", Parent: "acme"})
	_, text := w.key(NewKey{Tenant: "acme"})
	begin := func(what, confirm string, want error) {
		t.Helper()
		_, err := ts.BeginDelete(ctx, w.op, "acme", confirm)
		wantErr(t, what, err, want)
	}
	do := func(_ Tenant, err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	w.tenant(NewTenant{Name: "lone"})
	_, err := ts.BeginDelete(ctx, w.op, "lone", "lone")
	wantErr(t, "BeginDelete of an active tenant", err, ErrState)
	begin("active", "acme", ErrState)
	do(ts.Disable(ctx, w.op, "acme"))
	begin("without confirmation", "", ErrInvalid)
	begin("with another name", "acm", ErrInvalid)
	begin("with an active child", "acme", ErrState)
	wantErr(t, "FinishDelete before its begin", ts.FinishDelete(ctx, w.op, "acme"), ErrState)
	do(ts.Disable(ctx, w.op, "child"))
	begin("with every precaution", "ACME", nil)
	begin("again", "acme", nil)
	w.expect(text, ErrTenantInactive)
	_, err = ts.Enable(ctx, w.op, "acme")
	wantErr(t, "Enable", err, ErrState)
	_, err = ts.Disable(ctx, w.op, "acme")
	wantErr(t, "Disable", err, ErrState)
	_, err = ts.Set(ctx, w.op, "acme", Patch{})
	wantErr(t, "Set", err, ErrState)
	_, _, err = w.Keys().Create(ctx, w.op, NewKey{Tenant: "acme", Scopes: []KeyScope{ScopeIngest}})
	wantErr(t, "Create of a key", err, ErrState)

	wantErr(t, "FinishDelete", ts.FinishDelete(ctx, w.op, acme.ID.String()), nil)
	w.expect(text, ErrUnknownKey)
	wantErr(t, "FinishDelete again", ts.FinishDelete(ctx, w.op, "acme"), ErrNotFound)
	for _, ref := range []string{"acme", acme.ID.String()} {
		_, err = ts.Show(ctx, w.op, ref)
		wantErr(t, "Show", err, ErrNotFound)
	}
	if got, _, err := ts.List(ctx, w.op, ListTenants{}); err != nil || len(got) != 2 {
		t.Errorf("List = %+v, %v, want the child and lone", got, err)
	}
	// The name is free, the id is not: the new tenant is another one, and the old child is not its child.
	again := w.tenant(NewTenant{Name: "acme"})
	if again.ID == acme.ID {
		t.Error("the id was used again")
	}
	do(ts.Enable(ctx, w.op, "child"))
	_, childKey := w.key(NewKey{Tenant: "child"})
	w.expect(childKey, ErrTenantInactive)
	_, err = ts.Create(ctx, w.op, NewTenant{Name: "grandchild", Parent: "child"})
	wantErr(t, "Create below an orphan", err, ErrState)
}

func TestStatusMovesAreIdempotent(t *testing.T) { storetest.Each(t, testStatusMovesAreIdempotent) }

func testStatusMovesAreIdempotent(t *testing.T) {
	w := newWorld(t)
	w.tenant(NewTenant{Name: "acme"})
	for range 2 {
		if got, err := w.Tenants().Disable(t.Context(), w.op, "acme"); err != nil || got.Status != Inactive {
			t.Errorf("Disable = %+v, %v", got, err)
		}
	}
	for range 2 {
		if got, err := w.Tenants().Enable(t.Context(), w.op, "acme"); err != nil || got.Status != Active {
			t.Errorf("Enable = %+v, %v", got, err)
		}
	}
}
