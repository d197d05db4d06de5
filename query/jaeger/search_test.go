package jaeger

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/ClickHouse/clickhouse-go/v2"

	"github.com/headgate-io/headgate/internal/chtest"
	"github.com/headgate-io/headgate/query"
)

// traceIDs are those of an answer of version 2, in order.
func traceIDs(t *testing.T, a answer) (ids []string) {
	t.Helper()
	var doc struct {
		Data []struct{ TraceID string }
	}
	if err := json.Unmarshal([]byte(a.body), &doc); err != nil || a.status != 200 {
		t.Fatalf("%d %s: %v", a.status, a.body, err)
	}
	for _, d := range doc.Data {
		ids = append(ids, d.TraceID)
	}
	return ids
}

// TestTagsFindWhatJaegerShows: each tag that an answer shows finds its trace, and no other value of it does.
func TestTagsFindWhatJaegerShows(t *testing.T) {
	s := newStore(t)
	s.send("a", shop())
	s.send("b", strangers())
	srv := s.serve("a")
	const short = "deadbeefcafebabe"
	for _, c := range []struct {
		service, tags string
		want          []string
	}{
		{"frontend", `{}`, []string{look, payment}},
		{"frontend", `{"http.route":"/pay"}`, []string{payment}},
		{"frontend", `{"http.route":"/PAY"}`, nil},
		{"frontend", `{"http.status_code":"504"}`, []string{payment}},
		{"frontend", `{"http.status_code":504}`, []string{payment}},
		{"frontend", `{"retried":true}`, []string{payment}},
		{"frontend", `{"retried":"true","ratio":"0.5","digest":"ADA5","list":"[1,\"two\"]"}`, []string{payment}},
		{"frontend", `{"retried":"true","http.route":"/cart"}`, nil},
		{"frontend", `{"nothing":""}`, []string{payment}},
		{"frontend", `{"absent":""}`, nil},
		{"frontend", `{"host.name":"node-1","process.pid":"4711"}`, []string{look, payment}},
		{"frontend", `{"exception.type":"Timeout"}`, []string{payment}},
		{"frontend", `{"attempt":3}`, []string{payment}},
		{"frontend", `{"event":"exception"}`, []string{payment}},
		{"frontend", `{"event":"other"}`, nil},
		{"frontend", `{"error":"true"}`, []string{payment}},
		{"frontend", `{"error":"false"}`, nil},
		{"frontend", `{"otel.status_code":"ERROR","otel.status_description":"gateway timeout"}`, []string{payment}},
		{"payment", `{"otel.status_code":"OK"}`, []string{payment}},
		{"payment", `{"otel.status_code":"ERROR"}`, nil},
		{"payment", `{"span.kind":"client"}`, []string{payment}},
		{"payment", `{"span.kind":"server"}`, nil},
		{"payment", `{"span.kind":"nonsense"}`, nil},
		{"frontend", `{"otel.scope.name":"net/http","otel.scope.version":"1.2.0"}`, []string{look, payment}},
		{"frontend", `{"otel.library.name":"net/http"}`, []string{look, payment}},
		{"payment", `{"otel.scope.name":""}`, nil},
		{"frontend", `{"w3c.tracestate":"vendor=1"}`, []string{payment}},
		{"frontend", `{"tenant.id":"a"}`, []string{look, payment}},
		{"frontend", `{"tenant_id":"a"}`, []string{look, payment}},
		{"frontend", `{"tenant_id":"b"}`, nil},
		{"cart/v2", `{"span.kind":"internal"}`, []string{look}},
		{"cart/v2", `{}`, []string{short, look}},
		{"canary-service", `{}`, nil},
	} {
		a := get(t, srv, "/jaeger/api/traces"+params(append(hourOf(), "service", c.service, "tags", c.tags)...))
		if got := traceIDs(t, a); !slices.Equal(got, c.want) {
			t.Errorf("%s %s: %v, want %v", c.service, c.tags, got, c.want)
		}
	}
}

