package query

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"strconv"
	"sync"
	"time"

	"github.com/ClickHouse/clickhouse-go/v2"
	"github.com/ClickHouse/clickhouse-go/v2/lib/driver"
	"github.com/oklog/ulid/v2"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/headgate-io/headgate/internal/tenant"
)

// ReaderOptions configure a Reader.
type ReaderOptions struct {
	Limits Limits // of tenants without a tier
	// Tiers are limits by name; their Concurrent says nothing, it is that of Limits. Tier names the one of the tenant that pays
	// for a query. A name that is none means Limits, and so does nil.
	Tiers map[string]Limits
	Tier  func(payer tenant.ID) string
	// Settings adds settings to a statement of scope, such as the capability that a row policy asks for. nil adds none.
	Settings func(scope tenant.Scope) map[string]any
	// Refuse, unless nil, is asked before each answer; its error, an *httpapi.Error, is answered in place of it.
	Refuse func() error
	// Slow is how long a query takes to be logged. Zero logs none.
	Slow time.Duration
	// CacheBytes bounds the answers that are kept for RunWithin. Zero keeps none.
	CacheBytes int64
	Log        *slog.Logger          // nil discards
	Metrics    prometheus.Registerer // nil keeps them to itself
}

// Reader runs statements that Print made. It is safe for concurrent use.
type Reader struct {
	conn     driver.Conn
	limits   Limits
	tiers    tiers
	settings func(tenant.Scope) map[string]any
	refuse   func() error
	log      *slog.Logger
	metrics  *metrics
	gate     *gate
	cache    *cache // nil keeps nothing
	slow     time.Duration
	small    int64 // in tests: what a statement may read to be asked at once
}

// NewReader makes a reader on conn, which should be the identity that can only read. The caller closes conn, after the
// last result is closed.
func NewReader(conn driver.Conn, opts ReaderOptions) *Reader {
	if opts.Log == nil {
		opts.Log = slog.New(slog.DiscardHandler)
	}
	if opts.Metrics == nil {
		opts.Metrics = prometheus.NewRegistry()
	}
	l := opts.Limits.withDefaults()
	r := &Reader{
		conn: conn, limits: l, settings: opts.Settings, refuse: opts.Refuse, log: opts.Log, metrics: newMetrics(opts.Metrics),
		gate: newGate(l.Concurrent), tiers: newTiers(opts), slow: opts.Slow,
	}
	if opts.CacheBytes > 0 {
		r.cache = newCache(opts.CacheBytes, r.metrics)
	}
	return r
}

// MaxExecution is how long a statement may take.
func (r *Reader) MaxExecution() time.Duration { return r.limits.MaxExecution }

// newID names one request to a reader.
func newID() string { return ulid.Make().String() }

// Encoding is how the engine encodes a result.
type Encoding string

const (
	Rows    Encoding = "JSONCompactEachRow" // for Next
	Parquet Encoding = "Parquet"            // for Read
	Arrow   Encoding = "ArrowStream"        // for Read
	Binary  Encoding = "RowBinary"          // for Read, of PrintSeries and its like
	Columns Encoding = "Native"             // for Read, of PrintPoints
)

// Run starts st and returns its result, which the caller must close; until then it takes one of the places that
// Limits.Concurrent gives out. When ctx ends, the query is cancelled in the engine. Errors are *httpapi.Error, free of
// the engine's text: see failure.
//
// A list is asked window by window where that is likely to cost less: in one place, and within the time of one statement.
func (r *Reader) Run(ctx context.Context, st Stmt, enc Encoding) (*Result, error) {
	id := newID()
	if st.sql == "" || !st.scope.Valid() || st.named == (enc == Rows) {
		return nil, r.failure(id, errors.New("BUG: reader was given a statement that Print did not make for this encoding"))
	}
	if err := r.refused(id); err != nil {
		return nil, err
	}
	began, limits := time.Now(), r.LimitsOf(st.scope)
	seat, err := r.gate.enter(ctx, st.scope.Payer().String(), &limits)
	if err != nil {
		return nil, r.failure(id, err)
	}
	queued := time.Since(began)
	ctx, cancel := context.WithCancelCause(ctx)
	// The engine's own limit comes first; this one is for an engine that does not answer.
	watchdog := time.AfterFunc(limits.MaxExecution+engineGrace, func() { cancel(errTimeout) })
	res := &Result{reader: r, id: id, stmt: st, began: began, queued: queued}
	res.end = sync.OnceFunc(func() { watchdog.Stop(); cancel(nil); r.gate.leave(seat) })
	res.cause = func() error { return context.Cause(ctx) }

	settings := limits.settings()
	seat.yield(settings)
	if st.joinKeys > 0 {
		settings["max_rows_in_join"] = st.joinKeys
	}
	if r.settings != nil {
		maps.Copy(settings, r.settings(st.scope))
	}
	// SECURITY: every statement of a request runs with the capability of its first one's scope.
	asked := 0
	ask := func(st Stmt, own map[string]any) (io.ReadCloser, error) {
		each, queryID := maps.Clone(settings), id
		maps.Copy(each, own)
		if asked++; asked > 1 {
			queryID += "-" + strconv.Itoa(asked)
			left := limits.MaxExecution - time.Since(began) + queued
			if left <= 0 {
				return nil, errTimeout
			}
			each["max_execution_time"] = executionTime(max(left, min(time.Second, limits.MaxExecution)))
		}
		return r.conn.QueryFormat(clickhouse.Context(noDeadline{ctx},
			clickhouse.WithSettings(each), clickhouse.WithParameters(st.params), clickhouse.WithQueryID(queryID)), string(enc), st.sql)
	}
	stream, err := r.stream(st, limits, ask)
	if err != nil {
		err = res.failed(err)
		res.end()
		return nil, err
	}
	res.stream = stream
	res.open = func(st Stmt) (io.ReadCloser, error) { return ask(st, nil) }
	if enc == Rows {
		res.read(stream)
	}
	return res, nil
}

