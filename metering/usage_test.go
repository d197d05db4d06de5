package metering

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"math/rand/v2"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/headgate-io/headgate/internal/store"
	"github.com/headgate-io/headgate/internal/store/storetest"
	"github.com/headgate-io/headgate/internal/timetest"
)

// fill writes rows to the ledger at once and returns them as receipts.
func fill(t *testing.T, db *store.DB, rs []Receipt) *Ledger {
	t.Helper()
	l := NewLedger(db, LedgerOptions{Now: timetest.NewClock(noon).Now})
	rows := map[row]sums{}
	for _, r := range rs {
		k, s := r.row()
		add(rows, k, s)
	}
	if err := l.update(t.Context(), func(tx *store.Tx, _ int64) error { return addRows(t.Context(), tx, rows) }); err != nil {
		t.Fatal(err)
	}
	return l
}

// pages reads all pages of f with n rows each.
func pages(t *testing.T, l *Ledger, f Filter, n int) []Row {
	t.Helper()
	var out []Row
	f.Limit = n
	for range 100_000 {
		u, err := l.Usage(t.Context(), f)
		if err != nil {
			t.Fatal(err)
		}
		if len(u.Rows) > n {
			t.Fatalf("page of %d rows, want %d at most", len(u.Rows), n)
		}
		out = append(out, u.Rows...)
		if u.Next == "" {
			return out
		}
		if len(u.Rows) < n {
			t.Fatalf("page of %d rows with more behind it, want %d", len(u.Rows), n)
		}
		f.Cursor = u.Next
	}
	t.Fatal("pages without end")
	return nil
}

// summed does with a map what Usage promises.
func summed(rs []Receipt, f Filter) []Row {
	type group struct {
		start               time.Time
		tenant, signal, key string
	}
	sums := map[group]Row{}
	from, to := f.From.Truncate(time.Hour), f.To
	if r := to.Truncate(time.Hour); !r.Equal(to) {
		to = r.Add(time.Hour)
	}
	for _, r := range rs {
		at := r.ReceivedAt
		if !slices.Contains(f.Tenants, r.Tenant) || at.Before(from) || !at.Before(to) {
			continue
		}
		var start, end time.Time
		switch f.By {
		case ByHour:
			start = at.Truncate(time.Hour)
			end = start.Add(time.Hour)
		case ByMonth:
			start = time.Date(at.Year(), at.Month(), 1, 0, 0, 0, 0, time.UTC)
			end = start.AddDate(0, 1, 0)
		default:
			start = time.Date(at.Year(), at.Month(), at.Day(), 0, 0, 0, 0, time.UTC)
			end = start.AddDate(0, 0, 1)
		}
		if start.Before(from) {
			start = from
		}
		if end.After(to) {
			end = to
		}
		g := group{start: start, tenant: r.Tenant.String()}
		if f.BySignal {
			g.signal = string(r.Signal)
		}
		if f.ByKey {
			g.key = r.Key
		}
		s := sums[g]
		s.Start, s.End, s.Tenant, s.TenantID, s.Signal, s.Key, s.State =
			start, end, strings.TrimPrefix(g.tenant, "ID-"), g.tenant, g.signal, g.key, Open
		s.BilledBytes += r.BilledBytes
		s.Records += r.Records
		s.Requests++
		s.RejectedRecords += r.Rejected
		sums[g] = s
	}
	var out []Row
	for _, r := range sums {
		out = append(out, r)
	}
	slices.SortFunc(out, func(a, b Row) int {
		if c := a.Start.Compare(b.Start); c != 0 {
			return c
		}
		return strings.Compare(a.TenantID+"\x00"+a.Signal+"\x00"+a.Key, b.TenantID+"\x00"+b.Signal+"\x00"+b.Key)
	})
	return out
}

func TestUsageAgreesWithAMapForAnyFilterAndPageSize(t *testing.T) {
	storetest.Each(t, testUsageAgreesWithAMapForAnyFilterAndPageSize)
}

