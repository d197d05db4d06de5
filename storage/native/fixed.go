package native

import (
	"encoding/binary"
	"math"
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

func (c *Fixed[T]) cut(to mark)                   { c.vals = c.vals[:to.values] }
func (c *Fixed[T]) mark() mark                    { return mark{values: len(c.vals)} }
func (c *Fixed[T]) repeat(from mark, times int)   { c.vals = repeated(c.vals, from.values, times) }
func (c *Fixed[T]) stateBytes() int               { return 0 }
func (c *Fixed[T]) appendState(dst []byte) []byte { return dst }

func (c *Fixed[T]) bodyBytes() int {
	var zero T
	return len(c.vals) * int(unsafe.Sizeof(zero))
}

func (c *Fixed[T]) appendBody(dst []byte) []byte { return appendNumbers(dst, c.vals) }

// appendNumbers appends vals little-endian.
func appendNumbers[T Number](dst []byte, vals []T) []byte {
	switch vals := any(vals).(type) {
	case []uint8:
		return append(dst, vals...)
	case []uint16:
		for _, v := range vals {
			dst = binary.LittleEndian.AppendUint16(dst, v)
		}
	case []uint32:
		for _, v := range vals {
			dst = binary.LittleEndian.AppendUint32(dst, v)
		}
	case []int32:
		for _, v := range vals {
			dst = binary.LittleEndian.AppendUint32(dst, uint32(v))
		}
	case []uint64:
		for _, v := range vals {
			dst = binary.LittleEndian.AppendUint64(dst, v)
		}
	case []int64:
		for _, v := range vals {
			dst = binary.LittleEndian.AppendUint64(dst, uint64(v))
		}
	case []float64:
		for _, v := range vals {
			dst = binary.LittleEndian.AppendUint64(dst, math.Float64bits(v))
		}
	}
	return dst
}
