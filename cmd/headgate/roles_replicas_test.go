package main

import (
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/headgate-io/headgate/control"
	"github.com/headgate-io/headgate/internal/asktest"
	"github.com/headgate-io/headgate/internal/otlpgen"
	"github.com/headgate-io/headgate/internal/timetest"
	"github.com/headgate-io/headgate/metering"
)

// parted is a headgate in three processes.
type parted struct {
	*replicas
	ingest, query, control *process
}

func newParted(t *testing.T) *parted {
	d := &parted{replicas: newReplicas(t)}
	d.control = d.as("control", t.TempDir())
	d.ingest = d.as("ingest", t.TempDir())
	d.query = d.as("query", t.TempDir())
	return d
}

// as starts a process of a role.
func (d *parted) as(role, dir string) *process {
	d.t.Helper()
	p := serveAs(d.t, role, dir, append(forRole(role, d.args), "--secrets-dir", d.secrets)...)
	p.secrets = d.secrets
	return p
}

// forRole are args without what the role has no use for: a reader is not told of the account that writes.
func forRole(role string, args []string) []string {
	out := slices.Clone(args)
	if i := slices.Index(out, "--clickhouse"); i >= 0 && role == "query" {
		out = slices.Delete(out, i, i+2)
	}
	return out
}

// ask sends a request to --api, with a credential if that is not "", and returns the status and the body.
func (p *process) ask(credential, method, path, body string) (int, string) {
	p.t.Helper()
	resp, text := asktest.Do(p.t, method, "http://"+p.addr.API+path, body, asktest.Bearer(credential))
	return resp.StatusCode, text
}

// sent waits until a request of this kind is acked: a key made elsewhere is known within a second.
func (p *process) sent(path, contentType, key string, body []byte) {
	p.t.Helper()
	timetest.Eventually(p.t, "an ack", func() bool {
		status, _, err := p.post(p.t.Context(), path, contentType, key, body)
		return err == nil && status == http.StatusOK
	})
}

func (p *process) counts(key string) int {
	p.t.Helper()
	return unmarshal[struct{ Count int }](p.t, p.cli("query", "--key", key, "--format", "ndjson", "logs | count")).Count
}

// Three processes together are what one is: the tour through the product, each stop at the process whose it is.
func TestThreeRolesAreOneHeadgate(t *testing.T) {
	d := newParted(t)
	d.control.cli("tenant", "create", "acme", "--daily-bytes", "10MiB")
	d.control.cli("tenant", "create", "globex")
	made := unmarshal[struct{ ID, Key string }](t, d.control.cli("key", "create", "--tenant", "acme", "--scope", "ingest", "--scope", "query", "--json"))
	acme, globex := made.Key, d.control.key("globex", "ingest", "query")
	const trace = "0af7651916cd43dd8448eb211c80319c"
	d.ingest.sent("/v1/logs", "application/json", acme, []byte(record("acme's")))
	d.ingest.sent("/v1/logs", "application/json", globex, []byte(record("globex's")))
	d.ingest.sent("/v1/traces", "application/json", acme, []byte(spanOf(trace, "checkout")))
	d.ingest.sent("/v1/metrics", "application/x-protobuf", acme, otlpgen.Metrics(1, 50))
	d.ingest.flushed()

	timetest.Eventually(t, "the key at query", func() bool { status, _ := d.query.ask(acme, "GET", "/api/v1/query/scope", ""); return status == 200 })
	if n := d.query.counts(acme); n != 1 {
		t.Errorf("acme counts %d logs, want 1", n)
	}
	if status, text := d.query.ask(acme, "GET", "/prometheus/api/v1/label/__name__/values", ""); status != 200 || len(unmarshal[struct{ Data []string }](t, text).Data) == 0 {
		t.Errorf("metrics: %d %s", status, text)
	}
	if status, text := d.query.ask(acme, "GET", "/jaeger/api/traces/"+trace, ""); status != 200 || !strings.Contains(text, "checkout") {
		t.Errorf("the trace: %d %s", status, text)
	}
	if status, text := d.query.ask(globex, "GET", "/jaeger/api/traces/"+trace, ""); status != 404 {
		t.Errorf("another's trace: %d %s", status, text)
	}
	ann := d.control.enter("acme", "ann@example.com", "root-admin")
	timetest.Eventually(t, "the session at query", func() bool { status, _ := d.query.ask(ann, "GET", "/api/v1/saved-queries", ""); return status == 200 })
	saved := unmarshal[struct{ ID string }](t, d.query.with(ann, "POST", "/api/v1/saved-queries", `{"name":"Count","language":"oql","query":"logs | count"}`))
	if text := d.query.with(ann, "POST", "/api/v1/saved-queries/"+saved.ID+"/run", `{"format":"ndjson"}`); unmarshal[struct{ Count int }](t, text).Count != 1 {
		t.Errorf("the saved query answers %s", text)
	}
	rows := unmarshal[metering.Usage](t, d.control.cli("usage", "--tenant", "acme", "--json", "--group", "signal")).Rows
	if len(rows) != 3 {
		t.Errorf("usage of acme: %+v", rows)
	}
	if out := d.control.cli("tenant", "show", "acme"); !strings.Contains(out, "10MiB") {
		t.Errorf("acme: %s", out)
	}
	billed, _ := d.control.usageOf("acme")
	d.usedUp(acme, billed)
	if out := d.control.cli("usage", "replicas", "--json"); !strings.Contains(out, d.logOf(d.ingest)) || strings.Contains(out, d.logOf(d.control)) {
		t.Errorf("logs that hold the seal up: %s", out)
	}

	d.control.cli("usage", "verify")
	d.control.cli("audit", "verify")
	d.control.cli("tenant", "export", "acme", "--out", filepath.Join(t.TempDir(), "export"))

	d.control.cli("key", "revoke", made.ID)
	timetest.Eventually(t, "the revocation", func() bool {
		status, _, err := d.ingest.post(t.Context(), "/v1/logs", "application/json", acme, []byte(record("late")))
		return err == nil && status == http.StatusUnauthorized
	})
	timetest.Eventually(t, "the revocation at query", func() bool { status, _ := d.query.ask(acme, "GET", "/api/v1/query/scope", ""); return status == 401 })
	for _, p := range []*process{d.ingest, d.query, d.control} {
		if err := p.end(syscall.SIGTERM); err != nil {
			t.Errorf("serve ended with %v\n%s", err, p.out.String())
		}
		if _, err := os.Stat(filepath.Join(p.dir, addressesFile)); !os.IsNotExist(err) {
			t.Errorf("addresses.json after the end: %v", err)
		}
		if p == d.ingest { // with nothing in its log
			if left := unmarshal[control.Replicas](t, d.control.cli("usage", "replicas", "--json")).Replicas; len(left) != 0 {
				t.Errorf("after the end of ingest hours wait for %+v", left)
			}
			timetest.Eventually(t, "that ingest is missing to be said", func() bool {
				_, text := d.control.get("http://" + d.control.addr.Telemetry + "/readyz")
				return strings.Contains(text, "no process has the role ingest")
			})
		}
	}
}

