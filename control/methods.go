package control

import (
	"net/http"
	"slices"
	"strings"

	"github.com/headgate-io/headgate/internal/httpapi"
)

// refuseMethods answers 405 with Allow at the paths of routes for all methods that are not theirs.
func (a *API) refuseMethods(mux *http.ServeMux, routes []route) {
	allowed := map[string][]string{}
	for _, rt := range routes {
		allowed[rt.path] = append(allowed[rt.path], rt.method)
	}
	for path, methods := range allowed {
		if slices.Contains(methods, http.MethodGet) {
			methods = append(methods, http.MethodHead)
		}
		slices.Sort(methods)
		allow := strings.Join(methods, ", ")
		mux.Handle(path, httpapi.Handle(a.Log, func(_ http.ResponseWriter, r *http.Request) error {
			return &httpapi.Error{Status: http.StatusMethodNotAllowed, Code: "method-not-allowed", Detail: "allowed here: " + allow,
				Header: http.Header{"Allow": {allow}}}
		}))
	}
}
