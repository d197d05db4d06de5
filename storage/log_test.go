package storage

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/ClickHouse/clickhouse-go/v2/lib/driver"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/headgate-io/headgate/internal/chtest"
	"github.com/headgate-io/headgate/internal/faultfs"
	"github.com/headgate-io/headgate/storage/schema"
)

// ledger is what the log knows of billing: runs, and the receipts that came with them. It outlives the log's restarts.
type ledger struct {
	mu        sync.Mutex
	runs      map[uint64]bool
	receipts  map[string]int
	forgotten uint64
	fail      atomic.Bool
}

func newLedger() *ledger { return &ledger{runs: map[uint64]bool{}, receipts: map[string]int{}} }

func (l *ledger) Apply(_ context.Context, run uint64, receipts [][]byte) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.fail.Load() {
		return errors.New("database is locked")
	}
	if l.runs[run] || run < l.forgotten {
		return nil
	}
	l.runs[run] = true
	for _, r := range receipts {
		l.receipts[string(r)]++
	}
	return nil
}

func (l *ledger) Applied(_ context.Context, runs []uint64) (map[uint64]bool, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	out := map[uint64]bool{}
	for _, r := range runs {
		out[r] = l.runs[r] || r < l.forgotten
	}
	return out, nil
}

func (l *ledger) NewestRun(context.Context) (uint64, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	newest := l.forgotten
	for run := range l.runs {
		newest = max(newest, run)
	}
	return newest, nil
}

func (l *ledger) Forget(_ context.Context, before uint64) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.forgotten = max(l.forgotten, before)
	return nil
}

// rig is a log on a real engine behind a proxy.
type rig struct {
	t      *testing.T
	engine *chtest.Engine
	dir    string
	ledger *ledger
	proxy  *chtest.Proxy
	conn   driver.Conn // past the proxy
	opt    LogOptions

	log     *Log
	reg     *prometheus.Registry
	stop    func()
	sent    int
	restore [][]byte
}

func newRig(t *testing.T, opt LogOptions) *rig {
	t.Helper()
	return newRigOn(t, chtest.Start(t), opt)
}

func newRigOn(t *testing.T, e *chtest.Engine, opt LogOptions) *rig {
	t.Helper()
	r := &rig{t: t, engine: e, dir: filepath.Join(t.TempDir(), "wal"), ledger: newLedger(), opt: opt}
	r.conn = migrated(t, e)
	r.proxy = chtest.StartProxy(t, e.Addr())
	return r
}

// open starts the log without its flusher.
func (r *rig) open() {
	r.t.Helper()
	opt := r.opt
	r.reg = prometheus.NewRegistry()
	opt.Dir, opt.Ledger, opt.Now, opt.Registry, opt.Logger = r.dir, r.ledger, time.Now, r.reg, quiet
	opt.Restore = func(receipt []byte) error { r.restore = append(r.restore, receipt); return nil }
	if opt.SegmentBytes == 0 {
		opt.SegmentBytes = 1 << 20
	}
	opt.ReserveBytes = -1
	if opt.Backoff == 0 {
		opt.Backoff = 10 * time.Millisecond
	}
	if opt.Timeout == 0 {
		opt.Timeout = 10 * time.Second
	}
	if opt.MaxDelay == 0 {
		opt.MaxDelay = 10 * time.Millisecond
	}
	r.restore = nil
	log, err := OpenLog(r.t.Context(), opt)
	if err != nil {
		r.t.Fatal(err)
	}
	r.log = log
	r.stop = func() {}
	r.t.Cleanup(func() { r.close() })
}

// run starts the flusher.
func (r *rig) run() {
	r.t.Helper()
	var database string
	if err := r.conn.QueryRow(r.t.Context(), "SELECT currentDatabase()").Scan(&database); err != nil {
		r.t.Fatal(err)
	}
	conn := r.engine.OpenAt(r.t, r.proxy.Addr(), database)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() { defer close(done); _ = r.log.Run(ctx, conn, 0) }()
	r.stop = sync.OnceFunc(func() { cancel(); <-done })
}

