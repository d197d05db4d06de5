package control

import (
	"encoding/hex"
	"encoding/json"
	"net/http"
	"strconv"
	"time"

	"github.com/headgate-io/headgate/auth"
	"github.com/headgate-io/headgate/internal/httpapi"
)

// AuditEntry is one line of the audit.
type AuditEntry struct {
	ID      int64           `json:"id"`
	At      time.Time       `json:"at"`
	Actor   string          `json:"actor"` // operator, key:…, user:… or system
	Tenant  string          `json:"tenant_id,omitempty"`
	Acting  string          `json:"acting_tenant_id,omitempty"` // in which the actor acted; left out when the caller does not reach it
	Address string          `json:"address,omitempty"`          // where the request came from
	Action  string          `json:"action"`
	Target  string          `json:"target"`
	Outcome string          `json:"outcome"` // ok or refused
	Detail  json.RawMessage `json:"detail,omitempty"`
	Seq     int64           `json:"seq,omitempty"`  // in the tenant's chain
	Hash    string          `json:"hash,omitempty"` // over the entry and the hash of the one before
}

// AuditPage is a page of the audit, newest first.
type AuditPage struct {
	Entries []AuditEntry `json:"entries"`
	Next    string       `json:"next,omitempty"`
}

// AuditVerify is the body that asks for a verification.
type AuditVerify struct {
	Tenant string `json:"tenant,omitempty"` // name or id; every tenant that the caller reaches when left out
	Anchor string `json:"anchor,omitempty"` // of an earlier verification of that tenant
}

// AuditVerified is what a verification found.
type AuditVerified struct {
	OK      bool         `json:"ok"`
	Chains  int          `json:"chains"` // how many were read
	Entries int64        `json:"entries"`
	Broken  []AuditChain `json:"broken"` // those that are not whole
	// Chain is that of the tenant that was named; its anchor, kept elsewhere, proves later that nothing before was written again.
	Chain *AuditChain `json:"chain,omitempty"`
}

// AuditChain is the audit of one tenant as it was verified.
type AuditChain struct {
	Tenant    string         `json:"tenant_id"` // "": what belongs to no tenant
	Entries   int64          `json:"entries"`
	Unchained int64          `json:"unchained"` // of them, from before there were chains; the first link holds them
	Anchor    string         `json:"anchor,omitempty"`
	Findings  []AuditFinding `json:"findings"`
	More      int64          `json:"more_findings"`
}

// AuditFinding is one thing that is wrong with a chain.
type AuditFinding struct {
	Kind   string `json:"kind"` // changed, removed, reordered, inserted, truncated, head or anchor
	ID     int64  `json:"id,omitempty"`
	Seq    int64  `json:"seq,omitempty"`
	Detail string `json:"detail"`
}

func (a *API) auditRoutes() []route {
	filter := []string{"tenant", "actor", "action", "target", "outcome", "from", "to"}
	return []route{
		{"GET", "/api/v1/audit", "Read the audit, newest first; an action that ends with a point selects all that begin so", auth.ScopeAdmin,
			append([]string{"cursor", "limit"}, filter...), nil, AuditPage{}, 0, a.audit},
		{"GET", "/api/v1/audit/export", "Export the audit as NDJSON, oldest first; the last line says of the export itself", auth.ScopeAdmin, filter, nil, nil, 0, a.exportAudit},
		{"POST", "/api/v1/audit/verify", "Prove that the audit is what was written", auth.ScopeAdmin, nil, AuditVerify{}, AuditVerified{}, 0, a.verifyAudit},
	}
}

func auditFilter(r *http.Request) (f auth.AuditFilter, err error) {
	q := r.URL.Query()
	f = auth.AuditFilter{Tenant: q.Get("tenant"), Actor: q.Get("actor"), Action: q.Get("action"), Target: q.Get("target"), Outcome: q.Get("outcome")}
	if f.From, err = moment("from", q.Get("from")); err != nil {
		return f, err
	}
	f.To, err = moment("to", q.Get("to"))
	return f, err
}

