package main

import (
	"context"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"go.opentelemetry.io/collector/pdata/pcommon"
	"go.opentelemetry.io/collector/pdata/plog"
	"go.opentelemetry.io/collector/pdata/plog/plogotlp"

	"github.com/headgate-io/headgate/internal/timetest"
	"github.com/headgate-io/headgate/metering"
)

// Environment variables that make the kill test long.
const (
	killsVar = "HEADGATE_TEST_KILLS" // how many kills; default 10
	seedVar  = "HEADGATE_TEST_SEED"  // of the kills' times and victims; default from the clock, printed
)

// TestKillsLoseAndDoubleNothing sends from several tenants while headgate, the engine or both are killed at random moments.
// Senders do what agents do: what is not acked is sent again, unchanged. In the end every record is in ClickHouse exactly
// once and the ledger has every tenant's bytes to the byte.
func TestKillsLoseAndDoubleNothing(t *testing.T) {
	kills := number(t, killsVar, 10)
	seed := number(t, seedVar, int(time.Now().UnixNano()&0xffffff))
	t.Logf("%d kills, seed %d (%s=%d repeats them)", kills, seed, seedVar, seed)
	random := rand.New(rand.NewPCG(uint64(seed), 1))

	d := newLoad(t, loadOptions{})
	victims := map[string]int{}
	for range kills {
		d.acks(int64(random.IntN(200)))
		switch n := random.IntN(10); {
		case n < 5:
			victims["headgate"]++
			d.restart()
		case n < 8:
			victims["engine"]++
			d.signalEngine(syscall.SIGKILL)
		default:
			victims["both"]++
			d.signalEngine(syscall.SIGKILL)
			d.restart()
		}
		d.acks(1)
	}
	t.Logf("killed %v; %d requests acked, %d sends without an ack", victims, d.acked.Load(), d.unacked.Load())
	d.finish()
}

func number(t *testing.T, name string, otherwise int) int {
	t.Helper()
	text := os.Getenv(name)
	if text == "" {
		return otherwise
	}
	n, err := strconv.Atoi(text)
	if err != nil {
		t.Fatalf("%s=%q: want a number", name, text)
	}
	return n
}

// load is a headgate under load from tenants whose every request is known.
type load struct {
	t       *testing.T
	dir     string
	pad     int
	args    []string
	p       *process
	tenants []*driven
	acked   atomic.Int64
	unacked atomic.Int64
	stop    context.CancelFunc
	sending sync.WaitGroup
}

// sendEvery keeps the requests of a long run below what one query returns.
const sendEvery = 10 * time.Millisecond

// driven is a tenant and what it was acked.
type driven struct {
	name, key string
	next      atomic.Int64 // request number
	mu        sync.Mutex   // guards the fields below
	bytes     int64
	requests  map[int64]int // records, by request
}

// loadOptions are what loads differ in.
type loadOptions struct {
	dir  string   // of headgate's data; "" is a new one
	pad  int      // random bytes in each request
	args []string // of serve
}

// newLoad starts headgate on ports that stay the same across restarts, and senders for each of three tenants.
func newLoad(t *testing.T, o loadOptions) *load {
	t.Helper()
	const tenants, senders = 3, 2
	d := &load{t: t, dir: o.dir, pad: o.pad}
	if d.dir == "" {
		d.dir = t.TempDir()
	}
	for _, flag := range []string{"--otlp-http", "--otlp-grpc", "--api", "--telemetry"} {
		d.args = append(d.args, flag, freePort(t))
	}
	d.args = append(d.args, o.args...)
	d.p = serveOn(t, d.dir, d.args...)
	ctx, cancel := context.WithTimeout(context.Background(), time.Hour)
	d.stop = cancel
	t.Cleanup(cancel)
	addr := d.p.addr.OTLPHTTP
	for i := range tenants {
		tenant := &driven{name: fmt.Sprintf("tenant%d", i), requests: map[int64]int{}}
		d.p.cli("tenant", "create", tenant.name)
		tenant.key = d.p.key(tenant.name, "ingest", "query")
		d.tenants = append(d.tenants, tenant)
	}
	for _, tenant := range d.tenants {
		for range senders {
			d.sending.Go(func() { d.send(ctx, tenant, addr) })
		}
	}
	return d
}

// freePort returns an address for processes that come back to it: one that nobody is given who asks for any.
func freePort(t *testing.T) string {
	t.Helper()
	for range 1000 {
		addr := fmt.Sprint("127.0.0.1:", 10_000+rand.IntN(22_000)) // Linux gives away those from 32768 on
		if _, taken := givenPorts.LoadOrStore(addr, true); taken {
			continue
		}
		if l, err := net.Listen("tcp", addr); err == nil {
			_ = l.Close()
			return addr
		}
	}
	t.Fatal("no port is free")
	return ""
}

// givenPorts are the addresses that freePort has returned: nobody listens there before a process starts, nor after it was killed.
var givenPorts sync.Map

