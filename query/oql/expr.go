package oql

import (
	"strings"

	"github.com/headgate-io/headgate/query/plan"
)

// reserved words cannot name a column.
var reserved = map[string]bool{
	"and": true, "or": true, "not": true, "in": true, "between": true, "startswith": true, "endswith": true,
	"by": true, "asc": true, "desc": true, "true": true, "false": true, "null": true,
}

// expr reads an expression.
func (p *parser) expr() (*plan.Expr, error) {
	p.depth++
	defer func() { p.depth-- }()
	if p.depth > maxDepth {
		return nil, p.errorf("the expression is nested more than %d deep", maxDepth)
	}
	return p.logical("or", plan.Or, func() (*plan.Expr, error) { return p.logical("and", plan.And, p.negation) })
}

// apply makes op(args…) and gives an error the position of at.
func (p *parser) apply(at token, op plan.Op, args ...*plan.Expr) (*plan.Expr, error) {
	if p.nodes++; p.nodes > maxNodes {
		return nil, p.errorAt(at, "the query has more than %d operators and values", maxNodes)
	}
	e, err := plan.Apply(op, args...)
	if err != nil {
		return nil, p.at(at, err)
	}
	if depth(e) > maxDepth {
		return nil, p.errorAt(at, "the expression is nested more than %d deep", maxDepth)
	}
	return e, nil
}

func depth(e *plan.Expr) int {
	d := 0
	for _, a := range e.Args {
		d = max(d, depth(a))
	}
	return d + 1
}

func size(e *plan.Expr) int {
	n := 0
	e.Walk(func(*plan.Expr) { n++ })
	return n
}

// logical reads operands that the word joins; any number of them makes one node.
func (p *parser) logical(join string, op plan.Op, operand func() (*plan.Expr, error)) (*plan.Expr, error) {
	at := p.tok
	e, err := operand()
	if err != nil || !p.isWord(join) {
		return e, err
	}
	operands := []*plan.Expr{}
	for {
		if e, err = plan.Condition(e); err != nil {
			return nil, p.at(at, err)
		}
		operands = append(operands, e)
		if !p.isWord(join) {
			return p.apply(at, op, operands...)
		}
		if err := p.advance(); err != nil {
			return nil, err
		}
		at = p.tok
		if e, err = operand(); err != nil {
			return nil, err
		}
	}
}

func (p *parser) negation() (*plan.Expr, error) {
	if !p.isWord("not") {
		return p.comparison()
	}
	at := p.tok
	if err := p.advance(); err != nil {
		return nil, err
	}
	if p.depth++; p.depth > maxDepth {
		return nil, p.errorAt(at, "the expression is nested more than %d deep", maxDepth)
	}
	defer func() { p.depth-- }()
	e, err := p.negation()
	if err != nil {
		return nil, err
	}
	return p.apply(at, plan.Not, e)
}

// compare are the operators of two operands: the operation and whether its result is negated.
var compare = map[string]struct {
	op  plan.Op
	not bool
}{
	"==": {plan.Eq, false}, "!=": {plan.Eq, true}, "<": {plan.Lt, false}, "<=": {plan.Le, false}, ">": {plan.Gt, false}, ">=": {plan.Ge, false},
	"~": {plan.Contains, false}, "!~": {plan.Contains, true}, "=~": {plan.Match, false}, "!=~": {plan.Match, true},
	"startswith": {plan.StartsWith, false}, "endswith": {plan.EndsWith, false},
}

func (p *parser) comparison() (*plan.Expr, error) {
	left, err := p.sum()
	if err != nil {
		return nil, err
	}
	at := p.tok
	if at.kind != word && at.kind != punct {
		return left, nil
	}
	not := false
	switch {
	case at.s == "=":
		return nil, p.errorf(`two values are compared with "=="`)
	case at.s == "not":
		if err := p.advance(); err != nil {
			return nil, err
		}
		if not = true; !p.isWord("in") && !p.isWord("between") && !p.isWord("startswith") && !p.isWord("endswith") {
			return nil, p.expected(`"in", "between", "startswith" or "endswith" after "not"`)
		}
	case at.s == "!in":
		not = true
	}
	c, ok := compare[p.tok.s]
	var e *plan.Expr
	switch {
	case ok:
		not = not || c.not
		if err := p.advance(); err != nil {
			return nil, err
		}
		right, err := p.sum()
		if err != nil {
			return nil, err
		}
		if e, err = p.apply(at, c.op, left, right); err != nil {
			return nil, err
		}
	case p.tok.s == "in" || p.tok.s == "!in":
		e, err = p.in(at, left)
	case p.tok.s == "between":
		e, err = p.between(at, left)
	default:
		return left, nil
	}
	if err == nil && not {
		e, err = p.apply(at, plan.Not, e)
	}
	if err != nil {
		return nil, err
	}
	if _, again := compare[p.tok.s]; again && (p.tok.kind == word || p.tok.kind == punct) {
		return nil, p.errorf(`comparisons do not chain: join them with "and"`)
	}
	return e, nil
}

