package control

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/headgate-io/headgate/internal/pgtest"
	"github.com/headgate-io/headgate/internal/store/storetest"
)

func TestMain(m *testing.M) { pgtest.Main(m) }

// family makes a parent with a child, and a stranger.
func (s *server) family() {
	s.t.Helper()
	for _, body := range []string{`{"name":"parent"}`, `{"name":"child","parent":"parent"}`, `{"name":"grandchild","parent":"child"}`, `{"name":"stranger"}`} {
		ok[Tenant](s, 201, s.operator, "POST", "/api/v1/tenants", body)
	}
}

func bodyOf(v any) string {
	raw, err := json.Marshal(v)
	if err != nil {
		panic(err)
	}
	return string(raw)
}

// All five states, and every way between them, as people see them.
func TestAccessRequestsFromTheFirstAskingToTheEnd(t *testing.T) {
	storetest.Each(t, func(t *testing.T) {
		s := start(t)
		s.family()
		rita, sam := s.user("parent", "rita@example.com", "root-admin"), s.user("parent", "sam@example.com", "viewer")
		ann, bob, vic := s.user("child", "ann@example.com", "admin"), s.user("child", "bob@example.com", "admin"), s.user("child", "vic@example.com", "viewer")
		fay := s.user("stranger", "fay@example.com", "root-admin")
		const path = "/api/v1/access-requests"
		reaches := func() bool {
			status, _ := s.call(sam.Token, "GET", "/api/v1/teams?tenant=child", "")
			return status == 200
		}
		listed := func(token, query string) (ids []string) {
			for _, r := range ok[AccessRequests](s, 200, token, "GET", path+"?"+query, "").AccessRequests {
				ids = append(ids, r.ID)
			}
			return ids
		}
		post := func(token, id, what, body string, status int) AccessRequest {
			t.Helper()
			return ok[AccessRequest](s, status, token, "POST", path+"/"+id+"/"+what, body)
		}

		// A selection of permissions is saved as a role, and asked for by its name.
		role := ok[Role](s, 201, rita.Token, "POST", "/api/v1/roles", `{"name":"Support","permissions":["users.read","audit.read"]}`)
		if role.Name != "support" || role.Builtin || !slices.Equal(role.Permissions, []string{"users.read", "audit.read"}) {
			t.Errorf("saved %+v", role)
		}
		r := ok[AccessRequest](s, 201, sam.Token, "POST", path, `{"tenant":"child","role":"support","expiry":"8h","note":"ticket 4711"}`)
		if r.Status != "pending" || r.Email != "sam@example.com" || r.Tenant != "child" || r.PermissionCount != 2 || r.Role != "support" || r.Expiry != "8h" ||
			r.ExpiresAt != nil || r.LeftSeconds != nil || r.DecidedBy != "" {
			t.Errorf("asked for %+v", r)
		}
		if reaches() {
			t.Error("a pending request is in force")
		}
		for name, token := range map[string]string{"requester": sam.Token, "root admin": rita.Token, "admin there": ann.Token, "operator": s.operator} {
			if ids := listed(token, "status=pending&search=SAM"); !slices.Equal(ids, []string{r.ID}) {
				t.Errorf("%s sees %v", name, ids)
			}
		}
		for name, token := range map[string]string{"viewer there": vic.Token, "stranger": fay.Token} {
			if ids := listed(token, ""); len(ids) != 0 {
				t.Errorf("%s sees %v", name, ids)
			}
		}
		s.refused(403, "forbidden", sam.Token, "POST", path+"/"+r.ID+"/approve", "")
		s.refused(403, "forbidden", vic.Token, "POST", path+"/"+r.ID+"/approve", "")
		for _, what := range []string{"approve", "reject", "revoke", "clone"} {
			const missing = "01J00000000000000000000000"
			there, thereText := s.call(fay.Token, "POST", path+"/"+r.ID+"/"+what, "")
			gone, goneText := s.call(fay.Token, "POST", path+"/"+missing+"/"+what, "")
			if there != 404 || gone != 404 || strings.ReplaceAll(thereText, r.ID, missing) != goneText {
				t.Errorf("%s by a stranger: %d %s, of nothing %d %s", what, there, thereText, gone, goneText)
			}
		}

		// Active, until it is revoked.
		active := post(ann.Token, r.ID, "approve", "", 200)
		if active.Status != "active" || active.DecidedBy != "ann@example.com" || active.DecidedAt == nil || active.LeftSeconds == nil ||
			*active.LeftSeconds > 8*3600 || *active.LeftSeconds < 8*3600-60 {
			t.Errorf("approved %+v", active)
		}
		if !reaches() {
			t.Error("approved access is not in force")
		}
		s.refused(403, "forbidden", sam.Token, "POST", "/api/v1/teams", `{"tenant":"child","name":"mine"}`)
		ok[Session](s, 200, sam.Token, "POST", "/api/v1/session/act", `{"tenant":"child"}`)
		s.refused(409, "wrong-state", bob.Token, "POST", path+"/"+r.ID+"/reject", "")
		s.refused(403, "forbidden", sam.Token, "POST", path+"/"+r.ID+"/extend", `{"expiry":"1d"}`)
		later := post(bob.Token, r.ID, "extend", `{"expiry":"1d"}`, 200)
		if got := later.ExpiresAt.Sub(*active.ExpiresAt); got != 24*time.Hour || later.DecidedBy != "bob@example.com" {
			t.Errorf("extended by %v: %+v", got, later)
		}
		if revoked := post(ann.Token, r.ID, "revoke", "", 200); revoked.Status != "revoked" || revoked.LeftSeconds != nil {
			t.Errorf("revoked %+v", revoked)
		}
		if reaches() {
			t.Error("revoked access is in force")
		}
		sam = s.signIn("parent", "sam@example.com") // the session acted in the child
		s.refused(409, "wrong-state", ann.Token, "POST", path+"/"+r.ID+"/extend", `{"expiry":"1d"}`)

		// A clone, rejected.
		rejected := post(sam.Token, r.ID, "clone", "", 201)
		if rejected.ID == r.ID || rejected.Status != "pending" || rejected.Note != r.Note || rejected.Role != "support" || rejected.Expiry != "8h" {
			t.Errorf("cloned %+v", rejected)
		}
		s.refused(403, "forbidden", sam.Token, "POST", path+"/"+rejected.ID+"/reject", "")
		post(bob.Token, rejected.ID, "reject", "", 200)
		s.refused(409, "wrong-state", ann.Token, "POST", path+"/"+rejected.ID+"/approve", "")

		// Another, with an end that comes by the server's clock.
		end := s.clock.Now().Add(time.Hour).UTC().Truncate(time.Millisecond) // as it is kept
		short := post(sam.Token, rejected.ID, "clone", bodyOf(AccessExpiry{Until: &end}), 201)
		post(ann.Token, short.ID, "approve", "", 200)
		for _, left := range []time.Duration{time.Hour, 20 * time.Minute} { // no test takes that long
			s.clock.Add(end.Sub(s.clock.Now()) - left)
			if !reaches() {
				t.Errorf("approved access is not in force %v before its end", left)
			}
		}
		s.clock.Add(end.Sub(s.clock.Now()))
		if reaches() {
			t.Error("access is in force at its end")
		}
		over := ok[AccessRequest](s, 200, sam.Token, "GET", path+"/"+short.ID, "")
		if over.Status != "expired" || over.LeftSeconds != nil || !over.ExpiresAt.Equal(end) {
			t.Errorf("after its end %+v", over)
		}

		// And one that is taken back.
		taken := post(sam.Token, short.ID, "clone", `{"expiry":"1h"}`, 201)
		post(sam.Token, taken.ID, "revoke", "", 200)
		waiting := post(sam.Token, taken.ID, "clone", "", 201)
		for status, want := range map[string][]string{"pending": {waiting.ID}, "active": nil, "expired": {short.ID}, "rejected": {rejected.ID}, "revoked": {taken.ID, r.ID}} {
			if ids := listed(ann.Token, "status="+status); !slices.Equal(ids, want) {
				t.Errorf("%s are %v, want %v", status, ids, want)
			}
		}
		var walked []string
		for cursor := ""; ; {
			page := ok[AccessRequests](s, 200, ann.Token, "GET", path+"?limit=2&cursor="+cursor, "")
			for _, r := range page.AccessRequests {
				walked = append(walked, r.ID)
			}
			if cursor = page.Next; cursor == "" {
				break
			}
		}
		if want := []string{waiting.ID, taken.ID, short.ID, rejected.ID, r.ID}; !slices.Equal(walked, want) {
			t.Errorf("pages have %v, want %v", walked, want)
		}

		// Both tenants can tell the story.
		for _, of := range []string{"parent", "child"} {
			seen := map[string]int{}
			for _, e := range ok[AuditPage](s, 200, s.operator, "GET", "/api/v1/audit?limit=1000&tenant="+of, "").Entries {
				if e.Outcome == "ok" {
					seen[e.Action]++
				}
			}
			for action, least := range map[string]int{"access.request": 1, "access.clone": 4, "access.approve": 2, "access.extend": 1, "access.reject": 1, "access.revoke": 2, "team.list": 2} {
				if seen[action] < least {
					t.Errorf("audit of %s: %d of %s, want %d", of, seen[action], action, least)
				}
			}
		}
	})
}