// TestNewestAreFoundFromTheEnd: looking through a range from its end finds what looking through all of it finds.
func TestNewestAreFoundFromTheEnd(t *testing.T) {
	s := newStore(t)
	s.send("a", town())
	h := &handler{reader: s.reader, opts: Options{Now: func() time.Time { return hourEnd }}.withDefaults()}
	r := rand.New(rand.NewPCG(4, 4))
	several := 0
	for range 40 {
		c := criteria{start: hourStart.Add(-time.Duration(r.IntN(90)) * time.Minute), limit: 1 + r.IntN(70), service: genServices[r.IntN(4)]}
		c.end = hourStart.Add(time.Duration(1+r.IntN(100)) * time.Minute)
		got, err := h.find(t.Context(), chtest.Scope(t, "a"), c)
		if err != nil {
			t.Fatal(err)
		}
		want, err := h.findIn(t.Context(), chtest.Scope(t, "a"), c, c.start)
		if err != nil || !slices.Equal(got.ids, want.ids) {
			t.Errorf("%+v: %v, want %v, %v", c, got.ids, want.ids, err)
		}
		if len(want.ids) > 1 {
			several++
		}
	}
	if several < 20 {
		t.Errorf("only %d searches found several traces", several)
	}
}

// TestSeveralTenantsSpansSayWhoseTheyAre: for one who reads two tenants, their spans of one trace are one trace, and each
// process says whose it is.
func TestSeveralTenantsSpansSayWhoseTheyAre(t *testing.T) {
	s := newStore(t)
	s.send("a", shop())
	s.send("b", shop())
	var doc struct {
		Data []struct {
			Spans     []struct{ ProcessID string }
			Processes map[string]struct{ Tags []tag }
		}
	}
	a := get(t, s.serve("a", "b"), "/jaeger/api/traces/"+batch)
	if err := json.Unmarshal([]byte(a.body), &doc); err != nil || len(doc.Data) != 1 || len(doc.Data[0].Spans) != 2 {
		t.Fatalf("%d %s: %v", a.status, a.body, err)
	}
	var owners []string
	for _, sp := range doc.Data[0].Spans {
		for _, tg := range doc.Data[0].Processes[sp.ProcessID].Tags {
			if tg.Key == "tenant_id" {
				owners = append(owners, fmt.Sprint(tg.Value))
			}
		}
	}
	if !slices.Equal(owners, []string{"a", "b"}) {
		t.Errorf("spans are of %v, want a, b: %s", owners, a.body)
	}
	if ids := traceIDs(t, get(t, s.serve("a", "b"), "/jaeger/api/traces"+params(append(hourOf(), "service", "payment")...))); !slices.Equal(ids, []string{payment}) {
		t.Errorf("found %v, want %s once", ids, payment)
	}
	if a := get(t, s.serve("a"), "/jaeger/api/traces/"+batch); strings.Contains(a.body, "tenant_id") {
		t.Errorf("one tenant's answer names it: %s", a.body)
	}
}

// TestCutAnswersSaySo: an answer of too many spans ends early, and tells.
func TestCutAnswersSaySo(t *testing.T) {
	s := newStore(t)
	s.send("a", shop())
	s.opts.MaxSpans = 2
	srv := s.serve("a")
	const cut = "only the first 2 spans are shown: ask for fewer traces, or for one by its id with start and end"
	a := get(t, srv, "/jaeger/api/traces/"+look)
	if a.status != 200 || strings.Count(a.body, `"spanID":"1`) < 2 || strings.Contains(a.body, "1000000000000003") ||
		!strings.Contains(a.body, `},"warnings":["`+cut+`"]}],"total":0,"limit":0,"offset":0,"errors":[{"msg":"`+cut+`"}]}`) || !strings.Contains(a.header, "Headgate-Truncated:[true]") {
		t.Errorf("version 2: %+v", a)
	}
	a = get(t, srv, "/jaeger/api/v3/traces/"+look)
	if a.status != 200 || strings.Contains(a.body, "1000000000000003") || !strings.Contains(a.header, "Headgate-Truncated:[true]") {
		t.Errorf("version 3: %+v", a)
	}
	a = get(t, srv, "/jaeger/api/traces/"+payment)
	if a.status != 200 || strings.Contains(a.body, "only the first") || !strings.Contains(a.header, "Headgate-Truncated:[false]") {
		t.Errorf("a trace of just so many spans: %+v", a)
	}
}

