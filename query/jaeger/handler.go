package jaeger

import (
	"context"
	"log/slog"
	"net/http"
	"slices"
	"time"

	"github.com/headgate-io/headgate/internal/httpapi"
	"github.com/headgate-io/headgate/query"
	"github.com/headgate-io/headgate/query/plan"
)

// Options configure New. A zero field means the default.
type Options struct {
	// Authenticate returns the caller of a request, whose whole scope is read; that it is must be on record by then. Its errors
	// are *httpapi.Error.
	Authenticate func(*http.Request) (query.Caller, error)
	Log          *slog.Logger     // nil discards
	Now          func() time.Time // nil is time.Now

	ListLookback time.Duration // how far back services and operations are looked for, 7 days
	MaxSpans     int           // of one answer, 100,000
	MaxListed    int           // services, operations or dependencies of one answer, 10,000
}

func (o Options) withDefaults() Options {
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	or(&o.ListLookback, 7*24*time.Hour)
	or(&o.MaxSpans, 100_000)
	or(&o.MaxListed, 10_000)
	return o
}

func or[T comparable](field *T, value T) {
	var zero T
	if *field == zero {
		*field = value
	}
}

// Prefix is the path below which New's handler answers.
const Prefix = "/jaeger/"

type handler struct {
	reader *query.Reader
	opts   Options
}

// asked is a request whose sender is known.
type asked struct {
	*http.Request
	query.Caller
	several  bool          // the caller reads several tenants
	maxRange time.Duration // of a search
}

// endpoint answers a request, or returns why not before it wrote anything.
type endpoint func(http.ResponseWriter, asked) error

// New serves the Jaeger query API on r, below Prefix.
func New(r *query.Reader, opts Options) http.Handler {
	h := &handler{reader: r, opts: opts.withDefaults()}
	mux := http.NewServeMux()
	for path, e := range map[string]endpoint{
		"services":                      h.services,
		"services/{service}/operations": h.operationNames,
		"operations":                    h.operations,
		"traces":                        h.traces,
		"traces/{id}":                   h.trace,
		"dependencies":                  h.dependencies,
		"metrics/{metric}":              noMetrics,
		"{rest...}":                     nothingHere,
	} {
		mux.Handle(Prefix+"api/"+path, h.handle(e, writeError))
	}
	for path, e := range map[string]endpoint{
		"services":    h.services3,
		"operations":  h.operations3,
		"traces":      h.traces3,
		"traces/{id}": h.trace3,
		"{rest...}":   nothingHere,
	} {
		mux.Handle(Prefix+"api/v3/"+path, h.handle(e, writeError3))
	}
	mux.Handle(Prefix, h.handle(nothingHere, writeError))
	return mux
}

// What an answer may take at most: a search runs some statements one after the other, and what they found may still be on
// its way to a slow client for a while.
const (
	maxStatements = 10
	stallGrace    = 30 * time.Second
)

// handle adapts an endpoint: who asks, that it is asked for, and how its error is written.
func (h *handler) handle(e endpoint, fail func(http.ResponseWriter, *httpapi.Error)) http.Handler {
	inner := func(w http.ResponseWriter, r *http.Request) error {
		// SECURITY: before the path is looked at, so that nobody without a key learns anything.
		caller, err := h.opts.Authenticate(r)
		if err != nil {
			return err
		}
		if r.Method != http.MethodGet && r.Method != http.MethodHead {
			e := httpapi.Errorf(http.StatusMethodNotAllowed, "method-not-allowed", "ask with GET")
			e.Header = http.Header{"Allow": {"GET, HEAD"}}
			return e
		}
		limits := h.reader.LimitsOf(caller.Scope)
		// A client that takes nothing more must not keep its place for ever. Writers without deadlines have none to keep.
		_ = http.NewResponseController(w).SetWriteDeadline(time.Now().Add(maxStatements*limits.MaxExecution + stallGrace))
		return e(w, asked{r, caller, len(caller.Scope.Strings()) > 1, limits.MaxRange})
	}
	return failWith(h.opts.Log, inner, fail)
}

