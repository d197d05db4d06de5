package oql

import (
	"fmt"
	"slices"
	"strings"

	"github.com/headgate-io/headgate/query/plan"
)

// aggregation is one aggregate as written.
type aggregation struct {
	name string
	fn   plan.AggFn
	args []*plan.Expr
	at   token
}

func aggNames() []string {
	var out []string
	for _, f := range plan.AggFns {
		out = append(out, string(f))
	}
	return out
}

func isAgg(name string) bool { return slices.Contains(plan.AggFns, plan.AggFn(name)) }

func (p *parser) summarize() error {
	var aggs []aggregation
	for {
		a, err := p.aggregation()
		if err != nil {
			return err
		}
		if aggs = append(aggs, a); len(aggs) > maxColumns {
			return p.errorf("more than %d columns", maxColumns)
		}
		if !p.isPunct(",") {
			break
		}
		if err := p.advance(); err != nil {
			return err
		}
	}
	by, err := p.accept("by")
	if err != nil {
		return err
	}
	if !by {
		if p.tok.kind == punct && p.tok.s != "|" && p.tok.s != ")" {
			return p.errorf("expected \",\", \"by\" or the next stage, got %s; compute with aggregates in extend: summarize e = countif(…), n = count() | extend r = e / n", p.tok)
		}
		return p.group(nil, aggs)
	}
	groups, err := p.items(false)
	if err != nil {
		return err
	}
	return p.group(groups, aggs)
}

func (p *parser) aggregation() (aggregation, error) {
	a := aggregation{at: p.tok}
	if p.tok.kind == word && p.peek().kind == punct && p.peek().s == "=" {
		name, err := p.newName()
		if err != nil {
			return a, err
		}
		a.name = name
		if err := p.want("="); err != nil {
			return a, err
		}
	}
	at := p.tok
	if at.kind != word {
		return a, p.expected("an aggregation such as count()")
	}
	if !isAgg(at.s) {
		return a, p.errorf("unknown aggregation %q%s; the aggregations are %s", at.s, advised(at.s, aggAdvice, aggNames()), strings.Join(aggNames(), ", "))
	}
	a.fn, a.at = plan.AggFn(at.s), at
	if err := p.advance(); err != nil {
		return a, err
	}
	args, err := p.args()
	a.args = args
	return a, err
}

// nameOfAgg is the name of an aggregation that was given none: count, sum_duration, p95_duration.
func (p *parser) nameOfAgg(a aggregation) string {
	fn := string(a.fn)
	if len(a.args) == 0 || a.fn == plan.CountIf {
		return fn
	}
	if a.fn == plan.Percentile && len(a.args) == 2 {
		fn = "p" + strings.NewReplacer(".", "_", "-", "_", "+", "_").Replace(fmt.Sprint(a.args[1].Value))
	}
	if a.args[0].Op == plan.Ref || a.args[0].Op == plan.Get {
		return fn + "_" + p.nameOf(a.args[0], "")
	}
	return fn
}

// group adds the Summarize stage: after it only the groups and aggregates are left.
func (p *parser) group(groups []named, aggs []aggregation) error {
	groups, err := p.distinctNames(groups)
	if err != nil {
		return err
	}
	for _, g := range groups {
		if g.expr.Type == plan.Map || g.expr.Type == plan.List {
			return p.errorAt(g.at, "rows cannot be grouped by a %s: name one of its attributes, as in attr[\"http.route\"]", g.expr.Type)
		}
	}
	s := plan.Summarize{By: p.define(groups)}
	taken := map[string]bool{}
	for _, c := range s.By {
		taken[c.Name] = true
	}
	for _, a := range aggs {
		name := a.name
		if name == "" {
			name = plan.Free(taken, p.nameOfAgg(a))
		}
		if taken[name] {
			return p.errorAt(a.at, "two columns are called %q", name)
		}
		taken[name] = true
		agg, err := p.plan.Aggregate(name, a.fn, p.time, a.args...)
		if err != nil {
			return p.at(a.at, err)
		}
		s.Aggs = append(s.Aggs, agg)
	}
	p.plan.Stages = append(p.plan.Stages, s)
	p.plan.Aggregated, p.plan.Limited = true, false
	p.rows, p.time, p.sorted, p.order, p.cols = false, nil, false, nil, slices.Clone(s.By)
	for _, c := range s.By {
		p.order = append(p.order, plan.Key{Col: c})
	}
	for _, a := range s.Aggs {
		p.cols = append(p.cols, a.Col)
	}
	return nil
}

