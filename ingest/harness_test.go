package ingest

import (
	"bytes"
	"cmp"
	"compress/gzip"
	"context"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/ClickHouse/clickhouse-go/v2/lib/driver"
	"github.com/prometheus/client_golang/prometheus"
	"go.opentelemetry.io/collector/pdata/plog"
	"go.opentelemetry.io/collector/pdata/plog/plogotlp"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/metadata"

	"github.com/headgate-io/headgate/auth"
	"github.com/headgate-io/headgate/internal/chtest"
	"github.com/headgate-io/headgate/internal/store"
	"github.com/headgate-io/headgate/internal/timetest"
	"github.com/headgate-io/headgate/metering"
	"github.com/headgate-io/headgate/storage"
	"github.com/headgate-io/headgate/storage/schema"
)

func TestMain(m *testing.M) { chtest.Main(m) }

var quiet = slog.New(slog.DiscardHandler)

// gateway is a whole receiving side on free ports: engine, state, writer, server.
type gateway struct {
	t          *testing.T
	grpc, http string
	conn       driver.Conn
	directory  *auth.Directory
	operator   auth.Principal
	ledger     *metering.Ledger
	registry   *prometheus.Registry
	server     *Server
	stop       func() // ends the server as serve does, waits for it
	restart    func() *gateway
}

func start(t *testing.T, opt Options) *gateway {
	t.Helper()
	return startOn(t, chtest.Start(t).Open(t, chtest.Database(t)), opt, 10*time.Millisecond)
}

// startOn starts a gateway on conn whose rows wait for delay before they are inserted.
func startOn(t *testing.T, conn driver.Conn, opt Options, delay time.Duration) *gateway {
	t.Helper()
	return startWith(t, conn, opt, storage.LogOptions{MaxDelay: delay})
}

// startWith starts a gateway whose log is as walOpt has it.
func startWith(t *testing.T, conn driver.Conn, opt Options, walOpt storage.LogOptions) *gateway {
	t.Helper()
	return startIn(t, t.TempDir(), conn, opt, walOpt)
}

// startIn starts a gateway on what an earlier one has left in dir.
func startIn(t *testing.T, dir string, conn driver.Conn, opt Options, walOpt storage.LogOptions) *gateway {
	t.Helper()
	check := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	check(storage.Migrate(t.Context(), conn, schema.Migrations, quiet))
	if walOpt.Now == nil { // after a restart it is the clock from before
		walOpt.Now = timetest.NewRunning().Now
	}
	reg := prometheus.NewRegistry()
	db, err := store.Open(filepath.Join(dir, "headgate.db"))
	check(err)
	t.Cleanup(func() { _ = db.Close() })
	directory, err := auth.Open(t.Context(), db, auth.Options{Now: walOpt.Now, Dir: dir, Logger: quiet, Registry: reg})
	check(err)
	token, err := os.ReadFile(filepath.Join(dir, "admin.token"))
	check(err)
	operator, err := directory.Operator(strings.TrimSpace(string(token)))
	check(err)
	meter, err := metering.OpenMeter(t.Context(), db, walOpt.Now(), reg)
	check(err)
	ledger := metering.NewLedger(db, metering.LedgerOptions{Now: walOpt.Now, Registry: reg})
	walOpt.Dir, walOpt.Ledger, walOpt.Registry = filepath.Join(dir, "wal"), ledger.ForLog("wal"), reg
	walOpt.Restore = func(b []byte) error {
		r, _, err := metering.ReadReceipt(b)
		if err != nil {
			return err
		}
		return meter.Restore(r)
	}
	walOpt.Backoff, walOpt.SegmentBytes, walOpt.ReserveBytes = 10*time.Millisecond, cmp.Or(walOpt.SegmentBytes, 80<<20), -1
	wal, err := storage.OpenLog(t.Context(), walOpt)
	check(err)

	if opt.Now == nil {
		opt.Now = walOpt.Now
	}
	srv, err := New(opt, Backend{Keys: directory, Meter: meter, Ledger: ledger, Log: wal}, quiet, reg)
	check(err)
	listen := func() net.Listener {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		check(err)
		return l
	}
	lg, lh := listen(), listen()
	ctx, cancel := context.WithCancel(context.Background())
	back, stopBack := context.WithCancel(context.Background())
	served, backend := make(chan error, 1), make(chan error, 3)
	go func() { served <- srv.Run(ctx, lg, lh) }()
	flush := func(ctx context.Context) error { return wal.Run(ctx, conn, 10*time.Second) }
	for _, run := range []func(context.Context) error{directory.Run, ledger.Run, flush} {
		go func() { backend <- run(back) }()
	}
	g := &gateway{t: t, grpc: lg.Addr().String(), http: "http://" + lh.Addr().String(), conn: conn,
		directory: directory, operator: operator, ledger: ledger, registry: reg, server: srv}
	g.stop = sync.OnceFunc(func() {
		cancel()
		if err := <-served; err != nil {
			t.Errorf("Run: %v", err)
		}
		stopBack()
		for range 3 {
			<-backend
		}
		check(wal.Close())
	})
	g.restart = func() *gateway {
		t.Helper()
		g.stop()
		return startIn(t, dir, conn, opt, walOpt)
	}
	t.Cleanup(g.stop)
	return g
}

// flushed waits until ClickHouse and the ledger have what was acked.
func (g *gateway) flushed() {
	g.t.Helper()
	timetest.Eventually(g.t, "the log is flushed", func() bool { return g.metric("headgate_storage_log_requests") == 0 })
}