// close ends the log as a killed process would, as far as the log can tell: nothing more is flushed.
func (r *rig) close() {
	if r.log != nil {
		r.stop()
		_ = r.log.Close()
		r.log = nil
	}
}

func (r *rig) restart() {
	r.t.Helper()
	r.close()
	r.open()
	r.run()
}

// appendBulk acks a request of n rows that do not compress.
func (r *rig) appendBulk(tenant string, n int) error {
	r.t.Helper()
	rows := logRowsOf(tenant, "shared-00", n, func() []byte {
		text := make([]byte, 200)
		for i := range text {
			text[i] = byte(rand.Uint32())
		}
		return text
	})
	return r.appendRows(tenant, rows)
}

// append acks one request of n rows, whose receipt is its number.
func (r *rig) append(tenant string, n int, days ...uint16) error {
	r.t.Helper()
	return r.appendRows(tenant, logRows(tenant, "shared-00", n, days...))
}

func (r *rig) appendRows(tenant string, rows Rows) error {
	r.t.Helper()
	r.sent++
	err := r.log.Append(Request{Tenant: id(r.t, tenant), Signal: "logs", Received: time.Now(),
		Receipt: fmt.Append(nil, tenant, "-", r.sent), Rows: []Rows{rows}})
	if err != nil {
		r.sent--
	}
	return err
}

func (r *rig) mustAppend(tenant string, n int, days ...uint16) {
	r.t.Helper()
	if err := r.append(tenant, n, days...); err != nil {
		r.t.Fatalf("append: %v", err)
	}
}

// settled waits until nothing is unfinished.
func (r *rig) settled() {
	r.t.Helper()
	eventually(r.t, "everything to be settled", func() bool {
		r.log.mu.Lock()
		defer r.log.mu.Unlock()
		return r.log.entries == 0
	})
}

func eventually(t *testing.T, what string, f func() bool) {
	t.Helper()
	for deadline := time.Now().Add(60 * time.Second); !f(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("waited in vain for %s", what)
		}
	}
}

// wantRows checks that each tenant has as many rows as it was acked, and the ledger each receipt once.
func (r *rig) wantRows(tenant string, want int) {
	r.t.Helper()
	if got := scan[uint64](r.t, r.conn, "SELECT count() FROM otel_logs WHERE TenantId = '"+tenant+"'"); got != uint64(want) {
		r.t.Errorf("tenant %s has %d rows, want %d", tenant, got, want)
	}
}

func (r *rig) wantReceipts(want int) {
	r.t.Helper()
	r.ledger.mu.Lock()
	defer r.ledger.mu.Unlock()
	for receipt, n := range r.ledger.receipts {
		if n != 1 {
			r.t.Errorf("receipt %s was applied %d times", receipt, n)
		}
	}
	if len(r.ledger.receipts) != want {
		r.t.Errorf("%d receipts in the ledger, want %d", len(r.ledger.receipts), want)
	}
}

func TestAckedRequestsReachClickHouseAndLedgerOnce(t *testing.T) {
	r := newRig(t, LogOptions{})
	r.open()
	r.run()
	var wg sync.WaitGroup
	var mu sync.Mutex
	for _, tenant := range []string{"a", "b"} {
		for range 20 {
			wg.Go(func() {
				mu.Lock()
				defer mu.Unlock()
				r.mustAppend(tenant, 10)
			})
		}
	}
	wg.Wait()
	r.settled()
	r.wantRows("a", 200)
	r.wantRows("b", 200)
	r.wantReceipts(40)
	if n := scan[uint64](t, r.conn, "SELECT count() FROM (SELECT RunId, _partition_id FROM otel_logs GROUP BY 1, 2 HAVING uniqExact(_part) > 1)"); n != 0 {
		t.Errorf("%d times a run made more than one part in a partition", n)
	}
}

func TestRestartBeforeTheFlushLosesNothing(t *testing.T) {
	r := newRig(t, LogOptions{})
	r.open()
	for range 5 {
		r.mustAppend("a", 3)
	}
	r.close()
	r.open()
	if len(r.restore) != 5 {
		t.Errorf("%d receipts were restored, want those of all 5 unfinished requests", len(r.restore))
	}
	r.run()
	r.settled()
	r.restart()
	if len(r.restore) != 0 {
		t.Errorf("%d receipts of finished requests were restored", len(r.restore))
	}
	r.settled()
	r.wantRows("a", 15)
	r.wantReceipts(5)
}

