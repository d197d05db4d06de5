package metering

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"path/filepath"
	"reflect"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
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
func TestRecordedReceiptIsInTheDatabaseWhenRecordReturns(t *testing.T) {
	path := filepath.Join(t.TempDir(), "state.db")
	c := &clock{t: noon}
	l := startLedger(t, openDB(t, path), c.now)
	other := NewLedger(openDB(t, path), LedgerOptions{Now: c.now})
	for i := range int64(20) {
		if err := l.Record(deadline(t), logs("a", "k", 10, noon)); err != nil {
			t.Fatal(err)
		}
		if got := all(t, other, Filter{})["a/logs/k"]; got != 10*(i+1) {
			t.Fatalf("after receipt %d the ledger holds %d", i, got)
		}
	}
}

func TestReceiptsAddUpPerTenantKeySignalAndHour(t *testing.T) {
	l := startLedger(t, tempDB(t), (&clock{t: noon}).now)
	rec := func(r Receipt) {
		t.Helper()
		if err := l.Record(deadline(t), r); err != nil {
			t.Fatal(err)
		}
	}
	rec(Receipt{Tenant: id("a"), Key: "k", Signal: Logs, ReceivedAt: noon, BilledBytes: 10, OverageBytes: 4, Records: 3, Rejected: 2})
	rec(Receipt{Tenant: id("a"), Key: "k", Signal: Logs, ReceivedAt: noon.Add(time.Hour - 1), BilledBytes: 5, Records: 1})
	rec(Receipt{Tenant: id("a"), Key: "k", Signal: Logs, ReceivedAt: noon.Add(time.Minute), UnbilledBytes: 7, Records: 1})
	rec(Receipt{Tenant: id("a"), Key: "k", Signal: Logs, ReceivedAt: noon.Add(time.Hour), BilledBytes: 1})
	rec(Receipt{Tenant: id("a"), Key: "k2", Signal: Traces, ReceivedAt: noon, BilledBytes: 2})
	rec(Receipt{Tenant: id("b"), Key: "k3", Signal: Metrics, ReceivedAt: noon, BilledBytes: 3})
	u, err := l.UnsafeUsageOfAll(t.Context(), Filter{By: ByHour, BySignal: true, ByKey: true})
	if err != nil {
		t.Fatal(err)
	}
	end := noon.Add(time.Hour)
	want := []Row{
		{Start: noon, End: end, TenantID: "a", Signal: "logs", Key: "k", BilledBytes: 15, OverageBytes: 4, UnbilledBytes: 7,
			Records: 5, Requests: 3, RejectedRecords: 2},
		{Start: noon, End: end, TenantID: "a", Signal: "traces", Key: "k2", BilledBytes: 2, Requests: 1},
		{Start: noon, End: end, TenantID: "b", Signal: "metrics", Key: "k3", BilledBytes: 3, Requests: 1},
		{Start: end, End: end.Add(time.Hour), TenantID: "a", Signal: "logs", Key: "k", BilledBytes: 1, Requests: 1},
	}
	if !reflect.DeepEqual(u.Rows, want) {
		t.Errorf("rows\n%+v, want\n%+v", u.Rows, want)
	}
}

func TestWaitingReceiptsShareATransaction(t *testing.T) {
	reg := prometheus.NewRegistry()
	l := NewLedger(tempDB(t), LedgerOptions{Now: (&clock{t: noon}).now, Registry: reg})
	var wg sync.WaitGroup
	for i := range 200 {
		wg.Go(func() {
			if err := l.Record(deadline(t), logs("a", fmt.Sprint("k", i%7), 1, noon)); err != nil {
				t.Error(err)
			}
		})
	}
	until(t, "all wait", func() bool { return len(l.recorder.queue) == 200 })
	stop := run(t, l)
	wg.Wait()
	stop()
	n, err := testutil.GatherAndCount(reg, "headgate_metering_commit_duration_seconds")
	if err != nil || n != 1 {
		t.Fatal(n, err)
	}
	if got := commits(t, reg); got != 1 {
		t.Errorf("%d transactions for 200 waiting receipts, want 1", got)
	}
	if got := testutil.ToFloat64(l.m.receipts); got != 200 {
		t.Errorf("receipts counted %v, want 200", got)
	}
}

// commits returns how many transactions were timed.
func commits(t *testing.T, reg *prometheus.Registry) uint64 {
	t.Helper()
	families, err := reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		if f.GetName() == "headgate_metering_commit_duration_seconds" {
			return f.GetMetric()[0].GetHistogram().GetSampleCount()
		}
	}
	t.Fatal("no such metric")
	return 0
}

