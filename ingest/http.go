package ingest

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"mime"
	"net"
	"strconv"
	"strings"
	"time"

	"github.com/valyala/fasthttp"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"

	"github.com/headgate-io/headgate/auth"
	"github.com/headgate-io/headgate/ingest/otlp"
)

// httpPaths maps the paths of OTLP/HTTP to their signals.
var httpPaths = map[string]otlp.Signal{
	"/v1/logs":    otlp.Logs,
	"/v1/traces":  otlp.Traces,
	"/v1/metrics": otlp.Metrics,
}

// signalOfPath finds the signal of a path. A trailing or doubled slash, as endpoint settings often produce, is served
// rather than redirected: OTLP clients do not follow redirects.
func signalOfPath(path string) (otlp.Signal, bool) {
	sig, ok := httpPaths["/"+strings.Trim(path, "/")]
	return sig, ok
}

func newHTTPServer(r *receiver) *fasthttp.Server {
	s := &fasthttp.Server{
		Handler:       r.serveHTTP,
		ExpectHandler: r.expectContinue,
		// The handler runs on the headers and reads the body itself: within its own bound, after authentication.
		StreamRequestBody:            true,
		DisablePreParseMultipartForm: true,
		MaxRequestBodySize:           math.MaxInt,
		ReadBufferSize:               32 << 10, // also the bound of the headers
		ReadTimeout:                  r.opt.ReadTimeout,
		WriteTimeout:                 30 * time.Second,
		IdleTimeout:                  3 * time.Minute, // longer than clients' own (Go 90 s), so that they close first
		NoDefaultServerHeader:        true,
		NoDefaultContentType:         true,
		CloseOnShutdown:              true,
		Logger:                       discardLogger{},
	}
	s.ErrorHandler = func(ctx *fasthttp.RequestCtx, err error) {
		f := fail(undecodable, "the HTTP request is malformed")
		var small *fasthttp.ErrSmallBuffer
		if errors.As(err, &small) {
			f = fail(kind{"headers-too-large", fasthttp.StatusRequestHeaderFieldsTooLarge, undecodable.grpc}, "the headers are larger than 32 KiB")
		}
		writeFailure(ctx, jsonEncoding, f)
		ctx.SetConnectionClose()
	}
	return s
}

type discardLogger struct{}

func (discardLogger) Printf(string, ...any) {}

// An httpRequest is what the headers of a request tell, before any of its body is read.
type httpRequest struct {
	signal      otlp.Signal
	signalLabel string
	encoding    encoding
	gzip        bool
	principal   auth.Principal
}

func (q httpRequest) call() call { return call{transportHTTP, q.signal, q.principal} }

// examine checks everything that the headers decide. The encoding of its answer is known even when it refuses: JSON
// unless the request is protobuf.
func (r *receiver) examine(ctx *fasthttp.RequestCtx) (q httpRequest, f *failure) {
	h := &ctx.Request.Header
	q.signalLabel, q.encoding = signalUnknown, jsonEncoding
	known := false
	if mediaType, _, err := mime.ParseMediaType(string(h.ContentType())); err == nil {
		switch mediaType {
		case "application/x-protobuf":
			q.encoding, known = protobuf, true
		case "application/json":
			known = true
		}
	}
	sig, ok := signalOfPath(string(ctx.Path()))
	if !ok {
		return q, fail(notFound, "no such path; OTLP/HTTP is served at /v1/logs, /v1/traces and /v1/metrics")
	}
	q.signal, q.signalLabel = sig, sig.String()
	if !ctx.IsPost() {
		ctx.Response.Header.Set("Allow", "POST")
		return q, fail(badMethod, "send telemetry with POST")
	}
	q.principal, f = r.authenticate(credentials{
		authorization: peekAll(h, "Authorization"),
		apiKey:        peekAll(h, "X-Api-Key"),
	})
	if f != nil {
		return q, f
	}
	if !known {
		return q, fail(badContentType, "send content-type application/x-protobuf or application/json")
	}
	switch enc := strings.ToLower(strings.TrimSpace(string(h.ContentEncoding()))); enc {
	case "", "identity":
	case "gzip":
		q.gzip = true
	default:
		ctx.Response.Header.Set("Accept-Encoding", "gzip, identity")
		return q, fail(badEncoding, "send content-encoding gzip or none")
	}
	if n := h.ContentLength(); int64(n) > r.opt.MaxBodyBytes {
		return q, r.bodyTooLarge()
	}
	return q, r.admit(q.call())
}

