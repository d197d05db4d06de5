package native

import (
	"slices"
	"unsafe"
)

// Number is what a fixed-width column can hold. Bool and Enum8 are uint8, DateTime uint32, DateTime64 int64.
type Number interface {
	uint8 | uint16 | uint32 | uint64 | int32 | int64 | float64
}

// Fixed is a column of fixed-width values.
type Fixed[T Number] struct {
	typ   string
	vals  []T
	saved int
}

// NewFixed returns an empty column of the ClickHouse type typ, which must be as wide as T.
func NewFixed[T Number](typ string) *Fixed[T] { return &Fixed[T]{typ: typ} }

// Append adds the row v.
func (c *Fixed[T]) Append(v T) { c.vals = append(c.vals, v) }

// AppendAll adds the rows vals.
func (c *Fixed[T]) AppendAll(vals []T) { c.vals = append(c.vals, vals...) }

// AppendLittleEndian adds the rows that b holds as little-endian values.
func (c *Fixed[T]) AppendLittleEndian(b []byte) {
	var zero T
	width, from := int(unsafe.Sizeof(zero)), len(c.vals)
	n := len(b) / width
	c.vals = slices.Grow(c.vals, n)[:from+n]
	if n == 0 {
		return
	}
	// In memory they are what they are in b.
	memory := unsafe.Slice((*byte)(unsafe.Pointer(&c.vals[from])), n*width)
	copy(memory, b)
	if !littleEndian {
		for v := range slices.Chunk(memory, width) {
			slices.Reverse(v)
		}
	}
}

// Tail returns the last n rows, to be changed in place. They are valid until the next append.
func (c *Fixed[T]) Tail(n int) []T { return c.vals[len(c.vals)-n:] }

// AppendN adds n rows of v.
func (c *Fixed[T]) AppendN(v T, n int) {
	if n > 0 {
		from := len(c.vals)
		c.vals = repeated(append(c.vals, v), from, n-1)
	}
}

// Type implements Column.
func (c *Fixed[T]) Type() string { return c.typ }

// Rows implements Column.
func (c *Fixed[T]) Rows() int { return len(c.vals) }

// Reset implements Column.
func (c *Fixed[T]) Reset() { c.vals, c.saved = emptied(c.vals), 0 }

func (c *Fixed[T]) save()    { c.saved = len(c.vals) }
func (c *Fixed[T]) restore() { c.vals = c.vals[:c.saved] }

func (c *Fixed[T]) cut(to mark) { c.vals = c.vals[:to.values] }
func (c *Fixed[T]) mark() mark  { return mark{values: len(c.vals)} }

func (c *Fixed[T]) writeState(*frames)  {}
func (c *Fixed[T]) writeBody(w *frames) { numbers(w, c.vals) }

func (c *Fixed[T]) writeRuns(w *frames, counts []int) { c.writePieces(w, nil, counts) }

func (c *Fixed[T]) writePieces(w *frames, ends []uint64, counts []int) {
	var zero T
	w.pieces(onWire(c.vals), int(unsafe.Sizeof(zero)), ends, counts)
}