// until polls cond for a generous while.
func until(t *testing.T, what string, cond func() bool) {
	t.Helper()
	timeout := time.After(time.Minute)
	for !cond() {
		select {
		case <-timeout:
			t.Fatalf("gave up waiting: %s", what)
		case <-time.After(time.Millisecond):
		}
	}
}

func TestRequestsThatGiveUpWaitingAreNotRecorded(t *testing.T) {
	l := NewLedger(tempDB(t), LedgerOptions{Now: (&clock{t: noon}).now, Queue: 2})
	ctx, cancel := context.WithCancel(t.Context())
	errs := make(chan error, 3)
	for range 3 { // two fit the queue, one waits before it
		go func() { errs <- l.Record(ctx, logs("a", "k", 10, noon)) }()
	}
	until(t, "the queue is full", func() bool { return len(l.recorder.queue) == 2 })
	cancel()
	for range 3 {
		if err := <-errs; !errors.Is(err, context.Canceled) {
			t.Errorf("Record = %v, want canceled", err)
		}
	}
	stop := run(t, l)
	if err := l.Record(deadline(t), logs("a", "k", 1, noon)); err != nil {
		t.Fatal(err)
	}
	stop()
	if got := all(t, l, Filter{})["a/logs/k"]; got != 1 {
		t.Errorf("ledger holds %d, want 1", got)
	}
}

