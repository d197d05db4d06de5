package control

import (
	"net/http"

	"github.com/headgate-io/headgate/auth"
)

// The cookie that a browser holds while it is at an OpenID provider.
const (
	flowCookie = "headgate_oidc"
	flowPath   = "/api/v1/oidc"
)

func (a *API) oidcRoutes() []route {
	return []route{
		{"GET", flowPath + "/start", "Go to the OpenID provider of an organization, to sign in", public, []string{"slug"}, nil, nil, http.StatusFound, a.startOIDC},
		{"GET", flowPath + "/callback", "Come back from the OpenID provider, signed in", public, []string{"state", "code"}, nil, nil, http.StatusFound, a.finishOIDC},
	}
}

func (a *API) startOIDC(r *http.Request, w http.ResponseWriter, _ auth.Principal) (any, error) {
	if a.OIDC == nil {
		return nil, auth.ErrNotFound
	}
	to, cookie, err := a.OIDC.Start(r.Context(), r.URL.Query().Get("slug"))
	if err != nil {
		return nil, err
	}
	http.SetCookie(w, sessionCookie(r, flowCookie, flowPath, cookie, auth.OIDCLife))
	redirect(w, to)
	return nil, nil
}

func (a *API) finishOIDC(r *http.Request, w http.ResponseWriter, _ auth.Principal) (any, error) {
	if a.OIDC == nil {
		return nil, auth.ErrNotFound
	}
	var flow string
	if c, err := r.Cookie(flowCookie); err == nil {
		flow = c.Value
	}
	q := r.URL.Query()
	got, err := a.OIDC.Finish(r.Context(), auth.OIDCReturn{Cookie: flow, State: q.Get("state"), Code: q.Get("code"), Address: clientAddress(r), Agent: r.UserAgent()})
	http.SetCookie(w, sessionCookie(r, flowCookie, flowPath, "", 0)) // it is for one try
	if err != nil {
		return nil, err
	}
	http.SetCookie(w, sessionCookie(r, SessionCookie, "/", got.Token, auth.SessionLife))
	redirect(w, "/")
	return nil, nil
}

// redirect sends a browser on; the address of this page, which may hold a code, goes no further.
func redirect(w http.ResponseWriter, to string) {
	w.Header().Set("Location", to)
	w.Header().Set("Cache-Control", "no-store")
	w.Header().Set("Referrer-Policy", "no-referrer")
	w.WriteHeader(http.StatusFound)
}
