package main

import (
	"crypto/hmac"
	"crypto/sha1"
	"encoding/base32"
	"encoding/binary"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/headgate-io/headgate/control"
)

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
	_ = binary.Write(h, binary.BigEndian, timeNow().Unix()/30+steps)
	sum := h.Sum(nil)
	at := sum[len(sum)-1] & 15
	return fmt.Sprintf("%06d", binary.BigEndian.Uint32(sum[at:])&0x7fffffff%1000000)
}
