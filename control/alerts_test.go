package control

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/headgate-io/headgate/internal/store"
	"github.com/headgate-io/headgate/internal/tenant"
	"github.com/headgate-io/headgate/internal/timetest"
	"github.com/headgate-io/headgate/metering"
	"github.com/headgate-io/headgate/metering/alert"
)

// sender is one tenant with a key of each kind.
type sender struct{ name, id, ingest, usage, admin string }

func (s *server) sender(name, parent string) sender {
	s.t.Helper()
	raw, _ := json.Marshal(map[string]any{"name": name, "parent": parent})
	made := ok[Tenant](s, 201, s.operator, "POST", "/api/v1/tenants", string(raw))
	return sender{name, made.ID, s.key(name, "ingest"), s.key(name, "usage"), s.key(name, "admin")}
}

// refuse counts a refusal of the key, as the edge does.
func (s *server) refuse(key string, reason metering.Reason) {
	s.t.Helper()
	p, err := s.api.Directory.Authenticate(key)
	if err != nil {
		s.t.Fatal(err)
	}
	s.api.Ledger.CountRefused(metering.Refusal{Tenant: p.Tenant(), Key: p.KeyID(), Signal: metering.Logs, At: s.clock.Now(), Bytes: 10,
		Records: 2, Reason: reason, Limit: &metering.LimitError{LimitID: metering.LimitTenant, Kind: tenant.DailyBytes, Owner: tenant.OwnerTenant, Limit: 100,
			Used: 95, Reset: s.clock.Now().Add(time.Hour)}})
}

func TestDecisionsTellWhyAndTellNobodyElse(t *testing.T) {
	s := start(t)
	acme, globex := s.sender("acme", ""), s.sender("globex", "")
	s.refuse(acme.ingest, metering.DroppedAtLimit)
	s.refuse(acme.usage, metering.Reason(metering.LimitTenant)) // another key of the tenant
	s.refuse(globex.ingest, metering.Reason(metering.LimitKey))
	list := func(token, query string) []metering.RefusalCount {
		t.Helper()
		return ok[metering.Refusals](s, 200, token, "GET", "/api/v1/decisions"+query, "").Rows
	}
	timetest.Eventually(t, "they are counted", func() bool { return len(list(s.operator, "")) == 3 })
	rows := list(acme.usage, "")
	if len(rows) != 2 || rows[0].TenantID != acme.id || rows[1].TenantID != acme.id {
		t.Errorf("acme sees %+v", rows)
	}
	own := list(acme.ingest, "")
	if len(own) != 1 || own[0].Reason != metering.DroppedAtLimit || own[0].Records != 2 || own[0].Tenant != "acme" ||
		!strings.Contains(own[0].Text, "used 95 of 100") {
		t.Errorf("acme's sending key sees %+v", own)
	}
	s.refused(403, "key-scope", acme.ingest, "GET", "/api/v1/decisions?key="+rows[0].Key+"x", "")
	s.refused(403, "key-scope", acme.admin, "GET", "/api/v1/decisions", "")
	for _, c := range []struct {
		query string
		want  int
	}{
		{"?reason=dropped-at-limit", 1}, {"?reason=limit-daily-bytes-key", 0}, {"?key=" + own[0].Key, 1}, {"?tenant=ACME", 2},
		{"?tenant=" + acme.id, 2}, {"?from=2999-01-01", 0}, {"?to=2001-01-01", 0}, {"?limit=1", 1},
	} {
		if got := list(acme.usage, c.query); len(got) != c.want {
			t.Errorf("%s: %+v, want %d", c.query, got, c.want)
		}
	}
	if got := list(s.operator, "?tenant=globex"); len(got) != 1 || got[0].TenantID != globex.id {
		t.Errorf("the operator sees %+v of globex", got)
	}
	for _, bad := range []string{"?reason=A", "?key=%00", "?cursor=x", "?from=yesterday", "?limit=0"} {
		s.refused(400, "invalid-argument", acme.usage, "GET", "/api/v1/decisions"+bad, "")
	}
}

