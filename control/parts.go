package control

import (
	"log/slog"
	"net/http"
	"slices"

	"github.com/headgate-io/headgate/auth"
	"github.com/headgate-io/headgate/internal/httpapi"
)

// Part is a part of the API that processes may serve alone. It is also the name of the role of such processes.
type Part string

// The parts. A path belongs to one of them, with all its methods.
const (
	PartQuery   Part = "query"   // what reads telemetry, and the queries and dashboards that are kept
	PartControl Part = "control" // everything else
)

// CodeElsewhere is the code of answers at paths that another part has.
const CodeElsewhere = "wrong-role"

// Elsewhere answers at paths of a part that this process does not serve: whatever is asked, and whoever asks, it says who does. The status
// is 421, which RFC 9110 has for a server that cannot answer for the target.
func Elsewhere(part Part, log *slog.Logger) http.Handler {
	return httpapi.Handle(log, func(_ http.ResponseWriter, r *http.Request) error {
		e := httpapi.Errorf(http.StatusMisdirectedRequest, CodeElsewhere, "%.100s is not served by this process, but by those with --role %s", r.URL.Path, part)
		e.Extra = map[string]any{"role": part}
		return e
	})
}

// table returns all routes.
func (a *API) table() []route { return slices.Concat(a.controlRoutes(), a.queryRoutes()) }

// controlRoutes are those of PartControl.
func (a *API) controlRoutes() []route {
	return slices.Concat(a.routes(), a.usageRoutes(), a.alertRoutes(), a.roleRoutes(), a.accessRoutes(), a.signInRoutes(), a.oidcRoutes(),
		a.accountRoutes(), a.userRoutes(), a.auditRoutes(), a.deletionRoutes(), a.exportRoutes(), a.securityRoutes(), a.viewRoutes())
}

// queryRoutes are those of PartQuery.
func (a *API) queryRoutes() []route {
	return append(a.savedRoutes(),
		route{"GET", "/api/v1/query/scope", "List the tenants that the caller's queries read", auth.ScopeQuery, []string{"cursor", "limit"}, nil, QueryScope{}, 0, a.queryScope})
}

// document is the OpenAPI document: of the whole API, whatever part is served, so that it is right behind a proxy that joins them too. Each
// operation says whose it is.
func (a *API) document() map[string]any {
	query := map[string]bool{"/api/v1/query": true}
	for _, rt := range a.queryRoutes() {
		query[rt.path] = true
	}
	doc := openAPI(a.table(), a.Version)
	for path, operations := range doc["paths"].(map[string]map[string]any) {
		part := PartControl
		if query[path] {
			part = PartQuery
		}
		for _, op := range operations {
			op.(map[string]any)["x-headgate-role"] = part
		}
	}
	return doc
}

// shares returns the routes that are served here, and the paths of the others.
func (a *API) shares() (served []route, others map[string]Part) {
	others = map[string]Part{}
	for part, routes := range map[Part][]route{PartControl: a.controlRoutes(), PartQuery: a.queryRoutes()} {
		if a.Part == "" || a.Part == part {
			served = append(served, routes...)
			continue
		}
		for _, rt := range routes {
			others[rt.path] = part
		}
	}
	return served, others
}
