package control

import (
	"net/http"
	"time"

	"github.com/headgate-io/headgate/auth"
	"github.com/headgate-io/headgate/internal/httpapi"
	"github.com/headgate-io/headgate/internal/tenant"
)

// Role is a role as the API shows it.
type Role struct {
	ID          string     `json:"id"` // of a built-in role its name
	Name        string     `json:"name"`
	TenantID    string     `json:"tenant_id,omitempty"`
	Builtin     bool       `json:"builtin"`
	Permissions []string   `json:"permissions"`
	CreatedAt   *time.Time `json:"created_at,omitempty"`
	ChangedAt   *time.Time `json:"changed_at,omitempty"`
}

// NewRole is the body that creates a custom role.
type NewRole struct {
	Tenant      string   `json:"tenant,omitempty"` // name or id; left out: where the caller acts
	Name        string   `json:"name"`
	Permissions []string `json:"permissions"`
}

// RolePatch is the body that changes a custom role; members that are left out stay as they are.
type RolePatch struct {
	Name        *string   `json:"name,omitempty"`
	Permissions *[]string `json:"permissions,omitempty"` // all of them
}

// Roles is a page of roles.
type Roles struct {
	Roles []Role `json:"roles"`
	Next  string `json:"next,omitempty"`
}

// RoleName names a role that a user or team has.
type RoleName struct {
	ID   string `json:"id"`
	Name string `json:"name"`
}

// roleRoutes are those of roles, teams and grants.
func (a *API) roleRoutes() []route {
	paging := []string{"cursor", "limit"}
	return []route{
		{"GET", "/api/v1/roles", "List a tenant's roles, the built-in ones first", auth.ScopeAdmin, append([]string{"tenant", "search"}, paging...), nil, Roles{}, 0, a.listRoles},
		{"POST", "/api/v1/roles", "Create a custom role of permissions that the caller has", auth.ScopeAdmin, nil, NewRole{}, Role{}, http.StatusCreated, a.createRole},
		{"GET", "/api/v1/roles/{role}", "Show a custom role by id, or a built-in one by name", auth.ScopeAdmin, nil, nil, Role{}, 0, a.showRole},
		{"PATCH", "/api/v1/roles/{role}", "Rename a custom role or change its permissions", auth.ScopeAdmin, nil, RolePatch{}, Role{}, 0, a.setRole},
		{"DELETE", "/api/v1/roles/{role}", "Delete a custom role that nobody has", auth.ScopeAdmin, nil, nil, nil, http.StatusNoContent, a.deleteRole},

		{"GET", "/api/v1/teams", "List a tenant's teams", auth.ScopeAdmin, append([]string{"tenant", "search"}, paging...), nil, Teams{}, 0, a.listTeams},
		{"POST", "/api/v1/teams", "Create a team", auth.ScopeAdmin, nil, NewTeam{}, Team{}, http.StatusCreated, a.createTeam},
		{"GET", "/api/v1/teams/{team}", "Show a team", auth.ScopeAdmin, nil, nil, Team{}, 0, a.showTeam},
		{"PATCH", "/api/v1/teams/{team}", "Rename a team or change its roles", auth.ScopeAdmin, nil, TeamPatch{}, Team{}, 0, a.setTeam},
		{"DELETE", "/api/v1/teams/{team}", "Delete a team; its members lose its roles", auth.ScopeAdmin, nil, nil, nil, http.StatusNoContent, a.deleteTeam},
		{"GET", "/api/v1/teams/{team}/members", "List a team's members", auth.ScopeAdmin, paging, nil, Members{}, 0, a.listMembers},
		{"PUT", "/api/v1/teams/{team}/members/{user}", "Put a user of the tenant into a team", auth.ScopeAdmin, nil, nil, Team{}, 0, a.addMember},
		{"DELETE", "/api/v1/teams/{team}/members/{user}", "Take a user out of a team", auth.ScopeAdmin, nil, nil, Team{}, 0, a.removeMember},
		{"GET", "/api/v1/users/{user}/teams", "List the teams of a user", auth.ScopeAdmin, nil, nil, Teams{}, 0, a.listTeamsOf},

		{"GET", "/api/v1/users/{user}/grants", "List the tenants that were granted to a user", auth.ScopeAdmin, nil, nil, Grants{}, 0, a.listGrants},
		{"GET", "/api/v1/users/{user}/grants/{tenant}", "Show a grant", auth.ScopeAdmin, nil, nil, Grant{}, 0, a.showGrant},
		{"PUT", "/api/v1/users/{user}/grants/{tenant}", "Grant a tenant below the user's own to a user", auth.ScopeAdmin, nil, nil, Grant{}, 0, a.putGrant},
		{"DELETE", "/api/v1/users/{user}/grants/{tenant}", "Withdraw a grant", auth.ScopeAdmin, nil, nil, nil, http.StatusNoContent, a.withdrawGrant},
	}
}

func roleOf(r auth.Role) Role {
	out := Role{ID: r.ID, Name: r.Name, TenantID: r.Tenant.String(), Builtin: r.Builtin(), Permissions: r.Permissions.List()}
	if !out.Builtin {
		out.CreatedAt, out.ChangedAt = &r.CreatedAt, &r.ChangedAt
	}
	return out
}

func answerRole(r auth.Role, err error) (any, error) {
	if err != nil {
		return nil, err
	}
	return roleOf(r), nil
}

// roleNames are the names of roles as users and teams have them.
func (a *API) roleNames(t tenant.ID, ids []string) []RoleName {
	out := []RoleName{}
	for _, id := range ids {
		out = append(out, RoleName{id, a.Directory.RoleName(t, id)})
	}
	return out
}

func (a *API) listRoles(r *http.Request, _ http.ResponseWriter, p auth.Principal) (any, error) {
	size, err := pageSize(r)
	if err != nil {
		return nil, err
	}
	q := r.URL.Query()
	found, next, err := a.Directory.Roles().List(r.Context(), p, auth.ListRoles{
		Tenant: q.Get("tenant"), Search: q.Get("search"), After: q.Get("cursor"), Limit: size,
	})
	if err != nil {
		return nil, err
	}
	page := Roles{Roles: []Role{}, Next: next}
	for _, role := range found {
		page.Roles = append(page.Roles, roleOf(role))
	}
	return page, nil
}

func (a *API) createRole(r *http.Request, w http.ResponseWriter, p auth.Principal) (any, error) {
	var in NewRole
	if err := httpapi.ReadJSON(w, r, &in); err != nil {
		return nil, err
	}
	return answerRole(a.Directory.Roles().Create(r.Context(), p, auth.NewRole(in)))
}

func (a *API) showRole(r *http.Request, _ http.ResponseWriter, p auth.Principal) (any, error) {
	return answerRole(a.Directory.Roles().Show(r.Context(), p, r.PathValue("role")))
}

func (a *API) setRole(r *http.Request, w http.ResponseWriter, p auth.Principal) (any, error) {
	var in RolePatch
	if err := httpapi.ReadJSON(w, r, &in); err != nil {
		return nil, err
	}
	return answerRole(a.Directory.Roles().Set(r.Context(), p, r.PathValue("role"), auth.RolePatch(in)))
}

func (a *API) deleteRole(r *http.Request, _ http.ResponseWriter, p auth.Principal) (any, error) {
	return nil, a.Directory.Roles().Delete(r.Context(), p, r.PathValue("role"))
}
