package prom

import (
	"errors"
	"log/slog"
	"net/http"
	"strings"
	"sync/atomic"
	"time"

	"github.com/prometheus/otlptranslator"
	"github.com/prometheus/prometheus/promql"
	"github.com/prometheus/prometheus/promql/parser"

	"github.com/headgate-io/headgate/internal/httpapi"
	"github.com/headgate-io/headgate/internal/tenant"
	"github.com/headgate-io/headgate/query"
)

// Prefix is where a Handler expects to be mounted: its paths are those of Prometheus after it.
const Prefix = "/prometheus"

// Options configure NewHandler.
type Options struct {
	// Authenticate returns the caller of a request. Its errors are *httpapi.Error.
	Authenticate func(*http.Request) (query.Caller, error)
	Limits       Limits
	// Names is how names are translated, UnderscoreEscapingWithSuffixes if it is "".
	Names otlptranslator.TranslationStrategyOption
	// MaxAge is how old an answer may be that is given again to a request that does not say, for times that ended a minute ago or
	// earlier. Zero: such a request is always evaluated.
	MaxAge time.Duration
	Log    *slog.Logger     // nil discards
	Now    func() time.Time // nil is time.Now
}

// The engine's settings that Prometheus has too.
const (
	lookback        = 5 * time.Minute
	subqueryStep    = time.Minute
	maxQueryBytes   = 64 << 10
	maxFormBytes    = 1 << 20
	maxSteps        = 11_000
	maxMatcherSets  = 64
	maxSubSteps     = 1_000_000 // of a subquery, over all of the range that it is evaluated for
	stallGrace      = 30 * time.Second
	concurrent      = 16
	concurrentScope = 4
)

// Handler serves requests. It is safe for concurrent use.
type Handler struct {
	reader *query.Reader
	opts   Options
	// timeout is how long a request may take.
	timeout time.Duration
	engine  *promql.Engine
	parser  parser.Parser
	slots   *slots
	loaded  atomic.Int64 // samples that running requests hold
}

// NewHandler serves the Prometheus HTTP API below Prefix on r. Each answer is in Prometheus' envelope.
func NewHandler(r *query.Reader, opts Options) *Handler {
	if opts.Log == nil {
		opts.Log = slog.New(slog.DiscardHandler)
	}
	if opts.Now == nil {
		opts.Now = time.Now
	}
	if opts.Names == "" {
		opts.Names = otlptranslator.UnderscoreEscapingWithSuffixes
	}
	opts.Limits = opts.Limits.withDefaults()
	h := &Handler{reader: r, opts: opts, timeout: r.MaxExecution(), slots: newSlots(concurrent, concurrentScope)}
	h.parser = newParser()
	h.engine = h.newEngine(h.parser)
	return h
}

func newParser() parser.Parser {
	return parser.NewParser(parser.Options{EnableExperimentalFunctions: true})
}

// newEngine makes an engine that reads texts by p.
func (h *Handler) newEngine(p parser.Parser) *promql.Engine {
	return promql.NewEngine(promql.EngineOpts{
		MaxSamples: h.opts.Limits.MaxSamples, Timeout: h.timeout, LookbackDelta: lookback,
		NoStepSubqueryIntervalFn: func(int64) int64 { return subqueryStep.Milliseconds() },
		// SECURITY: no statistics per step: the engine makes room for every step of a subquery before it runs, which for
		// x[1y:1ms] is more memory than there is.
		EnableAtModifier: true, EnableNegativeOffset: true, EnablePerStepStats: false,
		Parser: p,
	})
}

// request is one request of a caller.
type request struct {
	*http.Request
	handler *Handler
	engine  *promql.Engine
	parser  parser.Parser
	scope   tenant.Scope
	storage *Storage
	asked   string // of a question, its text and variables
	// relative says that the question's times are counted from now.
	relative bool
	bound    bool // the text's variables have been bound: its positions are not those that the caller knows
}

// param returns a parameter of the URL or the form, "" if there is none.
func (r *request) param(name string) string { return r.Form.Get(name) }

// endpoint answers a request: data for the envelope, and warnings.
type endpoint func(r *request) (answer, error)

// route is a path's endpoint.
type route struct {
	form  bool // it takes its parameters as a form too
	serve endpoint
}

