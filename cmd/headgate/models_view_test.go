package main

import (
	"encoding/json"
	"slices"
	"time"

	"github.com/headgate-io/headgate/control"
	"github.com/headgate-io/headgate/internal/timetest"
)

// tenantsView is a pipeline's operator: tenants with limits and tenants of theirs, looked at, disabled, enabled and deleted, and
// staff who look into one for a time.
func tenantsView(s *site) {
	s.do(s.operator, "POST", "/api/v1/tenants", `{"name":"pipe"}`)
	rita := s.first("pipe", "rita@pipe.example", "root-admin")
	for _, body := range []string{
		`{"name":"pipe-one","parent":"pipe","daily_bytes":1000000}`,
		`{"name":"pipe-two","parent":"pipe","daily_bytes":2000000,"owner":"Zoe@two.example","max_users":1,"max_keys":1}`,
		`{"name":"pipe-one-test","parent":"pipe-one"}`,
	} {
		s.do(rita.Token, "POST", "/api/v1/tenants", body)
	}
	list := func(query string) (out []string) {
		for _, t := range get[control.Tenants](s, rita.Token, "/api/v1/tenants?"+query).Tenants {
			out = append(out, t.Name)
		}
		return out
	}
	for query, want := range map[string][]string{
		"":                              {"pipe", "pipe-one", "pipe-one-test", "pipe-two"},
		"search=ONE":                    {"pipe-one", "pipe-one-test"},
		"limit=2":                       {"pipe", "pipe-one"},
		"limit=2&cursor=pipe-one":       {"pipe-one-test", "pipe-two"},
		"status=inactive":               nil,
		"search=zoe@":                   {"pipe-two"},
		"search=one-test&status=active": {"pipe-one-test"},
	} {
		if got := list(query); !slices.Equal(got, want) {
			s.t.Errorf("list %q: %v, want %v", query, got, want)
		}
	}

	// A tenant of a tenant has the limits of all above it, and nobody raises their own.
	test := get[control.Tenant](s, rita.Token, "/api/v1/tenants/pipe-one-test")
	if test.Parent != "pipe-one" || test.DailyBytes != nil || test.EffectiveDailyBytes.Value() == nil || *test.EffectiveDailyBytes.Value() != 1000000 || test.LimitedBy != "pipe-one" {
		s.t.Errorf("below a limit %+v", test)
	}
	one := s.first("pipe-one", "adam@one.example", "root-admin")
	s.refuse(403, "forbidden", one.Token, "PATCH", "/api/v1/tenants/pipe-one", `{"daily_bytes":null}`)
	s.do(one.Token, "PATCH", "/api/v1/tenants/pipe-one-test", `{"daily_bytes":500000}`)
	s.do(rita.Token, "PATCH", "/api/v1/tenants/pipe-one", `{"daily_bytes":400000}`)
	if got := get[control.Tenant](s, one.Token, "/api/v1/tenants/pipe-one-test"); *got.DailyBytes != 500000 || *got.EffectiveDailyBytes.Value() != 400000 {
		s.t.Errorf("a limit above the parent's %+v", got)
	}
	s.refuse(404, "not-found", one.Token, "GET", "/api/v1/tenants/pipe-two", "")
	s.refuse(404, "not-found", one.Token, "GET", "/api/v1/tenants/pipe", "")

	// Disabled, keys and sessions of it and below stop within a second; enabled, they work again.
	key := send[control.NewKey](s, one.Token, "POST", "/api/v1/keys", `{"tenant":"pipe-one-test","scopes":["ingest"]}`)
	s.mustPost("/v1/logs", key.Text, record("pipe"))
	s.do(rita.Token, "POST", "/api/v1/tenants/pipe-one/disable", "")
	s.soon("the end of keys and sessions", func() bool {
		status, _, err := s.post(s.t.Context(), "/v1/logs", "application/json", key.Text, []byte(record("late")))
		session, _ := s.ask(one.Token, "GET", "/api/v1/session", "")
		return err == nil && status == 403 && session == 403
	})
	if got := list("status=inactive"); !slices.Equal(got, []string{"pipe-one"}) {
		s.t.Errorf("disabled %v", got)
	}
	s.refuse(401, "sign-in-failed", "", "POST", "/api/v1/sign-in", quoted(`{"slug":"pipe-one","email":"adam@one.example","password":%q}`, modelPassword))
	s.do(rita.Token, "POST", "/api/v1/tenants/pipe-one/enable", "")
	s.soon("keys and sessions", func() bool {
		status, _, err := s.post(s.t.Context(), "/v1/logs", "application/json", key.Text, []byte(record("again")))
		session, _ := s.ask(one.Token, "GET", "/api/v1/session", "")
		return err == nil && status == 200 && session == 200
	})
	s.flushed()
	atAGlance(s, rita, one)
	timeLimitedAccess(s, rita, one)

	// Deletion: not while it is active, not with active children, not without its name.
	s.refuse(409, "wrong-state", rita.Token, "DELETE", "/api/v1/tenants/pipe-one-test", `{"confirm":"pipe-one-test"}`)
	s.do(rita.Token, "POST", "/api/v1/tenants/pipe-one/disable", "")
	s.refuse(409, "wrong-state", rita.Token, "DELETE", "/api/v1/tenants/pipe-one", `{"confirm":"pipe-one"}`)
	s.do(rita.Token, "POST", "/api/v1/tenants/pipe-one-test/disable", "")
	s.refuse(400, "invalid-argument", rita.Token, "DELETE", "/api/v1/tenants/pipe-one-test", `{"confirm":"yes"}`)
	s.do(rita.Token, "DELETE", "/api/v1/tenants/pipe-one-test", `{"confirm":"pipe-one-test"}`)
	timetest.Eventually(s.t, "the tenant to be gone", func() bool {
		status, _ := s.ask(rita.Token, "GET", "/api/v1/tenants/pipe-one-test", "")
		return status == 404
	})
	if got := list("search=one"); !slices.Equal(got, []string{"pipe-one"}) {
		s.t.Errorf("after the deletion %v", got)
	}
	if status, _, err := s.post(s.t.Context(), "/v1/logs", "application/json", key.Text, []byte(record("dead"))); err != nil || status != 401 {
		s.t.Errorf("a key of a deleted tenant: %d %v", status, err)
	}
	log := map[string]int{}
	for _, e := range get[control.AuditPage](s, rita.Token, "/api/v1/audit?limit=1000&tenant=pipe-one").Entries {
		log[e.Action]++
	}
	for action, least := range map[string]int{"tenant.create": 1, "tenant.set": 1, "tenant.disable": 2, "tenant.enable": 1, "access.approve": 1} {
		if log[action] < least {
			s.t.Errorf("the activity log has %d of %s: %v", log[action], action, log)
		}
	}
}