func (a *API) audit(r *http.Request, _ http.ResponseWriter, p auth.Principal) (any, error) {
	size, err := pageSize(r)
	if err != nil {
		return nil, err
	}
	f, err := auditFilter(r)
	if err != nil {
		return nil, err
	}
	f.Limit = size
	if cursor := r.URL.Query().Get("cursor"); cursor != "" {
		if f.Before, err = strconv.ParseInt(cursor, 10, 64); err != nil || f.Before < 1 {
			return nil, invalid("cursor %q: want the next of an earlier page", clip(cursor))
		}
	}
	found, next, err := a.Directory.Audit(r.Context(), p, f)
	if err != nil {
		return nil, err
	}
	page := AuditPage{Entries: []AuditEntry{}}
	if next != 0 {
		page.Next = strconv.FormatInt(next, 10)
	}
	for _, e := range found {
		page.Entries = append(page.Entries, showEntry(e))
	}
	return page, nil
}

func showEntry(e auth.Entry) AuditEntry {
	out := AuditEntry{
		ID: e.ID, At: e.At.UTC().Truncate(time.Millisecond), Actor: e.Actor, Tenant: e.Tenant.String(), Acting: e.Acting.String(), Address: e.Address,
		Action: e.Action, Target: e.Target, Outcome: e.Outcome, Detail: e.Detail, Seq: e.Seq,
	}
	if e.Seq > 0 {
		out.Hash = hex.EncodeToString(e.Hash[:])
	}
	return out
}

// exportAudit streams. What fails after the first line breaks the connection off, so that nobody takes a part for the whole.
func (a *API) exportAudit(r *http.Request, w http.ResponseWriter, p auth.Principal) (any, error) {
	f, err := auditFilter(r)
	if err != nil {
		return nil, err
	}
	enc := json.NewEncoder(w)
	enc.SetEscapeHTML(false)
	begun := false
	begin := func() {
		if !begun {
			begun = true
			w.Header().Set("Content-Type", "application/x-ndjson")
			w.Header().Set("X-Content-Type-Options", "nosniff")
		}
	}
	err = a.Directory.ExportAudit(r.Context(), p, f, func(e auth.Entry) error {
		begin()
		return enc.Encode(showEntry(e))
	})
	if err != nil && begun {
		a.Log.Warn("export of the audit broken off", "err", err)
		panic(http.ErrAbortHandler)
	}
	if err == nil {
		begin()
	}
	return nil, err
}

func (a *API) verifyAudit(r *http.Request, w http.ResponseWriter, p auth.Principal) (any, error) {
	var in AuditVerify
	if err := httpapi.ReadJSON(w, r, &in); err != nil {
		return nil, err
	}
	var anchor *auth.Anchor
	if in.Anchor != "" {
		parsed, err := auth.ParseAnchor(in.Anchor)
		if err != nil {
			return nil, err
		}
		anchor = &parsed
	}
	chains, err := a.Directory.VerifyAudit(r.Context(), p, in.Tenant, anchor)
	if err != nil {
		return nil, err
	}
	out := AuditVerified{OK: true, Chains: len(chains), Broken: []AuditChain{}}
	for _, c := range chains {
		shown := AuditChain{Tenant: c.Tenant.String(), Entries: c.Entries, Unchained: c.Unchained, Findings: []AuditFinding{}, More: c.More}
		if c.Seq > 0 {
			shown.Anchor = auth.Anchor{Seq: c.Seq, Hash: c.Hash}.String()
		}
		for _, f := range c.Findings {
			shown.Findings = append(shown.Findings, AuditFinding{f.Kind, f.ID, f.Seq, f.Text})
		}
		out.Entries += c.Entries
		if len(c.Findings) > 0 {
			out.OK = false
			out.Broken = append(out.Broken, shown)
		}
		if in.Tenant != "" {
			out.Chain = &shown
		}
	}
	return out, nil
}
