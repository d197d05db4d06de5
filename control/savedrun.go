package control

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"

	"github.com/headgate-io/headgate/auth"
	"github.com/headgate-io/headgate/auth/saved"
	"github.com/headgate-io/headgate/internal/httpapi"
	"github.com/headgate-io/headgate/internal/tenant"
)

// Queries returns what answers a request with the body of POST /api/v1/query by reading these tenants; where the language is
// saved.PromQL the body has the members instant and step too. key is the id of the key that asks, for the log. It has authenticated nobody:
// its caller has.
type Queries func(scope tenant.Scope, key, language string) http.Handler

// runSaved serves the running of the thing whose id the path has under a name.
//
// SECURITY: what is read is the caller's to read at this moment, from the thing's tenant down; the author's permissions count for
// nothing. That others are read is recorded before.
func (a *API) runSaved(k saved.Kind, name string) handler {
	return func(r *http.Request, w http.ResponseWriter, p auth.Principal) (any, error) {
		var in RunRequest
		if err := httpapi.ReadJSON(w, r, &in); err != nil {
			return nil, err
		}
		run, err := a.Saved.Run(r.Context(), p, k, r.PathValue(name), r.PathValue("panel"), in.Variables)
		if err != nil {
			return nil, err
		}
		if run.Language != saved.PromQL && (in.Instant != nil || in.Step != "") {
			return nil, invalid("instant, step: are for queries in %s", saved.PromQL)
		}
		put(&run.Instant, in.Instant)
		if in.Step != "" {
			run.Step = in.Step
		}
		scope, err := a.Directory.Narrow(run.Scope, in.Tenants)
		if err == nil {
			err = a.Directory.AuditScope(r.Context(), p, scope, "query.run")
		}
		if err != nil {
			return nil, err
		}
		again := r.Clone(r.Context())
		again.Body = io.NopCloser(bytes.NewReader(queryBody(in, run)))
		a.Queries(scope, p.KeyID(), run.Language).ServeHTTP(w, again)
		return nil, nil
	}
}

// queryBody is the body of POST /api/v1/query that a run stands for.
func queryBody(in RunRequest, run saved.Run) []byte {
	variables := map[string]any{}
	for _, v := range run.Values {
		variables[v.Name] = map[string]any{"type": v.Type, "value": v.Value}
	}
	body := map[string]any{}
	set := func(name string, v any, there bool) {
		if there {
			body[name] = v
		}
	}
	set("query", run.Query, run.Query != "")
	set("plan", run.Plan, run.Plan != nil)
	set("variables", variables, len(variables) > 0)
	if in.Start == nil && in.End == nil {
		set("start", run.Start, run.Start != "")
		set("end", run.End, run.End != "")
	}
	set("start", in.Start, in.Start != nil)
	set("end", in.End, in.End != nil)
	set("instant", run.Instant, run.Instant)
	set("step", run.Step, run.Step != "")
	set("format", in.Format, in.Format != "")
	set("limit", in.Limit, in.Limit != 0)
	set("cursor", in.Cursor, in.Cursor != "")
	set("max_age", in.MaxAge, in.MaxAge != "")
	return httpapi.JSON(body)
}

// savedProblem says of which panel a problem is.
func savedProblem(err error) error {
	var panel *saved.PanelError
	if !errors.As(err, &panel) {
		return err
	}
	var about *httpapi.Error
	if !errors.As(Problem(panel.Err), &about) {
		return err
	}
	e := *about
	if e.Extra = maps.Clone(e.Extra); e.Extra == nil {
		e.Extra = map[string]any{}
	}
	e.Extra["panel"], e.Detail = panel.Panel, fmt.Sprintf("panel %s: %s", panel.Panel, e.Detail)
	return &e
}
