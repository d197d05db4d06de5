package oql

import (
	"encoding/json"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/headgate-io/headgate/query/plan"
)

// JSONOf returns the JSON form of a plan, so that a user interface can show a query that was written as text. ok is false for a
// plan that the form cannot express: one with a join, a union, keys, an extend that later stages build on, or stages in another
// order than where, aggregate or select, order, limit.
func JSONOf(p *plan.Plan) (doc []byte, ok bool) {
	r := reverse{plan: p, defs: map[*plan.Column]*plan.Expr{}, out: map[string]any{"from": string(p.Source)}}
	if p.MetricNames != nil {
		r.out["from"] = map[string]any{"metrics": p.MetricNames}
	}
	r.stages()
	if r.failed {
		return nil, false
	}
	doc, err := json.Marshal(r.out)
	if err != nil {
		return nil, false
	}
	// What a column is called and whether the rules still hold shows when it is read.
	q, err := ParseJSON(doc, nil)
	if err != nil || len(q.Output) != len(p.Output) {
		return nil, false
	}
	for i, c := range p.Output {
		if q.Output[i].Name != c.Name || q.Output[i].Type != c.Type {
			return nil, false
		}
	}
	return doc, true
}

// reverse writes the JSON form of a plan.
type reverse struct {
	plan *plan.Plan
	defs map[*plan.Column]*plan.Expr // of extends whose columns are not named yet
	out  map[string]any

	nodes  int  // expressions written; columns are written out where they are used, which can double them
	failed bool // there is no such form
}

// none says that there is no form.
func (r *reverse) none() any {
	r.failed = true
	return nil
}

func (r *reverse) stages() {
	var where []any
	var order []plan.Key
	sorted, limited, grouped := false, false, false
	for _, s := range r.plan.Stages {
		fits := !limited && !sorted
		switch s := s.(type) {
		case plan.Where:
			fits = fits && !grouped && len(r.defs) == 0
			where = append(where, r.expr(s.Cond))
		case plan.Extend:
			fits = fits && !grouped
			for _, d := range s.Defs {
				r.defs[d.Col] = d.Expr
			}
		case plan.Summarize:
			fits = fits && !grouped
			grouped = true
			r.summarize(s)
		case plan.Sort:
			sorted, order = true, s.Keys
		case plan.Limit:
			fits = !limited
			limited = true
			r.out["limit"] = s.N
		default:
			fits = false
		}
		if !fits || r.failed {
			r.failed = true
			return
		}
	}
	if where != nil {
		r.out["where"] = where
	}
	if !grouped {
		r.selected()
	}
	r.order(order)
}

func (r *reverse) summarize(s plan.Summarize) {
	var aggs []any
	for _, a := range s.Aggs {
		o := map[string]any{"fn": string(a.Fn)}
		if isName(a.Col.Name) && !reserved[a.Col.Name] {
			o["as"] = a.Col.Name
		}
		if a.Arg != nil {
			args := []any{r.expr(a.Arg)}
			if a.Fn == plan.Percentile || a.Fn == plan.Top {
				args = append(args, map[string]any{"value": a.Param})
			}
			o["args"] = args
		}
		aggs = append(aggs, o)
	}
	var by []any
	for _, c := range s.By {
		by = append(by, r.named(c))
	}
	if aggs != nil {
		r.out["aggregate"] = aggs
	}
	if by != nil {
		r.out["by"] = by
	}
	clear(r.defs)
}

// named writes a column with the expression that it is.
func (r *reverse) named(c *plan.Column) any {
	e, ok := r.defs[c]
	if !ok {
		return r.column(c)
	}
	if !isName(c.Name) || reserved[c.Name] {
		return r.expr(e) // it is called so without being told, or the result is refused below
	}
	return map[string]any{"expr": r.expr(e), "as": c.Name}
}

func (r *reverse) column(c *plan.Column) any {
	w := jsonWriter{}
	if w.field("", c.Name) != nil {
		return r.none()
	}
	return c.Name
}

// selected writes the columns of rows unless they are all that the source has.
func (r *reverse) selected() {
	same := len(r.plan.Output) == len(r.plan.Input)
	var out []any
	for i, c := range r.plan.Output {
		same = same && c == r.plan.Input[i]
		out = append(out, r.named(c))
	}
	if !same {
		r.out["select"] = out
	}
}

// order writes the sort keys without those that a query has by itself.
func (r *reverse) order(keys []plan.Key) {
	own := []plan.Key{{Col: r.plan.Time(), Desc: true}}
	for _, s := range r.plan.Stages {
		if s, ok := s.(plan.Summarize); ok {
			own = nil
			for _, c := range s.By {
				own = append(own, plan.Key{Col: c})
			}
		}
	}
	given := keys
	for n := range len(keys) + 1 {
		if slices.Equal(keys, withDefaults(keys[:n], own)) {
			given = keys[:n]
			break
		}
	}
	var out []any
	for _, k := range given {
		o := map[string]any{"desc": k.Desc}
		if e, ok := r.defs[k.Col]; ok && !slices.Contains(r.plan.Output, k.Col) {
			o["expr"] = r.expr(e)
		} else {
			o["expr"] = r.column(k.Col)
		}
		out = append(out, o)
	}
	if out != nil {
		r.out["order"] = out
	}
}

