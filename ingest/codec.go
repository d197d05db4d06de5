package ingest

import (
	"bufio"
	"bytes"
	"io"
	"strings"
	"sync"

	"github.com/klauspost/compress/flate"
	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/s2"
	"github.com/klauspost/compress/zlib"
	"github.com/klauspost/compress/zstd"
	"github.com/pierrec/lz4/v4"
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

// maxZstdWindow is what a decoder of HTTP's zstd coding has to offer, and encoders may not exceed (RFC 9659).
const maxZstdWindow = 8 << 20

func newGzip() inflater { return new(gzip.Reader) }

func newZstd() inflater {
	// SECURITY: a frame names its window, and that much is allocated before its first byte: hence the bound.
	d, err := zstd.NewReader(nil, zstd.WithDecoderConcurrency(1), zstd.WithDecoderLowmem(true), zstd.WithDecoderMaxWindow(maxZstdWindow))
	if err != nil {
		panic("BUG: zstd options: " + err.Error())
	}
	return d
}

type lz4Inflater struct{ *lz4.Reader }

func newLZ4() inflater { return lz4Inflater{lz4.NewReader(nil)} }

func (l lz4Inflater) Reset(r io.Reader) error {
	l.Reader.Reset(r)
	return nil
}

// snappyFramed reads the framing format, which is also what gRPC calls snappy.
type snappyFramed struct{ *s2.Reader }

// maxSnappyBlock is the largest block of the snappy framing format; s2, which the reader could do, has larger ones.
const maxSnappyBlock = 64 << 10

func newSnappyFramed() inflater {
	return snappyFramed{s2.NewReader(nil, s2.ReaderMaxBlockSize(maxSnappyBlock))}
}

func (s snappyFramed) Reset(r io.Reader) error {
	s.Reader.Reset(r)
	return nil
}

// snappyMagic opens a stream in the framing format.
const snappyMagic = "\xff\x06\x00\x00sNaPpY"

// snappyInflater reads "snappy" as HTTP clients mean it: some send one block, some the framing format.
type snappyInflater struct {
	maxBytes int64 // of a block, uncompressed
	peek     *bufio.Reader
	framed   inflater
	packed   bytes.Buffer
	block    []byte
	rest     io.Reader
}

func newSnappy(maxBytes int64) inflater {
	return &snappyInflater{maxBytes: maxBytes, peek: bufio.NewReader(nil), framed: newSnappyFramed()}
}

func (s *snappyInflater) Read(p []byte) (int, error) { return s.rest.Read(p) }

func (s *snappyInflater) Reset(r io.Reader) error {
	s.peek.Reset(r)
	if head, _ := s.peek.Peek(len(snappyMagic)); string(head) == snappyMagic {
		s.rest = s.framed
		return s.framed.Reset(s.peek)
	}
	if s.packed.Cap() > maxPooledBytes || cap(s.block) > maxPooledBytes {
		s.packed, s.block = bytes.Buffer{}, nil
	}
	s.packed.Reset()
	if _, err := s.packed.ReadFrom(s.peek); err != nil {
		return err
	}
	n, err := s2.DecodedLen(s.packed.Bytes())
	if err != nil {
		return err
	}
	// SECURITY: the length is the sender's claim, and is allocated at once.
	if int64(n) > s.maxBytes {
		return errTooLarge
	}
	s.block, err = s2.Decode(s.block[:cap(s.block)], s.packed.Bytes())
	s.rest = bytes.NewReader(s.block)
	return err
}

// deflateInflater reads "deflate", which is zlib (RFC 9110 §8.4.1.2), and the raw deflate that some send under its name.
type deflateInflater struct {
	peek *bufio.Reader
	zlib io.ReadCloser // made at the first use: zlib wants a header to be made
	raw  io.ReadCloser
	rest io.Reader
}

func newDeflate() inflater {
	return &deflateInflater{peek: bufio.NewReader(nil), raw: flate.NewReader(nil)}
}

func (d *deflateInflater) Read(p []byte) (int, error) { return d.rest.Read(p) }

func (d *deflateInflater) Reset(r io.Reader) (err error) {
	d.peek.Reset(r)
	head, err := d.peek.Peek(2)
	if len(head) < 2 {
		return io.ErrUnexpectedEOF
	}
	// RFC 1950: the method is 8, and the two bytes are a multiple of 31.
	if head[0]&0x0f != 8 || (int(head[0])<<8|int(head[1]))%31 != 0 {
		d.rest = d.raw
		return d.raw.(flate.Resetter).Reset(d.peek, nil)
	}
	if d.zlib == nil {
		d.zlib, err = zlib.NewReader(d.peek)
	} else {
		err = d.zlib.(zlib.Resetter).Reset(d.peek, nil)
	}
	d.rest = d.zlib
	return err
}

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
