package native

import (
	"encoding/binary"
	"slices"
)

// LowCardinality is a column of type LowCardinality(String): a dictionary of the block's distinct values, and an index
// per row. The indexes are as narrow as the dictionary allows (8, 16 or 32 bits), and are widened when it grows.
type LowCardinality struct {
	dict  dict
	idx   []byte
	shift uint8 // an index takes 1<<shift bytes
	saved int
}

const (
	lcVersion        = 1       // the serialization version that the state carries
	lcAdditionalKeys = 1 << 9  // the dictionary stands in the block itself
	lcNewDictionary  = 1 << 10 // and replaces the one of an earlier block
)

// NewLowCardinality returns an empty column.
func NewLowCardinality() *LowCardinality {
	return &LowCardinality{dict: newDict()}
}

// Find returns the dictionary index of b, if it is there. It is faster, as is Index, for values that come in much the same
// sequence again and again.
func (c *LowCardinality) Find(b []byte) (uint32, bool) { return c.dict.find(b) }

// Index returns the dictionary index of b, which it puts there if need be. It adds no row.
func (c *LowCardinality) Index(b []byte) uint32 { return c.dict.index(b) }

// Restart says that the next value begins such a sequence.
func (c *LowCardinality) Restart() { c.dict.next = 0 }

// Is reports whether i is the dictionary index of b. It need not be an index at all.
func (c *LowCardinality) Is(i uint32, b []byte) bool {
	return int(i) < len(c.dict.spans) && c.dict.is(i, b)
}

// Value returns what has the dictionary index i. It is valid until the next value is put there.
func (c *LowCardinality) Value(i uint32) []byte {
	s := c.dict.spans[i]
	return c.dict.body[s.from:s.to]
}

// IndexAt returns the dictionary index of the row with the index row.
func (c *LowCardinality) IndexAt(row int) uint32 {
	switch c.shift {
	case 0:
		return uint32(c.idx[row])
	case 1:
		return uint32(binary.LittleEndian.Uint16(c.idx[2*row:]))
	}
	return binary.LittleEndian.Uint32(c.idx[4*row:])
}

// Append adds the row b, which it copies.
func (c *LowCardinality) Append(b []byte) { c.AppendIndex(c.Index(b)) }

// AppendIndex adds the row whose value has the index i, from Find or Index.
func (c *LowCardinality) AppendIndex(i uint32) {
	if c.shift == 0 && i < 1<<8 {
		c.idx = append(c.idx, byte(i))
		return
	}
	c.appendWide(i)
}

func (c *LowCardinality) appendWide(i uint32) {
	if c.shift == 0 && i >= 1<<8 {
		c.widen(1)
	}
	if c.shift == 1 {
		if i < 1<<16 {
			c.idx = binary.LittleEndian.AppendUint16(c.idx, uint16(i))
			return
		}
		c.widen(2)
	}
	c.idx = binary.LittleEndian.AppendUint32(c.idx, i)
}

// widen rewrites the indexes at 1<<shift bytes, twice as many as before, from the end so that none is overwritten before it
// was read.
func (c *LowCardinality) widen(shift uint8) {
	n := len(c.idx)
	c.idx = slices.Grow(c.idx, n)[:2*n]
	// Four bytes become eight at a time.
	for n >= 4 {
		n -= 4
		v := uint64(binary.LittleEndian.Uint32(c.idx[n:]))
		v = (v | v<<16) & 0x0000ffff0000ffff
		if shift == 1 {
			v = (v | v<<8) & 0x00ff00ff00ff00ff
		}
		binary.LittleEndian.PutUint64(c.idx[2*n:], v)
	}
	for width := 1 << (shift - 1); n > 0; {
		n -= width
		copy(c.idx[2*n:], c.idx[n:n+width])
		clear(c.idx[2*n+width : 2*n+2*width])
	}
	c.shift = shift
}

// Type implements Column.
func (c *LowCardinality) Type() string { return "LowCardinality(String)" }

// Rows implements Column.
func (c *LowCardinality) Rows() int { return len(c.idx) >> c.shift }

// Reset implements Column.
func (c *LowCardinality) Reset() {
	c.dict.reset()
	c.idx, c.shift, c.saved = emptied(c.idx), 0, 0
}

// What is cut off stays in the dictionary, where it does no harm.
func (c *LowCardinality) cut(to mark) { c.idx = c.idx[:to.values<<c.shift] }
func (c *LowCardinality) save()       { c.saved = c.Rows() }
func (c *LowCardinality) restore()    { c.cut(mark{values: c.saved}) }

func (c *LowCardinality) mark() mark { return mark{values: c.Rows()} }

func (c *LowCardinality) writeState(w *frames) { w.uint64(lcVersion) }

func (c *LowCardinality) writeBody(w *frames) {
	if c.writeHead(w, uint64(c.Rows())) {
		w.bytes(c.idx)
	}
}

func (c *LowCardinality) writeRuns(w *frames, counts []int) { c.writePieces(w, nil, counts) }

func (c *LowCardinality) writePieces(w *frames, ends []uint64, counts []int) {
	if c.writeHead(w, total(ends, counts)) {
		w.pieces(c.idx, 1<<c.shift, ends, counts)
	}
}

// writeHead writes what stands in front of the indexes of so many values, and reports whether there are any.
func (c *LowCardinality) writeHead(w *frames, values uint64) bool {
	if values == 0 {
		return false
	}
	w.uint64(lcAdditionalKeys | lcNewDictionary | uint64(c.shift))
	w.uint64(uint64(len(c.dict.spans)))
	w.bytes(c.dict.body)
	w.uint64(values)
	return true
}
