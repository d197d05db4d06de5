package main

import (
	"crypto/rand"
	"encoding/base64"
	"io"
	"maps"
	"net"
	"net/http"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/promql"
	"github.com/prometheus/prometheus/storage"

	"github.com/headgate-io/headgate/internal/asktest"
	"github.com/headgate-io/headgate/internal/chtest"
	"github.com/headgate-io/headgate/internal/pgtest"
	"github.com/headgate-io/headgate/internal/timetest"
	"github.com/headgate-io/headgate/internal/tlsfiles/tlstest"
)

// firedAt returns the names of the alerts that fire at some time from one to another.
func firedAt(t *testing.T, alerts storage.Queryable, from, to time.Duration) []string {
	t.Helper()
	q, err := ruleEngine(t).NewRangeQuery(t.Context(), alerts, promql.NewPrometheusQueryOpts(false, ruleStep-time.Millisecond),
		`ALERTS{alertstate="firing"}`, time.Unix(0, 0).Add(from), time.Unix(0, 0).Add(to), ruleStep)
	if err != nil {
		t.Fatal(err)
	}
	defer q.Close()
	matrix, err := q.Exec(t.Context()).Matrix()
	if err != nil {
		t.Fatal(err)
	}
	names := map[string]bool{}
	for _, series := range matrix {
		names[series.Metric.Get("alertname")] = true
	}
	return slices.Sorted(maps.Keys(names))
}

// overload keeps a request of a tenant open and sends others, of which one is refused if the tenant may have one at a time.
func (p *process) overload(key string) {
	p.t.Helper()
	r, w := io.Pipe()
	defer w.Close()
	req, err := http.NewRequestWithContext(p.t.Context(), http.MethodPost, "http://"+p.addr.OTLPHTTP+"/v1/logs", r)
	if err != nil {
		p.t.Fatal(err)
	}
	req.Header = http.Header{"Authorization": {"Bearer " + key}, "Content-Type": {"application/json"}}
	answered := make(chan struct{})
	go func() {
		defer close(answered)
		if resp, err := http.DefaultClient.Do(req); err == nil {
			resp.Body.Close()
		}
	}()
	_, _ = io.WriteString(w, `{"resourceLogs":[`)
	timetest.Eventually(p.t, "a request to be refused beside another", func() bool {
		_, _, _ = p.post(p.t.Context(), "/v1/logs", "application/json", key, []byte(record("beside")))
		return strings.Contains(metricsText(p), `outcome="overloaded"`) // this one, or the other
	})
	_, _ = io.WriteString(w, `]}`)
	_ = w.Close()
	<-answered
}

// crowd opens more connections than one address may have.
func (p *process) crowd(n int) {
	p.t.Helper()
	for range n {
		conn, err := net.Dial("tcp", p.addr.OTLPHTTP)
		if err != nil {
			p.t.Fatal(err)
		}
		p.t.Cleanup(func() { _ = conn.Close() })
	}
}

// fillLog sends what compresses badly until the log takes no more.
func (p *process) fillLog(key string) {
	p.t.Helper()
	raw := make([]byte, 600<<10)
	for range 200 {
		_, _ = rand.Read(raw)
		status, text, err := p.post(p.t.Context(), "/v1/logs", "application/json", key, []byte(record(base64.StdEncoding.EncodeToString(raw))))
		if err != nil {
			p.t.Fatal(err)
		}
		if status == http.StatusServiceUnavailable && strings.Contains(text, "unavailable") {
			return
		}
		if status != http.StatusOK {
			p.t.Fatalf("%d %s", status, text)
		}
	}
	p.t.Fatal("the log is not full")
}