func nothingHere(_ http.ResponseWriter, _ asked) error {
	return httpapi.Errorf(http.StatusNotFound, "not-found", "there is no such endpoint: see docs/jaeger.md for those that are")
}

func noMetrics(_ http.ResponseWriter, _ asked) error {
	return httpapi.Errorf(http.StatusNotImplemented, "metrics-not-here", "metrics querying is currently disabled: ask /prometheus/api/v1 for metrics")
}

// listBounds is the range in which services and operations are looked for.
func (h *handler) listBounds() query.Bounds {
	now := h.opts.Now()
	return h.bounds(now.Add(-h.opts.ListLookback), now.Add(time.Hour), h.opts.MaxListed)
}

func (h *handler) serviceNames(r asked) ([]string, error) {
	b := newBuilder(plan.Spans)
	p := b.group("service")
	rows, err := h.texts(r.Context(), p, r.Scope, h.listBounds())
	if err != nil {
		return nil, err
	}
	out := []string{}
	for _, row := range rows {
		out = append(out, serviceName(row[0]))
	}
	slices.Sort(out)
	return slices.Compact(out), nil
}

func (h *handler) services(w http.ResponseWriter, r asked) error {
	list, err := h.serviceNames(r)
	if err != nil {
		return err
	}
	return respond(w, envelope{Data: list, Total: len(list)})
}

func (h *handler) services3(w http.ResponseWriter, r asked) error {
	list, err := h.serviceNames(r)
	if err != nil {
		return err
	}
	return respond(w, map[string]any{"services": list})
}

// operation is a name of spans, with a kind of theirs.
type operation struct {
	Name string `json:"name"`
	Kind string `json:"spanKind"`
}

// list returns the operations of a service by name and kind; a kind of "" is all.
func (h *handler) list(ctx context.Context, r asked, service, kind string) ([]operation, error) {
	b := newBuilder(plan.Spans)
	b.where(b.equals("service", storedService(service)))
	if kind != "" {
		if !slices.Contains(b.plan.Key("kind").Values, kind) {
			return nil, invalid("unable to parse param 'spanKind': %.40q is not one of unspecified, internal, server, client, producer, consumer", kind)
		}
		b.where(b.equals("kind", kind))
	}
	p := b.group("name", "kind")
	if b.err != nil {
		return nil, b.err
	}
	rows, err := h.texts(ctx, p, r.Scope, h.listBounds())
	if err != nil {
		return nil, err
	}
	out := []operation{}
	for _, row := range rows {
		out = append(out, operation{row[0], row[1]})
	}
	return out, nil
}

func (h *handler) operationNames(w http.ResponseWriter, r asked) error {
	service := r.PathValue("service")
	if len(service) > maxNameBytes {
		return invalid("the service's name has %d bytes of at most %d", len(service), maxNameBytes)
	}
	list, err := h.list(r.Context(), r, service, "")
	if err != nil {
		return err
	}
	names := []string{}
	for _, o := range list {
		names = append(names, o.Name)
	}
	names = slices.Compact(names) // they are in order
	return respond(w, envelope{Data: names, Total: len(names)})
}

// listAsked is the operations that the parameters ask for.
func (h *handler) listAsked(r asked, kindNames ...string) ([]operation, error) {
	q, err := values(r.Request)
	if err != nil {
		return nil, err
	}
	service, err := name(q, "service")
	if err != nil {
		return nil, err
	}
	if service == "" {
		return nil, invalid("parameter 'service' is required")
	}
	kind, _ := param3(q, kindNames...)
	return h.list(r.Context(), r, service, kind)
}

func (h *handler) operations(w http.ResponseWriter, r asked) error {
	list, err := h.listAsked(r, "spanKind")
	if err != nil {
		return err
	}
	for i := range list {
		if list[i].Kind == "unspecified" {
			list[i].Kind = "" // a span without the tag span.kind
		}
	}
	return respond(w, envelope{Data: list, Total: len(list)})
}

