package main

import (
	"crypto/hmac"
	"crypto/sha1"
	"encoding/base32"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/headgate-io/headgate/control"
	"github.com/headgate-io/headgate/internal/pgtest"
)

// The four organizations that headgate is made for, each from the first tenant on, by the public API of real processes on both
// databases. What a test knows it has from answers, as people do; what an answer has to be is written here.
func TestOrganizationModels(t *testing.T) {
	for _, database := range []string{"sqlite", "postgres"} {
		t.Run(database, func(t *testing.T) {
			var args []string
			if database == "postgres" {
				args = []string{"--store", pgtest.Start(t).URL()}
			}
			p := serveOn(t, t.TempDir(), args...)
			raw, err := os.ReadFile(filepath.Join(p.dir, adminTokenFile))
			if err != nil {
				t.Fatal(err)
			}
			for _, model := range []struct {
				name string
				run  func(*site)
			}{
				{"hosted platform", hostedPlatform},
				{"company with groups", companyWithGroups},
				{"hosting tree", hostingTree},
				{"tenants view", tenantsView},
			} {
				t.Run(model.name, func(t *testing.T) {
					model.run(&site{t: t, process: p, operator: strings.TrimSpace(string(raw))})
				})
			}
		})
	}
}

// site is a running headgate as its users see it.
type site struct {
	*process
	t        *testing.T
	operator string
}

const modelPassword = "correct horse battery"

// ask sends one request with a credential, "" for none.
func (s *site) ask(credential, method, path, body string) (int, string) {
	s.t.Helper()
	req, err := http.NewRequestWithContext(s.t.Context(), method, "http://"+s.addr.API+path, strings.NewReader(body))
	if err != nil {
		s.t.Fatal(err)
	}
	if credential != "" {
		req.Header.Set("Authorization", "Bearer "+credential)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		s.t.Fatal(err)
	}
	defer resp.Body.Close()
	raw, err := io.ReadAll(resp.Body)
	if err != nil {
		s.t.Fatal(err)
	}
	return resp.StatusCode, string(raw)
}

// get and send return the answer of what has to succeed.
func get[T any](s *site, credential, path string) T {
	s.t.Helper()
	return send[T](s, credential, "GET", path, "")
}

func send[T any](s *site, credential, method, path, body string) (v T) {
	s.t.Helper()
	status, text := s.ask(credential, method, path, body)
	if status >= 300 {
		s.t.Fatalf("%s %s %s: %d %s", method, path, body, status, text)
	}
	if text != "" {
		v = unmarshal[T](s.t, text)
	}
	return v
}

// do is send for what has no answer to look at.
func (s *site) do(credential, method, path, body string) {
	s.t.Helper()
	if status, text := s.ask(credential, method, path, body); status >= 300 {
		s.t.Fatalf("%s %s %s: %d %s", method, path, body, status, text)
	}
}

// refuse wants a refusal of that status and code.
func (s *site) refuse(status int, code, credential, method, path, body string) {
	s.t.Helper()
	got, text := s.ask(credential, method, path, body)
	if got != status || !strings.Contains(text, `"code":"`+code+`"`) {
		s.t.Errorf("%s %s %s: %d %s, want %d %s", method, path, body, got, text, status, code)
	}
}

// soon wants something to be so at once. The promise is a second; that is measured elsewhere, on a machine that does nothing else.
func (s *site) soon(what string, ok func() bool) {
	s.t.Helper()
	for end := time.Now().Add(5 * time.Second); !ok(); <-time.After(10 * time.Millisecond) {
		if time.Now().After(end) {
			s.t.Fatalf("%s is not so after 5 s", what)
		}
	}
}

func quoted(format string, args ...any) string { return fmt.Sprintf(format, args...) }

// first makes the first user of a tenant, whom nobody could invite, and signs in.
func (s *site) first(slug, email, role string) control.SignedIn {
	s.t.Helper()
	s.do(s.operator, "POST", "/api/v1/users", quoted(`{"tenant":%q,"email":%q,"role":%q,"password":%q}`, slug, email, role, modelPassword))
	return s.signIn(slug, email)
}