// atAGlance is the detail of a tenant: what it uses of its plan, and what happened in it.
func atAGlance(s *site, rita, one control.SignedIn) {
	view := get[control.Overview](s, rita.Token, "/api/v1/tenants/pipe-one/overview")
	u := view.Usage
	if u == nil || u.TodayBytes <= 0 || u.Users != 1 || u.Keys != 1 || *view.Tenant.DailyBytes != 400000 || len(view.Activity) == 0 {
		s.t.Errorf("at a glance %+v, usage %+v", view, u)
	}
	if below := get[control.Overview](s, one.Token, "/api/v1/tenants/pipe-one-test/overview"); below.Usage == nil || below.Usage.TodayBytes != u.TodayBytes || below.Usage.Users != 0 {
		s.t.Errorf("below %+v", below.Usage) // all of it came in there
	}
	if beside := get[control.Overview](s, rita.Token, "/api/v1/tenants/pipe-two/overview"); beside.Usage == nil || beside.Usage.TodayBytes != 0 || beside.Usage.Users != 0 {
		s.t.Errorf("beside %+v", beside.Usage)
	}
	s.refuse(404, "not-found", one.Token, "GET", "/api/v1/tenants/pipe-two/overview", "")
	// Limits of users and keys hold.
	s.do(rita.Token, "POST", "/api/v1/users", `{"tenant":"pipe-two","email":"zoe@two.example","role":"admin"}`)
	s.refuse(409, "limit-users", rita.Token, "POST", "/api/v1/users", `{"tenant":"pipe-two","email":"yan@two.example","role":"viewer"}`)
	s.do(rita.Token, "POST", "/api/v1/keys", `{"tenant":"pipe-two","scopes":["ingest"]}`)
	s.refuse(409, "limit-keys", rita.Token, "POST", "/api/v1/keys", `{"tenant":"pipe-two","scopes":["ingest"]}`)
}

