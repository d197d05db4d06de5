package query

import (
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/headgate-io/headgate/internal/tenant"
	"github.com/headgate-io/headgate/query/plan"
	"github.com/headgate-io/headgate/storage/schema"
)

// Bounds is what a request adds to a plan.
type Bounds struct {
	Start, End time.Time // half-open: Start is in, End is not
	Now        time.Time // what now() and ago() mean
	Limit      int       // most rows of the result
	Named      bool      // name the result's columns in SQL, for formats that ClickHouse itself writes

	paged       bool      // add the time to each row of the result
	from, until time.Time // where a page's or window's scan begins and ends within Start and End, if not there
	sent        int       // most rows that the engine sends of a window; 0: one more than Limit, which shows that there are more
}

// scanned is the time range that scans read.
func (b Bounds) scanned() (from, until time.Time) {
	from, until = b.Start, b.End
	if b.from.After(from) {
		from = b.from
	}
	if !b.until.IsZero() && b.until.Before(until) {
		until = b.until
	}
	return from, until
}

// The times that DateTime64(9) holds.
var (
	firstTime = time.Unix(0, 0)
	lastTime  = time.Date(2262, 1, 1, 0, 0, 0, 0, time.UTC)
)

func (b Bounds) validate() error {
	switch {
	case b.Start.Before(firstTime) || b.End.After(lastTime) || b.Now.Before(firstTime) || b.Now.After(lastTime):
		return errors.New("time range outside of the years 1970 to 2261")
	case !b.Start.Before(b.End):
		return errors.New("time range: start is not before end")
	case b.Limit < 1:
		return errors.New("limit below 1")
	}
	return nil
}

// Stmt is a statement that Print made. The zero value reads nothing: Reader refuses it.
//
// SECURITY: the fields are not exported and Reader takes nothing else, so no other package can send SQL to the reader's
// connection.
type Stmt struct {
	sql     string
	params  map[string]string
	columns []Column
	limit   int // most rows that leave the reader
	scope   tenant.Scope
	named   bool
	page    *page    // nil for a result that has no pages
	list    *listing // nil for a result that is no list
	// joinKeys is how many keys the right side of its joins may have, 0 for what the limits say. Memory bounds it anyhow.
	joinKeys int64
}

// fingerprint is the same for statements that ask the same of the same tenants.
func (s Stmt) fingerprint() (out [sha256.Size]byte) {
	h := sha256.New()
	write := func(text string) {
		_ = binary.Write(h, binary.BigEndian, int64(len(text))) // a hash takes all
		h.Write([]byte(text))
	}
	// SECURITY: the tenants are among the parameters; they stand here too so that no printer can make it otherwise.
	write(strings.Join(s.scope.Strings(), ","))
	write(s.sql)
	for _, name := range slices.Sorted(maps.Keys(s.params)) {
		write(name)
		write(s.params[name])
	}
	for _, c := range s.columns { // names of users, which are no part of the SQL
		write(c.Name)
	}
	h.Sum(out[:0])
	return out
}

// Columns describes the result.
func (s Stmt) Columns() []Column { return s.columns }

// Column is one column of a result.
type Column struct {
	Name string `json:"name"`
	Type string `json:"type"`
}

// maxStatementBytes bounds the text of a statement, the values aside.
const maxStatementBytes = 1 << 20

// ErrTooComplex is returned by Print for a plan that would make a statement beyond its bounds.
var ErrTooComplex = errors.New("query is too complex")

// tablesOf are the tables of each source.
var tablesOf = map[plan.Source][]string{
	plan.Logs:        {schema.Logs},
	plan.Spans:       {schema.Traces},
	plan.SpanRecords: {schema.Traces},
	plan.Metrics: {
		schema.MetricsGauge, schema.MetricsSum, schema.MetricsHistogram, schema.MetricsExponentialHistogram, schema.MetricsSummary,
	},
}

func unknownOp(op plan.Op) error { return fmt.Errorf("BUG: no SQL for operator %q", string(op)) }
