package control

import (
	"bytes"
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"math/big"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/headgate-io/headgate/auth"
	"github.com/headgate-io/headgate/internal/store"
	"github.com/headgate-io/headgate/internal/store/storetest"
)

// issuer is an OpenID provider on a socket, with keys and codes of its own. Each code is good for one exchange, by who shows
// the verifier of its challenge and the client's secret.
type issuer struct {
	t      *testing.T
	now    func() time.Time
	url    string
	key    *rsa.PrivateKey
	signer *rsa.PrivateKey // nil: key
	claims map[string]any  // of the next token, over what is right
	away   bool            // it answers 503
	codes  map[string]url.Values
}

func newIssuer(t *testing.T, now func() time.Time) *issuer {
	t.Helper()
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	i := &issuer{t: t, now: now, key: key, codes: map[string]url.Values{}}
	mux := http.NewServeMux()
	answer := func(w http.ResponseWriter, status int, v any) {
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(status)
		_ = json.NewEncoder(w).Encode(v)
	}
	mux.HandleFunc("GET /.well-known/openid-configuration", func(w http.ResponseWriter, _ *http.Request) {
		answer(w, 200, map[string]any{"issuer": i.url, "authorization_endpoint": i.url + "/authorize", "token_endpoint": i.url + "/token", "jwks_uri": i.url + "/keys",
			"id_token_signing_alg_values_supported": []string{"RS256"}})
	})
	mux.HandleFunc("GET /keys", func(w http.ResponseWriter, _ *http.Request) {
		answer(w, 200, map[string]any{"keys": []any{map[string]any{"kty": "RSA", "alg": "RS256", "use": "sig", "kid": "1",
			"n": b64(key.N.Bytes()), "e": b64(big.NewInt(int64(key.E)).Bytes())}}})
	})
	mux.HandleFunc("POST /token", func(w http.ResponseWriter, r *http.Request) {
		if i.away {
			answer(w, 503, nil)
			return
		}
		_ = r.ParseForm()
		asked, known := i.codes[r.PostForm.Get("code")]
		delete(i.codes, r.PostForm.Get("code"))
		id, secret, basic := r.BasicAuth()
		if !basic {
			id, secret = r.PostForm.Get("client_id"), r.PostForm.Get("client_secret")
		}
		sum := sha256.Sum256([]byte(r.PostForm.Get("code_verifier")))
		if !known || id != "headgate" || secret != "client-secret" || asked.Get("code_challenge") != b64(sum[:]) || asked.Get("redirect_uri") != r.PostForm.Get("redirect_uri") {
			answer(w, 400, map[string]string{"error": "invalid_grant"})
			return
		}
		answer(w, 200, map[string]any{"access_token": "x", "token_type": "Bearer", "id_token": i.token(asked.Get("nonce"))})
	})
	srv := httptest.NewServer(mux)
	t.Cleanup(srv.Close)
	i.url = srv.URL
	return i
}

func b64(b []byte) string { return base64.RawURLEncoding.EncodeToString(b) }

func (i *issuer) token(nonce string) string {
	claims := map[string]any{"iss": i.url, "aud": "headgate", "sub": "s-1", "nonce": nonce, "iat": i.now().Unix(), "exp": i.now().Add(time.Minute).Unix(),
		"email": "ann@example.com", "email_verified": true}
	for k, v := range i.claims {
		claims[k] = v
	}
	raw, _ := json.Marshal(claims)
	signed := b64([]byte(`{"alg":"RS256","kid":"1"}`)) + "." + b64(raw)
	sum := sha256.Sum256([]byte(signed))
	key := i.key
	if i.signer != nil {
		key = i.signer
	}
	sig, err := rsa.SignPKCS1v15(rand.Reader, key, crypto.SHA256, sum[:])
	if err != nil {
		i.t.Error(err)
	}
	return signed + "." + b64(sig)
}

// approve is what the provider does with a browser: it comes back with a code for what was asked.
func (i *issuer) approve(location string) (state, code string) {
	i.t.Helper()
	u, err := url.Parse(location)
	q := u.Query()
	if err != nil || !strings.HasPrefix(location, i.url+"/authorize?") || q.Get("code_challenge_method") != "S256" || q.Get("nonce") == "" || q.Get("client_id") != "headgate" {
		i.t.Fatalf("sent to %s: %v", location, err)
	}
	code = rand.Text()
	i.codes[code] = q
	return q.Get("state"), code
}

func (s *server) withOIDC() *issuer {
	s.t.Helper()
	i := newIssuer(s.t, s.clock.Now)
	var err error
	s.api.OIDC, err = s.api.Directory.NewOIDC(auth.OIDCConfig{Issuer: i.url, ClientID: "headgate", ClientSecret: "client-secret",
		RedirectURL: s.url + "/api/v1/oidc/callback", Tenants: []string{"acme", "Dev"}})
	if err != nil {
		s.t.Fatal(err)
	}
	return i
}

