package control

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/headgate-io/headgate/internal/tenant"
	"github.com/headgate-io/headgate/internal/timetest"
	"github.com/headgate-io/headgate/metering"
	"github.com/headgate-io/headgate/storage"
)

func (f *telemetry) Schema(context.Context) (int, error) { return 2, nil }

func (f *telemetry) Parts(_ context.Context, id tenant.ID, _ storage.ExportSpan) ([]storage.ExportPart, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return []storage.ExportPart{{Table: "otel_logs", Day: "2026-11-22", Rows: f.rows[id.String()]}}, f.failing
}

func (f *telemetry) CountPart(ctx context.Context, id tenant.ID, table, day string, _ time.Time) (uint64, error) {
	if table != "otel_logs" || day != "2026-11-22" {
		return 0, storage.ErrNoPart
	}
	parts, err := f.Parts(ctx, id, storage.ExportSpan{})
	return parts[0].Rows, err
}

// WritePart writes a line for each row.
func (f *telemetry) WritePart(ctx context.Context, id tenant.ID, table, day string, before time.Time, w io.Writer) error {
	n, err := f.CountPart(ctx, id, table, day, before)
	for range n {
		if _, err := fmt.Fprintln(w, id); err != nil {
			return err
		}
		if f.between != nil {
			f.between()
		}
	}
	return errors.Join(err, f.cutOff)
}

// part reads a part of an export to its end.
func (s *server) part(token, path string) (body []byte, trailer string, err error) {
	s.t.Helper()
	req, err := http.NewRequestWithContext(s.t.Context(), "GET", s.url+path, nil)
	if err != nil {
		s.t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+token)
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return nil, "", err
	}
	defer resp.Body.Close()
	body, err = io.ReadAll(resp.Body)
	return body, resp.Trailer.Get(ExportTrailer), err
}

func (s *server) exportKey() func(string) (ed25519.PublicKey, error) {
	keys := ok[ExportKeys](s, 200, s.operator, "GET", "/api/v1/usage/export/key", "")
	raw, err := base64.StdEncoding.DecodeString(keys.PublicKey)
	return func(string) (ed25519.PublicKey, error) { return raw, err }
}

// What a plan and a file say is signed; a changed word shows, and so do a file too few and one of another export.
func TestExportsAreSigned(t *testing.T) {
	s := start(t)
	acme := ok[Tenant](s, 201, s.operator, "POST", "/api/v1/tenants", `{"name":"acme"}`)
	s.telemetry.set(acme.ID, 3)
	plan := ok[ExportPlan](s, 200, s.operator, "POST", "/api/v1/tenants/acme/export", `{"from":"2026-11-01"}`)
	if plan.TenantID != acme.ID || plan.Schema != 2 || plan.MadeBy != "operator" || len(plan.Tables) != 1 || plan.Tables[0].Rows != 3 || s.clock.Now().Sub(plan.ReceivedBefore) < 30*time.Second {
		t.Errorf("plan %+v", plan)
	}
	m := ExportManifest{Version: 1, Plan: plan, EndedAt: s.clock.Now()}
	for _, want := range plan.Wanted() {
		path := "/api/v1/tenants/acme/export/state/" + want.Table
		if want.Day != "" {
			path = "/api/v1/tenants/acme/export/tables/" + want.Table + "/" + want.Day + "?received_before=" + plan.ReceivedBefore.Format(time.RFC3339)
		}
		body, said, err := s.part(s.operator, path)
		var f ExportFile
		if err != nil || json.Unmarshal([]byte(said), &f) != nil {
			t.Fatalf("%s: %v, trailer %q, %s", path, err, said, body)
		}
		if sum := sha256.Sum256(body); f.Bytes != int64(len(body)) || f.SHA256 != hex.EncodeToString(sum[:]) || f.Rows != int64(bytes.Count(body, []byte("\n"))) {
			t.Errorf("%s: %+v of %q", path, f, body)
		}
		m.Files = append(m.Files, f)
	}
	key := s.exportKey()
	if err := m.Verify(key); err != nil {
		t.Fatal(err)
	}
	for name, change := range map[string]func(m *ExportManifest){
		"another tenant":  func(m *ExportManifest) { m.Plan.TenantID = "x" },
		"a later moment":  func(m *ExportManifest) { m.Plan.ReceivedBefore = m.Plan.ReceivedBefore.Add(time.Second) },
		"a table less":    func(m *ExportManifest) { m.Plan.Tables, m.Files = nil, m.Files[:len(m.Files)-1] },
		"a log that is":   func(m *ExportManifest) { m.Plan.Away = []string{"x"} },
		"a file less":     func(m *ExportManifest) { m.Files = m.Files[1:] },
		"a file twice":    func(m *ExportManifest) { m.Files = append(m.Files[:1:1], m.Files...) },
		"rows":            func(m *ExportManifest) { m.Files[0].Rows++ },
		"a hash":          func(m *ExportManifest) { m.Files[0].SHA256 = strings.Repeat("0", 64) },
		"another's file":  func(m *ExportManifest) { m.Files[0].TenantID = "x" },
		"another key's":   func(m *ExportManifest) { m.Plan.KeyID = "x" },
		"no signature":    func(m *ExportManifest) { m.Files[0].Signature = "" },
		"a file's moment": func(m *ExportManifest) { m.Files[len(m.Files)-1].ReceivedBefore = time.Time{} },
	} {
		changed := m
		changed.Files = append([]ExportFile{}, m.Files...)
		if change(&changed); !errors.Is(changed.Verify(key), metering.ErrManifest) {
			t.Errorf("%s: %v", name, changed.Verify(key))
		}
	}
	other := ok[Tenant](s, 201, s.operator, "POST", "/api/v1/tenants", `{"name":"other"}`)
	_, said, _ := s.part(s.operator, "/api/v1/tenants/other/export/state/users")
	var foreign ExportFile
	if err := json.Unmarshal([]byte(said), &foreign); err != nil || foreign.TenantID != other.ID {
		t.Fatalf("%v, %q", err, said)
	}
	for i := range m.Files {
		if m.Files[i].Table == "users" {
			m.Files[i] = foreign
		}
	}
	if err := m.Verify(key); !errors.Is(err, metering.ErrManifest) {
		t.Errorf("with another tenant's file: %v", err)
	}
}

