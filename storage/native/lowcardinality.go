package native

import "encoding/binary"

// LowCardinality is a column of type LowCardinality(String): a dictionary of the block's distinct values, and an index
// per row. The indexes are as narrow as the dictionary allows (8, 16 or 32 bits), and are widened when it grows.
type LowCardinality struct {
	dict  dict
	idx   []byte
	width int // bytes per index
	rows  int
}

const (
	lcVersion        = 1       // the serialization version that the state carries
	lcAdditionalKeys = 1 << 9  // the dictionary stands in the block itself
	lcNewDictionary  = 1 << 10 // and replaces the one of an earlier block
)

// NewLowCardinality returns an empty column.
func NewLowCardinality() *LowCardinality {
	return &LowCardinality{dict: newDict(), width: 1}
}

// Find returns the dictionary index of b, if it is there.
func (c *LowCardinality) Find(b []byte) (uint32, bool) { return c.dict.find(b) }

// Add puts b, which Find must not know, into the dictionary and returns its index. It adds no row.
func (c *LowCardinality) Add(b []byte) uint32 { return c.dict.add(b) }

// Append adds the row b, which it copies.
func (c *LowCardinality) Append(b []byte) {
	i, ok := c.dict.find(b)
	if !ok {
		i = c.dict.add(b)
	}
	c.AppendIndex(i)
}

// AppendN adds n rows of b.
func (c *LowCardinality) AppendN(b []byte, n int) {
	if n > 0 {
		from := c.mark()
		c.Append(b)
		c.repeat(from, n-1)
	}
}

// AppendIndex adds the row whose value has the index i, from Find or Add.
func (c *LowCardinality) AppendIndex(i uint32) {
	c.rows++
	if c.width == 1 && i < 1<<8 {
		c.idx = append(c.idx, byte(i))
		return
	}
	c.appendWide(i)
}

func (c *LowCardinality) appendWide(i uint32) {
	if c.width == 1 && i >= 1<<8 {
		c.widen(2)
	}
	if c.width == 2 {
		if i < 1<<16 {
			c.idx = binary.LittleEndian.AppendUint16(c.idx, uint16(i))
			return
		}
		c.widen(4)
	}
	c.idx = binary.LittleEndian.AppendUint32(c.idx, i)
}

// widen rewrites the indexes at the given width, from the end so that none is overwritten before it was read.
func (c *LowCardinality) widen(width int) {
	old, n := c.width, len(c.idx)/c.width
	c.idx = append(c.idx, make([]byte, n*(width-old))...)
	for i := n - 1; i >= 0; i-- {
		v := uint32(c.idx[i*old])
		if old == 2 {
			v = uint32(binary.LittleEndian.Uint16(c.idx[i*old:]))
		}
		if width == 2 {
			binary.LittleEndian.PutUint16(c.idx[i*width:], uint16(v))
		} else {
			binary.LittleEndian.PutUint32(c.idx[i*width:], v)
		}
	}
	c.width = width
}

// Type implements Column.
func (c *LowCardinality) Type() string { return "LowCardinality(String)" }

// Rows implements Column.
func (c *LowCardinality) Rows() int { return c.rows }

// Reset implements Column.
func (c *LowCardinality) Reset() {
	c.dict.reset()
	c.idx, c.width, c.rows = emptied(c.idx), 1, 0
}

func (c *LowCardinality) mark() mark { return mark{values: c.rows} }

func (c *LowCardinality) repeat(from mark, times int) {
	c.idx = repeated(c.idx, from.values*c.width, times)
	c.rows += (c.rows - from.values) * times
}

func (c *LowCardinality) stateBytes() int { return 8 }

func (c *LowCardinality) appendState(dst []byte) []byte {
	return binary.LittleEndian.AppendUint64(dst, lcVersion)
}

func (c *LowCardinality) bodyBytes() int {
	if c.rows == 0 {
		return 0
	}
	return 3*8 + len(c.dict.body) + len(c.idx)
}

func (c *LowCardinality) appendBody(dst []byte) []byte {
	if c.rows == 0 {
		return dst
	}
	dst = binary.LittleEndian.AppendUint64(dst, lcAdditionalKeys|lcNewDictionary|uint64(c.width>>1))
	dst = binary.LittleEndian.AppendUint64(dst, uint64(len(c.dict.spans)))
	dst = append(dst, c.dict.body...)
	dst = binary.LittleEndian.AppendUint64(dst, uint64(c.rows))
	return append(dst, c.idx...)
}