func testUsageAgreesWithAMapForAnyFilterAndPageSize(t *testing.T) {
	rng := rand.New(rand.NewPCG(7, 8))
	db := tempDB(t)
	var rs []Receipt
	for _, name := range []string{"a", "b", "c"} {
		addTenant(t, db, name, "")
		for range 60 {
			at := time.Date(2024, 1, 30, 0, 0, 0, 0, time.UTC).Add(time.Duration(rng.IntN(60*24*60)) * time.Minute)
			rs = append(rs, Receipt{Tenant: id("ID-" + name), Key: fmt.Sprint("k", name, rng.IntN(3)),
				Signal: []Signal{Logs, Traces, Metrics}[rng.IntN(3)], ReceivedAt: at,
				BilledBytes: rng.Int64N(1000), Records: rng.Int64N(10), Rejected: rng.Int64N(3)})
		}
	}
	l := fill(t, db, rs)
	for range 8 {
		from := time.Date(2024, 1, 28, 0, 0, 0, 0, time.UTC).Add(time.Duration(rng.IntN(40*24*60)) * time.Minute)
		f := Filter{
			Tenants: ids([][]string{{"ID-a"}, {"ID-a", "ID-c"}, {"ID-c", "ID-b", "ID-a"}}[rng.IntN(3)]...),
			From:    from, To: from.Add(time.Duration(rng.IntN(50*24*60)) * time.Minute),
			By:       []Interval{ByHour, ByDay, ByMonth, ""}[rng.IntN(4)],
			BySignal: rng.IntN(2) == 0, ByKey: rng.IntN(2) == 0,
		}
		want := summed(rs, f)
		for _, n := range []int{3 + rng.IntN(9), 10000} {
			if got := pages(t, l, f, n); !(len(got) == 0 && len(want) == 0) && !reflect.DeepEqual(got, want) {
				t.Fatalf("%+v by %d:\n%+v, want\n%+v", f, n, got, want)
			}
		}
	}
}

func TestUsageWithoutEndsIsTheWholeLedger(t *testing.T) {
	storetest.Each(t, testUsageWithoutEndsIsTheWholeLedger)
}

func testUsageWithoutEndsIsTheWholeLedger(t *testing.T) {
	rs := []Receipt{logs("a", "k", 1, time.Unix(0, 0)), logs("a", "k", 2, noon), logs("a", "k", 4, noon.AddDate(500, 0, 0))}
	l := fill(t, tempDB(t), rs)
	sum := int64(0)
	for _, r := range pages(t, l, Filter{Tenants: ids("a"), By: ByMonth}, 2) {
		sum += r.BilledBytes
	}
	if sum != 7 {
		t.Errorf("sum %d, want 7", sum)
	}
}

func TestUsageShowsOnlyTheTenantsAskedFor(t *testing.T) {
	storetest.Each(t, testUsageShowsOnlyTheTenantsAskedFor)
}

func testUsageShowsOnlyTheTenantsAskedFor(t *testing.T) {
	db := tempDB(t)
	l := fill(t, db, []Receipt{logs("a", "ka", 1, noon), logs("b", "kb", 2, noon.Add(time.Hour)), logs("c", "kc", 4, noon)})
	u, err := l.Usage(t.Context(), Filter{Tenants: ids("b"), ByKey: true})
	if err != nil || len(u.Rows) != 1 || u.Rows[0].TenantID != "b" || u.Rows[0].Key != "kb" {
		t.Errorf("rows %+v, %v", u.Rows, err)
	}
	// A cursor made by hand moves within the filter and never out of it.
	u, err = l.Usage(t.Context(), Filter{Tenants: ids("b"), Cursor: cursor{Start: noon.Unix(), Tenant: "a", Bound: Filter{Tenants: ids("b")}.bound()}.String()})
	for _, r := range u.Rows {
		if r.TenantID != "b" {
			t.Errorf("a cursor shows tenant %s, %v", r.TenantID, err)
		}
	}
}

func TestUnsafeUsageOfAllShowsEveryTenant(t *testing.T) {
	storetest.Each(t, testUnsafeUsageOfAllShowsEveryTenant)
}

func testUnsafeUsageOfAllShowsEveryTenant(t *testing.T) {
	l := fill(t, tempDB(t), []Receipt{logs("a", "ka", 1, noon), logs("b", "kb", 2, noon)})
	u, err := l.UnsafeUsageOfAll(t.Context(), Filter{Tenants: ids("a")})
	if err != nil || len(u.Rows) != 2 {
		t.Errorf("rows %+v, %v", u.Rows, err)
	}
}

func TestUsageOfNobodyIsAnErrorNotEverybody(t *testing.T) {
	storetest.Each(t, testUsageOfNobodyIsAnErrorNotEverybody)
}

func testUsageOfNobodyIsAnErrorNotEverybody(t *testing.T) {
	l := fill(t, tempDB(t), []Receipt{logs("a", "ka", 1, noon)})
	for name, f := range map[string]Filter{
		"no tenant":   {},
		"by week":     {Tenants: ids("a"), By: "week"},
		"odd cursor":  {Tenants: ids("a"), Cursor: "%"},
		"odd cursor2": {Tenants: ids("a"), Cursor: base64.RawURLEncoding.EncodeToString([]byte(`{"s":5}`))},
	} {
		if _, err := l.Usage(t.Context(), f); !errors.Is(err, ErrFilter) {
			t.Errorf("%s: %v, want ErrFilter", name, err)
		}
	}
}

