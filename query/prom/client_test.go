package prom

import (
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/api"
	v1 "github.com/prometheus/client_golang/api/prometheus/v1"
	"github.com/prometheus/common/model"

	"github.com/headgate-io/headgate/internal/chtest"
	"github.com/headgate-io/headgate/query"
)

// noon is when the tests' points end.
var noon = time.Date(2025, 3, 4, 12, 0, 0, 0, time.UTC)

// serve starts the API on d for callers who may read tenants.
func (d *database) serve(t testing.TB, opts Options, tenants ...string) *httptest.Server {
	t.Helper()
	scope := chtest.Scope(t, tenants...)
	opts.Authenticate = func(*http.Request) (query.Caller, error) { return query.Caller{Scope: scope, Key: "k"}, nil }
	if opts.Now == nil {
		opts.Now = func() time.Time { return noon }
	}
	srv := httptest.NewServer(NewHandler(d.reader, opts))
	t.Cleanup(srv.Close)
	return srv
}

func (d *database) client(t testing.TB, opts Options, tenants ...string) v1.API {
	t.Helper()
	c, err := api.NewClient(api.Config{Address: d.serve(t, opts, tenants...).URL + Prefix})
	if err != nil {
		t.Fatal(err)
	}
	return v1.NewAPI(c)
}

// shop is a resource of a tenant.
func shop(tenant string) resource {
	return resource{tenant: tenant, scope: "lib", version: "1.2", attributes: map[string]string{
		"service.name": "cart", "service.namespace": "shop", "service.instance.id": "cart-1", "host.name": "h1", "tenant.id": tenant,
	}}
}

// fill sends points of each kind, one a minute in the hour before noon.
func (d *database) fill(tenants ...string) {
	var points []sent
	for _, tenant := range tenants {
		for i := range 60 {
			at := noon.Add(time.Duration(i-59) * time.Minute).UnixNano()
			p := sent{resource: shop(tenant), nanos: at, start: noon.Add(-time.Hour).UnixNano(), attributes: map[string]string{"http.route": "/cart"}}
			gauge, sum, delta, hist, exp, summary := p, p, p, p, p, p
			gauge.metric, gauge.value = metric{name: "memory.usage", kind: kindGauge, unit: "By"}, float64(i)
			gauge.description = "How much."
			sum.metric, sum.value = metric{name: "http.requests", kind: kindSum, unit: "1", temporality: 2, monotonic: true}, float64(60*i)
			sum.exemplars = []exemplarSent{{at, 1, "4bf92f3577b34da6a3ce929d0e0e4736", map[string]string{"user": "u"}}}
			delta.metric, delta.value = metric{name: "sent", kind: kindSum, unit: "By", temporality: 1, monotonic: true}, 60
			delta.start = at - int64(time.Minute)
			hist.metric, hist.count, hist.sum = metric{name: "http.server.duration", kind: kindHistogram, unit: "s", temporality: 2}, uint64(4*i), float64(i)
			hist.bounds, hist.buckets = []float64{0.5, 1}, []uint64{uint64(i), uint64(2 * i), uint64(i)}
			hist.exemplars = []exemplarSent{{at, 0.7, "4bf92f3577b34da6a3ce929d0e0e4736", nil}}
			exp.metric, exp.count, exp.sum = metric{name: "size", kind: kindExpHistogram, unit: "By", temporality: 2}, uint64(3*i), float64(5*i)
			exp.exp = expPoint{scale: 0, positive: expBuckets{0, []uint64{uint64(i), uint64(2 * i)}}}
			summary.metric, summary.count, summary.sum = metric{name: "gc", kind: kindSummary, unit: "s"}, uint64(i), float64(i)
			summary.bounds, summary.values = []float64{0.5, 1}, []float64{1, 2}
			points = append(points, gauge, sum, delta, hist, exp, summary)
		}
	}
	d.send(points...)
}

const base = `http_route="/cart", instance="cart-1", job="shop/cart", otel_scope_name="lib", otel_scope_version="1.2"`

