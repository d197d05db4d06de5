package prom

import (
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/headgate-io/headgate/internal/asktest"
	"github.com/headgate-io/headgate/internal/chtest"
)

// canary is in all texts of the neighbour that tenant a does not have too. It must never come out.
const canary = "canary"

// poison sends what only the neighbour of a has: names, labels, resources and exemplars with canaries, odd values, and series of
// tenant a's names with labels of their own.
func (d *database) poison() {
	var points []sent
	for i := range 60 {
		at := noon.Add(time.Duration(i-59) * time.Minute).UnixNano()
		r := shop(chtest.Neighbour)
		r.attributes["host.name"], r.attributes["service.version"] = canary, canary
		p := sent{resource: r, nanos: at + 7e6, start: at - 1e9, value: 1e12 + float64(i), description: canary, attributes: map[string]string{"http.route": "/" + canary}}
		p.exemplars = []exemplarSent{{at, 1e12, canary, map[string]string{canary: canary}}}
		for _, m := range []metric{
			{name: "memory.usage", kind: kindGauge, unit: "By"}, {name: canary, kind: kindGauge}, {name: "memory.usage", kind: kindGauge, unit: canary},
			{name: "http.requests", kind: kindSum, unit: "1", temporality: 2, monotonic: true}, {name: "level", kind: kindSum, temporality: 1},
		} {
			p.metric = m
			points = append(points, p)
			q := p
			q.resource, q.attributes = shop(chtest.Neighbour), map[string]string{"http.route": "/cart", canary: canary}
			points = append(points, q)
		}
		h := p
		h.metric, h.bounds, h.buckets, h.count = metric{name: "http.server.duration", kind: kindHistogram, unit: "s", temporality: 2}, []float64{0.125}, []uint64{1, 2}, 3
		points = append(points, h)
	}
	d.send(points...)
}

// generated is how many requests are compared.
func generated(t testing.TB) uint64 { return asktest.Seeds(t, 320) }

type reply struct {
	status int
	header string
	body   string
}

func (r reply) String() string { return fmt.Sprintf("%d %s %.1000s", r.status, r.header, r.body) }