func (p *parser) in(at token, x *plan.Expr) (*plan.Expr, error) {
	if err := p.advance(); err != nil {
		return nil, err
	}
	args := []*plan.Expr{x}
	if p.tok.kind == variable {
		items, err := p.list()
		if err != nil {
			return nil, err
		}
		return p.apply(at, plan.In, append(args, items...)...)
	}
	if err := p.want("("); err != nil {
		return nil, err
	}
	for {
		var items []*plan.Expr
		var err error
		if p.tok.kind == variable {
			items, err = p.list()
		} else {
			var l *plan.Expr
			l, err = p.literal()
			items = []*plan.Expr{l}
		}
		if err != nil {
			return nil, err
		}
		if args = append(args, items...); len(args) > maxInItems+1 {
			return nil, p.errorf("more than %d values in one list", maxInItems)
		}
		if p.isPunct(")") {
			if err := p.advance(); err != nil {
				return nil, err
			}
			return p.apply(at, plan.In, args...)
		}
		if err := p.want(","); err != nil {
			return nil, err
		}
	}
}

// literal reads a literal, a number may have a sign.
func (p *parser) literal() (*plan.Expr, error) {
	at := p.tok
	minus := p.isPunct("-")
	if minus {
		if err := p.advance(); err != nil {
			return nil, err
		}
	}
	v := p.tok
	if v.kind == word && (v.s == "true" || v.s == "false") && !minus {
		return plan.Value(v.s == "true"), p.advance()
	}
	if v.kind != number && v.kind != duration && (v.kind != text || minus) {
		return nil, p.expected("a literal")
	}
	if err := p.advance(); err != nil {
		return nil, err
	}
	e := plan.Value(v.value)
	if !minus {
		return e, nil
	}
	e, err := plan.Apply(plan.Neg, e)
	if err != nil {
		return nil, p.at(at, err)
	}
	return e, nil
}

func (p *parser) between(at token, x *plan.Expr) (*plan.Expr, error) {
	if err := p.advance(); err != nil {
		return nil, err
	}
	low, err := p.sum()
	if err != nil {
		return nil, err
	}
	if and, err := p.accept("and"); err != nil {
		return nil, err
	} else if !and {
		return nil, p.expected(`"and", as in: between 1 and 5`)
	}
	high, err := p.sum()
	if err != nil {
		return nil, err
	}
	p.nodes += size(x) // x stands twice in the plan, and nesting would double it each time
	ge, err := p.apply(at, plan.Ge, x, low)
	if err != nil {
		return nil, err
	}
	le, err := p.apply(at, plan.Le, x, high)
	if err != nil {
		return nil, err
	}
	return p.apply(at, plan.And, ge, le)
}

var (
	sums     = map[string]plan.Op{"+": plan.Add, "-": plan.Sub}
	products = map[string]plan.Op{"*": plan.Mul, "/": plan.Div, "%": plan.Mod}
)

func (p *parser) sum() (*plan.Expr, error)     { return p.binary(sums, p.product) }
func (p *parser) product() (*plan.Expr, error) { return p.binary(products, p.unary) }

func (p *parser) binary(ops map[string]plan.Op, operand func() (*plan.Expr, error)) (*plan.Expr, error) {
	e, err := operand()
	for err == nil && p.tok.kind == punct {
		op, ok := ops[p.tok.s]
		if !ok {
			break
		}
		at := p.tok
		if err := p.advance(); err != nil {
			return nil, err
		}
		right, err := operand()
		if err != nil {
			return nil, err
		}
		if e, err = p.apply(at, op, e, right); err != nil {
			return nil, err
		}
	}
	return e, err
}

func (p *parser) unary() (*plan.Expr, error) {
	if !p.isPunct("-") {
		return p.primary()
	}
	at := p.tok
	if p.depth++; p.depth > maxDepth {
		return nil, p.errorf("the expression is nested more than %d deep", maxDepth)
	}
	defer func() { p.depth-- }()
	if err := p.advance(); err != nil {
		return nil, err
	}
	e, err := p.unary()
	if err != nil {
		return nil, err
	}
	return p.apply(at, plan.Neg, e)
}