// routes are the paths below Prefix. What Prometheus has beyond them is not served: federation, remote read and write,
// administration, and what tells of a Prometheus' own configuration and targets.
var routes = map[string]route{
	"/api/v1/query":            {true, kept("time", (*request).query)},
	"/api/v1/query_range":      {true, kept("end", (*request).queryRange)},
	"/api/v1/query_exemplars":  {true, (*request).queryExemplars},
	"/api/v1/labels":           {true, (*request).labelNames},
	"/api/v1/series":           {true, (*request).series},
	"/api/v1/metadata":         {false, (*request).metadata},
	"/api/v1/format_query":     {true, (*request).formatQuery},
	"/api/v1/parse_query":      {true, (*request).parseQuery},
	"/api/v1/rules":            {false, (*request).rules},
	"/api/v1/alerts":           {false, (*request).alerts},
	"/api/v1/status/buildinfo": {false, (*request).buildInfo},
}

// find returns the endpoint of a path.
func find(path string) (route, bool) {
	path = strings.TrimPrefix(path, Prefix)
	if rt, ok := routes[path]; ok {
		return rt, true
	}
	rest, isLabel := strings.CutPrefix(path, "/api/v1/label/")
	if name, ok := strings.CutSuffix(rest, "/values"); isLabel && ok && name != "" {
		return route{false, func(r *request) (answer, error) { return r.labelValues(name) }}, true
	}
	return route{}, false
}

// ServeHTTP implements http.Handler.
func (h *Handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	h.handle(h.serve).ServeHTTP(w, r)
}

// handle adapts what answers a request but for the writing. The request that it returns may be nil.
func (h *Handler) handle(serve func(http.ResponseWriter, *http.Request) (answer, *request, error)) http.Handler {
	return httpapi.Handle(h.opts.Log, func(w http.ResponseWriter, r *http.Request) error {
		a, req, err := serve(w, r)
		if req != nil && req.storage != nil {
			defer h.loaded.Add(-int64(req.storage.samples))
		}
		if err != nil {
			h.fail(w, r, err)
			return nil
		}
		if a.close != nil {
			defer a.close()
		}
		if a.land != nil {
			defer a.land(nil) // nothing, unless writing broke off
		}
		text := req.param("query")
		if req.bound {
			text = ""
		}
		respond(w, a, text)
		return nil
	})
}

// serve answers a request but for the writing.
func (h *Handler) serve(w http.ResponseWriter, r *http.Request) (answer, *request, error) {
	caller, err := h.opts.Authenticate(r)
	if err != nil {
		return answer{}, nil, err
	}
	rt, ok := find(r.URL.Path)
	switch {
	case !ok:
		return answer{}, nil, &apiError{notFound, errors.New("headgate does not serve this path: docs/prometheus.md lists those that it does")}
	case r.Method == http.MethodGet || r.Method == http.MethodHead || r.Method == http.MethodPost && rt.form:
	default:
		return answer{}, nil, &apiError{badMethod, errors.New("use GET, or POST with a form where Prometheus takes one")}
	}
	r.Body = http.MaxBytesReader(w, r.Body, maxFormBytes)
	if err := r.ParseForm(); err != nil {
		return answer{}, nil, badData("error parsing form values: %v", err)
	}
	if q := r.Form.Get("query"); len(q) > maxQueryBytes {
		return answer{}, nil, badData("the query is longer than %d bytes", maxQueryBytes)
	}
	if len(r.Form["match[]"]) > maxMatcherSets {
		return answer{}, nil, badData("more than %d match[] parameters", maxMatcherSets)
	}
	return h.run(w, &request{Request: r, engine: h.engine, parser: h.parser}, caller, rt.serve)
}

// run answers a request of a caller who has been authenticated, when there is a place for it.
func (h *Handler) run(w http.ResponseWriter, req *request, caller query.Caller, serve endpoint) (answer, *request, error) {
	h.opts.Log.Debug("prometheus query", "key_id", caller.Key, "tenants", caller.Scope.Strings(), "path", req.URL.Path)
	// A client that takes nothing more must not keep its place for ever. Writers without deadlines have none to keep.
	_ = http.NewResponseController(w).SetWriteDeadline(time.Now().Add(h.timeout + stallGrace))
	leave, err := h.slots.enter(req.Context(), strings.Join(caller.Scope.Strings(), ","))
	if err != nil {
		return answer{}, nil, err
	}
	defer leave()
	req.handler, req.scope = h, caller.Scope
	req.storage = NewStorage(h.reader, caller.Scope, h.opts.Names, h.opts.Limits)
	req.storage.held = &h.loaded
	a, err := serve(req)
	return a, req, err
}
