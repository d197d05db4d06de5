package control

import (
	"cmp"
	"encoding/json"
	"net/http"
	"strings"
	"time"

	"github.com/oklog/ulid/v2"

	"github.com/headgate-io/headgate/auth"
	"github.com/headgate-io/headgate/internal/httpapi"
	"github.com/headgate-io/headgate/internal/store"
	"github.com/headgate-io/headgate/metering"
)

// CorrectionRequest is the body that corrects an hour's usage.
type CorrectionRequest struct {
	// ID makes the request safe to repeat: the same correction with the same id is recorded once. Left out, one is made.
	ID          string          `json:"id,omitempty"`
	Tenant      string          `json:"tenant"` // name or id
	Hour        time.Time       `json:"hour"`   // that is corrected: its first moment
	Signal      metering.Signal `json:"signal"`
	Key         string          `json:"key,omitempty"`     // id; left out where the amount is no key's
	BilledBytes int64           `json:"billed_bytes"`      // to add, or, below 0, to take away
	Records     int64           `json:"records,omitempty"` // likewise
	Reason      string          `json:"reason"`            // that the tenant reads
}

// Replicas are the processes whose logs may hold receipts.
type Replicas struct {
	Replicas []metering.Replica `json:"replicas"`
}

// correctUsage records a correction and audits it in one transaction.
func (a *API) correctUsage(r *http.Request, w http.ResponseWriter, p auth.Principal) (any, error) {
	var in CorrectionRequest
	if err := httpapi.ReadJSON(w, r, &in); err != nil {
		return nil, err
	}
	n := metering.NewCorrection{ID: cmp.Or(in.ID, ulid.Make().String()), Hour: in.Hour, Signal: in.Signal, Key: in.Key,
		BilledBytes: in.BilledBytes, Records: in.Records, Reason: in.Reason}
	if p.IsOperator() {
		if !in.Hour.Equal(in.Hour.Truncate(time.Hour)) {
			return nil, invalid("hour %s: want the first moment of an hour", in.Hour.Format(time.RFC3339Nano))
		}
		t, err := a.Directory.Tenants().Show(r.Context(), p, in.Tenant)
		if err != nil {
			return nil, err
		}
		n.Tenant = t.ID
	}
	var c metering.Correction
	err := a.Directory.Act(r.Context(), p, "usage.correct", n.ID, func(tx *store.Tx, _ time.Time) (auth.Entry, error) {
		if !p.IsOperator() {
			return auth.Entry{}, auth.ErrForbidden
		}
		var err error
		if c, err = a.Ledger.Correct(r.Context(), tx, n); err != nil {
			return auth.Entry{}, err
		}
		detail, err := json.Marshal(map[string]any{"correction": c})
		return auth.Entry{Tenant: n.Tenant, Target: c.ID, Detail: detail}, err
	})
	if err != nil {
		return nil, usageProblem(err)
	}
	return c, nil
}

// listCorrections answers with a page of corrections.
func (a *API) listCorrections(r *http.Request, _ http.ResponseWriter, p auth.Principal) (any, error) {
	q := r.URL.Query()
	if err := checkParams(q, listParams); err != nil {
		return nil, err
	}
	who, err := a.whose(r, p)
	if err != nil {
		return nil, err
	}
	when, err := periodOf(q)
	if err != nil {
		return nil, err
	}
	f := metering.CorrectionFilter{Tenants: who.ids, Descendants: who.descendants, From: when.from, To: when.to, Cursor: q.Get("cursor")}
	if q.Has("limit") {
		if f.Limit, err = pageSize(r); err != nil {
			return nil, err
		}
	}
	var page metering.Corrections
	if who.all {
		page, err = a.Ledger.UnsafeCorrectionsOfAll(r.Context(), f)
	} else {
		page, err = a.Ledger.Corrections(r.Context(), f)
	}
	if err != nil {
		return nil, usageProblem(err)
	}
	return page, nil
}

// listReplicas answers with all replicas.
func (a *API) listReplicas(r *http.Request, _ http.ResponseWriter, p auth.Principal) (any, error) {
	if !p.IsOperator() {
		return nil, auth.ErrForbidden
	}
	all, err := a.Ledger.Replicas(r.Context())
	if err != nil {
		return nil, err
	}
	return Replicas{all}, nil
}

// forgetReplica takes a replica away whose log is lost.
func (a *API) forgetReplica(r *http.Request, _ http.ResponseWriter, p auth.Principal) (any, error) {
	log := strings.ToValidUTF8(r.PathValue("log"), "?")
	err := a.Directory.Act(r.Context(), p, "usage.replica.forget", log, func(tx *store.Tx, _ time.Time) (auth.Entry, error) {
		if !p.IsOperator() {
			return auth.Entry{}, auth.ErrForbidden
		}
		return auth.Entry{Target: log}, a.Ledger.ForgetReplica(r.Context(), tx, log)
	})
	return nil, usageProblem(err)
}
