package ingest

import (
	"bytes"
	"errors"
	"io"
	"strings"
	"sync"
)

// An inflater decompresses what it was last Reset to. It is used by one request at a time.
type inflater interface {
	io.Reader
	// Reset makes the inflater read src, which it must not read beyond the end of the compressed content.
	Reset(src *bytes.Reader) error
}

// A codec is one coding of bodies, with its inflaters pooled. Their memory stands beside the budget: up to 8 MiB each (the
// window of zstd), and as many as there are turns.
type codec struct {
	inflaters sync.Pool
	// block decompresses bodies that are one block; it is asked first, and reports false for those that are none.
	block func(dst *buffer, src []byte, limit int64, take taker) (bool, error)
}

func newCodec(make func() inflater) *codec {
	return &codec{inflaters: sync.Pool{New: func() any { return make() }}}
}

var errGoesOn = errors.New("bytes after the compressed content")

// inflate adds what src decompresses to to dst, up to limit bytes; memory is asked of take.
func (c *codec) inflate(dst *buffer, src []byte, limit int64, take taker) error {
	if c.block != nil {
		if is, err := c.block(dst, src, limit, take); is || err != nil {
			return err
		}
	}
	in, err := c.open(src)
	if err == nil {
		err = dst.readAll(in, limit, take)
	}
	in.close()
	return err
}

// An inflation is one body that is being decompressed.
type inflation struct {
	codec  *codec
	from   inflater
	packed *bytes.Reader
}

// open begins to decompress src, which is no block. The inflation must be closed, after an error too, but not in a panic: it
// may be the inflater that is broken.
func (c *codec) open(src []byte) (*inflation, error) {
	in := &inflation{c, c.inflaters.Get().(inflater), bytes.NewReader(src)}
	return in, in.from.Reset(in.packed)
}

// Read reads what comes out, and fails at its end if that is not the body's.
func (in *inflation) Read(p []byte) (int, error) {
	n, err := in.from.Read(p)
	if errors.Is(err, io.EOF) && in.packed.Len() > 0 {
		err = errGoesOn
	}
	return n, err
}

func (in *inflation) close() {
	in.packed.Reset(nil) // what waits in the pool keeps no request alive
	in.codec.inflaters.Put(in.from)
}

// codecs are the codings of OTLP/HTTP bodies by their names in lower case, as the collector knows them.
type codecs map[string]*codec

func newCodecs() codecs {
	gzip := newCodec(newGzip) // under its old name too: RFC 9110, 8.4.1.3
	snappy := newCodec(newSnappyFramed)
	snappy.block = inflateSnappyBlock
	deflate := newCodec(newDeflate)
	return codecs{
		"gzip": gzip, "x-gzip": gzip, "zstd": newCodec(newZstd), "lz4": newCodec(newLZ4),
		"deflate": deflate, "zlib": deflate,
		"snappy": snappy, "x-snappy-framed": newCodec(newSnappyFramed),
	}
}

// acceptedEncodings names the codecs in an answer to a body in another coding.
const acceptedEncodings = "gzip, zstd, deflate, zlib, snappy, x-snappy-framed, lz4, identity"

// find returns the codec of a Content-Encoding, nil for none. Its values may be several, in one header or more; more
// than one coding, even twice the same, is refused.
func (cs codecs) find(values []string) (*codec, bool) {
	var found *codec
	for _, v := range values {
		for name := range strings.SplitSeq(v, ",") {
			name = strings.ToLower(strings.TrimSpace(name))
			if name == "" || name == "identity" {
				continue
			}
			c := cs[name]
			if c == nil || found != nil {
				return nil, false
			}
			found = c
		}
	}
	return found, true
}