func (h *handler) operations3(w http.ResponseWriter, r asked) error {
	list, err := h.listAsked(r, "spanKind", "span_kind")
	if err != nil {
		return err
	}
	for i := range list {
		if list[i].Kind == "unspecified" {
			list[i].Kind = "internal" // as Jaeger has it
		}
	}
	return respond(w, map[string]any{"operations": list})
}

func (h *handler) traces(w http.ResponseWriter, r asked) error {
	q, err := values(r.Request)
	if err != nil {
		return err
	}
	c, ids, err := h.search(q, r.maxRange)
	if err != nil {
		return err
	}
	if ids != nil {
		start, end, err := traceRange(q)
		if err != nil {
			return err
		}
		f, err := h.locate(r.Context(), r.Scope, ids, start, end)
		if err != nil {
			return err
		}
		return h.write(w, r, f, ids)
	}
	f, err := h.find(r.Context(), r.Scope, c)
	if err != nil {
		return err
	}
	return h.write(w, r, f, nil)
}

func (h *handler) trace(w http.ResponseWriter, r asked) error {
	id, err := parseTraceID(r.PathValue("id"))
	if err != nil {
		return err
	}
	q, err := values(r.Request)
	if err != nil {
		return err
	}
	start, end, err := traceRange(q)
	if err != nil {
		return err
	}
	f, err := h.locate(r.Context(), r.Scope, []string{id}, start, end)
	if err != nil {
		return err
	}
	if len(f.ids) == 0 {
		return errNotFound
	}
	recs, err := h.open(r.Context(), r.Scope, f)
	if err != nil {
		return err
	}
	defer recs.res.Close()
	return writeTraces(w, recs, nil, r.several, true)
}

// write streams traces in Jaeger's JSON, none if none was found, and says which of asked are not there.
func (h *handler) write(w http.ResponseWriter, r asked, f found, asked []string) error {
	if len(f.ids) == 0 {
		return respond(w, envelope{Data: []string{}, Errors: missing(asked, nil)})
	}
	recs, err := h.open(r.Context(), r.Scope, f)
	if err != nil {
		return err
	}
	defer recs.res.Close()
	return writeTraces(w, recs, asked, r.several, false)
}

func (h *handler) traces3(w http.ResponseWriter, r asked) error {
	q, err := values(r.Request)
	if err != nil {
		return err
	}
	c, err := search3(q, r.maxRange)
	if err != nil {
		return err
	}
	f, err := h.find(r.Context(), r.Scope, c)
	if err != nil {
		return err
	}
	return h.write3(w, r, f)
}

func (h *handler) trace3(w http.ResponseWriter, r asked) error {
	id, err := parseTraceID(r.PathValue("id"))
	if err != nil {
		return malformed("trace_id", "%s", message(err))
	}
	q, err := values(r.Request)
	if err != nil {
		return err
	}
	start, end, err := traceRange3(q)
	if err != nil {
		return err
	}
	f, err := h.locate(r.Context(), r.Scope, []string{id}, start, end)
	if err != nil {
		return err
	}
	return h.write3(w, r, f)
}

// write3 streams traces as OTLP JSON.
func (h *handler) write3(w http.ResponseWriter, r asked, f found) error {
	if len(f.ids) == 0 {
		return errNoTraces
	}
	recs, err := h.open(r.Context(), r.Scope, f)
	if err != nil {
		return err
	}
	defer recs.res.Close()
	return writeOTLP(w, recs)
}

func (h *handler) dependencies(w http.ResponseWriter, r asked) error {
	q, err := values(r.Request)
	if err != nil {
		return err
	}
	end, err := unixTime(q, "endTs", time.Millisecond, h.opts.Now())
	if err != nil {
		return err
	}
	back, err := millis(q, "lookback", defaultDependenciesLookback)
	if err != nil {
		return err
	}
	service, err := name(q, "service")
	if err != nil {
		return err
	}
	start, end := end.Add(-back), end.Add(time.Millisecond)
	if err := checkRange(start, end, r.maxRange); err != nil {
		return err
	}
	links, err := h.links(r.Context(), r.Scope, h.bounds(start, end, h.opts.MaxListed), service)
	if err != nil {
		return err
	}
	return respond(w, envelope{Data: links})
}
