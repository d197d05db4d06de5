package engine

import (
	"compress/gzip"
	"compress/zlib"
	"errors"
	"io"
	"net/http"
	"strings"
	"time"

	"github.com/ClickHouse/ch-go/compress"
	"github.com/klauspost/compress/zstd"
)

// decodeBody undoes the Content-Encoding and then, if blocks is set, ClickHouse's own block framing.
func decodeBody(r *http.Request, patient *patientReader, blocks bool) (io.Reader, error) {
	if strings.HasPrefix(r.Header.Get("Content-Type"), "multipart/") {
		return nil, exceptionf(codeNotImplemented, "the embedded engine takes no external tables")
	}
	var body io.Reader = patient
	switch enc := strings.ToLower(r.Header.Get("Content-Encoding")); enc {
	case "", "identity":
	case "gzip":
		body = &lazyReader{src: patient, open: func(src io.Reader) (io.Reader, error) { return gzip.NewReader(src) }}
	case "deflate":
		body = &lazyReader{src: patient, open: func(src io.Reader) (io.Reader, error) { return zlib.NewReader(src) }}
	case "zstd":
		body = &lazyReader{src: patient, open: func(src io.Reader) (io.Reader, error) {
			d, err := zstd.NewReader(src, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxMemory(64<<20))
			if err != nil {
				return nil, err
			}
			return d.IOReadCloser(), nil
		}}
	default:
		return nil, exceptionf(codeUnsupportedMedia, "content encoding %q: want gzip, deflate or zstd", enc)
	}
	if blocks {
		return newBlockReader(body), nil
	}
	return body, nil
}

// patientReader reads a request's body and gives the client the stall timeout for each piece. At the end of the body it
// lifts the limit: net/http goes on reading to see the client leave, and a time-out there would look like it.
type patientReader struct {
	io.Reader
	rc    *http.ResponseController
	stall time.Duration
}

func (p *patientReader) Read(b []byte) (int, error) {
	_ = p.rc.SetReadDeadline(time.Now().Add(p.stall))
	n, err := p.Reader.Read(b)
	if err != nil {
		_ = p.rc.SetReadDeadline(time.Time{})
	}
	return n, err
}

// lazyReader opens its decoder at the first Read, because a decoder reads the head of the body when it is made.
type lazyReader struct {
	src  io.Reader
	open func(io.Reader) (io.Reader, error)
	r    io.Reader
}

func (l *lazyReader) Read(p []byte) (n int, err error) {
	if l.r == nil {
		if l.r, err = l.open(l.src); err != nil {
			return 0, err
		}
	}
	return l.r.Read(p)
}

// blockReader undoes ClickHouse's block framing. It answers io.EOF at the end of a block only: a body that ends inside one
// is io.ErrUnexpectedEOF.
type blockReader struct {
	src counter
	r   *compress.Reader
	at  int64 // where the last block ended in src
}

type counter struct {
	io.Reader
	n int64
}

func (c *counter) Read(p []byte) (int, error) {
	n, err := c.Reader.Read(p)
	c.n += int64(n)
	return n, err
}

func newBlockReader(src io.Reader) *blockReader {
	b := &blockReader{src: counter{Reader: src}}
	b.r = compress.NewReader(&b.src)
	return b
}

func (b *blockReader) Read(p []byte) (int, error) {
	n, err := b.r.Read(p)
	switch {
	case err == nil:
		b.at = b.src.n
	case errors.Is(err, io.EOF) && b.src.n == b.at:
		err = io.EOF
	case errors.Is(err, io.EOF):
		err = io.ErrUnexpectedEOF
	}
	return n, err
}

// fill reads until p is full or r ends. Other than io.ReadFull it keeps apart a body that ended (io.EOF) and one that broke
// off (any other error).
func fill(r io.Reader, p []byte) (n int, err error) {
	for n < len(p) && err == nil {
		var m int
		m, err = r.Read(p[n:])
		n += m
	}
	return n, err
}
