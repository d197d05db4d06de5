package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"go.opentelemetry.io/collector/pdata/plog/plogotlp"

	"github.com/headgate-io/headgate/internal/chtest"
	"github.com/headgate-io/headgate/internal/timetest"
	"github.com/headgate-io/headgate/metering"
)

// record is one log record of this minute, as OTLP/JSON.
func record(text string) string {
	return fmt.Sprintf(`{"resourceLogs":[{"resource":{"attributes":[{"key":"service.name","value":{"stringValue":"shop"}}]},
		"scopeLogs":[{"logRecords":[{"timeUnixNano":"%d","severityNumber":17,"body":{"stringValue":%q}}]}]}]}`, time.Now().UnixNano(), text)
}

// TestTourThroughTheProduct follows the README: tenants, keys, telemetry, queries, usage, revocation, deletion.
func TestTourThroughTheProduct(t *testing.T) {
	p := serveOn(t, t.TempDir())
	if info, err := os.Stat(filepath.Join(p.dir, adminTokenFile)); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("admin.token: %v, %v", info, err)
	}
	for path, want := range map[string]string{"/healthz": "ok", "/readyz": "ready", "/metrics": "headgate_build_info"} {
		if status, text := p.get("http://" + p.addr.Telemetry + path); status != 200 || !strings.Contains(text, want) {
			t.Errorf("%s: %d %.100s", path, status, text)
		}
	}
	if status, text := p.get("http://" + p.addr.API + "/api/openapi.json"); status != 200 || !strings.Contains(text, `"/api/v1/tenants/{tenant}"`) {
		t.Errorf("openapi.json: %d %.100s", status, text)
	}

	p.cli("tenant", "create", "acme", "--daily-bytes", "10GiB", "--retention-days", "7")
	p.cli("tenant", "create", "globex")
	acme, globex := p.key("acme", "ingest", "query", "usage"), p.key("globex", "ingest", "query")
	for range 3 {
		p.mustPost("/v1/logs", acme, record("acme's secret"))
	}
	p.mustPost("/v1/logs", globex, record("globex's secret"))
	p.flushed()

	// Each sees its own rows alone, in every format.
	if got := strings.TrimSpace(p.cli("query", "--key", acme, "--format", "ndjson", "logs | count")); got != `{"count":3}` && got != `{"count": 3}` {
		t.Errorf("acme counts %s, want 3", got)
	}
	for _, format := range []string{"table", "json", "ndjson", "csv"} {
		out := p.cli("query", "--key", globex, "--format", format, "logs")
		if !strings.Contains(out, "globex's secret") || strings.Contains(out, "acme") {
			t.Errorf("globex reads as %s:\n%s", format, out)
		}
	}
	if got := p.cli("query", "--key", acme, `logs | where severity >= "error" | summarize count() by service`); !strings.Contains(got, "shop") {
		t.Errorf("summarize printed\n%s", got)
	}
	usage := unmarshal[metering.Usage](t, p.cli("usage", "--tenant", "acme", "--json", "--group", "signal,key"))
	if len(usage.Rows) != 1 || usage.Rows[0].Records != 3 || usage.Rows[0].Requests != 3 || usage.Rows[0].Signal != "logs" || usage.Rows[0].Tenant != "acme" {
		t.Errorf("usage of acme: %+v", usage.Rows)
	}
	if table := p.cli("usage"); !strings.Contains(table, "BILLED BYTES") || !strings.Contains(table, "globex") {
		t.Errorf("usage printed\n%s", table)
	}
	if limits := p.cli("limits", "--key", acme); !strings.Contains(limits, "10 737 418 240") {
		t.Errorf("limits printed\n%s", limits)
	}

	// A revoked key is refused; how soon, revocation_test measures.
	p.cli("key", "revoke", globex)
	timetest.Eventually(t, "the revocation", func() bool {
		status, _, err := p.post(t.Context(), "/v1/logs", "application/json", globex, []byte(record("late")))
		return err == nil && status == http.StatusUnauthorized
	})
	if _, _, err := p.try("query", "--key", globex, "logs"); err == nil {
		t.Error("a revoked key queries")
	}

	// Deleting wants a disabled tenant and its name, and leaves no row, but the ledger.
	if _, text, err := p.try("tenant", "delete", "acme", "--confirm", "acme"); err == nil || !strings.Contains(text, "wrong-state") {
		t.Errorf("delete of an active tenant: %v %s", err, text)
	}
	p.cli("tenant", "disable", "acme")
	if status, text, err := p.post(t.Context(), "/v1/logs", "application/json", acme, []byte(record("x"))); err != nil || status != 403 || !strings.Contains(text, "tenant-inactive") {
		t.Errorf("a disabled tenant sends: %d %s %v", status, text, err)
	}
	if _, text, err := p.try("tenant", "delete", "acme", "--confirm", "acmee"); err == nil {
		t.Errorf("delete with a wrong confirmation: %s", text)
	}
	p.cli("tenant", "delete", "acme", "--confirm", "acme")
	if out := p.cli("tenant", "list"); strings.Contains(out, "acme") {
		t.Errorf("deleted tenant is listed:\n%s", out)
	}
	usage = unmarshal[metering.Usage](t, p.cli("usage", "--json"))
	if len(usage.Rows) == 0 || usage.Rows[0].Records != 3 {
		t.Errorf("usage after the deletion: %+v", usage.Rows)
	}

	if err := p.end(syscall.SIGTERM); err != nil {
		t.Errorf("serve ended with %v\n%s", err, p.out.String())
	}
	if _, err := os.Stat(filepath.Join(p.dir, addressesFile)); !os.IsNotExist(err) {
		t.Errorf("addresses.json after the end: %v", err)
	}
}

