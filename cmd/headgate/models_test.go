package main

import (
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/headgate-io/headgate/control"
	"github.com/headgate-io/headgate/internal/asktest"
	"github.com/headgate-io/headgate/internal/pgtest"
	"github.com/headgate-io/headgate/internal/timetest"
)

// The four organizations that headgate is made for, each from the first tenant on, by the public API of real processes on both
// databases. What a test knows it has from answers, as people do; what an answer has to be is written here.
func TestOrganizationModels(t *testing.T) {
	onBothDatabases(t, map[string]func(*site){
		"hosted platform": hostedPlatform, "company with groups": companyWithGroups, "hosting tree": hostingTree, "tenants view": tenantsView,
	})
}

// onBothDatabases runs scenarios that have nothing to do with each other on one headgate of each database.
func onBothDatabases(t *testing.T, scenarios map[string]func(*site)) {
	for _, database := range []string{"sqlite", "postgres"} {
		t.Run(database, func(t *testing.T) {
			var args []string
			if database == "postgres" {
				args = []string{"--store", pgtest.Start(t).URL()}
			}
			p := serveOn(t, t.TempDir(), args...)
			for _, name := range slices.Sorted(maps.Keys(scenarios)) {
				t.Run(name, func(t *testing.T) { scenarios[name](&site{t: t, process: p, operator: p.operatorToken()}) })
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

// ask sends one request to the API with a credential, "" for none.
func (s *site) ask(credential, method, path, body string) (int, string) {
	s.t.Helper()
	resp, text := asktest.Do(s.t, method, "http://"+s.addr.API+path, body, asktest.Bearer(credential))
	return resp.StatusCode, text
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

// soon wants something to be so without more being done. The promise is a second; revocation_test measures that.
func (s *site) soon(what string, ok func() bool) {
	s.t.Helper()
	timetest.Eventually(s.t, what, ok)
}

// ending has something begun that ends by itself, sees it in force once before that, and returns its end. begin reports whether it
// could be begun; it is given a later end if the machine took so long that the first one came.
func (s *site) ending(begin func(end time.Time) bool, inForce func() bool) time.Time {
	s.t.Helper()
	for left := 3 * time.Second; left < commandPatience; left *= 2 {
		end := timeNow().Add(left).UTC().Truncate(time.Millisecond) // as it is kept
		if !begin(end) && timeNow().Before(end) {
			s.t.Fatalf("it cannot be begun before its end at %v", end)
		}
		for timeNow().Before(end) {
			if inForce() {
				return end
			}
		}
	}
	s.t.Fatal("it was never in force")
	return time.Time{}
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
	timetest.Eventually(s.t, "a message to "+to, func() bool {
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
