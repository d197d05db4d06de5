package auth

import (
	"cmp"
	"strings"

	"github.com/headgate-io/headgate/auth/permission"
	"github.com/headgate-io/headgate/internal/tenant"
)

// TenantDetails are the settings of a tenant that its data does not pass through.
type TenantDetails struct {
	Slug           string // what sign-in names the tenant by; as a name, and no two tenants have the same
	Owner          string // e-mail address, "" if nobody is named
	PlanID         string // of the systems that bill, free text like the two that follow
	EditionID      string
	SubscriptionID string
	Region         string // the deployment's; "" was made before the deployment had one
	SecondFactor   string // one of the Factor… policies
	// MaxUsers and MaxKeys are how many users who are not inactive and how many live keys there may be, own and descendants'.
	// nil is unlimited.
	MaxUsers *int64
	MaxKeys  *int64
	// QueryTier names the operator's set of limits that queries run under; "" is the parent's, or the default. It is the
	// operator's to set.
	QueryTier string
}

const (
	maxPlanBytes = 128
	maxCount     = 1_000_000_000 // of users or keys; beyond it a limit says nothing
)

// check returns the first rule that d breaks, and brings slug and owner into the form they are stored in.
func (d *TenantDetails) check() error {
	slug, err := normalName(d.Slug)
	if err != nil {
		return detail(ErrInvalid, "slug %q: want what a tenant's name may be", clip(d.Slug))
	}
	d.Slug = slug
	if d.Owner != "" {
		if _, err := emailKey(d.Owner); err != nil {
			return detail(ErrInvalid, "owner: %s", err.(*Error).Text)
		}
	}
	for _, f := range []struct{ what, text string }{
		{"plan_id", d.PlanID}, {"edition_id", d.EditionID}, {"subscription_id", d.SubscriptionID},
	} {
		if err := checkPlanText(f.what, f.text); err != nil {
			return err
		}
	}
	if _, err := normalName(d.QueryTier); err != nil && d.QueryTier != "" {
		return detail(ErrInvalid, "query tier %q: want the name of one", clip(d.QueryTier))
	}
	switch d.SecondFactor {
	case FactorDisabled, FactorOptional, FactorAdmins, FactorRequired:
	default:
		return detail(ErrInvalid, "second factor %q: want disabled, optional, admins or required", clip(d.SecondFactor))
	}
	for _, l := range []struct {
		what string
		max  *int64
	}{{"max_users", d.MaxUsers}, {"max_keys", d.MaxKeys}} {
		if l.max != nil && (*l.max < 0 || *l.max > maxCount) {
			return detail(ErrInvalid, "%s %d: want 0 to %d, or null for no limit", l.what, *l.max, maxCount)
		}
	}
	return nil
}

// checkPlanText wants printable ASCII: such texts are compared by other systems.
func checkPlanText(what, s string) error {
	printable := func(r rune) bool { return r >= ' ' && r <= '~' }
	if len(s) > maxPlanBytes || strings.TrimSpace(s) != s || strings.ContainsFunc(s, func(r rune) bool { return !printable(r) }) {
		return detail(ErrInvalid, "%s: want up to %d characters of printable ASCII, no blank at the ends", what, maxPlanBytes)
	}
	return nil
}

// withDefaults returns d with what a new tenant of that name has where nothing is said.
func (d TenantDetails) withDefaults(name string) TenantDetails {
	d.Slug, d.SecondFactor = cmp.Or(d.Slug, name), cmp.Or(d.SecondFactor, FactorOptional)
	return d
}

func (p Patch) applyDetails(t *Tenant) {
	set := func(field *string, to *string) {
		if to != nil {
			*field = *to
		}
	}
	set(&t.Slug, p.Slug)
	set(&t.Owner, p.Owner)
	set(&t.PlanID, p.PlanID)
	set(&t.EditionID, p.EditionID)
	set(&t.SubscriptionID, p.SubscriptionID)
	set(&t.QueryTier, p.QueryTier)
	if p.MaxUsers != nil {
		t.MaxUsers = *p.MaxUsers
	}
	if p.MaxKeys != nil {
		t.MaxKeys = *p.MaxKeys
	}
}

// limits reports whether p changes what a tenant does not decide itself. The time zone is one of it, for it says when a day's
// bytes begin anew, and so is letting bytes through beyond the limit for money.
func (p Patch) limits(t Tenant) bool {
	return p.DailyBytes != nil || p.Unlimited || p.Bounds != nil || p.TimeZone != nil || p.PlanID != nil || p.EditionID != nil ||
		p.SubscriptionID != nil || p.MaxUsers != nil || p.MaxKeys != nil || p.AtLimit != nil && passes(*p.AtLimit) && *p.AtLimit != t.AtLimit
}

// settings reports whether p changes what a tenant decides itself; nothing at all counts as such.
func (p Patch) settings(t Tenant) bool {
	return p.Name != nil || p.Slug != nil || p.Owner != nil || p.RetentionDays != nil || p.OwnPartition != nil || p.KeepResends != nil ||
		p.AtLimit != nil && !passes(*p.AtLimit) || !p.limits(t)
}

// errTier answers who is not the operator, within reach.
var errTier = detail(ErrForbidden, "only the operator chooses query tiers")

// QueryTier returns the name of the set of limits that a tenant's queries run under: its own, or that of the nearest tenant
// above that has one; "" for the default.
func (d *Directory) QueryTier(id tenant.ID) string {
	d.mu.RLock()
	defer d.mu.RUnlock()
	for t, depth := d.tenants[id], 0; t != nil && depth < maxDepth; t, depth = d.tenants[t.Parent], depth+1 {
		if t.QueryTier != "" {
			return t.QueryTier
		}
	}
	return ""
}

// permit returns nil if by may change of the tenant what p names.
//
// SECURITY: no tenant raises its own limits, whatever its administrators may do in it.
func (d *Directory) permit(by Principal, t Tenant, p Patch) error {
	if p.QueryTier != nil && !by.IsOperator() {
		return errTier
	}
	if p.settings(t) {
		if err := by.Can(permission.TenantsUpdate, t.ID); err != nil {
			return err
		}
	}
	if p.limits(t) {
		return d.canFromAbove(by, permission.LimitsManage, t)
	}
	return nil
}

// limits reports whether n sets what only who manages limits may set.
func (n NewTenant) limits() bool {
	return n.DailyBytes != nil || len(n.Bounds) > 0 || n.TimeZone != "" || n.PlanID != "" || n.EditionID != "" || n.SubscriptionID != "" ||
		n.MaxUsers != nil || n.MaxKeys != nil || passes(n.AtLimit)
}
