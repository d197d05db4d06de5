package oql

import (
	"slices"
	"strings"

	"github.com/headgate-io/headgate/query/plan"
)

// subquery reads "(" query ")" and returns its plan. Its columns have ids of their own; the pipeline around it is as before.
func (p *parser) subquery() (*plan.Plan, error) {
	if p.depth++; p.depth > maxDepth {
		return nil, p.errorf("the query is nested more than %d deep", maxDepth)
	}
	if !p.isPunct("(") {
		return nil, p.expected(`a query in parentheses, as in (spans | where status == "error")`)
	}
	if err := p.advance(); err != nil {
		return nil, err
	}
	outer := p.pipeline
	p.pipeline = pipeline{}
	if err := p.body(`"|" or ")"`, func() bool { return p.isPunct(")") }); err != nil {
		return nil, err
	}
	sub := p.plan
	p.pipeline = outer
	p.depth--
	return sub, p.advance()
}

// join reads [ "inner" | "left" ] "(" query ")" "on" ident { "," ident }.
func (p *parser) join() error {
	kind := plan.Inner
	switch {
	case p.isWord("inner") || p.isWord("left"):
		kind = plan.JoinKind(p.tok.s)
		if err := p.advance(); err != nil {
			return err
		}
	case p.tok.kind == word:
		return p.errorf(`expected "inner", "left" or a query in parentheses, got %s%s`, p.tok, didYouMean(p.tok.s, []string{"inner", "left"}))
	}
	at := p.tok
	with, err := p.subquery()
	if err != nil {
		return err
	}
	if on, err := p.accept("on"); err != nil {
		return err
	} else if !on {
		return p.expected(`"on" and the columns that both sides have in common, as in: on trace_id`)
	}
	on, err := p.joinKeys(with)
	if err != nil {
		return err
	}
	j, cols := p.plan.Join(kind, p.cols, with, on)
	if len(cols) > maxColumns {
		return p.errorAt(at, "more than %d columns", maxColumns)
	}
	p.order = slices.Concat(p.order, p.plan.JoinOrder(&j))
	p.plan.Stages = append(p.plan.Stages, j)
	p.cols, p.rows, p.plan.Limited = cols, false, false
	if p.sorted {
		p.sortBy(slices.Clone(p.plan.Order()))
	}
	return nil
}

// joinKeys reads ident { "," ident }.
func (p *parser) joinKeys(with *plan.Plan) ([]plan.Pair, error) {
	var on []plan.Pair
	for {
		at := p.tok
		if at.kind != word || reserved[at.s] {
			return nil, p.expected("a column that both sides have")
		}
		if next := p.peek(); next.kind == punct && (next.s == "." || next.s == "[" || next.s == "==" || next.s == "=") {
			return nil, p.errorAt(next, "a join compares columns of one name: name what is compared in both queries, as in: extend id = attr[\"order.id\"]")
		}
		left := p.column(at.s)
		if left == nil {
			return nil, p.unknownColumn(at, at.s)
		}
		right := columnOf(with.Output, at.s)
		if right == nil {
			right = columnOf(with.Output, left.Name)
		}
		if right == nil {
			return nil, p.errorAt(at, "the joined query has no column %q: its columns are %s", at.s, listed(with.Output))
		}
		pair, err := plan.Comparable(left, right)
		if err != nil {
			return nil, p.at(at, err)
		}
		if on = append(on, pair); len(on) > maxColumns {
			return nil, p.errorf("more than %d columns", maxColumns)
		}
		if err := p.advance(); err != nil {
			return nil, err
		}
		if !p.isPunct(",") {
			return on, nil
		}
		if err := p.advance(); err != nil {
			return nil, err
		}
	}
}

// union reads "(" query ")".
func (p *parser) union(at token) error {
	with, err := p.subquery()
	if err != nil {
		return err
	}
	u, cols, err := p.plan.Union(p.cols, with)
	if err != nil {
		return p.at(at, err)
	}
	if len(cols) > maxColumns {
		return p.errorAt(at, "more than %d columns", maxColumns)
	}
	order := p.order
	if p.sorted {
		order = p.plan.Order()
	}
	p.order = p.plan.UnionOrder(&u, order)
	p.plan.Stages = append(p.plan.Stages, u)
	p.cols, p.rows, p.sorted, p.plan.Limited = cols, false, false, false
	p.time = p.column("time")
	if p.time != nil && (p.time.Type != plan.Time || p.time.Name != "time") {
		p.time = nil
	}
	return nil
}

// listed is the names of columns for an error, the first of many.
func listed(cols []*plan.Column) string {
	names := make([]string, 0, len(cols))
	for _, c := range cols {
		names = append(names, c.Name)
	}
	if len(names) > maxListed {
		names = append(names[:maxListed], "…")
	}
	return strings.Join(names, ", ")
}
