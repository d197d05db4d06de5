package ingest

import (
	"io"
	"strings"
	"sync"
)

// An inflater decompresses what it was last Reset to. It is used by one request at a time.
type inflater interface {
	io.Reader
	Reset(io.Reader) error
}

// A codec is one coding of bodies, with its inflaters pooled.
type codec struct {
	inflaters sync.Pool
	// holdsInput tells that the whole compressed body may be in memory, beside what it decompresses to.
	holdsInput bool
}

func newCodec(make func() inflater) *codec {
	return &codec{inflaters: sync.Pool{New: func() any { return make() }}}
}

// open starts decompressing src. The reader's Close gives the inflater back; no inflater starts a goroutine, so one
// that is never closed is garbage like any other.
func (c *codec) open(src io.Reader) (io.ReadCloser, error) {
	r := &inflation{inflater: c.inflaters.Get().(inflater), codec: c, src: src}
	if err := r.Reset(r.input()); err != nil {
		_ = r.Close()
		return nil, err
	}
	return r, nil
}

// inflation is an inflater lent to one body.
type inflation struct {
	inflater
	codec *codec
	src   io.Reader
}

// input stands between an inflater and its source, so that a pooled inflater keeps no finished request alive.
func (r *inflation) input() io.Reader {
	return readerFunc(func(p []byte) (int, error) {
		if r.src == nil {
			return 0, io.EOF
		}
		return r.src.Read(p)
	})
}

// Close may be called more than once.
func (r *inflation) Close() error {
	if r.src == nil {
		return nil
	}
	r.src = nil
	r.codec.inflaters.Put(r.inflater)
	return nil
}

type readerFunc func([]byte) (int, error)

func (f readerFunc) Read(p []byte) (int, error) { return f(p) }

// codecs are the codings of OTLP/HTTP bodies by their names in lower case, as the collector knows them.
type codecs map[string]*codec

func newCodecs(maxBytes int64) codecs {
	snappy := newCodec(func() inflater { return newSnappy(maxBytes) })
	snappy.holdsInput = true
	deflate := newCodec(newDeflate)
	return codecs{
		"gzip": newCodec(newGzip), "zstd": newCodec(newZstd), "lz4": newCodec(newLZ4),
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
