package control

import (
	"encoding/json"
	"net/http"
	"time"

	"github.com/headgate-io/headgate/auth"
	"github.com/headgate-io/headgate/auth/saved"
	"github.com/headgate-io/headgate/internal/httpapi"
)

// SavedItem is a saved query or a dashboard as lists show it.
type SavedItem struct {
	ID          string    `json:"id"`
	Tenant      string    `json:"tenant"` // name
	TenantID    string    `json:"tenant_id"`
	Name        string    `json:"name"`
	Description string    `json:"description"`
	OwnerUser   string    `json:"owner_user"`     // id of a user
	Sharing     string    `json:"sharing"`        // private, team or tenant
	Team        string    `json:"team,omitempty"` // id, of what is shared with a team
	CreatedAt   time.Time `json:"created_at"`
	ChangedAt   time.Time `json:"changed_at"`
}

// SavedQuery is a saved query as the API shows it.
type SavedQuery struct {
	SavedItem
	saved.Source
	Variables []saved.Variable `json:"variables"`
	Start     string           `json:"start,omitempty"` // of runs that name no time range
	End       string           `json:"end,omitempty"`
}

// NewSavedQuery is the body that saves a query.
type NewSavedQuery struct {
	Tenant      string        `json:"tenant,omitempty"` // name or id; left out: where the caller acts
	Name        string        `json:"name"`
	Description string        `json:"description,omitempty"`
	Sharing     saved.Sharing `json:"sharing,omitempty"` // left out: private
	Team        string        `json:"team,omitempty"`    // id or name
	saved.Source
	Variables []saved.Variable `json:"variables,omitempty"`
	Start     string           `json:"start,omitempty"`
	End       string           `json:"end,omitempty"`
}

// SavedQueryPatch is the body that changes a saved query; members that are left out stay as they are.
type SavedQueryPatch struct {
	Name        *string           `json:"name,omitempty"`
	Description *string           `json:"description,omitempty"`
	Sharing     *saved.Sharing    `json:"sharing,omitempty"`
	Team        *string           `json:"team,omitempty"`
	OwnerUser   *string           `json:"owner_user,omitempty"` // id of a user who reaches the tenant
	Language    *string           `json:"language,omitempty"`
	Query       *string           `json:"query,omitempty"` // in place of plan
	Plan        json.RawMessage   `json:"plan,omitempty"`  // in place of query
	Instant     *bool             `json:"instant,omitempty"`
	Step        *string           `json:"step,omitempty"`
	Variables   *[]saved.Variable `json:"variables,omitempty"`
	Start       *string           `json:"start,omitempty"`
	End         *string           `json:"end,omitempty"`
}

// SavedQueries is a page of saved queries.
type SavedQueries struct {
	Queries []SavedItem `json:"queries"`
	Next    string      `json:"next,omitempty"`
}

// Copy is the body that clones.
type Copy struct {
	Name string `json:"name,omitempty"` // left out: that of the original
}

// RunRequest is the body that runs a saved query or a panel. All members may be left out.
type RunRequest struct {
	Variables map[string]json.RawMessage `json:"variables,omitempty"` // values by name
	Start     json.RawMessage            `json:"start,omitempty"`     // as in POST /api/v1/query, and so the members below
	End       json.RawMessage            `json:"end,omitempty"`
	Instant   *bool                      `json:"instant,omitempty"` // with PromQL, in place of the query's own, and so step
	Step      string                     `json:"step,omitempty"`
	Format    string                     `json:"format,omitempty"`
	Limit     int                        `json:"limit,omitempty"`
	Cursor    string                     `json:"cursor,omitempty"`
	MaxAge    string                     `json:"max_age,omitempty"`
	Tenants   []string                   `json:"tenants,omitempty"` // names or ids: of what the caller may read, only these
}

var savedFilters = []string{"tenant", "search", "mine", "cursor", "limit"}

// savedRoutes are those of saved queries and dashboards.
func (a *API) savedRoutes() []route {
	const q, d = "/api/v1/saved-queries", "/api/v1/dashboards"
	return []route{
		{"GET", q, "List the saved queries of a tenant that the caller sees", "", savedFilters, nil, SavedQueries{}, 0, a.listQueries},
		{"POST", q, "Save a query", "", nil, NewSavedQuery{}, SavedQuery{}, http.StatusCreated, a.createQuery},
		{"GET", q + "/{query}", "Show a saved query", "", nil, nil, SavedQuery{}, 0, a.showQuery},
		{"PATCH", q + "/{query}", "Change or share a saved query", "", nil, SavedQueryPatch{}, SavedQuery{}, 0, a.setQuery},
		{"DELETE", q + "/{query}", "Delete a saved query", "", nil, nil, nil, http.StatusNoContent, a.deleteSaved(saved.Query, "query")},
		{"POST", q + "/{query}/clone", "Make a private copy of a saved query", "", nil, Copy{}, SavedQuery{}, http.StatusCreated, a.cloneQuery},
		{"POST", q + "/{query}/run", "Run a saved query as the caller; answers as POST /api/v1/query, or as the Prometheus API", "", nil, RunRequest{}, nil, 0, a.runSaved(saved.Query, "query")},

		{"GET", d, "List the dashboards of a tenant that the caller sees", "", savedFilters, nil, Dashboards{}, 0, a.listDashboards},
		{"POST", d, "Make a dashboard", "", nil, NewDashboard{}, Dashboard{}, http.StatusCreated, a.createDashboard},
		{"GET", d + "/{dashboard}", "Show a dashboard", "", nil, nil, Dashboard{}, 0, a.showDashboard},
		{"PATCH", d + "/{dashboard}", "Change or share a dashboard", "", nil, DashboardPatch{}, Dashboard{}, 0, a.setDashboard},
		{"DELETE", d + "/{dashboard}", "Delete a dashboard", "", nil, nil, nil, http.StatusNoContent, a.deleteSaved(saved.Dashboard, "dashboard")},
		{"POST", d + "/{dashboard}/clone", "Make a private copy of a dashboard", "", nil, Copy{}, Dashboard{}, http.StatusCreated, a.cloneDashboard},
		{"POST", d + "/{dashboard}/panels/{panel}/run", "Run a panel as the caller; answers as POST /api/v1/query, or as the Prometheus API", "", nil, RunRequest{}, nil, 0, a.runSaved(saved.Dashboard, "dashboard")},
	}
}

