package native

import (
	"slices"
	"unsafe"
)

// Column is a column under construction. The types of this package are all there are.
type Column interface {
	// Type returns the column's ClickHouse type, as it stands in a block.
	Type() string
	// Rows returns the number of rows appended since the last Reset.
	Rows() int
	// Reset empties the column and keeps its memory.
	Reset()

	writeState(w *frames)
	writeBody(w *frames)
}

// Element is a column that can be a member of a Nested: all but arrays.
type Element interface {
	Column
	// save makes the present rows the ones that restore returns to.
	save()
	restore()
}

// Flat is a column whose rows hold one value each, as the keys and values of a Map must.
type Flat interface {
	Column
	mark() mark
	cut(to mark)
	// writePieces is writeBody of pieces of the column, as frames.pieces has them.
	writePieces(w *frames, ends []uint64, counts []int)
}

// mark is a position in a Flat column: values before it, and bytes where they cannot be told from the values.
type mark struct{ values, bytes int }

// maxKeptBytes is the largest slice that a Reset keeps. One request far above the usual must not hold its memory for
// good.
const maxKeptBytes = 8 << 20

// emptied returns s with no elements, without its memory if that is more than usual.
func emptied[T any](s []T) []T {
	var zero T
	if cap(s)*int(unsafe.Sizeof(zero)) > maxKeptBytes {
		return nil
	}
	return s[:0]
}

// repeated appends the tail s[from:] another times times.
func repeated[T any](s []T, from, times int) []T {
	at := len(s)
	n := (at - from) * times
	if n <= 0 {
		return s
	}
	s = slices.Grow(s, n)[:at+n]
	if at-from == 1 && n <= 32 { // too little for a copy to be worth its call
		v := s[from]
		for i := range s[at:] {
			s[at+i] = v
		}
		return s
	}
	// What was copied is source for the next copy: the work is a few large copies.
	for done := at; done < len(s); {
		done += copy(s[done:], s[from:done])
	}
	return s
}
