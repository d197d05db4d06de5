package auth

import (
	"context"
	"crypto/rand"
	"crypto/subtle"
	"encoding/base64"
	"encoding/json"
	"errors"
	"net"
	"net/url"
	"slices"
	"sync"
	"time"

	"github.com/coreos/go-oidc/v3/oidc"
	"golang.org/x/oauth2"

	"github.com/headgate-io/headgate/internal/store"
)

const (
	// OIDCLife is how long somebody may take at the provider.
	OIDCLife = 10 * time.Minute

	oidcTimeout = 15 * time.Second // of all that is asked of the provider at once
)

var (
	// ErrOIDC answers whatever a provider says that does not let anybody in; the log tells more.
	ErrOIDC = &Error{"oidc-failed", "the sign-in with your provider has failed: begin again, or ask your administrator whether your address is invited"}
	// ErrOIDCUnavailable says that the provider does not answer.
	ErrOIDCUnavailable = &Error{"oidc-unavailable", "the provider does not answer: try again later"}
)

// OIDCConfig names an OpenID provider. All fields are required.
type OIDCConfig struct {
	Issuer       string // URL
	ClientID     string
	ClientSecret string
	RedirectURL  string   // of the callback, as the provider knows it
	Tenants      []string // slugs of those that it may let people into
}

// Check returns what is wrong with the configuration.
//
// SECURITY: without TLS, which only a provider on this machine may do, anybody on the way could be anybody.
func (c OIDCConfig) Check() error {
	for what, text := range map[string]string{"issuer": c.Issuer, "redirect URL": c.RedirectURL} {
		u, err := url.Parse(text)
		if err != nil || u.Host == "" || u.Scheme != "https" && !(u.Scheme == "http" && isLoopback(u.Hostname())) {
			return errors.New(what + " of the OpenID provider: want https://…")
		}
	}
	if c.ClientID == "" || c.ClientSecret == "" || len(c.Tenants) == 0 {
		return errors.New("OpenID provider: want a client id, a client secret and the organizations that it is for")
	}
	return nil
}

func isLoopback(host string) bool {
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}

// OIDC lets people in whom an OpenID provider vouches for: by authorization code, with PKCE, state and nonce. It is safe for
// concurrent use.
type OIDC struct {
	d *Directory
	c OIDCConfig

	mu       sync.Mutex // guards what follows
	provider *oidc.Provider
}

// NewOIDC makes it. The provider is first asked when somebody signs in.
func (d *Directory) NewOIDC(c OIDCConfig) (*OIDC, error) {
	tenants := make([]string, len(c.Tenants))
	for i, slug := range c.Tenants {
		tenants[i] = lowerASCII(slug)
	}
	c.Tenants = tenants
	return &OIDC{d: d, c: c}, c.Check()
}

// oidcFlow is what a browser holds, sealed, while it is at the provider.
type oidcFlow struct {
	Slug, State, Nonce, Verifier string
	Until                        time.Time
}

// Start returns where to send a browser that wants to sign in to a tenant, and the value of a cookie that it brings back.
// Errors: ErrNotFound for a slug that the provider is not for, ErrOIDCUnavailable.
func (o *OIDC) Start(ctx context.Context, slug string) (to, cookie string, err error) {
	slug = lowerASCII(slug)
	if !slices.Contains(o.c.Tenants, slug) {
		return "", "", detail(ErrNotFound, "no OpenID provider for organization %q", plainText(clip(slug)))
	}
	_, client, err := o.client(ctx)
	if err != nil {
		return "", "", err
	}
	f := oidcFlow{Slug: slug, State: rand.Text(), Nonce: rand.Text(), Verifier: oauth2.GenerateVerifier(), Until: o.d.now().Add(OIDCLife)}
	raw, err := json.Marshal(f)
	if err != nil {
		return "", "", err
	}
	cookie = base64.RawURLEncoding.EncodeToString(seal(o.d.DeriveKey("oidc sign-in"), "oidc", raw))
	return client.AuthCodeURL(f.State, oidc.Nonce(f.Nonce), oauth2.S256ChallengeOption(f.Verifier)), cookie, nil
}

