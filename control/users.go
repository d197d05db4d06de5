package control

import (
	"context"
	"net/http"
	"time"

	"github.com/headgate-io/headgate/auth"
	"github.com/headgate-io/headgate/internal/httpapi"
)

// User is a user as the API shows it.
type User struct {
	ID           string     `json:"id"`
	Tenant       string     `json:"tenant"` // name of the home
	TenantID     string     `json:"tenant_id"`
	Email        string     `json:"email"`
	Name         string     `json:"name"`
	Status       string     `json:"status"` // invited, active or inactive
	Role         string     `json:"role"`   // id of a custom role, or the name of a built-in one
	RoleName     string     `json:"role_name"`
	HasPassword  bool       `json:"has_password"`
	SecondFactor bool       `json:"second_factor"`
	Issuer       string     `json:"issuer,omitempty"` // of the OpenID provider that vouches for the user
	CreatedAt    time.Time  `json:"created_at"`
	ChangedAt    time.Time  `json:"changed_at"`
	SignedInAt   *time.Time `json:"signed_in_at"` // null: never
}

// NewUser is the body that invites a user. With a password, which only the operator may give, the user is active at once.
type NewUser struct {
	Tenant   string `json:"tenant,omitempty"` // name or id; left out: where the caller acts
	Email    string `json:"email"`
	Name     string `json:"name,omitempty"`
	Role     string `json:"role"` // name or id
	Password string `json:"password,omitempty"`
}

// UserPatch is the body that changes a user; members that are left out stay as they are.
type UserPatch struct {
	Name *string `json:"name,omitempty"`
	Role *string `json:"role,omitempty"` // name or id
}

// Users is a page of users.
type Users struct {
	Users []User `json:"users"`
	Next  string `json:"next,omitempty"`
}

func (a *API) userRoutes() []route {
	filters := []string{"tenant", "search", "status", "role", "team", "cursor", "limit"}
	return []route{
		{"GET", "/api/v1/users", "List users of a tenant", auth.ScopeAdmin, filters, nil, Users{}, 0, a.listUsers},
		{"POST", "/api/v1/users", "Invite a user by e-mail", auth.ScopeAdmin, nil, NewUser{}, User{}, http.StatusCreated, a.inviteUser},
		{"GET", "/api/v1/users/{user}", "Show a user", auth.ScopeAdmin, nil, nil, User{}, 0, a.showUser},
		{"PATCH", "/api/v1/users/{user}", "Change a user's name or role", auth.ScopeAdmin, nil, UserPatch{}, User{}, 0, a.setUser},
		{"DELETE", "/api/v1/users/{user}", "Remove a user", auth.ScopeAdmin, nil, nil, nil, http.StatusNoContent, a.deleteUser},
		{"POST", "/api/v1/users/{user}/deactivate", "End a user's sessions within a second and let the user sign in no more", auth.ScopeAdmin, nil, nil, User{}, 0, a.byID((*auth.Users).Deactivate)},
		{"POST", "/api/v1/users/{user}/activate", "Let a deactivated user sign in again", auth.ScopeAdmin, nil, nil, User{}, 0, a.byID((*auth.Users).Activate)},
		{"POST", "/api/v1/users/{user}/invitation", "Send another invitation in place of the one before", auth.ScopeAdmin, nil, nil, User{}, 0, a.byID((*auth.Users).Reinvite)},
		{"DELETE", "/api/v1/users/{user}/invitation", "Make a user's invitation worthless", auth.ScopeAdmin, nil, nil, User{}, 0, a.byID((*auth.Users).RevokeInvitation)},
		{"DELETE", "/api/v1/users/{user}/second-factor", "Remove the second factor of a user who has lost it", auth.ScopeAdmin, nil, nil, User{}, 0, a.byID((*auth.Users).ResetSecondFactor)},
	}
}

func (a *API) userOf(u auth.User) User {
	return User{ID: u.ID, Tenant: a.Directory.TenantName(u.Tenant), TenantID: u.Tenant.String(), Email: u.Email, Name: u.Name, Status: string(u.Status),
		Role: u.Role, RoleName: a.Directory.RoleName(u.Tenant, u.Role), HasPassword: u.HasPassword, SecondFactor: u.SecondFactor, Issuer: u.Issuer,
		CreatedAt: u.CreatedAt, ChangedAt: u.ChangedAt, SignedInAt: u.SignedInAt}
}

func (a *API) answerUser(u auth.User, err error) (any, error) {
	if err != nil {
		return nil, err
	}
	return a.userOf(u), nil
}

func (a *API) listUsers(r *http.Request, _ http.ResponseWriter, p auth.Principal) (any, error) {
	size, err := pageSize(r)
	if err != nil {
		return nil, err
	}
	q := r.URL.Query()
	found, next, err := a.Directory.Users().List(r.Context(), p, auth.ListUsers{Tenant: q.Get("tenant"), Search: q.Get("search"),
		Status: auth.UserStatus(q.Get("status")), Role: q.Get("role"), Team: q.Get("team"), After: q.Get("cursor"), Limit: size})
	if err != nil {
		return nil, err
	}
	page := Users{Users: []User{}, Next: next}
	for _, u := range found {
		page.Users = append(page.Users, a.userOf(u))
	}
	return page, nil
}

func (a *API) inviteUser(r *http.Request, w http.ResponseWriter, p auth.Principal) (any, error) {
	var in NewUser
	if err := httpapi.ReadJSON(w, r, &in); err != nil {
		return nil, err
	}
	if in.Password != "" {
		return a.answerUser(a.Directory.Users().Create(r.Context(), p, auth.NewUser(in)))
	}
	return a.answerUser(a.Directory.Users().Invite(r.Context(), p, auth.NewUser(in)))
}

func (a *API) showUser(r *http.Request, _ http.ResponseWriter, p auth.Principal) (any, error) {
	return a.answerUser(a.Directory.Users().Show(r.Context(), p, r.PathValue("user")))
}

func (a *API) setUser(r *http.Request, w http.ResponseWriter, p auth.Principal) (any, error) {
	var in UserPatch
	if err := httpapi.ReadJSON(w, r, &in); err != nil {
		return nil, err
	}
	return a.answerUser(a.Directory.Users().Set(r.Context(), p, r.PathValue("user"), auth.UserPatch(in)))
}

func (a *API) deleteUser(r *http.Request, _ http.ResponseWriter, p auth.Principal) (any, error) {
	return nil, a.Directory.Users().Delete(r.Context(), p, r.PathValue("user"))
}

// byID serves what is done to one user and answered with it.
func (a *API) byID(do func(*auth.Users, context.Context, auth.Principal, string) (auth.User, error)) handler {
	return func(r *http.Request, _ http.ResponseWriter, p auth.Principal) (any, error) {
		return a.answerUser(do(a.Directory.Users(), r.Context(), p, r.PathValue("user")))
	}
}