// timeLimitedAccess takes requests through all their states: pending, active, expired, rejected and revoked.
func timeLimitedAccess(s *site, rita, one control.SignedIn) {
	const path = "/api/v1/access-requests"
	sam := s.invited(rita.Token, "pipe", "sam@pipe.example", "viewer")
	ask := func(body string) control.AccessRequest {
		s.t.Helper()
		return send[control.AccessRequest](s, sam.Token, "POST", path, body)
	}
	act := func(by control.SignedIn, id, what, body string) control.AccessRequest {
		s.t.Helper()
		return send[control.AccessRequest](s, by.Token, "POST", path+"/"+id+"/"+what, body)
	}
	reaches := func() bool {
		status, _ := s.ask(sam.Token, "GET", "/api/v1/users?tenant=pipe-one", "")
		return status == 200
	}

	// Advanced: permissions one by one, which are then saved as a role, from which the next request takes them: basic.
	first := ask(`{"tenant":"pipe-one","permissions":["users.read","audit.read"],"expiry":"8h","note":"ticket 4711"}`)
	if first.Status != "pending" || first.PermissionCount != 2 || first.Role != "" || first.Note != "ticket 4711" {
		s.t.Errorf("asked for %+v", first)
	}
	role, _ := json.Marshal(map[string]any{"name": "look-into-it", "permissions": first.Permissions})
	if saved := send[control.Role](s, rita.Token, "POST", "/api/v1/roles", string(role)); !slices.Equal(saved.Permissions, first.Permissions) {
		s.t.Errorf("saved %+v", saved)
	}
	second := ask(`{"tenant":"pipe-one","role":"look-into-it","expiry":"1h"}`)
	if second.Role != "look-into-it" || !slices.Equal(second.Permissions, first.Permissions) {
		s.t.Errorf("asked for a role %+v", second)
	}
	s.refuse(400, "invalid-argument", sam.Token, "POST", path, `{"tenant":"pipe-one","role":"look-into-it","permissions":["users.read"],"expiry":"1h"}`)

	s.refuse(403, "forbidden", sam.Token, "POST", path+"/"+first.ID+"/approve", "") // one's own
	if reaches() {
		s.t.Error("pending access is in force")
	}
	if got := act(one, first.ID, "approve", ""); got.Status != "active" || got.DecidedBy != "adam@one.example" || got.LeftSeconds == nil || *got.LeftSeconds > 8*3600 {
		s.t.Errorf("approved %+v", got)
	}
	s.soon("the access", reaches)
	s.refuse(403, "forbidden", sam.Token, "POST", "/api/v1/users", `{"tenant":"pipe-one","email":"x@one.example","role":"viewer"}`)
	extended := act(one, first.ID, "extend", `{"expiry":"1d"}`)
	if extended.Status != "active" || extended.LeftSeconds == nil || *extended.LeftSeconds <= 24*3600 {
		s.t.Errorf("extended %+v", extended)
	}
	s.refuse(409, "wrong-state", one.Token, "POST", path+"/"+first.ID+"/reject", "")
	if got := act(rita, first.ID, "revoke", ""); got.Status != "revoked" || got.DecidedBy != "rita@pipe.example" {
		s.t.Errorf("revoked %+v", got)
	}
	s.soon("the end of the access", func() bool { return !reaches() })
	if got := act(one, second.ID, "reject", ""); got.Status != "rejected" {
		s.t.Errorf("rejected %+v", got)
	}

	// Cloned, with an end that comes by itself.
	var third control.AccessRequest
	late := -1 // whose end came before they were seen in force
	end := s.ending(func(end time.Time) bool {
		late++
		status, text := s.ask(sam.Token, "POST", path+"/"+second.ID+"/clone", quoted(`{"until":%q}`, end.Format(time.RFC3339Nano)))
		if status >= 300 {
			return false
		}
		third = unmarshal[control.AccessRequest](s.t, text)
		if third.Status != "pending" || third.ID == second.ID || third.Role != "look-into-it" {
			s.t.Errorf("cloned %+v", third)
		}
		status, _ = s.ask(one.Token, "POST", path+"/"+third.ID+"/approve", "")
		return status < 300
	}, reaches)
	s.soon("the end of the access", func() bool { return !reaches() })
	if timeNow().Before(end) {
		s.t.Error("the access ended before its time")
	}
	fourth := act(sam, third.ID, "clone", `{"expiry":"1h"}`)
	for status, want := range map[string]string{"pending": fourth.ID, "expired": third.ID, "rejected": second.ID, "revoked": first.ID} {
		found := get[control.AccessRequests](s, one.Token, path+"?search=SAM@pipe&status="+status).AccessRequests
		if len(found) == 0 || len(found) > 1+late || found[0].ID != want || found[0].Status != status { // the last is first
			s.t.Errorf("%s: %+v, want %s", status, found, want)
		}
	}
	if found := get[control.AccessRequests](s, one.Token, path+"?status=active").AccessRequests; len(found) != 0 {
		s.t.Errorf("active: %+v", found)
	}
	if got := act(sam, fourth.ID, "revoke", ""); got.Status != "revoked" || got.DecidedBy != "sam@pipe.example" {
		s.t.Errorf("taken back %+v", got)
	}
}