// TestKillNineKeepsTheDaysUse kills headgate under load, again and again: after each restart the billed bytes are at
// least what was acked and at most that and the requests that were under way, never beyond the limit, and every acked
// record is stored.
func TestKillNineKeepsTheDaysUse(t *testing.T) {
	dir := t.TempDir()
	p := serveOn(t, dir, "--resend-window", "0")
	const senders, rounds = 8, 3
	req := plogotlp.NewExportRequest()
	if err := req.UnmarshalJSON([]byte(record("under fire"))); err != nil {
		t.Fatal(err)
	}
	raw, err := req.MarshalProto()
	if err != nil {
		t.Fatal(err)
	}
	size := int64(len(raw))
	const limitRequests = 400
	p.cli("tenant", "create", "acme", "--daily-bytes", fmt.Sprint(limitRequests*size))
	key := p.key("acme", "ingest", "query")
	var acked, unknown atomic.Int64 // requests
	for range rounds {
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		var wg sync.WaitGroup
		before := acked.Load()
		for range senders {
			wg.Go(func() {
				for {
					status, _, err := p.post(ctx, "/v1/logs", "application/x-protobuf", key, raw)
					switch {
					case err != nil:
						unknown.Add(1)
						return
					case status == 200:
						acked.Add(1)
					}
				}
			})
		}
		timetest.Eventually(t, "some acks", func() bool { return acked.Load() >= before+50 })
		p.end(syscall.SIGKILL)
		cancel()
		wg.Wait()
		p = serveOn(t, dir, "--resend-window", "0")
		p.flushed()
		row := unmarshal[metering.Usage](t, p.cli("usage", "--json")).Rows[0]
		if n := row.BilledBytes; n < acked.Load()*size || n > (acked.Load()+unknown.Load())*size || n > limitRequests*size {
			t.Errorf("billed %d bytes for %d acked and %d unknown requests of %d, limit %d", n, acked.Load(), unknown.Load(), size, limitRequests*size)
		}
	}
	// The restarted meter knows the day: what is left is exactly the rest of the limit.
	row := unmarshal[metering.Usage](t, p.cli("usage", "--json")).Rows[0]
	for range limitRequests - row.Requests {
		if status, text, err := p.post(t.Context(), "/v1/logs", "application/x-protobuf", key, raw); err != nil || status != 200 {
			t.Fatalf("within the limit: %d %s %v", status, text, err)
		}
		acked.Add(1)
	}
	if status, text, err := p.post(t.Context(), "/v1/logs", "application/x-protobuf", key, raw); err != nil || status != 429 {
		t.Errorf("beyond the limit: %d %s %v", status, text, err)
	}
	p.flushed()
	out := p.cli("query", "--key", key, "--format", "ndjson", "logs | count")
	if rows := unmarshal[struct{ Count int64 }](t, out).Count; rows < acked.Load() {
		t.Errorf("%d rows for %d acked records", rows, acked.Load())
	}
}