// The write lock is held by somebody else, so the transaction that has taken the receipt must wait. The request's end then
// does not make Record guess: it waits for the outcome.
func TestTakenReceiptIsAnsweredTruthfullyAfterItsRequestEnded(t *testing.T) {
	db := tempDB(t)
	l := startLedger(t, db, (&clock{t: noon}).now)
	until(t, "the writer waits for receipts alone", func() bool { return sealedNow(t, l).After(time.Unix(0, 0)) })
	ctx, cancel := context.WithCancel(t.Context())
	result := make(chan error, 1)
	err := db.Update(t.Context(), func(*sql.Tx) error {
		p := &pending{receipt: logs("a", "k", 10, noon), result: make(chan error, 1)}
		go func() {
			l.recorder.queue <- p
			result <- l.await(ctx, p)
		}()
		until(t, "the writer takes it", func() bool { return p.state.Load() == taken })
		cancel()
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := <-result; err != nil {
		t.Errorf("Record = %v, want nil", err)
	}
	if got := all(t, l, Filter{})["a/logs/k"]; got != 10 {
		t.Errorf("ledger holds %d, want 10", got)
	}
}

func TestClosedLedgerWritesWhatWaitsAndRefusesTheRest(t *testing.T) {
	l := NewLedger(tempDB(t), LedgerOptions{Now: (&clock{t: noon}).now})
	errs := make(chan error, 50)
	for range 50 {
		go func() { errs <- l.Record(deadline(t), logs("a", "k", 1, noon)) }()
	}
	until(t, "all wait", func() bool { return len(l.recorder.queue) == 50 })
	l.CountRefused(Refusal{Tenant: id("a"), Key: "k", Signal: Logs, At: noon, Bytes: 9})
	run(t, l)()
	recorded := int64(0)
	for range 50 {
		if err := <-errs; err == nil {
			recorded++
		} else {
			t.Errorf("Record = %v", err)
		}
	}
	if got := all(t, l, Filter{})["a/logs/k"]; got != 50 || recorded != 50 {
		t.Errorf("ledger holds %d, %d were told so, want 50", got, recorded)
	}
	if err := l.Record(deadline(t), logs("a", "k", 1, noon)); !errors.Is(err, ErrLedgerClosed) {
		t.Errorf("Record after the end = %v, want ErrLedgerClosed", err)
	}
	u, err := l.Usage(t.Context(), Filter{Tenants: ids("a")})
	if err != nil || len(u.Rows) != 1 || u.Rows[0].RefusedBytes != 9 {
		t.Errorf("the count of refusals was lost: %+v, %v", u, err)
	}
}

func TestDatabaseFailureReachesEveryWaiterAndLosesNoCount(t *testing.T) {
	db := tempDB(t)
	l := startLedger(t, db, (&clock{t: noon}).now)
	exec := func(q string) {
		t.Helper()
		err := db.Update(t.Context(), func(tx *sql.Tx) error {
			_, err := tx.Exec(q)
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	exec(`CREATE TRIGGER full BEFORE INSERT ON usage_hours BEGIN SELECT RAISE(ABORT, 'disk is full'); END`)
	l.CountRefused(Refusal{Tenant: id("a"), Key: "k", Signal: Logs, At: noon, Bytes: 9, Records: 2})
	until(t, "writing the counts fails", func() bool { return testutil.ToFloat64(l.m.commitFailures) >= 1 })
	var wg sync.WaitGroup
	for range 10 {
		wg.Go(func() {
			if err := l.Record(deadline(t), logs("a", "k", 1, noon)); err == nil {
				t.Error("recorded into a broken table")
			}
		})
	}
	wg.Wait()
	if got := testutil.ToFloat64(l.m.commitFailures); got < 2 {
		t.Errorf("commit failures %v", got)
	}
	exec(`DROP TRIGGER full`)
	if err := l.Record(deadline(t), logs("a", "k", 5, noon)); err != nil {
		t.Fatal(err)
	}
	until(t, "the counts are written", func() bool {
		u, err := l.Usage(t.Context(), Filter{Tenants: ids("a")})
		if err != nil || len(u.Rows) != 1 || u.Rows[0].BilledBytes != 5 || u.Rows[0].Requests != 1 {
			t.Fatal(u, err)
		}
		r := u.Rows[0]
		return r.RefusedRequests == 1 && r.RefusedBytes == 9 && r.RejectedRecords == 2
	})
}

func TestRefusalsAreCountedWithoutWaiting(t *testing.T) {
	l := NewLedger(tempDB(t), LedgerOptions{Now: (&clock{t: noon}).now})
	for range 1000 { // nobody writes yet
		l.CountRefused(Refusal{Tenant: id("a"), Key: "k", Signal: Metrics, At: noon, Bytes: 3})
	}
	l.CountRefused(Refusal{Key: "k", Signal: Metrics, At: noon})
	l.CountRefused(Refusal{Tenant: id("a"), Signal: "smells", At: noon})
	stop := run(t, l)
	until(t, "they are written", func() bool {
		u, err := l.Usage(t.Context(), Filter{Tenants: ids("a")})
		return err == nil && len(u.Rows) == 1 && u.Rows[0].RefusedRequests == 1000 && u.Rows[0].RefusedBytes == 3000
	})
	stop()
	if got := testutil.ToFloat64(l.m.droppedCounts); got != 2 {
		t.Errorf("dropped counts %v, want the 2 malformed", got)
	}
}

func TestWaitingCountsAreBounded(t *testing.T) {
	l := NewLedger(tempDB(t), LedgerOptions{Now: (&clock{t: noon}).now})
	for i := range maxCounts + 10 {
		l.CountRefused(Refusal{Tenant: id("a"), Key: fmt.Sprint(i), Signal: Logs, At: noon})
	}
	if got := testutil.ToFloat64(l.m.droppedCounts); len(l.counts) != maxCounts || got != 10 {
		t.Errorf("%d rows wait, %v dropped, want %d and 10", len(l.counts), got, maxCounts)
	}
}

func TestBadReceiptsDoNotFailTheirNeighbours(t *testing.T) {
	l := startLedger(t, tempDB(t), (&clock{t: noon}).now)
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
		if err := l.Record(deadline(t), bad); err == nil {
			t.Errorf("%s: recorded", name)
		}
	}
	if err := l.Record(deadline(t), good); err != nil {
		t.Error(err)
	}
}

// The whole path of racing requests: what was acknowledged is what the ledger holds is what the meter counts, and no
// limit is passed.
func TestAcknowledgedBytesEqualTheLedger(t *testing.T) {
	db := tempDB(t)
	l := startLedger(t, db, (&clock{t: noon}).now)
	addTenant(t, db, "p", "")
	addTenant(t, db, "a", "ID-p")
	addTenant(t, db, "b", "ID-p")
	m := openMeter(t, db, noon)
	parent := Limit{OwnerParent, "ID-p", 9_000, Refuse}
	charges := []Charge{
		charge("ID-a", "ka", Refuse, 3_000, 6_000, parent),
		charge("ID-b", "kb", Drop, Unlimited, Unlimited, parent),
	}
	var mu sync.Mutex
	acked := map[string]int64{}
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
				if err == nil {
					err = l.Record(deadline(t), rc)
				}
				if err != nil {
					t.Error(err)
					r.Release()
					continue
				}
				r.Commit()
				mu.Lock()
				acked[c.Tenant.String()+"/logs/"+c.Key] += rc.BilledBytes
				mu.Unlock()
			}
		})
	}
	wg.Wait()
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

func BenchmarkRecordBy64(b *testing.B) {
	db := benchDB(b)
	l := NewLedger(db, LedgerOptions{Now: func() time.Time { return noon }})
	ctx, cancel := context.WithCancel(b.Context())
	done := make(chan error, 1)
	go func() { done <- l.Run(ctx) }()
	b.SetParallelism(32)
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			if err := l.Record(ctx, logs("a", "k", 1, noon)); err != nil {
				b.Error(err)
				return
			}
		}
	})
	cancel()
	<-done
}
