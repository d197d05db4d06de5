package prom

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/promql"
	"github.com/prometheus/prometheus/storage"
	"github.com/prometheus/prometheus/util/annotations"

	"github.com/headgate-io/headgate/internal/chtest"
	"github.com/headgate-io/headgate/query"
)

// memory is samples that the engine reads without any storage of ours between.
type memory []*series

func (m memory) Querier(int64, int64) (storage.Querier, error) { return m, nil }
func (memory) Close() error                                    { return nil }

func (memory) LabelValues(context.Context, string, *storage.LabelHints, ...*labels.Matcher) ([]string, annotations.Annotations, error) {
	panic("not used")
}

func (memory) LabelNames(context.Context, *storage.LabelHints, ...*labels.Matcher) ([]string, annotations.Annotations, error) {
	panic("not used")
}

func (m memory) Select(_ context.Context, _ bool, _ *storage.SelectHints, matchers ...*labels.Matcher) storage.SeriesSet {
	var list []*series
	for _, s := range m {
		if matchesAll(matchers, s.labels) {
			list = append(list, s)
		}
	}
	return newSeriesSet(list, nil)
}

// irregular returns points of a series, most of them some seconds apart: with gaps, ends, resets, and several at a time.
func irregular(r *rand.Rand, p sent, from, to time.Time) (out []sent) {
	strange := []float64{math.NaN(), math.Inf(1), math.Inf(-1), math.Copysign(0, -1), 1e308, -5}
	counter := p.kind == kindSum
	for at := from; at.Before(to); {
		p.nanos, p.absent = at.UnixNano(), r.IntN(15) == 0
		switch {
		case r.IntN(20) == 0:
			p.value = strange[r.IntN(len(strange))]
		case counter && r.IntN(10) > 0 && !math.IsNaN(p.value):
			p.value += r.Float64() * 10
		default:
			p.value = r.Float64() * 100
		}
		out = append(out, p)
		switch r.IntN(12) {
		case 0: // again at the same nanosecond
		case 1:
			at = at.Add(time.Duration(r.IntN(1_200_000)))
		case 2:
			at = at.Add(time.Duration(r.IntN(1200)) * time.Second)
		case 3: // on the edge of a window
			at = at.Truncate(time.Minute).Add(time.Minute)
		default:
			at = at.Add(time.Duration(1+r.IntN(60_000)) * time.Millisecond)
		}
	}
	return out
}

// TestSamplesBetweenStepsDoNotMatter asks random questions whose steps are far apart three times: of the engine of Prometheus with all
// samples in memory, of our storage when it reads all of them, and when it reads windows. HEADGATE_TEST_ROUNDS asks more.
func TestSamplesBetweenStepsDoNotMatter(t *testing.T) {
	rounds := 40
	if n, err := strconv.Atoi(os.Getenv("HEADGATE_TEST_ROUNDS")); err == nil {
		rounds = n
	}
	d := newDatabase(t)
	r := rand.New(rand.NewPCG(uint64(rounds), 7))
	var all []sent
	var mem memory
	for i := range 6 {
		p := sent{metric: metric{name: "g", kind: kindGauge}, resource: resource{tenant: "a"}, attributes: map[string]string{"i": fmt.Sprint(i % 3)}}
		name := "g"
		if i%2 == 1 {
			p.metric, name = metric{name: "c", kind: kindSum, temporality: 2, monotonic: true}, "c_total"
		}
		points := irregular(r, p, noon.Add(-3*time.Hour), noon)
		s := &series{labels: labels.FromStrings(model.MetricNameLabel, name, "i", fmt.Sprint(i%3))}
		for _, p := range points {
			pt := point{nanos: p.nanos, value: p.value}
			if p.absent {
				pt.value = stale
			}
			s.points = append(s.points, pt)
		}
		s.points = order(s.points, inMilli)
		mem, all = append(mem, s), append(all, points...)
	}
	for i := range 40 { // what is not a number has only the storage to compare with itself
		p := sent{resource: resource{tenant: "a"}, nanos: noon.Add(-time.Duration(i*r.IntN(300)) * time.Second).UnixNano(), absent: r.IntN(9) == 0, count: uint64(i * 5), sum: 1}
		hist, exp, delta, quantiles := p, p, p, p
		hist.metric, hist.bounds, hist.buckets = metric{name: "h", kind: kindHistogram, temporality: 2}, []float64{1, 2}, []uint64{uint64(i), uint64(i * 3), uint64(i)}
		exp.metric, exp.exp = metric{name: "e", kind: kindExpHistogram, temporality: 2}, expPoint{positive: expBuckets{0, []uint64{uint64(i * 5)}}}
		delta.metric, delta.value = metric{name: "d", kind: kindSum, temporality: 1, monotonic: true}, float64(i)
		quantiles.metric, quantiles.bounds, quantiles.values = metric{name: "q", kind: kindSummary}, []float64{.5}, []float64{float64(i)}
		all = append(all, hist, exp, delta, quantiles)
	}
	d.send(all...)

	h := NewHandler(d.reader, Options{})
	left := 0
	for range rounds {
		text, numbers := randomQuery(r)
		start := noon.Add(-time.Duration(r.IntN(10_800_000)) * time.Millisecond)
		step, back := time.Duration(1+r.IntN(2_400_000))*time.Millisecond, time.Duration(r.IntN(3)*r.IntN(400_000))*time.Millisecond
		if r.IntN(2) == 0 { // as people ask
			start, step = start.Truncate(time.Minute), step.Truncate(time.Minute)+time.Minute
		}
		run := func(q storage.Queryable) string {
			opts := promql.NewPrometheusQueryOpts(false, back)
			asked, err := h.engine.NewRangeQuery(t.Context(), q, opts, text, start, noon.Add(time.Minute), step)
			if err != nil {
				t.Fatalf("%s: %v", text, err)
			}
			defer asked.Close()
			res := asked.Exec(t.Context())
			if res.Err != nil {
				t.Fatalf("%s: %v", text, res.Err)
			}
			var b bytes.Buffer
			w := &writer{w: bufio.NewWriter(&b)}
			w.result(res.Value)
			w.flush()
			return fmt.Sprint(b.String(), res.Warnings)
		}
		expr, err := h.parser.ParseExpr(text)
		if err != nil {
			t.Fatal(err)
		}
		whole := NewStorage(d.reader, chtest.Scope(t, "a"), h.opts.Names, Limits{})
		part := NewStorage(d.reader, chtest.Scope(t, "a"), h.opts.Names, Limits{})
		part.reach = reach(expr, back)
		want, got := run(whole), run(part)
		if got != want {
			t.Errorf("%s from %v by %v, back %v:\n%s\nwith all samples:\n%s", text, start, step, back, got, want)
		}
		if numbers {
			if upstream := run(mem); want != upstream {
				t.Errorf("%s from %v by %v, back %v:\n%s\nupstream:\n%s", text, start, step, back, want, upstream)
			}
		}
		if part.samples < whole.samples {
			left++
		}
	}
	if left < rounds/8 {
		t.Errorf("samples were left out for %d of %d questions", left, rounds)
	}
}

