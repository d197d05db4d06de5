package prom

import (
	"context"
	"maps"
	"slices"
	"strconv"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/storage"
	"github.com/prometheus/prometheus/util/annotations"

	"github.com/headgate-io/headgate/query"
)

// querier implements storage.Querier for a range of milliseconds, both ends in. It is for one goroutine.
type querier struct {
	*Storage
	mint, maxt int64
	windows    query.Windows // of which alone samples are needed
}

// lookup is what hints say when only labels are wanted.
const lookup = "series"

// Select implements storage.Querier. The series are always in order, so that what the engine makes of them does not
// depend on chance.
func (q *querier) Select(ctx context.Context, _ bool, hints *storage.SelectHints, matchers ...*labels.Matcher) storage.SeriesSet {
	within := *q
	if hints != nil {
		within.mint, within.maxt = max(q.mint, hints.Start), min(q.maxt, hints.End)
		within.windows = q.windowsOf(hints)
	}
	return &lazySet{open: func() (storage.SeriesSet, error) {
		return within.selectSeries(ctx, matchers, hints != nil && hints.Func == lookup)
	}}
}

func (q *querier) selectSeries(ctx context.Context, matchers []*labels.Matcher, labelsOnly bool) (storage.SeriesSet, error) {
	sel, err := q.selection(ctx, matchers)
	if err != nil {
		return nil, err
	}
	a := newAssembly(q, sel)
	if labelsOnly {
		err = a.loadLabels(ctx)
	} else {
		err = a.loadPoints(ctx)
	}
	if err != nil {
		return nil, err
	}
	return a.set()
}

// LabelValues implements storage.Querier.
func (q *querier) LabelValues(ctx context.Context, name string, hints *storage.LabelHints, matchers ...*labels.Matcher) ([]string, annotations.Annotations, error) {
	found := map[string]struct{}{}
	if name == model.MetricNameLabel && len(matchers) == 0 {
		// The names of all metrics do not need their series.
		families, err := q.metrics(ctx)
		if err != nil {
			return nil, nil, err
		}
		for m, family := range families {
			for p, suffix := range suffixes {
				if parts(m.kind)&p != 0 && family != "" {
					found[family+suffix] = struct{}{}
				}
			}
		}
		matchers = []*labels.Matcher{labels.MustNewMatcher(labels.MatchEqual, model.MetricNameLabel, targetInfo)}
	}
	ws, err := q.eachLabels(ctx, matchers, func(lbls labels.Labels) {
		if v := lbls.Get(name); v != "" {
			found[v] = struct{}{}
		}
	})
	return sorted(found, hints), ws, err
}

// LabelNames implements storage.Querier.
func (q *querier) LabelNames(ctx context.Context, hints *storage.LabelHints, matchers ...*labels.Matcher) ([]string, annotations.Annotations, error) {
	found := map[string]struct{}{}
	ws, err := q.eachLabels(ctx, matchers, func(lbls labels.Labels) {
		lbls.Range(func(l labels.Label) { found[l.Name] = struct{}{} })
	})
	return sorted(found, hints), ws, err
}

// Close implements storage.Querier.
func (*querier) Close() error { return nil }

// eachLabels calls f with the labels of each series that matches.
func (q *querier) eachLabels(ctx context.Context, matchers []*labels.Matcher, f func(labels.Labels)) (annotations.Annotations, error) {
	set, err := q.selectSeries(ctx, matchers, true)
	if err != nil {
		return nil, err
	}
	for set.Next() {
		f(set.At().Labels())
	}
	return set.Warnings(), set.Err()
}

func sorted(found map[string]struct{}, hints *storage.LabelHints) []string {
	out := slices.Sorted(maps.Keys(found))
	if hints != nil && hints.Limit > 0 && len(out) > hints.Limit {
		out = out[:hints.Limit]
	}
	return out
}

// lazySet opens its series when they are first asked for: the engine asks for sets of all selectors before it knows that
// it needs them.
type lazySet struct {
	open func() (storage.SeriesSet, error)
	set  storage.SeriesSet
}

func (s *lazySet) Next() bool {
	if s.set == nil {
		set, err := s.open()
		if err != nil {
			set = storage.ErrSeriesSet(&storageError{err})
		}
		s.set = set
	}
	return s.set.Next()
}

func (s *lazySet) At() storage.Series { return s.set.At() }

func (s *lazySet) Err() error {
	if s.set == nil {
		return nil
	}
	return s.set.Err()
}

func (s *lazySet) Warnings() annotations.Annotations {
	if s.set == nil {
		return nil
	}
	return s.set.Warnings()
}

// formatLe writes the bound of a bucket, or a quantile, as Prometheus' OTLP receiver does.
func formatLe(f float64) string { return strconv.FormatFloat(f, 'f', -1, 64) }
