package main

import (
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/headgate-io/headgate/auth"
	"github.com/headgate-io/headgate/internal/pgtest"
	"github.com/headgate-io/headgate/internal/store"
	"github.com/headgate-io/headgate/internal/timetest"
	"github.com/headgate-io/headgate/metering"
)

// replicas are headgates of one PostgreSQL and one ClickHouse.
type replicas struct {
	t       *testing.T
	pg      *pgtest.Server
	secrets string
	args    []string
}

func newReplicas(t *testing.T) *replicas {
	t.Helper()
	_, _, args := guardedServer(t)
	r := &replicas{t: t, pg: pgtest.Start(t), secrets: filepath.Join(t.TempDir(), "secrets")}
	r.args = append(args, "--store", r.pg.URL())
	return r
}

func (r *replicas) serve() *process {
	r.t.Helper()
	return r.serveIn(r.t.TempDir())
}

func (r *replicas) serveIn(dir string) *process {
	r.t.Helper()
	p := serveOn(r.t, dir, append(r.args, "--secrets-dir", r.secrets)...)
	p.secrets = r.secrets
	return p
}

func (p *process) usageOf(tenant string) (bytes, requests int64) {
	p.t.Helper()
	for _, row := range unmarshal[metering.Usage](p.t, p.cli("usage", "--tenant", tenant, "--json")).Rows {
		bytes, requests = bytes+row.BilledBytes, requests+row.Requests
	}
	return bytes, requests
}

// What is made at one is in force at the other (how soon, revocation_test measures), and what both take is one tenant's usage.
func TestReplicasShareOneState(t *testing.T) {
	r := newReplicas(t)
	a := r.serve()
	b := r.serve()
	a.cli("tenant", "create", "acme")
	key := unmarshal[struct{ ID, Key string }](t, a.cli("key", "create", "--tenant", "acme", "--scope", "ingest", "--scope", "query", "--scope", "usage", "--json"))
	timetest.Eventually(t, "the key at the other replica", func() bool {
		status, _, err := b.post(t.Context(), "/v1/logs", "application/json", key.Key, []byte(record("first")))
		return err == nil && status == http.StatusOK
	})
	for range 3 {
		a.mustPost("/v1/logs", key.Key, record("a"))
		b.mustPost("/v1/logs", key.Key, record("b"))
	}
	a.flushed()
	b.flushed()
	for _, p := range []*process{a, b} {
		usage := unmarshal[metering.Usage](t, p.cli("usage", "--tenant", "acme", "--json"))
		if len(usage.Rows) != 1 || usage.Rows[0].Requests != 7 || usage.Rows[0].Records != 7 || usage.Rows[0].BilledBytes == 0 {
			t.Errorf("usage %+v", usage.Rows)
		}
		if out := p.cli("query", "--key", key.Key, "--format", "ndjson", "logs | count"); unmarshal[struct{ Count int }](t, out).Count != 7 {
			t.Errorf("count printed %s", out)
		}
	}
	b.cli("key", "revoke", key.ID)
	timetest.Eventually(t, "the revocation at the other replica", func() bool {
		status, _, err := a.post(t.Context(), "/v1/logs", "application/json", key.Key, []byte(record("late")))
		return err == nil && status == http.StatusUnauthorized
	})

	stranger := launch(t, t.TempDir(), r.args...)
	if err := <-stranger.gone; err == nil || !strings.Contains(stranger.out.String(), "copy "+auth.PepperFile+" and "+auth.OperatorFile) {
		t.Errorf("a replica without the secrets: %v\n%s", err, stranger.out.String())
	}
	stranger.gone <- nil
	if _, err := os.Stat(filepath.Join(stranger.dir, auth.PepperFile)); !os.IsNotExist(err) {
		t.Errorf("it has made itself a pepper: %v", err)
	}
	for _, p := range []*process{a, b} {
		if err := p.end(syscall.SIGTERM); err != nil {
			t.Errorf("serve ended with %v\n%s", err, p.out.String())
		}
	}
}