// Whatever the network and the server do to an INSERT: every row once, every receipt once.
func TestUncertainInsertsAreSettledExactly(t *testing.T) {
	faults := map[string]chtest.Fault{"refused": chtest.Refuse, "body cut": chtest.CutBody, "answer lost": chtest.LoseAnswer,
		"carried out late": chtest.Late, "overloaded": chtest.Overloaded, "no server": chtest.Broken}
	for name, fault := range faults {
		for _, restart := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s/restart=%v", name, restart), func(t *testing.T) {
				r := newRig(t, LogOptions{Timeout: 5 * time.Second})
				var inserts atomic.Int64
				failing := int64(2)
				if restart {
					failing = 1 << 40
				}
				r.proxy.Choose(func(q *http.Request) chtest.Fault {
					if chtest.IsInsert(q) && inserts.Add(1) <= failing {
						return fault
					}
					return chtest.Pass
				})
				r.open()
				r.mustAppend("a", 30, day, day+1, day+2)
				r.mustAppend("b", 7)
				r.run()
				if restart {
					eventually(t, "a failed insert", func() bool { return inserts.Load() > 0 })
					r.close()
					r.proxy.Choose(func(*http.Request) chtest.Fault { return chtest.Pass })
					r.open()
					r.run()
				}
				r.settled()
				r.wantRows("a", 30)
				r.wantRows("b", 7)
				r.wantReceipts(2)
				if fault == chtest.Late {
					r.proxy.WaitLate()
					r.wantRows("a", 30)
					r.wantRows("b", 7)
				}
			})
		}
	}
}

func TestHangingServerIsLeftAndAskedAgain(t *testing.T) {
	r := newRig(t, LogOptions{Timeout: 500 * time.Millisecond})
	var hung atomic.Int64
	r.proxy.Choose(func(q *http.Request) chtest.Fault {
		if chtest.IsInsert(q) && hung.Add(1) <= 2 {
			return chtest.Hang
		}
		return chtest.Pass
	})
	r.open()
	r.run()
	r.mustAppend("a", 10)
	r.settled()
	r.wantRows("a", 10)
	r.wantReceipts(1)
}

// A kill of ClickHouse between a partition's deduplication record and its commit makes it take the repetition for a
// duplicate of rows that it does not have. Here the rows of one partition are deleted behind its back, which is the same to
// the one who sends.
func TestPartitionLostBehindItsTokenIsSentAgain(t *testing.T) {
	r := newRig(t, LogOptions{})
	var inserts atomic.Int64
	r.proxy.Choose(func(q *http.Request) chtest.Fault {
		if chtest.IsInsert(q) && inserts.Add(1) == 1 {
			return chtest.LoseAnswer
		}
		if inserts.Load() == 1 && strings.Contains(chtest.Statement(q), "system.processes") {
			return chtest.Refuse
		}
		return chtest.Pass
	})
	r.open()
	r.run()
	r.mustAppend("a", 30, day, day+1, day+2)
	eventually(t, "the insert", func() bool {
		return scan[uint64](t, r.conn, "SELECT count() FROM otel_logs") == 30
	})
	if err := r.conn.Exec(t.Context(), "ALTER TABLE otel_logs DROP PARTITION ('shared-00', '2024-10-05')"); err != nil {
		t.Fatal(err)
	}
	r.proxy.Choose(func(*http.Request) chtest.Fault { return chtest.Pass })
	r.settled()
	r.wantRows("a", 30)
	r.wantReceipts(1)
	if n := scan[uint64](t, r.conn, "SELECT count() FROM system.tables WHERE database = currentDatabase() AND startsWith(name, 'headgate_missing_')"); n != 0 {
		t.Errorf("%d stages were left behind", n)
	}
}

