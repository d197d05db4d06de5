package metering

import (
	"context"
	"fmt"
	"reflect"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/headgate-io/headgate/internal/store/storetest"
	"github.com/headgate-io/headgate/internal/tenant"
	"github.com/headgate-io/headgate/internal/timetest"
)

func logs(t, k string, billed int64, at time.Time) Receipt {
	return Receipt{Tenant: id(t), Key: k, Signal: Logs, ReceivedAt: at, BilledBytes: billed, Records: 1}
}

func deadline(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	t.Cleanup(cancel)
	return ctx
}

// A second handle on the file reads what any other process would.
func TestReceiptIsInTheDatabaseWhenApplyReturns(t *testing.T) {
	storetest.Each(t, testReceiptIsInTheDatabaseWhenApplyReturns)
}

func testReceiptIsInTheDatabaseWhenApplyReturns(t *testing.T) {
	path := storetest.Place(t)
	l, other := newTestLedger(openDB(t, path)), newTestLedger(openDB(t, path))
	for i := range int64(20) {
		apply(t, l, testLog, uint64(i), true, logs("a", "k", 10, noon))
		if got := all(t, other, Filter{})["a/logs/k"]; got != 10*(i+1) {
			t.Fatalf("after receipt %d the ledger holds %d", i, got)
		}
	}
}

func TestReceiptsAddUpPerTenantKeySignalAndHour(t *testing.T) {
	storetest.Each(t, testReceiptsAddUpPerTenantKeySignalAndHour)
}

func testReceiptsAddUpPerTenantKeySignalAndHour(t *testing.T) {
	l := newTestLedger(tempDB(t))
	run := uint64(0)
	rec := func(rs ...Receipt) {
		t.Helper()
		run++
		apply(t, l, testLog, run, true, rs...)
	}
	rec(Receipt{Tenant: id("a"), Key: "k", Signal: Logs, ReceivedAt: noon, BilledBytes: 10, OverageBytes: 4, Records: 3, Rejected: 2})
	rec(Receipt{Tenant: id("a"), Key: "k", Signal: Logs, ReceivedAt: noon.Add(time.Hour - 1), BilledBytes: 5, Records: 1})
	rec(Receipt{Tenant: id("a"), Key: "k", Signal: Logs, ReceivedAt: noon.Add(time.Minute), UnbilledBytes: 7, Records: 1})
	rec(Receipt{Tenant: id("a"), Key: "k", Signal: Logs, ReceivedAt: noon.Add(time.Hour), BilledBytes: 1})
	rec(Receipt{Tenant: id("a"), Key: "k2", Signal: Traces, ReceivedAt: noon, BilledBytes: 2},
		Receipt{Tenant: id("b"), Key: "k3", Signal: Metrics, ReceivedAt: noon, BilledBytes: 3})
	u, err := l.UnsafeUsageOfAll(t.Context(), Filter{By: ByHour, BySignal: true, ByKey: true})
	if err != nil {
		t.Fatal(err)
	}
	end := noon.Add(time.Hour)
	want := []Row{
		{Start: noon, End: end, TenantID: "a", Signal: "logs", Key: "k", BilledBytes: 15, OverageBytes: 4, UnbilledBytes: 7,
			Records: 5, Requests: 3, RejectedRecords: 2, State: Open},
		{Start: noon, End: end, TenantID: "a", Signal: "traces", Key: "k2", BilledBytes: 2, Requests: 1, State: Open},
		{Start: noon, End: end, TenantID: "b", Signal: "metrics", Key: "k3", BilledBytes: 3, Requests: 1, State: Open},
		{Start: end, End: end.Add(time.Hour), TenantID: "a", Signal: "logs", Key: "k", BilledBytes: 1, Requests: 1, State: Open},
	}
	if !reflect.DeepEqual(u.Rows, want) {
		t.Errorf("rows\n%+v, want\n%+v", u.Rows, want)
	}
}

func TestEndingLedgerWritesWhatItHasCounted(t *testing.T) {
	storetest.Each(t, testEndingLedgerWritesWhatItHasCounted)
}

