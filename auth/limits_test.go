package auth

import (
	"encoding/json"
	"errors"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"
	_ "time/tzdata"

	"github.com/headgate-io/headgate/internal/store/storetest"
	"github.com/headgate-io/headgate/internal/tenant"
)

// some are limits of every kind, in no order.
func some() []tenant.Bound {
	return []tenant.Bound{
		{Kind: tenant.StorageBytes, Max: 1 << 40},
		{Kind: tenant.DailyBytes, Signal: "traces", Max: 5},
		{Kind: tenant.BytesPerSecond, Signal: "metrics", Max: 7, Burst: 9},
		{Kind: tenant.BytesPerSecond, Max: 5 << 20, Burst: 20 << 20},
		{Kind: tenant.RequestsPerSecond, Max: 100},
		{Kind: tenant.InFlightRequests, Signal: "profiles", Max: 0},
		{Kind: tenant.DailyBytes, Signal: "logs", Max: tenant.MaxBound},
		{Kind: tenant.RecordsPerRequest, Max: 10_000},
	}
}

// ofKeys leaves out what keys cannot have.
func ofKeys(b []tenant.Bound) []tenant.Bound {
	return slices.DeleteFunc(slices.Clone(b), func(b tenant.Bound) bool { return b.Kind == tenant.StorageBytes })
}

func TestLimitsReachEveryGrant(t *testing.T) { storetest.Each(t, testLimitsReachEveryGrant) }

func testLimitsReachEveryGrant(t *testing.T) {
	w := newWorld(t)
	w.tenant(NewTenant{Name: "acme", Bounds: some(), TimeZone: "Europe/Berlin"})
	w.tenant(NewTenant{Name: "dev", Parent: "acme", Bounds: some()[4:5], TimeZone: "+05:30"})
	k, text := w.key(NewKey{Tenant: "dev", Bounds: ofKeys(some())})
	other := openWorld(t, w.place, w.dir, w.clock) // another process
	for _, d := range []*world{w, other} {
		p, err := d.Authenticate(text)
		if err != nil {
			t.Fatal(err)
		}
		for i, want := range []struct {
			owner  tenant.Owner
			zone   string
			bounds []tenant.Bound
		}{
			{tenant.OwnerKey, "+05:30", sortBounds(ofKeys(some()))},
			{tenant.OwnerTenant, "+05:30", some()[4:5]},
			{tenant.OwnerParent, "Europe/Berlin", sortBounds(some())},
		} {
			if l := p.Limits()[i]; l.Owner != want.owner || l.Zone.String() != want.zone || !reflect.DeepEqual(l.Bounds, want.bounds) {
				t.Errorf("link %d is %+v in %s, want %+v", i, l, l.Zone, want)
			}
		}
		if chain := p.Chain(); chain[0].Zone != chain[1].Zone {
			t.Error("a key has another zone than its tenant")
		}
	}

	// What changes here holds there after a look.
	if _, err := w.Tenants().Set(t.Context(), w.op, "dev", Patch{Bounds: &[]tenant.Bound{}, TimeZone: ptr("UTC")}); err != nil {
		t.Fatal(err)
	}
	fewer := []tenant.Bound{{Kind: tenant.RequestsPerSecond, Max: 1}}
	if _, err := w.Keys().Set(t.Context(), w.op, k.ID, KeyPatch{Bounds: &fewer, DailyBytes: ptr(int64(3))}); err != nil {
		t.Fatal(err)
	}
	if err := other.sync(t.Context()); err != nil {
		t.Fatal(err)
	}
	for _, d := range []*world{w, other} {
		p, err := d.Authenticate(text)
		if err != nil {
			t.Fatal(err)
		}
		key, own := p.Limits()[0], p.Limits()[1]
		if !reflect.DeepEqual(key.Bounds, fewer) || key.DailyBytes != 3 || key.Zone != nil || own.Bounds != nil || own.Zone != nil {
			t.Errorf("after the change: key %+v, tenant %+v", key, own)
		}
	}
}

