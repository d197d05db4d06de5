package control

import (
	"context"
	"errors"
	"net/http"
	"net/url"
	"time"

	"github.com/headgate-io/headgate/auth"
	"github.com/headgate-io/headgate/auth/permission"
	"github.com/headgate-io/headgate/internal/tenant"
	"github.com/headgate-io/headgate/metering"
)

// averageDays is over how many sealed days averages are made and trends are shown.
const averageDays = 30

// recentActs is how many entries of the audit an overview has.
const recentActs = 20

func (a *API) viewRoutes() []route {
	return []route{
		{"GET", "/api/v1/tenants/{tenant}/overview", "Show a tenant with what it uses of its plan and what happened in it", auth.ScopeAdmin, nil, nil, Overview{}, 0, a.overview},
	}
}

// Overview is a tenant at a glance. What the caller may not read is left out.
type Overview struct {
	Tenant Tenant     `json:"tenant"`
	Usage  *PlanUsage `json:"usage,omitempty"`
	// Activity is the newest of the audit.
	Activity []AuditEntry `json:"activity,omitempty"`
	// AccessRequests is where the tenant's are listed.
	AccessRequests string `json:"access_requests"`
}

// PlanUsage is what a tenant uses of its limits, its descendants' use with it.
type PlanUsage struct {
	TodayBytes        int64               `json:"today_bytes"` // billed since the tenant's day began, to its hour
	AverageDailyBytes *int64              `json:"average_daily_bytes"`
	AveragePercent    *float64            `json:"average_percent"`
	StorageBytes      *int64              `json:"storage_bytes"` // null: not measured yet
	Users             int64               `json:"users"`
	Keys              int64               `json:"keys"`
	Trend             []metering.DayBytes `json:"trend"` // of the days that the average is made of
}

// addAverages adds to rows what was billed per day, by one statement for all of them.
func (a *API) addAverages(ctx context.Context, p auth.Principal, found []auth.Tenant, rows []Tenant) error {
	days, err := a.Ledger.DaysBefore(ctx, averageDays)
	if err != nil {
		return err
	}
	ids := make([]tenant.ID, len(found))
	for i, t := range found {
		ids[i] = t.ID
	}
	trees := a.Directory.Tenants().Trees(p, permission.UsageRead, ids)
	var all []tenant.ID
	named := map[tenant.ID]bool{}
	for _, tree := range trees {
		for _, id := range tree {
			if !named[id] {
				named[id], all = true, append(all, id)
			}
		}
	}
	billed, err := a.Ledger.BilledByTenant(ctx, all, days.From, days.To)
	if err != nil {
		return err
	}
	for i, t := range found {
		tree, may := trees[t.ID]
		if !may {
			continue
		}
		var sum int64
		for _, id := range tree {
			sum += billed[id.String()]
		}
		rows[i].AverageDailyBytes, rows[i].AveragePercent = average(t, sum, days)
	}
	return nil
}

// average returns what was billed per day that the tenant was there, and that in percent of its limit.
func average(t auth.Tenant, billed int64, days metering.SealedDays) (bytes *int64, percent *float64) {
	from := days.From
	if born := t.CreatedAt.UTC().Truncate(24 * time.Hour); born.After(from) {
		from = born
	}
	n := int64(days.To.Sub(from) / (24 * time.Hour))
	if n <= 0 {
		return nil, nil // of no full day is anything known
	}
	mean := billed / n
	if t.DailyBytes != nil && *t.DailyBytes > 0 {
		part := 100 * float64(mean) / float64(*t.DailyBytes)
		percent = &part
	}
	return &mean, percent
}

func (a *API) overview(r *http.Request, _ http.ResponseWriter, p auth.Principal) (any, error) {
	ctx := r.Context()
	t, err := a.Directory.Tenants().Show(ctx, p, r.PathValue("tenant"))
	if err != nil {
		return nil, err
	}
	out := Overview{Tenant: a.tenant(p, t), AccessRequests: "/api/v1/access-requests?tenant=" + url.QueryEscape(t.ID.String())}
	if p.Can(permission.UsageRead, t.ID) == nil {
		if out.Usage, err = a.planUsage(ctx, p, t); err != nil {
			return nil, err
		}
		out.Usage.StorageBytes = out.Tenant.StorageBytes
	}
	entries, _, err := a.Directory.Audit(ctx, p, auth.AuditFilter{Tenant: t.ID.String(), Limit: recentActs})
	if err != nil && !errors.Is(err, auth.ErrForbidden) {
		return nil, err
	}
	for _, e := range entries {
		out.Activity = append(out.Activity, showEntry(e))
	}
	return out, nil
}

func (a *API) planUsage(ctx context.Context, p auth.Principal, t auth.Tenant) (*PlanUsage, error) {
	days, err := a.Ledger.DaysBefore(ctx, averageDays)
	if err != nil {
		return nil, err
	}
	tree := a.Directory.Tenants().Trees(p, permission.UsageRead, []tenant.ID{t.ID})[t.ID]
	out := &PlanUsage{}
	if out.Trend, err = a.Ledger.BilledByDay(ctx, tree, days.From, days.To); err != nil {
		return nil, err
	}
	var sum int64
	for _, d := range out.Trend {
		sum += d.Bytes
	}
	out.AverageDailyBytes, out.AveragePercent = average(t, sum, days)
	today := t.Zone().Day(a.Now())
	start := today.Start - today.Start%3600
	billed, err := a.Ledger.BilledByTenant(ctx, tree, time.Unix(start, 0), time.Unix(today.End, 0))
	if err != nil {
		return nil, err
	}
	for _, n := range billed {
		out.TodayBytes += n
	}
	n, err := a.Directory.Tenants().Count(ctx, p, t.ID.String())
	out.Users, out.Keys = n.Users, n.Keys
	return out, err
}