// troubled makes real trouble at two headgates, one with an engine of its own and one beside a PostgreSQL and a server that does not
// answer. It returns what they showed: well, with a full log, after their engine was killed, after a disk damaged the log.
func troubled(t *testing.T) (well, full, killed, damaged, beside scrape) {
	t.Helper()
	dir := t.TempDir()
	small := []string{"--max-body", "1MiB", "--log-max-bytes", "64MiB", "--max-connections", "20", "--max-peer-connections", "10", "--max-tenant-requests", "1", "--insert-timeout", "1s"}
	p := serveOn(t, dir, small...)
	p.cli("tenant", "create", "acme")
	key := p.key("acme", "ingest", "query")
	p.mustPost("/v1/logs", key, record("x"))
	for _, odd := range []struct{ path, contentType, body string }{
		{"/v1/traces", "application/json", spanOf("", "without an id")},
		{"/v1/logs", "application/x-protobuf", "\x78\x01"}, // field 15
	} {
		if status, text, err := p.post(t.Context(), odd.path, odd.contentType, key, []byte(odd.body)); err != nil || status != http.StatusOK {
			t.Fatal(status, text, err)
		}
	}
	p.flushed()
	if resp, text := asktest.Do(t, http.MethodPost, "http://"+p.addr.API+"/api/v1/query", `{"query":"logs | count","max_age":"30s"}`, http.Header{"Authorization": {"Bearer " + key}}); resp.StatusCode != 200 {
		t.Fatal(text)
	}
	well = p.scraped()

	p.overload(key)
	if err := syscall.Kill(p.enginePID(), syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	p.fillLog(key)
	p.crowd(12)
	timetest.Eventually(t, "an INSERT to be given up", func() bool {
		return strings.Contains(metricsText(p), `outcome="error"`)
	})
	full = p.scraped()

	for n := range 3 {
		if err := syscall.Kill(p.enginePID(), syscall.SIGKILL); err != nil {
			t.Fatal(err)
		}
		timetest.Eventually(t, "another engine", func() bool {
			return p.metric("headgate_engine_restarts_total") >= float64(n+1) && len(p.children()) > 0
		})
	}
	killed = p.scraped()
	engine := p.enginePID()
	if err := syscall.Kill(engine, syscall.SIGSTOP); err != nil { // what is in the log stays there
		t.Fatal(err)
	}
	_ = p.cmd.Process.Kill()
	_ = syscall.Kill(engine, syscall.SIGKILL)
	p.end(syscall.SIGKILL)
	damage(t, mustGlob(t, filepath.Join(dir, walDir, "*.wal"))[1])
	cert, certKey := tlstest.NewAuthority(t).Files("headgate", "127.0.0.1")
	p = serveOn(t, dir, append(small, "--api-tls-cert", cert, "--api-tls-key", certKey)...)
	timetest.Eventually(t, "the damage to be found", func() bool { return p.metric("headgate_storage_damaged_requests_total") > 0 })
	damaged = p.scraped()
	p.end(syscall.SIGKILL)

	e, _, args := guardedServer(t)
	proxy := chtest.StartProxy(t, e.Addr())
	p = serveOn(t, t.TempDir(), append(through(proxy.Addr(), e, args), "--store", pgtest.New(t))...)
	p.cli("tenant", "create", "acme", "--daily-bytes", "1MiB")
	key = p.key("acme", "ingest", "query")
	p.mustPost("/v1/logs", key, record(strings.Repeat("half of the day's limit ", 25_000)))
	timetest.Eventually(t, "the event of it", func() bool { return strings.Contains(metricsText(p), "headgate_alert_events_total{") })
	proxy.Choose(func(*http.Request) chtest.Fault { return chtest.Refuse })
	if got := p.answered(key); got != "503 query-unavailable" {
		t.Errorf("without ClickHouse a query is answered %s", got)
	}
	return well, full, killed, damaged, p.scraped()
}

func metricsText(p *process) string {
	_, text := p.get("http://" + p.addr.Telemetry + "/metrics")
	return text
}

// TestOperatorsSeeRealTrouble: every metric and label of the alerts and of the operators' dashboard is one that a headgate in such
// trouble shows; no alert fires at one that is well, and those fire that should.
func TestOperatorsSeeRealTrouble(t *testing.T) {
	rules := alertRules(t)
	well, full, killed, damaged, beside := troubled(t)
	all := []scrape{well, full, killed, damaged, beside}
	for _, r := range rules {
		wantShown(t, all, r.Alert, r.Expr)
	}
	for _, q := range dashboard(t, "headgate.json") {
		if expr := q.Expr; !strings.HasPrefix(expr, "ALERTS{") { // Prometheus' own
			wantShown(t, all, "panel "+q.panel, expr)
		}
	}
	for _, x := range well.samples {
		if x.labels.Get(model.MetricNameLabel) == "headgate_engine_resident_memory_bytes" && x.value < 10<<20 {
			t.Errorf("the engine has %v bytes of memory", x.value)
		}
	}
	samples, end := timeline(t, stretch{well, 30}, stretch{full, 30}, stretch{killed, 30}, stretch{damaged, 30})
	alerts := evaluateAlerts(t, rules, samples, end)
	for _, c := range []struct {
		when     string
		from, to int // minutes
		want     []string
	}{
		{"well", 0, 29, nil},
		{"with a full log", 30, 59, []string{"HeadgateLogFilling", "HeadgateLogRefusing"}},
		{"after three engines", 60, 89, []string{"HeadgateEngineRestarting", "HeadgateLogFilling"}},
		{"on a bad disk", 90, 119, []string{"HeadgateRequestsDamaged"}},
	} {
		got := firedAt(t, alerts, time.Duration(c.from)*time.Minute, time.Duration(c.to)*time.Minute)
		t.Logf("%s: %v", c.when, got)
		if c.want == nil && len(got) > 0 {
			t.Errorf("%s: %v fire", c.when, got)
		}
		for _, name := range c.want {
			if !slices.Contains(got, name) {
				t.Errorf("%s: %s does not fire, %v do", c.when, name, got)
			}
		}
	}
}
