package control

import (
	"net/http"
	"time"

	"github.com/headgate-io/headgate/auth"
	"github.com/headgate-io/headgate/internal/httpapi"
)

// securityRoutes are those of security settings, of the place in the tree and of the rotation of keys.
func (a *API) securityRoutes() []route {
	return []route{
		{"GET", "/api/v1/tenants/{tenant}/security", "Show whom a tenant asks for a second factor", auth.ScopeAdmin, nil, nil, Security{}, 0, a.showSecurity},
		{"PATCH", "/api/v1/tenants/{tenant}/security", "Set whom a tenant asks for a second factor", auth.ScopeAdmin, nil, Security{}, Security{}, 0, a.setSecurity},
		{"GET", "/api/v1/tenants/{tenant}/email-domains", "List the domains that a tenant invites people of; none: any", auth.ScopeAdmin, nil, nil, EmailDomains{}, 0, a.listDomains},
		{"PUT", "/api/v1/tenants/{tenant}/email-domains/{domain}", "List one more domain", auth.ScopeAdmin, nil, nil, EmailDomain{}, 0, a.addDomain},
		{"DELETE", "/api/v1/tenants/{tenant}/email-domains/{domain}", "List a domain no more; refused while active users have it", auth.ScopeAdmin, nil, nil, nil, http.StatusNoContent, a.removeDomain},
		{"POST", "/api/v1/tenants/{tenant}/move", "Put a tenant, with all below it, under another parent", auth.ScopeAdmin, nil, Move{}, Tenant{}, 0, a.moveTenant},
		{"POST", "/api/v1/keys/{key}/rotate", "Give an API key another secret, which is shown once", auth.ScopeAdmin, nil, Rotation{}, NewKey{}, 0, a.rotateKey},
	}
}

// Security is the security settings of a tenant.
type Security struct {
	SecondFactor string `json:"second_factor"` // disabled, optional, admins or required
}

// Move is the body that moves a tenant.
type Move struct {
	Parent string `json:"parent"` // name or id; "": none, which takes the operator
}

// EmailDomain is a domain that a tenant invites people of.
type EmailDomain struct {
	Domain      string    `json:"domain"`
	ActiveUsers int64     `json:"active_users"`
	AddedAt     time.Time `json:"added_at"`
}

// EmailDomains are all of a tenant's, in order.
type EmailDomains struct {
	Domains []EmailDomain `json:"domains"`
}

func (a *API) showSecurity(r *http.Request, _ http.ResponseWriter, p auth.Principal) (any, error) {
	t, err := a.Directory.Tenants().Show(r.Context(), p, r.PathValue("tenant"))
	if err != nil {
		return nil, err
	}
	return Security{t.SecondFactor}, nil
}

func (a *API) setSecurity(r *http.Request, w http.ResponseWriter, p auth.Principal) (any, error) {
	var in Security
	if err := httpapi.ReadJSON(w, r, &in); err != nil {
		return nil, err
	}
	t, err := a.Directory.Tenants().SetSecondFactor(r.Context(), p, r.PathValue("tenant"), in.SecondFactor)
	if err != nil {
		return nil, err
	}
	return Security{t.SecondFactor}, nil
}

func (a *API) listDomains(r *http.Request, _ http.ResponseWriter, p auth.Principal) (any, error) {
	found, err := a.Directory.Tenants().Domains(r.Context(), p, r.PathValue("tenant"))
	if err != nil {
		return nil, err
	}
	out := EmailDomains{Domains: []EmailDomain{}}
	for _, d := range found {
		out.Domains = append(out.Domains, EmailDomain(d))
	}
	return out, nil
}

func (a *API) addDomain(r *http.Request, _ http.ResponseWriter, p auth.Principal) (any, error) {
	d, err := a.Directory.Tenants().AddDomain(r.Context(), p, r.PathValue("tenant"), r.PathValue("domain"))
	if err != nil {
		return nil, err
	}
	return EmailDomain(d), nil
}

func (a *API) removeDomain(r *http.Request, _ http.ResponseWriter, p auth.Principal) (any, error) {
	return nil, a.Directory.Tenants().RemoveDomain(r.Context(), p, r.PathValue("tenant"), r.PathValue("domain"))
}

func (a *API) moveTenant(r *http.Request, w http.ResponseWriter, p auth.Principal) (any, error) {
	var in struct {
		Parent *string `json:"parent"`
	}
	if err := httpapi.ReadJSON(w, r, &in); err != nil {
		return nil, err
	}
	if in.Parent == nil {
		return nil, invalid("parent: name it, or give \"\" for none")
	}
	t, err := a.Directory.Tenants().Move(r.Context(), p, r.PathValue("tenant"), *in.Parent)
	return a.answerTenant(p, t, err)
}

func (a *API) rotateKey(r *http.Request, w http.ResponseWriter, p auth.Principal) (any, error) {
	var in Rotation
	if err := httpapi.ReadJSON(w, r, &in); err != nil {
		return nil, err
	}
	overlap, err := time.ParseDuration(in.Overlap)
	if err != nil {
		return nil, invalid("overlap %q: want a time such as 24h, or 0s", clip(in.Overlap))
	}
	k, text, err := a.Directory.Keys().Rotate(r.Context(), p, r.PathValue("key"), overlap)
	if err != nil {
		return nil, err
	}
	return NewKey{Key: a.showKey(p, k), Text: text}, nil
}
