package native

import (
	"encoding/binary"
	"math/bits"
)

// String is a column of byte strings.
type String struct {
	buf  []byte
	rows int
}

// NewString returns an empty String column.
func NewString() *String { return &String{} }

// Append adds the row b, which it copies.
func (c *String) Append(b []byte) {
	if len(b) < 0x80 {
		c.buf = append(c.buf, byte(len(b)))
	} else {
		c.buf = binary.AppendUvarint(c.buf, uint64(len(b)))
	}
	c.buf = append(c.buf, b...)
	c.rows++
}

const hexDigits = "0123456789abcdef"

// AppendHex adds the row b as lower-case hexadecimal text.
func (c *String) AppendHex(b []byte) {
	c.buf = binary.AppendUvarint(c.buf, uint64(2*len(b)))
	for _, v := range b {
		c.buf = append(c.buf, hexDigits[v>>4], hexDigits[v&15])
	}
	c.rows++
}

// AppendN adds n rows of b.
func (c *String) AppendN(b []byte, n int) {
	if n > 0 {
		from := c.mark()
		c.Append(b)
		c.repeat(from, n-1)
	}
}

// Type implements Column.
func (c *String) Type() string { return "String" }

// Rows implements Column.
func (c *String) Rows() int { return c.rows }

// Reset implements Column.
func (c *String) Reset() { c.buf, c.rows = emptied(c.buf), 0 }

func (c *String) mark() mark { return mark{values: c.rows, bytes: len(c.buf)} }

func (c *String) repeat(from mark, times int) {
	c.buf = repeated(c.buf, from.bytes, times)
	c.rows += (c.rows - from.values) * times
}

func (c *String) stateBytes() int               { return 0 }
func (c *String) bodyBytes() int                { return len(c.buf) }
func (c *String) appendState(dst []byte) []byte { return dst }
func (c *String) appendBody(dst []byte) []byte  { return append(dst, c.buf...) }

func appendString(dst []byte, s string) []byte {
	return append(binary.AppendUvarint(dst, uint64(len(s))), s...)
}

// uvarintBytes returns the length of v as an uvarint.
func uvarintBytes(v uint64) int { return (bits.Len64(v|1) + 6) / 7 }
