package main

import (
	"fmt"
	"math/rand/v2"
	"net/http"
	"strings"
	"syscall"
	"testing"

	"github.com/headgate-io/headgate/control"
	"github.com/headgate-io/headgate/internal/chtest"
	"github.com/headgate-io/headgate/internal/otlpgen"
	"github.com/headgate-io/headgate/internal/pgtest"
	"github.com/headgate-io/headgate/internal/timetest"
	"github.com/headgate-io/headgate/storage/policy"
	"github.com/headgate-io/headgate/storage/schema"
)

// Each process is killed and started again: what the others do goes on meanwhile, what was acked is there once, and that a role is missing
// is said by those that are left.
func TestEachRoleIsKilledAndComesBack(t *testing.T) {
	d := newParted(t)
	d.control.cli("tenant", "create", "acme")
	key := d.control.key("acme", "ingest", "query")
	acked := 0
	send := func() {
		t.Helper()
		acked++
		d.ingest.sent("/v1/logs", "application/json", key, []byte(record(fmt.Sprintf("number %d", acked))))
	}
	send()
	timetest.Eventually(t, "the key at query", func() bool { status, _ := d.query.ask(key, "GET", "/api/v1/query/scope", ""); return status == 200 })
	all := map[string]**process{"ingest": &d.ingest, "query": &d.query, "control": &d.control}
	names := []string{"ingest", "query", "control"}
	noticed := names[rand.IntN(len(names))] // takes 20 seconds
	for _, name := range names {
		p := all[name]
		d.whole()
		(*p).end(syscall.SIGKILL)
		if name != "ingest" {
			send()
			d.ingest.flushed()
		}
		if name != "query" {
			timetest.Eventually(t, "all that was acked", func() bool { return d.query.counts(key) == acked })
		}
		if name != "control" {
			d.control.cli("tenant", "set", "acme", "--retention-days", fmt.Sprint(10+len(name)))
		}
		for other, q := range all {
			if other == name || noticed != name {
				continue
			}
			timetest.Eventually(t, "that "+name+" is missing to be said by "+other, func() bool {
				_, text := (*q).get("http://" + (*q).addr.Telemetry + "/readyz")
				return strings.Contains(text, "ready, but no process has the role "+name)
			})
			if !strings.Contains((*q).out.String(), "roles are missing") {
				t.Errorf("%s logs nothing of it", other)
			}
			found, err := examined(t, (*q).dir, append(forRole(other, d.args), "--role", other, "--secrets-dir", d.secrets)...)
			if err != nil || found["roles"].Status != policy.Warn || !strings.Contains(found["roles"].Advice, "--role "+name) {
				t.Errorf("doctor at %s: %v %+v", other, err, found)
			}
		}
		// What is acked just before a kill is there after it.
		if name == "ingest" {
			d.ingest = d.as("ingest", d.ingest.dir)
			for range 20 {
				send()
			}
			d.ingest.end(syscall.SIGKILL)
		}
		*p = d.as(name, (*p).dir)
		d.ingest.flushed()
		timetest.Eventually(t, "all that was acked", func() bool { return d.query.counts(key) == acked })
	}
	d.whole()
	if _, requests := d.control.usageOf("acme"); requests != int64(acked) {
		t.Errorf("%d requests are billed, %d were acked", requests, acked)
	}
}

