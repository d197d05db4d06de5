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

// strings answers with what read returns for any of the selectors.
func (r *request) strings(read func(storage.Querier, []*labels.Matcher) ([]string, annotations.Annotations, error)) (answer, error) {
	limit, err := r.limit("limit")
	if err != nil {
		return answer{}, err
	}
	mint, maxt, err := r.span()
	if err != nil {
		return answer{}, err
	}
	sets, err := r.matchers()
	if err != nil {
		return answer{}, err
	}
	if sets == nil {
		sets = [][]*labels.Matcher{nil}
	}
	q, err := r.storage.Querier(mint, maxt)
	if err != nil {
		return answer{}, err
	}
	found := map[string]struct{}{}
	var a answer
	for _, set := range sets {
		list, ws, err := read(q, set)
		if err != nil {
			return answer{}, err
		}
		a.warnings.Merge(ws)
		for _, s := range list {
			found[s] = struct{}{}
		}
	}
	out := slices.Sorted(maps.Keys(found))
	if limit > 0 && len(out) > limit {
		out = out[:limit]
		a.warnings.Add(errCut)
	}
	a.data = func(w *writer) { w.texts(out) }
	return a, nil
}

// series answers /api/v1/series.
func (r *request) series() (answer, error) {
	limit, err := r.limit("limit")
	if err != nil {
		return answer{}, err
	}
	mint, maxt, err := r.span()
	if err != nil {
		return answer{}, err
	}
	sets, err := r.matchers()
	switch {
	case err != nil:
		return answer{}, err
	case sets == nil:
		return answer{}, badData("no match[] parameter provided")
	}
	q, err := r.storage.Querier(mint, maxt)
	if err != nil {
		return answer{}, err
	}
	var found []labels.Labels
	var a answer
	for _, matchers := range sets {
		set := q.Select(r.Context(), true, &storage.SelectHints{Start: mint, End: maxt, Func: lookup}, matchers...)
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
	if limit > 0 && len(found) > limit {
		found = found[:limit]
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
