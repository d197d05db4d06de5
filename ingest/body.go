package ingest

import (
	"bytes"
	"errors"
	"io"
	"sync"

	"github.com/klauspost/compress/gzip"

	"github.com/headgate-io/headgate/ingest/otlp"
)

// body is the protobuf bytes of one request in a reused buffer.
type body struct{ buf *bytes.Buffer }

var bodyBuffers = sync.Pool{New: func() any { return new(bytes.Buffer) }}

// maxPooledBytes keeps a rare large request from pinning its buffer for ever.
const maxPooledBytes = 4 << 20

func (b body) bytes() []byte { return b.buf.Bytes() }

func (b body) release() {
	if b.buf.Cap() <= maxPooledBytes {
		b.buf.Reset()
		bodyBuffers.Put(b.buf)
	}
}

var gzipReaders = sync.Pool{New: func() any { return new(gzip.Reader) }}

// readBody reads, decompresses and, for JSON, translates a request's body. The bound holds for what comes over the wire
// and for what it decompresses to; the latter is counted while it is produced.
func (r *receiver) readBody(wire io.Reader, q httpRequest) (body, *failure) {
	b := body{bodyBuffers.Get().(*bytes.Buffer)}
	f := r.fill(b.buf, wire, q)
	if f == nil && q.encoding == jsonEncoding {
		f = r.translate(b.buf, q.signal)
	}
	if f != nil {
		b.release()
		return body{}, f
	}
	return b, nil
}

func (r *receiver) fill(buf *bytes.Buffer, wire io.Reader, q httpRequest) *failure {
	if wire == nil {
		return nil
	}
	limited := &limitedReader{r: wire, left: r.opt.MaxBodyBytes}
	var src io.Reader = limited
	if q.gzip {
		zr := gzipReaders.Get().(*gzip.Reader)
		defer gzipReaders.Put(zr)
		if err := zr.Reset(limited); err != nil {
			return r.readFailure(err, "the body is not gzip, though content-encoding says so")
		}
		src = &limitedReader{r: zr, left: r.opt.MaxBodyBytes}
	}
	if _, err := buf.ReadFrom(src); err != nil {
		return r.readFailure(err, "the body ends early or its compression is damaged")
	}
	return nil
}

func (r *receiver) readFailure(err error, message string) *failure {
	if errors.Is(err, errTooLarge) {
		return r.bodyTooLarge()
	}
	return fail(undecodable, "%s", message)
}

func (r *receiver) bodyTooLarge() *failure {
	return fail(tooLarge, "the request is larger than %d bytes, uncompressed; send smaller batches", r.opt.MaxBodyBytes)
}

func (r *receiver) translate(buf *bytes.Buffer, sig otlp.Signal) *failure {
	converted, err := otlp.JSONToProto(sig, buf.Bytes())
	if err != nil {
		return fail(undecodable, "the body is not OTLP/JSON for %s", sig)
	}
	if int64(len(converted)) > r.opt.MaxBodyBytes {
		return r.bodyTooLarge()
	}
	buf.Reset()
	buf.Write(converted)
	return nil
}

var errTooLarge = errors.New("more bytes than allowed")

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