// refused answers why nothing may be read at the moment, nil if it may.
//
// SECURITY: while the walls inside ClickHouse are not known to hold, no interface gets an answer, none that was kept either.
func (r *Reader) refused(id string) error {
	if r.refuse != nil {
		if err := r.refuse(); err != nil {
			return r.failure(id, err)
		}
	}
	return nil
}

const (
	engineGrace     = 10 * time.Second
	lineBufferBytes = 64 << 10
	maxRowBytes     = 64 << 20
)

var errTimeout = errors.New("no answer from the engine in time")

// noDeadline hides a deadline from the driver, which would send its own max_execution_time because of it.
type noDeadline struct{ context.Context }

func (noDeadline) Deadline() (time.Time, bool) { return time.Time{}, false }

// Result is a result being read. Not for concurrent use.
type Result struct {
	reader *Reader
	id     string
	stmt   Stmt
	began  time.Time
	queued time.Duration // of it, before the engine was asked
	stream io.ReadCloser
	lines  *lineReader
	open   func(Stmt) (io.ReadCloser, error) // runs a further statement in the same place
	pager  *pager                            // of a page
	values [][]byte
	rows   int
	cut    bool
	bytes  int64
	cached bool
	age    time.Duration // of an answer that was kept
	err    error
	end    func() // nothing after the first call
	cause  func() error
	stats  bool               // the caller wants to see Stats
	cursor func(place) string // makes the text of a cursor; nil for results without pages
}

// read makes Next read the lines of src.
func (r *Result) read(src io.Reader) {
	r.lines = newLineReader(src)
	r.lines.bytes = &r.bytes
	if r.stmt.page != nil {
		r.pager = &pager{page: r.stmt.page, lines: r.lines, width: len(r.stmt.columns), open: r.open}
	}
}

// ID names the request in errors and in the log.
func (r *Result) ID() string { return r.id }

// Columns describes the values of each row.
func (r *Result) Columns() []Column { return r.stmt.columns }

// Count is the number of rows that Next returned.
func (r *Result) Count() int { return r.rows }

// Age is how long ago the engine was asked, zero for a result of its own.
func (r *Result) Age() time.Duration { return r.age }

// Truncated reports, after Next returned io.EOF, whether there were more rows than the limit let through.
func (r *Result) Truncated() bool { return r.cut }

// Next returns the next row as one JSON value per column, or io.EOF after the last. The values are valid until the next
// call. It never returns more rows than the statement's limit, whatever the engine sends.
func (r *Result) Next() ([][]byte, error) {
	if r.err != nil {
		return nil, r.err
	}
	next := r.nextLine
	if r.pager != nil {
		next = r.nextOfPage
	}
	values, err := next()
	switch {
	case errors.Is(err, io.EOF):
		r.err = io.EOF
	case err != nil:
		r.err = r.failed(fmt.Errorf("result row %d: %w", r.rows+1, err))
	default:
		r.rows++
	}
	return values, r.err
}

func (r *Result) nextLine() ([][]byte, error) {
	line, err := r.lines.next()
	if err != nil {
		return nil, err
	}
	if r.rows == r.stmt.limit {
		r.cut = true
		return nil, io.EOF
	}
	if r.values, err = splitRow(r.values[:0], line); err == nil && len(r.values) != len(r.stmt.columns) {
		err = fmt.Errorf("%d values for %d columns", len(r.values), len(r.stmt.columns))
	}
	return r.values, err
}

func (r *Result) nextOfPage() ([][]byte, error) {
	err := io.EOF
	var values [][]byte
	if r.rows < r.stmt.limit {
		values, err = r.pager.row()
	}
	if errors.Is(err, io.EOF) {
		r.cut = r.pager.more()
	}
	return values, err
}

// NextCursor returns, after Next returned io.EOF, the cursor of the page that follows; "" if none does, or if it cannot
// be told where it begins.
func (r *Result) NextCursor() string {
	if r.pager == nil || r.cursor == nil || !r.cut {
		return ""
	}
	if at := r.pager.place(); at != nil {
		return r.cursor(*at)
	}
	return ""
}

// Read reads the bytes of a result in an encoding other than Rows. Its errors are as those of Run.
func (r *Result) Read(p []byte) (int, error) {
	if r.err != nil {
		return 0, r.err
	}
	n, err := r.stream.Read(p)
	r.bytes += int64(n)
	switch {
	case errors.Is(err, io.EOF):
		r.err = io.EOF
	case err != nil:
		r.err = r.failed(err)
	}
	return n, r.err
}

// failed makes what the caller may know of err, which the engine or the connection gave.
func (r *Result) failed(err error) error {
	if c := r.cause(); c != nil {
		err = errors.Join(c, err)
	}
	return r.reader.failure(r.id, err)
}

// Close ends the query if it still runs and gives its place back. It must be called once.
func (r *Result) Close() {
	outcome := "ok"
	if r.err != nil && r.err != io.EOF {
		outcome = "error"
	}
	r.reader.metrics.done(outcome, time.Since(r.began), r.queued, r.rows)
	r.slow(outcome)
	if r.err != io.EOF {
		// Cancel first: closing drains the stream, and a query that nobody reads should not run on for it.
		r.end()
	}
	r.release()
}

// release gives back what the result holds of the engine. It may be called again.
func (r *Result) release() {
	if r.stream != nil {
		_ = r.stream.Close()
		r.stream = nil
	}
	r.end()
}
