package query

import (
	"errors"
	"math"
	"time"

	"github.com/headgate-io/headgate/internal/tenant"
	"github.com/headgate-io/headgate/query/plan"
)

// pageable reports whether the rows of p can be asked for page by page: they are rows of its source, newest first, and
// nothing but the request's limit cuts them.
func pageable(p *plan.Plan) bool {
	sorted := false
	for _, s := range p.Stages {
		switch s := s.(type) {
		case plan.Where, plan.Extend:
		case plan.Sort:
			if sorted = len(s.Keys) == 1 && s.Keys[0].Col == p.Time() && s.Keys[0].Desc; !sorted {
				return false
			}
		default: // what groups, cuts or adds rows
			return false
		}
	}
	return sorted
}

// place is where a page ended: after so many of the rows with this time and these values.
//
// Rows have no id of their own. Those of one time are ordered by a hash of what the result shows of them, so that rows
// which compare equal look equal too: it does not matter which of them were given out, only how many.
type place struct {
	at   int64    // nanoseconds since 1970
	sum  [16]byte // of the row's values
	same uint32   // rows of this time and sum up to here
	skip uint32   // rows of this time up to here
}

// page is what a statement knows of the page that it asks for.
type page struct {
	after *place // nil: the first page
	sent  int    // most rows that the engine sends
	// moment makes the statement of all rows at one time.
	moment func(at int64) (Stmt, error)
}

// printPage is Print for the page of b.Limit rows after a place, or the first page for nil. p must be pageable.
func printPage(p *plan.Plan, scope tenant.Scope, b Bounds, after *place) (Stmt, error) {
	if !pageable(p) || b.Named {
		return Stmt{}, errors.New("BUG: page of a plan without pages")
	}
	b.paged = true
	own := b
	if after != nil {
		own.until = time.Unix(0, after.at+1).UTC()
		own.Limit += int(after.skip)
	}
	st, err := Print(p, scope, own)
	if err != nil {
		return st, err
	}
	st.limit = b.Limit
	st.page = &page{after: after, sent: own.Limit + 1, moment: func(at int64) (Stmt, error) {
		b.from, b.until = time.Unix(0, at).UTC(), time.Unix(0, at+1).UTC()
		b.Limit = math.MaxInt32 // what is too much shows by its bytes
		return Print(p, scope, b)
	}}
	return st, nil
}