// A kill of ClickHouse between a part's deduplication record and its commit leaves the record alone; here parts are taken
// away while ClickHouse is dead. The same INSERT again, under its token, brings nothing back: the question does.
func TestTokenAloneLosesRows(t *testing.T) {
	for lost, left := range map[string]int{"2024-10-05": 20, "2024-10": 0} {
		e := chtest.StartOwn(t, chtest.Options(t.TempDir()))
		r := newRigOn(t, e, LogOptions{})
		r.open()
		r.mustAppend("a", 30, day, day+1, day+2)
		d := &delivery{lane: r.log.lanes["logs"], conn: r.conn, ctx: t.Context(), patient: t.Context(), timeout: time.Minute}
		run, err := d.lane.form()
		if err != nil {
			t.Fatal(err)
		}
		p, err := d.plan(run)
		if err != nil {
			t.Fatal(err)
		}
		if err := d.insertAll(run, p.tables[0]); err != nil {
			t.Fatal(err)
		}
		parts := scan[[]string](t, r.conn, "SELECT groupArray(path) FROM system.parts WHERE database = currentDatabase() AND table = 'otel_logs' AND active AND partition LIKE '%"+lost+"%'")
		if err := syscall.Kill(e.PID(), syscall.SIGKILL); err != nil {
			t.Fatal(err)
		}
		for _, part := range parts {
			if err := os.RemoveAll(part); err != nil {
				t.Fatal(err)
			}
		}
		eventually(t, "the engine's next life", func() bool { return r.conn.Exec(t.Context(), "SELECT 1") == nil })
		if err := d.insertAll(run, p.tables[0]); err != nil {
			t.Fatal(err)
		}
		r.wantRows("a", left) // what would be lost, were it not for the question
		run.sent = true
		if err := d.insert(run, p.tables[0]); err != nil {
			t.Fatal(err)
		}
		r.wantRows("a", 30)
		r.close()
		e.Stop()
	}
}

// The second guard is enough alone: without any deduplication in ClickHouse, what it has, or is about to have, is not sent
// again.
func TestQuestionAloneDoublesNothing(t *testing.T) {
	for _, fault := range []chtest.Fault{chtest.LoseAnswer, chtest.Abandon} {
		for _, restart := range []bool{false, true} {
			r := newRig(t, LogOptions{})
			for _, change := range []string{"MODIFY SETTING non_replicated_deduplication_window = 0",
				"ADD COLUMN slow UInt8 MATERIALIZED sleepEachRow(0.02)"} {
				if err := r.conn.Exec(t.Context(), "ALTER TABLE otel_logs "+change); err != nil {
					t.Fatal(err)
				}
			}
			var inserts atomic.Int64
			r.proxy.Choose(func(q *http.Request) chtest.Fault {
				if chtest.IsInsert(q) && inserts.Add(1) == 1 {
					return fault
				}
				return chtest.Pass
			})
			r.open()
			r.run()
			r.mustAppend("a", 30, day, day+1, day+2)
			if restart {
				eventually(t, "the insert", func() bool { return inserts.Load() > 0 })
				r.restart()
			}
			r.settled()
			r.proxy.WaitLate()
			r.wantRows("a", 30)
			r.wantReceipts(1)
			r.close()
		}
	}
}

// The first guard is there: ClickHouse takes nothing for a run's token twice, whatever the rows are.
func TestRunsCarryTheirToken(t *testing.T) {
	r := newRig(t, LogOptions{})
	r.open()
	d := &delivery{lane: r.log.lanes["logs"], conn: r.conn, ctx: t.Context(), patient: t.Context(), timeout: time.Minute}
	var id uint64
	for i := range 2 {
		r.mustAppend("a", 10+i)
		run, err := d.lane.form()
		if err != nil {
			t.Fatal(err)
		}
		if i == 0 {
			id = run.id
		}
		run.id = id
		p, err := d.plan(run)
		if err != nil {
			t.Fatal(err)
		}
		if err := d.insertAll(run, p.tables[0]); err != nil {
			t.Fatal(err)
		}
	}
	r.wantRows("a", 10)
}

