package ingest

import (
	"mime"
	"net/http"
	"slices"
	"strings"

	"github.com/headgate-io/headgate/auth"
	"github.com/headgate-io/headgate/ingest/otlp"
)

// A head is what an OTLP/HTTP request tells before its body, whichever server read it.
type head struct {
	method, path     string
	contentType      string
	contentEncodings []string // one per header line
	contentLength    int64    // negative: not told
	origin           string
	userAgent        string
	preflight        string // Access-Control-Request-Method
	credentials      credentials
	from             *conn
}

// headers is how both servers' headers are read.
type headers interface{ Values(name string) []string }

func newHead(from *conn, method, path string, contentLength int64, h headers) head {
	first := func(name string) string {
		if v := h.Values(name); len(v) > 0 {
			return v[0]
		}
		return ""
	}
	return head{
		from: from, method: method, path: path, contentLength: contentLength,
		contentType: first("Content-Type"), contentEncodings: h.Values("Content-Encoding"),
		userAgent: first("User-Agent"),
		origin:    first("Origin"), preflight: first("Access-Control-Request-Method"),
		credentials: credentials{
			authorization: h.Values("Authorization"),
			apiKey:        slices.Concat(h.Values("X-Api-Key"), h.Values("Api-Key")),
		},
	}
}

// httpPaths maps the paths of OTLP/HTTP to their signals.
var httpPaths = map[string]otlp.Signal{
	"/v1/logs":    otlp.Logs,
	"/v1/traces":  otlp.Traces,
	"/v1/metrics": otlp.Metrics,

	"/v1development/profiles": otlp.Profiles, // only with Options.Profiles
}

// profilesOff says how profiles are switched on. Their protocol is in development, and changes.
const profilesOff = "profiles are not taken here: their protocol is in development; headgate serve --profiles switches them on"

const servedPaths = "OTLP/HTTP is served at /v1/logs, /v1/traces and /v1/metrics"

// signalOfPath finds the signal of a path, with the prefix before it or without.
func signalOfPath(path, prefix string) (otlp.Signal, bool) {
	path = cleanPath(path)
	if rest, ok := strings.CutPrefix(path, prefix); ok && strings.HasPrefix(rest, "/") {
		path = rest
	}
	sig, ok := httpPaths[path]
	return sig, ok
}

// cleanPath drops trailing and doubled slashes, as endpoint settings often produce. Such paths are served rather than
// redirected: OTLP clients do not follow redirects.
func cleanPath(path string) string {
	parts := strings.FieldsFunc(path, func(r rune) bool { return r == '/' })
	return "/" + strings.Join(parts, "/")
}

// probed tells whether a load balancer asks if someone is at home.
func (h head) probed() bool {
	return (h.method == http.MethodGet || h.method == http.MethodHead) && (h.path == "/" || h.path == "/healthz")
}

// An httpRequest is what a head means.
type httpRequest struct {
	form
	signalLabel string
	principal   auth.Principal
}

func (q httpRequest) call() call { return call{transportHTTP, q.signal, q.principal} }

// encodingOf is the encoding of a media type. One that is not known is answered in JSON.
func encodingOf(contentType string) (enc encoding, known bool) {
	if mediaType, _, err := mime.ParseMediaType(contentType); err == nil {
		switch mediaType {
		case "application/x-protobuf":
			return protobuf, true
		case "application/json":
			return jsonEncoding, true
		}
	}
	return jsonEncoding, false
}

// examine checks everything that a head decides. The encoding of the answer is known even when it refuses: JSON unless
// the request is protobuf. It does not panic.
func (r *receiver) examine(h head) (q httpRequest, f *failure) {
	q.signalLabel, q.encoding = signalUnknown, jsonEncoding
	defer func() {
		if v := recover(); v != nil {
			f = r.panicked(v)
		}
	}()
	var known bool
	q.encoding, known = encodingOf(h.contentType)
	sig, ok := signalOfPath(h.path, r.opt.PathPrefix)
	switch {
	case !ok:
		r.judge(h.from, false)
		return q, fail(notFound, "no such path; %s", servedPaths)
	case sig == otlp.Profiles && !r.opt.Profiles:
		return q, fail(notFound, "%s; %s", profilesOff, servedPaths)
	}
	q.signal, q.signalLabel = sig, sig.String()
	if h.method != http.MethodPost {
		r.judge(h.from, false)
		return q, fail(badMethod, "send telemetry with POST")
	}
	if q.principal, f = r.signIn(h.from, h.credentials); f != nil {
		return q, f
	}
	r.countAgent(h.from, h.userAgent)
	if h.origin != "" && q.principal.RequireOrigin(h.origin) != nil {
		return q, fail(badOrigin, "%s", auth.ErrOrigin.Text)
	}
	if !known {
		return q, fail(badContentType, "send content-type application/x-protobuf or application/json")
	}
	if q.codec, ok = r.codecs.find(h.contentEncodings); !ok {
		return q, fail(badEncoding, "send one content-encoding of %s", acceptedEncodings)
	}
	if h.contentLength > r.opt.MaxBodyBytes {
		return q, r.bodyTooLarge()
	}
	return q, r.admit(q.call())
}