// client asks the provider what it is, once.
func (o *OIDC) client(ctx context.Context) (*oidc.Provider, *oauth2.Config, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.provider == nil {
		ctx, cancel := context.WithTimeout(ctx, oidcTimeout)
		defer cancel()
		p, err := oidc.NewProvider(ctx, o.c.Issuer)
		if err != nil {
			o.d.log.Warn("the OpenID provider does not answer", "issuer", o.c.Issuer, "err", err)
			return nil, nil, ErrOIDCUnavailable
		}
		o.provider = p
	}
	return o.provider, &oauth2.Config{ClientID: o.c.ClientID, ClientSecret: o.c.ClientSecret, RedirectURL: o.c.RedirectURL,
		Endpoint: o.provider.Endpoint(), Scopes: []string{oidc.ScopeOpenID, "email"}}, nil
}

// OIDCReturn is what a browser brings back from the provider.
type OIDCReturn struct {
	Cookie, State, Code string
	Address, Agent      string // as SignIn has them
}

// vouched is whom the provider vouches for.
type vouched struct {
	subject  string
	email    string // "" unless it is verified
	multiple bool   // it has seen more than one factor
}

// Finish begins a session. Errors: ErrOIDC, ErrOIDCUnavailable, ErrCodeNeeded for a user with a second factor whom the
// provider has not asked for one, *TooManyError.
//
// SECURITY: state and nonce are those of this browser's Start, so that nobody is made to sign in as somebody else.
func (o *OIDC) Finish(ctx context.Context, r OIDCReturn) (out SignedIn, err error) {
	d := o.d
	ctx = WithOrigin(ctx, r.Address)
	limits := map[attemptKey]int{addressKey(r.Address): failuresPerAddress}
	if err := d.door.attempts.take(d.now(), limits); err != nil {
		return SignedIn{}, err
	}
	defer func() {
		if err == nil || errors.Is(err, ErrOIDCUnavailable) { // an outage is nobody's failed attempt
			d.door.attempts.refund(limits)
		}
	}()
	f, err := o.flow(r)
	if err != nil {
		return SignedIn{}, err
	}
	v, err := o.ask(ctx, f, r.Code)
	if err != nil {
		return SignedIn{}, err
	}
	var c candidate
	err = d.db.View(ctx, func(tx *store.Tx) (err error) {
		c, err = o.unsafeVouched(ctx, tx, f.Slug, v)
		return err
	})
	if err != nil {
		return SignedIn{}, err
	}
	in := SignIn{Slug: f.Slug, Email: v.email, Address: r.Address, Agent: r.Agent}
	account := d.accountKey(f.Slug, v.email)
	if !c.found || c.user.Status == UserInactive || !d.tenantActive(c.tenant) {
		return SignedIn{}, d.signInFailed(ctx, in, account, c, d.now(), ErrOIDC)
	}
	// SECURITY: a second factor that headgate keeps is not got round by a provider that asked for a password alone.
	if c.user.SecondFactor && d.factorPolicy(c.tenant) != FactorDisabled && !v.multiple {
		return SignedIn{}, detail(ErrCodeNeeded, "your provider did not ask for a second factor: sign in with your password and a code")
	}
	out, err = d.enter(ctx, c.user, entrance{password: c.password, strong: v.multiple, subject: v.subject, issuer: o.c.Issuer,
		account: account, address: r.Address, agent: r.Agent})
	if store.IsConflict(err) || errors.Is(err, ErrSignIn) { // linked otherwise meanwhile, or changed
		return SignedIn{}, ErrOIDC
	}
	return out, err
}

// flow opens the cookie of Start, and returns ErrOIDC unless it is fresh and of this state.
func (o *OIDC) flow(r OIDCReturn) (f oidcFlow, err error) {
	sealed, err := base64.RawURLEncoding.DecodeString(r.Cookie)
	if err != nil {
		return f, ErrOIDC
	}
	raw, err := unseal(o.d.DeriveKey("oidc sign-in"), "oidc", sealed)
	if err != nil || json.Unmarshal(raw, &f) != nil {
		return f, ErrOIDC
	}
	if subtle.ConstantTimeCompare([]byte(f.State), []byte(r.State)) != 1 || !o.d.now().Before(f.Until) {
		return f, ErrOIDC
	}
	return f, nil
}