func TestAllPartitionsLostBehindTheTokenAreSentAgain(t *testing.T) {
	r := newRig(t, LogOptions{})
	r.proxy.Choose(func(q *http.Request) chtest.Fault {
		switch {
		case chtest.IsInsert(q):
			return chtest.LoseAnswer
		case strings.Contains(chtest.Statement(q), "system.processes"):
			return chtest.Refuse
		}
		return chtest.Pass
	})
	r.open()
	r.run()
	r.mustAppend("a", 30, day, day+1, day+2)
	eventually(t, "the insert", func() bool { return scan[uint64](t, r.conn, "SELECT count() FROM otel_logs") == 30 })
	for _, d := range []string{"2024-10-04", "2024-10-05", "2024-10-06"} {
		if err := r.conn.Exec(t.Context(), "ALTER TABLE otel_logs DROP PARTITION ('shared-00', '"+d+"')"); err != nil {
			t.Fatal(err)
		}
	}
	r.proxy.Choose(func(*http.Request) chtest.Fault { return chtest.Pass })
	r.settled()
	r.wantRows("a", 30)
	r.wantReceipts(1)
}

func TestFailingLedgerBillsOnceInTheEnd(t *testing.T) {
	r := newRig(t, LogOptions{})
	r.ledger.fail.Store(true)
	r.open()
	r.run()
	r.mustAppend("a", 5)
	eventually(t, "the insert", func() bool { return scan[uint64](t, r.conn, "SELECT count() FROM otel_logs") == 5 })
	r.restart() // between the insert and the ledger
	r.ledger.fail.Store(false)
	r.settled()
	r.wantRows("a", 5)
	r.wantReceipts(1)
}

func TestInsertTouchesAtMostMaxPartitions(t *testing.T) {
	r := newRig(t, LogOptions{})
	r.open()
	for i := range 10 {
		var days []uint16
		for d := range 20 {
			days = append(days, uint16(day+20*i+d))
		}
		r.mustAppend("a", 40, days...)
	}
	r.run()
	r.settled()
	if n := scan[uint64](t, r.conn, "SELECT max(n) FROM (SELECT uniqExact(Partition, toDate(Timestamp)) AS n FROM otel_logs GROUP BY RunId)"); n > MaxPartitions {
		t.Errorf("one insert touched %d partitions, want at most %d", n, MaxPartitions)
	}
	r.wantRows("a", 400)
	r.wantReceipts(10)
}

func TestRequestsShareAnInsert(t *testing.T) {
	r := newRig(t, LogOptions{})
	r.open()
	for range 50 {
		r.mustAppend("a", 10)
	}
	r.run()
	r.settled()
	if n := scan[uint64](t, r.conn, "SELECT uniqExact(RunId) FROM otel_logs"); n != 1 {
		t.Errorf("50 waiting requests made %d inserts, want 1", n)
	}
	r.wantRows("a", 500)
}

func TestEqualRequestsAreNotTakenForDuplicates(t *testing.T) {
	r := newRig(t, LogOptions{})
	r.open()
	r.run()
	for range 3 {
		r.mustAppend("a", 2)
		r.settled()
	}
	r.wantRows("a", 6)
}

// A request that ClickHouse never takes goes aside with its reason; the others of its run are stored, and it can be replayed.
func TestRefusedRequestIsFoundAndSetAside(t *testing.T) {
	r := newRig(t, LogOptions{})
	r.open()
	for i := range 9 {
		r.mustAppend("a", 2)
		if i == 4 {
			bad := logRowsIn("Bodi", "bad", "shared-00", 3)
			r.sent++
			if err := r.log.Append(Request{Tenant: id(t, "bad"), Signal: "logs", Received: time.Now(), Receipt: []byte("bad-1"), Rows: []Rows{bad}}); err != nil {
				t.Fatal(err)
			}
		}
	}
	r.run()
	r.settled()
	r.wantRows("a", 18)
	r.wantRows("bad", 0)
	r.wantReceipts(10) // it was acked: it is billed
	list, err := ListRejected(r.dir)
	if err != nil || len(list) != 1 {
		t.Fatalf("rejected: %v, %v, want one request", list, err)
	}
	got := list[0]
	if got.Tenant != "bad" || got.Rows != 3 || !strings.Contains(got.Reason, "Bodi") || got.Tables[0] != schema.Logs {
		t.Errorf("rejected %+v does not say what and why", got)
	}

	// The operator mends the table and has it tried again.
	if err := r.conn.Exec(t.Context(), "ALTER TABLE otel_logs ADD COLUMN Bodi String"); err != nil {
		t.Fatal(err)
	}
	if err := Replay(r.dir, got.Name); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the replay", func() bool {
		return scan[uint64](t, r.conn, "SELECT count() FROM otel_logs WHERE TenantId = 'bad'") == 3
	})
	r.settled()
	r.restart()
	r.settled()
	r.wantRows("bad", 3)
	r.wantReceipts(10)
	if list, _ := ListRejected(r.dir); len(list) != 0 {
		t.Errorf("%v is still listed after its replay", list)
	}
}

