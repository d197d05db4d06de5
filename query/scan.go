package query

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/headgate-io/headgate/query/plan"
	"github.com/headgate-io/headgate/storage/schema"
)

// scan prints the read of the plan's source: a subquery per table, united. It yields the columns of need, filtered by
// push, which are conditions on columns of the source alone.
func (p *printer) scan(need idSet, push []*plan.Expr) (string, error) {
	var arms []string
	for _, table := range tablesOf[p.plan.Source] {
		s, err := p.scanTable(table, need, push)
		if err != nil {
			return "", err
		}
		arms = append(arms, s)
	}
	switch len(arms) {
	case 0:
		return "", fmt.Errorf("BUG: source %q has no table", p.plan.Source)
	case 1:
		return arms[0], nil
	}
	return "(" + strings.Join(arms, " UNION ALL ") + ")", nil
}

// scanTable prints the read of one table of the plan's source.
func (p *printer) scanTable(table string, need idSet, push []*plan.Expr) (string, error) {
	columns := columnsOf[table]
	var list []string
	x := exprPrinter{printer: p, table: table}
	for _, c := range p.plan.Input {
		if c.Type == plan.Map && need[keysID(c)] {
			list = append(list, x.keys(c)+" AS "+idName(keysID(c)))
		}
		if !need[c.ID] {
			continue
		}
		sql, ok := columns[c.Key]
		if !ok {
			return "", fmt.Errorf("BUG: table %s has no column for %q", table, c.Key)
		}
		list = append(list, sql.expr+" AS "+name(c))
	}
	if list == nil {
		list = []string{"1 AS c0"}
	}
	var first []string
	where := p.buckets(table)
	if names := p.plan.MetricNames; names != nil {
		where = append(where, "MetricName IN "+p.params.texts(names))
	}
	push = slices.Clone(push)
	slices.SortStableFunc(push, func(a, b *plan.Expr) int { return cost(columns, a) - cost(columns, b) })
	for _, e := range push {
		s, err := x.print(e)
		if err != nil {
			return "", err
		}
		if bucketOf[table] == fiveMinutes && cost(columns, e) == 0 {
			first = append(first, s)
		} else {
			where = append(where, s)
		}
	}
	return "(" + p.read(list, table, first, timeColumn(table), p.start, p.end, where) + ")", nil
}

// read prints the read of list from one table, where when, the column that the time range is about, is from start to
// before end. The conditions are checked as they stand, and a column is read where those before it hold: first are conditions
// that leave fewer rows than the time range, which the sorting key has cut to size before.
//
// SECURITY: this is the only function that prints the name of a table. The tenants come first in PREWHERE, before the
// time range and before every condition of the query: rows of other tenants are gone before anything of the query is
// computed, and with functions that cannot throw nothing could be told about them either.
//
// The partitions are a hint alone, which decides nothing about a row: in each part of a partition that has no row of the tenants
// a granule would be read for every gap that their ids fall into.
func (p *printer) read(list []string, table string, first []string, when, start, end string, where []string) string {
	all := slices.Concat([]string{"TenantId IN " + p.tenants, "indexHint(Partition IN " + p.partitions + ")"}, first,
		[]string{when + " >= " + start, when + " < " + end}, where)
	return "SELECT " + strings.Join(list, ", ") + " FROM " + table + " PREWHERE " + strings.Join(all, " AND ")
}

// bucketOf are the functions of time in the sorting keys. ClickHouse does not derive a range of theirs from a range of the
// time itself: without a condition on them a tenant's whole day is read for five minutes of it.
var bucketOf = map[string]string{
	schema.Logs: fiveMinutes, schema.Traces: fiveMinutes,
	schema.MetricsGauge: "toStartOfHour", schema.MetricsSum: "toStartOfHour", schema.MetricsHistogram: "toStartOfHour",
	schema.MetricsExponentialHistogram: "toStartOfHour", schema.MetricsSummary: "toStartOfHour",
}

const fiveMinutes = "toStartOfFiveMinutes"

// buckets prints the conditions on the time's bucket in the sorting key. They are for the index alone: the time range says the
// same of each row.
func (p *printer) buckets(table string) []string {
	bucket, when := bucketOf[table], timeColumn(table)
	if bucket == "" || !p.bounds.End.Before(lastBucket) {
		return nil
	}
	return []string{"indexHint(" + bucket + "(" + when + ") >= " + bucket + "(" + p.start + ") AND " + bucket + "(" + when + ") <= " + bucket + "(" + p.last + "))"}
}

// lastBucket is where toStartOfHour and its like wrap around.
var lastBucket = time.Date(2106, 1, 1, 0, 0, 0, 0, time.UTC)

// cost orders conditions: those that read narrow columns only come first.
func cost(columns map[string]sqlColumn, e *plan.Expr) int {
	n := 0
	e.Walk(func(e *plan.Expr) {
		if e.Op == plan.Ref && columns[e.Col.Key].dear {
			n = 1
		}
	})
	return n
}

// conjuncts splits e at its top-level ands.
func conjuncts(e *plan.Expr) []*plan.Expr {
	if e.Op != plan.And {
		return []*plan.Expr{e}
	}
	var out []*plan.Expr
	for _, a := range e.Args {
		out = append(out, conjuncts(a)...)
	}
	return out
}

// ofSource reports whether e is about columns of the source alone.
func ofSource(e *plan.Expr) bool {
	ok := true
	e.Walk(func(e *plan.Expr) {
		if e.Op == plan.Ref && e.Col.Key == "" {
			ok = false
		}
	})
	return ok
}
