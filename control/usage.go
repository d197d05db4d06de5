package control

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/headgate-io/headgate/auth"
	"github.com/headgate-io/headgate/auth/permission"
	"github.com/headgate-io/headgate/internal/httpapi"
	"github.com/headgate-io/headgate/internal/tenant"
	"github.com/headgate-io/headgate/metering"
)

// Query parameters of the usage routes.
var (
	paging       = []string{"cursor", "limit"}
	whoseUsage   = []string{"tenant", "descendants"}
	whichPeriod  = []string{"from", "to", "month", "zone"}
	usageParams  = slices.Concat(whoseUsage, whichPeriod, []string{"by", "group", "as_of", "format"}, paging)
	changeParams = slices.Concat(whoseUsage, paging)
	exportParams = slices.Concat(whoseUsage, whichPeriod, []string{"as_of", "open", "format", "price_per_gib", "currency", "provider"})
	listParams   = slices.Concat(whoseUsage, whichPeriod, paging)
)

func (a *API) usageRoutes() []route {
	return []route{
		{"GET", "/api/v1/usage", "Read metered usage by hour, day or month, now or as of a moment", auth.ScopeUsage, usageParams, nil, metering.Usage{}, 0, a.usage},
		{"GET", "/api/v1/usage/changes", "Read the entries of the ledger that changed since a cursor", auth.ScopeUsage, changeParams, nil, metering.Changes{}, 0, a.usageChanges},
		{"GET", "/api/v1/usage/export", "Export all sealed entries of a period as csv, json, focus or cloudevents", auth.ScopeUsage, exportParams, nil, nil, 0, a.exportUsage},
		{"GET", "/api/v1/usage/export/manifest", "Say what an export contains, signed", auth.ScopeUsage, exportParams, nil, metering.Manifest{}, 0, a.exportManifest},
		{"GET", "/api/v1/usage/export/key", "Read the public key of manifests; id names one of before", auth.ScopeUsage, []string{"id"}, nil, ExportKeys{}, 0, a.exportKey},
		{"GET", "/api/v1/usage/corrections", "List corrections by the hour they are dated in", auth.ScopeUsage, listParams, nil, metering.Corrections{}, 0, a.listCorrections},
		{"POST", "/api/v1/usage/corrections", "Correct an hour's usage (operator)", auth.ScopeAdmin, nil, CorrectionRequest{}, metering.Correction{}, http.StatusCreated, a.correctUsage},
		{"GET", "/api/v1/usage/replicas", "List the processes whose logs the seal waits for (operator)", auth.ScopeAdmin, nil, nil, Replicas{}, 0, a.listReplicas},
		{"DELETE", "/api/v1/usage/replicas/{log}", "Forget a process whose log is lost (operator)", auth.ScopeAdmin, nil, nil, nil, http.StatusNoContent, a.forgetReplica},
	}
}

// usage answers with a page of metered usage: of the caller's own tenant, or, to the operator, of one or all. The answer has
// a strong ETag.
func (a *API) usage(r *http.Request, w http.ResponseWriter, p auth.Principal) (any, error) {
	f, err := usageFilter(r)
	if err != nil {
		return nil, err
	}
	who, err := a.whose(r, p)
	if err != nil {
		return nil, err
	}
	var page metering.Usage
	f.Tenants, f.Descendants = who.ids, who.descendants
	if who.all {
		page, err = a.Ledger.UnsafeUsageOfAll(r.Context(), f)
	} else {
		page, err = a.Ledger.Usage(r.Context(), f)
	}
	if err != nil {
		return nil, usageProblem(err)
	}
	var body bytes.Buffer
	switch format := r.URL.Query().Get("format"); format {
	case "", "json":
		enc := json.NewEncoder(&body)
		enc.SetEscapeHTML(false)
		if err := enc.Encode(page); err != nil {
			return nil, err
		}
		w.Header().Set("Content-Type", "application/json")
	case "csv":
		if err := page.Write(&body, metering.FormatCSV); err != nil {
			return nil, err
		}
		w.Header().Set("Content-Type", "text/csv; charset=utf-8")
		if page.Next != "" {
			w.Header().Set("Headgate-Next-Cursor", page.Next)
		}
	default:
		return nil, invalid("format %q: want json or csv", clip(format))
	}
	answerTagged(w, r, body.Bytes())
	return nil, nil
}

// answerTagged writes the body with its ETag, or says that the caller has it (RFC 9110 §13.1.2).
func answerTagged(w http.ResponseWriter, r *http.Request, body []byte) {
	sum := sha256.Sum256(body)
	tag := `"` + hex.EncodeToString(sum[:16]) + `"`
	h := w.Header()
	h.Set("ETag", tag)
	h.Set("Cache-Control", "private, no-cache") // may be kept by the caller alone, and is asked for again with the tag
	h.Set("X-Content-Type-Options", "nosniff")
	for _, have := range strings.Split(strings.Join(r.Header.Values("If-None-Match"), ","), ",") {
		if have = strings.TrimPrefix(strings.TrimSpace(have), "W/"); have == tag || have == "*" {
			h.Del("Content-Type")
			w.WriteHeader(http.StatusNotModified)
			return
		}
	}
	_, _ = w.Write(body) // the client is gone: nothing is left to say to it
}