// A run of metrics goes into several tables. Those that have it when another one refuses it do not get it again.
func TestHalvesOfARefusedRunLeaveDoneTablesAlone(t *testing.T) {
	for _, restart := range []bool{false, true} {
		r := newRig(t, LogOptions{})
		send := func(column string) {
			r.sent++
			if err := r.log.Append(Request{Tenant: id(t, "a"), Signal: "metrics", Received: time.Now(), Receipt: fmt.Append(nil, r.sent),
				Rows: []Rows{metricRows(schema.MetricsGauge, "MetricUnit", 3), metricRows(schema.MetricsSum, column, 2)}}); err != nil {
				t.Fatal(err)
			}
		}
		r.open()
		for _, column := range []string{"MetricUnit", "MetricBogus", "MetricUnit", "MetricUnit"} {
			send(column)
		}
		if restart { // in the middle of the halving
			var inserts atomic.Int64
			r.proxy.Choose(func(q *http.Request) chtest.Fault {
				if chtest.IsInsert(q) && inserts.Add(1) > 3 {
					return chtest.Refuse
				}
				return chtest.Pass
			})
			r.run()
			eventually(t, "the halving", func() bool { return inserts.Load() > 4 })
			r.close()
			r.proxy.Choose(func(*http.Request) chtest.Fault { return chtest.Pass })
			r.open()
		}
		send("MetricUnit") // shows that the table is well, if the others did so before the restart
		r.run()
		r.settled()
		for table, want := range map[string]uint64{schema.MetricsGauge: 15, schema.MetricsSum: 8} {
			if n := scan[uint64](t, r.conn, "SELECT count() FROM "+table); n != want {
				t.Errorf("restart %v: %s has %d rows, want %d", restart, table, n, want)
			}
		}
		r.wantReceipts(5)
		r.close()
	}
}

// When every request is refused it is the table that is wrong: nothing goes aside, and all is stored once it is mended.
func TestWrongTableSetsNothingAside(t *testing.T) {
	r := newRig(t, LogOptions{})
	if err := r.conn.Exec(t.Context(), "ALTER TABLE otel_logs RENAME COLUMN Body TO Text"); err != nil {
		t.Fatal(err)
	}
	r.open()
	r.run()
	for range 4 {
		r.mustAppend("a", 2)
	}
	eventually(t, "suspects", func() bool { return r.count("headgate_storage_split_runs_total") > 0 })
	if err := r.conn.Exec(t.Context(), "ALTER TABLE otel_logs RENAME COLUMN Text TO Body"); err != nil {
		t.Fatal(err)
	}
	r.settled()
	r.wantRows("a", 8)
	r.wantReceipts(4)
	if list, _ := ListRejected(r.dir); len(list) != 0 {
		t.Errorf("rejected %v, want none", list)
	}
}

func (r *rig) count(name string) float64 {
	families, err := r.reg.Gather()
	if err != nil {
		r.t.Fatal(err)
	}
	for _, f := range families {
		if f.GetName() == name {
			return f.GetMetric()[0].GetCounter().GetValue() + f.GetMetric()[0].GetGauge().GetValue()
		}
	}
	return 0
}

