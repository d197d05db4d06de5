package native

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/pierrec/lz4/v4"
)

// Reader reads the columns of one Block after another, in order and only as far as it is asked to: frames behind the last
// column that was read stay compressed. It reads what a Builder writes, and keeps its memory from one block to the next.
//
// The frames' checksums are not looked at: who keeps blocks has one of its own.
type Reader struct {
	rows, left int
	frames     []byte // that are left
	raw        []byte // uncompressed so far
	pos        int
}

// errBlock says that a block is not what a Builder writes.
var errBlock = errors.New("block is not understood")

// Reset begins with the first column of b. What was read of the block before is no longer valid.
func (r *Reader) Reset(b Block) {
	r.rows, r.left, r.raw, r.pos = b.Rows, b.Columns, emptied(r.raw), 0
	r.frames = b.Data
}

// Next reads the next column whole, or returns io.EOF behind the last one.
func (r *Reader) Next() (name string, c *Values, err error) {
	if r.left == 0 {
		return "", nil, io.EOF
	}
	r.left--
	name, err = r.string()
	if err != nil {
		return "", nil, err
	}
	typ, err := r.string()
	if err != nil {
		return "", nil, fmt.Errorf("column %s: %w", name, err)
	}
	if c, err = r.values(typ); err == nil {
		if err = c.readState(); err == nil {
			err = c.readBody(r.rows)
		}
	}
	if err != nil {
		return "", nil, fmt.Errorf("column %s %s: %w", name, typ, err)
	}
	return name, c, nil
}

// take returns the next n bytes.
func (r *Reader) take(n int) ([]byte, error) {
	if n < 0 {
		return nil, errBlock
	}
	for len(r.raw)-r.pos < n {
		if err := r.frame(); err != nil {
			return nil, fmt.Errorf("%w: %w", errBlock, err)
		}
	}
	r.pos += n
	return r.raw[r.pos-n : r.pos], nil
}

// The head of a frame, as doc.go draws it.
const (
	frameMethod = 16
	frameSizes  = frameMethod + 1
	frameHead   = frameSizes + 8
	methodLZ4   = 0x82
)

// frame uncompresses one more frame.
func (r *Reader) frame() error {
	b := r.frames
	if len(b) < frameHead || b[frameMethod] != methodLZ4 {
		return io.ErrUnexpectedEOF
	}
	end := frameMethod + int(binary.LittleEndian.Uint32(b[frameSizes:]))
	size := int(binary.LittleEndian.Uint32(b[frameSizes+4:]))
	if end < frameHead || end > len(b) || size > frameBytes {
		return io.ErrUnexpectedEOF
	}
	from := len(r.raw)
	r.raw = slices.Grow(r.raw, size)[:from+size]
	n, err := lz4.UncompressBlock(b[frameHead:end], r.raw[from:])
	r.raw, r.frames = r.raw[:from+n], b[end:]
	if err == nil && n != size {
		err = io.ErrUnexpectedEOF
	}
	return err
}

func (r *Reader) uint64() (uint64, error) {
	b, err := r.take(8)
	if err != nil {
		return 0, err
	}
	return binary.LittleEndian.Uint64(b), nil
}

// size reads an uvarint.
func (r *Reader) size() (int, error) {
	n := 0
	for shift := 0; shift < 35; shift += 7 {
		b, err := r.take(1)
		if err != nil {
			return 0, err
		}
		n |= int(b[0]&0x7f) << shift
		if b[0] < 0x80 {
			return n, nil
		}
	}
	return 0, errBlock
}

// text reads an encoded string and returns where it lies in raw.
func (r *Reader) text() (span, error) {
	n, err := r.size()
	if err != nil {
		return span{}, err
	}
	_, err = r.take(n)
	return span{uint32(r.pos - n), uint32(r.pos)}, err
}

func (r *Reader) string() (string, error) {
	s, err := r.text()
	if err != nil {
		return "", err
	}
	return string(r.raw[s.from:s.to]), nil
}

// Values are the values of a column that was read. They are valid until the Reader's next Reset.
type Values struct {
	r     *Reader
	width int     // of fixed-width values, else 0
	low   bool    // LowCardinality
	fixed []byte  // of fixed-width values and of indexes
	texts []span  // strings, or the dictionary
	ends  []byte  // of arrays and maps
	keys  *Values // of maps
	elems *Values // of arrays and maps: their elements or values; of Nullable: its values
	nulls bool    // Nullable
}

