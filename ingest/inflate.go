package ingest

import (
	"bytes"
	"io"

	"github.com/klauspost/compress/flate"
	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/s2"
	"github.com/klauspost/compress/zlib"
	"github.com/klauspost/compress/zstd"
	"github.com/pierrec/lz4/v4"
)

// maxZstdWindow is what a decoder of HTTP's zstd coding has to offer, and encoders may not exceed (RFC 9659).
const maxZstdWindow = 8 << 20

type gzipInflater struct{ gzip.Reader }

func newGzip() inflater { return new(gzipInflater) }

func (g *gzipInflater) Reset(src *bytes.Reader) error { return g.Reader.Reset(src) }

type zstdInflater struct{ *zstd.Decoder }

func newZstd() inflater {
	// SECURITY: a frame names its window, and that much is allocated before its first byte: hence the bound.
	d, err := zstd.NewReader(nil, zstd.WithDecoderConcurrency(1), zstd.WithDecoderLowmem(true), zstd.WithDecoderMaxWindow(maxZstdWindow))
	if err != nil {
		panic("BUG: zstd options: " + err.Error())
	}
	return zstdInflater{d}
}

// Reset gives the decoder a reader without the method Bytes: of others it would decode everything at once.
func (z zstdInflater) Reset(src *bytes.Reader) error { return z.Decoder.Reset(src) }

type lz4Inflater struct{ *lz4.Reader }

func newLZ4() inflater { return lz4Inflater{lz4.NewReader(nil)} }

func (l lz4Inflater) Reset(src *bytes.Reader) error {
	l.Reader.Reset(src)
	return nil
}

// snappyFramed reads the framing format, which is also what gRPC calls snappy.
type snappyFramed struct{ *s2.Reader }

// maxSnappyBlock is the largest block of the snappy framing format; s2, which the reader could do, has larger ones.
const maxSnappyBlock = 64 << 10

func newSnappyFramed() inflater {
	return snappyFramed{s2.NewReader(nil, s2.ReaderMaxBlockSize(maxSnappyBlock))}
}

func (s snappyFramed) Reset(src *bytes.Reader) error {
	s.Reader.Reset(src)
	return nil
}

// snappyMagic opens a stream in the framing format.
const snappyMagic = "\xff\x06\x00\x00sNaPpY"

// inflateSnappyBlock reads "snappy" as some HTTP clients mean it, one block; others send the framing format, which it leaves
// alone.
func inflateSnappyBlock(dst *buffer, src []byte, limit int64, take taker) (bool, error) {
	if bytes.HasPrefix(src, []byte(snappyMagic)) {
		return false, nil
	}
	n, err := s2.DecodedLen(src)
	if err != nil {
		return true, err
	}
	// SECURITY: the length is the sender's claim, and is allocated at once. No byte of a block stands for more than 32.
	if int64(n) > limit {
		return true, errTooLarge
	}
	if n > 32*len(src) {
		return true, s2.ErrCorrupt
	}
	if err := dst.reserve(int64(n), take); err != nil {
		return true, err
	}
	dst.b, err = s2.Decode(dst.b[:cap(dst.b)], src)
	return true, err
}

// deflateInflater reads "deflate", which is zlib (RFC 9110 §8.4.1.2), and the raw deflate that some send under its name.
type deflateInflater struct {
	zlib io.ReadCloser // made at the first use: zlib wants a header to be made
	raw  io.ReadCloser
	rest io.Reader
}

func newDeflate() inflater { return &deflateInflater{raw: flate.NewReader(nil)} }

func (d *deflateInflater) Read(p []byte) (int, error) { return d.rest.Read(p) }

func (d *deflateInflater) Reset(src *bytes.Reader) (err error) {
	var head [2]byte
	if _, err := src.ReadAt(head[:], 0); err != nil {
		return io.ErrUnexpectedEOF
	}
	// RFC 1950: the method is 8, and the two bytes are a multiple of 31.
	if head[0]&0x0f != 8 || (int(head[0])<<8|int(head[1]))%31 != 0 {
		d.rest = d.raw
		return d.raw.(flate.Resetter).Reset(src, nil)
	}
	if d.zlib == nil {
		d.zlib, err = zlib.NewReader(src)
	} else {
		err = d.zlib.(zlib.Resetter).Reset(src, nil)
	}
	d.rest = d.zlib
	return err
}
