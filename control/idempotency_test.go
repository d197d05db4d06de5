package control

import (
	"errors"
	"testing"
)

// A request that was refused or only read gives its idempotency key back, though that it looked into another tenant is recorded.
func TestRecordedReadsDoNotUseIdempotencyKeysUp(t *testing.T) {
	s := start(t)
	ok[Tenant](s, 201, s.operator, "POST", "/api/v1/tenants", `{"name":"acme"}`)
	ok[Tenant](s, 201, s.operator, "POST", "/api/v1/tenants", `{"name":"acme-dev","parent":"acme"}`)
	root, dev := s.user("acme", "root@example.com", "root-admin"), s.user("acme-dev", "dev@example.com", "editor")
	query := ok[SavedQuery](s, 201, dev.Token, "POST", "/api/v1/saved-queries", `{"name":"errors","sharing":"tenant","query":"logs"}`)
	s.telemetry.fail(errors.New("clickhouse is away"))
	for name, c := range map[string]struct {
		path, body string
		want       int
	}{
		"a webhook of no URL": {"/api/v1/webhooks", `{"tenant":"acme-dev","url":"nowhere"}`, 400},
		"a query that is run": {"/api/v1/saved-queries/" + query.ID + "/run", `{}`, 200},
		"an export":           {"/api/v1/tenants/acme-dev/export", `{}`, 503},
	} {
		for i := range 3 {
			resp, text := s.request(root.Token, "POST", c.path, c.body, map[string]string{"Idempotency-Key": name})
			if resp.StatusCode != c.want {
				t.Errorf("%s, time %d: %d %s, want %d", name, i+1, resp.StatusCode, text, c.want)
			}
		}
	}
	if n := s.count(`SELECT COUNT(*) FROM idempotency`); n != 0 {
		t.Errorf("%d keys are used up", n)
	}
	entries := ok[AuditPage](s, 200, s.operator, "GET", "/api/v1/audit?tenant=acme-dev&actor=user:"+root.User.ID, "").Entries
	if len(entries) != 9 {
		t.Errorf("%d of 9 reads are recorded", len(entries))
	}
}
