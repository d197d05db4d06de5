package prom

import (
	"cmp"
	"maps"
	"runtime"
	"slices"

	"github.com/prometheus/common/model"
	"github.com/prometheus/otlptranslator"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/storage"
	"github.com/prometheus/prometheus/util/annotations"
)

// labelNames answers /api/v1/labels.
func (r *request) labelNames() (answer, error) {
	return r.strings(func(q storage.Querier, set []*labels.Matcher) ([]string, annotations.Annotations, error) {
		return q.LabelNames(r.Context(), nil, set...)
	})
}

// labelValues answers /api/v1/label/{name}/values. A name that is not of the old form may be sent as U__….
func (r *request) labelValues(name string) (answer, error) {
	name = model.UnescapeName(name, model.ValueEncodingEscaping)
	if !model.UTF8Validation.IsValidLabelName(name) {
		return answer{}, badData("invalid label name: %q", short(name))
	}
	return r.strings(func(q storage.Querier, set []*labels.Matcher) ([]string, annotations.Annotations, error) {
		return q.LabelValues(r.Context(), name, nil, set...)
	})
}

// looked is what a lookup of names or series asks for.
type looked struct {
	limit      int // 0 is none
	mint, maxt int64
	sets       [][]*labels.Matcher // nil is none
	querier    storage.Querier
}

func (r *request) lookup() (l looked, err error) {
	if l.limit, err = r.limit("limit"); err != nil {
		return l, err
	}
	if l.mint, l.maxt, err = r.span(); err != nil {
		return l, err
	}
	if l.sets, err = r.matchers(); err != nil {
		return l, err
	}
	l.querier, err = r.storage.Querier(l.mint, l.maxt)
	return l, err
}

// strings answers with what read returns for any of the selectors.
func (r *request) strings(read func(storage.Querier, []*labels.Matcher) ([]string, annotations.Annotations, error)) (answer, error) {
	l, err := r.lookup()
	if err != nil {
		return answer{}, err
	}
	if l.sets == nil {
		l.sets = [][]*labels.Matcher{nil}
	}
	found := map[string]struct{}{}
	var a answer
	for _, set := range l.sets {
		list, ws, err := read(l.querier, set)
		if err != nil {
			return answer{}, err
		}
		a.warnings.Merge(ws)
		for _, s := range list {
			found[s] = struct{}{}
		}
	}
	out := slices.Sorted(maps.Keys(found))
	if l.limit > 0 && len(out) > l.limit {
		out = out[:l.limit]
		a.warnings.Add(errCut)
	}
	a.data = func(w *writer) { w.texts(out) }
	return a, nil
}

// series answers /api/v1/series.
func (r *request) series() (answer, error) {
	l, err := r.lookup()
	switch {
	case err != nil:
		return answer{}, err
	case l.sets == nil:
		return answer{}, badData("no match[] parameter provided")
	}
	var found []labels.Labels
	var a answer
	for _, matchers := range l.sets {
		set := l.querier.Select(r.Context(), true, &storage.SelectHints{Start: l.mint, End: l.maxt, Func: lookup}, matchers...)
		for set.Next() {
			found = append(found, set.At().Labels())
		}
		if err := set.Err(); err != nil {
			return answer{}, err
		}
		a.warnings.Merge(set.Warnings())
	}
	slices.SortFunc(found, labels.Compare)
	found = slices.CompactFunc(found, labels.Equal)
	if l.limit > 0 && len(found) > l.limit {
		found = found[:l.limit]
		a.warnings.Add(errCut)
	}
	a.data = func(w *writer) {
		w.list(len(found), func(b []byte, i int) []byte { return appendLabels(b, found[i]) })
	}
	return a, nil
}

// description is what is known of a family of metrics.
type description struct {
	Type model.MetricType `json:"type"`
	Help string           `json:"help"`
	Unit string           `json:"unit"`
}

// metadataDays is how far back the metadata of metrics is looked for, in milliseconds.
const metadataDays = 7 * 24 * 3600 * 1000

// metadata answers /api/v1/metadata: the families of the last days.
func (r *request) metadata() (answer, error) {
	limit, err := r.limit("limit")
	if err != nil {
		return answer{}, err
	}
	each, err := r.limit("limit_per_metric")
	if err != nil {
		return answer{}, err
	}
	now := r.handler.opts.Now().UnixMilli()
	q := &querier{Storage: r.storage, mint: now - metadataDays, maxt: now}
	wanted := r.param("metric")
	units := otlptranslator.UnitNamer{}
	families := map[string][]description{}
	err = q.eachMetric(r.Context(), func(m metric, help string) {
		family := q.names.family(m)
		if family == "" || wanted != "" && family != wanted {
			return
		}
		families[family] = append(families[family], description{m.prometheus(), valid(help), units.Build(valid(m.unit))})
	})
	if err != nil {
		return answer{}, err
	}
	names := slices.Sorted(maps.Keys(families))
	if limit > 0 && len(names) > limit {
		names = names[:limit]
	}
	return answer{data: func(w *writer) {
		w.raw("{")
		for i, name := range names {
			list := families[name]
			slices.SortFunc(list, func(a, b description) int {
				return cmp.Or(cmp.Compare(a.Type, b.Type), cmp.Compare(a.Help, b.Help), cmp.Compare(a.Unit, b.Unit))
			})
			list = slices.Compact(list)
			if each > 0 && len(list) > each {
				list = list[:each]
			}
			w.append(func(b []byte) []byte { return append(appendText(comma(b, i), name), ':') })
			w.value(list)
		}
		w.raw("}")
	}}, nil
}

// formatQuery answers /api/v1/format_query.
func (r *request) formatQuery() (answer, error) {
	expr, err := r.expression()
	if err != nil {
		return answer{}, err
	}
	return answer{data: func(w *writer) { w.append(func(b []byte) []byte { return appendText(b, expr.Pretty(0)) }) }}, nil
}

// rules answers /api/v1/rules: headgate evaluates none.
func (*request) rules() (answer, error) {
	return answer{data: func(w *writer) { w.raw(`{"groups":[]}`) }}, nil
}

// alerts answers /api/v1/alerts.
func (*request) alerts() (answer, error) {
	return answer{data: func(w *writer) { w.raw(`{"alerts":[]}`) }}, nil
}

// engineVersion is the Prometheus whose engine answers: clients read from it what they may ask.
const engineVersion = "3.15.0"

// buildInfo answers /api/v1/status/buildinfo.
func (*request) buildInfo() (answer, error) {
	return answer{data: func(w *writer) {
		w.value(map[string]string{"version": engineVersion, "revision": "", "branch": "headgate", "buildUser": "", "buildDate": "", "goVersion": runtime.Version()})
	}}, nil
}