func testEndingLedgerWritesWhatItHasCounted(t *testing.T) {
	l := newTestLedger(tempDB(t))
	stop := run(t, l)
	timetest.Eventually(t, "it has begun", func() bool { return sealedNow(t, l).After(time.Unix(0, 0)) })
	l.CountRefused(Refusal{Tenant: id("a"), Key: "k", Signal: Logs, At: noon, Bytes: 9})
	stop()
	u, err := l.Usage(t.Context(), Filter{Tenants: ids("a")})
	if err != nil || len(u.Rows) != 1 || u.Rows[0].RefusedBytes != 9 {
		t.Errorf("the count of refusals was lost: %+v, %v", u, err)
	}
}

func TestDatabaseFailureLosesNoCount(t *testing.T) {
	storetest.Each(t, testDatabaseFailureLosesNoCount)
}

func testDatabaseFailureLosesNoCount(t *testing.T) {
	db := tempDB(t)
	l := startLedger(t, db, timetest.NewClock(noon).Now)
	mend := refuseInserts(t, db, "usage_hours", "1 = 1")
	l.CountRefused(Refusal{Tenant: id("a"), Key: "k", Signal: Logs, At: noon, Bytes: 9, Records: 2})
	timetest.Eventually(t, "writing the counts fails", func() bool { return testutil.ToFloat64(l.m.commitFailures) >= 1 })
	if applied, err := l.Apply(deadline(t), testLog, 1, []Receipt{logs("a", "k", 5, noon)}); err == nil || applied {
		t.Errorf("Apply into a broken table = %v, %v", applied, err)
	}
	if got := testutil.ToFloat64(l.m.commitFailures); got < 2 {
		t.Errorf("commit failures %v", got)
	}
	mend()
	apply(t, l, testLog, 1, true, logs("a", "k", 5, noon))
	timetest.Eventually(t, "the counts are written", func() bool {
		u, err := l.Usage(t.Context(), Filter{Tenants: ids("a")})
		if err != nil || len(u.Rows) != 1 || u.Rows[0].BilledBytes != 5 || u.Rows[0].Requests != 1 {
			t.Fatal(u, err)
		}
		r := u.Rows[0]
		return r.RefusedRequests == 1 && r.RefusedBytes == 9 && r.RejectedRecords == 2
	})
}

func TestRefusalsAreCountedWithoutWaiting(t *testing.T) {
	storetest.Each(t, testRefusalsAreCountedWithoutWaiting)
}

func testRefusalsAreCountedWithoutWaiting(t *testing.T) {
	l := NewLedger(tempDB(t), LedgerOptions{Now: timetest.NewClock(noon).Now})
	for range 1000 { // nobody writes yet
		l.CountRefused(Refusal{Tenant: id("a"), Key: "k", Signal: Metrics, At: noon, Bytes: 3})
	}
	l.CountRefused(Refusal{Key: "k", Signal: Metrics, At: noon})
	l.CountRefused(Refusal{Tenant: id("a"), Signal: "smells", At: noon})
	stop := run(t, l)
	timetest.Eventually(t, "they are written", func() bool {
		u, err := l.Usage(t.Context(), Filter{Tenants: ids("a")})
		return err == nil && len(u.Rows) == 1 && u.Rows[0].RefusedRequests == 1000 && u.Rows[0].RefusedBytes == 3000
	})
	stop()
	if got := testutil.ToFloat64(l.m.droppedCounts); got != 2 {
		t.Errorf("dropped counts %v, want the 2 malformed", got)
	}
}

func TestWaitingCountsAreBounded(t *testing.T) { storetest.Each(t, testWaitingCountsAreBounded) }

func testWaitingCountsAreBounded(t *testing.T) {
	l := NewLedger(tempDB(t), LedgerOptions{Now: timetest.NewClock(noon).Now})
	for i := range maxCounts + 10 {
		l.CountRefused(Refusal{Tenant: id("a"), Key: fmt.Sprint(i), Signal: Logs, At: noon})
	}
	if got := testutil.ToFloat64(l.m.droppedCounts); len(l.counts) != maxCounts || got != 10 {
		t.Errorf("%d rows wait, %v dropped, want %d and 10", len(l.counts), got, maxCounts)
	}
}