func withDefaults(given, own []plan.Key) []plan.Key {
	out := slices.Clone(given)
	for _, o := range own {
		if !slices.ContainsFunc(given, func(k plan.Key) bool { return k.Col == o.Col }) {
			out = append(out, o)
		}
	}
	return out
}

func (r *reverse) exprs(args []*plan.Expr) []any {
	out := []any{}
	for _, a := range args {
		out = append(out, r.expr(a))
	}
	return out
}

func (r *reverse) expr(e *plan.Expr) any {
	if r.nodes++; r.nodes > maxNodes || r.failed {
		return r.none()
	}
	switch e.Op {
	case plan.Ref:
		if def, ok := r.defs[e.Col]; ok {
			return r.expr(def)
		}
		return r.column(e.Col)
	case plan.Lit:
		return r.literal(e)
	case plan.Get:
		if e.Args[0].Op != plan.Ref || r.defs[e.Args[0].Col] != nil {
			return r.none()
		}
		return map[string]any{"field": r.column(e.Args[0].Col), "key": e.Args[1].Value}
	case plan.Has:
		get := *e
		get.Op = plan.Get
		return map[string]any{"fn": "exists", "args": []any{r.expr(&get)}}
	case plan.Neg:
		return map[string]any{"op": "-", "args": r.exprs(e.Args)}
	case plan.In:
		return map[string]any{"op": "in", "args": []any{r.expr(e.Args[0]), map[string]any{"value": r.list(e.Args[0].Type, e.Args[1].Value)}}}
	case plan.Bin:
		return r.bin(e)
	case plan.Now:
		if len(e.Args) == 0 {
			return map[string]any{"fn": "now"}
		}
		return map[string]any{"fn": "ago", "args": r.exprs(e.Args)}
	}
	if _, ok := jsonOps[string(e.Op)]; ok {
		return map[string]any{"op": string(e.Op), "args": r.exprs(e.Args)}
	}
	return map[string]any{"fn": string(e.Op), "args": r.exprs(e.Args)}
}

func (r *reverse) bin(e *plan.Expr) any {
	x, width := e.Args[0], e.Args[1]
	d, isDuration := width.Value.(time.Duration)
	switch {
	case isDuration && d == 0:
		if x.Op != plan.Ref || x.Col != r.plan.Time() {
			return r.none()
		}
		return map[string]any{"bin": "auto"}
	case isDuration:
		return map[string]any{"bin": durationText(d), "of": r.expr(x)}
	}
	return map[string]any{"bin": r.value(width), "of": r.expr(x)}
}

func (r *reverse) literal(e *plan.Expr) any {
	switch v := e.Value.(type) {
	case time.Time:
		return map[string]any{"datetime": v.Format(time.RFC3339Nano)}
	case time.Duration:
		if v < 0 {
			return map[string]any{"op": "-", "args": []any{map[string]any{"duration": durationText(-v)}}}
		}
		return map[string]any{"duration": durationText(v)}
	case string:
		if !utf8.ValidString(v) {
			return r.none()
		}
	case float64:
		return map[string]any{"value": floatJSON(v)}
	case int64:
		if e.Type == plan.Severity {
			return map[string]any{"value": plan.SeverityNames[v]}
		}
	case []string, []int64, []float64:
		return r.none()
	}
	return map[string]any{"value": e.Value}
}

// value is the member of a literal that is no time and no duration.
func (r *reverse) value(e *plan.Expr) any {
	o, _ := r.literal(e).(map[string]any)
	return o["value"]
}

func (r *reverse) list(t plan.Type, list any) []any {
	var out []any
	switch list := list.(type) {
	case []string:
		for _, s := range list {
			out = append(out, r.value(plan.Value(s)))
		}
	case []int64:
		for _, n := range list {
			if t == plan.Severity {
				out = append(out, plan.SeverityNames[n])
				continue
			}
			out = append(out, n)
		}
	case []float64:
		for _, f := range list {
			out = append(out, floatJSON(f))
		}
	}
	return out
}

// floatJSON writes f so that it reads as a float.
func floatJSON(f float64) json.Number {
	s := strconv.FormatFloat(f, 'g', -1, 64)
	if math.Trunc(f) == f && !strings.ContainsAny(s, ".e") {
		s += ".0"
	}
	return json.Number(s)
}

// durationText writes d in the largest unit that it is a multiple of.
func durationText(d time.Duration) string {
	for _, u := range []string{"d", "h", "m", "s", "ms", "us"} {
		if d != 0 && d%units[u] == 0 {
			return strconv.FormatInt(int64(d/units[u]), 10) + u
		}
	}
	return strconv.FormatInt(int64(d), 10) + "ns"
}