// Without ClickHouse control and ingest are ready all the same, and what is acked is there when ClickHouse is; query is not ready, and is once it is.
func TestRolesStartWithoutClickHouse(t *testing.T) {
	engine, _, args := guardedServer(t)
	proxy := chtest.StartProxy(t, engine.Addr())
	proxy.Choose(func(*http.Request) chtest.Fault { return chtest.Refuse })
	d := &parted{replicas: &replicas{t: t, pg: pgtest.Start(t), secrets: t.TempDir()}}
	args = append(through(proxy.Addr(), engine, args), "--store", d.pg.URL(), "--secrets-dir", d.secrets)
	for role, into := range map[string]**process{"ingest": &d.ingest, "query": &d.query, "control": &d.control} {
		*into = launchAs(t, role, t.TempDir(), forRole(role, args)...)
		(*into).secrets = d.secrets
	}
	for _, p := range []*process{d.ingest, d.query, d.control} {
		timetest.Eventually(t, "a start without ClickHouse", func() (up bool) {
			var err error
			p.addr, err = readAddresses(p.dir)
			return err == nil
		})
		if says := strings.Contains(p.out.String(), "waits in the log"); says != (p == d.ingest) {
			t.Errorf("at the start is said\n%s", p.out.String())
		}
	}
	d.control.cli("tenant", "create", "acme")
	key := d.control.key("acme", "ingest", "query")
	d.ingest.sent("/v1/logs", "application/json", key, []byte(record("early")))
	timetest.Eventually(t, "the key at query", func() bool { status, _ := d.query.ask(key, "GET", "/api/v1/query/scope", ""); return status == 200 })
	ready := func(p *process) (int, string) { return p.get("http://" + p.addr.Telemetry + "/readyz") }
	if status, text := ready(d.query); status != 503 || !strings.Contains(text, "not checked yet") {
		t.Errorf("query: readyz %d %s", status, text)
	}
	if got := d.query.answered(key); !strings.HasPrefix(got, "503 ") {
		t.Errorf("a query is answered %s", got)
	}
	for _, p := range []*process{d.ingest, d.control} {
		if status, text := ready(p); status != 200 {
			t.Errorf("readyz %d %s", status, text)
		}
	}
	proxy.Choose(func(*http.Request) chtest.Fault { return chtest.Pass })
	timetest.Eventually(t, "query to be ready", func() bool { status, _ := ready(d.query); return status == 200 })
	d.ingest.flushed()
	timetest.Eventually(t, "the record", func() bool { return d.query.counts(key) == 1 })
}

// whole waits until all three see each other.
func (d *parted) whole() {
	d.t.Helper()
	timetest.Eventually(d.t, "the roles to see each other", func() bool {
		for _, p := range []*process{d.ingest, d.query, d.control} {
			if _, text := p.get("http://" + p.addr.Telemetry + "/readyz"); text != "ready\n" {
				return false
			}
		}
		return true
	})
}

// A deletion is asked for at control and waits for the log of ingest, which is down with the tenant's requests in it; it is through when that is
// back. Processes without a log are not waited for and not in the certificate.
func TestADeletionGoesThroughAllRoles(t *testing.T) {
	d := newParted(t)
	d.control.cli("tenant", "create", "gone")
	d.control.cli("tenant", "create", "stays")
	gone, stays := d.control.key("gone", "ingest"), d.control.key("stays", "ingest")
	d.ingest.sent("/v1/logs", "application/x-protobuf", gone, otlpgen.Logs(1, 50))
	d.ingest.sent("/v1/logs", "application/x-protobuf", stays, otlpgen.Logs(2, 50))
	d.ingest.flushed()
	conn := d.telemetry()
	before := rowsSum(t, conn, schema.Logs, "TenantId = '"+unmarshal[control.Tenant](t, d.control.cli("tenant", "show", "stays", "--json")).ID+"'")
	d.ingest.end(syscall.SIGKILL)
	d.control.cli("tenant", "disable", "gone")
	d.control.cli("tenant", "delete", "gone", "--yes", "--wait=false")
	show := func() control.Deletion {
		return unmarshal[control.Deletion](t, d.control.cli("tenant", "deletion", "gone", "--json"))
	}
	timetest.Eventually(t, "the deletion to wait", func() bool { return strings.Contains(show().Doing, "1 of 1 logs") })
	if x := show(); x.Step != "logs" || x.EndedAt != nil {
		t.Errorf("the deletion goes on without the log: %+v", x)
	}
	d.ingest = d.as("ingest", d.ingest.dir)
	var last control.Deletion
	timetest.Eventually(t, "the deletion to end", func() bool { last = show(); return last.EndedAt != nil })
	c := last.Certificate
	if c == nil || c.SHA256 != c.Sum() || len(c.Away) != 0 || len(c.Logs) != 1 || c.Logs[d.logOf(d.ingest)].At.IsZero() {
		t.Fatalf("certificate %+v", c)
	}
	if n := scanOne[uint64](t, conn, "SELECT count() FROM "+schema.Logs+" WHERE TenantId = '"+last.TenantID+"'"); n != 0 {
		t.Errorf("%d rows are left", n)
	}
	if after := rowsSum(t, conn, schema.Logs, "TenantId = '"+unmarshal[control.Tenant](t, d.control.cli("tenant", "show", "stays", "--json")).ID+"'"); after != before {
		t.Errorf("the neighbour has %s, had %s", after, before)
	}
}