func TestBadLimitsAreRefused(t *testing.T) {
	w := newWorld(t)
	w.tenant(NewTenant{Name: "acme"})
	k, _ := w.key(NewKey{Tenant: "acme"})
	const top = "1152921504606846976"
	for _, c := range []struct {
		bounds []tenant.Bound
		want   string
	}{
		{[]tenant.Bound{{Kind: "bytes"}}, `limit "bytes": want daily-bytes, bytes-per-second, requests-per-second, records-per-request, in-flight-requests or storage-bytes`},
		{[]tenant.Bound{{}}, `limit "": want daily-bytes, bytes-per-second, requests-per-second, records-per-request, in-flight-requests or storage-bytes`},
		{[]tenant.Bound{{Kind: tenant.BytesPerSecond, Signal: "smells", Max: 1}}, `limit bytes-per-second of signal "smells": want logs, traces, metrics or profiles`},
		{[]tenant.Bound{{Kind: tenant.DailyBytes, Max: 1}}, `limit daily-bytes of all signals: it is the tenant's or key's daily_bytes`},
		{[]tenant.Bound{{Kind: tenant.RecordsPerRequest, Max: -1}}, `limit records-per-request of -1: want 0 to ` + top},
		{[]tenant.Bound{{Kind: tenant.DailyBytes, Signal: "logs", Max: -1}}, `limit daily-bytes:logs of -1: want 0 to ` + top},
		{[]tenant.Bound{{Kind: tenant.RequestsPerSecond, Max: tenant.MaxBound + 1}}, `limit requests-per-second of 1152921504606846977: want 0 to ` + top},
		{[]tenant.Bound{{Kind: tenant.RequestsPerSecond, Max: 1, Burst: -2}}, `limit requests-per-second with a burst of -2: want 0 to ` + top},
		{[]tenant.Bound{{Kind: tenant.InFlightRequests, Max: 1, Burst: 2}}, `limit in-flight-requests: only rates have a burst`},
		{[]tenant.Bound{{Kind: tenant.DailyBytes, Signal: "logs", Max: 1, Burst: 2}}, `limit daily-bytes:logs: only rates have a burst`},
		{[]tenant.Bound{{Kind: tenant.StorageBytes, Signal: "logs", Max: 1}}, `limit storage-bytes:logs: it is of all signals together`},
		{[]tenant.Bound{{Kind: tenant.DailyBytes, Signal: "logs", Max: 1}, {Kind: tenant.DailyBytes, Signal: "logs", Max: 2}}, `limit daily-bytes:logs is there twice`},
	} {
		_, made := w.Tenants().Create(t.Context(), w.op, NewTenant{Name: "globex", Bounds: c.bounds})
		_, set := w.Tenants().Set(t.Context(), w.op, "acme", Patch{Bounds: &c.bounds})
		_, _, key := w.Keys().Create(t.Context(), w.op, NewKey{Tenant: "acme", Scopes: []KeyScope{ScopeIngest}, Bounds: c.bounds})
		_, keySet := w.Keys().Set(t.Context(), w.op, k.ID, KeyPatch{Bounds: &c.bounds})
		for _, err := range []error{made, set, key, keySet} {
			var e *Error
			if !errors.As(err, &e) || e.Code != ErrInvalid.Code || e.Text != c.want {
				t.Errorf("%+v: %v, want %s", c.bounds, err, c.want)
			}
		}
	}
	stored := []tenant.Bound{{Kind: tenant.StorageBytes, Max: 1}}
	if _, err := w.Keys().Set(t.Context(), w.op, k.ID, KeyPatch{Bounds: &stored}); err == nil || err.Error() != "limit storage-bytes of a key: what is kept is a tenant's (invalid-argument)" {
		t.Errorf("a key may keep: %v", err)
	}
	for _, zone := range []string{"Mars/Olympus", "+15:00", "Local", "../etc/passwd", strings.Repeat("x", 5000), "a\x00b"} {
		_, made := w.Tenants().Create(t.Context(), w.op, NewTenant{Name: "globex", TimeZone: zone})
		_, set := w.Tenants().Set(t.Context(), w.op, "acme", Patch{TimeZone: &zone})
		for _, err := range []error{made, set} {
			if !errors.Is(err, ErrInvalid) || !strings.Contains(err.Error(), "such as ") && !strings.Contains(err.Error(), "14:59") {
				t.Errorf("time zone %.20q: %v", zone, err)
			}
		}
	}
	if _, err := w.Keys().Revoke(t.Context(), w.op, k.ID); err != nil {
		t.Fatal(err)
	}
	_, err := w.Keys().Set(t.Context(), w.op, k.ID, KeyPatch{Unlimited: true})
	wantErr(t, "limits of a revoked key", err, ErrState)
}

func TestKeysLimitsAreSetWithinReach(t *testing.T) {
	w := newWorld(t)
	w.tenant(NewTenant{Name: "acme"})
	w.tenant(NewTenant{Name: "globex"})
	k, _ := w.key(NewKey{Tenant: "acme", DailyBytes: ptr(int64(5))})
	p := KeyPatch{Unlimited: true, Bounds: &[]tenant.Bound{{Kind: tenant.RequestsPerSecond, Max: 1}}}
	for _, c := range []struct {
		by   Principal
		want error
	}{
		{w.as("globex", ScopeAdmin), ErrNotFound}, {w.as("acme", ScopeUsage), ErrScope}, {Principal{}, ErrNoCredential},
		{w.as("acme", ScopeAdmin), nil}, {w.op, nil},
	} {
		got, err := w.Keys().Set(t.Context(), c.by, k.ID, p)
		wantErr(t, "Set by "+c.by.actor(), err, c.want)
		if err == nil && (got.DailyBytes != nil || len(got.Bounds) != 1) {
			t.Errorf("Set = %+v", got)
		}
	}
	_, err := w.Keys().Set(t.Context(), w.op, "nosuch", p)
	wantErr(t, "Set of no key", err, ErrNotFound)
}

