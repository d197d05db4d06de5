package prom

import (
	"encoding/json"
	"fmt"
	"maps"
	"math"
	"math/rand/v2"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/prometheus/promql"
	"github.com/prometheus/prometheus/promql/promqltest"
	"github.com/prometheus/prometheus/storage"

	"github.com/headgate-io/headgate/internal/asktest"
)

// meant are series for which selectors are made, as the label values of each metric.
var meant = []string{"temperature", "served", "load"}

// load writes the series of meant, 24 of them, as Prometheus's load command: two hours, with gaps and resets.
func load() string {
	r := rand.New(rand.NewPCG(8, 8))
	var b strings.Builder
	b.WriteString("load 30s\n")
	for _, name := range meant {
		for i := range 8 {
			fmt.Fprintf(&b, "  %s{room=\"r%d\", floor=\"%d\", host=\"h-%d\"}", name, i, i%2, i%3)
			v := r.IntN(100)
			for range 240 {
				switch {
				case r.IntN(12) == 0:
					b.WriteString(" _")
					continue
				case name != "served":
					v = r.IntN(200) - 50
				case r.IntN(60) == 0:
					v = 0 // a restart
				default:
					v += r.IntN(20)
				}
				fmt.Fprintf(&b, " %d", v)
			}
			b.WriteString("\n")
		}
	}
	return b.String()
}

// generateMeant is an expression whose selectors are made of labels that a series has.
func generateMeant(g generator, depth int) string {
	i := g.IntN(8)
	has := map[string]string{"room": fmt.Sprint("r", i), "floor": fmt.Sprint(i % 2), "host": fmt.Sprint("h-", i%3)}
	var matchers []string
	for range g.IntN(3) {
		label := g.pick("room", "floor", "host")
		matchers = append(matchers, label+g.pick(`="`+has[label]+`"`, `=~"`+has[label]+`|x"`, `!="x"`, `!~"x.*"`, `=~".+"`, `!~"h-[12]"`))
	}
	selector := g.pick(meant...) + "{" + strings.Join(matchers, ",") + "}"
	if depth == 0 {
		return selector + g.pick("", "", " offset 3m")
	}
	inner := generateMeant(g, depth-1)
	switch g.IntN(7) {
	case 0:
		return g.pick("sum", "avg", "max", "min", "count", "stddev", "group") + g.pick("", " by (floor)", " without (room)") + "(" + inner + ")"
	case 1, 2:
		return g.pick("rate", "increase", "delta", "avg_over_time", "max_over_time", "sum_over_time", "count_over_time", "last_over_time", "changes", "resets") + "(" + selector + g.pick("[2m]", "[5m]", "[17m]") + g.pick("", " offset 2m") + ")"
	case 3:
		return "sum(" + g.pick("topk", "bottomk") + "(2, " + inner + "))" // which of equal ones is kept is left open
	case 4:
		return "(" + inner + ") " + g.pick("+", "-", "*", ">", "or", "and", "unless", "== bool") + " on (room) group_left " + "(" + generateMeant(g, 0) + ")"
	case 5:
		return "max_over_time((" + inner + ")[10m:1m])"
	default:
		return g.pick("abs", "ceil", "-", "sort") + "(" + inner + ")"
	}
}

// valuesOf are the series of an answer: the values by time, by the labels in their order.
type valuesOf map[string]map[float64]float64

func (a valuesOf) put(labels map[string]string, at, v float64) {
	key := ""
	for _, name := range slices.Sorted(maps.Keys(labels)) {
		key += name + "=" + labels[name] + ","
	}
	if a[key] == nil {
		a[key] = map[float64]float64{}
	}
	a[key][at] = v
}

func (a valuesOf) equal(b valuesOf) bool {
	return maps.EqualFunc(a, b, func(x, y map[float64]float64) bool {
		return maps.EqualFunc(x, y, func(v, w float64) bool {
			return v == w || math.IsNaN(v) && math.IsNaN(w) || math.Abs(v-w) <= 1e-9*max(math.Abs(v), math.Abs(w))
		})
	})
}

