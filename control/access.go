package control

import (
	"context"
	"net/http"
	"slices"
	"time"

	"github.com/headgate-io/headgate/auth"
	"github.com/headgate-io/headgate/internal/httpapi"
)

// AccessRequest is an access request as the API shows it.
type AccessRequest struct {
	ID              string     `json:"id"`
	User            string     `json:"user"` // id
	Email           string     `json:"email"`
	Tenant          string     `json:"tenant"` // name
	TenantID        string     `json:"tenant_id"`
	Note            string     `json:"note"`
	Role            string     `json:"role,omitempty"` // that the permissions were taken from; absent: chosen one by one
	Permissions     []string   `json:"permissions"`
	PermissionCount int        `json:"permission_count"`
	Expiry          string     `json:"expiry,omitempty"` // as asked for: a length from the approval,
	Until           *time.Time `json:"until,omitempty"`  // or a time
	Status          string     `json:"status"`           // pending, active, expired, rejected or revoked
	RequestedAt     time.Time  `json:"requested_at"`
	ExpiresAt       *time.Time `json:"expires_at,omitempty"`   // when it ends or ended
	LeftSeconds     *int64     `json:"left_seconds,omitempty"` // of active access, rounded up
	DecidedBy       string     `json:"decided_by,omitempty"`   // who acted last: an email, key:<id> or operator
	DecidedAt       *time.Time `json:"decided_at,omitempty"`
}

// NewAccessRequest is the body that asks for access: with role or permissions, and with expiry or until.
type NewAccessRequest struct {
	Tenant      string   `json:"tenant"` // name or id
	Note        string   `json:"note,omitempty"`
	Role        string   `json:"role,omitempty"` // name or id, of the caller's tenant
	Permissions []string `json:"permissions,omitempty"`
	AccessExpiry
}

// AccessExpiry is the body that extends access, or clones a request with another end.
type AccessExpiry struct {
	Expiry string     `json:"expiry,omitempty"` // 1h, 8h, 1d, 7d or 30d
	Until  *time.Time `json:"until,omitempty"`
}

// AccessRequests is a page of access requests.
type AccessRequests struct {
	AccessRequests []AccessRequest `json:"access_requests"`
	Next           string          `json:"next,omitempty"`
}

// accessRoutes are those of access requests.
func (a *API) accessRoutes() []route {
	filters := []string{"tenant", "search", "status", "mine", "cursor", "limit"}
	return []route{
		{"GET", "/api/v1/access-requests", "List the caller's access requests, and those that the caller may decide, newest first", auth.ScopeAdmin, filters, nil, AccessRequests{}, 0, a.listAccess},
		{"POST", "/api/v1/access-requests", "Ask for permissions in a tenant, for a time", auth.ScopeAdmin, nil, NewAccessRequest{}, AccessRequest{}, http.StatusCreated, a.requestAccess},
		{"GET", "/api/v1/access-requests/{request}", "Show an access request", auth.ScopeAdmin, nil, nil, AccessRequest{}, 0, a.showAccess},
		{"POST", "/api/v1/access-requests/{request}/approve", "Give what somebody else asks for", auth.ScopeAdmin, nil, nil, AccessRequest{}, 0, a.decideAccess((*auth.Access).Approve)},
		{"POST", "/api/v1/access-requests/{request}/reject", "Refuse a pending request", auth.ScopeAdmin, nil, nil, AccessRequest{}, 0, a.decideAccess((*auth.Access).Reject)},
		{"POST", "/api/v1/access-requests/{request}/revoke", "End access, or take back a pending request", auth.ScopeAdmin, nil, nil, AccessRequest{}, 0, a.decideAccess((*auth.Access).Revoke)},
		{"POST", "/api/v1/access-requests/{request}/extend", "Let active access end later: by a length, or at a time", auth.ScopeAdmin, nil, AccessExpiry{}, AccessRequest{}, 0, a.expireAccess((*auth.Access).Extend)},
		{"POST", "/api/v1/access-requests/{request}/clone", "Ask for the same again, in the caller's name", auth.ScopeAdmin, nil, AccessExpiry{}, AccessRequest{}, http.StatusCreated, a.expireAccess((*auth.Access).Clone)},
	}
}

