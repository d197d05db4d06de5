package control

import (
	"encoding/json"
	"errors"
	"net/http"
	"time"

	"github.com/headgate-io/headgate/auth"
	"github.com/headgate-io/headgate/internal/httpapi"
	"github.com/headgate-io/headgate/metering"
)

// VerifyRequest is the body that asks for a comparison of the ledger with what is stored. Members that are left out mean the
// beginning of the ledger, the seal, and all tenants.
type VerifyRequest struct {
	From   string `json:"from,omitempty"` // RFC 3339 or a date
	To     string `json:"to,omitempty"`
	Tenant string `json:"tenant,omitempty"` // name or id
}

// VerifyLine is a line of the answer, which is NDJSON: progress, and then a report or a problem. An answer that ends
// without either was cut off.
type VerifyLine struct {
	Progress *metering.Progress `json:"progress,omitempty"`
	Report   *metering.Report   `json:"report,omitempty"`
	Problem  *VerifyProblem     `json:"problem,omitempty"`
}

// VerifyProblem is a failure that came after the answer had begun.
type VerifyProblem struct {
	Code   string `json:"code"`
	Detail string `json:"detail"`
}

const codeVerifyFailed = "verify-failed"

// verifyUsage compares and answers with lines as it goes on. The comparison ends when its caller goes away.
//
// SECURITY: the report is about all tenants, and names them.
func (a *API) verifyUsage(r *http.Request, w http.ResponseWriter, p auth.Principal) (any, error) {
	if !p.IsOperator() {
		return nil, auth.ErrForbidden
	}
	filter, err := a.verifyFilter(r, w, p)
	if err != nil {
		return nil, err
	}
	// It may take longer than a body may take to be read; with the deadline the server would end the request.
	control := http.NewResponseController(w)
	if err := control.SetReadDeadline(time.Time{}); err != nil && !errors.Is(err, http.ErrNotSupported) {
		return nil, err
	}
	begun := false
	enc := json.NewEncoder(w)
	enc.SetEscapeHTML(false)
	line := func(l VerifyLine) {
		if !begun {
			w.Header().Set("Content-Type", "application/x-ndjson")
			begun = true
		}
		_ = enc.Encode(l) // if the client is gone, so is the request's context
		_ = control.Flush()
	}
	report, err := a.Verifier.UnsafeVerify(r.Context(), filter, func(p metering.Progress) { line(VerifyLine{Progress: &p}) })
	switch {
	case err == nil:
		line(VerifyLine{Report: &report})
	case errors.Is(err, metering.ErrBusy):
		return nil, httpapi.Errorf(http.StatusConflict, "verify-busy", "usage is being verified already; ask again later")
	case errors.Is(err, metering.ErrFilter):
		return nil, invalid("%s", clip(err.Error()))
	default:
		a.Log.Warn("usage was not verified", "err", err)
		problem := VerifyProblem{codeVerifyFailed, "ledger and ClickHouse could not be compared: ClickHouse is away or busy; the log of headgate tells more"}
		if !begun {
			return nil, httpapi.Errorf(http.StatusServiceUnavailable, problem.Code, "%s", problem.Detail)
		}
		line(VerifyLine{Problem: &problem})
	}
	return nil, nil
}

func (a *API) verifyFilter(r *http.Request, w http.ResponseWriter, p auth.Principal) (f metering.VerifyFilter, err error) {
	var in VerifyRequest
	if err := httpapi.ReadJSON(w, r, &in); err != nil {
		return f, err
	}
	if f.From, err = moment("from", in.From); err != nil {
		return f, err
	}
	if f.To, err = moment("to", in.To); err != nil {
		return f, err
	}
	if in.Tenant != "" {
		t, err := a.Directory.Tenants().Show(r.Context(), p, in.Tenant)
		if err != nil {
			return f, err
		}
		f.Tenant, f.TenantName = t.ID, t.Name
	}
	return f, nil
}

// lastVerified answers with the last comparison over all tenants.
//
// SECURITY: the report is about all tenants, and names them.
func (a *API) lastVerified(r *http.Request, _ http.ResponseWriter, p auth.Principal) (any, error) {
	if !p.IsOperator() {
		return nil, auth.ErrForbidden
	}
	report, ok, err := a.Verifier.Last(r.Context())
	if err != nil {
		return nil, err
	}
	if !ok {
		return nil, httpapi.Errorf(http.StatusNotFound, "not-verified", "usage was not verified yet; POST here, or wait for the day to end")
	}
	return report, nil
}
