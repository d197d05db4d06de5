package prom

import (
	"cmp"
	"context"
	"math"
	"slices"

	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/promql/parser"

	"github.com/headgate-io/headgate/query"
)

// exemplar is one observation that stands for others.
type exemplar struct {
	labels labels.Labels
	value  float64
	at     int64 // milliseconds
}

// exemplarSeries are the exemplars of one series.
type exemplarSeries struct {
	labels    labels.Labels
	exemplars []exemplar
}

// Labels of exemplars, as OpenTelemetry's specification names them.
const (
	traceLabel = "trace_id"
	spanLabel  = "span_id"
)

// exemplarDelay is how long after its exemplars a point may come, in milliseconds.
const exemplarDelay = 5 * 60 * 1000

// queryExemplars answers /api/v1/query_exemplars: the exemplars of all selectors of an expression.
func (r *request) queryExemplars() (answer, error) {
	mint, maxt, err := r.span()
	if err != nil {
		return answer{}, err
	}
	expr, err := r.expression()
	if err != nil {
		return answer{}, err
	}
	found := map[string]exemplarSeries{}
	q := &querier{Storage: r.storage, mint: mint, maxt: max(maxt, maxt+exemplarDelay)}
	for _, matchers := range parser.ExtractSelectors(expr) {
		sel, err := q.selection(r.Context(), matchers)
		if err != nil {
			return answer{}, err
		}
		list, err := newAssembly(q, sel).exemplars(r.Context(), mint, maxt)
		if err != nil {
			return answer{}, err
		}
		for _, s := range list {
			found[s.labels.String()] = s
		}
	}
	all := make([]exemplarSeries, 0, len(found))
	for _, s := range found {
		all = append(all, s)
	}
	slices.SortFunc(all, func(a, b exemplarSeries) int { return labels.Compare(a.labels, b.labels) })
	return answer{data: func(w *writer) {
		w.list(len(all), func(b []byte, i int) []byte { return all[i].append(b) })
	}}, nil
}

func (s *exemplarSeries) append(b []byte) []byte {
	b = append(appendLabels(append(b, `{"seriesLabels":`...), s.labels), `,"exemplars":[`...)
	for i, e := range s.exemplars {
		b = appendLabels(append(comma(b, i), `{"labels":`...), e.labels)
		b = appendFloat(append(b, `,"value":`...), e.value)
		b = append(appendTime(append(b, `,"timestamp":`...), e.at), '}')
	}
	return append(b, "]}"...)
}

// exemplars reads the exemplars of the selection whose own times are from mint to maxt. Those of a histogram belong to the
// buckets that hold their values.
func (a *assembly) exemplars(ctx context.Context, mint, maxt int64) ([]exemplarSeries, error) {
	bounds := map[seriesKey][]float64{}
	err := a.eachTable([]string{kindHistogram}, func(p query.Points, _ map[seriesKey]*selected) error {
		st, err := query.PrintBounds(a.scope, p)
		if err != nil {
			return err
		}
		return a.rows(ctx, st, func(b *binaryReader) error {
			key := seriesKey{b.text(), b.uint64()}
			list := words(b, nil, math.Float64frombits)
			slices.Sort(list)
			bounds[key] = list
			return a.load(len(list))
		})
	})
	if err != nil {
		return nil, err
	}
	found := map[*series][]exemplar{}
	err = a.eachTable([]string{kindGauge, kindSum, kindHistogram, kindExpHistogram}, func(p query.Points, byKey map[seriesKey]*selected) error {
		st, err := query.PrintExemplars(a.scope, p)
		if err != nil {
			return err
		}
		return a.rows(ctx, st, func(b *binaryReader) error {
			key := seriesKey{b.text(), b.uint64()}
			s := byKey[key]
			for range b.length() {
				for range b.length() {
					e := a.exemplar(b)
					if b.err != nil {
						return nil
					}
					if s == nil || e.at < mint || e.at > maxt {
						continue
					}
					if to := a.exemplarSeries(s, bounds[key], e.value); to != nil {
						found[to] = append(found[to], e)
					}
					if err := a.load(4 + e.labels.Len()); err != nil {
						return err
					}
				}
			}
			return nil
		})
	})
	if err != nil {
		return nil, err
	}
	var out []exemplarSeries
	for s, list := range found {
		slices.SortFunc(list, exemplar.compare)
		out = append(out, exemplarSeries{s.labels, slices.CompactFunc(list, func(a, b exemplar) bool { return a.compare(b) == 0 })})
	}
	return out, nil
}

func (e exemplar) compare(o exemplar) int {
	return cmp.Or(cmp.Compare(e.at, o.at), cmp.Compare(e.value, o.value), labels.Compare(e.labels, o.labels))
}

// exemplar reads one.
func (a *assembly) exemplar(b *binaryReader) exemplar {
	e := exemplar{at: inMilli(b.int64()), value: b.float64()}
	trace, spanID, attributes := b.text(), b.text(), b.pairs()
	l := a.label
	l.builder.Reset(labels.EmptyLabels())
	l.attributes(attributes)
	l.set(traceLabel, trace)
	l.set(spanLabel, spanID)
	e.labels = l.builder.Labels()
	return e
}

// exemplarSeries returns the series that an exemplar of s with a value belongs to, nil if it is not asked for.
func (a *assembly) exemplarSeries(s *selected, bounds []float64, value float64) *series {
	if s.kind != kindHistogram {
		return a.series(s.base, s.family, "", "")
	}
	if s.parts&partBucket == 0 {
		return nil
	}
	le := math.Inf(1)
	for _, bound := range bounds {
		if value <= bound {
			le = bound
			break
		}
	}
	return a.series(s.base, s.family+suffixes[partBucket], labels.BucketLabel, formatLe(le))
}
