package plan

import (
	"fmt"
	"slices"
)

// AggFn is an aggregation. The list is closed.
type AggFn string

const (
	Count      AggFn = "count"
	CountIf    AggFn = "countif"
	DCount     AggFn = "dcount"
	Sum        AggFn = "sum"
	Avg        AggFn = "avg"
	Min        AggFn = "min"
	Max        AggFn = "max"
	Any        AggFn = "any"        // the value of the newest row that has one
	Percentile AggFn = "percentile" // Param is the percentile, 0 to 100
	Top        AggFn = "top"        // Param is how many of the most frequent values
)

// AggFns lists all aggregations.
var AggFns = []AggFn{Count, CountIf, DCount, Sum, Avg, Min, Max, Any, Percentile, Top}

// Agg is one aggregation of a Summarize.
type Agg struct {
	Col   *Column
	Fn    AggFn
	Arg   *Expr   // nil for count
	By    *Column // for any: the column whose greatest value decides, nil for none
	Param float64
}

// maxTop bounds the list that top returns.
const maxTop = 100

// Aggregate makes the aggregation fn(args…) as a new column. time is the source's time column while it still exists.
func (p *Plan) Aggregate(name string, fn AggFn, time *Column, args ...*Expr) (Agg, error) {
	want := map[AggFn]int{Count: 0, Percentile: 2, Top: 2}
	n, ok := want[fn]
	if !ok {
		n = 1
	}
	if !slices.Contains(AggFns, fn) {
		return Agg{}, fmt.Errorf("no aggregation %q", string(fn))
	}
	if fn == Top && len(args) == 1 {
		args = append(args, Value(10))
	}
	if len(args) != n {
		return Agg{}, fmt.Errorf("%s takes %s, got %d", fn, Arguments(n), len(args))
	}
	a := Agg{Fn: fn}
	if n > 0 {
		a.Arg = args[0]
		if t := a.Arg.Type; t == Map || t == List || t == Null {
			return Agg{}, fmt.Errorf("%s cannot aggregate %s", fn, describe(a.Arg))
		}
	}
	t, err := a.complete(args)
	if err != nil {
		return Agg{}, err
	}
	if fn == Any {
		a.By = time
	}
	a.Col = p.Column(name, t)
	a.Col.Nullable = fn == Avg || fn == Min || fn == Max || fn == Any || fn == Percentile
	if a.Arg != nil && a.Arg.Op == Ref && t == a.Arg.Type {
		a.Col.Lower, a.Col.Values = a.Arg.Col.Lower, a.Arg.Col.Values
	}
	return a, nil
}

// complete fills in the argument and parameter and returns the result's type.
func (a *Agg) complete(args []*Expr) (t Type, err error) {
	switch a.Fn {
	case Count, DCount:
		return Int, nil
	case CountIf:
		a.Arg, err = Condition(a.Arg)
		return Int, err
	case Sum:
		a.Arg, err = asNumber(a.Arg)
		if err != nil {
			return Null, fmt.Errorf("sum: %w", err)
		}
		return a.Arg.Type, nil
	case Avg, Percentile:
		if a.Arg, err = asNumber(a.Arg); err != nil {
			return Null, fmt.Errorf("%s: %w", a.Fn, err)
		}
		if a.Fn == Percentile {
			a.Param = -1
			if args[1].isLit() && args[1].numeric() {
				a.Param = toFloat64(args[1].Value)
			}
			if a.Param < 0 || a.Param > 100 {
				return Null, fmt.Errorf("percentile wants a literal number from 0 to 100")
			}
		}
		return Float, nil
	case Top:
		k, ok := args[1].Value.(int64)
		if !ok || k < 1 || k > maxTop {
			return Null, fmt.Errorf("top wants a literal count from 1 to %d", maxTop)
		}
		a.Param = float64(k)
		return List, nil
	default:
		return a.Arg.Type, nil
	}
}
