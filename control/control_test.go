package control

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/headgate-io/headgate/auth"
	"github.com/headgate-io/headgate/auth/saved"
	"github.com/headgate-io/headgate/internal/store"
	"github.com/headgate-io/headgate/internal/store/storetest"
	"github.com/headgate-io/headgate/internal/tenant"
	"github.com/headgate-io/headgate/internal/timetest"
	"github.com/headgate-io/headgate/metering"
	"github.com/headgate-io/headgate/metering/alert"
)

// server is the API on a socket, with real state behind it.
type server struct {
	t        *testing.T
	db       *store.DB
	url      string
	operator string
	api      *API
	kept     map[string]int64
	clock    *timetest.Running // of all that the server does

	telemetry *telemetry
}

func start(t *testing.T) *server {
	t.Helper()
	return startPending(t, nil)
}

// startPending starts a server whose ledger asks pending for what keeps its hours open.
func startPending(t *testing.T, pending func() (time.Time, bool)) *server {
	t.Helper()
	check := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	dir, clock := t.TempDir(), timetest.NewRunning()
	db, err := store.Open(storetest.Place(t))
	check(err)
	t.Cleanup(func() { _ = db.Close() })
	reg := prometheus.NewRegistry()
	directory, err := auth.Open(t.Context(), db, auth.Options{Now: clock.Now, Dir: dir, Registry: reg, UserUse: AlertUsers})
	check(err)
	token, err := os.ReadFile(filepath.Join(dir, "admin.token"))
	check(err)
	meter, err := metering.OpenMeter(t.Context(), db, clock.Now(), reg)
	check(err)
	s := &server{t: t, db: db, operator: strings.TrimSpace(string(token)), clock: clock}
	s.api = &API{
		Directory: directory, Ledger: metering.NewLedger(db, metering.LedgerOptions{Now: clock.Now, Pending: pending, Registry: reg}),
		Now: clock.Now, Log: slog.New(slog.DiscardHandler), Version: "test",
		Limits: func(_ context.Context, c metering.Charge, at time.Time) ([]metering.LimitState, error) {
			return meter.Limits(c, at)
		},
		Kept: func(id tenant.ID) (int64, bool) { n, ok := s.kept[id.String()]; return n, ok },
	}
	s.telemetry = &telemetry{rows: map[string]uint64{}}
	s.api.Deleter = &Deleter{Directory: directory, Telemetry: s.telemetry, Log: "test", Worker: "test", Now: clock.Now, Logger: s.api.Log, Patience: 2 * time.Second}
	s.api.Exporter = s.telemetry
	s.api.Alerts = alert.New(db, alert.Options{Now: clock.Now, Key: directory.DeriveKey("webhook secrets"), AllowPrivate: true, Audit: AuditAlert, Registry: reg})
	s.api.Saved, s.api.Queries = saved.New(directory, db, plainLanguages), echo
	s.api.Verifier = metering.NewVerifier(s.api.Ledger, noRows{}, reg)
	s.api.Signer, err = metering.OpenSigner(t.Context(), db, dir, clock.Now())
	check(err)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- s.api.Ledger.Run(ctx) }()
	t.Cleanup(func() { cancel(); <-done })
	deleted := make(chan error, 1)
	go func() { deleted <- s.api.Deleter.Run(ctx) }()
	t.Cleanup(func() { cancel(); <-deleted })
	mux := http.NewServeMux()
	s.api.Register(mux)
	srv := httptest.NewServer(mux)
	t.Cleanup(srv.Close)
	s.url = srv.URL
	return s
}

// call sends one request and returns the status and the body's text.
func (s *server) call(token, method, path, body string) (int, string) {
	s.t.Helper()
	status, _, text := s.exchange(token, method, path, body)
	return status, text
}

// exchange is call with the answer's header.
func (s *server) exchange(token, method, path, body string) (int, http.Header, string) {
	s.t.Helper()
	resp, text := s.request(token, method, path, body, nil)
	if resp.StatusCode >= 400 && resp.Header.Get("Content-Type") != "application/problem+json" {
		s.t.Errorf("%s %s: a refusal of type %q", method, path, resp.Header.Get("Content-Type"))
	}
	return resp.StatusCode, resp.Header, text
}