func (e AccessExpiry) read() auth.Expiry { return auth.Expiry{Preset: e.Expiry, At: e.Until} }

func (a *API) accessOf(r auth.AccessRequest) AccessRequest {
	out := AccessRequest{
		ID: r.ID, User: r.User, Email: r.Email, Tenant: r.TenantName, TenantID: r.Tenant.String(), Note: r.Note, Role: r.Role,
		Permissions: r.Permissions.List(), PermissionCount: r.Permissions.Len(), Until: r.Until, Status: string(r.Status),
		RequestedAt: r.RequestedAt, ExpiresAt: r.ExpiresAt, DecidedBy: r.Decider, DecidedAt: r.DecidedAt,
	}
	if i := slices.IndexFunc(auth.AccessPresets, func(p auth.AccessPreset) bool { return p.For == r.For }); i >= 0 {
		out.Expiry = auth.AccessPresets[i].Name
	}
	if r.Status == auth.AccessActive {
		left := max(0, int64((r.ExpiresAt.Sub(a.Now())+time.Second-1)/time.Second))
		out.LeftSeconds = &left
	}
	return out
}

func (a *API) answerAccess(r auth.AccessRequest, err error) (any, error) {
	if err != nil {
		return nil, err
	}
	return a.accessOf(r), nil
}

func (a *API) listAccess(r *http.Request, _ http.ResponseWriter, p auth.Principal) (any, error) {
	size, err := pageSize(r)
	if err != nil {
		return nil, err
	}
	q := r.URL.Query()
	mine := q.Get("mine")
	if mine != "" && mine != "true" && mine != "false" {
		return nil, invalid("mine %q: want true or false", clip(mine))
	}
	found, next, err := a.Directory.Access().List(r.Context(), p, auth.ListAccess{
		Tenant: q.Get("tenant"), Search: q.Get("search"), Status: auth.AccessStatus(q.Get("status")), Mine: mine == "true",
		After: q.Get("cursor"), Limit: size,
	})
	if err != nil {
		return nil, err
	}
	page := AccessRequests{AccessRequests: []AccessRequest{}, Next: next}
	for _, f := range found {
		page.AccessRequests = append(page.AccessRequests, a.accessOf(f))
	}
	return page, nil
}

func (a *API) requestAccess(r *http.Request, w http.ResponseWriter, p auth.Principal) (any, error) {
	var in NewAccessRequest
	if err := httpapi.ReadJSON(w, r, &in); err != nil {
		return nil, err
	}
	return a.answerAccess(a.Directory.Access().Request(r.Context(), p, auth.NewAccess{
		Tenant: in.Tenant, Note: in.Note, Role: in.Role, Permissions: in.Permissions, Expiry: in.read(),
	}))
}

func (a *API) showAccess(r *http.Request, _ http.ResponseWriter, p auth.Principal) (any, error) {
	return a.answerAccess(a.Directory.Access().Show(r.Context(), p, r.PathValue("request")))
}

// decideAccess serves what needs no body.
func (a *API) decideAccess(do func(*auth.Access, context.Context, auth.Principal, string) (auth.AccessRequest, error)) handler {
	return func(r *http.Request, _ http.ResponseWriter, p auth.Principal) (any, error) {
		return a.answerAccess(do(a.Directory.Access(), r.Context(), p, r.PathValue("request")))
	}
}

// expireAccess serves what takes an end. Without a body none is given.
func (a *API) expireAccess(do func(*auth.Access, context.Context, auth.Principal, string, auth.Expiry) (auth.AccessRequest, error)) handler {
	return func(r *http.Request, w http.ResponseWriter, p auth.Principal) (any, error) {
		var in AccessExpiry
		if r.ContentLength != 0 {
			if err := httpapi.ReadJSON(w, r, &in); err != nil {
				return nil, err
			}
		}
		return a.answerAccess(do(a.Directory.Access(), r.Context(), p, r.PathValue("request"), in.read()))
	}
}