// begin is what a browser does first: it returns where it is sent, and its cookie.
func (s *server) begin(slug string) (location, cookie string) {
	s.t.Helper()
	resp, text := s.send("GET", "/api/v1/oidc/start?slug="+slug, "")
	if resp.StatusCode != 302 || len(resp.Cookies()) != 1 || resp.Cookies()[0].Path != "/api/v1/oidc" || !resp.Cookies()[0].HttpOnly {
		s.t.Fatalf("start: %d %s %v", resp.StatusCode, text, resp.Cookies())
	}
	sealed, err := base64.RawURLEncoding.DecodeString(resp.Cookies()[0].Value)
	if err != nil || bytes.Contains(sealed, []byte(`"Verifier"`)) {
		s.t.Fatalf("the cookie shows what is in it: %q, %v", sealed, err)
	}
	return resp.Header.Get("Location"), "headgate_oidc=" + resp.Cookies()[0].Value
}

func (s *server) comeBack(cookie, state, code string) (token string, status int, text string) {
	s.t.Helper()
	resp, text := s.send("GET", "/api/v1/oidc/callback?"+url.Values{"state": {state}, "code": {code}}.Encode(), "", "Cookie", cookie, "Sec-Fetch-Site", "cross-site")
	for _, c := range resp.Cookies() {
		if c.Name == SessionCookie && c.HttpOnly && c.SameSite == http.SameSiteLaxMode {
			token = c.Value
		}
		if c.Name == flowCookie && c.MaxAge >= 0 {
			s.t.Error("the cookie of the flow stays")
		}
	}
	return token, resp.StatusCode, text
}

// through signs in by the provider.
func (s *server) through(i *issuer, slug string) (token string, status int, text string) {
	s.t.Helper()
	location, cookie := s.begin(slug)
	state, code := i.approve(location)
	return s.comeBack(cookie, state, code)
}

func TestProviderLetsInWhomItVouchesFor(t *testing.T) {
	storetest.Each(t, testProviderLetsInWhomItVouchesFor)
}

