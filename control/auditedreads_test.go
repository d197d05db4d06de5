package control

import (
	"net/http"
	"slices"
	"strings"
	"testing"
)

// untold are endpoints whose reads are not told in another tenant's audit, with why.
var untold = map[string]string{
	"GET /api/v1/tenants":                   "a list over all that the caller reaches",
	"GET /api/v1/query/scope":               "names of tenants, as in the list of them",
	"GET /api/v1/tenants/{tenant}/deletion": "the certificate is in the audit; who waits for the end asks again and again",
	"GET /api/v1/usage/export/key":          "the deployment's",
	"GET /api/v1/session":                   "the caller's own",
	"GET /api/v1/account":                   "the caller's own",
	"GET /api/v1/account/sessions":          "the caller's own",
	"GET /api/v1/limits":                    "of the calling key",
	"GET /api/v1/usage/replicas":            "the operator's",
	"GET /api/v1/usage/verify":              "the operator's",
	"POST /api/v1/usage/verify":             "the operator's",
}

// readsByPost are endpoints that read though their method is not GET.
var readsByPost = []string{"POST /api/v1/audit/verify", "POST /api/v1/saved-queries/{query}/run", "POST /api/v1/dashboards/{dashboard}/panels/{panel}/run",
	"POST /api/v1/usage/verify", "POST /api/v1/webhooks/{webhook}/test", "POST /api/v1/tenants/{tenant}/export"}

// Whatever a user reads of another tenant is told in the audit of both, each time; of their own it is not told that they read it.
func TestEveryReadOfAnotherTenantIsToldInBoth(t *testing.T) {
	m := newMatrix(t)
	all := m.endpoints()
	slices.SortFunc(all, func(a, b endpoint) int { return strings.Compare(a.path+a.method, b.path+b.method) })
	asked := 0
	for _, e := range all {
		name := e.method + " " + e.path
		if e.method != http.MethodGet && !slices.Contains(readsByPost, name) || strings.HasPrefix(e.path, "/api/v1/oidc/") {
			continue
		}
		for _, c := range []struct {
			place string
			told  int // in each of the tenant and the home
		}{{"child", 1}, {"own", 0}} {
			path, body := m.request(e, c.place).text()
			if strings.HasSuffix(e.path, "/run") {
				body = `{"tenants":["org-` + c.place + `"]}`
			}
			for range 2 {
				home, there := m.told("own", c.place), m.told("child", c.place)
				status, text := m.ask(m.token["root-admin"], e.method, path, body)
				home, there = m.told("own", c.place)-home, m.told("child", c.place)-there
				switch {
				case untold[name] != "":
					if home+there > 0 {
						t.Errorf("%s, %s: told %d times at home and %d there: take it from untold", name, c.place, home, there)
					}
				case status != http.StatusOK:
					t.Errorf("%s, %s: %d %s", name, c.place, status, text)
				case c.told == 0 && (strings.Contains(path, "/export") || strings.Contains(path, "/audit/verify")): // taking all away is told at home too
				case there < c.told || home < c.told || c.told == 0 && home+there > 0:
					t.Errorf("%s, %s: told %d times at home and %d there, want %d", name, c.place, home, there, c.told)
				default:
					asked++
				}
			}
		}
	}
	if asked < 100 {
		t.Errorf("only %d reads were made", asked)
	}
}

// told counts entries of the root administrator in a tenant's audit that name another.
func (m *matrix) told(place, about string) int {
	return m.count(`SELECT COUNT(*) FROM audit a JOIN tenants t ON t.id = a.tenant_id WHERE t.name = 'org-` + place + `' AND a.outcome = 'ok'
		AND a.actor = (SELECT 'user:' || u.id FROM users u WHERE u.email = 'root-admin@example.com')
		AND (a.target || a.detail) LIKE '%' || (SELECT id FROM tenants WHERE name = 'org-` + about + `') || '%'`)
}

// Usage of the tenants below, which are read with one request, is told in each of them.
func TestUsageOfDescendantsIsToldInEach(t *testing.T) {
	m := newMatrix(t)
	for _, path := range []string{"/api/v1/usage", "/api/v1/usage/changes", "/api/v1/usage/export/manifest"} {
		if status, text := m.ask(m.token["root-admin"], "GET", path+"?descendants=true", ""); status != 200 {
			t.Fatal(status, text)
		}
	}
	for _, name := range []string{"org-child", "org-grandchild", "leaf-own", "leaf-child", "leaf-grandchild"} {
		got := ok[AuditPage](m.server, 200, m.operator, "GET", "/api/v1/audit?action=usage.read&tenant="+name, "").Entries
		if len(got) != 1 { // in a minute
			t.Errorf("the audit of %s has %d entries, want 1", name, len(got))
		}
	}
	if got := ok[AuditPage](m.server, 200, m.operator, "GET", "/api/v1/audit?action=usage.read&tenant=org-own", "").Entries; len(got) != 1 {
		t.Errorf("the home's audit has %d entries, want 1", len(got))
	}
	for _, name := range []string{"org-sibling", "org-parent", "org-foreign"} {
		if got := ok[AuditPage](m.server, 200, m.operator, "GET", "/api/v1/audit?action=usage.read&tenant="+name, "").Entries; len(got) != 0 {
			t.Errorf("the audit of %s has %d entries, want none", name, len(got))
		}
	}
}
