package ingest

import (
	"context"
	"io"
	"log"
	"net"
	"net/http"
	"strconv"
	"strings"
	"time"

	"google.golang.org/grpc/codes"
)

// newHTTP2Server serves OTLP/HTTP over HTTP/2, which fasthttp does not speak. Its connections come from the front, TLS
// taken off.
func newHTTP2Server(r *receiver) *http.Server {
	var p http.Protocols
	p.SetUnencryptedHTTP2(true)
	return &http.Server{
		Handler:   http.HandlerFunc(r.serveHTTP2),
		Protocols: &p,
		ConnContext: func(ctx context.Context, c net.Conn) context.Context {
			return context.WithValue(ctx, originKey{}, originOf(c))
		},
		ReadHeaderTimeout: r.opt.HeaderTimeout,
		IdleTimeout:       idleTimeout,
		MaxHeaderBytes:    maxHeaderBytes2,
		ErrorLog:          log.New(io.Discard, "", 0),
		HTTP2: &http.HTTP2Config{
			// SECURITY: also what bounds the handlers of streams that are opened and reset at once.
			MaxConcurrentStreams:          maxStreamsHTTP,
			MaxReceiveBufferPerConnection: 4 << 20,
			MaxReceiveBufferPerStream:     1 << 20,
			SendPingTimeout:               pingAfter,
			PingTimeout:                   pingTimeout,
			WriteByteTimeout:              r.opt.WriteTimeout,
		},
	}
}

// originKey is where the connection of a request is in its context, the only place that net/http offers.
type originKey struct{}

// Limits of an HTTP/2 connection.
const (
	maxStreamsGRPC = 1024
	maxStreamsHTTP = 100 // each is a goroutine before its key is known
	// maxHeaderBytes2 is how large a list of headers either server reads. OTLP/HTTP takes maxHeaderBytes1 of it, as over
	// HTTP/1.1; what is between the two is read only to be refused with a Status, which net/http would not send.
	maxHeaderBytes2 = 64 << 10
	pingAfter       = 2 * time.Minute // of silence
	pingTimeout     = 20 * time.Second
)

func (r *receiver) serveHTTP2(w http.ResponseWriter, req *http.Request) {
	if strings.HasPrefix(req.Header.Get("Content-Type"), "application/grpc") {
		r.refuseGRPC(w)
		return
	}
	body := &pacedReader{r: req.Body, setDeadline: http.NewResponseController(w).SetReadDeadline, start: time.Now(), timeout: r.opt.BodyTimeout}
	from, _ := req.Context().Value(originKey{}).(*conn)
	h := newHead(from, req.Method, req.URL.Path, req.ContentLength, req.Header)
	var a reply
	if headerBytes2(req) > maxHeaderBytes1 {
		req.Header = nil // what refuses may have to wait for its client
		a = r.refuseHeaders(h)
	} else {
		a = r.serve(req.Context(), h, body)
	}
	for _, f := range a.fields {
		w.Header().Add(f.name, f.value)
	}
	if a.contentType != "" {
		w.Header().Set("Content-Type", a.contentType)
	}
	// What the client opens no window for would stay for ever: the server's own deadlines are for what it writes.
	_ = http.NewResponseController(w).SetWriteDeadline(time.Now().Add(r.opt.WriteTimeout))
	w.Header().Set("Content-Length", strconv.Itoa(len(a.body)))
	w.WriteHeader(a.status)
	_, _ = w.Write(a.body) // the client may be gone
}

// headerBytes2 is the size of a request's headers as RFC 9113 counts it (SETTINGS_MAX_HEADER_LIST_SIZE), but for the cookies
// that net/http has joined.
func headerBytes2(req *http.Request) int {
	const perField = 32
	n := len(":method:scheme:path:authority") + len(req.Method) + len("https") + len(req.RequestURI) + len(req.Host) + 4*perField
	for name, values := range req.Header {
		for _, v := range values {
			n += len(name) + len(v) + perField
		}
	}
	return n
}

// refuseHeaders answers a request whose headers are too large, without looking for its key in them.
func (r *receiver) refuseHeaders(h head) reply {
	r.judge(h.from, false)
	enc, _ := encodingOf(h.contentType)
	q := httpRequest{form: form{encoding: enc}, signalLabel: signalUnknown}
	return r.refuse(h, q, fail(headersTooLarge, "the headers are larger than %d bytes", maxHeaderBytes1))
}

// refuseGRPC tells a gRPC client, in gRPC, that it came to the wrong port.
func (r *receiver) refuseGRPC(w http.ResponseWriter) {
	f := fail(kind{"wrong-port", http.StatusNotFound, codes.Unimplemented}, "this port speaks OTLP/HTTP; send OTLP/gRPC to the other one, 4317 by default")
	r.metrics.refuse(transportHTTP, signalUnknown, f)
	w.Header().Set("Content-Type", "application/grpc")
	w.Header().Set("Grpc-Status", strconv.Itoa(int(f.grpc)))
	w.Header().Set("Grpc-Message", f.Error())
	w.WriteHeader(http.StatusOK)
}
