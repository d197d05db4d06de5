package metering

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/headgate-io/headgate/internal/store"
	"github.com/headgate-io/headgate/internal/store/storetest"
	"github.com/headgate-io/headgate/internal/tenant"
	"github.com/headgate-io/headgate/internal/timetest"
)

// refusalsOf returns the rows once there are n of them.
func refusalsOf(t *testing.T, l *Ledger, f RefusalFilter, n int) []RefusalCount {
	t.Helper()
	var page Refusals
	timetest.Eventually(t, fmt.Sprintf("%d rows of refusals are written", n), func() bool {
		var err error
		if page, err = l.Refusals(t.Context(), f); err != nil {
			t.Fatal(err)
		}
		return len(page.Rows) == n
	})
	return page.Rows
}

func TestRefusalsAreCountedByReason(t *testing.T) { storetest.Each(t, testRefusalsAreCountedByReason) }

func testRefusalsAreCountedByReason(t *testing.T) {
	db := tempDB(t)
	addTenant(t, db, "acme", "")
	l := startLedger(t, db, timetest.NewClock(noon.Add(3*time.Hour)).Now)
	a := id("ID-acme")
	count := func(at time.Time, reason Reason, signal Signal, key string, bytes, records int64) {
		limit := &LimitError{LimitID: LimitTenant, Kind: tenant.DailyBytes, Owner: tenant.OwnerTenant, Limit: 100, Used: bytes, Reset: resetOf(at)}
		l.CountRefused(Refusal{Tenant: a, Key: key, Signal: signal, At: at, Bytes: bytes, Records: records, Reason: reason, Limit: limit})
	}
	count(noon, Reason(LimitTenant), Logs, "k", 10, 0)
	count(noon.Add(2*time.Second), Reason(LimitTenant), Logs, "k", 30, 0)
	count(noon.Add(time.Second), Reason(LimitTenant), Logs, "k", 20, 0) // told later than the one after it
	count(noon, DroppedAtLimit, Logs, "k", 7, 3)
	count(noon, Reason(LimitTenant), Traces, "k", 1, 0)
	count(noon, Reason(LimitTenant), Logs, "k2", 1, 0)
	count(noon.Add(time.Hour), Reason(LimitTenant), Logs, "k", 1, 0)
	count(noon, "Made Up", Logs, "k", 1, 0)
	count(time.Time{}, Reason(LimitTenant), Logs, "k", 1, 0) // not counted at all
	l.CountRefused(Refusal{Tenant: id("b"), Key: "k", Signal: Logs, At: noon, Bytes: 9, Reason: Reason(LimitKey)})
	l.CountRejected(Refusal{Tenant: id("c"), Key: "k", Signal: Logs, At: noon, Records: 4, Reason: "rejected-no-time",
		Text: "4 of 5\x00\xff" + strings.Repeat("ü", maxAnswerBytes)})

	all := refusalsOf(t, l, RefusalFilter{Tenants: []tenant.ID{a}}, 6)
	if !all[0].Hour.Equal(noon.Add(time.Hour)) {
		t.Errorf("the newest hour is not first: %+v", all)
	}
	sums := refusalsOf(t, l, RefusalFilter{Tenants: []tenant.ID{a}, Reason: Reason(LimitTenant), Key: "k", To: noon.Add(time.Second)}, 2)
	want := RefusalCount{Hour: noon, Tenant: "acme", TenantID: "ID-acme", Signal: "logs", Key: "k", Reason: Reason(LimitTenant), Requests: 3, Bytes: 60,
		FirstAt: noon, LastAt: noon.Add(2 * time.Second), Text: "daily byte limit reached: used 30 of 100, resets 2025-03-02T00:00:00Z (limit-daily-bytes)"}
	if sums[1] != want {
		t.Errorf("got  %+v\nwant %+v", sums[1], want)
	}
	dropped := refusalsOf(t, l, RefusalFilter{Tenants: []tenant.ID{a}, Reason: DroppedAtLimit}, 1)
	if dropped[0].Records != 3 || dropped[0].Bytes != 7 {
		t.Errorf("dropped %+v", dropped[0])
	}
	if got := refusalsOf(t, l, RefusalFilter{Tenants: []tenant.ID{a}, Reason: OtherReason}, 1); got[0].Requests != 1 {
		t.Errorf("an unknown reason: %+v", got)
	}
	refusalsOf(t, l, RefusalFilter{Tenants: []tenant.ID{a}, From: noon.Add(time.Hour)}, 1)
	refusalsOf(t, l, RefusalFilter{Tenants: []tenant.ID{id("b")}}, 1)

	rejected := refusalsOf(t, l, RefusalFilter{Tenants: ids("c")}, 1)
	if rejected[0].Records != 4 || rejected[0].Requests != 1 || !strings.HasPrefix(rejected[0].Text, "4 of 5??ü") || len(rejected[0].Text) > maxAnswerBytes {
		t.Errorf("rejected %+v", rejected[0])
	}
	if u, err := l.Usage(t.Context(), Filter{Tenants: ids("c")}); err != nil || len(u.Rows) != 0 {
		t.Errorf("what was rejected is in the usage a second time: %+v, %v", u.Rows, err)
	}

	// The sums by key are what they were before there were reasons.
	u, err := l.Usage(t.Context(), Filter{Tenants: []tenant.ID{a}})
	if err != nil || len(u.Rows) != 1 || u.Rows[0].RefusedRequests != 8 || u.Rows[0].RefusedBytes != 71 || u.Rows[0].RejectedRecords != 3 {
		t.Errorf("usage %+v, %v", u.Rows, err)
	}
}