func (a *API) savedItem(t saved.Thing) SavedItem {
	return SavedItem{ID: t.ID, Tenant: a.Directory.TenantName(t.Tenant), TenantID: t.Tenant.String(), Name: t.Name, Description: t.Description,
		OwnerUser: t.Owner, Sharing: string(t.Sharing), Team: t.Team, CreatedAt: t.CreatedAt, ChangedAt: t.ChangedAt}
}

func (a *API) listSaved(r *http.Request, p auth.Principal, k saved.Kind) (items []SavedItem, next string, err error) {
	size, err := pageSize(r)
	if err != nil {
		return nil, "", err
	}
	q := r.URL.Query()
	switch q.Get("mine") {
	case "", "true", "false":
	default:
		return nil, "", invalid("mine %.20q: want true or false", q.Get("mine"))
	}
	found, next, err := a.Saved.List(r.Context(), p, k, saved.Filter{
		Tenant: q.Get("tenant"), Search: q.Get("search"), Mine: q.Get("mine") == "true", After: q.Get("cursor"), Limit: size,
	})
	items = []SavedItem{}
	for _, t := range found {
		items = append(items, a.savedItem(t))
	}
	return items, next, err
}

func (a *API) answerQuery(t saved.Thing, err error) (any, error) {
	if err != nil {
		return nil, savedProblem(err)
	}
	return SavedQuery{SavedItem: a.savedItem(t), Source: t.Source, Variables: append([]saved.Variable{}, t.Variables...), Start: t.Start, End: t.End}, nil
}

func (a *API) listQueries(r *http.Request, _ http.ResponseWriter, p auth.Principal) (any, error) {
	items, next, err := a.listSaved(r, p, saved.Query)
	if err != nil {
		return nil, err
	}
	return SavedQueries{items, next}, nil
}

func (a *API) createQuery(r *http.Request, w http.ResponseWriter, p auth.Principal) (any, error) {
	var in NewSavedQuery
	if err := httpapi.ReadJSON(w, r, &in); err != nil {
		return nil, err
	}
	return a.answerQuery(a.Saved.Create(r.Context(), p, saved.NewThing{
		Kind: saved.Query, Tenant: in.Tenant, Name: in.Name, Description: in.Description, Sharing: in.Sharing, Team: in.Team,
		Definition: saved.Definition{Source: in.Source, Variables: in.Variables, Start: in.Start, End: in.End},
	}))
}

func (a *API) showQuery(r *http.Request, _ http.ResponseWriter, p auth.Principal) (any, error) {
	return a.answerQuery(a.Saved.Show(r.Context(), p, saved.Query, r.PathValue("query")))
}

func (a *API) setQuery(r *http.Request, w http.ResponseWriter, p auth.Principal) (any, error) {
	var in SavedQueryPatch
	if err := httpapi.ReadJSON(w, r, &in); err != nil {
		return nil, err
	}
	if in.Query != nil && in.Plan != nil {
		return nil, invalid("query, plan: want one of them")
	}
	return a.answerQuery(a.Saved.Set(r.Context(), p, saved.Query, r.PathValue("query"), saved.Patch{
		Name: in.Name, Description: in.Description, Sharing: in.Sharing, Team: in.Team, Owner: in.OwnerUser,
		Change: func(d *saved.Definition) {
			if in.Query != nil && d.Language == saved.PlanJSON || in.Plan != nil {
				d.Language = "" // that of the other member
			}
			put(&d.Language, in.Language)
			put(&d.Instant, in.Instant)
			put(&d.Step, in.Step)
			put(&d.Variables, in.Variables)
			put(&d.Start, in.Start)
			put(&d.End, in.End)
			switch {
			case in.Query != nil:
				d.Query, d.Plan = *in.Query, nil
			case in.Plan != nil:
				d.Query, d.Plan = "", in.Plan
			}
		},
	}))
}

func (a *API) cloneQuery(r *http.Request, w http.ResponseWriter, p auth.Principal) (any, error) {
	var in Copy
	if err := httpapi.ReadJSON(w, r, &in); err != nil {
		return nil, err
	}
	return a.answerQuery(a.Saved.Clone(r.Context(), p, saved.Query, r.PathValue("query"), in.Name))
}

// deleteSaved serves the deletion of the thing whose id the path has under a name.
func (a *API) deleteSaved(k saved.Kind, name string) handler {
	return func(r *http.Request, _ http.ResponseWriter, p auth.Principal) (any, error) {
		return nil, a.Saved.Delete(r.Context(), p, k, r.PathValue(name))
	}
}

// put sets what a patch names.
func put[T any](at, v *T) {
	if v != nil {
		*at = *v
	}
}
