package control

import (
	"net/http"
	"time"

	"github.com/headgate-io/headgate/auth"
	"github.com/headgate-io/headgate/internal/httpapi"
)

// SignInRequest is the body of a sign-in.
type SignInRequest struct {
	Slug     string `json:"slug"`
	Email    string `json:"email"`
	Password string `json:"password"`
	Code     string `json:"code,omitempty"` // of the authenticator, or a recovery code
}

// SignedIn is a new session. Browsers get the token as a cookie too, and send csrf in the header X-Headgate-CSRF.
type SignedIn struct {
	Token string `json:"token"`
	Session
}

// Session tells whose session it is, and what it may do where it acts.
type Session struct {
	ID        string    `json:"id"`
	CSRF      string    `json:"csrf"`
	ExpiresAt time.Time `json:"expires_at"`
	User      User      `json:"user"`
	Tenant    string    `json:"tenant"` // that the session acts in
	TenantID  string    `json:"tenant_id"`
	Home      bool      `json:"home"` // it acts in the user's own
	// MustEnrol: nothing is served but the enrolment of a second factor.
	MustEnrol   bool     `json:"must_enrol_second_factor"`
	Permissions []string `json:"permissions"`
}

// ActRequest is the body that makes a session act in a tenant.
type ActRequest struct {
	Tenant string `json:"tenant"` // name or id; "": home
}

// TokenRequest is the body that uses an invitation or a password reset.
type TokenRequest struct {
	Token    string `json:"token"`
	Name     string `json:"name,omitempty"` // of an invitation alone
	Password string `json:"password"`
}

// Accepted is the answer to the use of a token: who may sign in now.
type Accepted struct {
	Slug  string `json:"slug"`
	Email string `json:"email"`
}

// ResetRequest is the body that asks for a password reset.
type ResetRequest struct {
	Slug  string `json:"slug"`
	Email string `json:"email"`
}

// ResetAsked is the answer to it, whoever exists.
type ResetAsked struct {
	Detail string `json:"detail"`
}

func (a *API) signInRoutes() []route {
	return []route{
		{"POST", "/api/v1/sign-in", "Sign in; browsers get a cookie too", public, nil, SignInRequest{}, SignedIn{}, 0, a.signIn},
		{"POST", "/api/v1/sign-out", "End the calling session", account, nil, nil, nil, http.StatusNoContent, a.signOut},
		{"POST", "/api/v1/sign-out-everywhere", "End all sessions of the calling user", account, nil, nil, nil, http.StatusNoContent, a.signOutEverywhere},
		{"GET", "/api/v1/session", "Show the calling session, its user and permissions", account, nil, nil, Session{}, 0, a.session},
		{"POST", "/api/v1/session/act", "Act in a tenant that the user reaches, or at home again", "", nil, ActRequest{}, Session{}, 0, a.act},
		{"POST", "/api/v1/invitations/accept", "Accept an invitation: set a password", public, nil, TokenRequest{}, Accepted{}, 0, a.acceptInvitation},
		{"POST", "/api/v1/password-reset", "Ask for a message that lets a new password be set; the answer is the same whoever exists", public, nil, ResetRequest{}, ResetAsked{}, http.StatusAccepted, a.askReset},
		{"POST", "/api/v1/password-reset/accept", "Set a new password by the token of such a message", public, nil, TokenRequest{}, Accepted{}, 0, a.acceptReset},
	}
}

func (a *API) signIn(r *http.Request, w http.ResponseWriter, _ auth.Principal) (any, error) {
	var in SignInRequest
	if err := httpapi.ReadJSON(w, r, &in); err != nil {
		return nil, err
	}
	got, err := a.Directory.SignIn(r.Context(), auth.SignIn{Slug: in.Slug, Email: in.Email, Password: in.Password, Code: in.Code,
		Address: clientAddress(r), Agent: r.UserAgent()})
	if err != nil {
		return nil, err
	}
	return a.signedIn(r, w, got)
}