// ask exchanges the code, and checks signature, issuer, audience, expiry and nonce of the ID token.
func (o *OIDC) ask(ctx context.Context, f oidcFlow, code string) (v vouched, err error) {
	ctx, cancel := context.WithTimeout(ctx, oidcTimeout)
	defer cancel()
	provider, client, err := o.client(ctx)
	if err != nil {
		return v, err
	}
	refuse := func(what string, err error) (vouched, error) {
		o.d.log.Warn("a sign-in by OpenID is refused", "issuer", o.c.Issuer, "reason", what, "err", err)
		return vouched{}, ErrOIDC
	}
	token, err := client.Exchange(ctx, code, oauth2.VerifierOption(f.Verifier))
	if err != nil {
		var answer *oauth2.RetrieveError
		if !errors.As(err, &answer) || answer.Response.StatusCode >= 500 {
			o.d.log.Warn("the OpenID provider does not answer", "issuer", o.c.Issuer, "err", err)
			return v, ErrOIDCUnavailable
		}
		return refuse("code", errors.New(answer.ErrorCode))
	}
	raw, ok := token.Extra("id_token").(string)
	if !ok {
		return refuse("no id token", nil)
	}
	id, err := provider.Verifier(&oidc.Config{ClientID: o.c.ClientID, Now: o.d.now}).Verify(ctx, raw)
	if err != nil {
		return refuse("id token", err)
	}
	if subtle.ConstantTimeCompare([]byte(id.Nonce), []byte(f.Nonce)) != 1 {
		return refuse("nonce", nil)
	}
	var claims struct {
		Email    string   `json:"email"`
		Verified bool     `json:"email_verified"`
		Methods  []string `json:"amr"` // RFC 8176
	}
	if err := id.Claims(&claims); err != nil || id.Subject == "" || plainText(id.Subject) != id.Subject || len(id.Subject) > 255 {
		return refuse("claims", err)
	}
	v = vouched{subject: id.Subject, multiple: slices.Contains(claims.Methods, "mfa")}
	if claims.Verified {
		v.email = claims.Email
	}
	return v, nil
}

// unsafeVouched finds the user of a tenant whom a provider vouches for: the one who is linked to the subject, else, once, the
// one of the verified address who is linked to nobody.
//
// SECURITY: nobody has been let in yet; the tenant is that of the slug, and the user is of that tenant. An address that is
// not verified says nothing, and a user who is linked is nobody else's any more, whatever address a subject has.
func (o *OIDC) unsafeVouched(ctx context.Context, tx *store.Tx, slug string, v vouched) (candidate, error) {
	c, err := unsafeCandidate(ctx, tx, slug, v.email)
	if err != nil || c.tenant.IsZero() {
		return c, err
	}
	byEmail := c
	c.found, c.user, c.password = false, changedUser{}, ""
	rows, err := queryUsers(ctx, tx, `WHERE tenant_id = ? AND issuer = ? AND subject = ? AND deleted_at IS NULL`, c.tenant.String(), o.c.Issuer, v.subject)
	switch {
	case err != nil:
		return c, err
	case len(rows) == 1:
		c.found, c.user = true, rows[0]
		err := tx.QueryRowContext(ctx, `SELECT password FROM users WHERE id = ? AND tenant_id = ?`, c.user.ID, c.tenant.String()).Scan(&c.password)
		return c, err
	case byEmail.found && v.email != "":
		var subject string
		err := tx.QueryRowContext(ctx, `SELECT subject FROM users WHERE id = ? AND tenant_id = ?`, byEmail.user.ID, c.tenant.String()).Scan(&subject)
		if err != nil || subject == "" {
			return byEmail, err
		}
	}
	return c, nil
}