func TestRolesTeamsAndGrantsThroughTheAPI(t *testing.T) {
	storetest.Each(t, func(t *testing.T) {
		s := start(t)
		s.family()
		rita, ann := s.user("parent", "rita@example.com", "root-admin"), s.user("parent", "ann@example.com", "admin")
		vic, fay := s.user("parent", "vic@example.com", "viewer"), s.user("stranger", "fay@example.com", "admin")
		can := func(token, path string, want int) {
			t.Helper()
			if status, text := s.call(token, "GET", path, ""); status != want {
				t.Errorf("GET %s: %d %s, want %d", path, status, text, want)
			}
		}
		role := ok[Role](s, 201, ann.Token, "POST", "/api/v1/roles", `{"name":"people","permissions":["users.read"]}`)
		team := ok[Team](s, 201, ann.Token, "POST", "/api/v1/teams", `{"name":"Desk","roles":["people"]}`)
		if len(team.Roles) != 1 || team.Roles[0] != (RoleName{role.ID, "people"}) {
			t.Errorf("created %+v", team)
		}
		can(vic.Token, "/api/v1/teams", 403)
		member := "/api/v1/teams/" + team.ID + "/members/"
		if got := ok[Team](s, 200, ann.Token, "PUT", member+vic.User.ID, ""); got.Members != 1 {
			t.Errorf("with a member %+v", got)
		}
		can(vic.Token, "/api/v1/teams", 200)
		if got := ok[Members](s, 200, vic.Token, "GET", "/api/v1/teams/"+team.ID+"/members", ""); len(got.Members) != 1 || got.Members[0].Email != "vic@example.com" {
			t.Errorf("members %+v", got)
		}
		if got := ok[Teams](s, 200, vic.Token, "GET", "/api/v1/users/"+vic.User.ID+"/teams", ""); len(got.Teams) != 1 || got.Teams[0].Name != "desk" {
			t.Errorf("teams of a user %+v", got)
		}
		s.refused(409, "wrong-state", ann.Token, "DELETE", "/api/v1/roles/"+role.ID, "")
		if got := ok[Role](s, 200, ann.Token, "PATCH", "/api/v1/roles/"+role.ID, `{"permissions":["usage.read"],"name":"numbers"}`); got.Name != "numbers" {
			t.Errorf("changed %+v", got)
		}
		can(vic.Token, "/api/v1/teams", 403)
		if got := ok[Roles](s, 200, ann.Token, "GET", "/api/v1/roles?limit=1000", ""); len(got.Roles) != 6 || !got.Roles[0].Builtin || got.Roles[5].Name != "numbers" {
			t.Errorf("roles %+v", got)
		}
		ok[Team](s, 200, ann.Token, "PATCH", "/api/v1/teams/"+team.ID, `{"roles":[]}`)
		for _, gone := range []string{"/api/v1/roles/" + role.ID, "/api/v1/teams/" + team.ID} {
			if status, text := s.call(ann.Token, "DELETE", gone, ""); status != 204 {
				t.Errorf("DELETE %s: %d %s", gone, status, text)
			}
			s.refused(404, "not-found", ann.Token, "GET", gone, "")
		}

		grant := "/api/v1/users/" + vic.User.ID + "/grants/child"
		s.refused(404, "not-found", ann.Token, "PUT", grant, "") // ann does not reach it
		s.refused(404, "not-found", fay.Token, "PUT", grant, "")
		can(vic.Token, "/api/v1/tenants/child", 404)
		if got := ok[Grant](s, 200, rita.Token, "PUT", grant, ""); got.Tenant != "child" || got.GrantedBy != "user:"+rita.User.ID {
			t.Errorf("granted %+v", got)
		}
		can(vic.Token, "/api/v1/tenants/child", 403) // viewers do not read tenants' settings, at home neither
		ok[Session](s, 200, vic.Token, "POST", "/api/v1/session/act", `{"tenant":"child"}`)
		ok[Grant](s, 200, rita.Token, "GET", grant, "")
		if got := ok[Grants](s, 200, rita.Token, "GET", "/api/v1/users/"+vic.User.ID+"/grants", ""); len(got.Grants) != 1 {
			t.Errorf("grants %+v", got)
		}
		if got := ok[Grants](s, 200, ann.Token, "GET", "/api/v1/users/"+vic.User.ID+"/grants", ""); len(got.Grants) != 0 {
			t.Errorf("grants out of reach are told: %+v", got)
		}
		if status, text := s.call(rita.Token, "DELETE", grant, ""); status != 204 {
			t.Errorf("withdraw: %d %s", status, text)
		}
		s.refused(401, "session-ended", vic.Token, "GET", "/api/v1/session", "")
		s.refused(404, "not-found", rita.Token, "GET", grant, "")
	})
}