// signedIn gives a browser its cookie, and returns the answer of a sign-in.
func (a *API) signedIn(r *http.Request, w http.ResponseWriter, got auth.SignedIn) (any, error) {
	s, err := a.sessionOf(w, got.Principal)
	if err != nil {
		return nil, err
	}
	http.SetCookie(w, sessionCookie(r, SessionCookie, "/", got.Token, auth.SessionLife))
	return SignedIn{Token: got.Token, Session: s}, nil
}

func (a *API) sessionOf(w http.ResponseWriter, p auth.Principal) (Session, error) {
	w.Header().Set("Cache-Control", "no-store")
	info, err := a.Directory.SessionOf(p)
	if err != nil {
		return Session{}, err
	}
	u, err := a.Directory.Account(p)
	if err != nil {
		return Session{}, err
	}
	may, _ := p.Permissions(p.Tenant())
	return Session{ID: info.ID, CSRF: a.Directory.CSRF(p), ExpiresAt: info.ExpiresAt, User: a.userOf(u), Tenant: p.TenantName(), TenantID: p.Tenant().String(),
		Home: p.Tenant() == p.Home(), MustEnrol: p.MustEnrol(), Permissions: may.List()}, nil
}

func (a *API) signOut(r *http.Request, w http.ResponseWriter, p auth.Principal) (any, error) {
	return a.signedOut(r, w, a.Directory.SignOut(r.Context(), p))
}

func (a *API) signOutEverywhere(r *http.Request, w http.ResponseWriter, p auth.Principal) (any, error) {
	return a.signedOut(r, w, a.Directory.SignOutEverywhere(r.Context(), p))
}

func (a *API) signedOut(r *http.Request, w http.ResponseWriter, err error) (any, error) {
	if err == nil {
		http.SetCookie(w, sessionCookie(r, SessionCookie, "/", "", 0))
	}
	return nil, err
}

func (a *API) session(_ *http.Request, w http.ResponseWriter, p auth.Principal) (any, error) {
	return a.sessionOf(w, p)
}

func (a *API) act(r *http.Request, w http.ResponseWriter, p auth.Principal) (any, error) {
	var in ActRequest
	if err := httpapi.ReadJSON(w, r, &in); err != nil {
		return nil, err
	}
	if _, err := a.Directory.SwitchTenant(r.Context(), p, in.Tenant); err != nil {
		return nil, err
	}
	now, err := authenticate(a.Directory, r) // p is of before
	if err != nil {
		return nil, err
	}
	return a.sessionOf(w, now)
}

func (a *API) acceptInvitation(r *http.Request, w http.ResponseWriter, _ auth.Principal) (any, error) {
	var in TokenRequest
	if err := httpapi.ReadJSON(w, r, &in); err != nil {
		return nil, err
	}
	return a.accepted(a.Directory.Users().Accept(r.Context(), in.Token, in.Name, in.Password))
}

func (a *API) acceptReset(r *http.Request, w http.ResponseWriter, _ auth.Principal) (any, error) {
	var in TokenRequest
	if err := httpapi.ReadJSON(w, r, &in); err != nil {
		return nil, err
	}
	if in.Name != "" {
		return nil, invalid("name: is for invitations")
	}
	return a.accepted(a.Directory.Users().Reset(r.Context(), in.Token, in.Password))
}

func (a *API) accepted(u auth.User, err error) (any, error) {
	if err != nil {
		return nil, err
	}
	return Accepted{Slug: a.Directory.Slug(u.Tenant), Email: u.Email}, nil
}

func (a *API) askReset(r *http.Request, w http.ResponseWriter, _ auth.Principal) (any, error) {
	var in ResetRequest
	if err := httpapi.ReadJSON(w, r, &in); err != nil {
		return nil, err
	}
	if err := a.Directory.RequestReset(in.Slug, in.Email, clientAddress(r)); err != nil {
		return nil, err
	}
	return ResetAsked{"if the account exists and is active, a message is on its way to its address"}, nil
}
