package control

import (
	"context"
	"encoding/json"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/headgate-io/headgate/auth"
	"github.com/headgate-io/headgate/internal/asktest"
	"github.com/headgate-io/headgate/internal/store/storetest"
)

const testPassword = "correct horse battery"

// mailbox is a Sender that hands on what it is given.
type mailbox chan auth.Message

func (m mailbox) Send(_ context.Context, msg auth.Message) error {
	m <- msg
	return nil
}

// withMail runs an outbox.
func (s *server) withMail() mailbox {
	s.t.Helper()
	m := make(mailbox, 10)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- s.api.Directory.NewOutbox(auth.OutboxOptions{Sender: m}).Run(ctx) }()
	s.t.Cleanup(func() { cancel(); <-done })
	return m
}

func (m mailbox) wait(t *testing.T) auth.Message {
	t.Helper()
	select {
	case msg := <-m:
		return msg
	case <-time.After(20 * time.Second):
		t.Fatal("no message within 20 s")
		return auth.Message{}
	}
}

// user makes an active user and returns a session of it.
func (s *server) user(slug, email, role string) SignedIn {
	s.t.Helper()
	body, _ := json.Marshal(NewUser{Tenant: slug, Email: email, Role: role, Password: testPassword})
	ok[User](s, 201, s.operator, "POST", "/api/v1/users", string(body))
	return s.signIn(slug, email)
}

func (s *server) signIn(slug, email string) SignedIn {
	s.t.Helper()
	body, _ := json.Marshal(SignInRequest{Slug: slug, Email: email, Password: testPassword})
	return ok[SignedIn](s, 200, "", "POST", "/api/v1/sign-in", string(body))
}

// send sends a request with headers, as a browser does.
func (s *server) send(method, path, body string, header ...string) (*http.Response, string) {
	s.t.Helper()
	h := http.Header{}
	for i := 0; i < len(header); i += 2 {
		h.Add(header[i], header[i+1])
	}
	return asktest.Do(s.t, method, s.url+path, body, h)
}

func TestPeopleAreInvitedSignInAndSignOut(t *testing.T) {
	storetest.Each(t, testPeopleAreInvitedSignInAndSignOut)
}