// PostgreSQL is stopped, then killed, under load: nothing that is known is refused, what is acked is billed once when it is
// back, and the receipts survive a headgate that is killed meanwhile.
func TestPostgresOutageRefusesAndLosesNothing(t *testing.T) {
	r := newReplicas(t)
	p := r.serve()
	p.cli("tenant", "create", "acme")
	key := p.key("acme", "ingest", "query")
	p.mustPost("/v1/logs", key, record("before"))
	p.flushed()
	one, _ := p.usageOf("acme")
	acked := int64(1)
	for _, away := range []func(){r.pg.Stop, r.pg.Kill} {
		away()
		for range 20 {
			p.mustPost("/v1/logs", key, record("during")) // 200 each, never 401
			acked++
			<-time.After(50 * time.Millisecond)
		}
		// Nobody can know this key, so nobody may say that it is none.
		status, text, err := p.post(t.Context(), "/v1/logs", "application/json", strangeKey(t), []byte(record("x")))
		if err != nil || status != http.StatusServiceUnavailable || !strings.Contains(text, auth.ErrKeysUnavailable.Code) {
			t.Errorf("a key of the outage: %d %s %v", status, text, err)
		}
		if status, text := p.get("http://" + p.addr.Telemetry + "/readyz"); status != 200 {
			t.Errorf("readyz: %d %s", status, text)
		}
		if _, text, err := p.try("tenant", "list"); err == nil || strings.Contains(text, "401") {
			t.Errorf("tenant list while PostgreSQL is away: %v %s", err, text)
		}
		if n := p.metric("headgate_storage_log_requests"); n < 20 {
			t.Errorf("the log keeps %v requests, want the 20 that are not billed", n)
		}
		r.pg.Start(t)
		p.flushed()
		timetest.Eventually(t, "unknown keys to be refused again", func() bool {
			status, _, err := p.post(t.Context(), "/v1/logs", "application/json", strangeKey(t), []byte(record("x")))
			return err == nil && status == http.StatusUnauthorized
		})
		bytes, requests := p.usageOf("acme")
		if requests != acked || bytes != acked*one {
			t.Errorf("usage of %d requests and %d bytes, want %d of %d bytes each", requests, bytes, acked, one)
		}
	}

	r.pg.Kill()
	for range 5 {
		p.mustPost("/v1/logs", key, record("before the kill"))
		acked++
	}
	p.end(syscall.SIGKILL)
	r.pg.Start(t)
	again := r.serveIn(p.dir)
	again.flushed()
	if _, requests := again.usageOf("acme"); requests != acked {
		t.Errorf("usage of %d requests, want %d", requests, acked)
	}
	if out := again.cli("query", "--key", key, "--format", "ndjson", "logs | count"); unmarshal[struct{ Count int64 }](t, out).Count != acked {
		t.Errorf("count printed %s, want %d", out, acked)
	}
}

// strangeKey is a key made this moment, of somebody else.
func strangeKey(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	db, err := store.Open(filepath.Join(dir, "state.db"))
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	d, err := auth.Open(t.Context(), db, auth.Options{Now: timeNow, Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	token, err := os.ReadFile(filepath.Join(dir, auth.OperatorFile))
	if err != nil {
		t.Fatal(err)
	}
	op, err := d.Operator(strings.TrimSpace(string(token)))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := d.Tenants().Create(t.Context(), op, auth.NewTenant{Name: "other"}); err != nil {
		t.Fatal(err)
	}
	_, text, err := d.Keys().Create(t.Context(), op, auth.NewKey{Tenant: "other", Scopes: []auth.KeyScope{auth.ScopeIngest}})
	if err != nil {
		t.Fatal(err)
	}
	return text
}

// The start fails at once and says why, instead of taking what it could not tell the sender of.
func TestStartWithoutPostgresSaysSo(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr := l.Addr().String()
	l.Close()
	p := launch(t, t.TempDir(), "--store", "postgres://headgate:hunter2@"+addr+"/state")
	err = <-p.gone
	p.gone <- err
	if text := p.out.String(); err == nil || !strings.Contains(text, addr) || !strings.Contains(text, "refused") || strings.Contains(text, "hunter2") {
		t.Errorf("serve without PostgreSQL: %v\n%s", err, text)
	}
}