// widths are those of the fixed-width types.
var widths = map[string]int{
	"Bool": 1, "Enum8": 1, "UInt8": 1, "UInt16": 2, "Date": 2, "UInt32": 4, "Int32": 4, "DateTime": 4, "UInt64": 8, "Int64": 8,
	"Float64": 8, "DateTime64": 8,
}

func (r *Reader) values(typ string) (*Values, error) {
	c := &Values{r: r}
	outer, inner, _ := strings.Cut(strings.TrimSuffix(typ, ")"), "(")
	var err error
	switch outer {
	case "String":
	case "LowCardinality":
		c.low = true
	case "Nullable":
		c.nulls = true
		c.elems, err = r.values(inner)
	case "Array":
		c.elems, err = r.values(inner)
	case "Map": // a key's type has no comma
		key, value, _ := strings.Cut(inner, ", ")
		if c.keys, err = r.values(key); err == nil {
			c.elems, err = r.values(value)
		}
	default:
		if c.width = widths[outer]; c.width == 0 {
			err = errBlock
		}
	}
	return c, err
}

func (c *Values) readState() error {
	if c.low {
		_, err := c.r.uint64()
		return err
	}
	for _, part := range []*Values{c.keys, c.elems} {
		if part != nil {
			if err := part.readState(); err != nil {
				return err
			}
		}
	}
	return nil
}

func (c *Values) readBody(n int) (err error) {
	switch {
	case c.width > 0:
		c.fixed, err = c.r.take(n * c.width)
	case c.low:
		err = c.readLow(n)
	case c.nulls:
		if _, err = c.r.take(n); err == nil {
			err = c.elems.readBody(n)
		}
	case c.elems != nil:
		if c.ends, err = c.r.take(8 * n); err != nil {
			return err
		}
		elems := 0
		for i := range n {
			from, to := c.Row(i)
			if to < from {
				return errBlock
			}
			elems = to
		}
		if c.keys != nil {
			if err := c.keys.readBody(elems); err != nil {
				return err
			}
		}
		err = c.elems.readBody(elems)
	default:
		c.texts, err = c.r.texts(n)
	}
	return err
}

func (c *Values) readLow(n int) error {
	if n == 0 {
		return nil
	}
	flags, err := c.r.uint64()
	if err != nil {
		return err
	}
	size, err := c.r.uint64()
	if err != nil {
		return err
	}
	if c.texts, err = c.r.texts(int(min(size, 1<<31))); err != nil {
		return err
	}
	count, err := c.r.uint64()
	if err != nil || count != uint64(n) {
		return errors.Join(errBlock, err)
	}
	c.width = 1 << (flags & 3)
	if c.fixed, err = c.r.take(n * c.width); err != nil {
		return err
	}
	for i := range n {
		if c.Index(i) >= len(c.texts) {
			return errBlock
		}
	}
	return nil
}

func (r *Reader) texts(n int) (out []span, err error) {
	for range n {
		s, err := r.text()
		if err != nil {
			return nil, err
		}
		out = append(out, s)
	}
	return out, nil
}

// Uint64 returns the number in row i of a fixed-width column of unsigned integers, or the bits of another.
func (c *Values) Uint64(i int) uint64 {
	b := c.fixed[i*c.width:]
	switch c.width {
	case 1:
		return uint64(b[0])
	case 2:
		return uint64(binary.LittleEndian.Uint16(b))
	case 4:
		return uint64(binary.LittleEndian.Uint32(b))
	}
	return binary.LittleEndian.Uint64(b)
}

// Index returns the dictionary index of row i of a LowCardinality column.
func (c *Values) Index(i int) int { return int(c.Uint64(i)) }

// Text returns row i of a column of strings.
func (c *Values) Text(i int) []byte {
	if c.low {
		i = c.Index(i)
	}
	s := c.texts[i]
	return c.r.raw[s.from:s.to]
}

// Row returns which of Keys and Elems row i of a Map or an Array has.
func (c *Values) Row(i int) (from, to int) {
	end := func(i int) int { return int(binary.LittleEndian.Uint64(c.ends[8*i:])) }
	if i > 0 {
		from = end(i - 1)
	}
	return from, end(i)
}

// Keys returns the keys of all rows of a Map, Elems the values.
func (c *Values) Keys() *Values  { return c.keys }
func (c *Values) Elems() *Values { return c.elems }
