package native

import (
	"encoding/binary"
	"math/bits"
	"slices"
	"strconv"
)

// String is a column of byte strings.
type String struct {
	buf   []byte
	rows  int
	saved mark
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

// AppendASCII adds the row that b is the encoding of, its length as an uvarint and its bytes, if b is ASCII. It reports
// whether that is so.
func (c *String) AppendASCII(b []byte) bool {
	const short = len(highBits) - 1
	at := len(c.buf)
	if len(b) > short || cap(b) < short || cap(c.buf)-at < short {
		if !IsASCII(b) {
			return false
		}
		c.buf = append(c.buf, b...)
		c.rows++
		return true
	}
	// Two loads and two stores, whatever the length. What is behind b is masked, and the next row overwrites it.
	from, high := b[:short], &highBits[len(b)]
	first, second := binary.LittleEndian.Uint64(from), binary.LittleEndian.Uint64(from[8:])
	if first&high[0]|second&high[1] != 0 {
		return false
	}
	to := c.buf[at : at+short]
	binary.LittleEndian.PutUint64(to, first)
	binary.LittleEndian.PutUint64(to[8:], second)
	c.buf = c.buf[:at+len(b)]
	c.rows++
	return true
}

// highBits has, by n, the highest bit of each of the first n of 16 bytes.
var highBits = func() (masks [17][2]uint64) {
	for n := range masks {
		for i := range n {
			masks[n][i/8] |= 0x80 << (8 * (i % 8))
		}
	}
	return masks
}()

// IsASCII reports whether b is ASCII, as most text is: a few instructions where utf8.Valid goes byte by byte at the end.
func IsASCII(b []byte) bool {
	const high = 0x8080808080808080
	n := len(b)
	switch {
	case n >= 8:
		word := binary.LittleEndian.Uint64(b[n-8:]) // overlaps the words before it
		for i := 0; i < n-8; i += 8 {
			word |= binary.LittleEndian.Uint64(b[i:])
		}
		return word&high == 0
	case n >= 4:
		return (binary.LittleEndian.Uint32(b)|binary.LittleEndian.Uint32(b[n-4:]))&(high>>32) == 0
	case n > 0:
		return b[0]|b[n/2]|b[n-1] < 0x80
	}
	return true
}

// Len returns how many bytes the rows take: where the next one begins.
func (c *String) Len() int { return len(c.buf) }

// From returns the row that begins at from, and those behind it: of each its length as an uvarint and its bytes. They are
// valid until the next append.
func (c *String) From(from int) []byte { return c.buf[from:] }

// ShortRow is a row of up to 23 bytes, to be added again and again.
type ShortRow struct {
	text [24]byte // its length and its bytes, and whatever
	size int      // of the two
}

// Short copies the last row, which begins at from, a former Len, into row. It reports whether it is short enough.
func (c *String) Short(from int, row *ShortRow) bool {
	b := c.buf[from:]
	if len(b) > len(row.text) {
		return false
	}
	if row.size = len(b); cap(b) >= len(row.text) { // three words, whatever the size
		row.text = [24]byte(b[:len(row.text)])
	} else {
		copy(row.text[:], b)
	}
	return true
}

// AppendShort adds row.
func (c *String) AppendShort(row *ShortRow) {
	at := len(c.buf)
	if cap(c.buf)-at < len(row.text) {
		c.buf = append(c.buf, row.text[:row.size]...)
	} else { // three words, whatever the size: the next row overwrites what is too much
		*(*[24]byte)(c.buf[at : at+len(row.text)]) = row.text
		c.buf = c.buf[:at+row.size]
	}
	c.rows++
}

// Begin returns a buffer to append one row to, for End. Nothing else may be done with the column in between.
func (c *String) Begin() []byte { return append(c.buf, 0) }

// End adds the row that was appended to buf, the buffer from Begin.
func (c *String) End(buf []byte) {
	at := len(c.buf)
	n := len(buf) - at - 1
	if n < 0x80 {
		buf[at] = byte(n)
	} else { // the length takes more than the one byte that Begin left for it
		more := uvarintBytes(uint64(n)) - 1
		buf = append(buf, make([]byte, more)...)
		copy(buf[at+1+more:], buf[at+1:at+1+n])
		binary.PutUvarint(buf[at:], uint64(n))
	}
	c.buf = buf
	c.rows++
}

// smallInts has the rows 0 to 999, in little-endian order: the length and up to three digits.
var smallInts = func() (rows [1000]uint32) {
	for v := range rows {
		text := strconv.Itoa(v)
		rows[v] = uint32(len(text))
		for i := range text {
			rows[v] |= uint32(text[i]) << (8 * (i + 1))
		}
	}
	return rows
}()

// AppendInt adds the row v in decimal.
func (c *String) AppendInt(v int64) {
	at := len(c.buf)
	if uint64(v) < uint64(len(smallInts)) {
		row := smallInts[v]
		c.buf = binary.LittleEndian.AppendUint32(c.buf, row)[:at+1+int(row&0xff)]
		c.rows++
		return
	}
	c.buf = strconv.AppendInt(append(c.buf, 0), v, 10)
	c.buf[at] = byte(len(c.buf) - at - 1)
	c.rows++
}

// AppendHex adds the row b, of less than 64 bytes, as lower-case hexadecimal text.
func (c *String) AppendHex(b []byte) {
	n := 2 * len(b)
	from := len(c.buf) + 1
	c.buf = slices.Grow(c.buf, 1+n)[:from+n]
	c.buf[from-1] = byte(n)
	c.rows++
	text := c.buf[from:]
	for ; len(b) >= 8 && len(text) >= 16; b, text = b[8:], text[16:] {
		v := binary.LittleEndian.Uint64(b)
		binary.LittleEndian.PutUint64(text, hex4(uint32(v)))
		binary.LittleEndian.PutUint64(text[8:], hex4(uint32(v>>32)))
	}
	for i, v := range b {
		binary.LittleEndian.PutUint16(text[2*i:], uint16(hex4(uint32(v))))
	}
}

// hex4 returns the eight digits of the four bytes of v, all in little-endian order: ids are in most records, and this is
// all eight digits in the time of one.
func hex4(v uint32) uint64 {
	const each = 0x0101010101010101
	x := uint64(v)
	x = (x | x<<16) & 0x0000ffff0000ffff
	x = (x | x<<8) & 0x00ff00ff00ff00ff
	x = x>>4&0x000f000f000f000f | x<<8&0x0f000f000f000f00 // a digit's value per byte, the high one first
	letters := (x + 6*each) >> 4 & each                   // 1 where the value is over 9
	return x + '0'*each + letters*('a'-'0'-10)
}

// AppendN adds n rows of b.
func (c *String) AppendN(b []byte, n int) {
	if n > 0 {
		from := len(c.buf)
		c.Append(b)
		c.buf = repeated(c.buf, from, n-1)
		c.rows += n - 1
	}
}

// Type implements Column.
func (c *String) Type() string { return "String" }

// Rows implements Column.
func (c *String) Rows() int { return c.rows }

// Reset implements Column.
func (c *String) Reset() { c.buf, c.rows, c.saved = emptied(c.buf), 0, mark{} }

func (c *String) save()    { c.saved = c.mark() }
func (c *String) restore() { c.cut(c.saved) }

func (c *String) cut(to mark) { c.buf, c.rows = c.buf[:to.bytes], to.values }

func (c *String) mark() mark { return mark{values: c.rows, bytes: len(c.buf)} }

func (c *String) writeState(*frames)  {}
func (c *String) writeBody(w *frames) { w.bytes(c.buf) }

func (c *String) writeRuns(w *frames, counts []int) { c.writePieces(w, nil, counts) }

func (c *String) writePieces(w *frames, ends []uint64, counts []int) {
	at, value := 0, uint64(0)
	for i, times := range counts {
		from, end := at, uint64(i)+1
		if ends != nil {
			end = ends[i]
		}
		for ; value < end; value++ {
			n, width := binary.Uvarint(c.buf[at:])
			at += width + int(n)
		}
		w.times(c.buf[from:at], times)
	}
}

func appendString(dst []byte, s string) []byte {
	return append(binary.AppendUvarint(dst, uint64(len(s))), s...)
}

// uvarintBytes returns the length of v as an uvarint.
func uvarintBytes(v uint64) int { return (bits.Len64(v|1) + 6) / 7 }