// answered are the values of an answer of the API.
func answered(t *testing.T, body string) valuesOf {
	t.Helper()
	type sample [2]any
	var doc struct {
		Data struct {
			Result []struct {
				Metric map[string]string
				Value  *sample
				Values []sample
			}
		}
	}
	if err := json.Unmarshal([]byte(body), &doc); err != nil {
		t.Fatalf("%.500s: %v", body, err)
	}
	out := valuesOf{}
	for _, s := range doc.Data.Result {
		if s.Value != nil {
			s.Values = append(s.Values, *s.Value)
		}
		for _, p := range s.Values {
			v, err := strconv.ParseFloat(p[1].(string), 64)
			if err != nil {
				t.Fatal(err)
			}
			out.put(s.Metric, p[0].(float64), v)
		}
	}
	return out
}

// evaluated are the values of a result of Prometheus's engine.
func evaluated(t *testing.T, res *promql.Result) valuesOf {
	t.Helper()
	out := valuesOf{}
	switch v := res.Value.(type) {
	case promql.Vector:
		for _, s := range v {
			out.put(s.Metric.Map(), float64(s.T)/1000, s.F)
		}
	case promql.Matrix:
		for _, s := range v {
			for _, p := range s.Floats {
				out.put(s.Metric.Map(), float64(p.T)/1000, p.F)
			}
		}
	default:
		t.Fatalf("a %T", v)
	}
	return out
}

// TestExpressionsMeanWhatTheyMeanToPrometheus asks the API for generated expressions and compares the answers with those of
// Prometheus's engine on Prometheus's own storage with the same samples. Selectors are made of labels that are there, so that
// most answers say something. Another tenant's samples are beside them.
func TestExpressionsMeanWhatTheyMeanToPrometheus(t *testing.T) {
	d, engine := newDatabase(t), promqltest.NewTestEngine(t, false, 0, promqltest.DefaultMaxSamplesPerQuery)
	ours := &testStorage{database: d, tenant: "a", read: map[string][]storage.Series{}, lost: map[string]bool{}}
	theirs := promqltest.LoadedStorage(t, load())
	promqltest.RunTestWithStorage(t, load(), engine, func(testing.TB) storage.Storage { return ours })
	ours.tenant = "b"
	promqltest.RunTestWithStorage(t, strings.ReplaceAll(load(), " 1", " 9"), engine, func(testing.TB) storage.Storage { return ours })
	srv := d.serve(t, Options{Names: noTranslation}, "a")
	n := asktest.Seeds(t, 150)
	var mu sync.Mutex // of the tallies
	said, failed := 0, 0
	asktest.Each(t, n, func(t *testing.T, seed uint64) {
		g := generator{rand.New(rand.NewPCG(seed, 6))}
		text := generateMeant(g, 2)
		end := time.Unix(int64(3600+30*g.IntN(120)+g.IntN(30)), 0).UTC()
		start := end.Add(-time.Duration(g.IntN(40)) * time.Minute)
		var q promql.Query
		var err error
		path, params := "/api/v1/query", url.Values{"query": {text}, "time": {fmt.Sprint(end.Unix())}}
		if seed%2 == 0 {
			q, err = engine.NewInstantQuery(t.Context(), theirs, nil, text, end)
		} else {
			path, params = "/api/v1/query_range", url.Values{"query": {text}, "start": {fmt.Sprint(start.Unix())}, "end": {fmt.Sprint(end.Unix())}, "step": {"47"}}
			q, err = engine.NewRangeQuery(t.Context(), theirs, nil, text, start, end, 47*time.Second)
		}
		var want valuesOf
		if err == nil {
			defer q.Close()
			res := q.Exec(t.Context())
			if err = res.Err; err == nil {
				want = evaluated(t, res)
			}
		}
		got := ask(t, srv, http.MethodGet, path, params)
		mu.Lock()
		defer mu.Unlock()
		switch {
		case err != nil:
			failed++
			if got.status == http.StatusOK {
				t.Errorf("%s %v: %v, want the error %v", path, params, got, err)
			}
		case got.status != http.StatusOK || !answered(t, got.body).equal(want):
			t.Errorf("%s %v\n got %v\nwant %.1000v", path, params, got, want)
		case len(want) > 0:
			said++
		}
	})
	t.Logf("%d of %d answers say something, %d are errors", said, n, failed)
	if said < int(n)*6/10 {
		t.Errorf("too few of %d answers say something: %d", n, said)
	}
}
