package control

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"hash"
	"io"
	"net/http"
	"slices"
	"time"

	"github.com/headgate-io/headgate/auth"
	"github.com/headgate-io/headgate/auth/permission"
	"github.com/headgate-io/headgate/internal/httpapi"
	"github.com/headgate-io/headgate/internal/tenant"
	"github.com/headgate-io/headgate/storage"
)

// ExportSource has the rows that are exported: *storage.Exporter. Its methods are safe for concurrent use; storage.ErrNoPart says
// that there is no such table or day.
type ExportSource interface {
	Schema(ctx context.Context) (int, error)
	Parts(ctx context.Context, id tenant.ID, span storage.ExportSpan) ([]storage.ExportPart, error)
	CountPart(ctx context.Context, id tenant.ID, table, day string, before time.Time) (uint64, error)
	WritePart(ctx context.Context, id tenant.ID, table, day string, before time.Time, w io.Writer) error
}

// ExportRequest is the body that begins an export.
type ExportRequest struct {
	From           string    `json:"from,omitempty"` // first day of telemetry, YYYY-MM-DD in UTC
	To             string    `json:"to,omitempty"`   // day after the last
	ReceivedBefore time.Time `json:"received_before,omitzero"`
}

// Actions of the audit.
const (
	auditExport     = "tenant.export"
	auditExportRead = "tenant.export.read"
	auditExportEnd  = "tenant.export.end"
)

func (a *API) exportRoutes() []route {
	return []route{
		{"POST", "/api/v1/tenants/{tenant}/export", "Begin an export of everything a tenant has: what it consists of, signed", auth.ScopeAdmin, nil, ExportRequest{}, ExportPlan{}, 0, a.beginExport},
		{"GET", "/api/v1/tenants/{tenant}/export/tables/{table}/{day}", "Read a part of an export as Parquet; the trailer " + ExportTrailer + " says what it is, signed", auth.ScopeAdmin, []string{"received_before"}, nil, nil, 0, a.exportRows},
		{"GET", "/api/v1/tenants/{tenant}/export/state/{kind}", "Read a part of an export of the control plane's data as NDJSON, without secrets; with the same trailer", auth.ScopeAdmin, nil, nil, nil, 0, a.exportState},
		{"POST", "/api/v1/tenants/{tenant}/export/end", "Tell the audit that all of an export was received", auth.ScopeAdmin, nil, ExportEnd{}, nil, http.StatusNoContent, a.endExport},
	}
}

func (a *API) beginExport(r *http.Request, w http.ResponseWriter, p auth.Principal) (any, error) {
	var in ExportRequest
	if err := httpapi.ReadJSON(w, r, &in); err != nil {
		return nil, err
	}
	ctx, ref := r.Context(), r.PathValue("tenant")
	t, err := a.Directory.Tenants().Exportable(ctx, p, auditExport, ref)
	if err != nil {
		return nil, err
	}
	for _, day := range []string{in.From, in.To} {
		if _, err := time.Parse(time.DateOnly, day); err != nil && day != "" {
			return nil, invalid("day %q: want YYYY-MM-DD", clip(day))
		}
	}
	before, away, err := a.settled(ctx, in.ReceivedBefore)
	if err != nil {
		return nil, err
	}
	err = a.Directory.Tenants().AuditExport(auth.Unheld(ctx), p, auditExport, t.ID.String(), map[string]any{"from": in.From, "to": in.To, "received_before": before})
	if err != nil {
		return nil, err
	}
	_ = http.NewResponseController(w).SetWriteDeadline(time.Time{}) // counting may take its time
	plan := ExportPlan{TenantID: t.ID.String(), Tenant: t.Name, From: in.From, To: in.To, ReceivedBefore: before, Away: away,
		MadeAt: a.Now().UTC().Truncate(time.Millisecond), MadeBy: p.Actor(), Tables: []ExportTable{}, State: auth.ExportKinds(), KeyID: a.Signer.ID}
	parts, err := a.Exporter.Parts(ctx, t.ID, storage.ExportSpan{From: in.From, To: in.To, Before: before})
	if err == nil {
		plan.Schema, err = a.Exporter.Schema(ctx)
	}
	if err != nil {
		return nil, a.exportFailure(err)
	}
	for _, x := range parts {
		plan.Tables = append(plan.Tables, ExportTable{x.Table, x.Day, int64(x.Rows)})
	}
	plan.Signature = a.Signer.Sign(plan.Text())
	return plan, nil
}

// settled returns the moment before which all is in ClickHouse, or want if that is earlier; later than that there is no export yet.
func (a *API) settled(ctx context.Context, want time.Time) (before time.Time, away []string, err error) {
	before, away, err = a.Ledger.Settled(ctx)
	switch {
	case err != nil || want.IsZero():
		return before, away, err
	case want.After(before):
		return before, nil, httpapi.Errorf(http.StatusConflict, "export-early", "what was received before %s may still be on its way; all that was received before %s is there",
			want.UTC().Format(time.RFC3339), before.Format(time.RFC3339))
	}
	return want.UTC().Truncate(time.Second), away, nil
}

func (a *API) exportFailure(err error) error {
	if errors.Is(err, storage.ErrNoPart) {
		return httpapi.Errorf(http.StatusNotFound, auth.ErrNotFound.Code, "no such part of the export")
	}
	a.Log.Warn("an export cannot be read", "err", err)
	return httpapi.Errorf(http.StatusServiceUnavailable, "export-unavailable", "ClickHouse does not answer, or cannot make the export; the log of headgate tells more")
}

// maxExports is how many parts of exports are read at once in this process. More are asked to come back.
const maxExports = 4

