package control

import (
	"cmp"
	"fmt"
	"net/http"
	"slices"
	"time"

	"github.com/headgate-io/headgate/auth"
	"github.com/headgate-io/headgate/metering"
)

// exportPatience is how long a reader of an export may take nothing before its connection ends.
const exportPatience = time.Minute

// ExportKeys are public keys that manifests are or were signed with.
type ExportKeys struct {
	metering.ExportKey                      // the one that is in use here, or the one that was asked for
	Keys               []metering.ExportKey `json:"keys"` // all
}

// prepareExport reads the parameters of an export.
func (a *API) prepareExport(r *http.Request, p auth.Principal) (*metering.Export, error) {
	q := r.URL.Query()
	if err := checkParams(q, exportParams); err != nil {
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
	f := metering.ExportFilter{Tenants: who.ids, Descendants: who.descendants, From: when.from, To: when.to, Zone: when.zone,
		Format: metering.Format(cmp.Or(q.Get("format"), "csv"))}
	if f.AsOf, err = moment("as_of", q.Get("as_of")); err != nil {
		return nil, err
	}
	if f.Open, err = yesOrNo(q, "open"); err != nil {
		return nil, err
	}
	if f.Rate, err = metering.ParseRate(q.Get("price_per_gib"), q.Get("currency"), q.Get("provider")); err != nil {
		return nil, usageProblem(err)
	}
	var x *metering.Export
	if who.all {
		x, err = a.Ledger.UnsafeExportOfAll(r.Context(), f)
	} else {
		x, err = a.Ledger.Export(r.Context(), f)
	}
	if err != nil {
		return nil, usageProblem(err)
	}
	return x, nil
}

// exportUsage streams an export. Its head says as of when it is, with which the same bytes can be had again; an export that
// fails half way breaks the connection, so that no reader takes the half for the whole.
func (a *API) exportUsage(r *http.Request, w http.ResponseWriter, p auth.Principal) (any, error) {
	x, err := a.prepareExport(r, p)
	if err != nil {
		return nil, err
	}
	h := w.Header()
	h.Set("Content-Type", x.ContentType())
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Content-Disposition", fmt.Sprintf(`attachment; filename="usage.%s"`, extension(x.Filter.Format)))
	h.Set("Headgate-Sealed-Through", x.SealedThrough.Format(time.RFC3339))
	if !x.Filter.AsOf.IsZero() {
		h.Set("Headgate-As-Of", x.Filter.AsOf.Format(time.RFC3339Nano))
	}
	if _, err := x.Write(r.Context(), &patient{w, http.NewResponseController(w)}); err != nil {
		a.Log.Warn("an export of usage ended early", "err", err)
		panic(http.ErrAbortHandler)
	}
	return nil, nil
}

func extension(f metering.Format) string {
	switch f {
	case metering.FormatJSON, metering.FormatCloudEvents:
		return "json"
	}
	return "csv"
}

// patient gives each write its own time, however long all of them take together.
type patient struct {
	w http.ResponseWriter
	c *http.ResponseController
}

// Write implements io.Writer.
func (p *patient) Write(b []byte) (int, error) {
	_ = p.c.SetWriteDeadline(time.Now().Add(exportPatience)) // where there is none to set, none ends the export
	return p.w.Write(b)
}

// exportManifest answers with the signed manifest of an export.
func (a *API) exportManifest(r *http.Request, w http.ResponseWriter, p auth.Principal) (any, error) {
	x, err := a.prepareExport(r, p)
	if err != nil {
		return nil, err
	}
	_ = http.NewResponseController(w).SetWriteDeadline(time.Time{}) // the export is made first, which may take its time
	m, err := x.Manifest(r.Context(), a.Signer)
	if err != nil {
		return nil, usageProblem(err)
	}
	return m, nil
}

// exportKey answers with the public keys of manifests.
func (a *API) exportKey(r *http.Request, _ http.ResponseWriter, _ auth.Principal) (any, error) {
	if err := checkParams(r.URL.Query(), []string{"id"}); err != nil {
		return nil, err
	}
	keys, err := a.Ledger.ExportKeys(r.Context(), "")
	if err != nil {
		return nil, usageProblem(err)
	}
	id := cmp.Or(r.URL.Query().Get("id"), a.Signer.ID)
	at := slices.IndexFunc(keys, func(k metering.ExportKey) bool { return k.KeyID == id })
	if at < 0 {
		return nil, usageProblem(metering.ErrNoExportKey)
	}
	return ExportKeys{keys[at], keys}, nil
}