func (s *site) signIn(slug, email string) control.SignedIn {
	s.t.Helper()
	return send[control.SignedIn](s, "", "POST", "/api/v1/sign-in", quoted(`{"slug":%q,"email":%q,"password":%q}`, slug, email, modelPassword))
}

// mail returns the token of the message after n others to an address, and how many there are then.
func (s *site) mail(to string, n int) (token string, count int) {
	s.t.Helper()
	waitFor(s.t, "a message to "+to, func() bool {
		raw, err := os.ReadFile(filepath.Join(s.dir, outboxFile))
		if err != nil {
			return false
		}
		count = 0
		for line := range strings.Lines(string(raw)) {
			var m struct{ To, Token string }
			if json.Unmarshal([]byte(line), &m) == nil && m.To == to {
				token = m.Token
				count++
			}
		}
		return count > n
	})
	return token, count
}

// invited invites somebody, who accepts and signs in.
func (s *site) invited(by, slug, email, role string) control.SignedIn {
	s.t.Helper()
	_ = send[control.User](s, by, "POST", "/api/v1/users", quoted(`{"email":%q,"role":%q}`, email, role))
	token, _ := s.mail(email, 0)
	s.accept(token)
	return s.signIn(slug, email)
}

func (s *site) accept(token string) control.Accepted {
	s.t.Helper()
	return send[control.Accepted](s, "", "POST", "/api/v1/invitations/accept", quoted(`{"token":%q,"password":%q}`, token, modelPassword))
}

func (s *site) permissions(session string) []string {
	s.t.Helper()
	return get[control.Session](s, session, "/api/v1/session").Permissions
}

