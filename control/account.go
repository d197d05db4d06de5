package control

import (
	"context"
	"net/http"
	"time"

	"github.com/headgate-io/headgate/auth"
	"github.com/headgate-io/headgate/internal/httpapi"
)

// AccountPatch is the body that changes the calling user's account.
type AccountPatch struct {
	Name *string `json:"name,omitempty"`
}

// PasswordChange is the body that changes the calling user's password.
type PasswordChange struct {
	Present string `json:"present"`
	Wanted  string `json:"wanted"`
}

// CodeRequest is the body with a code of the authenticator.
type CodeRequest struct {
	Code string `json:"code"`
}

// Enrolment is what an authenticator is set up with; it is shown once, and counts once a code of it is confirmed.
type Enrolment struct {
	Secret string `json:"secret"` // base32
	URI    string `json:"uri"`    // otpauth://
}

// RecoveryCodes stand for one code of the authenticator each; they are shown once.
type RecoveryCodes struct {
	Codes []string `json:"recovery_codes"`
}

// OwnSession is a session of the calling user.
type OwnSession struct {
	ID        string    `json:"id"`
	Current   bool      `json:"current"`
	Tenant    string    `json:"tenant"` // name of the one it acts in
	Address   string    `json:"address"`
	Agent     string    `json:"agent"`
	CreatedAt time.Time `json:"created_at"`
	ExpiresAt time.Time `json:"expires_at"`
	SeenAt    time.Time `json:"seen_at"` // to some minutes
}

// OwnSessions are the live sessions of the calling user, newest first.
type OwnSessions struct {
	Sessions []OwnSession `json:"sessions"`
}

func (a *API) accountRoutes() []route {
	return []route{
		{"GET", "/api/v1/account", "Show the calling user", "", nil, nil, User{}, 0, a.ownAccount},
		{"PATCH", "/api/v1/account", "Change the calling user's name", "", nil, AccountPatch{}, User{}, 0, a.setAccount},
		{"PUT", "/api/v1/account/password", "Change the calling user's password, and end the other sessions", "", nil, PasswordChange{}, nil, http.StatusNoContent, a.setPassword},
		{"GET", "/api/v1/account/sessions", "List the calling user's sessions", "", nil, nil, OwnSessions{}, 0, a.ownSessions},
		{"DELETE", "/api/v1/account/sessions/{session}", "End one of the calling user's sessions", "", nil, nil, nil, http.StatusNoContent, a.endSession},
		{"POST", "/api/v1/account/second-factor", "Begin to enrol an authenticator", account, nil, nil, Enrolment{}, http.StatusCreated, a.beginFactor},
		{"POST", "/api/v1/account/second-factor/confirm", "Enrol it by a code, and get recovery codes", account, nil, CodeRequest{}, RecoveryCodes{}, 0, a.confirmFactor},
		{"POST", "/api/v1/account/second-factor/recovery-codes", "Replace the recovery codes", "", nil, CodeRequest{}, RecoveryCodes{}, 0, a.recoveryCodes},
		{"DELETE", "/api/v1/account/second-factor", "Remove the authenticator, by a code of it", "", nil, CodeRequest{}, nil, http.StatusNoContent, a.removeFactor},
	}
}

func (a *API) ownAccount(_ *http.Request, _ http.ResponseWriter, p auth.Principal) (any, error) {
	return a.answerUser(a.Directory.Account(p))
}

func (a *API) setAccount(r *http.Request, w http.ResponseWriter, p auth.Principal) (any, error) {
	var in AccountPatch
	if err := httpapi.ReadJSON(w, r, &in); err != nil {
		return nil, err
	}
	if in.Name == nil {
		return a.answerUser(a.Directory.Account(p))
	}
	return a.answerUser(a.Directory.SetOwnName(r.Context(), p, *in.Name))
}

func (a *API) setPassword(r *http.Request, w http.ResponseWriter, p auth.Principal) (any, error) {
	var in PasswordChange
	if err := httpapi.ReadJSON(w, r, &in); err != nil {
		return nil, err
	}
	return nil, a.Directory.SetOwnPassword(r.Context(), p, in.Present, in.Wanted)
}

func (a *API) ownSessions(r *http.Request, _ http.ResponseWriter, p auth.Principal) (any, error) {
	found, err := a.Directory.Sessions(r.Context(), p)
	if err != nil {
		return nil, err
	}
	names := a.names(p)
	out := OwnSessions{Sessions: []OwnSession{}}
	for _, s := range found {
		out.Sessions = append(out.Sessions, OwnSession{ID: s.ID, Current: s.Current, Tenant: names(r.Context(), s.Acting), Address: s.Address, Agent: s.Agent,
			CreatedAt: s.CreatedAt, ExpiresAt: s.ExpiresAt, SeenAt: s.SeenAt})
	}
	return out, nil
}

func (a *API) endSession(r *http.Request, _ http.ResponseWriter, p auth.Principal) (any, error) {
	return nil, a.Directory.EndSession(r.Context(), p, r.PathValue("session"))
}

func (a *API) beginFactor(r *http.Request, w http.ResponseWriter, p auth.Principal) (any, error) {
	w.Header().Set("Cache-Control", "no-store")
	e, err := a.Directory.BeginSecondFactor(r.Context(), p)
	if err != nil {
		return nil, err
	}
	return Enrolment(e), nil
}

func (a *API) confirmFactor(r *http.Request, w http.ResponseWriter, p auth.Principal) (any, error) {
	return a.codes(r, w, p, a.Directory.ConfirmSecondFactor)
}

func (a *API) recoveryCodes(r *http.Request, w http.ResponseWriter, p auth.Principal) (any, error) {
	return a.codes(r, w, p, a.Directory.NewRecoveryCodes)
}

func (a *API) removeFactor(r *http.Request, w http.ResponseWriter, p auth.Principal) (any, error) {
	var in CodeRequest
	if err := httpapi.ReadJSON(w, r, &in); err != nil {
		return nil, err
	}
	return nil, a.Directory.RemoveSecondFactor(r.Context(), p, in.Code)
}

// codes serves what is asked for with a code and answered with recovery codes.
func (a *API) codes(r *http.Request, w http.ResponseWriter, p auth.Principal, do func(context.Context, auth.Principal, string) ([]string, error)) (any, error) {
	var in CodeRequest
	if err := httpapi.ReadJSON(w, r, &in); err != nil {
		return nil, err
	}
	w.Header().Set("Cache-Control", "no-store")
	codes, err := do(r.Context(), p, in.Code)
	if err != nil {
		return nil, err
	}
	return RecoveryCodes{codes}, nil
}
