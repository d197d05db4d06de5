package control

import (
	"net/http"
	"reflect"
	"slices"
	"strings"
)

// conflicting are the routes beside POST that answer 409: the thing is not in a state for it, or a name is taken. Every POST that is
// not public does, by its idempotency key.
var conflicting = []string{
	"GET /api/v1/tenants/{tenant}/export/tables/{table}/{day}", "GET /api/v1/tenants/{tenant}/export/state/{kind}",
	"PATCH /api/v1/tenants/{tenant}", "DELETE /api/v1/tenants/{tenant}", "PATCH /api/v1/tenants/{tenant}/security",
	"PUT /api/v1/tenants/{tenant}/email-domains/{domain}", "DELETE /api/v1/tenants/{tenant}/email-domains/{domain}",
	"PATCH /api/v1/keys/{key}", "PATCH /api/v1/roles/{role}", "DELETE /api/v1/roles/{role}",
	"PATCH /api/v1/teams/{team}", "DELETE /api/v1/teams/{team}", "DELETE /api/v1/teams/{team}/members/{user}",
	"PATCH /api/v1/users/{user}", "DELETE /api/v1/users/{user}", "DELETE /api/v1/users/{user}/invitation",
	"PUT /api/v1/users/{user}/grants/{tenant}", "PUT /api/v1/account/password", "DELETE /api/v1/account/second-factor",
}

// limited are the routes that answer 429: guesses are counted, and messages.
var limited = []string{
	"POST /api/v1/sign-in", "GET /api/v1/oidc/callback", "POST /api/v1/password-reset", "PUT /api/v1/account/password",
	"POST /api/v1/account/second-factor/recovery-codes", "DELETE /api/v1/account/second-factor", "POST /api/v1/webhooks/{webhook}/test",
}

// publicRefusals are what public routes refuse with beside what their bodies are refused with.
var publicRefusals = map[string][]int{
	"POST /api/v1/sign-in":               {http.StatusUnauthorized, http.StatusForbidden},
	"POST /api/v1/invitations/accept":    {http.StatusForbidden},
	"POST /api/v1/password-reset":        {http.StatusForbidden},
	"POST /api/v1/password-reset/accept": {http.StatusForbidden},
	"GET /api/v1/oidc/start":             {http.StatusNotFound},
	"GET /api/v1/oidc/callback":          {http.StatusUnauthorized, http.StatusForbidden, http.StatusNotFound},
}

// refusals returns the statuses from 400 to 499 that a route answers with; shown says that it changes what has an ETag.
func (rt route) refusals(shown bool) []int {
	name := rt.method + " " + rt.path
	var out []int
	add := func(applies bool, statuses ...int) {
		if applies {
			out = append(out, statuses...)
		}
	}
	private := rt.scope != public
	add(rt.body != nil, http.StatusBadRequest, http.StatusRequestEntityTooLarge)
	add(private && (len(rt.query) > 0 || rt.method == http.MethodPost), http.StatusBadRequest)
	add(private, http.StatusUnauthorized, http.StatusForbidden)
	add(private && (strings.Contains(rt.path, "{") || slices.Contains(rt.query, "tenant") || namesTenant(rt.body) || name == "GET /api/v1/usage/verify" ||
		name == "GET /api/v1/usage/export/key"), http.StatusNotFound)
	add(private && rt.method == http.MethodPost || slices.Contains(conflicting, name), http.StatusConflict)
	add(shown, http.StatusPreconditionFailed)
	add(slices.Contains(limited, name), http.StatusTooManyRequests)
	add(true, publicRefusals[name]...)
	slices.Sort(out)
	return slices.Compact(out)
}

// namesTenant reports whether a body says which tenant, or which parent, it is about.
func namesTenant(body any) bool {
	if body == nil || reflect.TypeOf(body).Kind() != reflect.Struct {
		return false
	}
	return slices.ContainsFunc(reflect.VisibleFields(reflect.TypeOf(body)), func(f reflect.StructField) bool {
		name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
		return name == "tenant" || name == "parent"
	})
}