func TestBadReceiptsDoNotFailTheirNeighbours(t *testing.T) {
	storetest.Each(t, testBadReceiptsDoNotFailTheirNeighbours)
}

func testBadReceiptsDoNotFailTheirNeighbours(t *testing.T) {
	l := newTestLedger(tempDB(t))
	good := logs("a", "k", 1, noon)
	for name, change := range map[string]func(r *Receipt){
		"no tenant":      func(r *Receipt) { r.Tenant = Receipt{}.Tenant },
		"no signal":      func(r *Receipt) { r.Signal = "" },
		"negative":       func(r *Receipt) { r.BilledBytes = -1 },
		"huge":           func(r *Receipt) { r.Records = MaxRequestBytes + 1 },
		"all is overage": func(r *Receipt) { r.OverageBytes = r.BilledBytes + 1 },
	} {
		bad := good
		change(&bad)
		if _, err := bad.AppendBinary(nil); err == nil {
			t.Errorf("%s: comes into a log", name)
		}
		if applied, err := l.Apply(deadline(t), testLog, 1, []Receipt{bad}); err == nil || applied {
			t.Errorf("%s: Apply = %v, %v", name, applied, err)
		}
	}
	apply(t, l, testLog, 1, true, good)
}

// The whole path of racing requests, while runs of those before them are applied: what was acknowledged is what the ledger
// holds is what the meter counts, and no limit is passed.
func TestAcknowledgedBytesEqualTheLedger(t *testing.T) {
	storetest.Each(t, testAcknowledgedBytesEqualTheLedger)
}

func testAcknowledgedBytesEqualTheLedger(t *testing.T) {
	db := tempDB(t)
	l := newTestLedger(db)
	addTenant(t, db, "p", "")
	addTenant(t, db, "a", "ID-p")
	addTenant(t, db, "b", "ID-p")
	m := openMeter(t, db, noon)
	parent := limit(tenant.OwnerParent, "ID-p", 9_000, tenant.Refuse)
	charges := []Charge{
		charge("ID-a", "ka", tenant.Refuse, 3_000, 6_000, parent),
		charge("ID-b", "kb", tenant.Drop, tenant.Unlimited, tenant.Unlimited, parent),
	}
	var mu sync.Mutex
	acked := map[string]int64{}
	var inLog []Receipt
	runs := uint64(0)
	flush := func() {
		mu.Lock()
		rs := inLog
		inLog = nil
		mu.Unlock()
		runs++
		apply(t, l, testLog, runs, true, rs...)
	}
	sent := make(chan struct{})
	var flusher sync.WaitGroup
	flusher.Go(func() {
		for {
			select {
			case <-sent:
				flush()
				return
			default:
				flush()
			}
		}
	})
	var wg sync.WaitGroup
	for g := range 50 {
		wg.Go(func() {
			for i := range 20 {
				c := charges[(g+i)%2]
				r, err := m.Admit(c, int64(10+g), noon)
				if err != nil {
					continue
				}
				rc, err := r.Settle(Outcome{Signal: Logs, Bytes: int64(10 + g - i%3), Records: 1})
				if err != nil {
					t.Error(err)
					r.Release()
					continue
				}
				mu.Lock()
				inLog = append(inLog, rc)
				mu.Unlock()
				r.Commit()
				mu.Lock()
				acked[c.Tenant.String()+"/logs/"+c.Key] += rc.BilledBytes
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	close(sent)
	flusher.Wait()
	got := all(t, l, Filter{})
	if !reflect.DeepEqual(got, acked) {
		t.Errorf("ledger %v, acknowledged %v", got, acked)
	}
	a, b := got["ID-a/logs/ka"], got["ID-b/logs/kb"]
	if a > 3_000 || a+b > 9_000 || a+b < 8_900 {
		t.Errorf("billed %d and %d under limits of 3000 and 9000 together", a, b)
	}
	again := openMeter(t, db, noon)
	for _, m := range []*Meter{m, again} {
		wantUsed(t, m, true, "ka", noon, a)
		wantUsed(t, m, false, "ID-b", noon, b)
		wantUsed(t, m, false, "ID-p", noon, a+b)
	}
}