// hostedPlatform is a customer of a hosted OTLP platform: people are invited with a role, teams carry roles, telemetry is read by
// who may.
func hostedPlatform(s *site) {
	s.do(s.operator, "POST", "/api/v1/tenants", `{"name":"hosted"}`)
	ann := s.first("hosted", "ann@hosted.example", "admin")

	// Somebody is invited, invited again, and comes in by the later message alone.
	vic := send[control.User](s, ann.Token, "POST", "/api/v1/users", `{"email":"vic@hosted.example","role":"viewer"}`)
	old, n := s.mail("vic@hosted.example", 0)
	s.do(ann.Token, "POST", "/api/v1/users/"+vic.ID+"/invitation", "")
	token, _ := s.mail("vic@hosted.example", n)
	s.refuse(400, "token-invalid", "", "POST", "/api/v1/invitations/accept", quoted(`{"token":%q,"password":%q}`, old, modelPassword))
	s.refuse(401, "sign-in-failed", "", "POST", "/api/v1/sign-in", quoted(`{"slug":"hosted","email":"vic@hosted.example","password":%q}`, modelPassword))
	if got := s.accept(token); got.Slug != "hosted" || got.Email != "vic@hosted.example" {
		s.t.Errorf("accepted %+v", got)
	}
	s.refuse(400, "token-invalid", "", "POST", "/api/v1/invitations/accept", quoted(`{"token":%q,"password":%q}`, token, modelPassword))
	viewer := s.signIn("hosted", "VIC@hosted.example")
	// One that is revoked lets nobody in.
	tom := send[control.User](s, ann.Token, "POST", "/api/v1/users", `{"email":"tom@hosted.example","role":"viewer"}`)
	token, _ = s.mail("tom@hosted.example", 0)
	s.do(ann.Token, "DELETE", "/api/v1/users/"+tom.ID+"/invitation", "")
	s.refuse(400, "token-invalid", "", "POST", "/api/v1/invitations/accept", quoted(`{"token":%q,"password":%q}`, token, modelPassword))
	s.do(ann.Token, "DELETE", "/api/v1/users/"+tom.ID, "")
	editor := s.invited(ann.Token, "hosted", "ed@hosted.example", "editor")

	// viewer ⊂ editor ⊂ admin, by what they may do.
	want := map[string][]string{
		viewer.Token: {"dashboards.read", "queries.run", "access.request"},
		editor.Token: {"dashboards.read", "dashboards.write", "queries.run", "queries.save", "access.request"},
	}
	for session, permissions := range want {
		if got := s.permissions(session); !slices.Equal(got, permissions) {
			s.t.Errorf("may %v, want %v", got, permissions)
		}
		s.refuse(403, "forbidden", session, "GET", "/api/v1/users", "")
		s.refuse(403, "forbidden", session, "POST", "/api/v1/keys", `{"scopes":["ingest"]}`)
	}
	key := send[control.NewKey](s, ann.Token, "POST", "/api/v1/keys", `{"scopes":["ingest"]}`)
	s.mustPost("/v1/logs", key.Text, record("hosted"))
	s.flushed()
	const query = `{"query":"logs | count","format":"ndjson"}`
	for _, session := range []string{ann.Token, viewer.Token, editor.Token} {
		if status, text := s.ask(session, "POST", "/api/v1/query", query); status != 200 || !strings.HasPrefix(text, `{"count":1}`) {
			s.t.Errorf("query: %d %s", status, text)
		}
	}
	for _, credential := range []string{s.operator, key.Text} {
		if status, text := s.ask(credential, "POST", "/api/v1/query", query); status != 403 {
			s.t.Errorf("query: %d %s", status, text)
		}
	}

	// A team with a role of the tenant's own: its members have that too, on the sessions that they have.
	s.refuse(403, "forbidden", ann.Token, "POST", "/api/v1/roles", `{"name":"too-much","permissions":["tenants.delete"]}`)
	s.do(ann.Token, "POST", "/api/v1/roles", `{"name":"billing","permissions":["usage.read"]}`)
	team := send[control.Team](s, ann.Token, "POST", "/api/v1/teams", `{"name":"finance","roles":["billing"]}`)
	s.refuse(403, "key-scope", viewer.Token, "GET", "/api/v1/usage", "")
	member := "/api/v1/teams/" + team.ID + "/members/" + vic.ID
	s.do(ann.Token, "PUT", member, "")
	s.soon("the team's permission", func() bool { return slices.Contains(s.permissions(viewer.Token), "usage.read") })
	if usage := get[struct {
		Rows []struct {
			Requests int64 `json:"requests"`
		}
	}](s, viewer.Token, "/api/v1/usage"); len(usage.Rows) != 1 || usage.Rows[0].Requests != 1 {
		s.t.Errorf("usage %+v", usage)
	}
	s.do(ann.Token, "DELETE", member, "")
	s.soon("the end of the team's permission", func() bool { return !slices.Contains(s.permissions(viewer.Token), "usage.read") })

	// Another role, no more sign-in, and always somebody who can manage.
	s.do(ann.Token, "PATCH", "/api/v1/users/"+vic.ID, `{"role":"no-access"}`)
	s.soon("the role", func() bool { status, _ := s.ask(viewer.Token, "POST", "/api/v1/query", query); return status == 403 })
	s.do(ann.Token, "POST", "/api/v1/users/"+vic.ID+"/deactivate", "")
	s.soon("the end of the session", func() bool { status, _ := s.ask(viewer.Token, "GET", "/api/v1/session", ""); return status == 401 })
	s.refuse(409, "last-admin", ann.Token, "POST", "/api/v1/users/"+ann.User.ID+"/deactivate", "")
	s.refuse(409, "last-admin", ann.Token, "PATCH", "/api/v1/users/"+ann.User.ID, `{"role":"editor"}`)
}

