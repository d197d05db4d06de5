package query

import (
	"errors"
	"strconv"

	"github.com/headgate-io/headgate/internal/tenant"
	"github.com/headgate-io/headgate/query/plan"
)

// maxDependencySpans is how many spans of a range can be parents. Each takes some 40 bytes of the memory of a query.
const maxDependencySpans = 50_000_000

// Dependencies makes the statement of how often spans of one service were the parents of spans of another: rows of parent,
// child and calls, most calls first. A pair counts when both its spans start within the bounds. It fails as Print does.
//
// Spans meet by a hash of tenant, trace and span, and a parent that was sent twice is one. Of 64 bits, two of the most spans that
// there can be meet by chance once in ten thousand answers, and who makes spans that do could as well make such calls up; 128 bits
// cost 1.8 times as much, and the ids themselves 2.8 times (docs/adr/0009-reading.md).
func Dependencies(scope tenant.Scope, b Bounds) (Stmt, error) {
	// SECURITY: a scope that auth did not make reads nothing.
	if !scope.Valid() {
		return Stmt{}, errors.New("print: no tenant in scope")
	}
	if err := b.validate(); err != nil {
		return Stmt{}, err
	}
	p := plan.New(plan.Spans)
	pr := &printer{plan: p, bounds: b, params: newParams()}
	pr.of(scope)
	pr.start, pr.end, pr.last = pr.time(b.Start), pr.time(b.End), pr.time(b.End.Add(-1))

	// e1 is the id, e2 the service.
	side := func(id string) (string, string, error) {
		need := idSet{}
		column := func(key string) string {
			c := p.Key(key)
			need[c.ID] = true
			return name(c)
		}
		list := "cityHash64(" + column("tenant") + ", " + column("trace_id") + ", " + column(id) + ") AS e1, " + column("service") + " AS e2"
		scan, err := pr.scan(need, nil)
		return "SELECT " + list + " FROM " + scan, column(id), err
	}
	children, parent, err := side("parent_span_id")
	if err != nil {
		return Stmt{}, err
	}
	parents, _, err := side("span_id")
	if err != nil {
		return Stmt{}, err
	}
	sql := "SELECT j2.e2 AS r1, j1.e2 AS r2, count() AS r3 FROM (" + children + " WHERE " + parent + " != '') AS j1 SEMI LEFT JOIN (" + parents +
		") AS j2 ON j1.e1 = j2.e1 WHERE r1 != r2 GROUP BY r1, r2 ORDER BY r3 DESC, r1, r2 LIMIT " + strconv.Itoa(b.Limit+1)
	return Stmt{
		sql: sql, params: pr.params.values, limit: b.Limit, scope: scope, joinKeys: maxDependencySpans,
		columns: []Column{{"parent", plan.String.String()}, {"child", plan.String.String()}, {"calls", plan.Int.String()}},
	}, nil
}