// tenant makes a tenant and a key for it.
func (g *gateway) tenant(name string, n auth.NewTenant, scopes ...auth.KeyScope) (id, key string) {
	g.t.Helper()
	n.Name = name
	t, err := g.directory.Tenants().Create(g.t.Context(), g.operator, n)
	if err != nil {
		g.t.Fatalf("create tenant %s: %v", name, err)
	}
	if len(scopes) == 0 {
		scopes = []auth.KeyScope{auth.ScopeIngest}
	}
	_, key, err = g.directory.Keys().Create(g.t.Context(), g.operator, auth.NewKey{Tenant: name, Scopes: scopes})
	if err != nil {
		g.t.Fatalf("create key of %s: %v", name, err)
	}
	return t.ID.String(), key
}

// billed returns what the ledger has of a tenant.
func (g *gateway) billed(id string) metering.Row {
	g.t.Helper()
	g.flushed()
	u, err := g.ledger.UnsafeUsageOfAll(g.t.Context(), metering.Filter{By: metering.ByMonth})
	if err != nil {
		g.t.Fatalf("usage: %v", err)
	}
	for _, r := range u.Rows {
		if r.TenantID == id {
			return r
		}
	}
	return metering.Row{}
}

// metric returns the value of a metric without labels.
func (g *gateway) metric(name string) float64 {
	g.t.Helper()
	return g.metricOf(name, nil)
}

// metricOf returns the sum of a metric's values that have these labels among theirs.
func (g *gateway) metricOf(name string, labels map[string]string) (sum float64) {
	g.t.Helper()
	families, err := g.registry.Gather()
	if err != nil {
		g.t.Fatal(err)
	}
	for _, f := range families {
		if f.GetName() == name {
			for _, m := range f.GetMetric() {
				have := 0
				for _, l := range m.GetLabel() {
					if labels[l.GetName()] == l.GetValue() {
						have++
					}
				}
				if have == len(labels) {
					sum += m.GetGauge().GetValue() + m.GetCounter().GetValue()
				}
			}
			return sum
		}
	}
	g.t.Fatalf("no metric %s", name)
	return 0
}

func (g *gateway) rows(table, tenant string) (n uint64) {
	g.t.Helper()
	g.flushed()
	if err := g.conn.QueryRow(g.t.Context(), "SELECT count() FROM "+table+" WHERE TenantId = {t:String}", driver.NamedValue{Name: "t", Value: tenant}).Scan(&n); err != nil {
		g.t.Fatalf("count %s: %v", table, err)
	}
	return n
}

// answer is what a client sees.
type answer struct {
	status int
	header http.Header
	body   []byte
}

// post sends one OTLP/HTTP request. Headers are pairs; "key" stands for a bearer credential.
func (g *gateway) post(path string, body io.Reader, headers ...string) answer {
	g.t.Helper()
	req, err := http.NewRequestWithContext(g.t.Context(), http.MethodPost, g.http+path, body)
	if err != nil {
		g.t.Fatal(err)
	}
	for i := 0; i < len(headers); i += 2 {
		if headers[i] == "key" {
			req.Header.Set("Authorization", "Bearer "+headers[i+1])
		} else {
			req.Header.Add(headers[i], headers[i+1])
		}
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		g.t.Fatalf("POST %s: %v", path, err)
	}
	defer resp.Body.Close()
	raw, err := io.ReadAll(resp.Body)
	if err != nil {
		g.t.Fatalf("POST %s: read: %v", path, err)
	}
	return answer{resp.StatusCode, resp.Header, raw}
}

const (
	protoType = "application/x-protobuf"
	jsonType  = "application/json"
)

// dial returns a client whose messages are bytes.
func (g *gateway) dial() *grpc.ClientConn {
	g.t.Helper()
	conn, err := grpc.NewClient(g.grpc, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		g.t.Fatal(err)
	}
	g.t.Cleanup(func() { _ = conn.Close() })
	return conn
}

func withKey(ctx context.Context, key string) context.Context {
	return metadata.AppendToOutgoingContext(ctx, "authorization", "Bearer "+key)
}

// logs is a request of n records in one resource.
func logs(n int) plogotlp.ExportRequest {
	ld := plog.NewLogs()
	rl := ld.ResourceLogs().AppendEmpty()
	rl.Resource().Attributes().PutStr("service.name", "checkout")
	sl := rl.ScopeLogs().AppendEmpty()
	for i := range n {
		r := sl.LogRecords().AppendEmpty()
		r.SetTimestamp(1_700_000_000_000_000_000)
		r.SetSeverityNumber(plog.SeverityNumberInfo)
		// Ids, because pdata writes an absent one as an empty field: two bytes that JSON's equivalent has not.
		r.SetTraceID([16]byte{1})
		r.SetSpanID([8]byte{2})
		r.Body().SetStr("order placed")
		r.Attributes().PutInt("n", int64(i))
	}
	return plogotlp.NewExportRequestFromLogs(ld)
}

func encode(t *testing.T, req interface {
	MarshalProto() ([]byte, error)
	MarshalJSON() ([]byte, error)
}, enc encoding) []byte {
	t.Helper()
	marshal := req.MarshalProto
	if enc == jsonEncoding {
		marshal = req.MarshalJSON
	}
	raw, err := marshal()
	if err != nil {
		t.Fatal(err)
	}
	return raw
}

func zipped(t *testing.T, raw []byte) []byte {
	t.Helper()
	var buf bytes.Buffer
	w := gzip.NewWriter(&buf)
	if _, err := w.Write(raw); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return buf.Bytes()
}