func TestAuditTellsLimitsBeforeAndAfter(t *testing.T) { storetest.Each(t, testAuditTellsLimits) }

func testAuditTellsLimits(t *testing.T) {
	w := newWorld(t)
	w.tenant(NewTenant{Name: "acme", TimeZone: "Asia/Kolkata"})
	if _, err := w.Tenants().Set(t.Context(), w.op, "acme", Patch{Bounds: ptr(some()[:1]), TimeZone: ptr("")}); err != nil {
		t.Fatal(err)
	}
	k, _ := w.key(NewKey{Tenant: "acme"})
	if _, err := w.Keys().Set(t.Context(), w.op, k.ID, KeyPatch{DailyBytes: ptr(int64(9)), Bounds: ptr(some()[3:4])}); err != nil {
		t.Fatal(err)
	}
	entries, _, err := w.Audit(t.Context(), w.op, AuditFilter{Tenant: "acme"})
	if err != nil {
		t.Fatal(err)
	}
	var key, set auditDetail
	for e, into := range map[*Entry]*auditDetail{&entries[0]: &key, &entries[2]: &set} {
		if err := json.Unmarshal(e.Detail, into); err != nil {
			t.Fatal(err)
		}
	}
	if entries[0].Action != "key.set" || key.KeyBefore.Limits != nil || key.KeyBefore.DailyBytes != nil || len(key.Key.Limits) != 1 || *key.Key.DailyBytes != 9 {
		t.Errorf("entry of the key: %s", entries[0].Detail)
	}
	if set.Before.TimeZone != "Asia/Kolkata" || set.After.TimeZone != "" || set.Before.Limits != nil || !reflect.DeepEqual(set.After.Limits, some()[:1]) {
		t.Errorf("entry of the tenant: %s", entries[2].Detail)
	}
}

// Rows of a binary that knew no limits have the columns' default; those of one that knows more are not read as no limit.
func TestLimitsOfOtherVersions(t *testing.T) { storetest.Each(t, testLimitsOfOtherVersions) }

