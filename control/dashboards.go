package control

import (
	"net/http"

	"github.com/headgate-io/headgate/auth"
	"github.com/headgate-io/headgate/auth/saved"
	"github.com/headgate-io/headgate/internal/httpapi"
)

// Dashboard is a dashboard as the API shows it.
type Dashboard struct {
	SavedItem
	Panels    []saved.Panel    `json:"panels"`
	Variables []saved.Variable `json:"variables"`
	Start     string           `json:"start,omitempty"` // of runs that name no time range
	End       string           `json:"end,omitempty"`
}

// NewDashboard is the body that makes a dashboard.
type NewDashboard struct {
	Tenant      string           `json:"tenant,omitempty"` // name or id; left out: where the caller acts
	Name        string           `json:"name"`
	Description string           `json:"description,omitempty"`
	Sharing     saved.Sharing    `json:"sharing,omitempty"` // left out: private
	Team        string           `json:"team,omitempty"`    // id or name
	Panels      []saved.Panel    `json:"panels,omitempty"`
	Variables   []saved.Variable `json:"variables,omitempty"`
	Start       string           `json:"start,omitempty"`
	End         string           `json:"end,omitempty"`
}

// DashboardPatch is the body that changes a dashboard; members that are left out stay as they are.
type DashboardPatch struct {
	Name        *string           `json:"name,omitempty"`
	Description *string           `json:"description,omitempty"`
	Sharing     *saved.Sharing    `json:"sharing,omitempty"`
	Team        *string           `json:"team,omitempty"`
	OwnerUser   *string           `json:"owner_user,omitempty"` // id of a user who reaches the tenant
	Panels      *[]saved.Panel    `json:"panels,omitempty"`     // all of them
	Variables   *[]saved.Variable `json:"variables,omitempty"`  // all of them
	Start       *string           `json:"start,omitempty"`
	End         *string           `json:"end,omitempty"`
}

// Dashboards is a page of dashboards.
type Dashboards struct {
	Dashboards []SavedItem `json:"dashboards"`
	Next       string      `json:"next,omitempty"`
}

func (a *API) answerDashboard(t saved.Thing, err error) (any, error) {
	if err != nil {
		return nil, savedProblem(err)
	}
	return Dashboard{SavedItem: a.savedItem(t), Panels: append([]saved.Panel{}, t.Panels...), Variables: append([]saved.Variable{}, t.Variables...),
		Start: t.Start, End: t.End}, nil
}

func (a *API) listDashboards(r *http.Request, _ http.ResponseWriter, p auth.Principal) (any, error) {
	items, next, err := a.listSaved(r, p, saved.Dashboard)
	if err != nil {
		return nil, err
	}
	return Dashboards{items, next}, nil
}

func (a *API) createDashboard(r *http.Request, w http.ResponseWriter, p auth.Principal) (any, error) {
	var in NewDashboard
	if err := httpapi.ReadJSON(w, r, &in); err != nil {
		return nil, err
	}
	return a.answerDashboard(a.Saved.Create(r.Context(), p, saved.NewThing{
		Kind: saved.Dashboard, Tenant: in.Tenant, Name: in.Name, Description: in.Description, Sharing: in.Sharing, Team: in.Team,
		Definition: saved.Definition{Panels: in.Panels, Variables: in.Variables, Start: in.Start, End: in.End},
	}))
}

func (a *API) showDashboard(r *http.Request, _ http.ResponseWriter, p auth.Principal) (any, error) {
	return a.answerDashboard(a.Saved.Show(r.Context(), p, saved.Dashboard, r.PathValue("dashboard")))
}

func (a *API) setDashboard(r *http.Request, w http.ResponseWriter, p auth.Principal) (any, error) {
	var in DashboardPatch
	if err := httpapi.ReadJSON(w, r, &in); err != nil {
		return nil, err
	}
	return a.answerDashboard(a.Saved.Set(r.Context(), p, saved.Dashboard, r.PathValue("dashboard"), saved.Patch{
		Name: in.Name, Description: in.Description, Sharing: in.Sharing, Team: in.Team, Owner: in.OwnerUser,
		Change: func(d *saved.Definition) {
			put(&d.Panels, in.Panels)
			put(&d.Variables, in.Variables)
			put(&d.Start, in.Start)
			put(&d.End, in.End)
		},
	}))
}

func (a *API) cloneDashboard(r *http.Request, w http.ResponseWriter, p auth.Principal) (any, error) {
	var in Copy
	if err := httpapi.ReadJSON(w, r, &in); err != nil {
		return nil, err
	}
	return a.answerDashboard(a.Saved.Clone(r.Context(), p, saved.Dashboard, r.PathValue("dashboard"), in.Name))
}
