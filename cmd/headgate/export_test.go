package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/ClickHouse/clickhouse-go/v2/lib/driver"

	"github.com/headgate-io/headgate/control"
	"github.com/headgate-io/headgate/internal/otlpgen"
	"github.com/headgate-io/headgate/internal/timetest"
	"github.com/headgate-io/headgate/storage"
	"github.com/headgate-io/headgate/storage/schema"
)

// telemetry connects to the replicas' ClickHouse, beside them.
func (r *replicas) telemetry() driver.Conn {
	r.t.Helper()
	opt, err := storage.ParseURL(r.args[slices.Index(r.args, "--clickhouse")+1])
	if err != nil {
		r.t.Fatal(err)
	}
	conn, err := storage.Open(opt)
	if err != nil {
		r.t.Fatal(err)
	}
	r.t.Cleanup(func() { _ = conn.Close() })
	return conn
}

// fill sends all signals of a tenant, the seed makes them; the answers are acks.
func (p *process) fill(key string, seed uint64) error {
	for path, body := range map[string][]byte{"/v1/logs": otlpgen.Logs(seed, 300), "/v1/traces": otlpgen.Traces(seed, 200), "/v1/metrics": otlpgen.Metrics(seed, 200)} {
		if status, text, err := p.post(p.t.Context(), path, "application/x-protobuf", key, body); err != nil || status != 200 {
			return fmt.Errorf("%s: %d %s %w", path, status, text, err)
		}
	}
	return nil
}

// rowsSum is a checksum over all rows of a condition and all their columns.
func rowsSum(t *testing.T, conn driver.Conn, table, where string) string {
	t.Helper()
	return scanOne[string](t, conn, "SELECT concat(toString(count()), ' ', toString(sum(cityHash64(formatRow('RowBinary', *))))) FROM "+table+" WHERE "+where)
}

func scanOne[T any](t *testing.T, conn driver.Conn, query string) (v T) {
	t.Helper()
	if err := conn.QueryRow(t.Context(), query).Scan(&v); err != nil {
		t.Fatalf("%s: %v", query, err)
	}
	return v
}