func testLimitsOfOtherVersions(t *testing.T) {
	w := newWorld(t)
	w.tenant(NewTenant{Name: "acme", Bounds: some()})
	w.tenant(NewTenant{Name: "dev", Parent: "acme"})
	w.tenant(NewTenant{Name: "globex"})
	k, text := w.key(NewKey{Tenant: "dev"})
	_, globex := w.key(NewKey{Tenant: "globex"})
	change := func(q string) {
		t.Helper()
		if err := w.db.Update(t.Context(), execute(q+`, rev = (SELECT n + 1 FROM changes)`)); err != nil {
			t.Fatal(err)
		}
		if err := w.db.Update(t.Context(), execute(`UPDATE changes SET n = n + 1`)); err != nil {
			t.Fatal(err)
		}
		if err := w.sync(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	change(`UPDATE tenants SET limits = '', time_zone = ''`)
	w.expect(text, nil)
	for _, bad := range []string{
		`UPDATE tenants SET limits = '[{"limit":"spans-per-trace","max":5}]'`,
		`UPDATE tenants SET limits = '[{"limit":"requests-per-second","max":5,"from":"09:00"}]'`,
		`UPDATE tenants SET limits = 'x'`,
		`UPDATE tenants SET time_zone = 'Mars/Olympus'`,
		`UPDATE api_keys SET limits = '[{"limit":"storage-bytes","max":5}]'`,
	} {
		change(bad)
		w.expect(text, ErrKeysUnavailable)
		change(`UPDATE tenants SET limits = '', time_zone = ''`)
		change(`UPDATE api_keys SET limits = ''`)
		w.expect(text, nil)
	}

	// A parent's holds up its children, and others are not held up; what is not understood survives a change of the rest.
	newer := `[{"limit":"spans-per-trace","max":5}]`
	change(`UPDATE tenants SET limits = CASE name WHEN 'acme' THEN '` + newer + `' ELSE '' END`)
	w.expect(text, ErrKeysUnavailable)
	w.expect(globex, nil)
	if _, err := w.Tenants().Set(t.Context(), w.op, "acme", Patch{RetentionDays: ptr(3)}); err != nil {
		t.Fatal(err)
	}
	w.expect(text, ErrKeysUnavailable)
	if _, err := w.Tenants().Set(t.Context(), w.op, "acme", Patch{Bounds: &[]tenant.Bound{}}); err != nil {
		t.Fatal(err)
	}
	w.expect(text, nil)
	change(`UPDATE api_keys SET limits = '` + newer + `'`)
	if _, err := w.Keys().Set(t.Context(), w.op, k.ID, KeyPatch{Unlimited: true}); err != nil {
		t.Fatal(err)
	}
	w.expect(text, ErrKeysUnavailable)
	if _, err := w.Keys().Set(t.Context(), w.op, k.ID, KeyPatch{Bounds: &[]tenant.Bound{}}); err != nil {
		t.Fatal(err)
	}
	w.expect(text, nil)
}

func TestLowerLimitsOfAncestors(t *testing.T) {
	w := newWorld(t)
	rate := func(n int64) []tenant.Bound { return []tenant.Bound{{Kind: tenant.RequestsPerSecond, Max: n}} }
	w.tenant(NewTenant{Name: "root", DailyBytes: ptr(int64(100)), Bounds: rate(50)})
	w.tenant(NewTenant{Name: "mid", Parent: "root", DailyBytes: ptr(int64(200)), Bounds: rate(5)})
	for i, c := range []struct {
		daily  *int64
		bounds []tenant.Bound
		want   []Lower
	}{
		{nil, nil, []Lower{{tenant.DailyBytes, "", "root", 100}}},
		{ptr(int64(100)), nil, nil},
		{ptr(int64(150)), rate(6), []Lower{{tenant.DailyBytes, "", "root", 100}, {tenant.RequestsPerSecond, "", "mid", 5}}},
		{ptr(int64(0)), []tenant.Bound{{Kind: tenant.RequestsPerSecond, Signal: "logs", Max: 70}}, nil},
	} {
		leaf := w.tenant(NewTenant{Name: "leaf" + string(rune('0'+i)), Parent: "mid", DailyBytes: c.daily, Bounds: c.bounds})
		if got := w.Tenants().Lower(w.op, leaf); !reflect.DeepEqual(got, c.want) {
			t.Errorf("%d: Lower = %+v, want %+v", i, got, c.want)
		}
		// SECURITY: the tenant's own admin learns neither name nor number.
		for j, got := range w.Tenants().Lower(w.as(leaf.Name, ScopeAdmin), leaf) {
			if want := (Lower{c.want[j].Kind, "", "parent", tenant.Unlimited}); got != want {
				t.Errorf("%d: the tenant learns %+v, want %+v", i, got, want)
			}
		}
	}
}

func TestKeptBytesAreSummedUpTheTree(t *testing.T) {
	w := newWorld(t)
	root := w.tenant(NewTenant{Name: "root", Bounds: []tenant.Bound{{Kind: tenant.StorageBytes, Max: 1000}}, TimeZone: "Europe/Berlin"}).ID.String()
	mid := w.tenant(NewTenant{Name: "mid", Parent: "root"}).ID.String()
	leaf := w.tenant(NewTenant{Name: "leaf", Parent: "mid"}).ID.String()
	alone := w.tenant(NewTenant{Name: "alone"}).ID.String()
	got := w.UnsafeWithDescendants(map[string]int64{root: 1, mid: 10, leaf: 100, alone: 7, "gone": 3})
	if want := map[string]int64{root: 111, mid: 110, leaf: 100, alone: 7, "gone": 3}; !reflect.DeepEqual(got, want) {
		t.Errorf("with descendants %v, want %v", got, want)
	}
	limits := w.UnsafeStorageLimits()
	if len(limits) != 1 || limits[0].Tenant.String() != root || limits[0].Max != 1000 || limits[0].Zone.String() != "Europe/Berlin" {
		t.Errorf("storage limits %+v", limits)
	}
}

// A zone's days are worked out once for all its tenants.
func TestTenantsOfAZoneShareIt(t *testing.T) {
	w := newWorld(t)
	w.tenant(NewTenant{Name: "acme", TimeZone: "Europe/Berlin"})
	w.tenant(NewTenant{Name: "globex", TimeZone: "Europe/Berlin"})
	a, b := w.as("acme", ScopeIngest).Chain(), w.as("globex", ScopeIngest).Chain()
	if a[1].Zone == nil || a[1].Zone != b[1].Zone {
		t.Errorf("zones %p and %p", a[1].Zone, b[1].Zone)
	}
	at := time.Date(2026, 3, 29, 12, 0, 0, 0, time.UTC) // 23 hours
	if d := a[1].Zone.Day(at); d.End-d.Start != 23*3600 {
		t.Errorf("the day %+v", d)
	}
}
