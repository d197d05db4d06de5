package jaeger

import (
	"context"
	"encoding/hex"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"testing"
	"time"

	"github.com/ClickHouse/clickhouse-go/v2/lib/driver"
	"go.opentelemetry.io/collector/pdata/pcommon"
	"go.opentelemetry.io/collector/pdata/ptrace"

	"github.com/headgate-io/headgate/ingest/otlp"
	"github.com/headgate-io/headgate/internal/asktest"
	"github.com/headgate-io/headgate/internal/chtest"
	"github.com/headgate-io/headgate/internal/tenant"
	"github.com/headgate-io/headgate/query"
	"github.com/headgate-io/headgate/storage"
	"github.com/headgate-io/headgate/storage/schema"
)

func TestMain(m *testing.M) { chtest.Main(m) }

// The fixture's hour.
var (
	hourStart = time.Date(2025, 3, 4, 10, 0, 0, 0, time.UTC)
	hourEnd   = hourStart.Add(time.Hour)
)

func tenantID(t testing.TB, s string) tenant.ID {
	t.Helper()
	id, err := tenant.ParseID(s)
	if err != nil {
		t.Fatal(err)
	}
	return id
}

// store is a database with the telemetry tables.
type store struct {
	t      testing.TB
	writer driver.Conn
	conn   driver.Conn // the reader's
	reader *query.Reader
	opts   Options
}

// patience lets queries wait and take as long as a busy machine makes them, so that no answer depends on how busy it is.
var patience = query.Limits{MaxThreads: 1, MaxExecution: asktest.Patience, MaxWait: asktest.Patience, HeavyPerTenant: 6}

func newStore(t testing.TB) *store {
	t.Helper()
	name := chtest.Database(t)
	engine := chtest.Start(t)
	s := &store{t: t, writer: engine.Open(t, name), conn: engine.OpenReader(t, name)}
	s.reader = query.NewReader(s.conn, query.ReaderOptions{Limits: patience})
	if err := storage.Migrate(t.Context(), s.writer, schema.Migrations, slog.New(slog.DiscardHandler)); err != nil {
		t.Fatal(err)
	}
	return s
}

// send stores spans as the gateway does: OTLP bytes, decoded, stamped and inserted as a block.
func (s *store) send(owner string, td ptrace.Traces) {
	s.t.Helper()
	body, err := (&ptrace.ProtoMarshaler{}).MarshalTraces(td)
	if err != nil {
		s.t.Fatal(err)
	}
	id := tenantID(s.t, owner)
	st := otlp.Stamp{Tenant: id, Partition: id.Partition(false), RetentionDays: 60_000, Received: hourEnd}
	res, err := otlp.NewDecoder(otlp.Limits{}).Decode(otlp.Traces, body, st)
	if err != nil || res.Rejected > 0 {
		s.t.Fatalf("decode: %v, %d rejected: %s", err, res.Rejected, res.Message)
	}
	for _, r := range res.Rows {
		chtest.Insert(s.t, s.writer, r.Table, r.Encode().AppendTo(nil, 1))
	}
}

// serve starts the API for callers who may read the tenants.
func (s *store) serve(tenants ...string) *httptest.Server {
	s.t.Helper()
	srv := httptest.NewServer(s.handler(tenants...))
	s.t.Cleanup(srv.Close)
	return srv
}

func (s *store) handler(tenants ...string) http.Handler {
	s.t.Helper()
	opts := s.opts
	opts.Now = func() time.Time { return hourEnd }
	scope := chtest.Scope(s.t, tenants...)
	opts.Authenticate = func(*http.Request) (query.Caller, error) { return query.Caller{Scope: scope, Key: "k"}, nil }
	return New(s.reader, opts)
}

// answer is all of a response that must not depend on other tenants.
type answer struct {
	status int
	header string
	body   string
}

func get(t testing.TB, srv *httptest.Server, path string) answer {
	t.Helper()
	return do(t, srv, http.MethodGet, path, nil)
}

func do(t testing.TB, srv *httptest.Server, method, path string, header http.Header) answer {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), asktest.Patience)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, method, srv.URL+path, nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header = header
	client := *srv.Client()
	client.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	resp, err := client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	out, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatalf("%s: %v", path, err)
	}
	resp.Header.Del("Date")
	resp.Header.Del("X-Request-Id")
	return answer{resp.StatusCode, fmt.Sprint(resp.Header, resp.Trailer), string(out)}
}

// params makes a query of names and values.
func params(pairs ...string) string {
	q := url.Values{}
	for i := 0; i < len(pairs); i += 2 {
		q.Add(pairs[i], pairs[i+1])
	}
	return "?" + q.Encode()
}

func micros(t time.Time) string { return fmt.Sprint(t.UnixMicro()) }

// hourOf are start and end of the fixture's hour.
func hourOf() []string { return []string{"start", micros(hourStart), "end", micros(hourEnd)} }

func mustTrace(s string) (id pcommon.TraceID) {
	if _, err := hex.Decode(id[:], []byte(s)); err != nil {
		panic(err)
	}
	return id
}

func mustSpan(s string) (id pcommon.SpanID) {
	if _, err := hex.Decode(id[:], []byte(s)); err != nil {
		panic(err)
	}
	return id
}

func stamp(at time.Time) pcommon.Timestamp { return pcommon.NewTimestampFromTime(at) }