// ok calls and decodes an answer that must have the status.
func ok[T any](s *server, status int, token, method, path, body string) (v T) {
	s.t.Helper()
	got, text := s.call(token, method, path, body)
	if got != status {
		s.t.Fatalf("%s %s: %d %s, want %d", method, path, got, text, status)
	}
	if err := json.Unmarshal([]byte(text), &v); err != nil {
		s.t.Fatalf("%s %s: %v in %s", method, path, err, text)
	}
	return v
}

// refused checks a refusal's status and code.
func (s *server) refused(status int, code, token, method, path, body string) {
	s.t.Helper()
	got, text := s.call(token, method, path, body)
	var p struct{ Code string }
	if err := json.Unmarshal([]byte(text), &p); err != nil || got != status || p.Code != code {
		s.t.Errorf("%s %s %s: %d %s, want %d %s", method, path, body, got, text, status, code)
	}
}

func (s *server) key(tenantName string, scopes ...string) string {
	s.t.Helper()
	raw, _ := json.Marshal(map[string]any{"tenant": tenantName, "scopes": scopes})
	return ok[NewKey](s, 201, s.operator, "POST", "/api/v1/keys", string(raw)).Text
}

func TestTenantLifeCycle(t *testing.T) {
	s := start(t)
	parent := ok[Tenant](s, 201, s.operator, "POST", "/api/v1/tenants", `{"name":"Acme","daily_bytes":1000}`)
	if parent.Name != "acme" || *parent.DailyBytes != 1000 || parent.RetentionDays != 30 || parent.AtLimit != "refuse" || parent.Placement != "shared" {
		t.Errorf("created %+v", parent)
	}
	child := ok[Tenant](s, 201, s.operator, "POST", "/api/v1/tenants", `{"name":"acme-dev","parent":"acme","placement":"own","at_limit":"drop"}`)
	if child.Parent != "acme" || child.Partition != child.ID || child.DailyBytes != nil {
		t.Errorf("created %+v", child)
	}
	set := ok[Tenant](s, 200, s.operator, "PATCH", "/api/v1/tenants/acme", `{"retention_days":7}`)
	if set.RetentionDays != 7 || set.DailyBytes == nil {
		t.Errorf("a patch changed what it left out: %+v", set)
	}
	if set = ok[Tenant](s, 200, s.operator, "PATCH", "/api/v1/tenants/acme", `{"daily_bytes":null}`); set.DailyBytes != nil {
		t.Errorf("daily_bytes null is not unlimited: %+v", set)
	}
	if set = ok[Tenant](s, 200, s.operator, "PATCH", "/api/v1/tenants/acme", `{"keep_resends":true}`); !set.KeepResends {
		t.Errorf("keep_resends is not set: %+v", set)
	}
	if got := ok[Tenant](s, 200, s.operator, "PATCH", "/api/v1/tenants/acme", `{"retention_days":8}`); !got.KeepResends || child.KeepResends {
		t.Errorf("keep_resends is lost, or inherited: %+v, %+v", got, child)
	}
	if list := ok[Tenants](s, 200, s.operator, "GET", "/api/v1/tenants?limit=1", ""); len(list.Tenants) != 1 || list.Next == "" {
		t.Errorf("first page %+v", list)
	} else if rest := ok[Tenants](s, 200, s.operator, "GET", "/api/v1/tenants?limit=1&cursor="+list.Next, ""); len(rest.Tenants) != 1 || rest.Tenants[0].Name == list.Tenants[0].Name {
		t.Errorf("second page %+v", rest)
	}

	s.refused(409, "wrong-state", s.operator, "DELETE", "/api/v1/tenants/acme-dev", `{"confirm":"acme-dev"}`)
	ok[Tenant](s, 200, s.operator, "POST", "/api/v1/tenants/acme-dev/disable", "")
	s.refused(400, "invalid-argument", s.operator, "DELETE", "/api/v1/tenants/acme-dev", `{"confirm":"acme"}`)

	// A deletion that fails half way goes on where it stopped, by itself too.
	s.telemetry.set(child.ID, 5)
	s.telemetry.fail(errors.New("clickhouse is away"))
	deletion := "/api/v1/tenants/" + child.ID + "/deletion"
	for range 2 {
		status, header, text := s.exchange(s.operator, "DELETE", "/api/v1/tenants/acme-dev", `{"confirm":"acme-dev"}`)
		if status != 202 || header.Get("Location") != deletion || !strings.Contains(text, `"ended_at":null`) {
			t.Errorf("delete: %d, Location %s, %s", status, header.Get("Location"), text)
		}
	}
	if st := ok[Tenant](s, 200, s.operator, "GET", "/api/v1/tenants/acme-dev", "").Status; st != "deleting" {
		t.Errorf("status %s, want deleting", st)
	}
	timetest.Eventually(t, "the problem to be told", func() bool {
		d := ok[Deletion](s, 200, s.operator, "GET", deletion, "")
		return d.Step == "rows" && d.Problem == "clickhouse is away" && d.AskedBy == "operator" && d.Tenant == "acme-dev"
	})
	s.refused(409, "wrong-state", s.operator, "POST", "/api/v1/tenants/acme-dev/enable", "")
	s.telemetry.fail(nil)
	s.api.Deleter.Patience = time.Minute
	if status, text := s.call(s.operator, "DELETE", "/api/v1/tenants/acme-dev", `{"confirm":"acme-dev"}`); status != 204 {
		t.Errorf("delete: %d %s", status, text)
	}
	s.refused(404, "not-found", s.operator, "GET", "/api/v1/tenants/acme-dev", "")
	d := ok[Deletion](s, 200, s.operator, "GET", deletion, "")
	if c := d.Certificate; d.Step != "done" || c == nil || c.SHA256 != c.Sum() || c.Name != "acme-dev" || !slices.Contains(c.Removed, auth.Removed{Store: "clickhouse", Table: "otel_logs", Rows: 5}) {
		t.Errorf("deletion %+v, certificate %+v", d, d.Certificate)
	}
	if byName := ok[Deletion](s, 200, s.operator, "GET", "/api/v1/tenants/acme-dev/deletion", ""); byName.TenantID != child.ID {
		t.Errorf("deletion by name %+v", byName)
	}
	s.refused(404, "not-found", s.operator, "GET", "/api/v1/tenants/acme/deletion", "")
	audit := ok[AuditPage](s, 200, s.operator, "GET", "/api/v1/audit", "")
	if len(audit.Entries) < 8 || audit.Entries[0].Actor != "system" || audit.Entries[0].Action != "tenant.deleted" || audit.Entries[1].Actor != "operator" {
		t.Errorf("audit of %d entries begins with %+v", len(audit.Entries), audit.Entries[0])
	}
}