// TestEngineDeathIsAnOutage kills the engine alone: requests are refused as retryable at worst, and all is well soon.
func TestEngineDeathIsAnOutage(t *testing.T) {
	p := serveOn(t, t.TempDir())
	p.cli("tenant", "create", "acme")
	key := p.key("acme", "ingest", "query")
	acked := 0
	for i := range 60 {
		if i == 20 {
			if err := syscall.Kill(p.enginePID(), syscall.SIGKILL); err != nil {
				t.Fatal(err)
			}
		}
		status, text, err := p.post(t.Context(), "/v1/logs", "application/json", key, []byte(record("x")))
		switch {
		case err != nil || status != 200 && status != 503:
			t.Fatalf("during the outage: %d %s %v", status, text, err)
		case status == 200:
			acked++
		}
	}
	if acked < 40 {
		t.Errorf("%d of 60 requests were acked around one kill", acked)
	}
	timetest.Eventually(t, "queries to work again", func() bool {
		out, _, err := p.try("query", "--key", key, "--format", "ndjson", "logs | count")
		return err == nil && unmarshal[struct{ Count int }](t, out).Count >= acked
	})
}

// TestEngineEndsWithItsParent kills headgate and finds no engine left.
func TestEngineEndsWithItsParent(t *testing.T) {
	p := serveOn(t, t.TempDir())
	pid := p.enginePID()
	p.end(syscall.SIGKILL)
	timetest.Eventually(t, "the engine to end", func() bool { return syscall.Kill(pid, 0) != nil })
}

// TestBadStarts: each says what is wrong and what to do, and ends.
func TestBadStarts(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	notALibrary := filepath.Join(t.TempDir(), "libchdb.so")
	if err := os.WriteFile(notALibrary, []byte("not a library"), 0o600); err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	running := serveOn(t, t.TempDir())
	for _, c := range []struct {
		name string
		dir  string
		args []string
		want []string
	}{
		{"port taken", "", []string{"--api", taken.Addr().String()}, []string{"--api " + taken.Addr().String(), "another process has this port"}},
		{"data directory in use", running.dir, nil, []string{"in use by another headgate", fmt.Sprint(running.cmd.Process.Pid), "--data-dir"}},
		{"data directory is a file", file, nil, []string{"data directory " + file}},
		{"library missing", "", []string{"--engine-lib", "/nonexistent/libchdb.so"}, []string{"--engine-lib", "make engine-lib"}},
		{"not the library", "", []string{"--engine-lib", notALibrary}, []string{notALibrary}},
		{"contradiction", "", []string{"--engine-lib", notALibrary, "--clickhouse", "http://127.0.0.1:1"}, []string{"contradict"}},
		{"two of a port", "", []string{"--api", "127.0.0.1:7777", "--telemetry", "127.0.0.1:7777"}, []string{"both 127.0.0.1:7777"}},
		{"native protocol", "", []string{"--clickhouse", "clickhouse://u:hunter2@127.0.0.1:9000"}, []string{"HTTP interface", "8123"}},
		{"role without shared state", "", []string{"--role", "ingest"}, []string{"add --store postgres://", "add --clickhouse http://"}},
		{"no role", "", []string{"--role", "reader"}, []string{"--role \"reader\"", "all, ingest, query or control"}},
		{"flags of another role", "", []string{"--role", "query"}, []string{"--otlp-grpc means nothing to --role query", "--role all or ingest", "--engine-memory means nothing"}},
		{"queries without who reads", "", []string{"--role", "query", "--clickhouse", "http://127.0.0.1:1"}, []string{"--role query", "--clickhouse-reader"}},
		{"store that is no URL", "", []string{"--store", "hunter2.db"}, []string{"--store", "postgres://"}},
		{"store that cannot be read", "", []string{"--store", "postgres://u:hunter2%@127.0.0.1:1/state"}, []string{"--store", "%40"}},
		{"store that is away", "", []string{"--store", "postgres://u:hunter2@127.0.0.1:1/state"}, []string{"127.0.0.1:1/state", "refused"}},
		{"certificate without key", "", []string{"--tls-cert", file}, []string{"--tls-cert and --tls-key belong together"}},
		{"certificate of the api without key", "", []string{"--api-tls-cert", file}, []string{"--api-tls-cert and --api-tls-key belong together"}},
		{"no certificate of the api", "", []string{"--api-tls-cert", file, "--api-tls-key", file}, []string{"api tls", file}},
		{"client authority without TLS", "", []string{"--tls-client-ca", file}, []string{"--tls-client-ca needs --tls-cert"}},
		{"not a certificate", "", []string{"--tls-cert", file, "--tls-key", file}, []string{"otlp tls", file}},
		{"origin with a path", "", []string{"--cors-origin", "https://shop.example/x"}, []string{"--cors-origin", "without a path"}},
		{"prefix that is no path", "", []string{"--otlp-path-prefix", "otlp/"}, []string{"--otlp-path-prefix", "such as /otlp"}},
		{"origin with its default port", "", []string{"--cors-origin", "https://shop.example:443"}, []string{"--cors-origin", "default port"}},
		{"prefix without a slash", "", []string{"--otlp-path-prefix", "otlp"}, []string{"--otlp-path-prefix", "/otlp"}},
		{"one address has more than all", "", []string{"--max-connections", "10", "--max-peer-connections", "11"}, []string{"--max-peer-connections"}},
		{"no connections", "", []string{"--max-connections", "0"}, []string{"--max-connections"}},
		{"refusals below none", "", []string{"--max-auth-failures", "-1"}, []string{"--max-auth-failures"}},
		{"budget below a body", "", []string{"--max-inflight", "64MiB"}, []string{"--max-inflight", "four times max-body"}},
		{"tenant's budget below two bodies", "", []string{"--max-tenant-inflight", "64MiB"}, []string{"--max-tenant-inflight", "twice"}},
		{"tenants without requests", "", []string{"--max-tenant-requests", "0"}, []string{"--max-tenant-requests"}},
		{"body limit", "", []string{"--max-body", "12"}, []string{"--max-body"}},
		{"not a size", "", []string{"--max-body", "lots"}, []string{"lots", "10GiB"}},
	} {
		dir := c.dir
		if dir == "" {
			dir = t.TempDir()
		}
		p := launch(t, dir, c.args...)
		select {
		case err := <-p.gone:
			p.gone <- err
			for _, want := range append(c.want, "headgate: ") {
				if text := p.out.String(); err == nil || !strings.Contains(text, want) || strings.Contains(text, "hunter2") {
					t.Errorf("%s: %v, lacks %q:\n%s", c.name, err, want, text)
				}
			}
		case <-time.After(60 * time.Second):
			t.Errorf("%s: does not end:\n%s", c.name, p.out.String())
			p.end(syscall.SIGKILL)
		}
	}
}

