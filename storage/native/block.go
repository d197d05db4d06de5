package native

import (
	"encoding/binary"
	"fmt"
	"slices"
)

// Builder holds the columns of one table in order. It does not own them: their rows are appended through the caller's
// own references.
type Builder struct {
	cols []namedColumn
}

type namedColumn struct {
	head []byte // name and type, encoded
	name string
	col  Column
	rare filler // nil, or col if a block may lack it
	lack bool   // the block in hand does
}

// filler is a column that a block may lack. fill makes it rows long and reports whether the block is to have it.
type filler interface{ fill(rows int) bool }

// Add appends a column.
func (b *Builder) Add(name string, c Column) {
	head := appendString(nil, name)
	head = appendString(head, c.Type())
	rare, _ := c.(filler)
	b.cols = append(b.cols, namedColumn{head: head, name: name, col: c, rare: rare})
}

// Names returns the columns' names in order. The caller owns the slice.
func (b *Builder) Names() []string {
	names := make([]string, len(b.cols))
	for i := range b.cols {
		names[i] = b.cols[i].name
	}
	return names
}

// Reset empties every column.
func (b *Builder) Reset() {
	for i := range b.cols {
		b.cols[i].col.Reset()
	}
}

// Encode copies the columns, of rows rows each, into a Block of exactly the memory it needs. rows must not be 0.
func (b *Builder) Encode(rows int) Block {
	n, columns := 0, 0
	for i := range b.cols {
		c := &b.cols[i]
		if c.lack = c.rare != nil && !c.rare.fill(rows); c.lack {
			continue
		}
		columns++
		if c.col.Rows() != rows {
			panic(fmt.Sprintf("BUG: column %s has %d rows, its table %d", c.name, c.col.Rows(), rows))
		}
		n += len(c.head) + c.col.stateBytes() + c.col.bodyBytes()
	}
	data := make([]byte, 0, n)
	for i := range b.cols {
		c := &b.cols[i]
		if c.lack {
			continue
		}
		data = append(data, c.head...)
		data = c.col.appendState(data)
		data = c.col.appendBody(data)
	}
	return Block{Rows: rows, Columns: columns, Data: data}
}

// Block is rows of one table in Native form, all columns but RunId, which is not known before the run is formed, and
// rare and extra ones that would hold nothing.
type Block struct {
	Rows    int
	Columns int
	Data    []byte // the encoded columns, name, type and body each, without the block's header
}

// runIDHead is the name and the type of the column that AppendTo adds.
const runIDHead = "\x05RunId\x06UInt64"

// Size returns the number of bytes that AppendTo adds.
func (b Block) Size() int {
	return uvarintBytes(uint64(b.Columns+1)) + uvarintBytes(uint64(b.Rows)) + len(b.Data) + len(runIDHead) + 8*b.Rows
}

// AppendTo appends b as a whole Native block: the header, the columns, and RunId as one more column of b.Rows equal
// values. Such blocks one after another are the body of one INSERT.
func (b Block) AppendTo(dst []byte, runID uint64) []byte {
	dst = slices.Grow(dst, b.Size())
	dst = binary.AppendUvarint(dst, uint64(b.Columns+1))
	dst = binary.AppendUvarint(dst, uint64(b.Rows))
	dst = append(dst, b.Data...)
	dst = append(dst, runIDHead...)
	from := len(dst)
	dst = binary.LittleEndian.AppendUint64(dst, runID)
	return repeated(dst, from, b.Rows-1)
}
