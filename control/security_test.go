package control

import (
	"fmt"
	"strings"
	"testing"

	"github.com/headgate-io/headgate/auth"
	"github.com/headgate-io/headgate/internal/store/storetest"
)

// tree makes root > child > grandchild, sibling and foreign, and a session for each role in it.
func (s *server) tree() (rita, ann, vic string) {
	s.t.Helper()
	for _, n := range []string{`{"name":"root"}`, `{"name":"child","parent":"root"}`, `{"name":"grandchild","parent":"child"}`,
		`{"name":"sibling","parent":"root"}`, `{"name":"foreign"}`} {
		ok[Tenant](s, 201, s.operator, "POST", "/api/v1/tenants", n)
	}
	return s.user("root", "rita@example.com", "root-admin").Token, s.user("child", "ann@example.com", "admin").Token,
		s.user("child", "vic@example.com", "viewer").Token
}

func TestUsersWorkWhereKeysAndTheOperatorDo(t *testing.T) {
	storetest.Each(t, func(t *testing.T) {
		s := start(t)
		rita, ann, vic := s.tree()
		if got := ok[Tenants](s, 200, rita, "GET", "/api/v1/tenants?usage=true", ""); len(got.Tenants) != 4 || got.Tenants[1].Parent != "child" {
			t.Errorf("root admin sees %+v", got)
		}
		if got := ok[Tenant](s, 200, ann, "GET", "/api/v1/tenants/child", ""); got.Parent != "" || got.Slug != "child" || got.SecondFactor != "optional" {
			t.Errorf("admin sees %+v", got)
		}
		made := ok[NewKey](s, 201, ann, "POST", "/api/v1/keys", `{"tenant":"child","scopes":["ingest","usage"],"name":"collector"}`)
		if made.Name != "collector" || made.Tenant != "child" {
			t.Errorf("key %+v", made.Key)
		}
		ok[Tenant](s, 200, ann, "PATCH", "/api/v1/tenants/child", `{"owner":"ann@example.com","slug":"kid","retention_days":9}`)
		ok[Tenant](s, 200, rita, "PATCH", "/api/v1/tenants/child", `{"daily_bytes":1000,"max_keys":2,"plan_id":"gold"}`)
		s.refused(403, "forbidden", ann, "PATCH", "/api/v1/tenants/child", `{"daily_bytes":null}`)
		s.refused(403, "forbidden", ann, "PATCH", "/api/v1/tenants/child", `{"max_keys":null}`)
		s.refused(403, "forbidden", rita, "PATCH", "/api/v1/tenants/root", `{"max_keys":null}`)
		s.refused(403, "forbidden", rita, "POST", "/api/v1/tenants", `{"name":"another"}`)
		ok[Tenant](s, 201, rita, "POST", "/api/v1/tenants", `{"name":"another","parent":"sibling"}`)
		s.refused(409, "region-mismatch", s.operator, "POST", "/api/v1/tenants", `{"name":"far","region":"mars"}`)
		s.refused(409, "slug-taken", s.operator, "POST", "/api/v1/tenants", `{"name":"far","slug":"KID"}`)
		ok[NewKey](s, 201, ann, "POST", "/api/v1/keys", `{"tenant":"child","scopes":["ingest"]}`)
		s.refused(409, "limit-keys", ann, "POST", "/api/v1/keys", `{"tenant":"child","scopes":["ingest"]}`)

		for _, path := range []string{"/api/v1/usage", "/api/v1/usage?descendants=true", "/api/v1/usage/changes", "/api/v1/decisions", "/api/v1/alerts", "/api/v1/webhooks", "/api/v1/audit", "/api/v1/keys"} {
			sep := "?"
			if strings.Contains(path, "?") {
				sep = "&"
			}
			for token, wants := range map[string]map[string]int{
				ann:  {"": 200, "child": 200, "root": 404, "grandchild": 404, "foreign": 404, "nobody": 404},
				rita: {"": 200, "child": 200, "grandchild": 200, "foreign": 404, "nobody": 404},
				vic:  {"": 403, "child": 403},
			} {
				for name, want := range wants {
					full := path
					if name != "" {
						full += sep + "tenant=" + name
					}
					if status, body := s.call(token, "GET", full, ""); status != want {
						t.Errorf("GET %s: %d %s, want %d", full, status, body, want)
					}
				}
			}
		}
	})
}

