package ingest

import (
	"context"
	"errors"
	"io"
	"net/http"
	"strconv"
	"time"

	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
)

// A reply is an answer to an OTLP/HTTP request, before a server writes it.
type reply struct {
	status      int
	contentType string
	fields      []field
	body        []byte
	unread      bool // the body was not read to its end
	close       bool // the connection is of no further use
}

type field struct{ name, value string }

// serve takes an OTLP/HTTP request to its answer: the one way for every version of HTTP. It does not panic.
func (r *receiver) serve(ctx context.Context, h head, wire io.Reader) (a reply) {
	if h.probed() {
		return reply{status: http.StatusOK, contentType: "text/plain; charset=utf-8", body: []byte("ok\n")}
	}
	if r.cors.preflight(h) {
		return r.cors.allow(h, reply{status: http.StatusNoContent})
	}
	q, f := r.examine(h)
	if f != nil {
		return r.refuse(h, q, f)
	}
	defer func() {
		if v := recover(); v != nil {
			a = r.refuse(h, q, r.panicked(v))
			a.close = true
		}
	}()
	work, f := r.enter(ctx, q.principal.Tenant(), q.principal.KeyID())
	if f != nil {
		a = r.refuse(h, q, f)
		a.close = !ends(wire, maxDrain)
		return a
	}
	defer work.leave()
	if f := work.fly(q.call()); f != nil {
		a = r.refuse(h, q, f)
		a.close = !ends(wire, maxDrain)
		return a
	}
	if f := r.receive(ctx, wire, q.form, work); f != nil {
		suspect := r.budget.waste.suspect(work.key) // before this one
		a := r.refuse(h, q, work.blame(f, h.contentLength))
		a.close = a.close || suspect && !ends(wire, maxDrain)
		return a
	}
	if f := r.unpack(ctx, q.form, work); f != nil {
		return r.refuse(h, q, work.blame(f, 0))
	}
	p, f := r.export(ctx, q.call(), work)
	warn(work.looksLike, &p, f)
	if f != nil {
		return r.cors.allow(h, failureReply(q.encoding, work.blame(f, 0)))
	}
	p.remark(work.notice)
	resp, err := encodeResponse(q.signal, q.encoding, p)
	if err != nil {
		return r.cors.allow(h, failureReply(q.encoding, fail(internalFailure, "an internal error happened")))
	}
	return r.cors.allow(h, reply{
		status: http.StatusOK, contentType: q.encoding.contentType(), fields: work.quota.appendTo(nil), body: resp,
	})
}

// maxDrain is how much is read of the body of a request that is to cost nothing: small ones, so that their senders see the
// answer and keep their connections.
const maxDrain = 1 << 20

// ends reads what is left of a body and reports whether it ended within limit bytes.
func ends(body io.Reader, limit int64) bool {
	if body == nil {
		return true
	}
	for ; limit >= 0; limit -= drainAtOnce {
		if _, err := io.CopyN(io.Discard, body, min(limit+1, drainAtOnce)); err != nil {
			return errors.Is(err, io.EOF)
		}
		if limit > drainAtOnce {
			time.Sleep(drainPause)
		}
	}
	return false
}

// What is read for nothing is read with pauses, at half a gigabyte per second: there is no hurry, and others have work.
const (
	drainAtOnce = 1 << 20
	drainPause  = 2 * time.Millisecond
)

// refuse counts and answers a request whose body was not read, or not to its end.
func (r *receiver) refuse(h head, q httpRequest, f *failure) reply {
	r.metrics.refuse(transportHTTP, q.signalLabel, f)
	r.tell(q.call(), f, 0)
	a := r.cors.allow(h, failureReply(q.encoding, f))
	a.unread, a.close = true, f.kind == tooSlow
	return a
}

// failureReply is a google.rpc.Status in the request's encoding, as OTLP asks of every error.
func failureReply(enc encoding, f *failure) reply {
	marshal := proto.Marshal
	if enc == jsonEncoding {
		marshal = protojson.Marshal
	}
	body, err := marshal(f.status())
	if err != nil {
		panic("BUG: marshal status: " + err.Error())
	}
	a := reply{status: f.http, contentType: enc.contentType(), body: body}
	add := func(name, value string) { a.fields = append(a.fields, field{name, value}) }
	switch f.http {
	case http.StatusUnauthorized:
		add("WWW-Authenticate", `Bearer realm="headgate"`)
	case http.StatusMethodNotAllowed:
		add("Allow", http.MethodPost)
	}
	if f.kind == badEncoding {
		add("Accept-Encoding", acceptedEncodings)
	}
	if f.retryAfter > 0 {
		add("Retry-After", strconv.Itoa(f.retrySeconds()))
	}
	a.fields = f.quota.appendTo(a.fields)
	return a
}
