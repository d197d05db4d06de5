package control

import (
	"context"
	"errors"
	"log/slog"
	"math"
	"net/http"
	"reflect"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/headgate-io/headgate/auth"
	"github.com/headgate-io/headgate/auth/saved"
	"github.com/headgate-io/headgate/internal/httpapi"
	"github.com/headgate-io/headgate/internal/tenant"
	"github.com/headgate-io/headgate/metering"
	"github.com/headgate-io/headgate/metering/alert"
)

// API serves the control plane and the queries that are kept. All fields are required but OIDC, and what only the routes need that
// Part leaves out.
type API struct {
	// Part is what is served; "" is everything. Of the rest it is said who serves it.
	Part      Part
	Directory *auth.Directory
	// Limits returns the limits that are set on a key and its tenant, and what is used of them.
	Limits   func(ctx context.Context, c metering.Charge, at time.Time) ([]metering.LimitState, error)
	Ledger   *metering.Ledger
	Alerts   *alert.Service
	Signer   *metering.Signer // of manifests of exports
	Deleter  *Deleter
	Exporter ExportSource
	Verifier *metering.Verifier
	Saved    *saved.Service
	Queries  Queries
	// Kept returns the bytes that a tenant and its descendants keep, and whether that is known. nil: it is not.
	Kept func(tenant.ID) (int64, bool)
	Now  func() time.Time
	// QueryTiers are the names that a tenant's query_tier may have.
	QueryTiers []string
	Log        *slog.Logger
	Version    string
	// OIDC is nil where nobody signs in that way.
	OIDC *auth.OIDC

	exports atomic.Int32 // how many parts of exports are being read
}

// handler serves one route for an authenticated caller and returns what to answer with.
type handler func(r *http.Request, w http.ResponseWriter, p auth.Principal) (any, error)

// route is one line of the API's table, from which both the handlers and the OpenAPI document are made.
type route struct {
	method, path string
	summary      string
	scope        auth.KeyScope // "": any valid credential
	query        []string      // query parameters
	body, answer any           // examples of the types, nil for none
	status       int           // of success; 0 is 200
	handle       handler
}

// Register adds the API's routes to mux, and "/api/" for what there is none of.
func (a *API) Register(mux *http.ServeMux) {
	served, others := a.shares()
	for _, rt := range served {
		mux.Handle(rt.method+" "+rt.path, httpapi.Handle(a.Log, a.serve(rt, shownBy(served, rt))))
	}
	a.refuseMethods(mux, served)
	for path, part := range others {
		mux.Handle(path, Elsewhere(part, a.Log))
	}
	doc := a.document()
	mux.HandleFunc("GET /api/openapi.json", func(w http.ResponseWriter, _ *http.Request) {
		httpapi.WriteJSON(w, http.StatusOK, doc)
	})
	mux.Handle("/api/", httpapi.Handle(a.Log, func(_ http.ResponseWriter, r *http.Request) error {
		return httpapi.Errorf(http.StatusNotFound, "path-not-found", "nothing is served at %s %s; see /api/openapi.json", r.Method, r.URL.Path)
	}))
}

