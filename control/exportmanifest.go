package control

import (
	"crypto/ed25519"
	"fmt"
	"net/url"
	"strings"
	"time"

	"github.com/headgate-io/headgate/metering"
)

// ExportPlan says what an export of a tenant consists of: everything that was received before a moment, nothing that was received
// later, and what the state database has when it is read. Its signature is over Text.
type ExportPlan struct {
	TenantID       string        `json:"tenant_id"`
	Tenant         string        `json:"tenant"`
	From           string        `json:"from"` // first day of telemetry, YYYY-MM-DD in UTC; "": the beginning
	To             string        `json:"to"`   // day after the last; "": the end
	ReceivedBefore time.Time     `json:"received_before"`
	Schema         int           `json:"schema_version"` // of the ClickHouse tables
	Away           []string      `json:"away"`           // logs of replicas that were away: what they hold is not in it
	MadeAt         time.Time     `json:"made_at"`
	MadeBy         string        `json:"made_by"` // as the audit has it
	Tables         []ExportTable `json:"tables"`
	State          []string      `json:"state"`
	KeyID          string        `json:"key_id"`
	Signature      string        `json:"signature"` // Ed25519, base64
}

// ExportTable is what a tenant has in a table on a day. It is fetched from /export/tables/{table}/{day}.
type ExportTable struct {
	Table string `json:"table"`
	Day   string `json:"day"`  // YYYY-MM-DD, or all for tables without days
	Rows  int64  `json:"rows"` // when the plan was made; retention may remove some
}

// ExportFile says what a part of an export is, and follows it as the trailer ExportTrailer. Its signature is over Text.
type ExportFile struct {
	TenantID       string    `json:"tenant_id"`
	Table          string    `json:"table"`
	Day            string    `json:"day"` // "" of the state database's
	ReceivedBefore time.Time `json:"received_before,omitzero"`
	Rows           int64     `json:"rows"`
	Bytes          int64     `json:"bytes"`
	SHA256         string    `json:"sha256"` // hexadecimal
	ReadAt         time.Time `json:"read_at"`
	KeyID          string    `json:"key_id"`
	Signature      string    `json:"signature"`
}

// ExportTrailer is the HTTP trailer with the ExportFile, as JSON. A part without it is cut off.
const ExportTrailer = "Headgate-Export-File"

// ExportEnd is what a caller who has all of an export tells of it, for the audit.
type ExportEnd struct {
	ReceivedBefore time.Time `json:"received_before"`
	Files          int64     `json:"files"`
	Rows           int64     `json:"rows"`
	Bytes          int64     `json:"bytes"`
	ManifestSHA256 string    `json:"manifest_sha256"`
}

// Text returns what is signed: a line that says so, then a line "name: value" for every member but the signature, in the order of
// the JSON, and for every table and kind of state. Texts are quoted as Go quotes them.
func (p ExportPlan) Text() string {
	var b strings.Builder
	b.WriteString("headgate tenant export plan v1\n")
	fmt.Fprintf(&b, "tenant_id: %q\ntenant: %q\nfrom: %q\nto: %q\nreceived_before: %s\nschema_version: %d\n",
		p.TenantID, p.Tenant, p.From, p.To, signedTime(p.ReceivedBefore), p.Schema)
	for _, log := range p.Away {
		fmt.Fprintf(&b, "away: %q\n", log)
	}
	fmt.Fprintf(&b, "made_at: %s\nmade_by: %q\n", signedTime(p.MadeAt), p.MadeBy)
	for _, t := range p.Tables {
		fmt.Fprintf(&b, "table: %q %q %d\n", t.Table, t.Day, t.Rows)
	}
	for _, kind := range p.State {
		fmt.Fprintf(&b, "state: %q\n", kind)
	}
	fmt.Fprintf(&b, "key_id: %q\n", p.KeyID)
	return b.String()
}

// Text returns what is signed, in the form of a plan's.
func (f ExportFile) Text() string {
	return fmt.Sprintf("headgate tenant export file v1\ntenant_id: %q\ntable: %q\nday: %q\nreceived_before: %s\nrows: %d\nbytes: %d\nsha256: %q\nread_at: %s\nkey_id: %q\n",
		f.TenantID, f.Table, f.Day, signedTime(f.ReceivedBefore), f.Rows, f.Bytes, f.SHA256, signedTime(f.ReadAt), f.KeyID)
}

func signedTime(t time.Time) string {
	if t.IsZero() {
		return "-"
	}
	return t.UTC().Format(time.RFC3339Nano)
}

// Path is where the file is in an export's directory, with slashes.
//
// SECURITY: names come from a server, and none leads out of the directory.
func (f ExportFile) Path() string {
	if f.Day == "" {
		return "state/" + fileName(f.Table) + ".ndjson"
	}
	return "tables/" + fileName(f.Table) + "/" + fileName(f.Day) + ".parquet"
}

func fileName(s string) string {
	s = url.PathEscape(s)
	if strings.HasPrefix(s, ".") {
		s = "%2E" + s[1:]
	}
	return s
}

// ExportManifest is what an export's directory says of itself. It is complete once EndedAt is set.
type ExportManifest struct {
	Version int          `json:"version"` // 1
	Plan    ExportPlan   `json:"plan"`
	Files   []ExportFile `json:"files"`
	EndedAt time.Time    `json:"ended_at,omitzero"`
}

// Wanted returns the files of the plan, with what is known of them before they are read.
func (p ExportPlan) Wanted() (out []ExportFile) {
	for _, kind := range p.State {
		out = append(out, ExportFile{TenantID: p.TenantID, Table: kind})
	}
	for _, t := range p.Tables {
		out = append(out, ExportFile{TenantID: p.TenantID, Table: t.Table, Day: t.Day, ReceivedBefore: p.ReceivedBefore, Rows: t.Rows})
	}
	return out
}

// Belongs reports whether f is the file that the plan wants.
func (f ExportFile) Belongs(want ExportFile) bool {
	return f.TenantID == want.TenantID && f.Table == want.Table && f.Day == want.Day && f.ReceivedBefore.Equal(want.ReceivedBefore)
}

// Verify returns nil if plan and files are signed, with keys that key returns by their ids, and the files are the plan's, each once
// and, once the export is complete, all; else metering.ErrManifest. That the files on a disk are those is not asked.
func (m ExportManifest) Verify(key func(id string) (ed25519.PublicKey, error)) error {
	signed := func(what, id, text, signature string) error {
		k, err := key(id)
		if err == nil {
			err = metering.VerifyText(k, id, text, signature)
		}
		if err != nil {
			return fmt.Errorf("%s: %w", what, err)
		}
		return nil
	}
	if err := signed("plan", m.Plan.KeyID, m.Plan.Text(), m.Plan.Signature); err != nil {
		return err
	}
	missing := map[string]ExportFile{}
	for _, want := range m.Plan.Wanted() {
		missing[want.Path()] = want
	}
	for _, f := range m.Files {
		want, ok := missing[f.Path()]
		if !ok || !f.Belongs(want) {
			return fmt.Errorf("%w: file %s is not the plan's, or is there twice", metering.ErrManifest, f.Path())
		}
		delete(missing, f.Path())
		if err := signed(f.Path(), f.KeyID, f.Text(), f.Signature); err != nil {
			return err
		}
	}
	if len(missing) > 0 && !m.EndedAt.IsZero() {
		return fmt.Errorf("%w: %d files of the plan are missing", metering.ErrManifest, len(missing))
	}
	return nil
}