// randomQuery returns an expression, and whether it is about numbers alone.
func randomQuery(r *rand.Rand) (text string, numbers bool) {
	pick := func(list ...string) string { return list[r.IntN(len(list))] }
	name := pick("g", "c_total", "g", "c_total", "h_bucket", "h_sum", "e", "d_total", "q")
	selector := name + pick("", `{i="1"}`, `{i!="2"}`)
	at := pick("", "", "", " offset 7m", " offset -3m", " @ 1741080000", " @ end()")
	within := fmt.Sprintf("%s[%ds]%s", selector, 1+r.IntN(900), at)
	if r.IntN(8) == 0 {
		within = fmt.Sprintf("%s[10m:%ds]%s", selector, 20+r.IntN(90), at)
	}
	text = pick(
		selector+at, "sum("+selector+at+")", "timestamp("+selector+at+")", "absent("+selector+at+")",
		"rate("+within+")", "increase("+within+")", "delta("+within+")", "irate("+within+")", "changes("+within+")", "resets("+within+")",
		"avg_over_time("+within+")", "max_over_time("+within+")", "count_over_time("+within+")", "last_over_time("+within+")", "quantile_over_time(0.4, "+within+")",
		"deriv("+within+")", "present_over_time("+within+")", "sum(rate("+within+")) / count("+selector+")", "absent_over_time("+within+")",
	)
	return text, strings.HasPrefix(name, "g") || strings.HasPrefix(name, "c")
}

// TestWindowsEndAtSteps: which samples are left out follows from the steps, the range and the offset.
func TestWindowsEndAtSteps(t *testing.T) {
	s := &Storage{reach: 5 * time.Minute}
	for name, c := range map[string]struct {
		hints storage.SelectHints
		want  query.Windows
	}{
		"an instant":         {storage.SelectHints{Start: 1, End: 300_000}, query.Windows{}},
		"without a range":    {storage.SelectHints{Start: 1, End: 900_000, Step: 600_000}, query.Windows{At: 300_000, Every: 600_000, Length: 300_000}},
		"with a range":       {storage.SelectHints{Start: 1, End: 900_000, Step: 600_000, Range: 60_000}, query.Windows{At: 60_000, Every: 600_000, Length: 60_000}},
		"hardly any between": {storage.SelectHints{Start: 1, End: 900_000, Step: 330_000}, query.Windows{}},
		"overlapping":        {storage.SelectHints{Start: 1, End: 900_000, Step: 60_000, Range: 300_000}, query.Windows{}},
	} {
		if got := s.windowsOf(&c.hints); got != c.want {
			t.Errorf("%s: %v, want %v", name, got, c.want)
		}
	}
}
