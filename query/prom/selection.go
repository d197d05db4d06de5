package prom

import (
	"cmp"
	"context"
	"errors"
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
	narrowed bool              // series were read under conditions beyond those on metrics
	left     map[string]bool   // names of metrics of which series were read that are not selected
}

// leave notes that a series of a metric is not selected.
func (s *selection) leave(name string) {
	if s.left == nil {
		s.left = map[string]bool{}
	}
	s.left[name] = true
}

// whole reports whether all series of a metric are selected.
func (s *selection) whole(name string) bool { return !s.narrowed && !s.left[name] }

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
	info := matchesLabel(matchers, model.MetricNameLabel, targetInfo)
	// Which metrics are meant is asked first only where the name itself does not tell enough.
	st := query.Series{Start: start, End: end, Tenants: sel.tenants, Where: q.conditions(matchers, info), Limit: q.limits.MaxSeries + 1}
	sel.narrowed = st.Where != nil
	if st.Words = q.names.words(matchers); st.Words != nil && !info {
		err := q.readSeries(ctx, sel, st, false)
		if !errors.As(err, new(*seriesError)) {
			return sel, err
		}
		// So many have words of the name alone: it takes the names to tell.
		*sel = selection{matchers: matchers, tenants: sel.tenants, narrowed: sel.narrowed}
	}
	metrics, err := q.metrics(ctx)
	if err != nil {
		return nil, err
	}
	var names []string
	for m, family := range metrics {
		if wantedParts(matchers, m, family) != 0 {
			names = append(names, m.name)
		}
	}
	if len(names) == 0 && !info || len(metrics) == 0 {
		return sel, nil
	}
	slices.Sort(names)
	names = slices.Compact(names)
	if info || tooLong(names) {
		names = nil
	}
	st.Words, st.Names = nil, names
	return sel, q.readSeries(ctx, sel, st, info)
}

// readSeries adds to sel the series that s says and that may match. With info, their resources are read, and all of them are
// targets.
func (q *querier) readSeries(ctx context.Context, sel *selection, s query.Series, info bool) error {
	st, err := query.PrintSeries(q.scope, s, info)
	if err != nil {
		return err
	}
	type meaning struct {
		parts  part
		family string
	}
	meanings := map[metric]meaning{}
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
		m, ok := meanings[r.metric]
		if !ok {
			m.family = q.names.family(r.metric)
			m.parts = wantedParts(sel.matchers, r.metric, m.family)
			meanings[r.metric] = m
		}
		if m.parts == 0 {
			sel.leave(r.name)
			return nil
		}
		s := selected{seriesRow: r, parts: m.parts, family: m.family}
		s.resource = nil
		s.base = label.base(&r)
		if s.parts &= possibleParts(sel.matchers, s.base, r.kind); s.parts == 0 {
			sel.leave(r.name)
			return nil
		}
		sel.series = append(sel.series, s)
		return nil
	})
	if err != nil {
		return err
	}
	// The same order whatever order the rows come in: results and collisions are the same then too.
	slices.SortFunc(sel.series, func(a, b selected) int { return a.compare(&b.seriesRow) })
	slices.SortFunc(sel.targets, func(a, b seriesRow) int { return a.compare(&b) })
	return nil
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
	days := [2]int64{q.mint / dayMillis, q.maxt / dayMillis}
	if known := q.families[days]; known != nil {
		return known, nil
	}
	families := map[metric]string{}
	err := q.eachMetric(ctx, func(m metric, _ string) { families[m] = q.names.family(m) })
	if err != nil {
		return nil, err
	}
	q.families[days] = families
	return families, nil
}

const dayMillis = 24 * 3600 * 1000

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
