package query

import (
	"errors"
	"strconv"

	"github.com/headgate-io/headgate/internal/tenant"
	"github.com/headgate-io/headgate/query/plan"
)

// Dependencies makes the statement of how often spans of one service were the parents of spans of another: rows of parent,
// child and calls, most calls first. A pair counts when both its spans start within the bounds. It fails as Print does.
//
// Each span says under its own id which service it is of, and under its parent's id which service was called; the group of
// an id has both. So it is a grouping, which spills to disk, and not a join, which would hold all spans in memory. The id
// is a 128-bit hash of tenant, trace and span: spans of two tenants never meet.
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
	pr.tenants = pr.params.texts(scope.Strings())
	pr.start, pr.end, pr.last = pr.time(b.Start), pr.time(b.End), pr.time(b.End.Add(-1))

	need := idSet{}
	column := func(key string) string {
		c := p.Key(key)
		need[c.ID] = true
		return name(c)
	}
	trace := "sipHash128(" + column("tenant") + ", " + column("trace_id") + ", "
	service, parent := column("service"), column("parent_span_id")
	own, above := "("+trace+column("span_id")+"), 0)", "("+trace+parent+"), 1)"
	scan, err := pr.scan(need, nil)
	if err != nil {
		return Stmt{}, err
	}
	// e1 is a service, e2 an id with 0 for the span itself and 1 for its parent.
	both := "(SELECT " + service + " AS e1, arrayJoin(if(" + parent + " = '', [" + own + "], [" + own + ", " + above + "])) AS e2 FROM " + scan + ")"
	groups := "(SELECT minIf(e1, tupleElement(e2, 2) = 0) AS e3, groupArrayIf(e1, tupleElement(e2, 2) = 1) AS e4 FROM " + both +
		" GROUP BY tupleElement(e2, 1) HAVING countIf(tupleElement(e2, 2) = 0) > 0 AND notEmpty(e4))"
	pairs := "(SELECT e3, arrayJoin(e4) AS e5 FROM " + groups + ")"
	sql := "SELECT e3 AS r1, e5 AS r2, count() AS r3 FROM " + pairs + " WHERE e3 != e5 GROUP BY e3, e5 ORDER BY r3 DESC, r1, r2 LIMIT " + strconv.Itoa(b.Limit+1)
	return Stmt{
		sql: sql, params: pr.params.values, limit: b.Limit, scope: scope,
		columns: []Column{{"parent", plan.String.String()}, {"child", plan.String.String()}, {"calls", plan.Int.String()}},
	}, nil
}