// companyWithGroups are two companies on one installation: people name theirs as they sign in, and are in any number of groups,
// whose permissions add up.
func companyWithGroups(s *site) {
	s.do(s.operator, "POST", "/api/v1/tenants", `{"name":"north"}`)
	s.do(s.operator, "POST", "/api/v1/tenants", `{"name":"south"}`)
	admin, other := s.first("north", "boss@north.example", "root-admin"), s.first("south", "boss@south.example", "admin")
	// One address is a user in both, with nothing in common.
	sam := s.invited(admin.Token, "north", "sam@consult.example", "no-access")
	_ = send[control.User](s, other.Token, "POST", "/api/v1/users", `{"email":"sam@consult.example","role":"viewer"}`)
	token, _ := s.mail("sam@consult.example", 1)
	_ = send[control.Accepted](s, "", "POST", "/api/v1/invitations/accept", quoted(`{"token":%q,"password":"another good one"}`, token))
	signIn := func(slug, password string) (int, string) {
		return s.ask("", "POST", "/api/v1/sign-in", quoted(`{"slug":%q,"email":"sam@consult.example","password":%q}`, slug, password))
	}
	_, wrong := signIn("north", "another good one")
	for _, slug := range []string{"south", "nowhere", "no slug", ""} {
		if status, text := signIn(slug, modelPassword); status != 401 || text != wrong {
			s.t.Errorf("sign-in at %q: %d %s, want what a wrong password is told: %s", slug, status, text, wrong)
		}
	}
	if status, text := signIn("south", "another good one"); status != 200 {
		s.t.Errorf("sign-in at south: %d %s", status, text)
	}

	if got := s.permissions(sam.Token); len(got) != 0 {
		s.t.Errorf("without a group: %v", got)
	}
	groups := map[string][]string{
		"people":  {"users.read", "teams.manage"},
		"keys":    {"keys.manage"},
		"reading": {"queries.run", "dashboards.read", "users.read"},
	}
	ids := map[string]string{}
	for name, permissions := range groups {
		raw, _ := json.Marshal(permissions)
		s.do(admin.Token, "POST", "/api/v1/roles", quoted(`{"name":%q,"permissions":%s}`, "role-"+name, raw))
		ids[name] = send[control.Team](s, admin.Token, "POST", "/api/v1/teams", quoted(`{"name":%q,"roles":[%q]}`, name, "role-"+name)).ID
	}
	is := func(want ...string) {
		s.t.Helper()
		slices.Sort(want)
		s.soon("permissions "+strings.Join(want, " "), func() bool {
			got := s.permissions(sam.Token)
			slices.Sort(got)
			return slices.Equal(got, want)
		})
	}
	join := func(method, group string) {
		s.t.Helper()
		s.do(admin.Token, method, "/api/v1/teams/"+ids[group]+"/members/"+sam.User.ID, "")
	}
	join("PUT", "people")
	is("users.read", "teams.manage")
	join("PUT", "keys")
	is("users.read", "teams.manage", "keys.manage")
	join("PUT", "reading")
	is("users.read", "teams.manage", "keys.manage", "queries.run", "dashboards.read")
	join("DELETE", "people")
	is("users.read", "keys.manage", "queries.run", "dashboards.read") // one of them by another group too
	s.refuse(403, "forbidden", sam.Token, "POST", "/api/v1/teams", `{"name":"mine"}`)
	s.do(sam.Token, "POST", "/api/v1/keys", `{"scopes":["ingest","query"]}`) // keys.manage of one group, what keys to query may do of the other
	s.refuse(403, "forbidden", sam.Token, "POST", "/api/v1/keys", `{"scopes":["admin"]}`)
	if teams := get[control.Teams](s, sam.Token, "/api/v1/users/"+sam.User.ID+"/teams").Teams; len(teams) != 2 {
		s.t.Errorf("teams %+v", teams)
	}
	// A group that takes another role, and one that ends.
	s.do(admin.Token, "PATCH", "/api/v1/teams/"+ids["keys"], `{"roles":["viewer"]}`)
	is("users.read", "queries.run", "dashboards.read", "access.request")
	s.do(admin.Token, "DELETE", "/api/v1/teams/"+ids["reading"], "")
	is("queries.run", "dashboards.read", "access.request")
	// Users of the other company are none of theirs.
	s.refuse(404, "not-found", admin.Token, "PUT", "/api/v1/teams/"+ids["keys"]+"/members/"+other.User.ID, "")
	s.refuse(404, "not-found", admin.Token, "GET", "/api/v1/users/"+other.User.ID, "")
	s.refuse(404, "not-found", admin.Token, "GET", "/api/v1/users?tenant=south", "")
}

