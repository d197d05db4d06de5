package prom

import (
	"time"

	"github.com/prometheus/prometheus/promql/parser"
	"github.com/prometheus/prometheus/storage"

	"github.com/headgate-io/headgate/query"
)

// reach returns how far back of each step of a query its samples can matter, where a selection without a range looks back so
// far; 0 if that cannot be told, since parts of expr are evaluated at other times than the steps.
func reach(expr parser.Expr, back time.Duration) time.Duration {
	if back <= 0 {
		back = lookback // as the engine does
	}
	parser.Inspect(expr, func(node parser.Node, _ []parser.Node) error {
		switch n := node.(type) {
		case *parser.SubqueryExpr:
			back = 0
		case *parser.VectorSelector:
			if n.Timestamp != nil || n.StartOrEnd != 0 || n.Anchored || n.Smoothed {
				back = 0
			}
		case *parser.Call:
			if n.Func.Name == "info" { // selects by itself
				back = 0
			}
		}
		return nil
	})
	return back
}

// windowsOf returns the stretches of time, one before each step, of which samples are needed: those within the range of a
// selection, or as far as one without looks back. Where steps are farther apart, the engine never sees the samples between;
// that they are left out changes no answer.
func (s *Storage) windowsOf(hints *storage.SelectHints) query.Windows {
	length := hints.Range
	if length == 0 {
		length = s.reach.Milliseconds()
	}
	// A condition on each point is worth it from a fifth of them on.
	if s.reach == 0 || length == 0 || 4*hints.Step < 5*length {
		return query.Windows{}
	}
	// Start is the first millisecond of the first step's window.
	return query.Windows{At: hints.Start + length - 1, Every: hints.Step, Length: length}
}
