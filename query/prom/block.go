package prom

import (
	"encoding/binary"
	"fmt"
	"io"
	"math"
	"slices"
)

// blockReader reads ClickHouse's format Native, in which results come as blocks of columns. After the first error, which err
// keeps, there are no more blocks. What a column returns is valid until the next block.
//
// Sizes come from the engine. As with binaryReader, memory is taken for what arrives, not for what is announced.
type blockReader struct {
	binaryReader
	types   []string
	columns []column
	rows    int // of the block
}

// The types of columns that a blockReader knows.
const (
	typeInt64  = "Int64"
	typeUint64 = "UInt64"
	typeFloat  = "Float64"
	typeInt32  = "Int32"
	typeUint32 = "UInt32"
	typeUint8  = "UInt8"
	typeCounts = "Array(UInt64)"
	typeFloats = "Array(Float64)"
)

var widths = map[string]int{
	typeInt64: 8, typeUint64: 8, typeFloat: 8, typeInt32: 4, typeUint32: 4, typeUint8: 1, typeCounts: 8, typeFloats: 8,
}

// maxBlockRows is far more than the engine puts into a block.
const maxBlockRows = 1 << 24

// column is the values of a block's rows, as they came. Those of arrays follow each other; ends says where each array ends.
type column struct{ data, ends []byte }

// newBlockReader reads blocks of columns of these types.
func newBlockReader(r io.Reader, types ...string) *blockReader {
	return &blockReader{binaryReader: *newBinaryReader(r), types: types, columns: make([]column, len(types))}
}

// next reads the next block that has rows, and reports whether there was one.
func (b *blockReader) next() bool {
	for b.more() {
		n, rows := b.length(), b.length()
		if b.err == nil && (n != len(b.types) || rows > maxBlockRows) {
			b.fail(fmt.Errorf("block of %d columns, want %d, and %d rows", n, len(b.types), rows))
		}
		for i, want := range b.types {
			b.text() // its name
			if got := b.text(); b.err == nil && got != want {
				b.fail(fmt.Errorf("column %d is %.40s, want %s", i+1, got, want))
			}
			if rows > 0 {
				b.column(&b.columns[i], want, rows)
			}
		}
		if b.rows = rows; b.err == nil && rows > 0 {
			return true
		}
	}
	return false
}

// column reads the values of one column.
func (b *blockReader) column(c *column, kind string, rows int) {
	if kind == typeCounts || kind == typeFloats {
		c.ends = b.take(c.ends[:0], 8*rows)
		last := uint64(0)
		for i := range len(c.ends) / 8 {
			end := c.end(i)
			if end < last || end > math.MaxInt32 {
				b.fail(fmt.Errorf("arrays of a block end at %d after %d", end, last))
				return
			}
			last = end
		}
		rows = int(last)
	}
	c.data = b.take(c.data[:0], widths[kind]*rows)
}

// take appends the next n bytes to dst.
func (b *blockReader) take(dst []byte, n int) []byte {
	for n > 0 && b.err == nil {
		some, at := min(n, max(piece, len(dst))), len(dst)
		dst = slices.Grow(dst, some)[:at+some]
		if _, err := io.ReadFull(b.r, dst[at:]); err != nil {
			b.fail(err)
		}
		n -= some
	}
	return dst
}

func (c *column) uint64(i int) uint64   { return binary.LittleEndian.Uint64(c.data[8*i:]) }
func (c *column) int64(i int) int64     { return int64(c.uint64(i)) }
func (c *column) float64(i int) float64 { return math.Float64frombits(c.uint64(i)) }
func (c *column) uint32(i int) uint32   { return binary.LittleEndian.Uint32(c.data[4*i:]) }
func (c *column) int32(i int) int32     { return int32(c.uint32(i)) }
func (c *column) uint8(i int) uint8     { return c.data[i] }
func (c *column) end(i int) uint64      { return binary.LittleEndian.Uint64(c.ends[8*i:]) }

// len is how many values all arrays have.
func (c *column) len() int { return len(c.data) / 8 }

// span is where the array of row i lies among the values of all.
func (c *column) span(i int) (from, to int) {
	if i > 0 {
		from = int(c.end(i - 1))
	}
	return from, int(c.end(i))
}

// counts appends the array of row i to dst.
func (c *column) counts(dst []uint64, i int) []uint64 {
	from, to := c.span(i)
	for j := from; j < to; j++ {
		dst = append(dst, c.uint64(j))
	}
	return dst
}

// floats returns the array of row i: last, if that holds the same, else one of its own.
func (c *column) floats(last []float64, i int) []float64 {
	from, to := c.span(i)
	if len(last) == to-from {
		same := true
		for j, f := range last {
			same = same && c.uint64(from+j) == math.Float64bits(f)
		}
		if same {
			return last
		}
	}
	out := make([]float64, 0, to-from)
	for j := from; j < to; j++ {
		out = append(out, c.float64(j))
	}
	return out
}