func peekAll(h *fasthttp.RequestHeader, name string) []string {
	var out []string
	for _, v := range h.PeekAll(name) {
		out = append(out, string(v))
	}
	return out
}

// expectContinue answers "Expect: 100-continue" with the final status where the headers alone decide it.
func (r *receiver) expectContinue(ctx *fasthttp.RequestCtx) int {
	q, f := r.examine(ctx)
	if f == nil {
		return fasthttp.StatusContinue
	}
	r.metrics.refuse(transportHTTP, q.signalLabel, f)
	writeFailure(ctx, q.encoding, f)
	return f.http
}

func (r *receiver) serveHTTP(ctx *fasthttp.RequestCtx) {
	q, f := r.examine(ctx)
	if f != nil {
		r.metrics.refuse(transportHTTP, q.signalLabel, f)
		writeFailure(ctx, q.encoding, f)
		r.drain(ctx)
		return
	}
	body, f := r.readBody(ctx.RequestBodyStream(), q)
	if f != nil {
		r.metrics.refuse(transportHTTP, q.signalLabel, f)
		writeFailure(ctx, q.encoding, f)
		r.drain(ctx)
		return
	}
	defer body.release()
	// Not ctx itself: fasthttp ends it when the server begins to shut down, and what was received is to be finished.
	p, f := r.export(context.WithoutCancel(ctx), q.call(), body.bytes())
	if f != nil {
		writeFailure(ctx, q.encoding, f)
		return
	}
	resp, err := encodeResponse(q.signal, q.encoding, p)
	if err != nil {
		writeFailure(ctx, q.encoding, fail(internalFailure, "an internal error happened"))
		return
	}
	ctx.SetContentType(q.encoding.contentType())
	ctx.SetBody(resp)
}

// drain reads what is left of a refused body, so that the client gets to read the answer instead of a reset, and so
// that the connection can be used again. What exceeds the body limit is not read; the connection is closed instead.
func (r *receiver) drain(ctx *fasthttp.RequestCtx) {
	stream := ctx.RequestBodyStream()
	if stream == nil {
		return
	}
	n, err := io.CopyN(io.Discard, stream, r.opt.MaxBodyBytes+1)
	if n > r.opt.MaxBodyBytes || err != nil && !errors.Is(err, io.EOF) {
		ctx.SetConnectionClose()
	}
}

// writeFailure writes a google.rpc.Status in the request's encoding, as OTLP asks of every error.
func writeFailure(ctx *fasthttp.RequestCtx, enc encoding, f *failure) {
	var body []byte
	var err error
	if enc == jsonEncoding {
		body, err = protojson.Marshal(f.status())
	} else {
		body, err = proto.Marshal(f.status())
	}
	if err != nil {
		panic("BUG: marshal status: " + err.Error())
	}
	ctx.SetStatusCode(f.http)
	ctx.SetContentType(enc.contentType())
	if f.http == fasthttp.StatusUnauthorized {
		ctx.Response.Header.Set("WWW-Authenticate", `Bearer realm="headgate"`)
	}
	if f.retryAfter > 0 {
		ctx.Response.Header.Set("Retry-After", strconv.Itoa(f.retrySeconds()))
	}
	ctx.SetBody(body)
}

// serveHTTP serves until ctx ends, then lets requests finish within the grace period.
func (s *Server) serveHTTP(ctx context.Context, l net.Listener) error {
	srv := newHTTPServer(s.receiver)
	served := make(chan error, 1)
	go func() { served <- srv.Serve(l) }()
	select {
	case err := <-served:
		return fmt.Errorf("serve otlp http: %w", err)
	case <-ctx.Done():
	}
	grace, cancel := context.WithTimeout(context.WithoutCancel(ctx), s.receiver.opt.Grace)
	defer cancel()
	if err := srv.ShutdownWithContext(grace); err != nil {
		s.receiver.log.Warn("otlp http: requests were cut off at shutdown", "err", err)
		return nil // Serve may hang on a stuck connection; the process is about to end
	}
	<-served
	return nil
}