// What a tenant had when the command began is in the export, to the row and column, while others and itself go on sending, though the
// command and the server are killed on the way; ClickHouse reads the files back.
func TestExportThroughKillsHasEveryRowOfTheTenantAlone(t *testing.T) {
	r := newReplicas(t)
	dirs := []string{t.TempDir(), t.TempDir()}
	a, b := r.serveIn(dirs[0]), r.serveIn(dirs[1])
	conn := r.telemetry()
	keys := map[string]string{}
	for _, name := range []string{"mine", "canary"} {
		a.cli("tenant", "create", name)
		keys[name] = a.key(name, "ingest")
	}
	for _, name := range []string{"mine", "canary"} {
		timetest.Eventually(t, "the key at the other replica", func() bool { return b.fill(keys[name], 1) == nil })
		for seed := range uint64(10) {
			if err := errors.Join(a.fill(keys[name], 10+seed), b.fill(keys[name], 100+seed)); err != nil {
				t.Fatal(err)
			}
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	var sending sync.WaitGroup
	sending.Go(func() { // at b, which is not killed
		tick := time.NewTicker(200 * time.Millisecond)
		defer tick.Stop()
		for seed := uint64(1000); ctx.Err() == nil; seed++ {
			_, _ = b.fill(keys["mine"], seed), b.fill(keys["canary"], seed)
			<-tick.C
		}
	})
	defer sending.Wait()
	defer cancel()

	// The command is killed once some files are there, and so is the server under the command that goes on.
	dir := filepath.Join(t.TempDir(), "export")
	begin := func() (*exec.Cmd, *syncBuffer) {
		var out syncBuffer
		cmd := command("tenant", "export", "mine", "--out", dir, "--wait", "--data-dir", dirs[0], "--secrets-dir", r.secrets)
		cmd.Stdout, cmd.Stderr = &out, &out
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = cmd.Process.Kill() })
		return cmd, &out
	}
	files := func() int {
		n := 0
		for _, pattern := range []string{"state/*.ndjson", "tables/*/*.parquet"} {
			n += len(mustGlob(t, filepath.Join(dir, pattern)))
		}
		return n
	}
	kills := 0
	for _, at := range []int{1, 4 + rand.IntN(4), 10 + rand.IntN(4)} {
		cmd, out := begin()
		timetest.Eventually(t, fmt.Sprintf("%d files", at), func() bool { return files() >= at })
		if err := cmd.Process.Kill(); err != nil {
			t.Fatal(err)
		}
		if err := cmd.Wait(); err != nil {
			kills++
		}
		t.Logf("command killed with %d files: %.200s", files(), out.String())
	}
	cmd, out := begin()
	at := files() + 2
	timetest.Eventually(t, fmt.Sprintf("%d files", at), func() bool { return files() >= at || strings.Contains(out.String(), "all that was received") })
	a.end(syscall.SIGKILL)
	a = r.serveIn(dirs[0])
	if err := cmd.Wait(); err != nil {
		t.Fatalf("export: %v\n%s", err, out.String())
	}
	if kills == 0 {
		t.Error("no command was killed on its way")
	}
	cancel()
	sending.Wait()
	b.flushed()

	m := unmarshal[control.ExportManifest](t, a.cli("tenant", "verify-export", dir, "--json"))
	back := readBack(t, conn, dir, m)
	for _, table := range back {
		where := fmt.Sprintf("TenantId = '%s'", m.Plan.TenantID)
		all := rowsSum(t, conn, table, where)
		want := rowsSum(t, conn, table, where+fmt.Sprintf(" AND ReceivedAt < toDateTime(%d, 'UTC')", m.Plan.ReceivedBefore.Unix()))
		if table == schema.MetricsSeries { // what is said again later is the same: not when, but that a series is
			continue
		}
		if got := rowsSum(t, conn, "back."+table, "1"); got != want || strings.HasPrefix(got, "0 ") {
			t.Errorf("%s: read back %s, want %s", table, got, want)
		}
		if all == want {
			t.Errorf("%s: nothing was received meanwhile: %s", table, all)
		}
	}
	if slices.Contains(back, schema.MetricsSeries) {
		lost := "SELECT count() FROM back.otel_metrics_sum WHERE SeriesId NOT IN (SELECT SeriesId FROM back." + schema.MetricsSeries + ")"
		if n := scanOne[uint64](t, conn, lost); n != 0 {
			t.Errorf("%d points are of series that are not in the export", n)
		}
		if n := scanOne[uint64](t, conn, "SELECT uniq(TenantId) FROM back."+schema.MetricsSeries); n != 1 {
			t.Errorf("series of %d tenants", n)
		}
	}
	if len(back) < 6 {
		t.Errorf("tables %v", back)
	}
	checkState(t, dir, m)
	audit := a.cli("audit", "list", "--tenant", "mine", "--action", "tenant.export", "--json")
	if !strings.Contains(audit, `"tenant.export"`) {
		t.Errorf("audit %s", audit)
	}
	if n := strings.Count(a.cli("audit", "list", "--tenant", "mine", "--action", "tenant.export.end", "--json"), `"tenant.export.end"`); n != 1 {
		t.Errorf("%d entries of the end", n)
	}
}

// readBack lets ClickHouse read an export's Parquet files into the database back, and returns the tables.
func readBack(t *testing.T, conn driver.Conn, dir string, m control.ExportManifest) (tables []string) {
	t.Helper()
	exec := func(sql string) {
		t.Helper()
		if err := conn.Exec(t.Context(), sql); err != nil {
			t.Fatal(err)
		}
	}
	exec("CREATE DATABASE back")
	for _, f := range m.Files {
		if f.Day == "" {
			continue
		}
		if !slices.Contains(tables, f.Table) {
			tables = append(tables, f.Table)
			exec("CREATE TABLE back." + f.Table + " AS " + f.Table)
		}
		raw, err := os.ReadFile(filepath.Join(dir, filepath.FromSlash(f.Path())))
		if err != nil {
			t.Fatal(err)
		}
		if n, err := parquetRows(bytes.NewReader(raw), int64(len(raw))); n != f.Rows || err != nil {
			t.Errorf("%s has %d rows, %v, want %d", f.Path(), n, err, f.Rows)
		}
		if err := conn.InsertFormat(t.Context(), "Parquet", "INSERT INTO back."+f.Table, bytes.NewReader(raw)); err != nil {
			t.Fatalf("%s: %v", f.Path(), err)
		}
	}
	return tables
}

