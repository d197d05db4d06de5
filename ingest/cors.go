package ingest

import (
	"net/http"
	"slices"
)

// cors lets browsers of some origins send telemetry and read the answers. No origins: CORS is off.
//
// SECURITY: credentials of the browser's own (cookies) are never allowed; a key is always a header that the page sets.
type cors struct{ origins []string } // exact, or "*"

const (
	corsHeaders = "authorization, x-api-key, api-key, content-type, content-encoding"
	corsMaxAge  = "7200" // seconds; browsers cap it themselves
)

// preflight reports whether a request is a browser asking for leave. It carries no key, so it is answered before one is
// asked for, whatever the path.
func (c cors) preflight(h head) bool {
	return len(c.origins) > 0 && h.method == http.MethodOptions && h.origin != "" && h.preflight != ""
}

// allow adds what a browser has to see, on errors too: without it a page cannot tell a refusal from an outage.
func (c cors) allow(h head, a reply) reply {
	if len(c.origins) == 0 {
		return a
	}
	add := func(name, value string) { a.fields = append(a.fields, field{name, value}) }
	add("Vary", "Origin") // caches must not hand one origin's answer to another
	switch {
	case h.origin == "":
		return a
	case slices.Contains(c.origins, "*"):
		add("Access-Control-Allow-Origin", "*")
	case h.origin != "null" && slices.Contains(c.origins, h.origin):
		// SECURITY: null is what any sandboxed frame sends; it is nobody in particular.
		add("Access-Control-Allow-Origin", h.origin)
	default:
		return a
	}
	if c.preflight(h) {
		add("Access-Control-Allow-Methods", http.MethodPost)
		add("Access-Control-Allow-Headers", corsHeaders)
		add("Access-Control-Max-Age", corsMaxAge)
	} else {
		add("Access-Control-Expose-Headers", "Retry-After")
	}
	return a
}