func (a *API) routes() []route {
	paging := []string{"cursor", "limit"}
	return []route{
		{"GET", "/api/v1/tenants", "List the tenants in the caller's reach", auth.ScopeAdmin, append([]string{"search", "status", "usage"}, paging...), nil, Tenants{}, 0, a.listTenants},
		{"POST", "/api/v1/tenants", "Create a tenant", auth.ScopeAdmin, nil, NewTenant{}, Tenant{}, http.StatusCreated, a.createTenant},
		{"GET", "/api/v1/tenants/{tenant}", "Show a tenant by name or id", auth.ScopeAdmin, nil, nil, Tenant{}, 0, a.showTenant},
		{"PATCH", "/api/v1/tenants/{tenant}", "Change a tenant's settings", auth.ScopeAdmin, nil, TenantPatch{}, Tenant{}, 0, a.setTenant},
		{"POST", "/api/v1/tenants/{tenant}/disable", "Refuse a tenant's keys within a second", auth.ScopeAdmin, nil, nil, Tenant{}, 0, a.disableTenant},
		{"POST", "/api/v1/tenants/{tenant}/enable", "Let a disabled tenant's keys work again", auth.ScopeAdmin, nil, nil, Tenant{}, 0, a.enableTenant},
		{"GET", "/api/v1/keys", "List API keys", auth.ScopeAdmin, append([]string{"tenant"}, paging...), nil, Keys{}, 0, a.listKeys},
		{"POST", "/api/v1/keys", "Create an API key; its text is shown once", auth.ScopeAdmin, nil, KeyRequest{}, NewKey{}, http.StatusCreated, a.createKey},
		{"GET", "/api/v1/keys/{key}", "Show an API key by id", auth.ScopeAdmin, nil, nil, Key{}, 0, a.showOneKey},
		{"PATCH", "/api/v1/keys/{key}", "Change an API key's limits, name or owner", auth.ScopeAdmin, nil, KeyPatch{}, Key{}, 0, a.setKey},
		{"DELETE", "/api/v1/keys/{key}", "Revoke an API key", auth.ScopeAdmin, nil, nil, Key{}, 0, a.revokeKey},
		{"GET", "/api/v1/usage/verify", "Read the last comparison of ledger, runs and ClickHouse (operator)", "", nil, nil, metering.Report{}, 0, a.lastVerified},
		{"POST", "/api/v1/usage/verify", "Compare ledger, runs and ClickHouse; answers with lines of progress, then the report (operator)", "", nil, VerifyRequest{}, VerifyLine{}, 0, a.verifyUsage},
		{"GET", "/api/v1/limits", "Read the limits that hold for the calling key", "", nil, nil, Limits{}, 0, a.limits},
	}
}

// answer is what a route answers with. body is nil for none.
type answer struct {
	status int
	body   []byte
	tag    string
}

// serve serves one route. show is the route of the resource that it changes, nil for none.
func (a *API) serve(rt route, show *route) func(http.ResponseWriter, *http.Request) error {
	return func(w http.ResponseWriter, r *http.Request) error {
		r = r.WithContext(auth.WithOrigin(r.Context(), clientAddress(r)))
		p, err := a.admit(r, rt.scope)
		if err != nil {
			return err
		}
		r.Body = http.MaxBytesReader(w, r.Body, httpapi.MaxBodyBytes)
		if r, err = a.matching(show, w, r, p); err != nil {
			return Problem(err)
		}
		out, err := a.once(rt, w, r, p, func(r *http.Request) (*answer, error) { return rt.ask(r, w, p, show) })
		if err != nil {
			return Problem(err)
		}
		if out == nil { // the handler has written itself
			return nil
		}
		if out.tag != "" {
			w.Header().Set("ETag", out.tag)
		}
		switch have := strings.ReplaceAll(strings.Join(r.Header.Values("If-None-Match"), ","), "W/", ""); {
		case rt.method == http.MethodGet && out.tag != "" && have != "" && matches(have, out.tag):
			w.WriteHeader(http.StatusNotModified)
		case out.body == nil:
			w.WriteHeader(out.status)
		default:
			httpapi.WriteBody(w, out.status, out.body)
		}
		return nil
	}
}

// ask lets the route's handler answer.
func (rt route) ask(r *http.Request, w http.ResponseWriter, p auth.Principal, show *route) (*answer, error) {
	v, err := rt.handle(r, w, p)
	switch {
	case err != nil:
		return nil, err
	case v == nil && rt.status == http.StatusNoContent:
		return &answer{status: http.StatusNoContent}, nil
	case v == nil:
		return nil, nil
	}
	out := &answer{status: max(rt.status, http.StatusOK), body: httpapi.JSON(v)}
	if rt.isResource() || show != nil && reflect.TypeOf(v) == reflect.TypeOf(show.answer) {
		out.tag = tagOf(out.body)
	}
	return out, nil
}

