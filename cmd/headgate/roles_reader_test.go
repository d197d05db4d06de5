package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/ClickHouse/clickhouse-go/v2"

	"github.com/headgate-io/headgate/internal/chtest"
	"github.com/headgate-io/headgate/internal/otlpgen"
	"github.com/headgate-io/headgate/internal/pgtest"
	"github.com/headgate-io/headgate/internal/timetest"
	"github.com/headgate-io/headgate/storage/policy"
	"github.com/headgate-io/headgate/storage/schema"
)

var (
	readerGrantRe = regexp.MustCompile(`(?m)^(GRANT .*) TO ` + readerAccount + `;$`)
	grantsRe      = regexp.MustCompile(`(?s)<grants>.*</grants>`)
)

// readerUsers is a users file whose one account has what clickhouse-setup grants to the reader, and nothing else, and the row policies.
func readerUsers(t *testing.T, key policy.Key) string {
	t.Helper()
	sql := serverSetup(setupKeys{key, key}, "telemetry", "", policy.ServerCarrier, DefaultConfig()).SQL()
	grants := ""
	for _, g := range readerGrantRe.FindAllStringSubmatch(sql, -1) {
		grants += "<query>" + g[1] + "</query>"
	}
	if n := strings.Count(grants, "GRANT SELECT ON telemetry."); n != len(policy.Tables())+1 || n != strings.Count(grants, "<query>") {
		t.Fatalf("grants of the reader: %s", grants)
	}
	return grantsRe.ReplaceAllLiteralString(policy.Users("telemetry", key), "<grants>"+grants+"</grants>")
}

// A process that answers queries does so with an account to which ClickHouse itself refuses everything but reading the telemetry: in all
// languages, from its start on, and where it was never told of another account. ClickHouse's own access control is what says no here; it is
// asked past everything that headgate puts before it.
func TestQueryNeedsAnAccountThatReadsAlone(t *testing.T) {
	full, key, args := guardedServer(t)
	d := &parted{replicas: &replicas{t: t, pg: pgtest.Start(t), secrets: t.TempDir()}}
	d.args = append(args, "--store", d.pg.URL())
	d.control, d.ingest = d.as("control", t.TempDir()), d.as("ingest", t.TempDir())
	d.control.cli("tenant", "create", "acme")
	d.control.cli("tenant", "create", "globex")
	acme, globex := d.control.key("acme", "ingest", "query"), d.control.key("globex", "query")
	const trace = "0af7651916cd43dd8448eb211c80319c"
	d.ingest.sent("/v1/logs", "application/json", acme, []byte(record("acme's")))
	d.ingest.sent("/v1/traces", "application/json", acme, []byte(spanOf(trace, "checkout")))
	d.ingest.sent("/v1/metrics", "application/x-protobuf", acme, otlpgen.Metrics(1, 50))
	d.ingest.flushed()
	for _, p := range []*process{d.ingest, d.control} {
		if err := p.end(syscall.SIGTERM); err != nil {
			t.Fatal(err)
		}
	}
	full.Stop()

	opts := chtest.Options(full.DataDir)
	opts.UsersFile = filepath.Join(opts.DataDir, "reader.xml")
	if err := os.WriteFile(opts.UsersFile, []byte(readerUsers(t, key)), 0o600); err != nil {
		t.Fatal(err)
	}
	e := chtest.StartOwn(t, opts)
	r := e.ReaderOptions().Auth
	d.args = []string{"--store", d.pg.URL(), "--clickhouse-reader", fmt.Sprintf("http://%s:%s@%s/telemetry", r.Username, r.Password, e.Addr()),
		"--clickhouse-policy-key", args[slices.Index(args, "--clickhouse-policy-key")+1], "--clickhouse-capability", string(policy.EngineCarrier)}
	d.query = d.as("query", t.TempDir())
	timetest.Eventually(t, "query to be ready", func() bool {
		status, _ := d.query.get("http://" + d.query.addr.Telemetry + "/readyz")
		return status == 200
	})

	if n := d.query.counts(acme); n != 1 {
		t.Errorf("acme counts %d logs, want 1", n)
	}
	if status, text := d.query.ask(acme, "GET", "/prometheus/api/v1/label/__name__/values", ""); status != 200 || len(unmarshal[struct{ Data []string }](t, text).Data) == 0 {
		t.Errorf("metrics: %d %s", status, text)
	}
	if status, text := d.query.ask(acme, "GET", "/jaeger/api/traces/"+trace, ""); status != 200 || !strings.Contains(text, "checkout") {
		t.Errorf("the trace: %d %s", status, text)
	}
	if status, _ := d.query.ask(globex, "GET", "/jaeger/api/traces/"+trace, ""); status != http.StatusNotFound || d.query.counts(globex) != 0 {
		t.Errorf("another's trace: %d", status)
	}
	found, err := examined(t, d.query.dir, append(d.args, "--role", "query", "--secrets-dir", d.secrets)...)
	if err != nil || found["capability"].Status != policy.OK || found["account"].Status != "" {
		t.Errorf("doctor: %v %+v", err, found)
	}

	// The engine's host lets its writer say everything; what refuses is ClickHouse.
	conn := e.Open(t, "telemetry")
	for _, sql := range []string{
		"INSERT INTO otel_logs (TenantId) VALUES ('x')",
		"INSERT INTO headgate_migrations VALUES (9, 'x', 'x', now())",
		"ALTER TABLE otel_logs DELETE WHERE 1",
		"ALTER TABLE otel_logs ADD COLUMN x UInt8",
		"DROP TABLE otel_logs",
		"TRUNCATE TABLE otel_logs",
		"OPTIMIZE TABLE otel_logs",
		"CREATE TABLE x (a UInt8) ENGINE = Memory",
		"CREATE TEMPORARY TABLE x (a UInt8)",
		"CREATE DATABASE x",
		"CREATE USER x",
		"SHOW CREATE ROW POLICY ON otel_logs",
		"SELECT * FROM url('http://127.0.0.1:1/', 'LineAsString')",
		"SELECT * FROM file('x', 'LineAsString')",
	} {
		var answer *clickhouse.Exception
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		err := conn.Exec(ctx, sql)
		cancel()
		if !errors.As(err, &answer) || answer.Code != codeAccessDenied {
			t.Errorf("%s: %v, want it refused by ClickHouse", sql, err)
		}
	}
	if n := scanOne[uint64](t, conn, "SELECT count() FROM "+schema.Logs); n != 0 {
		t.Errorf("%d logs are shown to the account without a capability", n)
	}
}