// TestLongTracesComeInChunks: version 3 joins its chunks to one document.
func TestLongTracesComeInChunks(t *testing.T) {
	s := newStore(t)
	td := shop()
	ss := td.ResourceSpans().At(0).ScopeSpans().At(0)
	for i := range 2*chunkSpans + 1 {
		newSpan(ss, payment, fmt.Sprintf("%016x", 0xff0000+i), "", "more", 1, time.Duration(i)*time.Millisecond, time.Millisecond)
	}
	s.send("a", td)
	a := get(t, s.serve("a"), "/jaeger/api/v3/traces/"+payment)
	if n := strings.Count(a.body, `"spanId"`); a.status != 200 || !json.Valid([]byte(a.body)) || n != 2*chunkSpans+1+2+2 {
		t.Errorf("%d, %d span ids, valid JSON %v", a.status, n, json.Valid([]byte(a.body)))
	}
}

// TestTooManySpansForTheGraphAreTold: where memory does not suffice for the graph of services, the answer says what to do.
func TestTooManySpansForTheGraphAreTold(t *testing.T) {
	s := newStore(t)
	sql := "INSERT INTO otel_traces (TenantId, Timestamp, TraceId, SpanId, ParentSpanId, ServiceName) SELECT 'a', toDateTime64('2025-03-04 10:30:00', 9, 'UTC'), " +
		"lower(hex(sipHash128(number))), toString(number), '1', 'x' FROM numbers(300000)"
	if err := s.writer.Exec(t.Context(), sql); err != nil {
		t.Fatal(err)
	}
	s.reader = query.NewReader(s.conn, query.ReaderOptions{Limits: query.Limits{MaxThreads: 1, MaxMemoryBytes: 16 << 20}})
	a := get(t, s.serve("a"), "/jaeger/api/dependencies")
	if a.status != 422 || !strings.Contains(a.body, "ask for less by lookback") {
		t.Errorf("%+v", a)
	}
}

// TestFailuresAreToldInJaegersShape: other methods, a failing store and an absent one, without the engine's words.
func TestFailuresAreToldInJaegersShape(t *testing.T) {
	s := newStore(t)
	s.send("a", shop())
	srv := s.serve("a")
	for _, method := range []string{http.MethodPost, http.MethodPut, http.MethodDelete, http.MethodOptions} {
		if a := do(t, srv, method, "/jaeger/api/services", nil); a.status != 405 || !strings.Contains(a.header, "Allow:[GET, HEAD]") || !strings.Contains(a.body, `"errors":[{"code":405,"msg":"ask with GET"}]`) {
			t.Errorf("%s: %+v", method, a)
		}
	}
	if a := do(t, srv, http.MethodHead, "/jaeger/api/traces/"+payment, nil); a.status != 200 || a.body != "" {
		t.Errorf("HEAD: %+v", a)
	}
	if err := s.writer.Exec(t.Context(), "DROP TABLE otel_traces SYNC"); err != nil {
		t.Fatal(err)
	}
	everything := []string{"services", "operations?service=x", "traces?service=x", "traces/1", "dependencies", "v3/services", "v3/traces/1"}
	for _, path := range everything {
		a := get(t, srv, "/jaeger/api/"+path)
		if a.status != 500 || !strings.Contains(a.body, "the log of headgate tells more") || strings.Contains(a.body, "otel") || strings.HasPrefix(path, "v3") != strings.Contains(a.body, `{"error":{"httpCode":500`) {
			t.Errorf("%s without a table: %+v", path, a)
		}
	}
	opts := chtest.Start(t).ReaderOptions()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	opts.Addr = []string{ln.Addr().String()}
	ln.Close()
	conn, err := clickhouse.Open(opts)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	s.reader = query.NewReader(conn, query.ReaderOptions{})
	srv = s.serve("a")
	for _, path := range everything {
		if a := get(t, srv, "/jaeger/api/"+path); a.status != 503 || !strings.Contains(a.header, "Retry-After") || !strings.Contains(a.body, "does not answer") {
			t.Errorf("%s without an engine: %+v", path, a)
		}
	}
}
