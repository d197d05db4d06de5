package control

import (
	"context"
	"net/http"
	"time"

	"github.com/headgate-io/headgate/auth"
)

// Grant is a tenant that was granted to a user.
type Grant struct {
	User      string    `json:"user"`   // id
	Tenant    string    `json:"tenant"` // name
	TenantID  string    `json:"tenant_id"`
	GrantedAt time.Time `json:"granted_at"`
	GrantedBy string    `json:"granted_by"` // as in the audit: user:<id> or operator
}

// Grants are all of a user's grants that the caller sees.
type Grants struct {
	Grants []Grant `json:"grants"`
}

func (a *API) grantOf(ctx context.Context, p auth.Principal, g auth.Grant) Grant {
	return Grant{g.User, a.names(p)(ctx, g.Tenant), g.Tenant.String(), g.GrantedAt, g.GrantedBy}
}

func (a *API) listGrants(r *http.Request, _ http.ResponseWriter, p auth.Principal) (any, error) {
	found, err := a.Directory.Grants().List(r.Context(), p, r.PathValue("user"))
	if err != nil {
		return nil, err
	}
	out := Grants{Grants: []Grant{}}
	for _, g := range found {
		out.Grants = append(out.Grants, a.grantOf(r.Context(), p, g))
	}
	return out, nil
}

func (a *API) showGrant(r *http.Request, _ http.ResponseWriter, p auth.Principal) (any, error) {
	g, err := a.Directory.Grants().Show(r.Context(), p, r.PathValue("user"), r.PathValue("tenant"))
	if err != nil {
		return nil, err
	}
	return a.grantOf(r.Context(), p, g), nil
}

func (a *API) putGrant(r *http.Request, _ http.ResponseWriter, p auth.Principal) (any, error) {
	g, err := a.Directory.Grants().Put(r.Context(), p, r.PathValue("user"), r.PathValue("tenant"))
	if err != nil {
		return nil, err
	}
	return a.grantOf(r.Context(), p, g), nil
}

func (a *API) withdrawGrant(r *http.Request, _ http.ResponseWriter, p auth.Principal) (any, error) {
	return nil, a.Directory.Grants().Withdraw(r.Context(), p, r.PathValue("user"), r.PathValue("tenant"))
}