func TestEnvironmentSetsFlags(t *testing.T) {
	p := command("serve", "--data-dir", t.TempDir())
	p.Env = append(p.Env, "HEADGATE_ROLE=ingest", "HEADGATE_FLUSH_ROWS=0")
	out, err := p.CombinedOutput()
	if err == nil || !bytes.Contains(out, []byte("--role ingest")) || !bytes.Contains(out, []byte("--flush-rows")) {
		t.Errorf("%v, want both problems:\n%s", err, out)
	}
}

// TestServerIsTheSameAsTheEngine runs serve on a ClickHouse at an address, through another engine's HTTP interface.
func TestServerIsTheSameAsTheEngine(t *testing.T) {
	engine, _, args := guardedServer(t)
	opt := engine.WriterOptions()
	p := serveOn(t, t.TempDir(), args...)
	p.cli("tenant", "create", "acme")
	key := p.key("acme", "ingest", "query")
	p.mustPost("/v1/logs", key, record("x"))
	p.flushed()
	if out := p.cli("query", "--key", key, "--format", "ndjson", "logs | count"); unmarshal[struct{ Count int }](t, out).Count != 1 {
		t.Errorf("count printed %s", out)
	}
	if strings.Contains(p.out.String(), opt.Auth.Password) {
		t.Error("the password is in the log")
	}
}

