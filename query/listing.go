package query

import (
	"time"

	"github.com/headgate-io/headgate/internal/tenant"
	"github.com/headgate-io/headgate/query/plan"
)

// listing is what a statement knows whose rows are rows of its source in the order of time, of which a limit keeps the first:
// those of a part of the range at its beginning are the first of all, so that it can be asked window by window.
type listing struct {
	from, until time.Time // half-open
	oldest      bool      // first
	rows        int       // that the engine sends of the whole range at most
	small       int64     // rows that are read at once for about what another statement costs
	// window makes the statement of the first so many rows of a part of the range.
	window func(from, until time.Time, rows int) (Stmt, error)
}

// listable reports whether the rows of p are a list, in which direction, and how many of them stages of p keep at most, 0 for all.
//
// Windows are steps in the sorting key of logs and spans. Points come in an order of their own.
func listable(p *plan.Plan) (oldest bool, rows int, ok bool) {
	if p.Source != plan.Logs && p.Source != plan.Spans {
		return false, 0, false
	}
	sorted := false
	for _, s := range p.Stages {
		switch s := s.(type) {
		case plan.Where:
			if rows > 0 { // of the rows that a limit kept
				return false, 0, false
			}
		case plan.Extend:
		case plan.Sort:
			if len(s.Keys) != 1 || s.Keys[0].Col != p.Time() || sorted && oldest == s.Keys[0].Desc {
				return false, 0, false
			}
			sorted, oldest = true, !s.Keys[0].Desc
		case plan.Limit:
			if !sorted {
				return false, 0, false
			}
			if rows == 0 || s.N < rows {
				rows = s.N
			}
		default: // what groups or adds rows
			return false, 0, false
		}
	}
	return oldest, rows, sorted
}

// newList returns what is known of the statement of p under b, nil if it is no list or its range is short. Formats that the
// engine writes whole are none.
func newList(p *plan.Plan, scope tenant.Scope, b Bounds) *listing {
	from, until := b.scanned()
	if b.Named || until.Sub(from) <= 2*firstWindow {
		return nil
	}
	oldest, rows, ok := listable(p)
	if !ok {
		return nil
	}
	if rows == 0 || rows > b.Limit {
		rows = b.Limit + 1 // as statement asks for
	}
	return &listing{from: from, until: until, oldest: oldest, rows: rows, small: smallRows(p), window: func(from, until time.Time, rows int) (Stmt, error) {
		b.from, b.until, b.sent = from, until, rows
		return Print(p, scope, b)
	}}
}

// How many rows are read for about what two further statements cost, 40 ms of a processor: where conditions read wide columns,
// and where they do not. Without a condition the first rows are the answer, however many there are.
const (
	smallDear  = 1_000_000
	smallCheap = 8_000_000
)

func smallRows(p *plan.Plan) int64 {
	small := int64(smallDear)
	for _, s := range p.Stages {
		w, ok := s.(plan.Where)
		if !ok {
			continue
		}
		if !ofSource(w.Cond) || cost(columnsOf[tablesOf[p.Source][0]], w.Cond) > 0 {
			return smallDear
		}
		small = smallCheap
	}
	return small
}
