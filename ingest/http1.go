package ingest

import (
	"context"
	"errors"
	"io"
	"math"
	"net"
	"net/http"
	"time"

	"github.com/valyala/fasthttp"
	"google.golang.org/grpc/codes"
)

// maxHeaderBytes1 bounds the headers of a request. Each connection has a buffer of this size, an idle one too.
const maxHeaderBytes1 = 32 << 10

// newHTTP1Server serves OTLP/HTTP over HTTP/1.1.
func newHTTP1Server(r *receiver) *fasthttp.Server {
	s := &fasthttp.Server{
		Handler:        r.serveHTTP1,
		ExpectHandler:  r.expectContinue,
		HeaderReceived: received1,
		// The handler runs on the headers and reads the body itself: within its own bound, after authentication.
		StreamRequestBody:            true,
		DisablePreParseMultipartForm: true,
		MaxRequestBodySize:           math.MaxInt,
		ReadBufferSize:               maxHeaderBytes1,
		ReadTimeout:                  r.opt.HeaderTimeout, // the body has its own, see pacedReader
		WriteTimeout:                 r.opt.WriteTimeout,
		IdleTimeout:                  idleTimeout,
		NoDefaultServerHeader:        true,
		NoDefaultContentType:         true,
		CloseOnShutdown:              true,
		Logger:                       discardLogger{},
		Concurrency:                  math.MaxInt32, // the front bounds connections
	}
	s.ErrorHandler = func(ctx *fasthttp.RequestCtx, err error) { r.giveUp(ctx, malformed(err)) }
	return s
}

// idleTimeout is longer than clients' own (Go's is 90 s), so that they close first: a server that closes first resets
// requests on their way.
const idleTimeout = 3 * time.Minute

// malformed is the answer to a request that fasthttp gave up on.
func malformed(err error) *failure {
	var small *fasthttp.ErrSmallBuffer
	var timeout net.Error
	switch {
	case errors.As(err, &small):
		return fail(headersTooLarge, "the headers are larger than %d bytes", maxHeaderBytes1)
	case errors.As(err, &timeout) && timeout.Timeout():
		return fail(tooSlow, "the request came too slowly")
	}
	return fail(kind{"malformed", http.StatusBadRequest, codes.InvalidArgument}, "the HTTP request is malformed")
}

// giveUp answers what is no request, and closes: where the next one would begin is unknown.
func (r *receiver) giveUp(ctx *fasthttp.RequestCtx, f *failure) {
	r.metrics.refuse(transportHTTP, signalUnknown, f)
	a := failureReply(jsonEncoding, f)
	a.close = true
	if from := originOf(ctx.Conn()); from != nil {
		from.partial.Store(true) // its client may still write: of headers that are too large, the rest
	}
	writeHTTP1(ctx, a)
}

type discardLogger struct{}

func (discardLogger) Printf(string, ...any) {}

type headers1 struct{ *fasthttp.RequestHeader }

func (h headers1) Values(name string) []string {
	var out []string
	for _, v := range h.PeekAll(name) {
		out = append(out, string(v))
	}
	return out
}

func head1(ctx *fasthttp.RequestCtx) head {
	return newHead(originOf(ctx.Conn()), string(ctx.Method()), string(ctx.Path()), int64(ctx.Request.Header.ContentLength()), headers1{&ctx.Request.Header})
}

// expectContinue answers "Expect: 100-continue" with the final status where the headers alone decide it.
func (r *receiver) expectContinue(ctx *fasthttp.RequestCtx) int {
	h := head1(ctx)
	if h.probed() || readFields(ctx.Request.Header.RawHeaders()).ambiguous(&ctx.Request.Header) {
		return fasthttp.StatusContinue // left to serveHTTP1
	}
	q, f := r.examine(h)
	if f == nil {
		return fasthttp.StatusContinue
	}
	writeHTTP1(ctx, r.refuse(h, q, f))
	return f.http
}

func (r *receiver) serveHTTP1(ctx *fasthttp.RequestCtx) {
	fields := readFields(ctx.Request.Header.RawHeaders())
	if fields.ambiguous(&ctx.Request.Header) {
		r.giveUp(ctx, malformed(nil))
		return
	}
	var body io.Reader
	if stream := ctx.RequestBodyStream(); stream != nil {
		body = &pacedReader{r: stream, setDeadline: ctx.Conn().SetReadDeadline, start: time.Now(), timeout: r.opt.BodyTimeout}
	}
	// Not ctx itself: fasthttp ends it when the server begins to shut down, and what was received is to be finished.
	a := r.serve(context.WithoutCancel(ctx), head1(ctx), body)
	if a.unread && !a.close && body != nil {
		// So that the client gets to read the answer instead of a reset, and the connection can be used again: a body
		// somewhat too large still gets its 413.
		a.close = !ends(body, 2*r.opt.MaxBodyBytes)
	}
	if from := originOf(ctx.Conn()); from != nil {
		from.partial.Store(a.unread && a.close)
	}
	if fields.close {
		ctx.SetConnectionClose()
	}
	writeHTTP1(ctx, a)
}

func writeHTTP1(ctx *fasthttp.RequestCtx, a reply) {
	ctx.SetStatusCode(a.status)
	if a.contentType != "" {
		ctx.SetContentType(a.contentType)
	}
	for _, f := range a.fields {
		ctx.Response.Header.Add(f.name, f.value)
	}
	if a.close {
		ctx.SetConnectionClose()
	}
	ctx.SetBody(a.body)
}
