package control

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/headgate-io/headgate/auth"
	"github.com/headgate-io/headgate/auth/permission"
	"github.com/headgate-io/headgate/internal/httpapi"
	"github.com/headgate-io/headgate/internal/store"
	"github.com/headgate-io/headgate/internal/tenant"
	"github.com/headgate-io/headgate/metering/alert"
)

// Webhook is a webhook as the API shows it, without its secret.
type Webhook struct {
	ID         string       `json:"id"`
	Tenant     string       `json:"tenant,omitempty"` // name; absent: the operator's, for the events of all tenants
	TenantID   string       `json:"tenant_id,omitempty"`
	URL        string       `json:"url"`
	Kinds      []alert.Kind `json:"kinds"`  // empty: all
	Status     string       `json:"status"` // active, failing or disabled
	Failures   int          `json:"failures,omitempty"`
	RetryAt    *time.Time   `json:"retry_at,omitempty"`
	CreatedAt  time.Time    `json:"created_at"`
	ChangedAt  time.Time    `json:"changed_at"`
	DisabledAt *time.Time   `json:"disabled_at,omitempty"`
}

// NewWebhook is a webhook with the secret that its messages are signed with, which is shown once, when it is made.
type NewWebhook struct {
	Webhook
	Secret string `json:"secret"`
}

// WebhookRequest is the body that creates a webhook.
type WebhookRequest struct {
	Tenant string       `json:"tenant,omitempty"` // name or id; left out: a key's own tenant, the operator's own webhook
	URL    string       `json:"url"`
	Kinds  []alert.Kind `json:"kinds,omitempty"`
}

// WebhookPatch is the body that changes a webhook; members that are left out stay as they are.
type WebhookPatch struct {
	URL     *string       `json:"url,omitempty"`
	Kinds   *[]alert.Kind `json:"kinds,omitempty"`
	Enabled *bool         `json:"enabled,omitempty"`
}

// Webhooks is a page of webhooks.
type Webhooks struct {
	Webhooks []Webhook `json:"webhooks"`
	Next     string    `json:"next,omitempty"`
}

// alertProblem makes the answer of an error of package alert; every other error stays as it is.
func alertProblem(err error) error {
	switch {
	case errors.Is(err, alert.ErrNotFound):
		return httpapi.Errorf(http.StatusNotFound, auth.ErrNotFound.Code, "%s", alert.ErrNotFound)
	case errors.Is(err, alert.ErrInvalid):
		return invalid("%s", strings.TrimPrefix(err.Error(), alert.ErrInvalid.Error()+": "))
	case errors.Is(err, alert.ErrBusy):
		return httpapi.Errorf(http.StatusTooManyRequests, "webhook-busy", "%s", alert.ErrBusy)
	}
	return err
}

func webhookOf(w alert.Webhook) Webhook {
	out := Webhook{
		ID: w.ID, Tenant: w.TenantName, TenantID: w.Tenant, URL: w.URL, Kinds: append([]alert.Kind{}, w.Kinds...), Status: "active",
		Failures: w.Failures, RetryAt: w.RetryAt, CreatedAt: w.CreatedAt, ChangedAt: w.ChangedAt, DisabledAt: w.DisabledAt,
	}
	switch {
	case w.DisabledAt != nil:
		out.Status = "disabled"
	case w.Failures > 0:
		out.Status = "failing"
	}
	return out
}

// webhookEntry is what the audit tells of a webhook.
//
// SECURITY: of the URL the host alone, for in some the path is a password.
func webhookEntry(id tenant.ID, w alert.Webhook) auth.Entry {
	host := ""
	if u, err := url.Parse(w.URL); err == nil {
		host = u.Scheme + "://" + u.Host
	}
	detail, err := json.Marshal(map[string]any{"webhook": map[string]any{
		"host": host, "kinds": append([]alert.Kind{}, w.Kinds...), "enabled": w.DisabledAt == nil,
	}})
	if err != nil {
		panic("BUG: audit detail: " + err.Error())
	}
	return auth.Entry{Tenant: id, Target: w.ID, Detail: detail}
}

func (a *API) listWebhooks(r *http.Request, _ http.ResponseWriter, p auth.Principal) (any, error) {
	size, err := pageSize(r)
	if err != nil {
		return nil, err
	}
	owner, err := a.ownTenant(r, p, permission.SecurityManage)
	if err != nil {
		return nil, err
	}
	found, err := a.Alerts.Webhooks(r.Context(), reachOf(p, owner), owner, r.URL.Query().Get("cursor"), size+1)
	if err != nil {
		return nil, alertProblem(err)
	}
	page := Webhooks{Webhooks: []Webhook{}}
	if len(found) > size {
		found = found[:size]
		page.Next = found[size-1].ID
	}
	for _, w := range found {
		page.Webhooks = append(page.Webhooks, webhookOf(w))
	}
	return page, nil
}

func (a *API) createWebhook(r *http.Request, w http.ResponseWriter, p auth.Principal) (any, error) {
	var in WebhookRequest
	if err := httpapi.ReadJSON(w, r, &in); err != nil {
		return nil, err
	}
	owner, name := p.Tenant(), p.TenantName() // zero for the operator
	if in.Tenant != "" {
		t, err := a.Directory.Tenants().Find(r.Context(), p, permission.SecurityManage, in.Tenant)
		if err != nil {
			return nil, a.refuse(r, p, "webhook.create", in.Tenant, err)
		}
		if t.Status == auth.Deleting {
			return nil, auth.ErrState
		}
		owner, name = t.ID, t.Name
	}
	var made alert.Webhook
	var secret string
	err := a.Directory.Act(r.Context(), p, "webhook.create", owner.String(), func(tx *store.Tx, _ time.Time) (auth.Entry, error) {
		if !owner.IsZero() {
			if err := p.Can(permission.SecurityManage, owner); err != nil {
				return auth.Entry{}, err
			}
		}
		var err error
		made, secret, err = a.Alerts.Create(r.Context(), tx, alert.NewWebhook{Tenant: owner, URL: in.URL, Kinds: in.Kinds})
		made.TenantName = name
		return webhookEntry(owner, made), err
	})
	if err != nil {
		return nil, alertProblem(err)
	}
	return NewWebhook{Webhook: webhookOf(made), Secret: secret}, nil
}

