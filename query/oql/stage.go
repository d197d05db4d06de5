package oql

import (
	"github.com/headgate-io/headgate/query/plan"
)

// stageNames are what "did you mean" chooses from.
var stageNames = []string{
	"where", "search", "extend", "project", "project-away", "summarize", "sort", "limit", "take", "head", "top", "distinct", "count", "keys", "join", "union",
}

// stage reads one stage; its first word is the current token.
func (p *parser) stage() error {
	at := p.tok
	if at.kind != word {
		return p.expected("a stage such as where or summarize")
	}
	if err := p.advance(); err != nil {
		return err
	}
	switch at.s {
	case "where", "filter":
		return p.where()
	case "search":
		return p.search(at)
	case "extend":
		return p.extend()
	case "project":
		if p.isPunct("-") && p.tok.off == at.end {
			return p.projectAway()
		}
		return p.project()
	case "summarize":
		return p.summarize()
	case "distinct":
		return p.distinct()
	case "count":
		return p.group(nil, []aggregation{{fn: plan.Count, at: at}})
	case "keys":
		return p.keys(at)
	case "sort", "order":
		return p.sort()
	case "limit", "take", "head":
		return p.limit()
	case "top":
		return p.top()
	case "join":
		return p.join()
	case "union":
		return p.union(at)
	default:
		return p.errorAt(at, "unknown stage %q%s", at.s, advised(at.s, stageAdvice, stageNames))
	}
}

func (p *parser) where() error {
	c, err := p.condition()
	if err != nil {
		return err
	}
	p.plan.Stages = append(p.plan.Stages, plan.Where{Cond: c})
	return nil
}

// condition reads an expression that is true or false.
func (p *parser) condition() (*plan.Expr, error) {
	at := p.tok
	e, err := p.expr()
	if err != nil {
		return nil, err
	}
	if err := p.unknownOperator(); err != nil {
		return nil, err
	}
	c, err := plan.Condition(e)
	if err != nil {
		return nil, p.at(at, err)
	}
	return c, nil
}

// searched names the columns that search looks into.
var searched = map[plan.Source][]string{
	plan.Logs:    {"body"},
	plan.Spans:   {"name", "status_message"},
	plan.Metrics: {"name", "description"},
}

func (p *parser) search(at token) error {
	s, err := p.textValue("the text to look for, in double quotes")
	if err != nil {
		return err
	}
	var any []*plan.Expr
	for _, name := range searched[p.plan.Source] {
		if c := p.column(name); c != nil && c.Type == plan.String {
			e, err := plan.Apply(plan.Contains, plan.Use(c), plan.Value(s))
			if err != nil {
				return p.at(at, err)
			}
			any = append(any, e)
		}
	}
	switch len(any) {
	case 0:
		return p.errorAt(at, "search has nothing to look into here: it comes before project and summarize")
	case 1:
		p.plan.Stages = append(p.plan.Stages, plan.Where{Cond: any[0]})
		return nil
	}
	e, err := plan.Apply(plan.Or, any...)
	if err != nil {
		return p.at(at, err)
	}
	p.plan.Stages = append(p.plan.Stages, plan.Where{Cond: e})
	return nil
}

// named is an expression with the name that it has or gets.
type named struct {
	name  string
	given bool // the user wrote "name ="
	expr  *plan.Expr
	at    token
}

// item reads [ident "="] expr. must says that the name is needed.
func (p *parser) item(must bool) (named, error) {
	n := named{at: p.tok}
	if p.tok.kind == word && p.peek().kind == punct && p.peek().s == "=" {
		name, err := p.newName()
		if err != nil {
			return n, err
		}
		n.name, n.given = name, true
		if err := p.want("="); err != nil {
			return n, err
		}
	} else if must {
		return n, p.expected("a name and \"=\", as in: extend seconds = duration / 1s")
	}
	e, err := p.expr()
	if err != nil {
		return n, err
	}
	n.expr = e
	if !n.given {
		n.name = p.nameOf(e, p.lex.src[n.at.off:p.lastEnd()])
	}
	return n, nil
}

// newName reads the name of a new column.
func (p *parser) newName() (string, error) {
	if p.tok.kind != word || reserved[p.tok.s] {
		return "", p.expected("a name")
	}
	if len(p.tok.s) > maxNameBytes {
		return "", p.errorf("the name is longer than %d bytes", maxNameBytes)
	}
	name := p.tok.s
	return name, p.advance()
}

// items reads a list of items.
func (p *parser) items(must bool) ([]named, error) {
	var out []named
	for {
		n, err := p.item(must)
		if err != nil {
			return nil, err
		}
		if out = append(out, n); len(out) > maxColumns {
			return nil, p.errorf("more than %d columns", maxColumns)
		}
		if !p.isPunct(",") {
			return out, nil
		}
		if err := p.advance(); err != nil {
			return nil, err
		}
	}
}

// define adds the columns of items and returns them in order. A plain reference under its own name stays what it is.
func (p *parser) define(items []named) []*plan.Column {
	var defs []plan.Def
	out := make([]*plan.Column, len(items))
	for i, n := range items {
		if n.expr.Op == plan.Ref && n.expr.Col.Name == n.name {
			out[i] = n.expr.Col
			continue
		}
		d := p.plan.Define(n.name, n.expr)
		defs = append(defs, d)
		out[i] = d.Col
	}
	if defs != nil {
		p.plan.Stages = append(p.plan.Stages, plan.Extend{Defs: defs})
	}
	return out
}

// extend defines one column after the other: each may use those before it.
func (p *parser) extend() error {
	for n := 0; ; n++ {
		it, err := p.item(true)
		if err != nil {
			return err
		}
		c := p.define([]named{it})[0]
		p.cols = replace(p.cols, c)
		if len(p.cols) > maxColumns {
			return p.errorAt(it.at, "more than %d columns", maxColumns)
		}
		if !p.isPunct(",") {
			return nil
		}
		if err := p.advance(); err != nil {
			return err
		}
	}
}

// replace returns cols with c in the place of the column of its name, or at the end. cols itself is not changed.
func replace(cols []*plan.Column, c *plan.Column) []*plan.Column {
	out := append(make([]*plan.Column, 0, len(cols)+1), cols...)
	for i := range out {
		if out[i].Name == c.Name {
			out[i] = c
			return out
		}
	}
	return append(out, c)
}

func (p *parser) project() error {
	items, err := p.items(false)
	if err != nil {
		return err
	}
	if items, err = p.distinctNames(items); err != nil {
		return err
	}
	p.cols = p.define(items)
	return nil
}

func (p *parser) projectAway() error {
	if err := p.want("-"); err != nil {
		return err
	}
	if !p.isWord("away") {
		return p.expected(`"project-away"`)
	}
	if err := p.advance(); err != nil {
		return err
	}
	for {
		at := p.tok
		e, err := p.field()
		if err != nil {
			return err
		}
		if e.Op != plan.Ref {
			return p.errorAt(at, "project-away takes columns, and a single attribute is not one")
		}
		var left []*plan.Column
		for _, c := range p.cols {
			if c != e.Col {
				left = append(left, c)
			}
		}
		if p.cols = left; len(left) == 0 {
			return p.errorAt(at, "project-away leaves no column")
		}
		if !p.isPunct(",") {
			return nil
		}
		if err := p.advance(); err != nil {
			return err
		}
	}
}