// A part that breaks off, or whose reader may not read it any more, ends without its trailer.
func TestAPartThatBreaksOffHasNoTrailer(t *testing.T) {
	s := start(t)
	acme := ok[Tenant](s, 201, s.operator, "POST", "/api/v1/tenants", `{"name":"acme"}`)
	s.telemetry.set(acme.ID, 3)
	const path = "/api/v1/tenants/acme/export/tables/otel_logs/2026-11-22"
	s.telemetry.cutOff = storage.ErrCutOff
	if body, said, err := s.part(s.operator, path); err == nil || said != "" {
		t.Errorf("cut off: %q, %q, %v", body, said, err)
	}
	s.telemetry.cutOff = nil
	s.telemetry.fail(errors.New("clickhouse is away"))
	s.refused(503, "export-unavailable", s.operator, "GET", path, "")
	s.refused(503, "export-unavailable", s.operator, "POST", "/api/v1/tenants/acme/export", "{}")
	s.telemetry.fail(nil)

	s.user("acme", "rosa@example.com", "root-admin") // one has to stay
	user := s.user("acme", "rita@example.com", "root-admin")
	now, begun := s.clock.Now(), 0
	s.api.Now = func() time.Time { return now }
	s.telemetry.between = func() {
		if begun++; begun == 1 {
			ok[User](s, 200, s.operator, "POST", "/api/v1/users/"+user.User.ID+"/deactivate", "")
		}
		now = now.Add(time.Second)
	}
	if body, said, err := s.part(user.Token, path); said != "" || begun != 1 { // a client may ask again, and is answered 401
		t.Errorf("of a user who was deactivated: %q, %q, %v after %d rows", body, said, err, begun)
	}
}

func TestExportsAreOfWhatIsSettledAlone(t *testing.T) {
	pending := timetest.NewRunning().Now().Add(-time.Hour).UTC()
	s := startPending(t, func() (time.Time, bool) { return pending, true })
	ok[Tenant](s, 201, s.operator, "POST", "/api/v1/tenants", `{"name":"acme"}`)
	if plan := ok[ExportPlan](s, 200, s.operator, "POST", "/api/v1/tenants/acme/export", "{}"); !plan.ReceivedBefore.Equal(pending.Truncate(time.Second)) {
		t.Errorf("received before %v, want %v", plan.ReceivedBefore, pending)
	}
	const path = "/api/v1/tenants/acme/export/tables/otel_logs/2026-11-22?received_before="
	late, early := pending.Add(time.Second).Format(time.RFC3339), pending.Add(-time.Hour).Format(time.RFC3339)
	s.refused(409, "export-early", s.operator, "GET", path+late, "")
	s.refused(409, "export-early", s.operator, "POST", "/api/v1/tenants/acme/export", `{"received_before":"`+late+`"}`)
	if plan := ok[ExportPlan](s, 200, s.operator, "POST", "/api/v1/tenants/acme/export", `{"received_before":"`+early+`"}`); plan.ReceivedBefore.Format(time.RFC3339) != early {
		t.Errorf("received before %v, want %v", plan.ReceivedBefore, early)
	}
	s.refused(400, "invalid-argument", s.operator, "GET", path+"now", "")
	s.refused(400, "invalid-argument", s.operator, "POST", "/api/v1/tenants/acme/export", `{"from":"yesterday"}`)
	s.refused(404, "not-found", s.operator, "GET", "/api/v1/tenants/acme/export/tables/otel_logs/all", "")
	s.refused(404, "not-found", s.operator, "GET", "/api/v1/tenants/acme/export/state/sessions", "")
	s.api.exports.Store(maxExports)
	s.refused(503, "export-busy", s.operator, "GET", path, "")
	if n := s.api.exports.Load(); n != maxExports {
		t.Errorf("%d exports are counted, want %d", n, maxExports)
	}
}

// No name that a server gives leads out of the directory.
func TestExportPathsStayWithin(t *testing.T) {
	for _, name := range []string{"..", "../x", ".", "/etc/passwd", `..\x`, "a/../../b"} {
		for _, f := range []ExportFile{{Table: name}, {Table: name, Day: "all"}, {Table: "otel_logs", Day: name}} {
			for part := range strings.SplitSeq(f.Path(), "/") {
				if part == "" || part == "." || part == ".." {
					t.Errorf("path %q of %+v", f.Path(), f)
				}
			}
			if n := strings.Count(f.Path(), "/"); n > 2 {
				t.Errorf("path %q of %+v", f.Path(), f)
			}
		}
	}
}
