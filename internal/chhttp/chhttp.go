// Package chhttp adapts HTTP requests of clickhouse-go, so that an INSERT can ask for decompress=1.
package chhttp

import "net/http"

// Transport is a clickhouse.Options.TransportFunc. A context's settings go with everything that the driver sends under it,
// the greeting of a connection that it opens on the way too. That carries its statement in its body, which is not
// compressed: decompress, which speaks of the body, is left to requests that have their statement in the URL.
func Transport(t *http.Transport) (http.RoundTripper, error) { return transport{t}, nil }

// transport embeds the driver's, so that its idle connections can be closed.
type transport struct{ *http.Transport }

// RoundTrip implements http.RoundTripper.
func (t transport) RoundTrip(r *http.Request) (*http.Response, error) {
	q := r.URL.Query()
	if q.Has("decompress") && !q.Has("query") {
		q.Del("decompress")
		plain, u := *r, *r.URL // a RoundTripper must not change its argument
		u.RawQuery = q.Encode()
		plain.URL = &u
		r = &plain
	}
	return t.Transport.RoundTrip(r)
}