func TestBadRequestsAboutAccessAreRefusedByCode(t *testing.T) {
	s := start(t)
	s.family()
	ann, rita := s.user("parent", "ann@example.com", "admin"), s.user("parent", "rita@example.com", "root-admin")
	role := ok[Role](s, 201, rita.Token, "POST", "/api/v1/roles", `{"name":"burn","permissions":["tenants.delete"]}`)
	ok[Team](s, 201, ann.Token, "POST", "/api/v1/teams", `{"name":"ops"}`)
	key := s.key("parent", "admin", "query")
	ask := func(rest string) string { return fmt.Sprintf(`{"tenant":"child",%s}`, rest) }
	for _, c := range []struct {
		status int
		code   string
		by     string
		method string
		path   string
		body   string
	}{
		{400, "invalid-argument", ann.Token, "POST", "/roles", `{"name":"two words","permissions":["audit.read"]}`},
		{400, "invalid-argument", ann.Token, "POST", "/roles", `{"name":"x","permissions":["audit.burn"]}`},
		{400, "invalid-argument", ann.Token, "POST", "/roles", `{"name":"x","permissions":[]}`},
		{400, "invalid-argument", s.operator, "POST", "/roles", `{"name":"x","permissions":["audit.read"]}`},
		{400, "body-invalid", ann.Token, "POST", "/roles", `{"name":"x","permission":["audit.read"]}`},
		{409, "name-taken", ann.Token, "POST", "/roles", `{"name":"Viewer","permissions":["audit.read"]}`},
		{409, "name-taken", ann.Token, "POST", "/roles", `{"name":"BURN","permissions":["audit.read"]}`},
		{403, "forbidden", ann.Token, "POST", "/roles", `{"name":"x","permissions":["tenants.delete"]}`},
		{403, "forbidden", ann.Token, "PATCH", "/roles/" + role.ID, `{"name":"x"}`},
		{403, "forbidden", ann.Token, "DELETE", "/roles/" + role.ID, ``},
		{409, "wrong-state", rita.Token, "DELETE", "/roles/viewer", ``},
		{404, "not-found", ann.Token, "GET", "/roles/01J00000000000000000000000", ``},
		{404, "not-found", ann.Token, "GET", "/roles?tenant=child", ``},
		{404, "not-found", ann.Token, "POST", "/roles", `{"tenant":"stranger","name":"x","permissions":["audit.read"]}`},
		{400, "invalid-argument", ann.Token, "GET", "/roles?limit=0", ``},
		{409, "name-taken", ann.Token, "POST", "/teams", `{"name":"OPS"}`},
		{404, "not-found", ann.Token, "POST", "/teams", `{"name":"x","roles":["nothing"]}`},
		{403, "forbidden", ann.Token, "POST", "/teams", `{"name":"x","roles":["burn"]}`},
		{404, "not-found", ann.Token, "PUT", "/teams/01J00000000000000000000000/members/x", ``},
		{404, "not-found", ann.Token, "GET", "/users/nobody/grants", ``},
		{404, "not-found", ann.Token, "GET", "/users/nobody/teams", ``},
		{400, "invalid-argument", rita.Token, "PUT", "/users/" + ann.User.ID + "/grants/parent", ``},
		{404, "not-found", rita.Token, "PUT", "/users/" + ann.User.ID + "/grants/stranger", ``},
		{404, "not-found", ann.Token, "POST", "/access-requests", `{"tenant":"stranger","role":"viewer","expiry":"1h"}`},
		{404, "not-found", ann.Token, "POST", "/access-requests", `{"tenant":"nobody","role":"viewer","expiry":"1h"}`},
		{404, "not-found", ann.Token, "POST", "/access-requests", ask(`"role":"nothing","expiry":"1h"`)},
		{400, "invalid-argument", ann.Token, "POST", "/access-requests", ask(`"role":"viewer"`)},
		{400, "invalid-argument", ann.Token, "POST", "/access-requests", ask(`"role":"viewer","expiry":"3h"`)},
		{400, "invalid-argument", ann.Token, "POST", "/access-requests", ask(`"role":"viewer","expiry":"1h","until":"2100-01-01T00:00:00Z"`)},
		{400, "invalid-argument", ann.Token, "POST", "/access-requests", ask(`"role":"viewer","until":"2100-01-01T00:00:00Z"`)},
		{400, "invalid-argument", ann.Token, "POST", "/access-requests", ask(`"role":"viewer","until":"2001-01-01T00:00:00Z"`)},
		{400, "body-invalid", ann.Token, "POST", "/access-requests", ask(`"role":"viewer","until":"tomorrow"`)},
		{400, "invalid-argument", ann.Token, "POST", "/access-requests", ask(`"role":"viewer","permissions":["audit.read"],"expiry":"1h"`)},
		{400, "invalid-argument", ann.Token, "POST", "/access-requests", ask(`"permissions":["audit.burn"],"expiry":"1h"`)},
		{400, "invalid-argument", ann.Token, "POST", "/access-requests", ask(`"expiry":"1h"`)},
		{400, "body-missing", ann.Token, "POST", "/access-requests", ``},
		{403, "forbidden", s.operator, "POST", "/access-requests", ask(`"role":"viewer","expiry":"1h"`)},
		{403, "forbidden", key, "POST", "/access-requests", ask(`"role":"viewer","expiry":"1h"`)},
		{400, "invalid-argument", ann.Token, "GET", "/access-requests?status=approved", ``},
		{400, "invalid-argument", ann.Token, "GET", "/access-requests?mine=yes", ``},
		{404, "not-found", ann.Token, "GET", "/access-requests?tenant=stranger", ``},
		{404, "not-found", ann.Token, "POST", "/access-requests/x/approve", ``},
		{401, "credential-missing", "", "GET", "/access-requests", ``},
	} {
		s.refused(c.status, c.code, c.by, c.method, "/api/v1"+c.path, c.body)
	}
}