func TestBadRequestsAreRefusedByCode(t *testing.T) {
	s := start(t)
	ok[Tenant](s, 201, s.operator, "POST", "/api/v1/tenants", `{"name":"acme"}`)
	for _, c := range []struct {
		status int
		code   string
		method string
		path   string
		body   string
	}{
		{400, "invalid-argument", "POST", "/api/v1/tenants", `{"name":"two words"}`},
		{400, "invalid-argument", "POST", "/api/v1/tenants", `{"name":"аcme"}`}, // Cyrillic
		{400, "invalid-argument", "POST", "/api/v1/tenants", `{"name":"x","daily_bytes":-1}`},
		{400, "invalid-argument", "POST", "/api/v1/tenants", `{"name":"x","retention_days":4000}`},
		{400, "invalid-argument", "POST", "/api/v1/tenants", `{"name":"x","at_limit":"explode"}`},
		{400, "invalid-argument", "POST", "/api/v1/tenants", `{"name":"x","placement":"mine"}`},
		{409, "name-taken", "POST", "/api/v1/tenants", `{"name":"ACME"}`},
		{404, "not-found", "POST", "/api/v1/tenants", `{"name":"x","parent":"nobody"}`},
		{400, "body-invalid", "POST", "/api/v1/tenants", `{"nme":"x"}`},
		{400, "body-missing", "POST", "/api/v1/tenants", ``},
		{404, "not-found", "PATCH", "/api/v1/tenants/nobody", `{"retention_days":3}`},
		{404, "not-found", "POST", "/api/v1/keys", `{"tenant":"nobody","scopes":["ingest"]}`},
		{400, "invalid-argument", "POST", "/api/v1/keys", `{"tenant":"acme","scopes":[]}`},
		{400, "invalid-argument", "POST", "/api/v1/keys", `{"tenant":"acme","scopes":["root"]}`},
		{400, "invalid-argument", "POST", "/api/v1/keys", `{"tenant":"acme","scopes":["ingest"],"expires_at":"2001-01-01T00:00:00Z"}`},
		{400, "invalid-argument", "POST", "/api/v1/keys", `{"tenant":"acme","scopes":["ingest"],"cors_origins":["https://app.example/x"]}`},
		{400, "invalid-argument", "POST", "/api/v1/keys", `{"tenant":"acme","scopes":["ingest"],"client_certificates":["agent"]}`},
		{400, "invalid-argument", "POST", "/api/v1/keys", `{"tenant":"acme","scopes":["ingest","query"],"client_certificates":["spiffe://acme/agent"]}`},
		{404, "not-found", "DELETE", "/api/v1/keys/01J00000000000000000000000", ``},
		{400, "invalid-argument", "GET", "/api/v1/tenants?limit=0", ``},
		{400, "invalid-argument", "GET", "/api/v1/usage?from=yesterday", ``},
		{400, "invalid-argument", "GET", "/api/v1/usage?by=week", ``},
		{400, "invalid-argument", "GET", "/api/v1/usage?group=colour", ``},
		{400, "invalid-argument", "GET", "/api/v1/usage?format=xml", ``},
		{400, "invalid-argument", "GET", "/api/v1/usage?cursor=zzz", ``},
		{404, "path-not-found", "GET", "/api/v1/nothing", ``},
		{403, "forbidden", "GET", "/api/v1/limits", ``},
	} {
		s.refused(c.status, c.code, s.operator, c.method, c.path, c.body)
	}
	s.refused(401, "credential-missing", "", "GET", "/api/v1/tenants", "")
	s.refused(401, "key-unknown", "hg_nonsense", "GET", "/api/v1/tenants", "")
}

