package control

import (
	"net/http"
	"time"

	"github.com/headgate-io/headgate/auth"
	"github.com/headgate-io/headgate/internal/httpapi"
)

// Team is a team as the API shows it.
type Team struct {
	ID        string     `json:"id"`
	Name      string     `json:"name"`
	TenantID  string     `json:"tenant_id"`
	Roles     []RoleName `json:"roles"`
	Members   int        `json:"members"` // how many
	CreatedAt time.Time  `json:"created_at"`
	ChangedAt time.Time  `json:"changed_at"`
}

// NewTeam is the body that creates a team.
type NewTeam struct {
	Tenant string   `json:"tenant,omitempty"` // name or id; left out: where the caller acts
	Name   string   `json:"name"`
	Roles  []string `json:"roles,omitempty"` // names or ids
}

// TeamPatch is the body that changes a team; members that are left out stay as they are.
type TeamPatch struct {
	Name  *string   `json:"name,omitempty"`
	Roles *[]string `json:"roles,omitempty"` // all of them
}

// Teams is a page of teams.
type Teams struct {
	Teams []Team `json:"teams"`
	Next  string `json:"next,omitempty"`
}

// Member is a user in a team.
type Member struct {
	ID     string `json:"id"`
	Email  string `json:"email"`
	Name   string `json:"name"`
	Status string `json:"status"`
}

// Members is a page of a team's members.
type Members struct {
	Members []Member `json:"members"`
	Next    string   `json:"next,omitempty"`
}

func (a *API) teamOf(t auth.Team) Team {
	return Team{ID: t.ID, Name: t.Name, TenantID: t.Tenant.String(), Roles: a.roleNames(t.Tenant, t.Roles), Members: len(t.Members),
		CreatedAt: t.CreatedAt, ChangedAt: t.ChangedAt}
}

func (a *API) answerTeam(t auth.Team, err error) (any, error) {
	if err != nil {
		return nil, err
	}
	return a.teamOf(t), nil
}

func (a *API) answerTeams(found []auth.Team, next string) Teams {
	page := Teams{Teams: []Team{}, Next: next}
	for _, t := range found {
		page.Teams = append(page.Teams, a.teamOf(t))
	}
	return page
}

func (a *API) listTeams(r *http.Request, _ http.ResponseWriter, p auth.Principal) (any, error) {
	size, err := pageSize(r)
	if err != nil {
		return nil, err
	}
	q := r.URL.Query()
	found, next, err := a.Directory.Teams().List(r.Context(), p, auth.ListTeams{
		Tenant: q.Get("tenant"), Search: q.Get("search"), After: q.Get("cursor"), Limit: size,
	})
	if err != nil {
		return nil, err
	}
	return a.answerTeams(found, next), nil
}

func (a *API) createTeam(r *http.Request, w http.ResponseWriter, p auth.Principal) (any, error) {
	var in NewTeam
	if err := httpapi.ReadJSON(w, r, &in); err != nil {
		return nil, err
	}
	return a.answerTeam(a.Directory.Teams().Create(r.Context(), p, auth.NewTeam(in)))
}

func (a *API) showTeam(r *http.Request, _ http.ResponseWriter, p auth.Principal) (any, error) {
	return a.answerTeam(a.Directory.Teams().Show(r.Context(), p, r.PathValue("team")))
}

func (a *API) setTeam(r *http.Request, w http.ResponseWriter, p auth.Principal) (any, error) {
	var in TeamPatch
	if err := httpapi.ReadJSON(w, r, &in); err != nil {
		return nil, err
	}
	return a.answerTeam(a.Directory.Teams().Set(r.Context(), p, r.PathValue("team"), auth.TeamPatch(in)))
}

func (a *API) deleteTeam(r *http.Request, _ http.ResponseWriter, p auth.Principal) (any, error) {
	return nil, a.Directory.Teams().Delete(r.Context(), p, r.PathValue("team"))
}

func (a *API) listMembers(r *http.Request, _ http.ResponseWriter, p auth.Principal) (any, error) {
	size, err := pageSize(r)
	if err != nil {
		return nil, err
	}
	found, next, err := a.Directory.Teams().Members(r.Context(), p, r.PathValue("team"), r.URL.Query().Get("cursor"), size)
	if err != nil {
		return nil, err
	}
	page := Members{Members: []Member{}, Next: next}
	for _, u := range found {
		page.Members = append(page.Members, Member{u.ID, u.Email, u.Name, string(u.Status)})
	}
	return page, nil
}

func (a *API) addMember(r *http.Request, _ http.ResponseWriter, p auth.Principal) (any, error) {
	return a.answerTeam(a.Directory.Teams().AddMember(r.Context(), p, r.PathValue("team"), r.PathValue("user")))
}

func (a *API) removeMember(r *http.Request, _ http.ResponseWriter, p auth.Principal) (any, error) {
	return a.answerTeam(a.Directory.Teams().RemoveMember(r.Context(), p, r.PathValue("team"), r.PathValue("user")))
}

func (a *API) listTeamsOf(r *http.Request, _ http.ResponseWriter, p auth.Principal) (any, error) {
	found, err := a.Directory.Teams().OfUser(r.Context(), p, r.PathValue("user"))
	if err != nil {
		return nil, err
	}
	return a.answerTeams(found, ""), nil
}
