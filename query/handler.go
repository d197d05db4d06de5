package query

import (
	"errors"
	"log/slog"
	"net/http"
	"time"

	"github.com/headgate-io/headgate/internal/httpapi"
	"github.com/headgate-io/headgate/internal/tenant"
	"github.com/headgate-io/headgate/query/oql"
)

// Caller is who asks.
type Caller struct {
	Scope tenant.Scope // the tenants that the caller may read
	Key   string       // id of the key, for the log
}

// HandlerOptions configure NewHandler.
type HandlerOptions struct {
	// Authenticate returns the caller of a request. Its errors are *httpapi.Error and are answered as they are.
	Authenticate func(*http.Request) (Caller, error)
	Log          *slog.Logger     // nil discards
	Now          func() time.Time // nil is time.Now
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
	h := &handler{reader: r, opts: opts}
	return httpapi.Handle(opts.Log, h.serve)
}

type handler struct {
	reader *Reader
	opts   HandlerOptions
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
	st, err := h.statement(q, caller.Scope)
	if err != nil {
		return err
	}
	h.opts.Log.Debug("query", "key_id", caller.Key, "tenants", caller.Scope.Strings(), "bytes", len(q.Query))
	// A client that takes nothing more must not keep its place for ever. Writers without deadlines have none to keep.
	_ = http.NewResponseController(w).SetWriteDeadline(time.Now().Add(h.reader.limits.MaxExecution + stallGrace))
	res, err := h.reader.Run(r.Context(), st, q.Format.encoding())
	if err != nil {
		return err
	}
	defer res.Close()
	return respond(w, res, q.Format)
}

// statement parses and prints the query. Its errors are *httpapi.Error, except for bugs.
func (h *handler) statement(q request, scope tenant.Scope) (Stmt, error) {
	p, err := oql.Parse(q.Query)
	var syntaxErr *oql.Error
	switch {
	case errors.As(err, &syntaxErr):
		return Stmt{}, syntax(syntaxErr.Error(), syntaxErr.Line, syntaxErr.Column, syntaxErr.Caret())
	case err != nil:
		return Stmt{}, err
	}
	b, err := q.bounds(p, h.opts.Now(), h.reader.limits)
	if err != nil {
		return Stmt{}, err
	}
	st, err := Print(p, scope, b)
	if errors.Is(err, ErrTooComplex) {
		return st, httpapi.Errorf(http.StatusBadRequest, CodeTooComplex, "%v", err)
	}
	return st, err
}