func testPeopleAreInvitedSignInAndSignOut(t *testing.T) {
	s := start(t)
	mail := s.withMail()
	ok[Tenant](s, 201, s.operator, "POST", "/api/v1/tenants", `{"name":"acme"}`)
	ann := s.user("acme", "ann@example.com", "admin")
	if ann.Tenant != "acme" || !ann.Home || ann.User.Email != "ann@example.com" || len(ann.Permissions) < 10 || ann.CSRF == "" {
		t.Errorf("signed in %+v", ann)
	}
	bob := ok[User](s, 201, ann.Token, "POST", "/api/v1/users", `{"email":"Bob@example.com","role":"viewer"}`)
	if bob.Status != "invited" || bob.RoleName != "viewer" || bob.Tenant != "acme" {
		t.Errorf("invited %+v", bob)
	}
	token := mail.wait(t).Token
	s.refused(400, "token-invalid", "", "POST", "/api/v1/invitations/accept", `{"token":"`+token+`x","password":"`+testPassword+`"}`)
	s.refused(400, "invalid-argument", "", "POST", "/api/v1/invitations/accept", `{"token":"`+token+`","password":"short"}`)
	got := ok[Accepted](s, 200, "", "POST", "/api/v1/invitations/accept", `{"token":"`+token+`","name":"Bob","password":"`+testPassword+`"}`)
	if got.Slug != "acme" || got.Email != "Bob@example.com" {
		t.Errorf("accepted %+v", got)
	}
	in := s.signIn("acme", "bob@example.com")
	if list := ok[Users](s, 200, ann.Token, "GET", "/api/v1/users?search=BOB", ""); len(list.Users) != 1 || list.Users[0].Name != "Bob" {
		t.Errorf("listed %+v", list)
	}
	s.refused(403, "forbidden", in.Token, "GET", "/api/v1/users", "")
	s.refused(409, "email-taken", ann.Token, "POST", "/api/v1/users", `{"email":"bob@example.com","role":"viewer"}`)
	s.refused(409, "last-admin", ann.Token, "DELETE", "/api/v1/users/"+ann.User.ID, "")
	if u := ok[User](s, 200, in.Token, "PATCH", "/api/v1/account", `{"name":"Robert"}`); u.Name != "Robert" {
		t.Errorf("renamed %+v", u)
	}

	// A new password ends the other sessions, not the one that sets it.
	other := s.signIn("acme", "bob@example.com")
	if list := ok[OwnSessions](s, 200, in.Token, "GET", "/api/v1/account/sessions", ""); len(list.Sessions) != 2 {
		t.Errorf("sessions %+v", list)
	}
	s.refused(403, "password-wrong", in.Token, "PUT", "/api/v1/account/password", `{"present":"wrong wrong wrong","wanted":"another good one"}`)
	s.refused(400, "invalid-argument", in.Token, "PUT", "/api/v1/account/password", `{"present":"`+testPassword+`","wanted":"bob@example.com"}`)
	if status, text := s.call(in.Token, "PUT", "/api/v1/account/password", `{"present":"`+testPassword+`","wanted":"another good one"}`); status != 204 {
		t.Errorf("set a password: %d %s", status, text)
	}
	s.refused(401, "session-ended", other.Token, "GET", "/api/v1/session", "")
	s.refused(401, "sign-in-failed", "", "POST", "/api/v1/sign-in", `{"slug":"acme","email":"bob@example.com","password":"`+testPassword+`"}`)

	// A reset answers alike whoever exists, and ends all sessions.
	_, there := s.call("", "POST", "/api/v1/password-reset", `{"slug":"acme","email":"bob@example.com"}`)
	status, missing := s.call("", "POST", "/api/v1/password-reset", `{"slug":"acme","email":"nobody@example.com"}`)
	if there != missing || status != 202 {
		t.Errorf("reset: %d %s and %s", status, there, missing)
	}
	msg := mail.wait(t)
	if msg.To != "Bob@example.com" || msg.Kind != "reset" {
		t.Errorf("message %+v", msg)
	}
	ok[Accepted](s, 200, "", "POST", "/api/v1/password-reset/accept", `{"token":"`+msg.Token+`","password":"`+testPassword+`"}`)
	s.refused(400, "token-invalid", "", "POST", "/api/v1/password-reset/accept", `{"token":"`+msg.Token+`","password":"`+testPassword+`"}`)
	s.refused(401, "session-ended", in.Token, "GET", "/api/v1/session", "")

	in, other = s.signIn("acme", "bob@example.com"), s.signIn("acme", "bob@example.com")
	s.refused(404, "not-found", in.Token, "DELETE", "/api/v1/account/sessions/"+ann.ID, "")
	if status, _ := s.call(in.Token, "DELETE", "/api/v1/account/sessions/"+other.ID, ""); status != 204 {
		t.Errorf("end another session: %d", status)
	}
	s.refused(401, "session-ended", other.Token, "GET", "/api/v1/session", "")
	other = s.signIn("acme", "bob@example.com")
	if status, _ := s.call(in.Token, "POST", "/api/v1/sign-out-everywhere", ""); status != 204 {
		t.Errorf("sign out everywhere: %d", status)
	}
	for _, token := range []string{in.Token, other.Token} {
		s.refused(401, "session-ended", token, "GET", "/api/v1/session", "")
	}
	for _, tok := range []string{s.operator, s.key("acme", "admin")} {
		s.refused(403, "forbidden", tok, "GET", "/api/v1/session", "")
		s.refused(403, "forbidden", tok, "GET", "/api/v1/account", "")
		s.refused(403, "forbidden", tok, "POST", "/api/v1/session/act", `{"tenant":"acme"}`)
	}
}

func TestBrowsersNeedTheHeaderBesideTheCookie(t *testing.T) {
	storetest.Each(t, testBrowsersNeedTheHeaderBesideTheCookie)
}

