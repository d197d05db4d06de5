package native

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"sync"
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
	late filler // nil, or col if its rows may be fewer than its table's until a block is made
}

// filler is a column that may end before the last rows, which are what it has most. fill makes it rows long and reports
// whether the block is to have it.
type filler interface{ fill(rows int) bool }

// Add appends a column.
func (b *Builder) Add(name string, c Column) {
	head := appendString(nil, name)
	head = appendString(head, c.Type())
	late, _ := c.(filler)
	b.cols = append(b.cols, namedColumn{head: head, name: name, col: c, late: late})
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

// Encode is Append into memory of the Block's own, exactly as much as it needs.
func (b *Builder) Encode(rows int) Block {
	buf := encodeBuffers.Get().(*[]byte)
	block, all := b.Append((*buf)[:0], rows)
	block.Data = bytes.Clone(block.Data)
	*buf = emptied(all)
	encodeBuffers.Put(buf)
	return block
}

var encodeBuffers = sync.Pool{New: func() any { return new([]byte) }}

// Append encodes the columns, of rows rows each, into frames at the end of dst. It returns them as a Block, and dst with
// them: the Block is good until somebody writes there. rows must not be 0.
func (b *Builder) Append(dst []byte, rows int) (Block, []byte) {
	block := Block{Rows: rows}
	from := len(dst)
	dst, block.Raw = framing(dst, func(w *frames) {
		for i := range b.cols {
			c := &b.cols[i]
			if c.late != nil && !c.late.fill(rows) {
				continue
			}
			block.Columns++
			if c.col.Rows() != rows {
				panic(fmt.Sprintf("BUG: column %s has %d rows, its table %d", c.name, c.col.Rows(), rows))
			}
			w.bytes(c.head)
			c.col.writeState(w)
			c.col.writeBody(w)
		}
	})
	block.Data = dst[from:len(dst):len(dst)]
	return block, dst
}

// Block is rows of one table in Native form, all columns but RunId, which is not known before the run is formed, and
// rare and extra ones that would hold nothing.
type Block struct {
	Rows    int
	Columns int
	Raw     int    // bytes of Data, uncompressed
	Data    []byte // frames of the encoded columns, name, type and body each, without the block's header
}

// runIDHead is the name and the type of the column that AppendTo adds.
const runIDHead = "\x05RunId\x06UInt64"

// AppendTo appends b as a whole Native block in frames: the header, the columns, and RunId as one more column of b.Rows
// equal values. Data is copied as it is: a frame holds a piece of a stream of bytes, so that nothing is compressed again
// but the few bytes around it. Such blocks one after another are the body of one INSERT with decompress=1.
func (b Block) AppendTo(dst []byte, runID uint64) []byte {
	dst, _ = framing(dst, func(w *frames) {
		b.begin(w, b.Columns+1)
		w.bytes([]byte(runIDHead))
		w.times(binary.LittleEndian.AppendUint64(nil, runID), b.Rows)
	})
	return dst
}

// AppendWhole is AppendTo without a column RunId.
func (b Block) AppendWhole(dst []byte) []byte {
	dst, _ = framing(dst, func(w *frames) { b.begin(w, b.Columns) })
	return dst
}

// begin writes the header of a block of so many columns, and b's.
func (b Block) begin(w *frames, columns int) {
	w.bytes(binary.AppendUvarint(binary.AppendUvarint(make([]byte, 0, 2*binary.MaxVarintLen64), uint64(columns)), uint64(b.Rows)))
	w.flush()
	w.dst = append(w.dst, b.Data...)
}