func (p *parser) primary() (*plan.Expr, error) {
	at := p.tok
	if p.nodes++; p.nodes > maxNodes {
		return nil, p.errorf("the query has more than %d operators and values", maxNodes)
	}
	switch {
	case p.isPunct("("):
		if err := p.advance(); err != nil {
			return nil, err
		}
		e, err := p.expr()
		if err != nil {
			return nil, err
		}
		return e, p.want(")")
	case at.kind == text || at.kind == number || at.kind == duration:
		return plan.Value(at.value), p.advance()
	case at.kind == variable:
		return p.variable()
	case at.kind != word:
		return nil, p.expected("a value, a column or a function")
	}
	next := p.peek()
	switch {
	case at.s == "true" || at.s == "false":
		return plan.Value(at.s == "true"), p.advance()
	case at.s == "null":
		return plan.Value(nil), p.advance()
	case at.s == "datetime" && next.kind == text:
		return p.datetime()
	case reserved[at.s]:
		return nil, p.errorf("expected a value, a column or a function, got the word %q", at.s)
	case next.kind == punct && next.s == "(":
		return p.call()
	}
	return p.field()
}

func (p *parser) datetime() (*plan.Expr, error) {
	if err := p.advance(); err != nil {
		return nil, err
	}
	at := p.tok
	s, err := p.textLiteral(`a time such as datetime"2025-01-31T12:00:00Z"`)
	if err != nil {
		return nil, err
	}
	t, err := plan.ParseTime(s)
	if err != nil {
		return nil, p.at(at, err)
	}
	return plan.Value(t), nil
}

// field reads a column or one attribute of a map column: attr.http.route, attr["http.route"].
func (p *parser) field() (*plan.Expr, error) {
	at := p.tok
	if at.kind != word || reserved[at.s] {
		return nil, p.expected("a column")
	}
	if err := p.advance(); err != nil {
		return nil, err
	}
	var parts []string
	for p.isPunct(".") {
		if err := p.advance(); err != nil {
			return nil, err
		}
		if p.tok.kind != word {
			return nil, p.expected("a name after the dot; other names are written in brackets, as in attr[\"2xx\"]")
		}
		parts = append(parts, p.tok.s)
		if err := p.advance(); err != nil {
			return nil, err
		}
	}
	key := strings.Join(parts, ".")
	if len(parts) == 0 && p.isPunct("[") {
		if err := p.advance(); err != nil {
			return nil, err
		}
		k, err := p.textLiteral("the name of an attribute in double quotes")
		if err != nil {
			return nil, err
		}
		if err := p.want("]"); err != nil {
			return nil, err
		}
		return p.attribute(at, k)
	}
	if len(parts) > 0 {
		return p.attribute(at, key)
	}
	c := p.column(at.s)
	if c == nil {
		return nil, p.unknownColumn(at, at.s)
	}
	return plan.Use(c), nil
}

// attribute resolves base.key: a column of that whole name that an earlier stage made, else a key of a map.
func (p *parser) attribute(at token, key string) (*plan.Expr, error) {
	if c := p.column(attributeName(at.s, key)); c != nil {
		return plan.Use(c), nil
	}
	c := p.column(at.s)
	if c == nil {
		return nil, p.unknownColumn(at, at.s+"."+key)
	}
	return p.apply(at, plan.Get, plan.Use(c), plan.Value(key))
}

func attributeName(base, key string) string {
	if base == "attributes" {
		base = "attr"
	}
	return base + "." + key
}

// lastEnd is the offset after the last token that was read.
func (p *parser) lastEnd() int {
	return len(strings.TrimRight(p.lex.src[:p.tok.off], " \t\r\n"))
}

// nameOf is the name of a column made of e without a name: the column, the attribute, for bin what is binned, else the
// text of the expression if it is short, else "column".
func (p *parser) nameOf(e *plan.Expr, written string) string {
	switch {
	case e.Op == plan.Ref:
		return e.Col.Name
	case e.Op == plan.Get:
		base, key := e.Args[0], e.Args[1].Value.(string)
		if base.Op == plan.Ref && len(key) <= maxNameBytes {
			return attributeName(base.Col.Name, key)
		}
	case e.Op == plan.Bin:
		return p.nameOf(e.Args[0], written)
	}
	if written != "" && len(written) <= maxNameBytes && !strings.ContainsAny(written, "\n\r\t") {
		return written
	}
	return "column"
}
