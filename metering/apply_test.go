package metering

import (
	"context"
	"errors"
	"fmt"
	"math"
	"reflect"
	"sync"
	"testing"
	"time"

	"github.com/headgate-io/headgate/internal/store"
	"github.com/headgate-io/headgate/internal/store/storetest"
	"github.com/headgate-io/headgate/internal/timetest"
)

const testLog = "3f9a"

func execute(t *testing.T, db *store.DB, query string, args ...any) {
	t.Helper()
	err := db.Update(t.Context(), func(tx *store.Tx) error {
		_, err := tx.ExecContext(t.Context(), query, args...)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}

// refuseInserts makes the inserts of rows into table fail for which the condition holds, until mend is called.
func refuseInserts(t *testing.T, db *store.DB, table, condition string) (mend func()) {
	t.Helper()
	if storetest.IsPostgres(t) {
		execute(t, db, `CREATE FUNCTION disk_full() RETURNS trigger LANGUAGE plpgsql AS
				'BEGIN RAISE EXCEPTION ''disk is full''; END';
			CREATE TRIGGER disk_full BEFORE INSERT ON `+table+` FOR EACH ROW WHEN (`+condition+`) EXECUTE FUNCTION disk_full()`)
		return func() { execute(t, db, `DROP FUNCTION disk_full CASCADE`) }
	}
	execute(t, db, `CREATE TRIGGER disk_full BEFORE INSERT ON `+table+` WHEN `+condition+`
		BEGIN SELECT RAISE(ABORT, 'disk is full'); END`)
	return func() { execute(t, db, `DROP TRIGGER disk_full`) }
}

func newTestLedger(db *store.DB) *Ledger {
	return NewLedger(db, LedgerOptions{Now: timetest.NewClock(noon).Now})
}

// apply applies a run and checks whether that is news to the ledger.
func apply(t *testing.T, l *Ledger, log string, run uint64, want bool, receipts ...Receipt) {
	t.Helper()
	if got, err := l.Apply(deadline(t), log, run, receipts); err != nil || got != want {
		t.Errorf("Apply run %d of %s = %v, %v, want %v", run, log, got, err, want)
	}
}

func wantApplied(t *testing.T, l *Ledger, log string, want ...uint64) {
	t.Helper()
	got, err := l.Applied(deadline(t), log, []uint64{0, 1, 2, 3, math.MaxInt64, math.MaxInt64 + 1, math.MaxUint64})
	if err != nil {
		t.Fatal(err)
	}
	set := map[uint64]bool{}
	for _, run := range want {
		set[run] = true
	}
	if !reflect.DeepEqual(got, set) {
		t.Errorf("applied runs of %s: %v, want %v", log, got, set)
	}
}

func TestRunIsAppliedOnce(t *testing.T) { storetest.Each(t, testRunIsAppliedOnce) }

func testRunIsAppliedOnce(t *testing.T) {
	path := storetest.Place(t)
	l := newTestLedger(openDB(t, path))
	rs := []Receipt{logs("a", "k", 10, noon), logs("a", "k", 5, noon), logs("b", "k", 1, noon)}
	apply(t, l, testLog, 7, true, rs...)
	apply(t, l, testLog, 7, false, rs...)
	apply(t, newTestLedger(openDB(t, path)), testLog, 7, false, rs...) // another process, as after a restart
	apply(t, l, testLog, 8, true)
	apply(t, l, testLog, 8, false, rs...) // nothing was to be billed, and nothing is
	apply(t, l, "other", 7, true, logs("a", "k", 100, noon))
	if got, want := all(t, l, Filter{}), (map[string]int64{"a/logs/k": 115, "b/logs/k": 1}); !reflect.DeepEqual(got, want) {
		t.Errorf("ledger %v, want %v", got, want)
	}
}

func TestEveryCountOfAReceiptIsApplied(t *testing.T) {
	storetest.Each(t, testEveryCountOfAReceiptIsApplied)
}

func testEveryCountOfAReceiptIsApplied(t *testing.T) {
	l := newTestLedger(tempDB(t))
	r := Receipt{Tenant: id("a"), Key: "k", Signal: Metrics, ReceivedAt: noon, BilledBytes: 10, OverageBytes: 4,
		UnbilledBytes: 7, Records: 3, Rejected: 2}
	apply(t, l, testLog, 1, true, r, r)
	apply(t, l, testLog, 2, true, r)
	u, err := l.Usage(t.Context(), Filter{Tenants: ids("a"), By: ByHour, BySignal: true, ByKey: true})
	want := []Row{{Start: noon, End: noon.Add(time.Hour), TenantID: "a", Signal: "metrics", Key: "k", BilledBytes: 30,
		OverageBytes: 12, UnbilledBytes: 21, Records: 9, Requests: 3, RejectedRecords: 6, State: Open}}
	if err != nil || !reflect.DeepEqual(u.Rows, want) {
		t.Errorf("rows %+v, %v, want %+v", u.Rows, err, want)
	}
}

func TestAppliedTellsWhichRunsAreBilled(t *testing.T) {
	storetest.Each(t, testAppliedTellsWhichRunsAreBilled)
}

func testAppliedTellsWhichRunsAreBilled(t *testing.T) {
	l := newTestLedger(tempDB(t))
	for _, run := range []uint64{0, 2, math.MaxInt64 + 1, math.MaxUint64} {
		apply(t, l, testLog, run, true)
	}
	wantApplied(t, l, testLog, 0, 2, math.MaxInt64+1, math.MaxUint64)
	wantApplied(t, l, "other")
}

func TestForgottenRunsStayApplied(t *testing.T) { storetest.Each(t, testForgottenRunsStayApplied) }

func testForgottenRunsStayApplied(t *testing.T) {
	db := tempDB(t)
	l := newTestLedger(db)
	for _, run := range []uint64{0, 1, 2, 3, math.MaxInt64, math.MaxInt64 + 1, math.MaxUint64} {
		apply(t, l, testLog, run, true, logs("a", "k", 1, noon))
	}
	apply(t, l, "other", 1, true)
	kept := func() (n int) {
		t.Helper()
		err := db.View(t.Context(), func(tx *store.Tx) error {
			return tx.QueryRowContext(t.Context(), `SELECT count(*) FROM applied_runs WHERE log_id = ?`, testLog).Scan(&n)
		})
		if err != nil {
			t.Fatal(err)
		}
		return n
	}
	for _, c := range []struct {
		before uint64
		kept   int
	}{{0, 7}, {2, 5}, {1, 5}, {math.MaxInt64 + 1, 2}, {math.MaxUint64, 1}, {0, 1}} {
		if err := l.ForgetRuns(deadline(t), testLog, c.before); err != nil {
			t.Fatal(err)
		}
		if got := kept(); got != c.kept {
			t.Errorf("%d rows after ForgetRuns before %d, want %d", got, c.before, c.kept)
		}
	}
	apply(t, l, testLog, 1, false, logs("a", "k", 1, noon)) // from a log that was restored from a backup
	wantApplied(t, l, testLog, 0, 1, 2, 3, math.MaxInt64, math.MaxInt64+1, math.MaxUint64)
	wantApplied(t, l, "other", 1)
	if got := all(t, l, Filter{})["a/logs/k"]; got != 7 {
		t.Errorf("ledger holds %d, want 7", got)
	}
}

func TestNewestRunIsTheOneToNumberFrom(t *testing.T) {
	storetest.Each(t, testNewestRunIsTheOneToNumberFrom)
}

func testNewestRunIsTheOneToNumberFrom(t *testing.T) {
	l := newTestLedger(tempDB(t))
	want := func(want uint64) {
		t.Helper()
		if got, err := l.NewestRun(deadline(t), testLog); err != nil || got != want {
			t.Errorf("newest run %d, %v, want %d", got, err, want)
		}
	}
	apply(t, l, "other", 100, true)
	want(0)
	for _, run := range []uint64{2, 7, 5} {
		apply(t, l, testLog, run, true)
	}
	want(7)
	if err := l.ForgetRuns(deadline(t), testLog, 11); err != nil {
		t.Fatal(err)
	}
	want(10)
	for _, run := range []uint64{math.MaxInt64, math.MaxInt64 + 2, math.MaxInt64 + 1} {
		apply(t, l, testLog, run, true)
	}
	want(math.MaxInt64 + 2)
}

func TestFailedApplyLeavesNothing(t *testing.T) { storetest.Each(t, testFailedApplyLeavesNothing) }

func testFailedApplyLeavesNothing(t *testing.T) {
	db := tempDB(t)
	l := newTestLedger(db)
	rs := []Receipt{logs("a", "k", 10, noon), logs("b", "k", 20, noon), logs("c", "k", 30, noon)}
	failed := func(ctx context.Context, rs []Receipt) {
		t.Helper()
		if applied, err := l.Apply(ctx, testLog, 1, rs); err == nil || applied {
			t.Errorf("Apply = %v, %v, want an error", applied, err)
		}
		wantApplied(t, l, testLog)
		if got := all(t, l, Filter{}); len(got) > 0 {
			t.Errorf("ledger %v, want nothing", got)
		}
	}
	// On the way to each of the rows, whatever their order.
	for _, tenant := range []string{"a", "b", "c"} {
		mend := refuseInserts(t, db, "usage_hours", `NEW.tenant_id = '`+tenant+`'`)
		failed(deadline(t), rs)
		mend()
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	failed(ctx, rs)
	bad := rs[1]
	bad.Records = -1
	failed(deadline(t), append([]Receipt{bad}, rs...))
	apply(t, l, testLog, 1, true, rs...)
}

func TestDatabaseAwayIsThePlainErrorOfApply(t *testing.T) {
	storetest.Each(t, testDatabaseAwayIsThePlainErrorOfApply)
}

func testDatabaseAwayIsThePlainErrorOfApply(t *testing.T) {
	db := tempDB(t)
	l := newTestLedger(db)
	db.Close()
	if _, err := l.Apply(deadline(t), testLog, 1, nil); err == nil {
		t.Error("applied without a database")
	}
	if _, err := l.Applied(deadline(t), testLog, []uint64{1}); err == nil {
		t.Error("told without a database")
	}
	if _, err := l.NewestRun(deadline(t), testLog); err == nil {
		t.Error("told the newest run without a database")
	}
	if err := l.ForgetRuns(deadline(t), testLog, 1); err == nil {
		t.Error("forgot without a database")
	}
}

// Resolvers that do not know of each other: of all that apply a run, one adds it.
func TestRacingAppliesOfARunAddItOnce(t *testing.T) {
	storetest.Each(t, testRacingAppliesOfARunAddItOnce)
}

func testRacingAppliesOfARunAddItOnce(t *testing.T) {
	path := storetest.Place(t)
	ls := []*Ledger{newTestLedger(openDB(t, path)), newTestLedger(openDB(t, path))}
	var wg sync.WaitGroup
	for i := range 60 {
		wg.Go(func() {
			run := uint64(i % 20)
			for {
				_, err := ls[i%2].Apply(deadline(t), testLog, run, []Receipt{logs("a", "k", 1<<run, noon)})
				if err == nil || errors.Is(err, context.DeadlineExceeded) {
					return
				}
			}
		})
	}
	wg.Wait()
	if got := all(t, ls[0], Filter{})["a/logs/k"]; got != 1<<20-1 {
		t.Errorf("ledger holds %b, want each of 20 bits", got)
	}
}

// The operator's question: a tenant is deleted while receipts of it wait in the log, and they still reach the ledger.
func TestDeletedTenantsReceiptsAreBilledUnderItsName(t *testing.T) {
	storetest.Each(t, testDeletedTenantsReceiptsAreBilledUnderItsName)
}

func testDeletedTenantsReceiptsAreBilledUnderItsName(t *testing.T) {
	db := tempDB(t)
	addTenant(t, db, "gone", "")
	addTenant(t, db, "here", "")
	execute(t, db, `UPDATE tenants SET status = 'deleting', deleted_at = 1 WHERE id = 'ID-gone'`)
	l := newTestLedger(db)
	apply(t, l, testLog, 1, true, logs("ID-gone", "k", 10, noon), logs("ID-here", "k", 20, noon), logs("ID-never", "k", 30, noon))
	u, err := l.UnsafeUsageOfAll(t.Context(), Filter{})
	if err != nil || len(u.Rows) != 3 {
		t.Fatal(u, err)
	}
	for i, want := range []Row{
		{Tenant: "gone", TenantID: "ID-gone", BilledBytes: 10}, {Tenant: "here", TenantID: "ID-here", BilledBytes: 20},
		{Tenant: "", TenantID: "ID-never", BilledBytes: 30},
	} {
		if r := u.Rows[i]; r.Tenant != want.Tenant || r.TenantID != want.TenantID || r.BilledBytes != want.BilledBytes {
			t.Errorf("row %+v, want %+v", r, want)
		}
	}
}

// A run of 20,000 receipts, of few tenants and of as many as there are receipts.
func BenchmarkApply(b *testing.B) {
	for _, tenants := range []int{10, 1000, 20_000} {
		b.Run(fmt.Sprintf("tenants=%d", tenants), func(b *testing.B) {
			l := newTestLedger(benchDB(b))
			var rs []Receipt
			for i := range 20_000 {
				rs = append(rs, logs(fmt.Sprint("t", i%tenants), "k", int64(i), noon))
			}
			b.ReportAllocs()
			run := uint64(0)
			for b.Loop() {
				run++
				if applied, err := l.Apply(b.Context(), testLog, run, rs); err != nil || !applied {
					b.Fatal(applied, err)
				}
			}
			b.ReportMetric(float64(b.Elapsed().Milliseconds())/float64(b.N), "ms/run")
		})
	}
}