// usedUp waits until control says what is used of a key's tenant's day: to the byte, once leases that are not used have been returned.
func (d *parted) usedUp(key string, billed int64) {
	d.t.Helper()
	var last string
	timetest.Eventually(d.t, "the use of the limit at control", func() bool {
		var status int
		status, last = d.control.ask(key, "GET", "/api/v1/limits", "")
		if status != 200 {
			return false
		}
		l := unmarshal[control.Limits](d.t, last).Limits
		return len(l) == 1 && l[0].Used == billed && l[0].Remaining == l[0].Limit-billed
	})
}

func (d *parted) logOf(p *process) string {
	d.t.Helper()
	raw, err := os.ReadFile(filepath.Join(p.dir, replicaFile))
	if err != nil {
		d.t.Fatal(err)
	}
	return strings.TrimSpace(string(raw))
}

// A limit is held to the byte, and what it refuses is told at control.
func TestALimitHoldsAcrossRoles(t *testing.T) {
	d := newParted(t)
	d.control.cli("tenant", "create", "acme")
	key := d.control.key("acme", "ingest", "usage")
	body := otlpgen.Logs(1, 20)
	d.ingest.sent("/v1/logs", "application/x-protobuf", key, body)
	d.ingest.flushed()
	one, _ := d.control.usageOf("acme")
	d.control.cli("tenant", "set", "acme", "--daily-bytes", fmt.Sprint(10*one))
	acked := 1
	timetest.Eventually(t, "the limit", func() bool {
		status, text, err := d.ingest.post(t.Context(), "/v1/logs", "application/x-protobuf", key, otlpgen.Logs(uint64(1+acked), 20))
		if err != nil || status != 200 && status != 429 {
			t.Fatalf("%d %s %v", status, text, err)
		}
		if status == 200 {
			acked++
		}
		return status == 429
	})
	d.ingest.flushed()
	billed, requests := d.control.usageOf("acme")
	if billed > 10*one || requests != int64(acked) {
		t.Errorf("%d bytes of %d requests are billed, the limit is %d, acked were %d", billed, requests, 10*one, acked)
	}
	d.usedUp(key, billed)
	d.control.cli("tenant", "set", "acme", "--limit", "requests-per-second=1000")
	timetest.Eventually(t, "what control knows of the limits", func() bool {
		l := unmarshal[control.Limits](t, d.control.with(key, "GET", "/api/v1/limits", "")).Limits
		return len(l) == 2 && l[0].PerSecond > 0 && !l[0].UseUnknown && l[1].Limit == 1000 && l[1].UseUnknown
	})
	timetest.Eventually(t, "the refusal", func() bool {
		return strings.Contains(d.control.cli("decisions", "--tenant", "acme"), "limit-daily-bytes")
	})
	timetest.Eventually(t, "the alert", func() bool { return strings.Contains(d.control.cli("alerts", "--tenant", "acme"), "80") })
}
