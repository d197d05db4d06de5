package control

import (
	"net/http"
	"strconv"

	"github.com/headgate-io/headgate/auth"
	"github.com/headgate-io/headgate/auth/permission"
	"github.com/headgate-io/headgate/internal/tenant"
	"github.com/headgate-io/headgate/metering"
	"github.com/headgate-io/headgate/metering/alert"
)

// alertRoutes are those of alerts, webhooks and decisions.
func (a *API) alertRoutes() []route {
	paging := []string{"cursor", "limit"}
	return []route{
		{"GET", "/api/v1/decisions", "Read what was refused or discarded and why, newest first (scope usage; with ingest, of the calling key)", "", append([]string{"tenant", "from", "to", "reason", "key"}, paging...), nil, metering.Refusals{}, 0, a.decisions},
		{"GET", "/api/v1/alerts", "Read events, newest first, with their deliveries (scope usage or admin)", "", append([]string{"tenant", "kind", "threshold", "from", "to"}, paging...), nil, Alerts{}, 0, a.listAlerts},
		{"GET", "/api/v1/webhooks", "List webhooks, without their secrets", auth.ScopeAdmin, append([]string{"tenant"}, paging...), nil, Webhooks{}, 0, a.listWebhooks},
		{"POST", "/api/v1/webhooks", "Create a webhook; its secret is shown once", auth.ScopeAdmin, nil, WebhookRequest{}, NewWebhook{}, http.StatusCreated, a.createWebhook},
		{"GET", "/api/v1/webhooks/{webhook}", "Show a webhook", auth.ScopeAdmin, nil, nil, Webhook{}, 0, a.showWebhook},
		{"PATCH", "/api/v1/webhooks/{webhook}", "Change, disable or enable a webhook", auth.ScopeAdmin, nil, WebhookPatch{}, Webhook{}, 0, a.setWebhook},
		{"DELETE", "/api/v1/webhooks/{webhook}", "Delete a webhook and what waits for it", auth.ScopeAdmin, nil, nil, nil, http.StatusNoContent, a.deleteWebhook},
		{"POST", "/api/v1/webhooks/{webhook}/test", "Send a test message now and tell how it went", auth.ScopeAdmin, nil, nil, alert.TestResult{}, 0, a.testWebhook},
	}
}

// Alerts is a page of events, newest first.
type Alerts struct {
	Alerts []alert.Alert `json:"alerts"`
	Next   string        `json:"next,omitempty"`
}

// requireAny returns nil if p has one of the scopes, else why not.
func requireAny(p auth.Principal, scopes ...auth.KeyScope) (err error) {
	for _, s := range scopes {
		if err = p.Require(s); err == nil {
			return nil
		}
	}
	return err
}

// reachOf is what the caller reaches of a tenant's things, which ownTenant has found; everything for the operator.
func reachOf(p auth.Principal, id tenant.ID) alert.Reach {
	if p.IsOperator() {
		return alert.UnsafeAll()
	}
	return alert.Of(id)
}

// ownTenant finds whose things are asked for by the query parameter tenant: the one that is named, else the caller's, for the
// operator the zero ID. Users need the permission there.
func (a *API) ownTenant(r *http.Request, p auth.Principal, what permission.Permission) (tenant.ID, error) {
	name := r.URL.Query().Get("tenant")
	if name == "" && p.IsOperator() {
		return tenant.ID{}, nil
	}
	return a.tenantIn(r, p, what, name)
}

func (a *API) listAlerts(r *http.Request, _ http.ResponseWriter, p auth.Principal) (any, error) {
	if err := requireAny(p, auth.ScopeUsage, auth.ScopeAdmin); err != nil {
		return nil, err
	}
	size, err := pageSize(r)
	if err != nil {
		return nil, err
	}
	q := r.URL.Query()
	f := alert.Filter{Kind: alert.Kind(q.Get("kind")), Before: q.Get("cursor"), Limit: size + 1}
	if f.Tenant, err = a.ownTenant(r, p, permission.UsageRead); err != nil {
		return nil, err
	}
	if f.From, err = moment("from", q.Get("from")); err != nil {
		return nil, err
	}
	if f.To, err = moment("to", q.Get("to")); err != nil {
		return nil, err
	}
	if text := q.Get("threshold"); text != "" {
		if f.Threshold, err = strconv.Atoi(text); err != nil || f.Threshold < 1 || f.Threshold > 100 {
			return nil, invalid("threshold %q: want a percentage such as 80", clip(text))
		}
	}
	found, err := a.Alerts.Alerts(r.Context(), reachOf(p, f.Tenant), f)
	if err != nil {
		return nil, alertProblem(err)
	}
	page := Alerts{Alerts: found}
	if len(found) > size {
		page.Alerts, page.Next = found[:size], found[size-1].ID
	}
	return page, nil
}
