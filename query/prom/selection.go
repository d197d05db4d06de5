package prom

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"

	"github.com/headgate-io/headgate/query"
)

// selected is a series of OpenTelemetry with the parts of it that a selector may mean.
type selected struct {
	seriesRow
	parts  part
	family string
	base   labels.Labels
}

// selection is what the matchers of one selector mean.
type selection struct {
	matchers []*labels.Matcher // all of them
	tenants  []string          // nil: all of the scope
	series   []selected        // by tenant and id
	targets  []seriesRow       // the series whose resources are asked for, with target_info
}

// selection reads which series may match. What a label of a part says (le, quantile) remains to be checked.
func (q *querier) selection(ctx context.Context, matchers []*labels.Matcher) (*selection, error) {
	sel := &selection{matchers: matchers}
	start, end, ok := span(q.mint, q.maxt)
	if !ok {
		return sel, nil
	}
	if q.several() {
		for _, id := range q.scope.Strings() {
			if matchesLabel(matchers, tenantLabel, id) {
				sel.tenants = append(sel.tenants, id)
			}
		}
		if sel.tenants == nil {
			return sel, nil
		}
	}
	metrics, err := q.metrics(ctx)
	if err != nil {
		return nil, err
	}
	wanted := map[metric]part{}
	var names []string
	for m, family := range metrics {
		if w := wantedParts(matchers, m, family); w != 0 {
			wanted[m] = w
			names = append(names, m.name)
		}
	}
	info := matchesLabel(matchers, model.MetricNameLabel, targetInfo)
	if len(wanted) == 0 && !info || len(metrics) == 0 {
		return sel, nil
	}
	slices.Sort(names)
	names = slices.Compact(names)
	if info || tooLong(names) {
		names = nil
	}
	st, err := query.PrintSeries(q.scope, query.Series{
		Start: start, End: end, Tenants: sel.tenants, Names: names, Where: q.conditions(matchers, info), Limit: q.limits.MaxSeries + 1,
	}, info)
	if err != nil {
		return nil, err
	}
	label := newLabeller(q.names, q.several())
	read := 0
	err = q.rows(ctx, st, func(b *binaryReader) error {
		var r seriesRow
		r.read(b, info)
		if read++; read > q.limits.MaxSeries {
			return tooManySeries(q.limits.MaxSeries)
		}
		if info {
			sel.targets = append(sel.targets, r)
		}
		s := selected{seriesRow: r, parts: wanted[r.metric], family: metrics[r.metric]}
		if s.parts == 0 || s.family == "" {
			return nil
		}
		s.resource = nil
		s.base = label.base(&r)
		if s.parts &= possibleParts(matchers, s.base, r.kind); s.parts != 0 {
			sel.series = append(sel.series, s)
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	// The same order whatever order the rows come in: results and collisions are the same then too.
	slices.SortFunc(sel.series, func(a, b selected) int { return a.compare(&b.seriesRow) })
	slices.SortFunc(sel.targets, func(a, b seriesRow) int { return a.compare(&b) })
	return sel, nil
}

func (r *seriesRow) compare(o *seriesRow) int {
	return cmp.Or(cmp.Compare(r.tenant, o.tenant), cmp.Compare(r.name, o.name), cmp.Compare(r.id, o.id))
}

type seriesError struct{ limit int }

func tooManySeries(limit int) error { return &seriesError{limit} }

func (e *seriesError) Error() string {
	return fmt.Sprintf("the selector matches more than %d series: add matchers or narrow the time range", e.limit)
}

// metrics returns the metrics of the querier's days with the names of their families.
func (q *querier) metrics(ctx context.Context) (map[metric]string, error) {
	if q.families != nil {
		return q.families, nil
	}
	families := map[metric]string{}
	err := q.eachMetric(ctx, func(m metric, _ string) { families[m] = q.names.family(m) })
	if err != nil {
		return nil, err
	}
	q.families = families
	return families, nil
}

// eachMetric calls f with each metric of the querier's days and its description.
func (q *querier) eachMetric(ctx context.Context, f func(m metric, description string)) error {
	start, end, ok := span(q.mint, q.maxt)
	if !ok {
		return nil
	}
	st, err := query.PrintMetricNames(q.scope, query.Series{Start: start, End: end, Limit: q.limits.MaxSeries + 1})
	if err != nil {
		return err
	}
	read := 0
	return q.rows(ctx, st, func(b *binaryReader) error {
		m := metric{name: b.text(), kind: b.text(), unit: b.text(), temporality: b.int32(), monotonic: b.uint8() != 0}
		description := b.text()
		if read++; read > q.limits.MaxSeries {
			return tooManySeries(q.limits.MaxSeries)
		}
		if b.err == nil {
			f(m, description)
		}
		return nil
	})
}

// wantedParts returns the parts of a metric whose name the matchers allow.
func wantedParts(matchers []*labels.Matcher, m metric, family string) part {
	var wanted part
	if family == "" {
		return 0
	}
	for p, suffix := range suffixes {
		if parts(m.kind)&p != 0 && matchesLabel(matchers, model.MetricNameLabel, family+suffix) {
			wanted |= p
		}
	}
	return wanted
}

// possibleParts returns the parts of a series with the labels base that the matchers allow, as far as base can tell.
func possibleParts(matchers []*labels.Matcher, base labels.Labels, kind string) part {
	possible := partValue | partBucket | partSum | partCount
	for _, m := range matchers {
		if m.Name == model.MetricNameLabel || m.Matches(base.Get(m.Name)) {
			continue
		}
		switch {
		case m.Name == labels.BucketLabel:
			possible &= partBucket
		case m.Name == quantileLabel && kind == kindSummary:
			possible &= partValue
		default:
			return 0
		}
	}
	return possible
}

const quantileLabel = "quantile"

// matchesLabel reports whether all matchers on name match value.
func matchesLabel(matchers []*labels.Matcher, name, value string) bool {
	for _, m := range matchers {
		if m.Name == name && !m.Matches(value) {
			return false
		}
	}
	return true
}

// matchesAll reports whether the labels match.
func matchesAll(matchers []*labels.Matcher, lbls labels.Labels) bool {
	for _, m := range matchers {
		if !m.Matches(lbls.Get(m.Name)) {
			return false
		}
	}
	return true
}

// conditions returns what must hold for every series that matches. It need not say all that the matchers say: those are
// applied to what is read. With info, series are read for their resources too, of which only the service is known here.
func (q *querier) conditions(matchers []*labels.Matcher, info bool) []query.SeriesCondition {
	var out []query.SeriesCondition
	for _, m := range matchers {
		values := exactly(m)
		switch {
		case values == nil || m.Name == model.MetricNameLabel || m.Name == labels.BucketLabel || m.Name == quantileLabel ||
			strings.HasPrefix(m.Name, scopePrefix) || m.Name == tenantLabel && q.several():
		case m.Name == model.JobLabel:
			services := jobServices(values)
			if info {
				services = append(services, "") // job may be an attribute of a resource without a service
			}
			out = append(out, query.SeriesCondition{Attribute: values, Service: services})
		case info:
		case m.Name == model.InstanceLabel:
			out = append(out, query.SeriesCondition{Attribute: values, Instance: values})
		default:
			out = append(out, query.SeriesCondition{Attribute: values})
		}
	}
	return out
}

// exactly returns the values of which the label must have one, nil if that cannot be said, or not about attributes: a
// value may be joined from several, and mended where it was no UTF-8.
func exactly(m *labels.Matcher) []string {
	var values []string
	switch m.Type {
	case labels.MatchEqual:
		values = []string{m.Value}
	case labels.MatchRegexp:
		values = m.SetMatches()
	}
	if m.Matches("") || tooLong(values) {
		return nil
	}
	for _, v := range values {
		if strings.Contains(v, joined) || strings.ContainsRune(v, '\uFFFD') {
			return nil
		}
	}
	return values
}

// jobServices returns the names of services that a job, namespace/name or name, can stand for.
func jobServices(jobs []string) []string {
	var out []string
	for _, job := range jobs {
		out = append(out, job)
		for i := range len(job) {
			if job[i] == '/' {
				out = append(out, job[i+1:])
			}
		}
	}
	return out
}

// tooLong reports whether a list is better not bound to a statement, which has room for some of them.
func tooLong(list []string) bool {
	n := 0
	for _, s := range list {
		n += len(s) + 3
	}
	return n > 8<<10
}
