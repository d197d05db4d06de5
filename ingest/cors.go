package ingest

import (
	"net/http"
	"slices"

	"github.com/headgate-io/headgate/auth"
)

// cors lets browsers of some origins send telemetry and read the answers: the server's origins, and those of all keys. A
// browser asks before it shows a key, so it is answered for all of them; whether the key that it then shows allows the
// origin is decided by examine.
//
// SECURITY: credentials of the browser's own (cookies) are never allowed; a key is always a header that the page sets.
type cors struct {
	origins []string // exact, or "*"
	keys    *auth.Directory
}

const (
	corsHeaders = "authorization, x-api-key, api-key, content-type, content-encoding"
	corsExposed = "Retry-After, " + policyField + ", " + limitField
	corsMaxAge  = "7200" // seconds; browsers cap it themselves
)

// preflight reports whether a request is a browser asking for leave. It carries no key, so it is answered before one is
// asked for, whatever the path.
func (c cors) preflight(h head) bool {
	return h.method == http.MethodOptions && h.origin != "" && h.preflight != "" && c.allows(h.origin) != ""
}

// allows returns what Access-Control-Allow-Origin is to say, "" for nothing.
func (c cors) allows(origin string) string {
	switch {
	case origin == "":
		return ""
	case slices.Contains(c.origins, "*"):
		return "*"
	case c.keys != nil && c.keys.AllowsOrigin(origin), origin != "null" && slices.Contains(c.origins, origin):
		// SECURITY: null is what any sandboxed frame sends; it is nobody in particular, and only * means it.
		return origin
	}
	return ""
}

// allow adds what a browser has to see, on errors too: without it a page cannot tell a refusal from an outage.
func (c cors) allow(h head, a reply) reply {
	add := func(name, value string) { a.fields = append(a.fields, field{name, value}) }
	if h.origin != "" || len(c.origins) > 0 {
		add("Vary", "Origin") // caches must not hand one origin's answer to another
	}
	allowed := c.allows(h.origin)
	if allowed == "" {
		return a
	}
	add("Access-Control-Allow-Origin", allowed)
	if c.preflight(h) {
		add("Access-Control-Allow-Methods", http.MethodPost)
		add("Access-Control-Allow-Headers", corsHeaders)
		add("Access-Control-Max-Age", corsMaxAge)
	} else {
		add("Access-Control-Expose-Headers", corsExposed)
	}
	return a
}