// send sends one request after the other until ctx ends, each until it is acked.
func (d *load) send(ctx context.Context, tenant *driven, addr string) {
	p := &process{t: d.t, addr: addresses{OTLPHTTP: addr}}
	pace := time.NewTicker(sendEvery)
	defer pace.Stop()
	for ctx.Err() == nil {
		n := tenant.next.Add(1)
		body, records := d.numbered(tenant.name, n)
		for {
			try, cancel := context.WithTimeout(context.WithoutCancel(ctx), 10*time.Second)
			status, text, err := p.post(try, "/v1/logs", "application/x-protobuf", tenant.key, body)
			cancel()
			if err == nil && status == 200 {
				if text != "" {
					d.t.Errorf("request %d of %s was accepted in part: %q", n, tenant.name, text)
				}
				break
			}
			if err == nil && status != 429 && status != 503 {
				d.t.Errorf("request %d of %s: %d %q", n, tenant.name, status, text)
				return
			}
			d.unacked.Add(1)
			<-pace.C
		}
		tenant.mu.Lock()
		tenant.bytes += int64(len(body))
		tenant.requests[n] = records
		tenant.mu.Unlock()
		d.acked.Add(1)
		<-pace.C
	}
}

// drivenDay is the first of the three days that records lie on.
var drivenDay = time.Date(2023, 11, 14, 12, 0, 0, 0, time.UTC)

// numbered is request n: some records with the request's number as their body.
func (d *load) numbered(tenant string, n int64) ([]byte, int) {
	logs := plog.NewLogs()
	r := logs.ResourceLogs().AppendEmpty()
	r.Resource().Attributes().PutStr("service.name", tenant)
	records := 1 + int(n*7%23)
	scope := r.ScopeLogs().AppendEmpty()
	for i := range records {
		rec := scope.LogRecords().AppendEmpty()
		rec.SetTimestamp(pcommon.NewTimestampFromTime(drivenDay.AddDate(0, 0, int(n%3)).Add(time.Duration(n) * time.Microsecond)))
		rec.Body().SetStr(strconv.FormatInt(n, 10))
		rec.Attributes().PutInt("index", int64(i))
	}
	if d.pad > 0 {
		pad := scope.LogRecords().At(0).Attributes().PutEmptyBytes("pad")
		for range d.pad / 8 {
			pad.Append(binary.LittleEndian.AppendUint64(nil, rand.Uint64())...)
		}
	}
	body, err := plogotlp.NewExportRequestFromLogs(logs).MarshalProto()
	if err != nil {
		d.t.Error(err)
	}
	return body, records
}

// restart kills headgate and starts it anew.
func (d *load) restart() {
	d.t.Helper()
	d.p.end(syscall.SIGKILL)
	d.p = serveOn(d.t, d.dir, d.args...)
}

func (d *load) signalEngine(sig syscall.Signal) {
	d.t.Helper()
	for _, pid := range d.p.children() {
		_ = syscall.Kill(pid, sig)
	}
}

// acks waits until n more requests were acked.
func (d *load) acks(n int64) {
	d.t.Helper()
	from := d.acked.Load()
	timetest.Eventually(d.t, fmt.Sprintf("%d acks", n), func() bool { return d.acked.Load() >= from+n })
}

// finish stops the senders, waits until everything is settled, and compares.
func (d *load) finish() {
	d.t.Helper()
	d.stop()
	d.sending.Wait()
	d.p.flushed()
	usage := unmarshal[metering.Usage](d.t, d.p.cli("usage", "--json", "--by", "month", "--from", "2020-01-01"))
	for _, tenant := range d.tenants {
		d.compare(tenant, usage)
	}
	if list, _ := filepath.Glob(filepath.Join(d.dir, "wal", "rejected", "*.entry")); len(list) > 0 {
		d.t.Errorf("requests were set aside: %v", list)
	}
}

func (d *load) compare(tenant *driven, usage metering.Usage) {
	d.t.Helper()
	out := d.p.cli("query", "--key", tenant.key, "--format", "ndjson", "--start", "2023-11-01T00:00:00Z", "--end", "2023-12-01T00:00:00Z",
		"logs | summarize n = count() by body | limit 100000")
	got := map[int64]int{}
	for line := range strings.Lines(out) {
		row := unmarshal[struct {
			Body string
			N    int
		}](d.t, line)
		n, _ := strconv.ParseInt(row.Body, 10, 64)
		got[n] = row.N
	}
	var records int64
	for n, want := range tenant.requests {
		if got[n] != want {
			d.t.Errorf("%s: request %d has %d of its %d records", tenant.name, n, got[n], want)
		}
		delete(got, n)
		records += int64(want)
	}
	for n, rows := range got {
		d.t.Errorf("%s: request %d was never acked and has %d records", tenant.name, n, rows)
	}
	for _, row := range usage.Rows {
		if row.Tenant == tenant.name {
			if row.BilledBytes != tenant.bytes || row.Records != records || row.Requests != int64(len(tenant.requests)) {
				d.t.Errorf("%s: the ledger has %d bytes, %d records, %d requests; acked were %d, %d, %d", tenant.name,
					row.BilledBytes, row.Records, row.Requests, tenant.bytes, records, len(tenant.requests))
			}
			return
		}
	}
	d.t.Errorf("%s has no usage", tenant.name)
}
