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
	"github.com/headgate-io/headgate/storage"
	"github.com/headgate-io/headgate/storage/policy"
	"github.com/headgate-io/headgate/storage/schema"
)

var grantsRe = regexp.MustCompile(`(?s)<grants>.*</grants>`)

// grantsOf are the grants that clickhouse-setup gives an account, without its name.
func grantsOf(t *testing.T, account, database string) (grants []string) {
	t.Helper()
	key := policy.NewKey()
	sql := serverSetup(setupKeys{key, key}, database, "", policy.ServerCarrier, DefaultConfig()).SQL()
	for _, g := range regexp.MustCompile(`(?m)^(GRANT .*) TO `+account+`;$`).FindAllStringSubmatch(sql, -1) {
		grants = append(grants, g[1])
	}
	if len(grants) == 0 {
		t.Fatalf("%s has no grants", account)
	}
	return grants
}

// usersWith is the users file of an engine whose one account has these grants and nothing else, and the row policies.
func usersWith(t *testing.T, key policy.Key, grants []string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "granted.xml")
	text := "<grants><query>" + strings.Join(grants, "</query><query>") + "</query></grants>"
	if err := os.WriteFile(path, []byte(grantsRe.ReplaceAllLiteralString(policy.Users("telemetry", key), text)), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
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
	grants := grantsOf(t, readerAccount, "telemetry")
	if n := strings.Count(strings.Join(grants, "\n"), "GRANT SELECT ON telemetry."); n != len(policy.Tables())+1 || n != len(grants) {
		t.Errorf("grants of the reader: %q", grants)
	}
	opts.UsersFile = usersWith(t, key, grants)
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

// Receivers and the control plane do all of their work with what clickhouse-setup grants the writing account: tables, inserts, counts, exports
// and deletions.
func TestWritersGrantsAreEnough(t *testing.T) {
	key, err := policy.CreateKey(filepath.Join(t.TempDir(), "clickhouse.key"))
	if err != nil {
		t.Fatal(err)
	}
	opts := chtest.Options(t.TempDir())
	opts.UsersFile, opts.OwnComment = usersWith(t, key, grantsOf(t, writerAccount, "telemetry")), key.Internal()
	e := chtest.StartOwn(t, opts)
	w := e.WriterOptions().Auth
	d := &parted{replicas: &replicas{t: t, pg: pgtest.Start(t), secrets: t.TempDir()}}
	d.args = []string{"--store", d.pg.URL(), "--clickhouse", fmt.Sprintf("http://%s:%s@%s/telemetry", w.Username, w.Password, e.Addr())}
	d.control, d.ingest = d.as("control", t.TempDir()), d.as("ingest", t.TempDir())
	d.control.cli("tenant", "create", "acme", "--limit", "storage-bytes=1GiB")
	key1 := d.control.key("acme", "ingest")
	d.ingest.sent("/v1/logs", "application/x-protobuf", key1, otlpgen.Logs(1, 50))
	d.ingest.sent("/v1/traces", "application/x-protobuf", key1, otlpgen.Traces(1, 50))
	d.ingest.sent("/v1/metrics", "application/x-protobuf", key1, otlpgen.Metrics(1, 50))
	d.ingest.flushed()
	d.control.cli("usage", "verify")
	d.control.cli("tenant", "export", "acme", "--out", filepath.Join(t.TempDir(), "export"))
	d.control.cli("tenant", "disable", "acme")
	d.control.cli("tenant", "delete", "acme", "--yes")
	if n := scanOne[uint64](t, e.Open(t, "telemetry"), "SELECT count() FROM "+schema.Logs); n != 0 {
		t.Errorf("%d logs are left of a tenant that was deleted", n)
	}
	for _, p := range []*process{d.control, d.ingest} {
		if text := p.out.String(); strings.Contains(text, "ACCESS_DENIED") || strings.Contains(text, "Not enough privileges") {
			t.Errorf("%s was refused something:\n%s", p.role, text)
		}
	}
}

// What docs/cluster.md says of grants is what clickhouse-setup writes.
func TestDocumentedGrantsAreThoseOfSetup(t *testing.T) {
	page := mustRead(t, filepath.Join("..", "..", "docs", "cluster.md"))
	said := 0
	for _, account := range []string{readerAccount, writerAccount} {
		for _, g := range grantsOf(t, account, storage.DefaultDatabase) {
			said++
			if !strings.Contains(page, g+" TO "+account+";\n") {
				t.Errorf("docs/cluster.md has no %s TO %s;", g, account)
			}
		}
	}
	if n := strings.Count(page, "GRANT "); n != said {
		t.Errorf("docs/cluster.md has %d grants, clickhouse-setup writes %d", n, said)
	}
}