// TestEachEndpointAnswersAsTheClientExpects drives the API with the client of Prometheus' authors.
func TestEachEndpointAnswersAsTheClientExpects(t *testing.T) {
	d := newDatabase(t)
	d.fill("a")
	c := d.client(t, Options{}, "a")
	start := noon.Add(-time.Hour)
	ctx := t.Context()

	for text, want := range map[string]string{
		`memory_usage_bytes`:                                                    `memory_usage_bytes{` + base + `} => 59 @[1741089600]`,
		`rate(http_requests_total[5m])`:                                         `{` + base + `} => 1 @[1741089600]`,
		`increase(sent_bytes_total[10m])`:                                       `{` + base + `} => 600 @[1741089600]`,
		`http_server_duration_seconds_bucket{le="1"}`:                           `http_server_duration_seconds_bucket{http_route="/cart", instance="cart-1", job="shop/cart", le="1", otel_scope_name="lib", otel_scope_version="1.2"} => 177 @[1741089600]`,
		`histogram_quantile(0.5, http_server_duration_seconds_bucket)`:          `{` + base + `} => 0.75 @[1741089600]`,
		`http_server_duration_seconds_sum / http_server_duration_seconds_count`: `{` + base + `} => 0.25 @[1741089600]`,
		`histogram_count(size_bytes)`:                                           `{` + base + `} => 177 @[1741089600]`,
		`gc_seconds{quantile="1"}`:                                              `gc_seconds{` + base + `, quantile="1"} => 2 @[1741089600]`,
		`gc_seconds_count`:                                                      `gc_seconds_count{` + base + `} => 59 @[1741089600]`,
		`target_info`:                                                           `target_info{host_name="h1", instance="cart-1", job="shop/cart"} => 1 @[1741089600]`,
		`sum by (host_name) (memory_usage_bytes * on (job, instance) group_left(host_name) target_info)`: `{host_name="h1"} => 59 @[1741089600]`,
		`{"memory_usage_bytes", job=~"shop/.+", http_route!~"/x.*"} offset 1m`:                           `memory_usage_bytes{` + base + `} => 58 @[1741089600]`,
		`count({job="shop/cart"})`: `{} => 14 @[1741089600]`,
	} {
		v, warnings, infos, err := c.Query(ctx, text, noon)
		if err != nil || len(warnings)+len(infos) > 0 || v.String() != want {
			t.Errorf("%s = %v, %v, %v, want %s", text, v, warnings, err, want)
		}
	}

	v, _, _, err := c.QueryRange(ctx, `sum(memory_usage_bytes)`, v1.Range{Start: start.Add(time.Minute), End: noon, Step: 30 * time.Minute})
	if m, ok := v.(model.Matrix); err != nil || !ok || len(m) != 1 || len(m[0].Values) != 2 || m[0].Values[0].Value != 0 || m[0].Values[1].Value != 30 {
		t.Errorf("range: %v, %v", v, err)
	}
	names, _, _, err := c.LabelNames(ctx, nil, start, noon)
	wantNames := model.LabelNames{"__name__", "host_name", "http_route", "instance", "job", "le", "otel_scope_name", "otel_scope_version", "quantile"}
	if err != nil || !slices.Equal(names, wantNames) {
		t.Errorf("label names %v, %v, want %v", names, err, wantNames)
	}
	for label, want := range map[string]string{
		"__name__": "gc_seconds gc_seconds_count gc_seconds_sum http_requests_total http_server_duration_seconds_bucket http_server_duration_seconds_count " +
			"http_server_duration_seconds_sum memory_usage_bytes sent_bytes_total size_bytes target_info",
		"le": "+Inf 0.5 1", "quantile": "0.5 1", "job": "shop/cart", "host_name": "h1", "nothing": "",
	} {
		values, _, _, err := c.LabelValues(ctx, label, nil, start, noon)
		got := []string{}
		for _, v := range values {
			got = append(got, string(v))
		}
		if s := strings.Join(got, " "); err != nil || s != want {
			t.Errorf("values of %s = %s, %v, want %s", label, s, err, want)
		}
	}
	series, _, _, err := c.Series(ctx, []string{`{__name__=~"memory.*"}`, `gc_seconds`}, start, noon)
	if err != nil || len(series) != 3 {
		t.Errorf("series %v, %v", series, err)
	}
	meta, err := c.Metadata(ctx, "", "")
	if err != nil || len(meta) != 6 || meta["memory_usage_bytes"][0] != (v1.Metadata{Type: "gauge", Help: "How much.", Unit: "bytes"}) || meta["http_requests_total"][0].Type != "counter" {
		t.Errorf("metadata %v, %v", meta, err)
	}
	ex, err := c.QueryExemplars(ctx, `rate(http_requests_total[1m]) + http_server_duration_seconds_bucket`, start, noon)
	if err != nil || len(ex) != 2 || len(ex[0].Exemplars) != 60 || ex[0].Exemplars[0].Labels["trace_id"] != "4bf92f3577b34da6a3ce929d0e0e4736" || ex[1].SeriesLabels["le"] != "1" && ex[0].SeriesLabels["le"] != "1" {
		t.Errorf("exemplars %v, %v", ex, err)
	}
	if b, err := c.Buildinfo(ctx); err != nil || b.Version != engineVersion {
		t.Errorf("build info %v, %v", b, err)
	}
	if s, err := c.FormatQuery(ctx, `sum(up{a="b"})by(c)`); err != nil || s != `"sum by (c) (up{a=\"b\"})"` {
		t.Errorf("formatted %q, %v", s, err)
	}
	if r, err := c.Rules(ctx, nil); err != nil || len(r.Groups) != 0 {
		t.Errorf("rules %v, %v", r, err)
	}
	if a, err := c.Alerts(ctx); err != nil || len(a.Alerts) != 0 {
		t.Errorf("alerts %v, %v", a, err)
	}
	if _, err := c.Config(ctx); err == nil || !strings.Contains(err.Error(), "404") {
		t.Errorf("config: %v", err)
	}
	for text, want := range map[string]v1.ErrorType{`up{`: v1.ErrBadData, `sum(memory_usage_bytes, 1)`: v1.ErrBadData, `memory_usage_bytes * on () group_left () {job="shop/cart"}`: v1.ErrExec} {
		_, _, _, err := c.Query(ctx, text, noon)
		if e, ok := err.(*v1.Error); !ok || e.Type != want {
			t.Errorf("%s: %v, want %s", text, err, want)
		}
	}
}