// hostingTree is a hosting company: root administrators reach all below, organization administrators what they are granted, and
// users without access own service keys.
func hostingTree(s *site) {
	s.do(s.operator, "POST", "/api/v1/tenants", `{"name":"host"}`)
	rita := s.first("host", "rita@host.example", "root-admin")
	for name, parent := range map[string]string{"host-east": "host", "host-west": "host"} {
		s.do(rita.Token, "POST", "/api/v1/tenants", quoted(`{"name":%q,"parent":%q}`, name, parent))
	}
	s.do(rita.Token, "POST", "/api/v1/tenants", `{"name":"host-east-lab","parent":"host-east"}`)
	names := func(session string) (out []string) {
		for _, t := range get[control.Tenants](s, session, "/api/v1/tenants").Tenants {
			out = append(out, t.Name)
		}
		return out
	}
	if got, want := names(rita.Token), []string{"host", "host-east", "host-east-lab", "host-west"}; !slices.Equal(got, want) {
		s.t.Errorf("the root administrator sees %v, want %v", got, want)
	}

	// An organization administrator reaches what is granted, and nothing beside or below.
	olga := s.invited(rita.Token, "host", "olga@host.example", "admin")
	if got := names(olga.Token); !slices.Equal(got, []string{"host"}) {
		s.t.Errorf("without grants: %v", got)
	}
	grant := "/api/v1/users/" + olga.User.ID + "/grants/host-east"
	s.refuse(404, "not-found", olga.Token, "PUT", grant, "") // not to oneself
	s.do(rita.Token, "PUT", grant, "")
	s.soon("the grant", func() bool { return slices.Equal(names(olga.Token), []string{"host", "host-east"}) })
	for _, elsewhere := range []string{"host-west", "host-east-lab"} {
		s.refuse(404, "not-found", olga.Token, "GET", "/api/v1/tenants/"+elsewhere, "")
		s.refuse(404, "not-found", olga.Token, "POST", "/api/v1/session/act", quoted(`{"tenant":%q}`, elsewhere))
	}
	acting := send[control.Session](s, olga.Token, "POST", "/api/v1/session/act", `{"tenant":"host-east"}`)
	if acting.Tenant != "host-east" || acting.Home {
		s.t.Errorf("acting %+v", acting)
	}
	east := s.invited(olga.Token, "host-east", "eve@east.example", "viewer")
	if east.Tenant != "host-east" {
		s.t.Errorf("invited into %s", east.Tenant)
	}
	s.do(rita.Token, "DELETE", grant, "")
	s.soon("the end of the grant", func() bool { status, _ := s.ask(olga.Token, "GET", "/api/v1/session", ""); return status == 401 })
	olga = s.signIn("host", "olga@host.example")
	s.refuse(404, "not-found", olga.Token, "GET", "/api/v1/users/"+east.User.ID, "")
	if status, _ := s.ask(rita.Token, "GET", "/api/v1/users/"+east.User.ID, ""); status != 200 {
		s.t.Errorf("the root administrator sees no user below: %d", status)
	}

	// Acting elsewhere is in the audit of both.
	for _, of := range []string{"host", "host-east"} {
		found := 0
		for _, e := range get[control.AuditPage](s, rita.Token, "/api/v1/audit?limit=1000&tenant="+of).Entries {
			if e.Action == "session.act" && e.Actor == "user:"+olga.User.ID && e.Outcome == "ok" {
				found++
			}
		}
		if found != 1 {
			s.t.Errorf("audit of %s has %d entries of acting", of, found)
		}
	}
	serviceKeys(s, rita)
	emailDomains(s, rita)
	secondFactors(s, rita)
}

// serviceKeys: somebody without access is there to own what machines use.
func serviceKeys(s *site, rita control.SignedIn) {
	owner := s.invited(rita.Token, "host", "robot@host.example", "no-access")
	if got := s.permissions(owner.Token); len(got) != 0 {
		s.t.Errorf("no access is %v", got)
	}
	for _, path := range []string{"/api/v1/users", "/api/v1/keys", "/api/v1/tenants", "/api/v1/audit", "/api/v1/tenants/host"} {
		s.refuse(403, "forbidden", owner.Token, "GET", path, "")
	}
	s.refuse(403, "forbidden", owner.Token, "POST", "/api/v1/access-requests", `{"tenant":"host-east","role":"viewer","expiry":"1h"}`)

	key := send[control.NewKey](s, rita.Token, "POST", "/api/v1/keys", quoted(`{"name":"collector","owner_user":%q,"scopes":["ingest"]}`, owner.User.ID))
	if key.OwnerUser != owner.User.ID || key.Name != "collector" {
		s.t.Errorf("made %+v", key)
	}
	s.refuse(404, "not-found", rita.Token, "POST", "/api/v1/keys", quoted(`{"tenant":"host-east","owner_user":%q,"scopes":["ingest"]}`, owner.User.ID))
	s.refuse(403, "forbidden", owner.Token, "GET", "/api/v1/keys/"+key.ID, "")
	s.mustPost("/v1/logs", key.Text, record("service"))
	// It is given another secret, and both open until the overlap ends.
	next := send[control.NewKey](s, rita.Token, "POST", "/api/v1/keys/"+key.ID+"/rotate", `{"overlap":"1h"}`)
	if next.ID != key.ID || next.Text == key.Text {
		s.t.Errorf("rotated %+v", next.Key)
	}
	for _, text := range []string{key.Text, next.Text} {
		s.mustPost("/v1/logs", text, record("service"))
	}
	s.do(rita.Token, "DELETE", "/api/v1/keys/"+key.ID, "")
	for _, text := range []string{key.Text, next.Text} {
		s.soon("the end of the key", func() bool {
			status, _, err := s.post(s.t.Context(), "/v1/logs", "application/json", text, []byte(record("late")))
			return err == nil && status == 401
		})
	}
}

