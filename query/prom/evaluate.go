package prom

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/prometheus/prometheus/promql"
	"github.com/prometheus/prometheus/promql/parser"
	"github.com/prometheus/prometheus/util/stats"
)

// query answers /api/v1/query: the value of an expression at one time.
func (r *request) query() (answer, error) {
	at, err := r.time("time", r.handler.opts.Now())
	if err != nil {
		return answer{}, err
	}
	return r.evaluate(0, func(ctx context.Context, opts promql.QueryOpts) (promql.Query, error) {
		return r.engine.NewInstantQuery(ctx, r.storage, opts, r.param("query"), at)
	})
}

// queryRange answers /api/v1/query_range: the values of an expression at the steps of a range.
func (r *request) queryRange() (answer, error) {
	start, err := r.time("start", time.Time{})
	if err != nil {
		return answer{}, err
	}
	end, err := r.time("end", time.Time{})
	if err != nil {
		return answer{}, err
	}
	step, err := parseDuration(r.param("step"))
	switch {
	case end.Before(start):
		return answer{}, badParam("end", errors.New("end timestamp must not be before start time"))
	case err != nil:
		return answer{}, badParam("step", err)
	case step <= 0:
		return answer{}, badParam("step", errors.New("zero or negative query resolution step widths are not accepted. Try a positive integer"))
	case step < time.Millisecond:
		return answer{}, badParam("step", errors.New("steps below a millisecond are not accepted"))
	// Sub is as long as a Duration can be where the range is longer.
	case end.Sub(start)/step > maxSteps:
		return answer{}, badData("exceeded maximum resolution of 11,000 points per timeseries. Try decreasing the query resolution (?step=XX)")
	}
	return r.evaluate(end.Sub(start), func(ctx context.Context, opts promql.QueryOpts) (promql.Query, error) {
		return r.engine.NewRangeQuery(ctx, r.storage, opts, r.param("query"), start, end, step)
	})
}

// checkSubqueries refuses subqueries of more steps than maxSubSteps, in an expression that is evaluated for a range.
func checkSubqueries(expr parser.Expr, within time.Duration) error {
	var found error
	parser.Inspect(expr, func(node parser.Node, path []parser.Node) error {
		n, ok := node.(*parser.SubqueryExpr)
		if !ok {
			return nil
		}
		// Float64: the ranges of nested subqueries add up to more than a Duration holds.
		step, total := float64(n.Step), float64(within)+float64(n.Range)
		if step == 0 {
			step = float64(subqueryStep)
		}
		for _, outer := range path {
			if o, ok := outer.(*parser.SubqueryExpr); ok {
				total += float64(o.Range)
			}
		}
		if total/step > maxSubSteps {
			found = badData("a subquery has more than %d steps: make its range shorter or its step longer", maxSubSteps)
		}
		return nil
	})
	return found
}

// evaluate runs the query that begin makes, for a range that long, under the parameters that both kinds have.
func (r *request) evaluate(within time.Duration, begin func(context.Context, promql.QueryOpts) (promql.Query, error)) (answer, error) {
	limit, err := r.limit("limit")
	if err != nil {
		return answer{}, err
	}
	timeout := r.handler.timeout
	if s := r.param("timeout"); s != "" {
		d, err := parseDuration(s)
		if err != nil {
			return answer{}, badParam("timeout", err)
		}
		timeout = min(timeout, d)
	}
	var back time.Duration // 0 is the engine's own
	if s := r.param("lookback_delta"); s != "" {
		if back, err = parseDuration(s); err != nil {
			return answer{}, badData("error parsing lookback delta duration: %w", err)
		}
	}
	expr, err := r.expression()
	if err != nil {
		return answer{}, err
	}
	if err := checkSubqueries(expr, within); err != nil {
		return answer{}, err
	}
	r.storage.reach = reach(expr, back)
	ctx, cancel := context.WithTimeout(r.Context(), timeout)
	defer cancel()
	q, err := begin(ctx, promql.NewPrometheusQueryOpts(false, back))
	if err != nil {
		return answer{}, badParam("query", err)
	}
	res := q.Exec(ctx)
	if res.Err != nil {
		q.Close()
		if errors.Is(ctx.Err(), context.DeadlineExceeded) {
			return answer{}, &apiError{timedOut, errTimeout}
		}
		return answer{}, &engineError{res.Err}
	}
	a := answer{warnings: res.Warnings, close: q.Close}
	value := res.Value
	if v, ok := value.(promql.Vector); ok {
		settle(v, expr)
	}
	if limit > 0 {
		cut := false
		switch v := value.(type) {
		case promql.Matrix:
			if cut = len(v) > limit; cut {
				value = v[:limit]
			}
		case promql.Vector:
			if cut = len(v) > limit; cut {
				value = v[:limit]
			}
		}
		if cut {
			a.warnings.Add(errCut)
		}
	}
	var spent stats.QueryStats
	switch s := r.param("stats"); s {
	case "":
	default:
		a.warnings.Add(fmt.Errorf("value %q for parameter \"stats\" is deprecated, use \"true\" or \"all\"", short(s)))
		fallthrough
	case "true", "all":
		spent = stats.NewQueryStats(q.Stats())
	}
	a.data = func(w *writer) {
		w.raw(`{"resultType":"` + string(value.Type()) + `","result":`)
		w.result(value)
		if spent != nil {
			w.raw(`,"stats":`)
			w.value(spent)
		}
		w.raw("}")
	}
	return a, nil
}