// TestStartWithoutClickHouseTakesRequests: alive at once, ready after a moment; what is acked is there when ClickHouse is.
func TestStartWithoutClickHouseTakesRequests(t *testing.T) {
	engine, _, args := guardedServer(t)
	proxy := chtest.StartProxy(t, engine.Addr())
	proxy.Choose(func(*http.Request) chtest.Fault { return chtest.Refuse })
	free, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	telemetry := free.Addr().String()
	free.Close()
	dir := t.TempDir()
	p := launch(t, dir, append(through(proxy.Addr(), engine, args), "--telemetry", telemetry)...)
	timetest.Eventually(t, "it to say so", func() bool {
		resp, err := http.Get("http://" + telemetry + "/readyz")
		if err != nil {
			return false
		}
		defer resp.Body.Close()
		text, _ := io.ReadAll(resp.Body)
		return resp.StatusCode == http.StatusServiceUnavailable && strings.Contains(string(text), "clickhouse")
	})
	if status, _ := p.get("http://" + telemetry + "/healthz"); status != 200 {
		t.Errorf("healthz: %d", status)
	}
	timetest.Eventually(t, "the log to say so", func() bool { return strings.Contains(p.out.String(), "clickhouse does not answer yet") })
	timetest.Eventually(t, "headgate to be ready all the same", func() bool { p.addr, err = readAddresses(dir); return err == nil })
	p.cli("tenant", "create", "acme")
	key := p.key("acme", "ingest", "query")
	p.mustPost("/v1/logs", key, record("early"))
	proxy.Choose(func(*http.Request) chtest.Fault { return chtest.Pass })
	p.flushed()
	if out := p.cli("query", "--key", key, "--format", "ndjson", "logs | count"); unmarshal[struct{ Count int }](t, out).Count != 1 {
		t.Errorf("count printed %s", out)
	}
	if err := p.end(syscall.SIGTERM); err != nil || strings.Contains(p.out.String(), engine.WriterOptions().Auth.Password) {
		t.Errorf("ended with %v:\n%s", err, p.out.String())
	}
}

// TestTenantsWithIdenticalDataSeeTheirOwn sends the same bytes for two tenants: each query answers both alike, and with
// one tenant's rows.
func TestTenantsWithIdenticalDataSeeTheirOwn(t *testing.T) {
	p := serveOn(t, t.TempDir(), "--resend-window", "0")
	body := record("the very same")
	keys := map[string]string{}
	for _, name := range []string{"acme", "globex"} {
		p.cli("tenant", "create", name)
		keys[name] = p.key(name, "ingest", "query")
		for range 5 {
			p.mustPost("/v1/logs", keys[name], body)
		}
	}
	p.flushed()
	for query, want := range map[string]string{
		"logs | count": `{"count":5}`,
		"logs | summarize n=count(), first=min(time) by service, body | project service, body, n": `{"service":"shop","body":"the very same","n":5}`,
		`logs | where body ~ "SAME" | project body | limit 1`:                                     `{"body":"the very same"}`,
		`logs | extend t=resource["tenant.id"] | summarize tenants=dcount(t), n=count()`:          `{"tenants":1,"n":5}`,
	} {
		for name, key := range keys {
			if got := strings.TrimSpace(p.cli("query", "--key", key, "--format", "ndjson", query)); got != want {
				t.Errorf("%s asks %s: %s, want %s", name, query, got, want)
			}
		}
	}
}

// TestOrderedStopFinishesWhatWasReceived sends SIGTERM under load: every request that was received is answered 200, and
// what is stored is exactly what is billed.
func TestOrderedStopFinishesWhatWasReceived(t *testing.T) {
	dir := t.TempDir()
	p := serveOn(t, dir, "--flush-delay", "200ms", "--resend-window", "0")
	p.cli("tenant", "create", "acme")
	key := p.key("acme", "ingest", "query")
	body := []byte(record("x"))
	var acked atomic.Int64
	var wg sync.WaitGroup
	for range 16 {
		wg.Go(func() {
			for {
				status, text, err := p.post(t.Context(), "/v1/logs", "application/json", key, body)
				if err != nil {
					return // not received: the listener is closed
				}
				if status != http.StatusOK {
					t.Errorf("received, but answered %d %s", status, text)
					return
				}
				acked.Add(1)
			}
		})
	}
	timetest.Eventually(t, "some acks", func() bool { return acked.Load() >= 32 })
	if err := p.end(syscall.SIGTERM); err != nil {
		t.Errorf("serve ended with %v", err)
	}
	wg.Wait()
	if strings.Contains(p.out.String(), `"level":"ERROR"`) {
		t.Errorf("errors at the stop:\n%s", p.out.String())
	}
	p = serveOn(t, dir)
	p.flushed()
	rows := unmarshal[struct{ Count int64 }](t, p.cli("query", "--key", key, "--format", "ndjson", "logs | count")).Count
	billed := unmarshal[metering.Usage](t, p.cli("usage", "--json")).Rows[0].Records
	if rows != billed || rows < acked.Load() {
		t.Errorf("%d rows, %d billed, %d acked", rows, billed, acked.Load())
	}
}