func testProviderLetsInWhomItVouchesFor(t *testing.T) {
	s := start(t)
	mail := s.withMail()
	i := s.withOIDC()
	for _, name := range []string{"acme", "dev", "globex"} {
		ok[Tenant](s, 201, s.operator, "POST", "/api/v1/tenants", `{"name":"`+name+`"}`)
	}
	ann := s.user("acme", "Ann@example.com", "admin")
	s.refused(404, "not-found", "", "GET", "/api/v1/oidc/start?slug=globex", "")
	s.refused(404, "not-found", "", "GET", "/api/v1/oidc/start?slug=nobody", "")

	// By address the first time, by subject from then on, whatever address it has.
	token, status, text := s.through(i, "ACME")
	if status != 302 || token == "" {
		t.Fatalf("first: %d %s", status, text)
	}
	if got := ok[Session](s, 200, token, "GET", "/api/v1/session", ""); got.User.ID != ann.User.ID || got.User.Issuer != i.url || got.Tenant != "acme" {
		t.Errorf("session %+v", got)
	}
	i.claims = map[string]any{"email": "other@example.com", "email_verified": false}
	if token, status, text = s.through(i, "acme"); status != 302 || ok[Session](s, 200, token, "GET", "/api/v1/session", "").User.ID != ann.User.ID {
		t.Errorf("again: %d %s", status, text)
	}

	bob := ok[User](s, 201, ann.Token, "POST", "/api/v1/users", `{"email":"bob@example.com","role":"viewer"}`)
	invitation := mail.wait(t)
	refused := func(what string, claims map[string]any) {
		t.Helper()
		i.claims = claims
		if token, status, text := s.through(i, "acme"); status != 403 || token != "" || !strings.Contains(text, `"oidc-failed"`) {
			t.Errorf("%s: %d %s", what, status, text)
		}
	}
	refused("another subject with the address of who is linked", map[string]any{"sub": "s-2"})
	refused("an address that is not verified", map[string]any{"sub": "s-3", "email": "bob@example.com", "email_verified": false})
	refused("an address that is not invited", map[string]any{"sub": "s-4", "email": "nobody@example.com"})
	refused("a token for another client", map[string]any{"aud": "other"})
	refused("a token of another issuer", map[string]any{"iss": "https://evil.example"})
	refused("an old token", map[string]any{"exp": s.clock.Now().Add(-time.Hour).Unix()})
	refused("a token for another sign-in", map[string]any{"nonce": "other"})
	refused("a token without a subject", map[string]any{"sub": ""})
	other, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	i.signer = other
	refused("a token of another key", nil)
	i.signer = nil

	// State, code and cookie belong together, once.
	i.claims = nil
	location, cookie := s.begin("acme")
	state, code := i.approve(location)
	_, foreign := s.begin("acme")
	for what, c := range map[string][3]string{
		"another browser's cookie": {foreign, state, code}, "no cookie": {"x=y", state, code}, "another state": {cookie, state + "x", code}, "another code": {cookie, state, "x"},
		"a cookie that was changed": {cookie[:len(cookie)-2] + "AA", state, code},
	} {
		if token, status, text := s.comeBack(c[0], c[1], c[2]); status != 403 || token != "" {
			t.Errorf("%s: %d %s", what, status, text)
		}
	}
	if token, status, text = s.comeBack(cookie, state, code); status != 302 || token == "" {
		t.Errorf("together: %d %s", status, text)
	}
	if token, status, _ = s.comeBack(cookie, state, code); status != 403 || token != "" {
		t.Errorf("a second time: %d", status)
	}

	// An invited user is active by it, and the invitation worth nothing; an inactive one stays out.
	i.claims = map[string]any{"sub": "s-bob", "email": "BOB@example.com"}
	if token, status, text = s.through(i, "acme"); status != 302 || ok[Session](s, 200, token, "GET", "/api/v1/session", "").User.Status != "active" {
		t.Errorf("an invited user: %d %s", status, text)
	}
	s.refused(400, "token-invalid", "", "POST", "/api/v1/invitations/accept", `{"token":"`+invitation.Token+`","password":"`+testPassword+`"}`)
	ok[User](s, 200, ann.Token, "POST", "/api/v1/users/"+bob.ID+"/deactivate", "")
	refused("an inactive user", i.claims)

	// The same subject is nobody in another tenant, where nobody is invited.
	i.claims = nil
	if token, status, _ = s.through(i, "dev"); status != 403 || token != "" {
		t.Errorf("another tenant: %d", status)
	}

	// Where a second factor is required, a provider that has asked for one is enough, one that has not is not.
	err = s.db.Update(t.Context(), func(tx *store.Tx) error {
		_, err := tx.ExecContext(t.Context(), `UPDATE tenants SET second_factor = 'required', rev = (SELECT n FROM changes) + 1`)
		if err == nil {
			_, err = tx.ExecContext(t.Context(), `UPDATE changes SET n = n + 1`)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	token, _, _ = s.through(i, "acme")
	if !ok[Session](s, 200, token, "GET", "/api/v1/session", "").MustEnrol {
		t.Error("a password alone at the provider is enough")
	}
	s.refused(403, "second-factor-enrolment", token, "GET", "/api/v1/users", "")
	s.refused(403, "second-factor-enrolment", token, "GET", "/api/v1/account", "")
	i.claims = map[string]any{"amr": []string{"pwd", "mfa"}}
	token, _, _ = s.through(i, "acme")
	if ok[Session](s, 200, token, "GET", "/api/v1/session", "").MustEnrol {
		t.Error("a second factor at the provider is not enough")
	}

	// A second factor in headgate is not got round.
	err = s.db.Update(t.Context(), func(tx *store.Tx) error {
		_, err := tx.ExecContext(t.Context(), `UPDATE users SET totp_at = 1, rev = (SELECT n FROM changes) + 1`)
		if err == nil {
			_, err = tx.ExecContext(t.Context(), `UPDATE changes SET n = n + 1`)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	i.claims = nil
	if token, status, text = s.through(i, "acme"); status != 401 || token != "" || !strings.Contains(text, `"second-factor-needed"`) {
		t.Errorf("a password alone at the provider, with a second factor here: %d %s", status, text)
	}
	i.claims = map[string]any{"amr": []string{"mfa"}}
	if token, status, text = s.through(i, "acme"); status != 302 || token == "" {
		t.Errorf("a second factor at both: %d %s", status, text)
	}
}

// TestOutageOfTheProviderLocksNobodyOut: who comes back while it does not answer has not failed to sign in.
func TestOutageOfTheProviderLocksNobodyOut(t *testing.T) {
	s := start(t)
	i := s.withOIDC()
	ok[Tenant](s, 201, s.operator, "POST", "/api/v1/tenants", `{"name":"acme"}`)
	s.user("acme", "ann@example.com", "admin")
	i.away = true
	for n := range 110 { // 100 failures lock an address out
		if token, status, text := s.through(i, "acme"); status != 503 || token != "" || !strings.Contains(text, `"oidc-unavailable"`) {
			t.Fatalf("attempt %d: %d %s", n, status, text)
		}
	}
	i.away = false
	if token, status, text := s.through(i, "acme"); status != 302 || token == "" {
		t.Errorf("after the outage: %d %s", status, text)
	}
}

func TestProvidersAreNamedWithTLS(t *testing.T) {
	good := auth.OIDCConfig{Issuer: "https://id.example", ClientID: "a", ClientSecret: "b", RedirectURL: "https://headgate.example/api/v1/oidc/callback", Tenants: []string{"acme"}}
	for what, change := range map[string]func(c *auth.OIDCConfig){
		"http": func(c *auth.OIDCConfig) { c.Issuer = "http://id.example" }, "no issuer": func(c *auth.OIDCConfig) { c.Issuer = "" },
		"redirect by http": func(c *auth.OIDCConfig) { c.RedirectURL = "http://headgate.example/" }, "no secret": func(c *auth.OIDCConfig) { c.ClientSecret = "" },
		"no tenant": func(c *auth.OIDCConfig) { c.Tenants = nil },
	} {
		c := good
		if err := c.Check(); err != nil {
			t.Fatal(err)
		}
		if change(&c); c.Check() == nil {
			t.Errorf("%s is taken", what)
		}
	}
}
