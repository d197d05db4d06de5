package prom

import (
	"fmt"
	"strconv"

	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/promql/parser"
)

// tree is a node of an expression as /api/v1/parse_query documents it.
type tree map[string]any

// parseQuery answers /api/v1/parse_query: the expression as a tree.
func (r *request) parseQuery() (answer, error) {
	expr, err := r.expression()
	if err != nil {
		return answer{}, err
	}
	t, err := treeOf(expr)
	if err != nil {
		return answer{}, err
	}
	return answer{data: func(w *writer) { w.value(t) }}, nil
}

// treeOf returns the tree of a node; nil for none. A node that is not known is an error.
func treeOf(node parser.Expr) (any, error) {
	g := grower{}
	t := g.grow(node)
	return t, g.err
}

// grower makes trees and keeps the first error.
type grower struct{ err error }

func (g *grower) grow(node parser.Expr) any {
	switch n := node.(type) {
	case nil:
		return nil
	case *parser.AggregateExpr:
		return tree{
			"type": "aggregation", "op": n.Op.String(), "expr": g.grow(n.Expr), "param": g.grow(n.Param),
			"grouping": orEmpty(n.Grouping), "without": n.Without,
		}
	case *parser.BinaryExpr:
		return tree{
			"type": "binaryExpr", "op": n.Op.String(), "lhs": g.grow(n.LHS), "rhs": g.grow(n.RHS),
			"matching": matchingOf(n.VectorMatching), "bool": n.ReturnBool,
		}
	case *parser.Call:
		args := []any{}
		for _, a := range n.Args {
			args = append(args, g.grow(a))
		}
		return tree{"type": "call", "args": args, "func": tree{
			"name": n.Func.Name, "argTypes": n.Func.ArgTypes, "variadic": n.Func.Variadic, "returnType": n.Func.ReturnType,
		}}
	case *parser.MatrixSelector:
		v, ok := n.VectorSelector.(*parser.VectorSelector)
		if !ok {
			return g.unknown(n.VectorSelector)
		}
		t := g.selector(v, "matrixSelector")
		t["range"], t["rangeExpr"] = n.Range.Milliseconds(), g.duration(n.RangeExpr)
		return t
	case *parser.VectorSelector:
		return g.selector(n, "vectorSelector")
	case *parser.SubqueryExpr:
		return tree{
			"type": "subquery", "expr": g.grow(n.Expr),
			"range": n.Range.Milliseconds(), "rangeExpr": g.duration(n.RangeExpr),
			"offset": n.OriginalOffset.Milliseconds(), "offsetExpr": g.duration(n.OriginalOffsetExpr),
			"step": n.Step.Milliseconds(), "stepExpr": g.duration(n.StepExpr),
			"timestamp": n.Timestamp, "startOrEnd": startOrEnd(n.StartOrEnd),
		}
	case *parser.DurationExpr:
		return g.duration(n)
	case *parser.NumberLiteral:
		return tree{"type": "numberLiteral", "val": formatLe(n.Val)}
	case *parser.ParenExpr:
		return tree{"type": "parenExpr", "expr": g.grow(n.Expr)}
	case *parser.StringLiteral:
		return tree{"type": "stringLiteral", "val": n.Val}
	case *parser.UnaryExpr:
		return tree{"type": "unaryExpr", "op": n.Op.String(), "expr": g.grow(n.Expr)}
	}
	return g.unknown(node)
}

func (g *grower) unknown(node parser.Expr) any {
	g.err = fmt.Errorf("BUG: no tree for %T", node)
	return nil
}

func (g *grower) selector(n *parser.VectorSelector, kind string) tree {
	return tree{
		"type": kind, "name": n.Name, "matchers": matchersOf(n.LabelMatchers),
		"offset": n.OriginalOffset.Milliseconds(), "offsetExpr": g.duration(n.OriginalOffsetExpr),
		"timestamp": n.Timestamp, "startOrEnd": startOrEnd(n.StartOrEnd), "anchored": n.Anchored, "smoothed": n.Smoothed,
	}
}

// duration is the tree of an expression where a duration stands. A number there says whether it was written as one.
func (g *grower) duration(node parser.Expr) any {
	switch n := node.(type) {
	case *parser.DurationExpr:
		if n == nil {
			return nil
		}
		return tree{"type": "durationExpr", "op": n.Op.String(), "lhs": g.duration(n.LHS), "rhs": g.duration(n.RHS), "wrapped": n.Wrapped}
	case *parser.NumberLiteral:
		if n == nil {
			return nil
		}
		return tree{"type": "numberLiteral", "val": strconv.FormatFloat(n.Val, 'f', -1, 64), "duration": n.Duration}
	}
	return g.grow(node)
}

func matchingOf(m *parser.VectorMatching) any {
	if m == nil {
		return nil
	}
	return tree{
		"card": m.Card.String(), "labels": orEmpty(m.MatchingLabels), "on": m.On, "include": orEmpty(m.Include),
		"fillValues": tree{"lhs": m.FillValues.LHS, "rhs": m.FillValues.RHS},
	}
}

func matchersOf(list []*labels.Matcher) []tree {
	out := []tree{}
	for _, m := range list {
		out = append(out, tree{"name": m.Name, "value": m.Value, "type": m.Type.String()})
	}
	return out
}

func startOrEnd(item parser.ItemType) any {
	if item == 0 {
		return nil
	}
	return item.String()
}

func orEmpty(list []string) []string {
	if list == nil {
		return []string{}
	}
	return list
}