// checkState wants the tenant's own of the control plane, nothing of the other, and no secret.
func checkState(t *testing.T, dir string, m control.ExportManifest) {
	t.Helper()
	for _, f := range m.Files {
		if f.Day != "" {
			continue
		}
		raw, err := os.ReadFile(filepath.Join(dir, filepath.FromSlash(f.Path())))
		if err != nil || int64(bytes.Count(raw, []byte("\n"))) != f.Rows {
			t.Errorf("%s: %d lines, %v, want %d", f.Path(), bytes.Count(raw, []byte("\n")), err, f.Rows)
		}
		for _, never := range []string{"canary", `"mac"`, `"password"`, `"secret"`} {
			if bytes.Contains(raw, []byte(never)) {
				t.Errorf("%s has %s", f.Path(), never)
			}
		}
		if least := map[string]int64{"tenants": 1, "api_keys": 1, "usage_hours": 3, "audit": 3}[f.Table]; f.Rows < least {
			t.Errorf("%s has %d rows, want %d at least", f.Path(), f.Rows, least)
		}
	}
}

// A file that was changed, or is missing, is found, and the same command makes the export whole again; one of another tenant does
// not go on in its directory.
func TestAChangedExportIsFoundAndMended(t *testing.T) {
	p := serveOn(t, t.TempDir())
	p.cli("tenant", "create", "acme")
	p.cli("tenant", "create", "other")
	dir := filepath.Join(t.TempDir(), "export")
	m := unmarshal[control.ExportManifest](t, p.cli("tenant", "export", "acme", "--out", dir, "--json"))
	_, body := p.get("http://" + p.addr.API + "/api/v1/usage/export/key")
	if !strings.Contains(body, "credential-missing") {
		t.Errorf("the key: %s", body)
	}
	key := unmarshal[control.ExportKeys](t, p.asOperator("GET", "/api/v1/usage/export/key", ""))
	p.cli("tenant", "verify-export", dir, "--public-key", key.PublicKey)
	fails := func(what, want string, args ...string) {
		t.Helper()
		if _, _, err := p.try(args...); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", what, err, want)
		}
	}
	fails("another key", "was not given", "tenant", "verify-export", dir, "--public-key", "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=")
	fails("another tenant", "name another directory", "tenant", "export", "other", "--out", dir)
	fails("other days", "name another directory", "tenant", "export", "acme", "--out", dir, "--from", "2026-01-01")
	fails("no such tenant", "not-found", "tenant", "export", "nobody", "--out", dir+"2")

	var users string
	for _, f := range m.Files {
		if f.Table == "tenants" {
			users = filepath.Join(dir, filepath.FromSlash(f.Path()))
		}
	}
	raw, err := os.ReadFile(users)
	if err != nil {
		t.Fatal(err)
	}
	change := func(what string, do func() error) {
		t.Helper()
		if err := do(); err != nil {
			t.Fatal(err)
		}
		fails(what, "is missing, or was changed", "tenant", "verify-export", dir)
		p.cli("tenant", "export", "acme", "--out", dir)
		p.cli("tenant", "verify-export", dir)
	}
	change("a letter", func() error { return os.WriteFile(users, bytes.Replace(raw, []byte("acme"), []byte("acne"), 1), 0o600) })
	change("a file less", func() error { return os.Remove(users) })

	path := filepath.Join(dir, exportManifest)
	said, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range []struct{ old, new string }{{`"rows": 1,`, `"rows": 2,`}, {`"from": ""`, `"from": "2026-01-01"`}, {`"made_by": "operator"`, `"made_by": "user:x"`}} {
		if err := os.WriteFile(path, bytes.Replace(said, []byte(f.old), []byte(f.new), 1), 0o600); err != nil || !bytes.Contains(said, []byte(f.old)) {
			t.Fatal(f.old, err)
		}
		fails(f.new, "it was changed", "tenant", "verify-export", dir)
	}
	if info, err := os.Stat(users); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("%v, %v", info.Mode(), err)
	}
}