func TestRefusalPagesAreWholeAndInOrder(t *testing.T) {
	storetest.Each(t, testRefusalPagesAreWholeAndInOrder)
}

func testRefusalPagesAreWholeAndInOrder(t *testing.T) {
	db := tempDB(t)
	l := startLedger(t, db, timetest.NewClock(noon).Now)
	for i := range 30 {
		l.CountRefused(Refusal{Tenant: id("a"), Key: fmt.Sprint("k", i%5), Signal: Logs, At: noon.Add(time.Duration(i/5) * time.Hour),
			Reason: DroppedAtLimit})
	}
	whole := refusalsOf(t, l, RefusalFilter{Tenants: ids("a")}, 30)
	var walked []RefusalCount
	f := RefusalFilter{Tenants: ids("a"), Limit: 7}
	for {
		page, err := l.Refusals(t.Context(), f)
		if err != nil {
			t.Fatal(err)
		}
		walked = append(walked, page.Rows...)
		if f.Cursor = page.Next; f.Cursor == "" {
			break
		}
	}
	if fmt.Sprint(walked) != fmt.Sprint(whole) {
		t.Errorf("pages give\n%v, want\n%v", walked, whole)
	}
	if _, err := l.Refusals(t.Context(), RefusalFilter{Tenants: ids("a"), Cursor: "zzz"}); !errors.Is(err, ErrFilter) {
		t.Errorf("a foreign cursor: %v", err)
	}
	nul := packCursor(refusalCursor{Key: "\x00"})
	for _, bad := range []RefusalFilter{{Cursor: nul}, {Key: "a\x00"}, {Key: "a\xff"}, {Reason: "Made Up"}} {
		bad.Tenants = ids("a")
		if _, err := l.Refusals(t.Context(), bad); !errors.Is(err, ErrFilter) {
			t.Errorf("%+v: %v", bad, err)
		}
	}
	if _, err := l.Refusals(t.Context(), RefusalFilter{}); !errors.Is(err, ErrFilter) {
		t.Errorf("no tenant: %v", err)
	}
	if page, err := l.UnsafeRefusalsOfAll(t.Context(), RefusalFilter{Limit: 5000}); err != nil || len(page.Rows) != 30 {
		t.Errorf("all tenants: %d rows, %v", len(page.Rows), err)
	}
}

