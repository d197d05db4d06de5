package prom

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math"
)

// binaryReader reads ClickHouse's RowBinary. After the first error, which err keeps, all values are zero.
//
// Lengths come from the engine. They are not trusted with memory: what they announce is taken in pieces.
type binaryReader struct {
	r   *bufio.Reader
	err error
	buf []byte
}

func newBinaryReader(r io.Reader) *binaryReader {
	return &binaryReader{r: bufio.NewReaderSize(r, 256<<10)}
}

// more reports whether a row follows.
func (b *binaryReader) more() bool {
	if b.err != nil {
		return false
	}
	_, err := b.r.Peek(1)
	if err != nil && !errors.Is(err, io.EOF) {
		b.err = err
	}
	return err == nil
}

func (b *binaryReader) fail(err error) {
	if errors.Is(err, io.EOF) {
		err = io.ErrUnexpectedEOF
	}
	if b.err == nil {
		b.err = err
	}
}

// piece is how much is read, and made room for, at once.
const piece = 64 << 10

// bytes returns the next n bytes, valid until the next call.
func (b *binaryReader) bytes(n int) []byte {
	if b.err != nil {
		return nil
	}
	b.buf = b.buf[:0]
	for len(b.buf) < n {
		at := len(b.buf)
		b.buf = append(b.buf, make([]byte, min(n-at, piece))...)
		if _, err := io.ReadFull(b.r, b.buf[at:]); err != nil {
			b.fail(err)
			return nil
		}
	}
	return b.buf
}

// length reads the number of elements of a string, array or map.
func (b *binaryReader) length() int {
	if b.err != nil {
		return 0
	}
	n, err := binary.ReadUvarint(b.r)
	switch {
	case err != nil:
		b.fail(err)
		return 0
	case n > math.MaxInt32:
		b.fail(fmt.Errorf("length %d in a result", n))
		return 0
	}
	return int(n)
}

func (b *binaryReader) text() string { return string(b.bytes(b.length())) }

func (b *binaryReader) uint8() uint8 {
	if s := b.bytes(1); s != nil {
		return s[0]
	}
	return 0
}

func (b *binaryReader) uint32() uint32 {
	if s := b.bytes(4); s != nil {
		return binary.LittleEndian.Uint32(s)
	}
	return 0
}

func (b *binaryReader) uint64() uint64 {
	if s := b.bytes(8); s != nil {
		return binary.LittleEndian.Uint64(s)
	}
	return 0
}

func (b *binaryReader) int32() int32     { return int32(b.uint32()) }
func (b *binaryReader) int64() int64     { return int64(b.uint64()) }
func (b *binaryReader) float64() float64 { return math.Float64frombits(b.uint64()) }

// pair is an attribute.
type pair struct{ key, value string }

func (b *binaryReader) pairs() []pair {
	var out []pair
	for range b.length() {
		if b.err != nil {
			break
		}
		out = append(out, pair{b.text(), b.text()})
	}
	return out
}

// words appends an array of 64-bit values, read in one go, to dst.
func words[T any](b *binaryReader, dst []T, of func(uint64) T) []T {
	n := b.length()
	for n > 0 && b.err == nil {
		take := min(n, piece/8)
		s := b.bytes(8 * take)
		for i := 0; i+8 <= len(s); i += 8 {
			dst = append(dst, of(binary.LittleEndian.Uint64(s[i:])))
		}
		n -= take
	}
	return dst
}

func asInt64(u uint64) int64 { return int64(u) }
