package main

import (
	"context"
	"fmt"
	"net/http"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"github.com/headgate-io/headgate/control"
	"github.com/headgate-io/headgate/internal/chtest"
	"github.com/headgate-io/headgate/internal/pgtest"
	"github.com/headgate-io/headgate/internal/timetest"
)

// roleLoad is a headgate in processes by role, two of which receive, under load from tenants whose every request is known. Each sender has
// one endpoint, as an agent has, and sends what is not acked again, unchanged; askers ask for their tenant without a pause.
type roleLoad struct {
	*replicas
	engine         *chtest.Engine
	ingest         [2]*seat
	query, control *seat
	tenants        []*loaded
	from           time.Time // of the first record
	unacked        atomic.Int64
	stop           context.CancelFunc
	running        sync.WaitGroup
}

// seat is a place of a process, which keeps its directory and ports when that is killed.
type seat struct {
	role  string
	dir   string
	args  []string
	p     *process
	acked atomic.Int64
}

// loaded is a tenant, what it was acked and what it was answered.
type loaded struct {
	id, name, key string
	next          atomic.Uint64             // request number
	answered      [3]atomic.Int64           // questions, by language
	mu            sync.Mutex                // guards the fields below
	acked         map[string]map[uint64]int // records, by signal and request
	bytes         map[string]int64          // by signal
}

const (
	loadTenants = 2
	// loadPace is between two requests of a sender: the machine is to have something left for starts.
	loadPace = 25 * time.Millisecond
	// loadSpan is the time that records lie in.
	loadSpan = 2 * time.Hour
	// loadPatience is how long an answer may take, before it is asked for again.
	loadPatience = 20 * time.Second
)

func newRoleLoad(t *testing.T) *roleLoad {
	t.Helper()
	engine, _, args := guardedServer(t)
	d := &roleLoad{replicas: &replicas{t: t, pg: pgtest.Start(t), secrets: t.TempDir()}, engine: engine, from: time.Now().Add(-30 * time.Minute)}
	d.args = append(args, "--store", d.pg.URL(), "--secrets-dir", d.secrets)
	d.control = d.seat("control", "--api")
	d.query = d.seat("query", "--api")
	for i := range d.ingest {
		d.ingest[i] = d.seat("ingest", "--otlp-http", "--otlp-grpc")
		d.ingest[i].args = append(d.ingest[i].args, "--profiles")
	}
	for _, s := range d.seats() {
		d.start(s) // control is the first, and makes the secrets
	}
	for i := range loadTenants {
		tenant := &loaded{name: fmt.Sprintf("tenant%d", i), acked: map[string]map[uint64]int{}, bytes: map[string]int64{}}
		for _, s := range numberedSignals {
			tenant.acked[s.name] = map[uint64]int{}
		}
		tenant.id = unmarshal[control.Tenant](t, d.control.p.cli("tenant", "create", tenant.name, "--json")).ID
		tenant.key = d.control.p.key(tenant.name, "ingest", "query")
		d.tenants = append(d.tenants, tenant)
		d.known(tenant.key)
	}
	d.run()
	return d
}

func (d *roleLoad) seats() []*seat { return []*seat{d.control, d.query, d.ingest[0], d.ingest[1]} }

func (d *roleLoad) seat(role string, ports ...string) *seat {
	d.t.Helper()
	s := &seat{role: role, dir: d.t.TempDir(), args: forRole(role, d.args)}
	for _, flag := range append(ports, "--telemetry") {
		s.args = append(s.args, flag, freePort(d.t))
	}
	return s
}

func (d *roleLoad) start(s *seat) {
	d.t.Helper()
	s.p = serveAs(d.t, s.role, s.dir, s.args...)
	s.p.secrets = d.secrets
}

// run starts a sender for each tenant, endpoint and transport, and an asker for each tenant.
func (d *roleLoad) run() {
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Hour)
	d.stop = cancel
	d.t.Cleanup(func() { cancel(); d.running.Wait() }) // they speak of t, and may not outlive it
	for _, tenant := range d.tenants {
		for _, s := range d.ingest {
			// Addresses stay, processes do not.
			d.running.Go(func() { d.send(ctx, tenant, s, overHTTP(d.t, s.p.addr.OTLPHTTP, tenant.key)) })
			d.running.Go(func() { d.send(ctx, tenant, s, overGRPC(d.t, s.p.addr.OTLPGRPC, tenant.key)) })
		}
		api := d.query.p.addr.API
		d.running.Go(func() { d.ask(ctx, tenant, api) })
	}
}