// events returns the alerts of a tenant as text.
func events(t *testing.T, db *store.DB, owner string) (out []string) {
	t.Helper()
	err := db.View(t.Context(), func(tx *store.Tx) error {
		rows, err := tx.QueryContext(t.Context(), `SELECT kind, owner, owner_id, limit_id, day, threshold, used, max FROM alerts
			WHERE tenant_id = ? ORDER BY owner`, owner)
		if err != nil {
			return err
		}
		defer rows.Close()
		for rows.Next() {
			var kind, owner, id, limit string
			var day, threshold, used, max int64
			if err := rows.Scan(&kind, &owner, &id, &limit, &day, &threshold, &used, &max); err != nil {
				return err
			}
			out = append(out, fmt.Sprint(kind, " ", owner, " ", id, " ", limit, " ", day, " ", threshold, " ", used, "/", max))
		}
		return rows.Err()
	})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func TestSpentLimitIsAnEventOnce(t *testing.T) { storetest.Each(t, testSpentLimitIsAnEventOnce) }

func testSpentLimitIsAnEventOnce(t *testing.T) {
	db := tempDB(t)
	l := startLedger(t, db, timetest.NewClock(noon).Now)
	m := openMeter(t, db, noon)
	day := dayOf(noon)
	refuse := func(c Charge, n int64) {
		e := refusal(t, m, c, n, noon)
		l.CountRefused(Refusal{Tenant: c.Tenant, Key: c.Key, Signal: Logs, At: noon, Bytes: n, Reason: Reason(e.LimitID), Limit: e})
	}
	own := charge("own", "k1", tenant.Refuse, tenant.Unlimited, 100)
	spend(t, m, own, 99, noon)
	keyed := charge("keyed", "k2", tenant.Refuse, 10, 100)
	spend(t, m, keyed, 10, noon)
	child := charge("child", "k3", tenant.Refuse, tenant.Unlimited, tenant.Unlimited, limit(tenant.OwnerParent, "parent", 50, tenant.Refuse))
	spend(t, m, child, 45, noon)
	large := charge("large", "k4", tenant.Refuse, tenant.Unlimited, 100)
	spend(t, m, large, 40, noon)
	for range 3 {
		refuse(own, 5)
		refuse(keyed, 5)
		refuse(child, 6)
		refuse(large, 1000)
	}
	shut := charge("shut", "k5", tenant.Refuse, tenant.Unlimited, 0)
	refuse(shut, 1)
	for owner, want := range map[string]string{
		"own":    fmt.Sprintf("limit.daily_bytes tenant own limit-daily-bytes %d 100 99/100", day),
		"keyed":  fmt.Sprintf("limit.daily_bytes key k2 limit-daily-bytes-key %d 100 10/10", day),
		"child":  fmt.Sprintf("limit.daily_bytes parent  limit-daily-bytes-parent %d 100 0/0", day),
		"parent": fmt.Sprintf("limit.daily_bytes tenant parent limit-daily-bytes %d 100 45/50", day),
		"shut":   fmt.Sprintf("limit.daily_bytes tenant shut limit-daily-bytes %d 100 0/0", day),
	} {
		timetest.Eventually(t, "the event of "+owner, func() bool { return len(events(t, db, owner)) > 0 })
		if got := events(t, db, owner); len(got) != 1 || got[0] != want {
			t.Errorf("events of %s: %q, want %q", owner, got, want)
		}
	}
	refusalsOf(t, l, RefusalFilter{Tenants: ids("large")}, 1)
	if got := events(t, db, "large"); len(got) != 0 {
		t.Errorf("a large request made an event: %q", got)
	}
	rows := refusalsOf(t, l, RefusalFilter{Tenants: ids("child")}, 1)
	if raw, _ := json.Marshal(rows); strings.Contains(string(raw), "45") || strings.Contains(string(raw), `"parent"`) {
		t.Errorf("the child sees of its parent: %s", raw)
	}
}

func TestOldRefusalsAreRemoved(t *testing.T) { storetest.Each(t, testOldRefusalsAreRemoved) }

func testOldRefusalsAreRemoved(t *testing.T) {
	db := tempDB(t)
	c := timetest.NewClock(noon)
	l := startLedger(t, db, c.Now)
	l.CountRefused(Refusal{Tenant: id("a"), Key: "k", Signal: Logs, At: noon, Reason: DroppedAtLimit})
	refusalsOf(t, l, RefusalFilter{Tenants: ids("a")}, 1)
	c.Set(noon.Add(keepRefusals + time.Hour))
	refusalsOf(t, l, RefusalFilter{Tenants: ids("a")}, 0)
	for _, owner := range []string{"a", "b"} {
		l.CountRefused(Refusal{Tenant: id(owner), Key: "k", Signal: Logs, At: c.Now(), Reason: DroppedAtLimit})
		refusalsOf(t, l, RefusalFilter{Tenants: ids(owner)}, 1)
	}
	if err := l.DeleteRefusals(t.Context(), id("a")); err != nil {
		t.Fatal(err)
	}
	refusalsOf(t, l, RefusalFilter{Tenants: ids("a")}, 0)
	refusalsOf(t, l, RefusalFilter{Tenants: ids("b")}, 1)
}

func TestRefusalsThatWaitAreBounded(t *testing.T) { storetest.Each(t, testRefusalsThatWaitAreBounded) }

func testRefusalsThatWaitAreBounded(t *testing.T) {
	l := NewLedger(tempDB(t), LedgerOptions{Now: timetest.NewClock(noon).Now}) // nobody writes
	for i := range maxCounts + 100 {
		l.CountRefused(Refusal{Tenant: id("a"), Key: fmt.Sprint(i), Signal: Logs, At: noon, Reason: DroppedAtLimit})
	}
	if len(l.refusals) != maxCounts || len(l.counts) != maxCounts {
		t.Errorf("%d and %d rows wait", len(l.refusals), len(l.counts))
	}
}