func testBrowsersNeedTheHeaderBesideTheCookie(t *testing.T) {
	s := start(t)
	ok[Tenant](s, 201, s.operator, "POST", "/api/v1/tenants", `{"name":"acme"}`)
	s.user("acme", "ann@example.com", "admin")
	in := `{"slug":"acme","email":"ann@example.com","password":"` + testPassword + `"}`
	resp, text := s.send("POST", "/api/v1/sign-in", in, "Sec-Fetch-Site", "same-origin")
	var signed SignedIn
	if err := json.Unmarshal([]byte(text), &signed); err != nil || resp.StatusCode != 200 || resp.Header.Get("Cache-Control") != "no-store" {
		t.Fatalf("%d %s %v", resp.StatusCode, text, resp.Header)
	}
	cookies := resp.Cookies()
	if len(cookies) != 1 || cookies[0].Name != "headgate_session" || !cookies[0].HttpOnly || cookies[0].Secure || cookies[0].SameSite != http.SameSiteLaxMode || cookies[0].Path != "/" {
		t.Errorf("cookies on plain loopback: %v", cookies)
	}
	req, _ := http.NewRequest("POST", "http://headgate.example/api/v1/sign-in", nil)
	if c := sessionCookie(req, SessionCookie, "/", "x", time.Hour); !c.Secure {
		t.Error("elsewhere the cookie is not Secure")
	}
	if resp, text := s.send("POST", "/api/v1/sign-in", in, "Sec-Fetch-Site", "cross-site"); resp.StatusCode != 403 || !strings.Contains(text, `"csrf"`) || len(resp.Cookies()) > 0 {
		t.Errorf("sign-in for another page: %d %s", resp.StatusCode, text)
	}
	cookie := "headgate_session=" + signed.Token
	for what, c := range map[string]struct {
		status int
		method string
		header []string
	}{
		"look":                         {200, "GET", nil},
		"change without the header":    {403, "PATCH", nil},
		"change":                       {200, "PATCH", []string{CSRFHeader, signed.CSRF}},
		"of the same origin":           {200, "PATCH", []string{CSRFHeader, signed.CSRF, "Sec-Fetch-Site", "same-origin", "Origin", s.url}},
		"with another header":          {403, "PATCH", []string{CSRFHeader, signed.CSRF[:len(signed.CSRF)-1] + "_"}},
		"for another site's page":      {403, "PATCH", []string{CSRFHeader, signed.CSRF, "Sec-Fetch-Site", "cross-site"}},
		"for a neighbour's page":       {403, "PATCH", []string{CSRFHeader, signed.CSRF, "Sec-Fetch-Site", "same-site"}},
		"by an old browser, elsewhere": {403, "PATCH", []string{CSRFHeader, signed.CSRF, "Origin", "https://evil.example"}},
		"with two cookies":             {401, "GET", []string{"Cookie", "headgate_session=hgs_other"}},
	} {
		resp, text := s.send(c.method, "/api/v1/account", `{"name":"x"}`, append([]string{"Cookie", cookie}, c.header...)...)
		if resp.StatusCode != c.status {
			t.Errorf("%s: %d %s, want %d", what, resp.StatusCode, text, c.status)
		}
	}
	// A session of another user has another value.
	other := s.user("acme", "bob@example.com", "viewer")
	if resp, _ := s.send("PATCH", "/api/v1/account", `{"name":"x"}`, "Cookie", cookie, CSRFHeader, other.CSRF); resp.StatusCode != 403 {
		t.Errorf("another session's header: %d", resp.StatusCode)
	}
	if resp, text := s.send("POST", "/api/v1/sign-out", "", "Cookie", cookie, CSRFHeader, signed.CSRF); resp.StatusCode != 204 || resp.Cookies()[0].MaxAge >= 0 {
		t.Errorf("sign-out: %d %s", resp.StatusCode, text)
	}
	if resp, _ := s.send("GET", "/api/v1/account", "", "Cookie", cookie); resp.StatusCode != 401 {
		t.Errorf("after sign-out: %d", resp.StatusCode)
	}
}

func TestSwitchedSessionsActElsewhereAndAreAuditedInBoth(t *testing.T) {
	storetest.Each(t, testSwitchedSessionsActElsewhereAndAreAuditedInBoth)
}

func testSwitchedSessionsActElsewhereAndAreAuditedInBoth(t *testing.T) {
	s := start(t)
	ok[Tenant](s, 201, s.operator, "POST", "/api/v1/tenants", `{"name":"acme"}`)
	ok[Tenant](s, 201, s.operator, "POST", "/api/v1/tenants", `{"name":"acme-dev","parent":"acme"}`)
	ok[Tenant](s, 201, s.operator, "POST", "/api/v1/tenants", `{"name":"globex"}`)
	root, ann := s.user("acme", "root@example.com", "root-admin"), s.user("acme", "ann@example.com", "admin")
	s.refused(404, "not-found", ann.Token, "POST", "/api/v1/session/act", `{"tenant":"acme-dev"}`)
	_, foreign := s.call(root.Token, "POST", "/api/v1/session/act", `{"tenant":"globex"}`)
	_, missing := s.call(root.Token, "POST", "/api/v1/session/act", `{"tenant":"nobody"}`)
	if strings.ReplaceAll(foreign, "globex", "nobody") != missing {
		t.Errorf("%s and %s", foreign, missing)
	}
	if got := ok[Session](s, 200, root.Token, "POST", "/api/v1/session/act", `{"tenant":"acme-dev"}`); got.Tenant != "acme-dev" || got.Home || len(got.Permissions) == 0 {
		t.Errorf("acting %+v", got)
	}
	u := ok[User](s, 201, root.Token, "POST", "/api/v1/users", `{"email":"dev@example.com","role":"viewer"}`)
	if u.Tenant != "acme-dev" {
		t.Errorf("invited into %s", u.Tenant)
	}
	if got := ok[Session](s, 200, root.Token, "POST", "/api/v1/session/act", `{"tenant":""}`); got.Tenant != "acme" || !got.Home {
		t.Errorf("at home %+v", got)
	}
	if list := ok[Users](s, 200, root.Token, "GET", "/api/v1/users?tenant=acme-dev", ""); len(list.Users) != 1 {
		t.Errorf("listed %+v", list)
	}
	for _, name := range []string{"acme", "acme-dev"} {
		n := 0
		for _, e := range ok[AuditPage](s, 200, s.operator, "GET", "/api/v1/audit?tenant="+name, "").Entries {
			if (e.Action == "session.act" || e.Action == "user.list") && e.Actor == "user:"+root.User.ID && e.Address == "127.0.0.1" {
				n++
			}
		}
		if n != 3 {
			t.Errorf("%s has %d entries of switching and of a list that was read, want 3", name, n)
		}
	}
}