func (a *API) exportRows(r *http.Request, w http.ResponseWriter, p auth.Principal) (any, error) {
	ctx, table, day := r.Context(), r.PathValue("table"), r.PathValue("day")
	t, err := a.Directory.Tenants().Exportable(ctx, p, auditExportRead, r.PathValue("tenant"))
	if err != nil {
		return nil, err
	}
	want, err := moment("received_before", r.URL.Query().Get("received_before"))
	if err != nil {
		return nil, err
	}
	before, _, err := a.settled(ctx, want)
	if err != nil {
		return nil, err
	}
	defer a.exports.Add(-1)
	if a.exports.Add(1) > maxExports {
		return nil, &httpapi.Error{Status: http.StatusServiceUnavailable, Code: "export-busy", Detail: "other exports are being read: try again", Header: http.Header{"Retry-After": {"5"}}}
	}
	n, err := a.Exporter.CountPart(ctx, t.ID, table, day, before)
	if err != nil {
		return nil, a.exportFailure(err)
	}
	err = a.Directory.Tenants().AuditExport(ctx, p, auditExportRead, t.ID.String(), map[string]any{"table": table, "day": day, "rows": n, "received_before": before})
	if err != nil {
		return nil, err
	}
	x := a.newExportStream(r, w, t.ID, "application/vnd.apache.parquet")
	err = a.Exporter.WritePart(ctx, t.ID, table, day, before, x)
	return nil, x.end(err, ExportFile{Table: table, Day: day, ReceivedBefore: before, Rows: int64(n)})
}

func (a *API) exportState(r *http.Request, w http.ResponseWriter, p auth.Principal) (any, error) {
	ctx, kind := r.Context(), r.PathValue("kind")
	t, err := a.Directory.Tenants().Exportable(ctx, p, auditExportRead, r.PathValue("tenant"))
	if err != nil {
		return nil, err
	}
	if !slices.Contains(auth.ExportKinds(), kind) {
		return nil, a.exportFailure(storage.ErrNoPart)
	}
	if err := a.Directory.Tenants().AuditExport(ctx, p, auditExportRead, t.ID.String(), map[string]any{"state": kind}); err != nil {
		return nil, err
	}
	x := a.newExportStream(r, w, t.ID, "application/x-ndjson")
	n, err := a.Directory.Tenants().ExportState(ctx, p, t.ID, kind, func(line []byte) error {
		_, err := x.Write(line)
		return err
	})
	if err != nil && !x.begun {
		return nil, err
	}
	return nil, x.end(err, ExportFile{Table: kind, Rows: n})
}

func (a *API) endExport(r *http.Request, w http.ResponseWriter, p auth.Principal) (any, error) {
	var in ExportEnd
	if err := httpapi.ReadJSON(w, r, &in); err != nil {
		return nil, err
	}
	return nil, a.Directory.Tenants().AuditExport(r.Context(), p, auditExportEnd, r.PathValue("tenant"), map[string]any{"reported": ExportEnd{
		in.ReceivedBefore, in.Files, in.Rows, in.Bytes, clip(in.ManifestSHA256)}})
}

// exportStream is the body of a part as it goes out. SECURITY: who reads for long is asked every second who it is: what is taken
// away ends the export.
type exportStream struct {
	api     *API
	r       *http.Request
	tenant  tenant.ID
	w       http.ResponseWriter
	to      patient
	kind    string
	sum     hash.Hash
	bytes   int64
	begun   bool
	checked time.Time
}

func (a *API) newExportStream(r *http.Request, w http.ResponseWriter, id tenant.ID, kind string) *exportStream {
	return &exportStream{api: a, r: r, tenant: id, w: w, to: patient{w, http.NewResponseController(w)}, kind: kind, sum: sha256.New(), checked: a.Now()}
}

// Write implements io.Writer.
func (x *exportStream) Write(b []byte) (int, error) {
	if now := x.api.Now(); now.Sub(x.checked).Abs() >= time.Second {
		x.checked = now
		p, err := x.api.admit(x.r, auth.ScopeAdmin)
		if err := cmp.Or(err, p.Can(permission.TenantsDelete, x.tenant)); err != nil {
			return 0, err
		}
	}
	x.begin()
	n, err := x.to.Write(b)
	x.sum.Write(b[:n])
	x.bytes += int64(n)
	return n, err
}

func (x *exportStream) begin() {
	if x.begun {
		return
	}
	x.begun = true
	x.w.Header().Set("Content-Type", x.kind)
	x.w.Header().Set("X-Content-Type-Options", "nosniff")
	x.w.Header().Set("Trailer", ExportTrailer)
}

// end sends what the part is, signed; after an error it breaks the connection off, or returns what to answer if nothing was sent.
func (x *exportStream) end(err error, f ExportFile) error {
	switch {
	case err != nil && x.begun:
		x.api.Log.Warn("an export ended early", "tenant", x.tenant.String(), "table", f.Table, "day", f.Day, "err", err)
		panic(http.ErrAbortHandler)
	case err != nil:
		return x.api.exportFailure(err)
	}
	x.begin()
	f.TenantID, f.Bytes, f.SHA256 = x.tenant.String(), x.bytes, hex.EncodeToString(x.sum.Sum(nil))
	f.ReadAt, f.KeyID = x.api.Now().UTC().Truncate(time.Millisecond), x.api.Signer.ID
	f.Signature = x.api.Signer.Sign(f.Text())
	raw, err := json.Marshal(f)
	if err != nil {
		panic("BUG: export file: " + err.Error())
	}
	x.w.Header().Set(ExportTrailer, string(raw))
	return nil
}