// TestAlertsAndWebhooksAreTheTenantsOwn: what is elsewhere answers as if it were not there, to the byte.
func TestAlertsAndWebhooksAreTheTenantsOwn(t *testing.T) {
	s := start(t)
	acme, child, globex := s.sender("acme", ""), s.sender("child", "acme"), s.sender("globex", "")
	for _, x := range []sender{acme, child, globex} {
		err := s.db.Update(t.Context(), func(tx *store.Tx) error {
			return alert.Record(t.Context(), tx, alert.Event{Tenant: x.id, Kind: alert.DailyBytes, Owner: alert.OwnerTenant, OwnerID: x.id,
				LimitID: metering.LimitTenant, Day: 20000, Threshold: 80, Used: 80, Max: 100, At: s.clock.Now()})
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	hook := func(token string) NewWebhook {
		return ok[NewWebhook](s, 201, token, "POST", "/api/v1/webhooks", `{"url":"http://127.0.0.1:1/x"}`)
	}
	theirs, operators := hook(globex.admin), hook(s.operator)
	missing := "01ARZ3NDEKTSV4RRFFQ69G5FAV"
	for _, c := range []struct{ token, method, path, there, missing, body string }{
		{acme.admin, "GET", "/api/v1/webhooks/%", theirs.ID, missing, ""},
		{acme.admin, "GET", "/api/v1/webhooks/%", operators.ID, missing, ""},
		{acme.admin, "PATCH", "/api/v1/webhooks/%", theirs.ID, missing, `{"enabled":false}`},
		{acme.admin, "DELETE", "/api/v1/webhooks/%", theirs.ID, missing, ""},
		{acme.admin, "POST", "/api/v1/webhooks/%/test", theirs.ID, missing, ""},
		{acme.admin, "GET", "/api/v1/webhooks?tenant=%", "globex", "nobody", ""},
		{acme.admin, "GET", "/api/v1/webhooks?tenant=%", "child", "nobody", ""},
		{acme.admin, "POST", "/api/v1/webhooks", "globex", "nobody", `{"url":"http://127.0.0.1:1","tenant":"%"}`},
		{acme.usage, "GET", "/api/v1/alerts?tenant=%", "globex", "nobody", ""},
		{acme.usage, "GET", "/api/v1/alerts?tenant=%", "child", "nobody", ""},
		{child.usage, "GET", "/api/v1/alerts?tenant=%", "acme", "nobody", ""},
		{acme.usage, "GET", "/api/v1/decisions?tenant=%", "globex", "nobody", ""},
	} {
		at := func(ref string) (int, string) {
			status, text := s.call(c.token, c.method, strings.ReplaceAll(c.path, "%", ref), strings.ReplaceAll(c.body, "%", ref))
			return status, strings.ReplaceAll(text, ref, "%") // what the caller sent may come back
		}
		status, text := at(c.there)
		absent, absentText := at(c.missing)
		if status != 404 || status != absent || text != absentText {
			t.Errorf("%s %s: there %d %s, missing %d %s", c.method, c.path, status, text, absent, absentText)
		}
	}
	for _, x := range []sender{acme, child, globex} {
		if got := ok[Alerts](s, 200, x.usage, "GET", "/api/v1/alerts", "").Alerts; len(got) != 1 || got[0].TenantID != x.id || got[0].Tenant != x.name {
			t.Errorf("%s sees %+v", x.name, got)
		}
	}
	if got := ok[Alerts](s, 200, s.operator, "GET", "/api/v1/alerts?limit=2", ""); len(got.Alerts) != 2 || got.Next == "" {
		t.Errorf("the operator's first page %+v", got)
	} else if rest := ok[Alerts](s, 200, s.operator, "GET", "/api/v1/alerts?limit=2&cursor="+got.Next, ""); len(rest.Alerts) != 1 || rest.Next != "" {
		t.Errorf("the operator's second page %+v", rest)
	}
	for query, want := range map[string]int{"?kind=limit.storage": 0, "?kind=limit.daily_bytes": 1, "?threshold=80": 1, "?threshold=90": 0, "?to=2001-01-01": 0, "?from=2001-01-01": 1} {
		if got := ok[Alerts](s, 200, acme.usage, "GET", "/api/v1/alerts"+query, "").Alerts; len(got) != want {
			t.Errorf("%s: %+v, want %d", query, got, want)
		}
	}
	for _, bad := range []string{"?kind=x", "?threshold=x", "?threshold=0", "?cursor=%00", "?from=x"} {
		s.refused(400, "invalid-argument", acme.usage, "GET", "/api/v1/alerts"+bad, "")
	}
	s.refused(403, "key-scope", acme.ingest, "GET", "/api/v1/alerts", "")
	s.refused(403, "key-scope", acme.usage, "GET", "/api/v1/webhooks", "")
	if got := ok[Webhooks](s, 200, acme.admin, "GET", "/api/v1/webhooks", "").Webhooks; len(got) != 0 {
		t.Errorf("acme lists %+v", got)
	}
	if got := ok[Webhooks](s, 200, s.operator, "GET", "/api/v1/webhooks", "").Webhooks; len(got) != 2 || got[0].Tenant != "globex" || got[1].Tenant != "" {
		t.Errorf("the operator lists %+v", got)
	}
}

func TestWebhookLifeIsAuditedAndItsSecretShownOnce(t *testing.T) {
	s := start(t)
	acme := s.sender("acme", "")
	var bodies []string
	got := make(chan string, 10)
	target := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		raw, _ := io.ReadAll(r.Body)
		got <- string(raw)
	}))
	defer target.Close()
	path := "/token-in-the-path"
	made := ok[NewWebhook](s, 201, acme.admin, "POST", "/api/v1/webhooks", `{"url":"`+target.URL+path+`","kinds":["limit.daily_bytes"]}`)
	if !strings.HasPrefix(made.Secret, "whsec_") || made.Tenant != "acme" || made.Status != "active" {
		t.Errorf("made %+v", made)
	}
	tested := ok[alert.TestResult](s, 200, acme.admin, "POST", "/api/v1/webhooks/"+made.ID+"/test", "")
	if !tested.Delivered || tested.Status != 200 {
		t.Errorf("tested %+v", tested)
	}
	bodies = append(bodies, <-got)

	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- s.api.Alerts.Run(ctx) }()
	err := s.db.Update(t.Context(), func(tx *store.Tx) error {
		return alert.Record(t.Context(), tx, alert.Event{Tenant: acme.id, Kind: alert.DailyBytes, Day: 20000, Threshold: 80, At: s.clock.Now()})
	})
	if err != nil {
		t.Fatal(err)
	}
	bodies = append(bodies, <-got)
	timetest.Eventually(t, "the delivery is recorded", func() bool {
		a := ok[Alerts](s, 200, acme.usage, "GET", "/api/v1/alerts", "").Alerts
		return len(a) == 1 && len(a[0].Deliveries) == 1 && a[0].Deliveries[0].State == alert.StateDelivered
	})
	timetest.Eventually(t, "the event is in the audit", func() bool {
		_, audit := s.call(acme.admin, "GET", "/api/v1/audit", "")
		return strings.Contains(audit, `"action":"alert"`)
	})
	cancel()
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	off := ok[Webhook](s, 200, acme.admin, "PATCH", "/api/v1/webhooks/"+made.ID, `{"enabled":false}`)
	if off.Status != "disabled" || off.URL != target.URL+path {
		t.Errorf("disabled %+v", off)
	}
	s.refused(400, "invalid-argument", acme.admin, "PATCH", "/api/v1/webhooks/"+made.ID, `{"url":"ftp://x"}`)
	s.refused(400, "invalid-argument", acme.admin, "POST", "/api/v1/webhooks", `{"url":"https://u:p@example.com"}`)
	s.refused(400, "invalid-argument", acme.admin, "POST", "/api/v1/webhooks", `{"url":"https://example.com","kinds":["x"]}`)
	if status, text := s.call(s.operator, "DELETE", "/api/v1/webhooks/"+made.ID, ""); status != 204 {
		t.Errorf("delete: %d %s", status, text)
	}
	s.refused(404, "not-found", acme.admin, "GET", "/api/v1/webhooks/"+made.ID, "")

	_, audit := s.call(acme.admin, "GET", "/api/v1/audit", "")
	for _, want := range []string{`"webhook.create"`, `"webhook.set"`, `"webhook.delete"`, `"action":"alert"`, `"actor":"system"`} {
		if strings.Count(audit, want) != 1 {
			t.Errorf("the audit has %d times %s: %s", strings.Count(audit, want), want, audit)
		}
	}
	secret := strings.TrimPrefix(made.Secret, "whsec_")
	for _, text := range append(bodies, audit) {
		if strings.Contains(text, secret) || strings.Contains(text, path) {
			t.Errorf("the secret or the path is in %s", text)
		}
	}
}