// ask sends a request made of a path and its parameters.
func ask(t testing.TB, srv *httptest.Server, method, path string, params url.Values) reply {
	t.Helper()
	target, body, header := srv.URL+Prefix+path+"?"+params.Encode(), "", http.Header{}
	if method == http.MethodPost {
		target, body = srv.URL+Prefix+path, params.Encode()
		header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	resp, text := asktest.Do(t, method, target, body, header)
	resp.Header.Del("Date")
	return reply{resp.StatusCode, fmt.Sprint(resp.Header), text}
}

// TestAnswersDoNotDependOnOtherTenants sends generated requests to a store with one tenant's points only and to one with
// another tenant's beside them. Status, headers and body must be the same to the byte.
func TestAnswersDoNotDependOnOtherTenants(t *testing.T) {
	alone, shared := newDatabase(t), newDatabase(t)
	alone.fill("a")
	shared.fill(chtest.Neighbour, "a")
	shared.poison()
	one, two := alone.serve(t, Options{}, "a"), shared.serve(t, Options{}, "a")
	var mu sync.Mutex // of the tallies
	statuses, long := map[int]int{}, 0
	asktest.Each(t, generated(t), func(t *testing.T, seed uint64) {
		method, path, params := generate(seed)
		want, got := ask(t, one, method, path, params), ask(t, two, method, path, params)
		if want != got {
			t.Errorf("%s %s %v\n alone: %v\nshared: %v", method, path, params, want, got)
		}
		if strings.Contains(got.body+got.header, canary) && !strings.Contains(path+params.Encode(), canary) {
			t.Errorf("%s %v: canary in %v", path, params, got)
		}
		if got.status >= 500 || got.status == 429 {
			t.Errorf("%s %v: %v", path, params, got)
		}
		mu.Lock()
		defer mu.Unlock()
		statuses[got.status]++
		if len(got.body) > 150 {
			long++
		}
	})
	t.Logf("answers by status %v, %d with something in them", statuses, long)
	if n := int(generated(t)); statuses[http.StatusOK] < n*7/10 || long < n/4 {
		t.Errorf("too few of the generated requests say something: %v, %d", statuses, long)
	}
}

// generate makes a request.
func generate(seed uint64) (method, path string, params url.Values) {
	g := generator{rand.New(rand.NewPCG(seed, 1))}
	params = url.Values{}
	method = g.pick(http.MethodGet, http.MethodPost)
	end := noon.Add(-time.Duration(g.IntN(40)) * time.Minute)
	start := end.Add(-time.Duration(g.IntN(30)) * time.Minute)
	times := func() {
		if g.IntN(4) > 0 {
			params.Set("start", fmt.Sprint(start.Unix()))
			params.Set("end", end.Format(time.RFC3339))
		}
	}
	match := func(n int) {
		for range n {
			params.Add("match[]", g.selector())
		}
	}
	if g.IntN(5) == 0 {
		params.Set("limit", fmt.Sprint(g.IntN(4)))
	}
	switch g.IntN(12) {
	case 0:
		times()
		match(1 + g.IntN(2))
		return method, "/api/v1/series", params
	case 1:
		times()
		match(g.IntN(2))
		return method, "/api/v1/labels", params
	case 2:
		times()
		match(g.IntN(2))
		return http.MethodGet, "/api/v1/label/" + g.pick("__name__", "job", "le", "quantile", "http_route", "host_name", "tenant_id", "U__http_2e_route", canary) + "/values", params
	case 3:
		return http.MethodGet, "/api/v1/metadata", params
	case 4:
		times()
		params.Set("query", g.vector(2))
		return method, "/api/v1/query_exemplars", params
	case 5, 6, 7:
		params.Set("query", g.vector(3))
		params.Set("start", fmt.Sprint(start.Unix()))
		params.Set("end", fmt.Sprint(end.Unix()))
		params.Set("step", g.pick("30", "1m", "300", "7.5", "0"))
		return method, "/api/v1/query_range", params
	default:
		params.Set("query", g.vector(3))
		params.Set("time", fmt.Sprint(end.Unix()))
		return method, "/api/v1/query", params
	}
}

type generator struct{ *rand.Rand }

func (g generator) pick(of ...string) string { return of[g.IntN(len(of))] }

func (g generator) selector() string {
	name := g.pick("memory_usage_bytes", "http_requests_total", "sent_bytes_total", "http_server_duration_seconds_bucket",
		"http_server_duration_seconds_count", "size_bytes", "gc_seconds", "gc_seconds_sum", "target_info", "level", "", canary)
	var matchers []string
	if name == "" {
		matchers = append(matchers, g.pick(`__name__=~".+"`, `__name__=~".*_total|gc.*"`, `__name__!="up",job!=""`, `job=~"shop.*"`))
	}
	for range g.IntN(3) {
		label := g.pick("job", "http_route", "le", "instance", "tenant_id", "otel_scope_name", "host_name", "quantile", canary)
		matchers = append(matchers, label+g.pick("=", "!=", "=~", "!~")+strconv.Quote(g.pick("", "shop/cart", "/cart", "0.5", "1", ".*", ".+", "a|b", "b", "cart-1|cart-2", "(?i)LIB", canary, "[^x]+")))
	}
	return name + "{" + strings.Join(matchers, ",") + "}"
}

func (g generator) vector(depth int) string {
	if depth == 0 {
		return g.selector() + g.pick("", "", " offset 2m", " @ 1741089000", " offset -1m")
	}
	inner := g.vector(depth - 1)
	switch g.IntN(9) {
	case 0:
		return g.pick("sum", "avg", "max", "count", "stddev", "group") + g.pick("", " by (job)", " without (le, instance)", " by (tenant_id, http_route)") + "(" + inner + ")"
	case 1:
		return g.pick("rate", "increase", "delta", "last_over_time", "count_over_time", "changes", "max_over_time", "deriv") + "(" + g.selector() + "[" + g.pick("3m", "10m", "1h") + "])"
	case 2:
		return "topk(" + g.pick("1", "3", "scalar(count("+g.selector()+"))") + ", " + inner + ")"
	case 3:
		return "(" + inner + ") " + g.pick("+", "*", "> bool", "and", "or", "unless", "/ on (job) group_left") + " (" + g.vector(depth-1) + ")"
	case 4:
		return "histogram_quantile(0.9, " + inner + ")"
	case 5:
		return g.pick("abs", "absent", "sort_desc", "timestamp", "ceil", "histogram_count") + "(" + inner + ")"
	case 6:
		return "max_over_time((" + inner + ")[10m:2m])"
	case 7:
		return `label_replace(` + inner + `, "x", "$1", "` + g.pick("job", "tenant_id", canary) + `", "(.*)")`
	default:
		return inner
	}
}

// TestSeveralTenantsAreToldApart: the label tenant_id is there with several tenants and narrows, and only then; an attribute of
// its name does not pass for it.
func TestSeveralTenantsAreToldApart(t *testing.T) {
	d := newDatabase(t)
	d.fill("a", "b", "c")
	liar := sent{metric: metric{name: "lie", kind: kindGauge}, resource: shop("a"), nanos: noon.UnixNano(), value: 1, attributes: map[string]string{"tenant.id": "c"}}
	d.send(liar)
	for _, c := range []struct{ tenants, query, want string }{
		{"a", `count(memory_usage_bytes{tenant_id=""})`, `"1"`},
		{"a", `count(memory_usage_bytes{tenant_id="a"})`, ``},
		{"a b", `count(memory_usage_bytes)`, `"2"`},
		{"a b", `count by (tenant_id) (memory_usage_bytes{tenant_id="b"})`, `{"tenant_id":"b"},"value":[1741089600,"1"]`},
		{"a b", `count(memory_usage_bytes{tenant_id="c"})`, ``},
		{"a b", `count(memory_usage_bytes{tenant_id=~".*"})`, `"2"`},
		{"a b", `count(memory_usage_bytes{tenant_id!~"a|c"})`, `"1"`},
		{"a b", `count by (tenant_id) (lie)`, `{"tenant_id":"a"}`},
		{"a b", `lie{tenant_id="c"}`, ``},
		{"b", `lie`, ``},
	} {
		got := ask(t, d.serve(t, Options{}, strings.Fields(c.tenants)...), http.MethodPost, "/api/v1/query", url.Values{"query": {c.query}})
		if empty := strings.Contains(got.body, `"result":[]`); got.status != 200 || empty != (c.want == "") || !strings.Contains(got.body, c.want) {
			t.Errorf("%s: %s = %v, want %s", c.tenants, c.query, got, c.want)
		}
	}
}
