package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/headgate-io/headgate/internal/chtest"
	"github.com/headgate-io/headgate/internal/timetest"
	"github.com/headgate-io/headgate/storage/policy"
)

// guardedServer is an engine in the place of a server with the walls set up, and the arguments of serve for it. Custom settings
// are not known to an engine, so the capability travels in a setting that is.
func guardedServer(t *testing.T) (*chtest.Engine, policy.Key, []string) {
	t.Helper()
	file := filepath.Join(t.TempDir(), "clickhouse.key")
	key, err := policy.CreateKey(file)
	if err != nil {
		t.Fatal(err)
	}
	e := chtest.StartGuarded(t, "telemetry", key)
	w, r := e.WriterOptions().Auth, e.ReaderOptions().Auth
	return e, key, []string{
		"--clickhouse", fmt.Sprintf("http://%s:%s@%s/telemetry", w.Username, w.Password, e.Addr()),
		"--clickhouse-reader", fmt.Sprintf("http://%s:%s@%s/telemetry", r.Username, r.Password, e.Addr()),
		"--clickhouse-policy-key", file, "--clickhouse-capability", string(policy.EngineCarrier),
	}
}

// through are args that reach the engine by way of another address, a proxy's.
func through(addr string, e *chtest.Engine, args []string) []string {
	out := make([]string, len(args))
	for i, a := range args {
		out[i] = strings.ReplaceAll(a, e.Addr(), addr)
	}
	return out
}

// answered is the status and the code of a query for all logs.
func (p *process) answered(key string) string {
	p.t.Helper()
	req, err := http.NewRequestWithContext(p.t.Context(), http.MethodPost, "http://"+p.addr.API+"/api/v1/query", strings.NewReader(`{"query":"logs | count"}`))
	if err != nil {
		p.t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+key)
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		p.t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode == http.StatusOK {
		return "200"
	}
	return fmt.Sprint(resp.StatusCode, " ", unmarshal[struct{ Code string }](p.t, string(body)).Code)
}

// TestQueriesAreRefusedWithoutTheWalls drops one policy behind headgate's back: nothing is read any more, data are still taken,
// readyz and doctor say why, and all goes on once the policy is back.
func TestQueriesAreRefusedWithoutTheWalls(t *testing.T) {
	e, key, args := guardedServer(t)
	p := serveOn(t, t.TempDir(), args...)
	p.cli("tenant", "create", "acme")
	k := p.key("acme", "ingest", "query")
	p.mustPost("/v1/logs", k, record("before"))
	p.flushed()
	if got := p.answered(k); got != "200" {
		t.Fatalf("with its walls: %s", got)
	}

	users := policy.Users("telemetry", key)
	from := strings.Index(users, "<otel_traces>")
	to := strings.Index(users, "</otel_traces>") + len("</otel_traces>")
	restartWith := func(users string) {
		t.Helper()
		if err := os.WriteFile(filepath.Join(e.DataDir, "users.xml"), []byte(users), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := syscall.Kill(e.PID(), syscall.SIGKILL); err != nil {
			t.Fatal(err)
		}
	}
	look := func() { // an operator's doctor, who does not wait for the next look
		_, _, _ = p.try("doctor")
	}
	restartWith(users[:from] + users[to:])
	timetest.Eventually(t, "queries to be refused", func() bool { look(); return p.answered(k) == "503 query-refused" })
	if status, text := p.get("http://" + p.addr.Telemetry + "/readyz"); status != 200 || !strings.Contains(text, "otel_traces has no policy") {
		t.Errorf("readyz %d %s, want that queries are refused", status, text)
	}
	if status, text := p.get("http://" + p.addr.Telemetry + "/readyz/query"); status != 503 {
		t.Errorf("readyz/query %d %s, want 503", status, text)
	}
	out, _, err := p.try("doctor")
	if err == nil || !strings.Contains(out, "otel_traces has no policy") {
		t.Errorf("doctor: %v\n%s", err, out)
	}
	p.mustPost("/v1/logs", k, record("meanwhile"))
	p.flushed()

	restartWith(users)
	timetest.Eventually(t, "queries to be answered", func() bool { look(); return p.answered(k) == "200" })
	if out := p.cli("query", "--key", k, "--format", "ndjson", "logs | count"); unmarshal[struct{ Count int }](t, out).Count != 2 {
		t.Errorf("count printed %s, want both records", out)
	}
}

// TestServerWithoutReaderTakesDataOnly: an account that may write is never read with.
func TestServerWithoutReaderTakesDataOnly(t *testing.T) {
	_, _, args := guardedServer(t)
	for name, args := range map[string][]string{
		"no reader": args[:2],
		"no key":    append(append([]string{}, args[:4]...), "--clickhouse-capability", string(policy.EngineCarrier)),
		"other key": append(append([]string{}, args...), "--clickhouse-policy-key", otherKey(t)),
	} {
		t.Run(name, func(t *testing.T) {
			p := serveOn(t, t.TempDir(), args...)
			p.cli("tenant", "create", "acme")
			k := p.key("acme", "ingest", "query")
			p.mustPost("/v1/logs", k, record("x"))
			p.flushed()
			if got := p.answered(k); got != "503 query-refused" {
				t.Errorf("query: %s, want it refused", got)
			}
		})
	}
}

func otherKey(t *testing.T) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "other.key")
	if _, err := policy.CreateKey(file); err != nil {
		t.Fatal(err)
	}
	return file
}

// TestWallsStayAsKnownWhileClickHouseIsSilent: an outage neither opens nor closes anything.
func TestWallsStayAsKnownWhileClickHouseIsSilent(t *testing.T) {
	var findings []policy.Finding
	var silent error
	w := newWalls(func(context.Context) ([]policy.Finding, error) { return findings, silent }, true, slog.New(slog.DiscardHandler), newRegistry())
	say := func(want string) {
		t.Helper()
		w.look(t.Context())
		got := "open"
		if err := w.refuse(); err != nil {
			got = strings.SplitN(err.Error(), ":", 2)[0]
		}
		if got != want {
			t.Errorf("queries are %s, want %s", got, want)
		}
	}
	silent = errors.New("no answer")
	say("query-unavailable")
	silent, findings = nil, []policy.Finding{{Check: "a", Status: policy.OK}, {Check: "b", Status: policy.Warn}}
	say("open")
	silent = errors.New("no answer")
	say("open")
	silent, findings = nil, []policy.Finding{{Check: "a", Status: policy.Fail}}
	say("query-refused")
	silent = errors.New("no answer")
	say("query-refused")
	silent, findings = nil, nil
	say("open")
}

// TestAnOlderLookDoesNotOpenTheWalls: a check that began earlier and ends later says less than one that it was overtaken by.
func TestAnOlderLookDoesNotOpenTheWalls(t *testing.T) {
	began, hold := make(chan struct{}), make(chan struct{})
	slow := true // of the first check
	w := newWalls(func(context.Context) ([]policy.Finding, error) {
		if slow {
			slow = false
			close(began)
			<-hold
			return []policy.Finding{{Check: "a", Status: policy.OK}}, nil
		}
		return []policy.Finding{{Check: "a", Status: policy.Fail}}, nil
	}, true, slog.New(slog.DiscardHandler), newRegistry())
	done := make(chan struct{})
	go func() { defer close(done); w.look(t.Context()) }()
	<-began
	w.look(t.Context())
	close(hold)
	<-done
	if err := w.refuse(); err == nil {
		t.Error("queries are answered on the word of an older check")
	}
}