// emailDomains: who is invited, and what the list of domains says of those who are there.
func emailDomains(s *site, rita control.SignedIn) {
	const path = "/api/v1/tenants/host-west/email-domains"
	invite := func(email string) string { return quoted(`{"tenant":"host-west","email":%q,"role":"viewer"}`, email) }
	s.do(rita.Token, "PUT", path+"/West.example", "")
	s.refuse(400, "email-domain", rita.Token, "POST", "/api/v1/users", invite("eve@east.example"))
	s.refuse(400, "email-domain", rita.Token, "POST", "/api/v1/users", invite("eve@sub.west.example"))
	s.do(rita.Token, "POST", "/api/v1/users", invite("wim@WEST.example"))
	token, _ := s.mail("wim@WEST.example", 0)
	s.accept(token)
	domains := get[struct {
		Domains []struct {
			Domain string
			Users  int `json:"active_users"`
		}
	}](s, rita.Token, path).Domains
	if len(domains) != 1 || domains[0].Domain != "west.example" || domains[0].Users != 1 {
		s.t.Errorf("domains %+v", domains)
	}
	s.refuse(409, "wrong-state", rita.Token, "DELETE", path+"/west.example", "")
	s.do(rita.Token, "PUT", path+"/east.example", "")
	s.do(rita.Token, "POST", "/api/v1/users", invite("eve@east.example"))
	s.do(rita.Token, "DELETE", path+"/east.example", "") // who is only invited keeps none
	west := s.signIn("host-west", "wim@west.example")
	s.refuse(403, "forbidden", west.Token, "GET", path, "")
	s.refuse(403, "forbidden", west.Token, "PUT", path+"/evil.example", "")
}