// TestKeyReachesItsOwnTenantOnly: ids and names of elsewhere answer as if they were not there, to the byte.
func TestKeyReachesItsOwnTenantOnly(t *testing.T) {
	s := start(t)
	for _, name := range []string{"acme", "globex"} {
		ok[Tenant](s, 201, s.operator, "POST", "/api/v1/tenants", `{"name":"`+name+`"}`)
	}
	acme := s.key("acme", "admin", "usage", "ingest")
	foreign := ok[NewKey](s, 201, s.operator, "POST", "/api/v1/keys", `{"tenant":"globex","scopes":["ingest"]}`)
	for _, c := range []struct{ method, path, there, missing, body string }{
		{"GET", "/api/v1/tenants/%", "globex", "nobody", ""},
		{"GET", "/api/v1/usage?tenant=%", "globex", "nobody", ""},
		{"GET", "/api/v1/keys?tenant=%", "globex", "nobody", ""},
		{"GET", "/api/v1/audit?tenant=%", "globex", "nobody", ""},
		{"DELETE", "/api/v1/keys/%", foreign.ID, "01J00000000000000000000000", ""},
		{"POST", "/api/v1/keys", "globex", "nobody", `{"tenant":"%","scopes":["ingest"]}`},
		{"POST", "/api/v1/tenants/%/disable", "globex", "nobody", ""},
		{"DELETE", "/api/v1/tenants/%", "globex", "nobody", `{"confirm":"globex"}`},
	} {
		at := func(ref string) (int, string) {
			status, text := s.call(acme, c.method, strings.ReplaceAll(c.path, "%", ref), strings.ReplaceAll(c.body, "%", ref))
			return status, strings.ReplaceAll(text, ref, "%") // what the caller sent may come back
		}
		status, text := at(c.there)
		missing, missingText := at(c.missing)
		if status < 400 || status != missing || text != missingText {
			t.Errorf("%s %s: there %d %s, missing %d %s", c.method, c.path, status, text, missing, missingText)
		}
	}
	if list := ok[Tenants](s, 200, acme, "GET", "/api/v1/tenants", ""); len(list.Tenants) != 1 || list.Tenants[0].Name != "acme" {
		t.Errorf("acme lists %+v", list.Tenants)
	}
	if _, text := s.call(acme, "GET", "/api/v1/audit", ""); strings.Contains(text, "globex") {
		t.Errorf("acme's audit tells of globex: %s", text)
	}
	if list := ok[Keys](s, 200, acme, "GET", "/api/v1/keys", ""); len(list.Keys) != 1 || list.Keys[0].Tenant != "acme" {
		t.Errorf("acme lists keys %+v", list.Keys)
	}
	if list := ok[Keys](s, 200, s.operator, "GET", "/api/v1/keys", ""); len(list.Keys) != 2 {
		t.Errorf("the operator lists keys %+v", list.Keys)
	}
	// Within its tenant an admin key makes keys, but not with a scope it lacks.
	ok[NewKey](s, 201, acme, "POST", "/api/v1/keys", `{"scopes":["ingest"]}`)
	s.refused(403, "forbidden", acme, "POST", "/api/v1/keys", `{"scopes":["query"]}`)
	s.refused(403, "forbidden", acme, "POST", "/api/v1/tenants", `{"name":"mine"}`)
	// Scopes open their own doors only.
	ingest := s.key("acme", "ingest")
	for _, path := range []string{"/api/v1/tenants", "/api/v1/keys", "/api/v1/usage", "/api/v1/audit"} {
		s.refused(403, "key-scope", ingest, "GET", path, "")
	}
	ok[Limits](s, 200, ingest, "GET", "/api/v1/limits", "")
}