// sending sends a request, and returns whether it has to be sent again, or what was said of it that nobody expects.
type sending func(ctx context.Context, s numberedSignal, body []byte) (again bool, refusal string)

// send sends one request after the other until ctx ends, each until it is acked.
func (d *roleLoad) send(ctx context.Context, tenant *loaded, to *seat, one sending) {
	pace := time.NewTicker(loadPace)
	defer pace.Stop()
	for ctx.Err() == nil {
		n := tenant.next.Add(1)
		s, records := numberedSignals[n%uint64(len(numberedSignals))], 1+int(n*7%11)
		body, err := s.body(tenant.name, n, d.from.Add(time.Duration(n)*time.Millisecond), records)
		if err != nil {
			d.t.Error(err)
			return
		}
		for { // also after the end: what was sent once must be known
			try, cancel := context.WithTimeout(context.WithoutCancel(ctx), loadPatience)
			again, refusal := one(try, s, body)
			cancel()
			if refusal != "" {
				d.t.Errorf("request %d of %s, %s: %s", n, tenant.name, s.name, refusal)
				return
			}
			if !again {
				break
			}
			if d.unacked.Add(1); d.t.Failed() {
				return
			}
			<-pace.C
		}
		tenant.mu.Lock()
		tenant.acked[s.name][n] = records
		tenant.bytes[s.name] += int64(len(body))
		tenant.mu.Unlock()
		to.acked.Add(1)
		<-pace.C
	}
}

func overHTTP(t *testing.T, addr, key string) sending {
	p := &process{t: t, addr: addresses{OTLPHTTP: addr}}
	return func(ctx context.Context, s numberedSignal, body []byte) (bool, string) {
		code, text, err := p.post(ctx, s.path, "application/x-protobuf", key, body)
		switch {
		case err != nil || code == http.StatusServiceUnavailable || code == http.StatusTooManyRequests:
			return true, ""
		case code != http.StatusOK || text != "":
			return false, fmt.Sprintf("%d %q", code, text)
		}
		return false, ""
	}
}

func overGRPC(t *testing.T, addr, key string) sending {
	soon := backoff.Config{BaseDelay: 50 * time.Millisecond, Multiplier: 1.2, MaxDelay: 300 * time.Millisecond}
	conn, err := grpc.NewClient(addr, grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithConnectParams(grpc.ConnectParams{Backoff: soon, MinConnectTimeout: loadPatience}))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	return func(ctx context.Context, s numberedSignal, body []byte) (bool, string) {
		var answer []byte
		err := conn.Invoke(metadata.AppendToOutgoingContext(ctx, "authorization", "Bearer "+key), s.method, body, &answer, grpc.ForceCodec(asItIs{}))
		switch code := status.Code(err); {
		case code == codes.Unavailable || code == codes.ResourceExhausted || code == codes.DeadlineExceeded || code == codes.Canceled:
			return true, ""
		case err != nil || len(answer) > 0:
			return false, fmt.Sprintf("%v %q", err, answer)
		}
		return false, ""
	}
}

// asItIs sends messages that are bytes already.
type asItIs struct{}

func (asItIs) Name() string                  { return "proto" }
func (asItIs) Marshal(v any) ([]byte, error) { return v.([]byte), nil }
func (asItIs) Unmarshal(b []byte, v any) error {
	*v.(*[]byte) = append([]byte(nil), b...)
	return nil
}

// known waits until a key is known everywhere: receivers tell by refusing the content.
func (d *roleLoad) known(key string) {
	d.t.Helper()
	timetest.Eventually(d.t, "a key everywhere", func() bool {
		for _, s := range d.seats() {
			if s != d.control && d.admits(s, key) != http.StatusOK {
				return false
			}
		}
		return true
	})
}

// admits is 200 where a key is let in, and else the status that it is refused with.
func (d *roleLoad) admits(s *seat, key string) int {
	d.t.Helper()
	if s.role == "query" {
		code, _ := s.p.ask(key, "GET", "/api/v1/query/scope", "")
		return code
	}
	code, _, err := s.p.post(d.t.Context(), "/v1/logs", "application/x-protobuf", key, []byte{0xff})
	if err != nil {
		d.t.Fatal(err)
	}
	if code == http.StatusBadRequest {
		return http.StatusOK
	}
	return code
}