// secondFactors goes through the four modes of a tenant: disabled, optional, for admins, for all.
func secondFactors(s *site, rita control.SignedIn) {
	s.do(rita.Token, "POST", "/api/v1/tenants", `{"name":"host-safe","parent":"host"}`)
	set := func(mode string) {
		s.t.Helper()
		s.do(rita.Token, "PATCH", "/api/v1/tenants/host-safe/security", quoted(`{"second_factor":%q}`, mode))
	}
	s.refuse(400, "invalid-argument", rita.Token, "PATCH", "/api/v1/tenants/host-safe/security", `{"second_factor":"sometimes"}`)
	admin, viewer := s.first("host-safe", "ada@safe.example", "admin"), s.first("host-safe", "vic@safe.example", "viewer")
	const factor = "/api/v1/account/second-factor"

	set("disabled")
	s.soon("that there is none", func() bool { status, _ := s.ask(viewer.Token, "POST", factor, ""); return status == 409 })
	set("optional")
	s.soon("that there may be one", func() bool { status, _ := s.ask(viewer.Token, "POST", factor, ""); return status == 201 })
	if got := get[control.Session](s, admin.Token, "/api/v1/session"); got.MustEnrol {
		s.t.Error("what is optional is asked for")
	}

	// For admins: a session that lives must enrol, and does nothing else before.
	set("admins")
	s.soon("that admins have to", func() bool { return get[control.Session](s, admin.Token, "/api/v1/session").MustEnrol })
	s.refuse(403, "second-factor-enrolment", admin.Token, "GET", "/api/v1/users", "")
	s.do(viewer.Token, "GET", "/api/v1/account", "")
	enrolment := send[control.Enrolment](s, admin.Token, "POST", factor, "")
	s.refuse(403, "second-factor-wrong", admin.Token, "POST", factor+"/confirm", `{"code":"12345"}`)
	recovery := send[control.RecoveryCodes](s, admin.Token, "POST", factor+"/confirm", quoted(`{"code":%q}`, code(s.t, enrolment.Secret, 0))).Codes
	if len(recovery) != 10 {
		s.t.Errorf("%d recovery codes", len(recovery))
	}
	s.soon("that it suffices", func() bool { status, _ := s.ask(admin.Token, "GET", "/api/v1/users", ""); return status == 200 })
	signIn := func(code string) (int, string) {
		return s.ask("", "POST", "/api/v1/sign-in", quoted(`{"slug":"host-safe","email":"ada@safe.example","password":%q,"code":%q}`, modelPassword, code))
	}
	if status, text := signIn(""); status != 401 || !strings.Contains(text, "second-factor-needed") {
		s.t.Errorf("sign-in without a code: %d %s", status, text)
	}
	next := code(s.t, enrolment.Secret, 1) // the present one is used
	for i, c := range []struct {
		code string
		want int
	}{{next, 200}, {next, 403}, {recovery[0], 200}, {recovery[0], 403}, {recovery[1], 200}} {
		if status, text := signIn(c.code); status != c.want {
			s.t.Errorf("sign-in %d with a code: %d %s, want %d", i, status, text, c.want)
		}
	}
	s.refuse(409, "wrong-state", admin.Token, "DELETE", factor, quoted(`{"code":%q}`, recovery[2]))

	// For all.
	set("required")
	s.soon("that all have to", func() bool { return get[control.Session](s, viewer.Token, "/api/v1/session").MustEnrol })
	if again := s.signIn("host-safe", "vic@safe.example"); !again.MustEnrol || len(again.Permissions) != 0 {
		s.t.Errorf("signed in without one: %+v", again)
	}
	if status, _ := s.ask(viewer.Token, "POST", "/api/v1/query", `{"query":"logs | count"}`); status != 403 {
		s.t.Errorf("query before the enrolment: %d", status)
	}
	set("optional")
	s.soon("that none have to", func() bool {
		status, _ := s.ask(viewer.Token, "POST", "/api/v1/query", `{"query":"logs | count"}`)
		return status == 200
	})
}

// code is the one that an authenticator shows (RFC 6238), steps of 30 s from now.
func code(t *testing.T, secret string, steps int64) string {
	t.Helper()
	key, err := base32.StdEncoding.WithPadding(base32.NoPadding).DecodeString(secret)
	if err != nil {
		t.Fatal(err)
	}
	h := hmac.New(sha1.New, key)
	_ = binary.Write(h, binary.BigEndian, time.Now().Unix()/30+steps)
	sum := h.Sum(nil)
	at := sum[len(sum)-1] & 15
	return fmt.Sprintf("%06d", binary.BigEndian.Uint32(sum[at:])&0x7fffffff%1000000)
}

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
	waitFor(s.t, "the tenant to be gone", func() bool {
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
	end := time.Now().Add(3 * time.Second).UTC().Format(time.RFC3339Nano)
	third := act(sam, second.ID, "clone", quoted(`{"until":%q}`, end))
	if third.Status != "pending" || third.ID == second.ID || third.Role != "look-into-it" {
		s.t.Errorf("cloned %+v", third)
	}
	act(one, third.ID, "approve", "")
	s.soon("the cloned access", reaches)
	waitFor(s.t, "the access to end", func() bool { return !reaches() })
	fourth := act(sam, third.ID, "clone", `{"expiry":"1h"}`)
	for status, want := range map[string]string{"pending": fourth.ID, "expired": third.ID, "rejected": second.ID, "revoked": first.ID} {
		found := get[control.AccessRequests](s, one.Token, path+"?search=SAM@pipe&status="+status).AccessRequests
		if len(found) != 1 || found[0].ID != want || found[0].Status != status {
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
