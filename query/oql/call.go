package oql

import (
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/headgate-io/headgate/query/plan"
)

// functions maps the names of functions to the operation that they are.
var functions = map[string]plan.Op{
	"tolower": plan.Lower, "lower": plan.Lower, "toupper": plan.Upper, "upper": plan.Upper,
	"strlen": plan.Length, "len": plan.Length, "substring": plan.Substring, "trim": plan.Trim,
	"concat": plan.Concat, "strcat": plan.Concat, "replace": plan.Replace, "extract": plan.Extract, "contains": plan.Contains,
	"coalesce": plan.Coalesce, "iff": plan.If, "if": plan.If, "isnull": plan.IsNull,
	"abs": plan.Abs, "floor": plan.Floor, "ceil": plan.Ceil, "round": plan.Round,
	"float": plan.ToFloat, "todouble": plan.ToFloat, "int": plan.ToInt, "toint": plan.ToInt, "string": plan.ToString, "tostring": plan.ToString,
	"bin": plan.Bin, "now": plan.Now, "ago": plan.Now,
}

// forms are the functions that are more than one operation.
var forms = map[string]func(*parser, token, []*plan.Expr) (*plan.Expr, error){
	"exists": func(p *parser, at token, args []*plan.Expr) (*plan.Expr, error) {
		if len(args) != 1 || args[0].Op != plan.Get {
			return nil, p.errorAt(at, "exists asks for one attribute, as in exists(attr[\"http.route\"])")
		}
		return p.apply(at, plan.Has, args[0].Args...)
	},
	"isnotnull": func(p *parser, at token, args []*plan.Expr) (*plan.Expr, error) {
		e, err := p.apply(at, plan.IsNull, args...)
		if err != nil {
			return nil, err
		}
		return p.apply(at, plan.Not, e)
	},
	"isempty":    func(p *parser, at token, args []*plan.Expr) (*plan.Expr, error) { return p.empty(at, args) },
	"isnotempty": notEmpty,
}

func notEmpty(p *parser, at token, args []*plan.Expr) (*plan.Expr, error) {
	e, err := p.empty(at, args)
	if err != nil {
		return nil, err
	}
	return p.apply(at, plan.Not, e)
}

// empty is true for null and for the empty text.
func (p *parser) empty(at token, args []*plan.Expr) (*plan.Expr, error) {
	if len(args) != 1 || args[0].Type != plan.String {
		return nil, p.errorAt(at, "isempty takes one text")
	}
	p.nodes += size(args[0]) // it may stand twice
	null, err := plan.Apply(plan.Eq, args[0], plan.Value(""))
	if err != nil || !args[0].Nullable {
		return null, err
	}
	n, err := p.apply(at, plan.IsNull, args[0])
	if err != nil {
		return nil, err
	}
	return p.apply(at, plan.Or, n, null)
}

// call reads name(args…).
func (p *parser) call() (*plan.Expr, error) {
	at := p.tok
	op, known := functions[at.s]
	form, isForm := forms[at.s]
	switch {
	case !known && !isForm && isAgg(at.s):
		return nil, p.errorAt(at, "%s() aggregates rows: it stands in summarize", at.s)
	case !known && !isForm:
		names := append(slices.Collect(maps.Keys(functions)), slices.Collect(maps.Keys(forms))...)
		slices.Sort(names)
		return nil, p.errorAt(at, "unknown function %q%s", at.s, didYouMean(at.s, names))
	}
	if err := p.advance(); err != nil {
		return nil, err
	}
	if op == plan.Bin {
		return p.bin(at)
	}
	args, err := p.args()
	if err != nil {
		return nil, err
	}
	if isForm {
		return form(p, at, args)
	}
	if want := map[string]int{"ago": 1, "now": 0}; op == plan.Now && len(args) != want[at.s] {
		return nil, p.at(at, fmt.Errorf("%s takes %s, got %d", at.s, plan.Arguments(want[at.s]), len(args)))
	}
	return p.apply(at, op, args...)
}

// args reads "(" [ expr { "," expr } ] ")".
func (p *parser) args() ([]*plan.Expr, error) {
	if err := p.want("("); err != nil {
		return nil, err
	}
	if p.isPunct(")") {
		return nil, p.advance()
	}
	var args []*plan.Expr
	for {
		e, err := p.expr()
		if err != nil {
			return nil, err
		}
		if args = append(args, e); len(args) > maxColumns {
			return nil, p.errorf("more than %d arguments", maxColumns)
		}
		if p.isPunct(")") {
			return args, p.advance()
		}
		if !p.isPunct(",") {
			return nil, p.expected(`"," or ")"`)
		}
		if err := p.advance(); err != nil {
			return nil, err
		}
	}
}

// bin reads bin(5m), bin(auto), bin(x, width).
func (p *parser) bin(at token) (*plan.Expr, error) {
	auto := p.peek()
	if auto.kind == word && auto.s == "auto" {
		if err := p.want("("); err != nil {
			return nil, err
		}
		if err := p.advance(); err != nil {
			return nil, err
		}
		if err := p.want(")"); err != nil {
			return nil, err
		}
		return p.binTime(at, plan.Value(time.Duration(0)))
	}
	args, err := p.args()
	if err != nil {
		return nil, err
	}
	if len(args) == 1 {
		if d, ok := args[0].Value.(time.Duration); !ok || d <= 0 {
			return nil, p.errorAt(at, "bin wants a width such as bin(5m), or bin(auto)")
		}
		return p.binTime(at, args[0])
	}
	if len(args) == 2 {
		if d, ok := args[1].Value.(time.Duration); ok && d <= 0 {
			return nil, p.errorAt(at, "bin wants a width greater than zero")
		}
	}
	return p.apply(at, plan.Bin, args...)
}

func (p *parser) binTime(at token, width *plan.Expr) (*plan.Expr, error) {
	c := p.column("time")
	if c == nil || c.Type != plan.Time {
		return nil, p.errorAt(at, "bin of the time wants the column time, which is not here any more")
	}
	return p.apply(at, plan.Bin, plan.Use(c), width)
}