func TestWebhooksAreManagedByUsersWhoMay(t *testing.T) {
	storetest.Each(t, func(t *testing.T) {
		s := start(t)
		rita, ann, vic := s.tree()
		const body = `{"url":"http://127.0.0.1:9/x"}`
		own := ok[NewWebhook](s, 201, ann, "POST", "/api/v1/webhooks", body)
		deep := ok[NewWebhook](s, 201, rita, "POST", "/api/v1/webhooks", `{"tenant":"grandchild","url":"http://127.0.0.1:9/y"}`)
		foreign := ok[NewWebhook](s, 201, s.operator, "POST", "/api/v1/webhooks", `{"tenant":"foreign","url":"http://127.0.0.1:9/y"}`)
		operators := ok[NewWebhook](s, 201, s.operator, "POST", "/api/v1/webhooks", body)
		if own.Tenant != "child" || deep.Tenant != "grandchild" {
			t.Errorf("webhooks of %s and %s", own.Tenant, deep.Tenant)
		}
		s.refused(403, "forbidden", vic, "POST", "/api/v1/webhooks", body)
		s.refused(404, "not-found", ann, "POST", "/api/v1/webhooks", `{"tenant":"foreign","url":"http://127.0.0.1:9/y"}`)
		ok[Webhook](s, 200, rita, "GET", "/api/v1/webhooks/"+own.ID, "")
		ok[Webhook](s, 200, rita, "PATCH", "/api/v1/webhooks/"+deep.ID, `{"enabled":false}`)
		missing := "01ARZ3NDEKTSV4RRFFQ69G5FAV"
		_, want := s.call(ann, "GET", "/api/v1/webhooks/"+missing, "")
		for _, id := range []string{deep.ID, foreign.ID, operators.ID, missing} {
			for _, c := range [][2]string{{"GET", ""}, {"PATCH", `{"enabled":false}`}, {"DELETE", ""}} {
				if status, got := s.call(ann, c[0], "/api/v1/webhooks/"+id, c[1]); status != 404 || got != want {
					t.Errorf("%s of %s: %d %s, want %s", c[0], id, status, got, want)
				}
			}
			if status, got := s.call(ann, "POST", "/api/v1/webhooks/"+id+"/test", ""); status != 404 || got != want {
				t.Errorf("test of %s: %d %s", id, status, got)
			}
		}
		s.refused(403, "forbidden", vic, "DELETE", "/api/v1/webhooks/"+own.ID, "")
		if status, text := s.call(ann, "DELETE", "/api/v1/webhooks/"+own.ID, ""); status != 204 {
			t.Errorf("delete: %d %s", status, text)
		}
		page := ok[AuditPage](s, 200, s.operator, "GET", "/api/v1/audit?tenant=child", "")
		refused := 0
		for _, e := range page.Entries {
			if e.Outcome == auth.OutcomeRefused && strings.HasPrefix(e.Action, "webhook.") {
				refused++
			}
		}
		if refused != 2 {
			t.Errorf("%d refusals are audited, want the two of the viewer", refused)
		}
	})
}

func TestKeysRotateOverTheAPI(t *testing.T) {
	storetest.Each(t, func(t *testing.T) {
		s := start(t)
		_, ann, vic := s.tree()
		made := ok[NewKey](s, 201, ann, "POST", "/api/v1/keys", `{"tenant":"child","scopes":["usage"]}`)
		path := "/api/v1/keys/" + made.ID + "/rotate"
		for _, bad := range []string{`{}`, `{"overlap":""}`, `{"overlap":"1d"}`, `{"overlap":"-1s"}`, `{"overlap":"720h1ns"}`} {
			s.refused(400, "invalid-argument", ann, "POST", path, bad)
		}
		for _, bad := range []string{`{"overlap":24}`, `{"overlap":"1h","x":1}`} {
			s.refused(400, "body-invalid", ann, "POST", path, bad)
		}
		s.refused(403, "forbidden", vic, "POST", path, `{"overlap":"1h"}`)
		s.refused(404, "not-found", ann, "POST", "/api/v1/keys/"+ok[NewKey](s, 201, s.operator, "POST", "/api/v1/keys", `{"tenant":"foreign","scopes":["usage"]}`).ID+"/rotate", `{"overlap":"1h"}`)
		next := ok[NewKey](s, 200, ann, "POST", path, `{"overlap":"720h"}`)
		if next.OldSecret == nil || next.Text == made.Text || next.ID != made.ID {
			t.Errorf("rotated %+v", next)
		}
		s.refused(409, "wrong-state", ann, "POST", path, `{"overlap":"1h"}`)
		for _, text := range []string{made.Text, next.Text} {
			if status, body := s.call(text, "GET", "/api/v1/usage", ""); status != 200 {
				t.Errorf("%d %s", status, body)
			}
		}
		last := ok[NewKey](s, 200, ann, "POST", path, `{"overlap":"0s"}`)
		for _, text := range []string{made.Text, next.Text} {
			s.refused(401, "key-unknown", text, "GET", "/api/v1/usage", "")
		}
		if status, _ := s.call(last.Text, "GET", "/api/v1/usage", ""); status != 200 || last.OldSecret != nil {
			t.Errorf("%d, %+v", status, last.Key)
		}
		if status, text := s.call(ann, "GET", "/api/v1/audit?tenant=child", ""); status != 200 || strings.Contains(text, last.Text[30:60]) {
			t.Errorf("%d: the audit has a secret", status)
		}
	})
}

