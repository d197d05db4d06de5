package control

import (
	"cmp"
	"context"
	"net/http"
	"slices"
	"strings"

	"github.com/headgate-io/headgate/auth"
	"github.com/headgate-io/headgate/internal/httpapi"
	"github.com/headgate-io/headgate/internal/tenant"
)

func (a *API) listTenants(r *http.Request, _ http.ResponseWriter, p auth.Principal) (any, error) {
	size, err := pageSize(r)
	if err != nil {
		return nil, err
	}
	q := r.URL.Query()
	found, next, err := a.Directory.Tenants().List(r.Context(), p, auth.ListTenants{
		Search: q.Get("search"), Status: auth.Status(q.Get("status")), After: q.Get("cursor"), Limit: size,
	})
	if err != nil {
		return nil, err
	}
	page := Tenants{Tenants: []Tenant{}, Next: next}
	for _, t := range found {
		page.Tenants = append(page.Tenants, a.tenant(p, t))
	}
	usage, err := yesOrNo(q, "usage")
	if err == nil && usage {
		err = a.addAverages(r.Context(), p, found, page.Tenants)
	}
	if err != nil {
		return nil, err
	}
	return page, nil
}

// names returns a function from ids to names; "" for a tenant out of the caller's reach.
func (a *API) names(p auth.Principal) func(context.Context, tenant.ID) string {
	return func(_ context.Context, id tenant.ID) string { return a.Directory.Tenants().NameOf(p, id) }
}

// tenant is t as p may see it.
func (a *API) tenant(p auth.Principal, t auth.Tenant) Tenant {
	out := Tenant{
		ID: t.ID.String(), Name: t.Name, Parent: a.Directory.Tenants().NameOf(p, t.Parent), Status: string(t.Status), DailyBytes: t.DailyBytes,
		Limits: showLimits(t.Bounds), TimeZone: cmp.Or(t.TimeZone, "UTC"),
		AtLimit: string(t.AtLimit), RetentionDays: int(t.RetentionDays), Placement: "shared", Partition: t.Partition,
		KeepResends: t.KeepResends, Slug: t.Slug, Owner: t.Owner, PlanID: t.PlanID, EditionID: t.EditionID, Subscription: t.SubscriptionID,
		Region: t.Region, SecondFactor: t.SecondFactor, MaxUsers: t.MaxUsers, MaxKeys: t.MaxKeys, QueryTier: t.QueryTier,
		CreatedAt: t.CreatedAt, ChangedAt: t.ChangedAt,
	}
	if t.Partition == t.ID.String() {
		out.Placement = "own"
	}
	a.addLower(&out, p, t)
	if a.Kept != nil {
		if n, known := a.Kept(t.ID); known {
			out.StorageBytes = &n
		}
	}
	return out
}

// answerTenant is the answer of a handler that has changed or found one tenant.
func (a *API) answerTenant(p auth.Principal, t auth.Tenant, err error) (any, error) {
	if err != nil {
		return nil, err
	}
	return a.tenant(p, t), nil
}

func ownPartition(placement string) (bool, error) {
	switch placement {
	case "", "shared":
		return false, nil
	case "own":
		return true, nil
	}
	return false, invalid("placement %q: want shared or own", clip(placement))
}

// knownTier tells the operator of a tier that is none. Others are refused whatever they name.
func (a *API) knownTier(p auth.Principal, name string) error {
	if name == "" || !p.IsOperator() || slices.Contains(a.QueryTiers, name) {
		return nil
	}
	return invalid("query_tier %q: the tiers are %s", clip(name), cmp.Or(strings.Join(a.QueryTiers, ", "), "none: see --query-tiers"))
}

func (a *API) createTenant(r *http.Request, w http.ResponseWriter, p auth.Principal) (any, error) {
	var in NewTenant
	if err := httpapi.ReadJSON(w, r, &in); err != nil {
		return nil, err
	}
	own, err := ownPartition(in.Placement)
	if err == nil {
		err = a.knownTier(p, in.QueryTier)
	}
	if err != nil {
		return nil, err
	}
	t, err := a.Directory.Tenants().Create(r.Context(), p, auth.NewTenant{
		Name: in.Name, Parent: in.Parent, DailyBytes: in.DailyBytes, Bounds: bounds(in.Limits), TimeZone: in.TimeZone, RetentionDays: in.RetentionDays,
		AtLimit: tenant.Policy(in.AtLimit), OwnPartition: own, KeepResends: in.KeepResends,
		TenantDetails: auth.TenantDetails{Slug: in.Slug, Owner: in.Owner, PlanID: in.PlanID, EditionID: in.EditionID,
			SubscriptionID: in.Subscription, Region: in.Region, MaxUsers: in.MaxUsers, MaxKeys: in.MaxKeys,
			QueryTier: in.QueryTier},
	})
	return a.answerTenant(p, t, err)
}

func (a *API) showTenant(r *http.Request, _ http.ResponseWriter, p auth.Principal) (any, error) {
	t, err := a.Directory.Tenants().Show(r.Context(), p, r.PathValue("tenant"))
	return a.answerTenant(p, t, err)
}

func (a *API) setTenant(r *http.Request, w http.ResponseWriter, p auth.Principal) (any, error) {
	var in TenantPatch
	if err := httpapi.ReadJSON(w, r, &in); err != nil {
		return nil, err
	}
	if in.QueryTier != nil {
		if err := a.knownTier(p, *in.QueryTier); err != nil {
			return nil, err
		}
	}
	patch := auth.Patch{
		Name: in.Name, RetentionDays: in.RetentionDays, AtLimit: in.AtLimit,
		DailyBytes: in.DailyBytes.bytes, Unlimited: in.DailyBytes.set && in.DailyBytes.bytes == nil,
		Bounds: in.Limits.bounds(), TimeZone: in.TimeZone, KeepResends: in.KeepResends,
		Slug: in.Slug, Owner: in.Owner, PlanID: in.PlanID, EditionID: in.EditionID, SubscriptionID: in.Subscription,
		MaxUsers: in.MaxUsers.orStay(), MaxKeys: in.MaxKeys.orStay(), QueryTier: in.QueryTier,
	}
	if in.Placement != nil {
		own, err := ownPartition(*in.Placement)
		if err != nil {
			return nil, err
		}
		patch.OwnPartition = &own
	}
	t, err := a.Directory.Tenants().Set(r.Context(), p, r.PathValue("tenant"), patch)
	return a.answerTenant(p, t, err)
}

func (a *API) disableTenant(r *http.Request, _ http.ResponseWriter, p auth.Principal) (any, error) {
	t, err := a.Directory.Tenants().Disable(r.Context(), p, r.PathValue("tenant"))
	return a.answerTenant(p, t, err)
}

func (a *API) enableTenant(r *http.Request, _ http.ResponseWriter, p auth.Principal) (any, error) {
	t, err := a.Directory.Tenants().Enable(r.Context(), p, r.PathValue("tenant"))
	return a.answerTenant(p, t, err)
}