func TestDeletedTenantKeepsItsNameInTheUsage(t *testing.T) {
	storetest.Each(t, testDeletedTenantKeepsItsNameInTheUsage)
}

func testDeletedTenantKeepsItsNameInTheUsage(t *testing.T) {
	db := tempDB(t)
	addTenant(t, db, "acme", "")
	l := fill(t, db, []Receipt{logs("ID-acme", "k", 1, noon)})
	err := db.Update(t.Context(), func(tx *store.Tx) error {
		_, err := tx.ExecContext(t.Context(), `UPDATE tenants SET deleted_at = 1, status = 'deleting'`)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	u, err := l.Usage(t.Context(), Filter{Tenants: ids("ID-acme")})
	if err != nil || len(u.Rows) != 1 || u.Rows[0].Tenant != "acme" || u.Rows[0].TenantID != "ID-acme" {
		t.Errorf("rows %+v, %v", u.Rows, err)
	}
}

func TestUsageSaysHowFarItIsSealed(t *testing.T) { storetest.Each(t, testUsageSaysHowFarItIsSealed) }

func testUsageSaysHowFarItIsSealed(t *testing.T) {
	l := fill(t, tempDB(t), nil)
	seal(t, l)
	u, err := l.Usage(t.Context(), Filter{Tenants: ids("a")})
	if err != nil || !u.SealedThrough.Equal(noon.Add(-time.Hour)) || u.Rows == nil || u.Next != "" {
		t.Errorf("%+v, %v", u, err)
	}
}

func TestUsageEndsWithItsContext(t *testing.T) { storetest.Each(t, testUsageEndsWithItsContext) }

func testUsageEndsWithItsContext(t *testing.T) {
	l := fill(t, tempDB(t), []Receipt{logs("a", "k", 1, noon)})
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := l.Usage(ctx, Filter{Tenants: ids("a")}); !errors.Is(err, context.Canceled) {
		t.Errorf("Usage = %v, want canceled", err)
	}
}

func FuzzCursor(f *testing.F) {
	f.Add(cursor{3600, "t", "logs", "k", "bound"}.String())
	f.Add("")
	f.Fuzz(func(t *testing.T, s string) {
		c, err := parseCursor(s, "bound")
		if err != nil {
			return
		}
		if again, err := parseCursor(c.String(), "bound"); err != nil || again != c {
			t.Errorf("cursor %+v comes back as %+v, %v", c, again, err)
		}
	})
}

// SECURITY: a cursor of another question or of another tenant's answer is refused as if it were nonsense.
func TestCursorBelongsToItsQuestion(t *testing.T) { storetest.Each(t, testCursorBelongsToItsQuestion) }

func testCursorBelongsToItsQuestion(t *testing.T) {
	l := fill(t, tempDB(t), []Receipt{logs("a", "k", 1, noon), logs("a", "k", 2, noon.Add(time.Hour)), logs("b", "k", 1, noon)})
	mine := Filter{Tenants: ids("a"), By: ByHour, Limit: 1}
	u, err := l.Usage(t.Context(), mine)
	if err != nil || u.Next == "" {
		t.Fatal(u, err)
	}
	mine.Cursor = u.Next
	if u, err := l.Usage(t.Context(), mine); err != nil || len(u.Rows) != 1 || u.Rows[0].BilledBytes != 2 {
		t.Errorf("the question itself: %+v, %v", u, err)
	}
	nonsense := mine
	nonsense.Cursor = "zzz"
	_, want := l.Usage(t.Context(), nonsense)
	for name, change := range map[string]func(*Filter){
		"tenant":      func(f *Filter) { f.Tenants = ids("b") },
		"tenants":     func(f *Filter) { f.Tenants = ids("a", "b") },
		"descendants": func(f *Filter) { f.Descendants = true },
		"from":        func(f *Filter) { f.From = noon.Add(-time.Hour) },
		"to":          func(f *Filter) { f.To = noon.Add(9 * time.Hour) },
		"by":          func(f *Filter) { f.By = ByDay },
		"zone":        func(f *Filter) { f.Zone = time.FixedZone("x", 3600) },
		"signals":     func(f *Filter) { f.BySignal = true },
		"keys":        func(f *Filter) { f.ByKey = true },
		"as of":       func(f *Filter) { f.AsOf = noon },
	} {
		f := mine
		change(&f)
		if _, err := l.Usage(t.Context(), f); !errors.Is(err, ErrFilter) || err.Error() != want.Error() {
			t.Errorf("with another %s: %v, want %v", name, err, want)
		}
	}
	all := mine
	if _, err := l.UnsafeUsageOfAll(t.Context(), all); !errors.Is(err, ErrFilter) {
		t.Errorf("for all: %v", err)
	}
}