func TestSecuritySettingsOverTheAPI(t *testing.T) {
	storetest.Each(t, func(t *testing.T) {
		s := start(t)
		_, ann, vic := s.tree()
		ok[Security](s, 200, ann, "PATCH", "/api/v1/tenants/child/security", `{"second_factor":"disabled"}`)
		if got := ok[Security](s, 200, ann, "GET", "/api/v1/tenants/child/security", ""); got.SecondFactor != "disabled" {
			t.Errorf("%+v", got)
		}
		s.refused(400, "invalid-argument", ann, "PATCH", "/api/v1/tenants/child/security", `{"second_factor":"never"}`)
		s.refused(400, "invalid-argument", ann, "PATCH", "/api/v1/tenants/child/security", `{}`)
		s.refused(403, "forbidden", vic, "PATCH", "/api/v1/tenants/child/security", `{"second_factor":"disabled"}`)
		domains := "/api/v1/tenants/child/email-domains"
		if got := ok[EmailDomain](s, 200, ann, "PUT", domains+"/Example.com", ""); got.Domain != "example.com" || got.ActiveUsers != 2 {
			t.Errorf("%+v", got)
		}
		s.refused(400, "invalid-argument", ann, "PUT", domains+"/ex%20ample.com", "")
		s.refused(409, "wrong-state", ann, "DELETE", domains+"/example.com", "")
		s.refused(404, "not-found", ann, "DELETE", domains+"/example.org", "")
		s.refused(404, "not-found", ann, "GET", "/api/v1/tenants/sibling/email-domains", "")
		s.refused(403, "forbidden", vic, "GET", domains, "")
		if got := ok[EmailDomains](s, 200, ann, "GET", domains, ""); len(got.Domains) != 1 {
			t.Errorf("%+v", got)
		}
		s.refused(400, "email-domain", ann, "POST", "/api/v1/users", `{"email":"x@example.org","role":"viewer"}`)
		ok[EmailDomain](s, 200, ann, "PUT", domains+"/example.org", "")
		if status, text := s.call(ann, "DELETE", domains+"/example.org", ""); status != 204 {
			t.Errorf("%d %s", status, text)
		}
	})
}

func TestTenantsMoveOverTheAPI(t *testing.T) {
	storetest.Each(t, func(t *testing.T) {
		s := start(t)
		rita, ann, _ := s.tree()
		if got := ok[Tenant](s, 200, rita, "POST", "/api/v1/tenants/grandchild/move", `{"parent":"sibling"}`); got.Parent != "sibling" {
			t.Errorf("%+v", got)
		}
		s.refused(409, "wrong-state", rita, "POST", "/api/v1/tenants/sibling/move", `{"parent":"grandchild"}`)
		s.refused(403, "forbidden", rita, "POST", "/api/v1/tenants/sibling/move", `{"parent":""}`)
		s.refused(400, "invalid-argument", s.operator, "POST", "/api/v1/tenants/sibling/move", `{}`)
		s.refused(404, "not-found", ann, "POST", "/api/v1/tenants/child/move", `{"parent":"sibling"}`)
		for i, body := range []string{`{"parent":"foreign"}`, `{"parent":"nobody"}`} {
			if status, text := s.call(rita, "POST", "/api/v1/tenants/sibling/move", body); status != 404 {
				t.Errorf("%d: %d %s", i, status, text)
			}
		}
		if got := ok[Tenant](s, 200, s.operator, "POST", "/api/v1/tenants/sibling/move", `{"parent":""}`); got.Parent != "" {
			t.Errorf("%+v", got)
		}
		s.refused(404, "not-found", rita, "GET", "/api/v1/tenants/sibling", "")
		if got := fmt.Sprint(ok[Tenants](s, 200, rita, "GET", "/api/v1/tenants?search=gran", "").Tenants); got != "[]" {
			t.Errorf("the root admin still sees %s", got)
		}
	})
}
