package control

import (
	"errors"
	"net/http"
	"strings"
	"time"

	"github.com/headgate-io/headgate/auth"
	"github.com/headgate-io/headgate/internal/httpapi"
	"github.com/headgate-io/headgate/internal/tenant"
	"github.com/headgate-io/headgate/metering"
)

// usage answers with a page of metered usage: of the caller's own tenant, or, to the operator, of one or all.
func (a *API) usage(r *http.Request, w http.ResponseWriter, p auth.Principal) (any, error) {
	filter, err := usageFilter(r)
	if err != nil {
		return nil, err
	}
	var page metering.Usage
	if name := r.URL.Query().Get("tenant"); name == "" && p.IsOperator() {
		page, err = a.Ledger.UnsafeUsageOfAll(r.Context(), filter)
	} else {
		var id tenant.ID
		if id, err = a.usageTenant(r, p, name); err != nil {
			return nil, err
		}
		filter.Tenants = []tenant.ID{id}
		page, err = a.Ledger.Usage(r.Context(), filter)
	}
	if errors.Is(err, metering.ErrFilter) {
		return nil, invalid("%s", clip(err.Error()))
	}
	if err != nil {
		return nil, err
	}
	switch format := r.URL.Query().Get("format"); format {
	case "", "json":
		return page, nil
	case "csv":
		w.Header().Set("Content-Type", "text/csv; charset=utf-8")
		if page.Next != "" {
			w.Header().Set("Headgate-Next-Cursor", page.Next)
		}
		return nil, page.Write(w, metering.FormatCSV)
	default:
		return nil, invalid("format %q: want json or csv", clip(format))
	}
}

// usageTenant finds whose usage is asked for.
//
// SECURITY: a key reads its own tenant's usage; any other name, there or not, answers not found.
func (a *API) usageTenant(r *http.Request, p auth.Principal, name string) (tenant.ID, error) {
	if p.IsOperator() {
		t, err := a.Directory.Tenants().Show(r.Context(), p, name)
		return t.ID, err
	}
	if name == "" || strings.EqualFold(name, p.TenantName()) || name == p.Tenant().String() {
		return p.Tenant(), nil
	}
	return tenant.ID{}, auth.ErrNotFound
}

func usageFilter(r *http.Request) (metering.Filter, error) {
	q := r.URL.Query()
	f := metering.Filter{By: metering.Interval(q.Get("by")), Cursor: q.Get("cursor")}
	var err error
	if q.Has("limit") {
		if f.Limit, err = pageSize(r); err != nil {
			return f, err
		}
	}
	if f.From, err = moment("from", q.Get("from")); err != nil {
		return f, err
	}
	if f.To, err = moment("to", q.Get("to")); err != nil {
		return f, err
	}
	for _, g := range strings.Split(q.Get("group"), ",") {
		switch strings.TrimSpace(g) {
		case "", "tenant":
		case "signal":
			f.BySignal = true
		case "key":
			f.ByKey = true
		default:
			return f, invalid("group %q: want signal, key or signal,key", clip(g))
		}
	}
	return f, nil
}

// moment reads RFC 3339 or a date, which is its first moment in UTC; "" is the zero time.
func moment(name, s string) (time.Time, error) {
	if s == "" {
		return time.Time{}, nil
	}
	for _, layout := range []string{time.RFC3339, time.DateOnly} {
		if t, err := time.Parse(layout, s); err == nil {
			return t.UTC(), nil
		}
	}
	return time.Time{}, invalid("%s %q: want RFC 3339 (2026-11-01T00:00:00Z) or a date (2026-11-01)", name, clip(s))
}

// limits answers with the limits of the calling key and its tenant.
func (a *API) limits(_ *http.Request, _ http.ResponseWriter, p auth.Principal) (any, error) {
	if p.IsOperator() {
		return nil, httpapi.Errorf(http.StatusForbidden, auth.ErrForbidden.Code, "limits are those of an API key: call with one")
	}
	c := metering.Charge{Tenant: p.Tenant(), Key: p.KeyID(), AtLimit: p.AtLimit(), Limits: p.Chain()}
	states, err := a.Meter.Limits(c, a.Now())
	if err != nil {
		return nil, err
	}
	return Limits{Limits: states}, nil
}
