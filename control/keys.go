package control

import (
	"net/http"

	"github.com/headgate-io/headgate/auth"
	"github.com/headgate-io/headgate/internal/httpapi"
)

func (a *API) listKeys(r *http.Request, _ http.ResponseWriter, p auth.Principal) (any, error) {
	size, err := pageSize(r)
	if err != nil {
		return nil, err
	}
	q := r.URL.Query()
	found, next, err := a.Directory.Keys().List(r.Context(), p, q.Get("tenant"), q.Get("cursor"), size)
	if err != nil {
		return nil, err
	}
	page := Keys{Keys: []Key{}, Next: next}
	for _, k := range found {
		page.Keys = append(page.Keys, a.showKey(p, k))
	}
	return page, nil
}

func (a *API) showKey(p auth.Principal, k auth.Key) Key {
	out := Key{
		ID: k.ID, Tenant: a.Directory.Tenants().NameOf(p, k.Tenant), Name: k.Name, OwnerUser: k.Owner, TenantID: k.Tenant.String(), DailyBytes: k.DailyBytes, Limits: showLimits(k.Bounds), Status: "active",
		CORSOrigins: append([]string{}, k.CORSOrigins...), ClientCertificates: append([]string{}, k.ClientCertificates...), CreatedAt: k.CreatedAt, ExpiresAt: k.ExpiresAt, RevokedAt: k.RevokedAt,
		LastUsedAt: k.LastUsed, RotatedAt: k.RotatedAt,
	}
	for _, s := range k.Scopes {
		out.Scopes = append(out.Scopes, string(s))
	}
	if k.OldUntil != nil && a.Now().Before(*k.OldUntil) {
		out.OldSecret = &OldSecret{ValidUntil: *k.OldUntil, LastUsedAt: k.OldLastUsed}
	}
	switch {
	case k.RevokedAt != nil:
		out.Status = "revoked"
	case k.ExpiresAt != nil && !a.Now().Before(*k.ExpiresAt):
		out.Status = "expired"
	}
	return out
}

func (a *API) createKey(r *http.Request, w http.ResponseWriter, p auth.Principal) (any, error) {
	var in KeyRequest
	if err := httpapi.ReadJSON(w, r, &in); err != nil {
		return nil, err
	}
	if in.Tenant == "" {
		in.Tenant = p.Tenant().String()
	}
	k, text, err := a.Directory.Keys().Create(r.Context(), p, auth.NewKey{
		Tenant: in.Tenant, Name: in.Name, Owner: in.OwnerUser, Scopes: in.Scopes, DailyBytes: in.DailyBytes, Bounds: bounds(in.Limits), CORSOrigins: in.CORSOrigins, ClientCertificates: in.ClientCertificates, ExpiresAt: in.ExpiresAt,
	})
	if err != nil {
		return nil, err
	}
	return NewKey{Key: a.showKey(p, k), Text: text}, nil
}

func (a *API) showOneKey(r *http.Request, _ http.ResponseWriter, p auth.Principal) (any, error) {
	k, err := a.Directory.Keys().Show(r.Context(), p, r.PathValue("key"))
	if err != nil {
		return nil, err
	}
	return a.showKey(p, k), nil
}

func (a *API) setKey(r *http.Request, w http.ResponseWriter, p auth.Principal) (any, error) {
	var in KeyPatch
	if err := httpapi.ReadJSON(w, r, &in); err != nil {
		return nil, err
	}
	k, err := a.Directory.Keys().Set(r.Context(), p, r.PathValue("key"), auth.KeyPatch{
		DailyBytes: in.DailyBytes.bytes, Unlimited: in.DailyBytes.set && in.DailyBytes.bytes == nil, Bounds: in.Limits.bounds(),
		Name: in.Name, Owner: in.OwnerUser,
	})
	if err != nil {
		return nil, err
	}
	return a.showKey(p, k), nil
}

func (a *API) revokeKey(r *http.Request, _ http.ResponseWriter, p auth.Principal) (any, error) {
	k, err := a.Directory.Keys().Revoke(r.Context(), p, r.PathValue("key"))
	if err != nil {
		return nil, err
	}
	return a.showKey(p, k), nil
}