// usageProblem makes the answer of an error of metering; every other error stays as it is.
func usageProblem(err error) error {
	switch {
	case errors.Is(err, metering.ErrFilter), errors.Is(err, metering.ErrCorrection):
		return invalid("%s", strings.ToValidUTF8(err.Error(), "?"))
	case errors.Is(err, metering.ErrBelowZero):
		return httpapi.Errorf(http.StatusConflict, "correction-below-zero", "%s", err)
	case errors.Is(err, metering.ErrCorrectionTaken):
		return httpapi.Errorf(http.StatusConflict, "correction-taken", "%s", err)
	case errors.Is(err, metering.ErrNoReplica), errors.Is(err, metering.ErrNoExportKey):
		return httpapi.Errorf(http.StatusNotFound, auth.ErrNotFound.Code, "%s", err)
	}
	return err
}

// ownership is whose usage is asked for.
type ownership struct {
	ids         []tenant.ID
	descendants bool
	all         bool // every tenant's: the operator asks and names none
}

// whose finds whose usage is asked for.
//
// SECURITY: a key reads the usage of its own tenant and, if it asks for them, of those below; a user that of tenants where the
// user has usage.read, each of those below too. Any other name, there or not, answers not found.
func (a *API) whose(r *http.Request, p auth.Principal) (o ownership, err error) {
	q := r.URL.Query()
	if o.descendants, err = yesOrNo(q, "descendants"); err != nil {
		return o, err
	}
	name := q.Get("tenant")
	if name == "" && p.IsOperator() {
		return ownership{all: true}, nil
	}
	id, err := a.tenantIn(r, p, permission.UsageRead, name)
	if err != nil {
		return o, err
	}
	o.ids = []tenant.ID{id}
	if o.descendants {
		below, whole := a.Directory.Tenants().Below(p, permission.UsageRead, id)
		if !whole {
			o.ids, o.descendants = below, false
		}
		if p.User() != "" {
			err = a.Directory.AuditReads(r.Context(), p, below, "usage.read")
		}
	}
	return o, err
}

// tenantIn finds the tenant that is asked for, "" being the caller's, and checks that the caller may do what there. Of keys, whose
// scopes have opened the door, it checks that it is their own.
func (a *API) tenantIn(r *http.Request, p auth.Principal, what permission.Permission, name string) (tenant.ID, error) {
	if p.KeyID() != "" {
		if name == "" || strings.EqualFold(name, p.TenantName()) || name == p.Tenant().String() {
			return p.Tenant(), nil
		}
		return tenant.ID{}, auth.ErrNotFound
	}
	if name == "" {
		name = p.Tenant().String()
	}
	t, err := a.Directory.Tenants().Find(r.Context(), p, what, name)
	return t.ID, err
}

func yesOrNo(q url.Values, name string) (bool, error) {
	switch v := q.Get(name); v {
	case "", "false":
		return false, nil
	case "true":
		return true, nil
	default:
		return false, invalid("%s %q: want true or false", name, clip(v))
	}
}

// checkParams refuses parameters that are misspelt or given twice: a bill for the wrong period is worse than an error.
func checkParams(q url.Values, allowed []string) error {
	for name, values := range q {
		if !slices.Contains(allowed, name) {
			return invalid("parameter %q: want one of %s", clip(name), strings.Join(allowed, ", "))
		}
		if len(values) > 1 {
			return invalid("parameter %s is given twice", name)
		}
	}
	return nil
}

func usageFilter(r *http.Request) (f metering.Filter, err error) {
	q := r.URL.Query()
	if err := checkParams(q, usageParams); err != nil {
		return f, err
	}
	f.By, f.Cursor = metering.Interval(q.Get("by")), q.Get("cursor")
	if q.Has("limit") {
		if f.Limit, err = pageSize(r); err != nil {
			return f, err
		}
	}
	if f.AsOf, err = moment("as_of", q.Get("as_of")); err != nil {
		return f, err
	}
	p, err := periodOf(q)
	if err != nil {
		return f, err
	}
	f.From, f.To, f.Zone = p.from, p.to, p.zone
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

// usageChanges answers with entries that changed since a cursor.
func (a *API) usageChanges(r *http.Request, _ http.ResponseWriter, p auth.Principal) (any, error) {
	q := r.URL.Query()
	if err := checkParams(q, changeParams); err != nil {
		return nil, err
	}
	who, err := a.whose(r, p)
	if err != nil {
		return nil, err
	}
	f := metering.ChangesFilter{Tenants: who.ids, Descendants: who.descendants, Cursor: q.Get("cursor")}
	if q.Has("limit") {
		if f.Limit, err = pageSize(r); err != nil {
			return nil, err
		}
	}
	var page metering.Changes
	if who.all {
		page, err = a.Ledger.UnsafeChangesOfAll(r.Context(), f)
	} else {
		page, err = a.Ledger.Changes(r.Context(), f)
	}
	if err != nil {
		return nil, usageProblem(err)
	}
	if page.Rows == nil {
		page.Rows = []metering.Entry{}
	}
	return page, nil
}