func (a *API) showWebhook(r *http.Request, _ http.ResponseWriter, p auth.Principal) (any, error) {
	w, _, err := a.webhook(r, p, r.PathValue("webhook"))
	if err != nil {
		return nil, err
	}
	return webhookOf(w), nil
}

// webhook finds a webhook that the caller may manage, and its tenant, zero for the operator's own.
//
// SECURITY: a webhook of a tenant out of reach is not found, by the same answer and after the same look-ups as one that does not
// exist.
func (a *API) webhook(r *http.Request, p auth.Principal, id string) (alert.Webhook, tenant.ID, error) {
	w, err := a.Alerts.Webhook(r.Context(), alert.UnsafeAll(), id)
	if err != nil && !errors.Is(err, alert.ErrNotFound) {
		return alert.Webhook{}, tenant.ID{}, err
	}
	if p.IsOperator() && w.Tenant == "" {
		return w, tenant.ID{}, alertProblem(err)
	}
	t, denied := a.Directory.Tenants().Find(r.Context(), p, permission.SecurityManage, cmp.Or(w.Tenant, noTenant))
	if errors.Is(denied, auth.ErrNotFound) {
		denied = alertProblem(alert.ErrNotFound)
	}
	if denied != nil {
		return alert.Webhook{}, tenant.ID{}, denied
	}
	return w, t.ID, nil
}

// noTenant has the form of an id, and is none.
const noTenant = "00000000000000000000000000"

// refuse returns err, audited if it is a refusal for want of permission.
func (a *API) refuse(r *http.Request, p auth.Principal, action, target string, err error) error {
	if !errors.Is(err, auth.ErrForbidden) {
		return err
	}
	return a.Directory.Act(r.Context(), p, action, target, func(*store.Tx, time.Time) (auth.Entry, error) { return auth.Entry{}, err })
}

// changeWebhook audits a change under the webhook's tenant.
func (a *API) changeWebhook(r *http.Request, p auth.Principal, action string, fn func(tx *store.Tx, reach alert.Reach, id string) (alert.Webhook, error)) (alert.Webhook, error) {
	id := r.PathValue("webhook")
	w, owner, err := a.webhook(r, p, id)
	if err != nil {
		return w, a.refuse(r, p, action, id, err)
	}
	err = a.Directory.Act(r.Context(), p, action, id, func(tx *store.Tx, _ time.Time) (auth.Entry, error) {
		var err error
		w, err = fn(tx, reachOf(p, owner), id)
		return webhookEntry(owner, w), err
	})
	return w, alertProblem(err)
}

func (a *API) setWebhook(r *http.Request, rw http.ResponseWriter, p auth.Principal) (any, error) {
	var in WebhookPatch
	if err := httpapi.ReadJSON(rw, r, &in); err != nil {
		return nil, err
	}
	w, err := a.changeWebhook(r, p, "webhook.set", func(tx *store.Tx, reach alert.Reach, id string) (alert.Webhook, error) {
		return a.Alerts.Change(r.Context(), tx, reach, id, alert.WebhookPatch(in))
	})
	if err != nil {
		return nil, err
	}
	return webhookOf(w), nil
}

func (a *API) deleteWebhook(r *http.Request, _ http.ResponseWriter, p auth.Principal) (any, error) {
	_, err := a.changeWebhook(r, p, "webhook.delete", func(tx *store.Tx, reach alert.Reach, id string) (alert.Webhook, error) {
		return a.Alerts.Delete(r.Context(), tx, reach, id)
	})
	return nil, err
}

func (a *API) testWebhook(r *http.Request, _ http.ResponseWriter, p auth.Principal) (any, error) {
	w, owner, err := a.webhook(r, p, r.PathValue("webhook"))
	if err != nil {
		return nil, a.refuse(r, p, "webhook.test", r.PathValue("webhook"), err)
	}
	result, err := a.Alerts.Test(r.Context(), reachOf(p, owner), w.ID)
	if err != nil {
		return nil, alertProblem(err)
	}
	return result, nil
}

// AuditAlert takes an event to its tenant's audit, in the transaction that marks it as taken.
func AuditAlert(ctx context.Context, tx *store.Tx, e alert.Alert) error {
	detail, err := json.Marshal(e)
	if err != nil {
		return err
	}
	return auth.Note(ctx, tx, e.At, e.TenantID, "alert", e.ID, detail)
}

// AlertUsers makes an event of each threshold of a limit of users that one more user crosses, for auth.Options.UserUse.
func AlertUsers(ctx context.Context, tx *store.Tx, u auth.UserUse) error {
	for _, threshold := range alert.Crossed(u.Used-1, u.Used, u.Max) {
		id := u.Tenant.String()
		err := alert.Record(ctx, tx, alert.Event{Tenant: id, Kind: alert.Users, Owner: alert.OwnerTenant, OwnerID: id, LimitID: auth.ErrLimitUsers.Code,
			Day: u.Zone.Day(u.At).Number, Threshold: threshold, Used: u.Used, Max: u.Max, At: u.At})
		if err != nil {
			return err
		}
	}
	return nil
}
