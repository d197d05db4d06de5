package control

import (
	"errors"
	"net"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/headgate-io/headgate/auth"
	"github.com/headgate-io/headgate/internal/httpapi"
)

const (
	// SessionCookie holds the token of a session in browsers, CSRFHeader what they send beside it.
	SessionCookie = "headgate_session"
	CSRFHeader    = "X-Headgate-CSRF"
	// ClickHouseKeyHeader is where clients of ClickHouse's HTTP interface put their password: a credential where telemetry is read.
	ClickHouseKeyHeader = "X-ClickHouse-Key"

	sessionTokens = "hgs_"
)

// What a route asks for instead of a scope.
const (
	public  auth.KeyScope = "(public)"  // nothing: the handler gets the zero Principal
	account auth.KeyScope = "(account)" // a session, also of who must enrol a second factor first
)

// errCSRF answers a browser's request that may have been another page's idea.
var errCSRF = httpapi.Errorf(http.StatusForbidden, "csrf", "the request has the cookie of a session but not its %s header, or comes from a page of another origin", CSRFHeader)

// sameOrigin refuses requests that a browser sends for a page of another origin. Programs that are no browsers pass.
var sameOrigin = http.NewCrossOriginProtection()

// admit is Authenticate for a route.
func (a *API) admit(r *http.Request, scope auth.KeyScope) (auth.Principal, error) {
	switch scope {
	case public:
		// SECURITY: a page elsewhere must not sign its visitor in as somebody else.
		if sameOrigin.Check(r) != nil {
			return auth.Principal{}, errCSRF
		}
		return auth.Principal{}, nil
	case account:
		p, err := authenticate(a.Directory, r)
		if err == nil && p.User() == "" {
			err = Problem(auth.ErrForbidden)
		}
		return p, err
	}
	return Authenticate(a.Directory, r, scope)
}

// Authenticate returns who sends r: an API key, the operator by the operator token, or a user by a session, whose token is in
// the authorization header or, of browsers, in a cookie. A key needs the scope, unless that is ""; what users may do is
// decided by their permissions. The errors are ready to be answered with.
//
// SECURITY: a user who must enrol a second factor is refused here, whatever the route.
func Authenticate(d *auth.Directory, r *http.Request, scope auth.KeyScope) (auth.Principal, error) {
	return authorize(d, r, scope)
}

// AuthenticateQuery is Authenticate with the scope query for what reads telemetry. Clients of ClickHouse may send the credential
// in the header of theirs.
func AuthenticateQuery(d *auth.Directory, r *http.Request) (auth.Principal, error) {
	return authorize(d, r, auth.ScopeQuery, ClickHouseKeyHeader)
}

func authorize(d *auth.Directory, r *http.Request, scope auth.KeyScope, also ...string) (auth.Principal, error) {
	p, err := authenticate(d, r, also...)
	if err != nil {
		return auth.Principal{}, err
	}
	if p.MustEnrol() {
		return auth.Principal{}, Problem(auth.ErrMustEnrol)
	}
	if scope != "" {
		if err := p.Require(scope); err != nil {
			d.NoteRefusal(p, err)
			return auth.Principal{}, Problem(err)
		}
	}
	return p, nil
}

// authenticate finds the credential in the headers Authorization, X-Api-Key, and also in others that hold nothing else.
//
// SECURITY: of two different credentials none is chosen, whichever headers they are in.
func authenticate(d *auth.Directory, r *http.Request, also ...string) (p auth.Principal, err error) {
	alone := slices.Clone(r.Header.Values("X-Api-Key"))
	for _, h := range also {
		alone = append(alone, r.Header.Values(h)...)
	}
	credential, err := auth.Credential(r.Header.Values("Authorization"), alone)
	switch {
	case errors.Is(err, auth.ErrNoCredential):
		p, err = fromCookie(d, r)
	case err != nil:
	case strings.HasPrefix(credential, sessionTokens):
		p, err = d.Session(credential)
	default:
		p, err = d.Authenticate(credential)
		if errors.Is(err, auth.ErrUnknownKey) {
			p, err = d.Operator(credential)
		}
	}
	if err != nil {
		return auth.Principal{}, Problem(err)
	}
	return p, nil
}

// fromCookie returns the user of a browser's session.
//
// SECURITY: browsers send cookies with what pages of other origins ask for too. What changes something needs a header that only
// pages of this origin can know, and must not say that it comes from another. Of two different cookies none is chosen: one may
// have been set by a neighbour domain.
func fromCookie(d *auth.Directory, r *http.Request) (auth.Principal, error) {
	var token string
	for _, c := range r.CookiesNamed(SessionCookie) {
		if token != "" && c.Value != token {
			return auth.Principal{}, auth.ErrAmbiguousCredential
		}
		token = c.Value
	}
	p, err := d.Session(token)
	if err != nil {
		return auth.Principal{}, err
	}
	switch r.Method {
	case http.MethodGet, http.MethodHead:
		return p, nil
	}
	if sameOrigin.Check(r) != nil || !d.IsCSRF(p, r.Header.Get(CSRFHeader)) {
		return auth.Principal{}, errCSRF
	}
	return p, nil
}

// sessionCookie is the cookie of a session's token; "" ends it in the browser.
func sessionCookie(r *http.Request, name, path, token string, life time.Duration) *http.Cookie {
	c := &http.Cookie{Name: name, Value: token, Path: path, HttpOnly: true, SameSite: http.SameSiteLaxMode, Secure: !plainLoopback(r), MaxAge: int(life.Seconds())}
	if token == "" {
		c.MaxAge = -1
	}
	return c
}

// plainLoopback reports whether r came without TLS to an address of this machine, as in a trial.
//
// SECURITY: whoever can forge the Host header of a browser's request has no use for its cookie. Behind a proxy that ends TLS
// the Host is the public one, and the cookie is Secure.
func plainLoopback(r *http.Request) bool {
	host := r.Host
	if h, _, err := net.SplitHostPort(host); err == nil {
		host = h
	}
	host = strings.Trim(host, "[]")
	ip := net.ParseIP(host)
	return r.TLS == nil && (host == "localhost" || ip != nil && ip.IsLoopback())
}

// clientAddress is the IP address that r is from.
func clientAddress(r *http.Request) string {
	host, _, err := net.SplitHostPort(r.RemoteAddr)
	if err != nil {
		return r.RemoteAddr
	}
	return host
}
