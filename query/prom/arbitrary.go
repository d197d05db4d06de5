package prom

import (
	"slices"

	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/promql"
	"github.com/prometheus/prometheus/promql/parser"
)

// settle puts the series of an instant vector that the engine left in an arbitrary order into that of their labels, so that
// the same question has the same answer, also where a limit cuts it: what a subquery computes at several times comes out of a map.
func settle(v promql.Vector, expr parser.Expr) {
	if hasSubquery(expr) && !ordered(expr) {
		slices.SortStableFunc(v, func(a, b promql.Sample) int { return labels.Compare(a.Metric, b.Metric) })
	}
}

func hasSubquery(expr parser.Expr) (found bool) {
	parser.Inspect(expr, func(n parser.Node, _ []parser.Node) error {
		if _, ok := n.(*parser.SubqueryExpr); ok {
			found = true
		}
		return nil
	})
	return found
}

// ordered reports whether expr says itself in which order its series come.
func ordered(expr parser.Expr) bool {
	switch e := expr.(type) {
	case *parser.ParenExpr:
		return ordered(e.Expr)
	case *parser.StepInvariantExpr:
		return ordered(e.Expr)
	case *parser.AggregateExpr:
		return e.Op == parser.TOPK || e.Op == parser.BOTTOMK
	case *parser.Call:
		return slices.Contains([]string{"sort", "sort_desc", "sort_by_label", "sort_by_label_desc"}, e.Func.Name)
	}
	return false
}