// statuses maps the codes of auth's errors to HTTP.
var statuses = map[string]int{
	auth.ErrNoCredential.Code:        http.StatusUnauthorized,
	auth.ErrAmbiguousCredential.Code: http.StatusUnauthorized,
	auth.ErrUnknownKey.Code:          http.StatusUnauthorized,
	auth.ErrExpired.Code:             http.StatusUnauthorized,
	auth.ErrKeysUnavailable.Code:     http.StatusServiceUnavailable,
	auth.ErrTenantInactive.Code:      http.StatusForbidden,
	auth.ErrScope.Code:               http.StatusForbidden,
	auth.ErrOrigin.Code:              http.StatusForbidden,
	auth.ErrCertificate.Code:         http.StatusForbidden,
	auth.ErrForbidden.Code:           http.StatusForbidden,
	auth.ErrNotFound.Code:            http.StatusNotFound,
	auth.ErrInvalid.Code:             http.StatusBadRequest,
	auth.ErrNameTaken.Code:           http.StatusConflict,
	auth.ErrState.Code:               http.StatusConflict,
	auth.ErrSignedOut.Code:           http.StatusUnauthorized,
	auth.ErrSignIn.Code:              http.StatusUnauthorized,
	auth.ErrCodeNeeded.Code:          http.StatusUnauthorized,
	auth.ErrCode.Code:                http.StatusForbidden,
	auth.ErrPassword.Code:            http.StatusForbidden,
	auth.ErrMustEnrol.Code:           http.StatusForbidden,
	auth.ErrToken.Code:               http.StatusBadRequest,
	auth.ErrEmailDomain.Code:         http.StatusBadRequest,
	auth.ErrEmailTaken.Code:          http.StatusConflict,
	auth.ErrLastAdmin.Code:           http.StatusConflict,
	auth.ErrLimitUsers.Code:          http.StatusConflict,
	auth.ErrLimitKeys.Code:           http.StatusConflict,
	auth.ErrSlugTaken.Code:           http.StatusConflict,
	auth.ErrRegion.Code:              http.StatusConflict,
	auth.ErrScopeTooWide.Code:        http.StatusBadRequest,
	auth.ErrBusy.Code:                http.StatusServiceUnavailable,
	auth.ErrOIDC.Code:                http.StatusForbidden,
	auth.ErrOIDCUnavailable.Code:     http.StatusServiceUnavailable,
	auth.ErrIdempotencyConflict.Code: http.StatusConflict,
	auth.ErrIdempotencyRunning.Code:  http.StatusConflict,
	auth.ErrIdempotencyLost.Code:     http.StatusConflict,
}

// Problem makes the answer of an error of auth; every other error stays as it is.
func Problem(err error) error {
	var many *auth.TooManyError
	if errors.As(err, &many) {
		seconds := strconv.Itoa(int(math.Ceil(many.RetryAfter.Seconds())))
		return &httpapi.Error{Status: http.StatusTooManyRequests, Code: "sign-in-limited", Detail: "too many sign-ins have failed: try again later",
			Header: http.Header{"Retry-After": {seconds}}}
	}
	var e *auth.Error
	if !errors.As(err, &e) {
		return err
	}
	status, ok := statuses[e.Code]
	if !ok {
		return err
	}
	return httpapi.Errorf(status, e.Code, "%s", e.Text)
}

// pageSize reads the query parameter limit.
func pageSize(r *http.Request) (int, error) {
	text := r.URL.Query().Get("limit")
	if text == "" {
		return 100, nil
	}
	n, err := strconv.Atoi(text)
	if err != nil || n < 1 || n > 1000 {
		return 0, httpapi.Errorf(http.StatusBadRequest, auth.ErrInvalid.Code, "limit %.20q: want 1 to 1000", text)
	}
	return n, nil
}

func invalid(format string, args ...any) error {
	return httpapi.Errorf(http.StatusBadRequest, auth.ErrInvalid.Code, format, args...)
}

// clip bounds text of the client that an answer repeats.
func clip(s string) string { return strings.ToValidUTF8(s[:min(len(s), 100)], "?") }