func TestUsersThatFillALimitAreEventsOfItsTenant(t *testing.T) {
	s := start(t)
	ok[Tenant](s, 201, s.operator, "POST", "/api/v1/tenants", `{"name":"provider","max_users":20}`)
	ok[Tenant](s, 201, s.operator, "POST", "/api/v1/tenants", `{"name":"acme","parent":"provider","max_users":10}`)
	add := func(i int) (int, string) {
		return s.call(s.operator, "POST", "/api/v1/users", fmt.Sprintf(`{"tenant":"acme","email":"u%d@acme.example","role":"viewer"}`, i))
	}
	told := func(tenant string) string {
		var out []string
		for _, a := range ok[Alerts](s, 200, s.operator, "GET", "/api/v1/alerts?kind=limit.users&tenant="+tenant, "").Alerts {
			out = append(out, fmt.Sprintf("%d%% %d/%d", a.Threshold, a.Used, a.Max))
		}
		slices.Reverse(out)
		return strings.Join(out, ", ")
	}
	for i := range 4 {
		if status, text := add(i); status != 201 {
			t.Fatal(status, text)
		}
	}
	if got := told("acme"); got != "" {
		t.Errorf("below half: %s", got)
	}
	if status, text := add(0); status != 409 || !strings.Contains(text, "email-taken") { // would be the fifth
		t.Fatal(status, text)
	}
	if got := told("acme"); got != "" {
		t.Errorf("a user who was not added: %s", got)
	}
	for i := range 6 {
		if status, text := add(4 + i); status != 201 {
			t.Fatal(status, text)
		}
	}
	if status, text := add(10); status != 409 || !strings.Contains(text, "limit-users") {
		t.Fatal(status, text)
	}
	if got := told("acme"); got != "50% 5/10, 80% 8/10, 90% 9/10, 100% 10/10" {
		t.Errorf("acme: %s", got)
	}
	if got := told("provider"); got != "50% 10/20" {
		t.Errorf("provider: %s", got)
	}
}
