package ingest

import (
	"bytes"
	"errors"
	"io"
	"os"
	"sync"

	"github.com/headgate-io/headgate/ingest/otlp"
)

// A form is how a body is written.
type form struct {
	signal   otlp.Signal
	encoding encoding
	codec    *codec // nil: not compressed
}

// body is the protobuf bytes of one request in a reused buffer.
type body struct{ buf *bytes.Buffer }

var bodyBuffers = sync.Pool{New: func() any { return new(bytes.Buffer) }}

// maxPooledBytes keeps a rare large request from pinning its buffer for ever.
const maxPooledBytes = 16 << 20

func (b body) bytes() []byte { return b.buf.Bytes() }

func (b body) release() {
	if b.buf.Cap() <= maxPooledBytes {
		b.buf.Reset()
		bodyBuffers.Put(b.buf)
	}
}

// readBody reads, decompresses and, for JSON, translates a request's body. The bound holds for what comes over the wire
// and for what it decompresses to; the latter is counted while it is produced, and taken from the budget before it is
// read.
func (r *receiver) readBody(wire io.Reader, q form, h *hold) (body, *failure) {
	b := body{bodyBuffers.Get().(*bytes.Buffer)}
	f := r.fill(b.buf, wire, q.codec, h)
	if f == nil && q.encoding == jsonEncoding {
		f = r.translate(b.buf, q.signal)
	}
	if f != nil {
		b.release()
		return body{}, f
	}
	return b, nil
}

func (r *receiver) fill(buf *bytes.Buffer, wire io.Reader, c *codec, h *hold) *failure {
	if wire == nil {
		return nil
	}
	limited := &limitedReader{r: wire, left: r.opt.MaxBodyBytes}
	var src io.Reader = limited
	if c != nil {
		if c.holdsInput {
			src = &heldReader{r: src, hold: h}
		}
		inflated, err := c.open(src)
		if err != nil {
			return r.readFailure(err)
		}
		defer inflated.Close()
		src = &limitedReader{r: inflated, left: r.opt.MaxBodyBytes}
	}
	if _, err := buf.ReadFrom(&heldReader{r: src, hold: h}); err != nil {
		return r.readFailure(err)
	}
	// A compressed body may end before the wire's: what follows on the connection is the next request only after that.
	switch n, err := io.ReadFull(limited, make([]byte, 1)); {
	case n > 0:
		return fail(undecodable, "the body goes on after its compressed content")
	case err != io.EOF:
		return r.readFailure(err)
	}
	return nil
}

// readFailure is the answer to a body that could not be read.
func (r *receiver) readFailure(err error) *failure {
	switch {
	case errors.Is(err, errTooLarge):
		return r.bodyTooLarge()
	case errors.Is(err, errOverBudget):
		return retryable(overloaded, "headgate has more requests at hand than it takes at once; send it again")
	case errors.Is(err, os.ErrDeadlineExceeded):
		return fail(tooSlow, "the body came too slowly; send smaller batches")
	case errors.Is(err, errClientGone):
		return fail(clientGone, "the request ended before its message")
	}
	return fail(undecodable, "the body ends early, or is not what content-encoding says")
}

func (r *receiver) bodyTooLarge() *failure {
	return fail(tooLarge, "the request is larger than %d bytes, on the wire or uncompressed; send smaller batches", r.opt.MaxBodyBytes)
}

func (r *receiver) translate(buf *bytes.Buffer, sig otlp.Signal) *failure {
	converted, err := otlp.JSONToProto(sig, buf.Bytes())
	if err != nil {
		return fail(undecodable, "the body is not OTLP/JSON for %s: %v", sig, err)
	}
	if int64(len(converted)) > r.opt.MaxBodyBytes {
		return r.bodyTooLarge()
	}
	buf.Reset()
	buf.Write(converted)
	return nil
}

var (
	errTooLarge   = errors.New("more bytes than allowed")
	errClientGone = errors.New("cancelled, or its deadline passed")
	errOverBudget = errors.New("more bytes at once than the budget has")
)

// limitedReader is an io.LimitReader that tells the end of the input (io.EOF) from the limit (errTooLarge).
type limitedReader struct {
	r    io.Reader
	left int64
}

func (l *limitedReader) Read(p []byte) (int, error) {
	// One byte more than is left tells whether there is more.
	if int64(len(p)) > l.left+1 {
		p = p[:l.left+1]
	}
	n, err := l.r.Read(p)
	if int64(n) > l.left {
		return 0, errTooLarge
	}
	l.left -= int64(n)
	return n, err
}

// heldReader takes what it reads from the budget, in steps, ahead of reading it.
type heldReader struct {
	r     io.Reader
	hold  *hold
	taken int64
	ahead int64 // of taken, not yet read
}

// The first step is small, for small bodies; then what is taken doubles, as the buffer that it is read into does, so that
// large bodies come in large reads.
const (
	firstStep   = 16 << 10
	largestStep = 4 << 20
)

func (h *heldReader) Read(p []byte) (int, error) {
	if h.ahead == 0 {
		step := min(max(h.taken, firstStep), largestStep)
		if !h.hold.grow(step) {
			return 0, errOverBudget
		}
		h.taken += step
		h.ahead = step
	}
	if int64(len(p)) > h.ahead {
		p = p[:h.ahead]
	}
	n, err := h.r.Read(p)
	h.ahead -= int64(n)
	return n, err
}
