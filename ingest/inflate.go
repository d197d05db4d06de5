package ingest

import (
	"bufio"
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
	head, _ := d.peek.Peek(2)
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