// What is being appended may become durable in any segment from the newest on: none of them goes before it is known of.
func TestSegmentsStayForAppendsUnderWay(t *testing.T) {
	r := newRig(t, LogOptions{})
	r.open()
	from, err := r.log.beginAppend("a", time.Now().UnixNano())
	if err != nil {
		t.Fatal(err)
	}
	r.log.mu.Lock()
	defer r.log.mu.Unlock()
	r.log.tail = from + 5
	if got := r.log.oldestLocked(); got != from {
		t.Errorf("segments below %d may go, while an append began in %d", got, from)
	}
	r.log.segments[from].appending--
	if got := r.log.oldestLocked(); got != from+5 {
		t.Errorf("segments below %d may go, want all below the newest, %d", got, from+5)
	}
}

// A request that could not be made durable is answered so, and does not turn up.
func TestFailedAppendLeavesNothing(t *testing.T) {
	var failing atomic.Bool
	r := newRig(t, LogOptions{FS: faultfs.Hooked{FS: faultfs.OS{}, BeforeSync: func() error {
		if failing.Load() {
			return syscall.EIO
		}
		return nil
	}}})
	r.open()
	r.run()
	r.mustAppend("a", 1)
	failing.Store(true)
	for range 3 {
		if err := r.append("bad", 5); !errors.Is(err, ErrUnavailable) {
			t.Errorf("append on a failing disk = %v, want ErrUnavailable", err)
		}
	}
	failing.Store(false)
	eventually(t, "the disk to be used again", func() bool { return r.append("a", 1) == nil })
	r.settled()
	r.restart()
	r.settled()
	r.wantRows("a", 2)
	r.wantRows("bad", 0)
	r.wantReceipts(2)
}

func TestOutageFillsTheLogThenRefuses(t *testing.T) {
	r := newRig(t, LogOptions{MaxBytes: 4 << 20, SegmentBytes: 1 << 20})
	r.proxy.Choose(func(*http.Request) chtest.Fault { return chtest.Refuse })
	r.open()
	r.run()
	rows := map[string]int{}
	var err error
	for i := 0; err == nil; i++ {
		tenant := []string{"a", "b", "c"}[i%3]
		if err = r.appendBulk(tenant, 500); err == nil {
			rows[tenant] += 500
		}
	}
	if !errors.Is(err, ErrUnavailable) {
		t.Errorf("append to a full log = %v, want ErrUnavailable", err)
	}
	r.proxy.Choose(func(*http.Request) chtest.Fault { return chtest.Pass })
	r.settled()
	eventually(t, "room", func() bool { return r.append("a", 1) == nil })
	r.settled()
	rows["a"]++
	for tenant, n := range rows {
		r.wantRows(tenant, n)
	}
	r.wantReceipts(r.sent)
	if n := r.log.wal.Stats().Segments; n > 2 {
		t.Errorf("%d segments are left of a settled log", n)
	}
}

// One tenant's flood during an outage leaves the others room, and their turn when it is over.
func TestFloodLeavesOthersRoom(t *testing.T) {
	r := newRig(t, LogOptions{MaxBytes: 16 << 20, SegmentBytes: 1 << 20, MaxRows: 4000})
	r.proxy.Choose(func(*http.Request) chtest.Fault { return chtest.Refuse })
	r.open()
	r.run()
	for r.appendBulk("flood", 500) == nil {
	}
	r.mustAppend("small", 10)
	var order []string
	var mu sync.Mutex
	r.proxy.Choose(func(q *http.Request) chtest.Fault {
		if chtest.IsInsert(q) {
			mu.Lock()
			defer mu.Unlock()
			order = append(order, fmt.Sprint(scan[uint64](t, r.conn, "SELECT count() FROM otel_logs WHERE TenantId = 'small'")))
		}
		return chtest.Pass
	})
	r.settled()
	r.wantRows("small", 10)
	mu.Lock()
	defer mu.Unlock()
	if i := indexOf(order, "10"); len(order) > 6 && (i < 0 || i > 4) {
		t.Errorf("rows of the small tenant were there after insert %d of %d, want among the first", i, len(order))
	}
}

func indexOf(s []string, v string) int {
	for i, x := range s {
		if x == v {
			return i
		}
	}
	return -1
}