func TestUsageIsTheCallersOwn(t *testing.T) {
	s := start(t)
	for _, name := range []string{"acme", "globex"} {
		made := ok[Tenant](s, 201, s.operator, "POST", "/api/v1/tenants", `{"name":"`+name+`"}`)
		key := s.key(name, "usage")
		p, err := s.api.Directory.Authenticate(key)
		if err != nil {
			t.Fatal(err)
		}
		_, err = s.api.Ledger.Apply(t.Context(), name, 1, []metering.Receipt{{
			Tenant: p.Tenant(), Key: p.KeyID(), Signal: metering.Logs, ReceivedAt: s.clock.Now(), BilledBytes: 10, Records: 2,
		}})
		if err != nil {
			t.Fatal(err)
		}
		u := ok[metering.Usage](s, 200, key, "GET", "/api/v1/usage?group=signal,key&by=hour", "")
		if len(u.Rows) != 1 || u.Rows[0].TenantID != made.ID || u.Rows[0].Tenant != name || u.Rows[0].BilledBytes != 10 || u.Rows[0].Signal != "logs" {
			t.Errorf("usage of %s: %+v", name, u.Rows)
		}
	}
	if u := ok[metering.Usage](s, 200, s.operator, "GET", "/api/v1/usage", ""); len(u.Rows) != 2 {
		t.Errorf("the operator sees %+v", u.Rows)
	}
	if u := ok[metering.Usage](s, 200, s.operator, "GET", "/api/v1/usage?tenant=acme", ""); len(u.Rows) != 1 {
		t.Errorf("the operator sees %+v of acme", u.Rows)
	}
	if _, text := s.call(s.operator, "GET", "/api/v1/usage?format=csv", ""); !strings.HasPrefix(text, "start,end,tenant,") || strings.Count(text, "\n") != 3 {
		t.Errorf("csv:\n%s", text)
	}
}

// TestOpenAPIDocumentNamesEveryRoute walks the document and calls each path: none may answer that it is not served.
func TestOpenAPIDocumentNamesEveryRoute(t *testing.T) {
	s := start(t)
	doc := ok[struct {
		OpenAPI    string
		Paths      map[string]map[string]any
		Components struct{ Schemas map[string]any }
	}](s, 200, s.operator, "GET", "/api/openapi.json", "")
	if doc.OpenAPI != "3.1.0" || len(doc.Paths) < 10 || doc.Components.Schemas["Tenant"] == nil || doc.Components.Schemas["Row"] == nil {
		t.Errorf("document %s, %d paths", doc.OpenAPI, len(doc.Paths))
	}
	for path, methods := range doc.Paths {
		if path == "/api/v1/query" {
			continue // served by package query
		}
		for method := range methods {
			_, text := s.call(s.operator, strings.ToUpper(method), strings.NewReplacer("{tenant}", "x", "{key}", "x").Replace(path), "{}")
			if strings.Contains(text, "path-not-found") {
				t.Errorf("%s %s is not served", method, path)
			}
		}
	}
}