func (p *parser) distinct() error {
	items, err := p.items(false)
	if err != nil {
		return err
	}
	return p.group(items, nil)
}

// distinctNames gives unnamed items free names and refuses a name that was given twice.
func (p *parser) distinctNames(items []named) ([]named, error) {
	taken := map[string]bool{}
	for _, n := range items {
		if !n.given {
			continue
		}
		if taken[n.name] {
			return nil, p.errorAt(n.at, "two columns are called %q", n.name)
		}
		taken[n.name] = true
	}
	for i, n := range items {
		if !n.given {
			items[i].name = plan.Free(taken, n.name)
			taken[items[i].name] = true
		}
	}
	return items, nil
}

func (p *parser) sort() error {
	if _, err := p.accept("by"); err != nil {
		return err
	}
	var keys []plan.Key
	for {
		k, err := p.sortKey(false)
		if err != nil {
			return err
		}
		if keys = append(keys, k); len(keys) > maxColumns {
			return p.errorf("more than %d sort keys", maxColumns)
		}
		if !p.isPunct(",") {
			p.sortBy(keys)
			return nil
		}
		if err := p.advance(); err != nil {
			return err
		}
	}
}

// sortKey reads expr [asc|desc]; desc is the direction without a word.
func (p *parser) sortKey(desc bool) (plan.Key, error) {
	at := p.tok
	e, err := p.expr()
	if err != nil {
		return plan.Key{}, err
	}
	if e.Type == plan.Map || e.Type == plan.List {
		return plan.Key{}, p.errorAt(at, "rows cannot be sorted by a %s", e.Type)
	}
	k := plan.Key{Desc: desc}
	switch {
	case p.isWord("asc"):
		k.Desc = false
		err = p.advance()
	case p.isWord("desc"):
		k.Desc = true
		err = p.advance()
	}
	if err == nil && p.tok.kind == word {
		if hint := advised(p.tok.s, map[string]string{"ascending": "asc", "descending": "desc"}, []string{"asc", "desc"}); hint != "" {
			err = p.errorf("unknown direction %q%s", p.tok.s, hint)
		}
	}
	if err != nil {
		return k, err
	}
	if e.Op == plan.Ref {
		k.Col = e.Col
		return k, nil
	}
	d := p.plan.Define("", e)
	p.plan.Stages = append(p.plan.Stages, plan.Extend{Defs: []plan.Def{d}})
	k.Col = d.Col
	return k, nil
}

// sortBy adds the Sort stage. Rows that compare equal stay in the default order: newest first, or by group.
func (p *parser) sortBy(keys []plan.Key) {
	for _, o := range p.order {
		if !slices.ContainsFunc(keys, func(k plan.Key) bool { return k.Col == o.Col }) {
			keys = append(keys, o)
		}
	}
	p.plan.Stages = append(p.plan.Stages, plan.Sort{Keys: keys})
	p.sorted = true
}

// sortByDefault makes sure that rows have an order: which rows a limit keeps must not depend on where they are stored.
func (p *parser) sortByDefault() {
	if !p.sorted && len(p.order) > 0 {
		p.sortBy(nil)
	}
}

// count reads a literal count, or a variable that holds one.
func (p *parser) count() (int, error) {
	at, value := p.tok, p.tok.value
	if at.kind == variable {
		v, err := p.bound(at)
		if err != nil {
			return 0, err
		}
		value = v.values[0]
	}
	n, ok := value.(int64)
	if !ok || n < 1 || n > MaxLimit {
		return 0, p.errorf("expected a count from 1 to %d", MaxLimit)
	}
	return int(n), p.advance()
}

func (p *parser) limit() error {
	n, err := p.count()
	if err != nil {
		return err
	}
	p.sortByDefault()
	p.plan.Stages = append(p.plan.Stages, plan.Limit{N: n})
	p.plan.Limited = true
	return nil
}

func (p *parser) top() error {
	n, err := p.count()
	if err != nil {
		return err
	}
	if by, err := p.accept("by"); err != nil {
		return err
	} else if !by {
		return p.expected(`"by", as in: top 10 by duration`)
	}
	k, err := p.sortKey(true)
	if err != nil {
		return err
	}
	p.sortBy([]plan.Key{k})
	p.plan.Stages = append(p.plan.Stages, plan.Limit{N: n})
	p.plan.Limited = true
	return nil
}
