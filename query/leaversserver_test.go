package query_test

import (
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/ClickHouse/clickhouse-go/v2/lib/driver"
	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"

	"github.com/headgate-io/headgate/internal/chtest"
	"github.com/headgate-io/headgate/query"
	"github.com/headgate-io/headgate/query/jaeger"
	"github.com/headgate-io/headgate/query/prom"
)

// parlour is a server of all interfaces on a store with two tenants' rows.
type parlour struct {
	t      *testing.T
	name   string
	writer driver.Conn
	conn   driver.Conn
	reader *query.Reader
	srv    *httptest.Server
	client *http.Client

	connections atomic.Int64
	mu          sync.Mutex
	count       map[string]int // guarded by mu
}

const atOnce = 4 // connections of all clients

func (p *parlour) open() {
	reg := prometheus.NewRegistry()
	p.conn = chtest.Start(p.t).OpenReader(p.t, p.name)
	tight := query.Limits{MaxExecution: 20 * time.Second, MaxThreads: 1, ConcurrentPerTenant: 3, HeavyPerTenant: 2, MaxWait: time.Second}
	little, brief := tight, tight
	little.MaxMemoryBytes, brief.MaxExecution = 1000, 10*time.Millisecond
	tight.Concurrent = 5
	p.reader = query.NewReader(p.conn, query.ReaderOptions{
		Limits: tight, Tiers: map[string]query.Limits{"little": little, "brief": brief}, Tier: tierOf, CacheBytes: 4 << 20, Metrics: reg,
	})
	authenticate := func(r *http.Request) (query.Caller, error) {
		return query.Caller{Scope: chtest.Scope(p.t, r.Header.Get("Owner")), Key: "k"}, nil
	}
	now := func() time.Time { return hourStart.Add(time.Hour) }
	mux := http.NewServeMux()
	mux.Handle("/api/v1/query", query.NewHandler(p.reader, query.HandlerOptions{Authenticate: authenticate, Now: now}))
	mux.Handle(prom.Prefix+"/", prom.NewHandler(p.reader, prom.Options{Authenticate: authenticate, Now: now}))
	mux.Handle(jaeger.Prefix, jaeger.New(p.reader, jaeger.Options{Authenticate: authenticate, Now: now}))
	p.srv = httptest.NewUnstartedServer(mux)
	p.srv.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, slog.LevelError)
	p.srv.Start()
	tr := &http.Transport{MaxConnsPerHost: atOnce, MaxIdleConnsPerHost: atOnce, DisableCompression: true}
	p.client = &http.Client{Transport: counting{tr, &p.connections}, Timeout: time.Minute}
	p.t.Cleanup(p.close)
	p.t.Cleanup(func() { p.balanced(reg) })
}

func (p *parlour) close() {
	p.client.CloseIdleConnections()
	p.srv.Close()
	_ = p.conn.Close()
}

// balanced checks that as many queries were timed as got a place, by the metrics that operators see.
func (p *parlour) balanced(reg *prometheus.Registry) {
	families, err := reg.Gather()
	if err != nil {
		p.t.Fatal(err)
	}
	counted := map[string]uint64{}
	for _, f := range families {
		for _, m := range f.GetMetric() {
			if f.GetType() == dto.MetricType_HISTOGRAM {
				counted[f.GetName()] += m.GetHistogram().GetSampleCount()
			}
		}
	}
	if n := counted["headgate_query_duration_seconds"]; n == 0 || n != counted["headgate_query_queue_duration_seconds"] {
		p.t.Errorf("counted %v", counted)
	}
}

func (p *parlour) note(what string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.count[what]++
}

// missing is a way to end that nobody took yet, "" for none.
func (p *parlour) missing() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, kind := range []string{"whole", "left before the headers", "left in the body", "refused", "reader whole", "reader left"} {
		if p.count[kind] == 0 {
			return kind
		}
	}
	return ""
}

func (p *parlour) told() string { return strings.TrimPrefix(fmt.Sprint(p.count), "map") }
