package prom

import (
	"fmt"
	"slices"

	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/storage"
	"github.com/prometheus/prometheus/util/annotations"

	"github.com/headgate-io/headgate/query"
	"github.com/headgate-io/headgate/storage/schema"
)

// tableOf is the table of each kind's points.
var tableOf = map[string]string{
	kindGauge: schema.MetricsGauge, kindSum: schema.MetricsSum, kindHistogram: schema.MetricsHistogram,
	kindExpHistogram: schema.MetricsExponentialHistogram, kindSummary: schema.MetricsSummary,
}

// kinds is every kind, in the order in which their points are read.
var kinds = []string{kindGauge, kindSum, kindHistogram, kindExpHistogram, kindSummary}

// assembly makes the series of Prometheus of a selection.
//
// Several series of OpenTelemetry can become one of Prometheus: a process that began again under the same names, but with
// another version in its resource, or attributes whose names become one. Their points are merged by time. Of points of one
// millisecond the latest counts, and of those of one nanosecond the greatest.
type assembly struct {
	*querier
	*selection
	label    *labeller
	made     map[string]*series // by their labels
	buf      []byte
	warnings annotations.Annotations
}

func newAssembly(q *querier, sel *selection) *assembly {
	return &assembly{querier: q, selection: sel, label: newLabeller(q.names, q.several()), made: map[string]*series{}}
}

// series returns the series with base, a name and, unless it is "", one more label; nil if it does not match.
func (a *assembly) series(base labels.Labels, name, extra, value string) *series {
	lbls := a.label.with(base, name, extra, value)
	a.buf = lbls.Bytes(a.buf[:0])
	s, ok := a.made[string(a.buf)]
	if !ok {
		if matchesAll(a.matchers, lbls) {
			s = &series{labels: lbls}
		}
		a.made[string(a.buf)] = s
	}
	return s
}

// seriesKey names a series of OpenTelemetry among all tenants.
type seriesKey struct {
	tenant string
	id     uint64
}

// eachTable calls f with what to read of each kind's table, in pieces, and with the series that are asked for.
func (a *assembly) eachTable(kinds []string, f func(p query.Points, byKey map[seriesKey]*selected) error) error {
	start, end, ok := span(a.mint, a.maxt)
	if !ok {
		return nil
	}
	for _, kind := range kinds {
		byKey := map[seriesKey]*selected{}
		var ids []uint64
		var names []string
		starts, whole, bare, windows := a.starts, true, true, a.windows
		if kind == kindExpHistogram {
			windows = query.Windows{} // whether a counter began again is told from the one before
		}
		for i := range a.selection.series {
			if s := &a.selection.series[i]; s.kind == kind {
				byKey[seriesKey{s.tenant, s.id}] = s
				ids = append(ids, s.id)
				names = append(names, s.name)
				starts, whole = starts || s.delta(), whole && a.whole(s.name)
				if s.delta() {
					windows = query.Windows{} // levels are sums of all before
				}
				bare = bare && s.parts&(partValue|partBucket) == 0
			}
		}
		slices.Sort(ids)
		slices.Sort(names)
		ids, names = slices.Compact(ids), slices.Compact(names)
		if tooLong(names) {
			names, whole = nil, false
		}
		p := query.Points{Start: start, End: end, Tenants: a.tenants, Table: tableOf[kind], Names: names, Limit: 1 + len(byKey), Starts: starts, Bare: bare, Windows: windows}
		if whole && len(ids) > 0 {
			// Every series of these metrics: no need to say which. Some may have come since they were read.
			p.Limit = max(p.Limit, a.limits.MaxSeries+1)
			if err := f(p, byKey); err != nil {
				return err
			}
			continue
		}
		err := batches(ids, func(piece []uint64) error {
			p.IDs = piece
			return f(p, byKey)
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// add adds the points of s to the series that they become.
func (a *assembly) add(to *series, s *selected, list []point) {
	switch {
	case to == nil || len(list) == 0:
	case s.delta():
		// A delta that was sent twice counts once.
		to.deltas = append(to.deltas, order(list, exact)...)
	case to.points == nil:
		to.points = list
	default:
		to.points = append(to.points, list...)
	}
}

// warn says once per metric why its points are not there.
func (a *assembly) warn(s *selected, why string) {
	a.warnings.Add(fmt.Errorf("metric %q %s", s.name, why))
}

// set returns the finished series, sorted.
func (a *assembly) set() (storage.SeriesSet, error) {
	list := make([]*series, 0, len(a.made))
	start, _, _ := span(a.mint, a.maxt)
	for _, s := range a.made {
		if s == nil {
			continue
		}
		if s.deltas != nil {
			slices.SortStableFunc(s.deltas, point.compare)
			sums, err := accumulate(s.deltas, start.UnixNano())
			if err != nil {
				return nil, err
			}
			s.points, s.deltas = append(s.points, sums...), nil
		}
		s.points = order(s.points, inMilli)
		hintResets(s.points)
		list = append(list, s)
	}
	slices.SortFunc(list, func(a, b *series) int { return labels.Compare(a.labels, b.labels) })
	return newSeriesSet(list, a.warnings), nil
}
