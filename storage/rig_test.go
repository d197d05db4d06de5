package storage

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/ClickHouse/clickhouse-go/v2/lib/driver"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/headgate-io/headgate/internal/chtest"
	"github.com/headgate-io/headgate/internal/timetest"
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
	timetest.Eventually(r.t, "everything to be settled", func() bool {
		r.log.mu.Lock()
		defer r.log.mu.Unlock()
		return r.log.entries == 0
	})
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
