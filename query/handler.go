package query

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"time"

	"github.com/headgate-io/headgate/internal/httpapi"
	"github.com/headgate-io/headgate/internal/tenant"
	"github.com/headgate-io/headgate/query/plan"
)

// Caller is who asks.
type Caller struct {
	Scope tenant.Scope // the tenants that the caller may read
	Key   string       // id of the key, for the log
	// Read returns the tenants of Scope that are named, all of them for none, once it is recorded that they are read. nil: Scope is read
	// as it is. Its errors are *httpapi.Error.
	Read func(ctx context.Context, tenants []string) (tenant.Scope, error)
}

// HandlerOptions configure NewHandler.
type HandlerOptions struct {
	// Authenticate returns the caller of a request. Its errors are *httpapi.Error and are answered as they are.
	Authenticate func(*http.Request) (Caller, error)
	// CursorKey signs cursors. All replicas need the same; zero is a random one.
	CursorKey [32]byte
	// MaxAge is how old an answer may be that is given again to a request that does not say, over a range that ended a
	// minute ago or earlier. Zero: such a request always asks ClickHouse.
	MaxAge time.Duration
	Log    *slog.Logger     // nil discards
	Now    func() time.Time // nil is time.Now
}

// NewHandler serves POST /api/v1/query on r: a JSON body with query, start, end, format and limit, answered with the
// result as docs/query.md describes it, or with problem+json.
func NewHandler(r *Reader, opts HandlerOptions) http.Handler {
	if opts.Log == nil {
		opts.Log = slog.New(slog.DiscardHandler)
	}
	if opts.Now == nil {
		opts.Now = time.Now
	}
	h := &handler{reader: r, cursors: newCursors(opts.CursorKey), opts: opts}
	return httpapi.Handle(opts.Log, h.serve)
}

type handler struct {
	reader  *Reader
	cursors cursors
	opts    HandlerOptions
}

// stallGrace is how long after its last moment a query's result may still be on its way to a slow client.
const stallGrace = 30 * time.Second

func (h *handler) serve(w http.ResponseWriter, r *http.Request) error {
	if r.Method != http.MethodPost {
		e := httpapi.Errorf(http.StatusMethodNotAllowed, "method-not-allowed", "send the query as POST with a JSON body")
		e.Header = http.Header{"Allow": {http.MethodPost}}
		return e
	}
	caller, err := h.opts.Authenticate(r)
	if err != nil {
		return err
	}
	var q request
	if err := httpapi.ReadJSON(w, r, &q); err != nil {
		return err
	}
	if q.Format, err = q.format(r); err != nil {
		return err
	}
	if caller.Scope, err = caller.read(r.Context(), q.Tenants); err != nil {
		return err
	}
	ask, err := h.question(q, caller.Scope)
	if err != nil {
		return err
	}
	h.opts.Log.Debug("query", "key_id", caller.Key, "tenants", caller.Scope.Strings(), "bytes", len(q.Query))
	// A client that takes nothing more must not keep its place for ever. Writers without deadlines have none to keep.
	_ = http.NewResponseController(w).SetWriteDeadline(time.Now().Add(h.reader.LimitsOf(caller.Scope).MaxExecution + stallGrace))
	res, err := h.run(r.Context(), ask, q.Format.encoding())
	if err != nil {
		return err
	}
	defer res.Close()
	res.cursor, res.stats = ask.next, q.Stats
	return respond(w, res, q.Format)
}

func (h *handler) run(ctx context.Context, ask question, enc Encoding) (*Result, error) {
	if enc == Rows {
		return h.reader.RunWithin(ctx, ask.st, ask.maxAge)
	}
	return h.reader.Run(ctx, ask.st, enc)
}

// question is a request that was understood.
type question struct {
	st     Stmt
	next   func(place) string // makes the cursor of the page after a place; nil without pages
	maxAge time.Duration      // of an answer that may be given again
}

// question parses and prints the query. Errors are *httpapi.Error, except for bugs.
func (h *handler) question(q request, scope tenant.Scope) (out question, err error) {
	vars, err := variables(q.Variables)
	if err != nil {
		return out, err
	}
	p, err := q.parse(vars)
	if err != nil {
		return out, Misread(err)
	}
	now := h.opts.Now()
	c := cursor{now: now}
	var after *place
	if q.Cursor != "" {
		if c, err = h.cursors.read(q.Cursor, scope, now); err != nil {
			return out, err
		}
		after = &c.place
	}
	if out.maxAge, err = q.maxAge(); err != nil {
		return out, err
	}
	if out.maxAge > 0 && after == nil {
		// What is asked within this time asks for the same range.
		c.now = now.Truncate(out.maxAge)
	}
	b, err := q.bounds(p, c.now, h.reader.LimitsOf(scope))
	if err != nil {
		return out, err
	}
	if out.maxAge < 0 && q.Start.absolute() && q.End.absolute() && now.Sub(b.End) >= settled {
		out.maxAge = h.opts.MaxAge
	}
	if b.Named || !pageable(p) {
		switch {
		case after != nil && b.Named:
			return out, invalid("cursor: %s results have no pages", q.Format)
		case after != nil:
			return out, cursorRefused(otherQuery)
		}
		out.st, err = Print(p, scope, b)
		return out, printed(err)
	}
	asked, err := fingerprint(p, scope, b)
	if err != nil {
		return out, printed(err)
	}
	if after != nil && asked != c.query {
		return out, cursorRefused(otherQuery)
	}
	c.query = asked
	out.next = func(at place) string {
		c.place = at
		return h.cursors.text(c, scope)
	}
	out.st, err = printPage(p, scope, b, after)
	return out, printed(err)
}

const otherQuery = "it belongs to another query or time range: send the request that it came from, with nothing but cursor, limit or format changed"

// fingerprint names what is asked, however many rows of it.
func fingerprint(p *plan.Plan, scope tenant.Scope, b Bounds) (out [16]byte, err error) {
	b.Limit = 1
	st, err := Print(p, scope, b)
	if err == nil {
		sum := st.fingerprint()
		copy(out[:], sum[:])
	}
	return out, err
}

// printed makes of an error of Print what the caller may know.
func printed(err error) error {
	if errors.Is(err, ErrTooComplex) {
		return httpapi.Errorf(http.StatusBadRequest, CodeTooComplex, "%v", err)
	}
	return err
}
