package main

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/headgate-io/headgate/control"
	"github.com/headgate-io/headgate/internal/pgtest"
	"github.com/headgate-io/headgate/internal/timetest"
	"github.com/headgate-io/headgate/storage/policy"
)

// Who only reads cannot make tables: it waits for who can, says so, and goes on by itself. Of an account that it was told of and has no
// use for it says that too.
func TestQueryWaitsForTablesThatOthersMake(t *testing.T) {
	_, _, args := guardedServer(t)
	d := &parted{replicas: &replicas{t: t, pg: pgtest.Start(t), secrets: t.TempDir()}}
	d.args = append(args, "--store", d.pg.URL())
	all := append(slices.Clone(d.args), "--secrets-dir", d.secrets)
	d.query = launchAs(t, "query", t.TempDir(), all...)
	timetest.Eventually(t, "query to wait", func() bool {
		return strings.Contains(d.query.out.String(), "clickhouse waits for a headgate of this version")
	})
	timetest.Eventually(t, "query to take requests", func() (up bool) {
		var err error
		d.query.addr, err = readAddresses(d.query.dir)
		return err == nil
	})
	ready := func() int { status, _ := d.query.get("http://" + d.query.addr.Telemetry + "/readyz"); return status }
	if status := ready(); status != 503 {
		t.Errorf("without tables readyz is %d", status)
	}
	if n := strings.Count(d.query.out.String(), "an account that may write to clickhouse, and has no use for it"); n != 1 {
		t.Errorf("the account that is not needed is told of %d times", n)
	}
	d.control = d.as("control", t.TempDir())
	timetest.Eventually(t, "query to be ready", func() bool { return ready() == 200 })
	d.query.secrets = d.secrets
	found, err := examined(t, d.query.dir, append(all, "--role", "query")...)
	if err != nil || found["account"].Status != policy.Warn {
		t.Errorf("doctor: %v %+v", err, found)
	}
}

// The text of the policies is watched at control, which may read it. What they do is watched where queries are answered: they are refused
// when tenants of whom rows are known do not see them.
func TestWallsAreWatchedByWhoCanSeeThem(t *testing.T) {
	e, key, args := guardedServer(t)
	d := &parted{replicas: &replicas{t: t, pg: pgtest.Start(t), secrets: t.TempDir()}}
	d.args = append(args, "--store", d.pg.URL())
	d.control, d.query = d.as("control", t.TempDir()), d.as("query", t.TempDir())
	says := func(p *process) string {
		_, _, _ = p.try(append([]string{"doctor", "--role", p.role}, forRole(p.role, d.args)...)...) // an operator's, who does not wait for the next look
		_, text := p.get("http://" + p.addr.Telemetry + "/readyz")
		return text
	}
	for _, p := range []*process{d.control, d.query} {
		timetest.Eventually(t, "the walls to hold", func() bool {
			text := says(p)
			return strings.HasPrefix(text, "ready") && !strings.Contains(text, "walls")
		})
	}
	users := policy.Users("telemetry", key)
	from, to := strings.Index(users, "<otel_traces>"), strings.Index(users, "</otel_traces>")+len("</otel_traces>")
	if err := os.WriteFile(filepath.Join(e.DataDir, "users.xml"), []byte(users[:from]+users[to:]), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Kill(e.PID(), syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	timetest.Eventually(t, "control to see it", func() bool {
		return strings.Contains(says(d.control), "ready, but the walls between tenants do not hold: policies: otel_traces has no policy")
	})
	if !strings.Contains(d.control.out.String(), "the walls between tenants do not hold") || strings.Contains(d.control.out.String(), "queries are refused") {
		t.Error("control logs nothing of it, or of queries")
	}

	// Of whom was billed for records some hours ago there are rows.
	d.control.cli("tenant", "create", "acme")
	acme := unmarshal[control.Tenant](t, d.control.cli("tenant", "show", "acme", "--json"))
	pgtest.Execute(t, d.pg.URL(), `INSERT INTO usage_hours (tenant_id, hour, signal, key_id, billed_bytes, overage_bytes, unbilled_bytes, records,
		requests, rejected_records, refused_bytes, refused_requests) VALUES ('`+acme.ID+`', `+hoursAgo(5)+`, 'logs', 'k', 1, 0, 0, 1, 1, 0, 0, 0)`)
	timetest.Eventually(t, "queries to be refused", func() bool { return strings.Contains(says(d.query), "policies of another key") })
}

// hoursAgo is the beginning of the hour some hours ago, in seconds.
func hoursAgo(n int) string {
	return fmt.Sprint(time.Now().Add(-time.Duration(n) * time.Hour).Truncate(time.Hour).Unix())
}
