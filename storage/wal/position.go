package wal

import "fmt"

// Position names an entry: the segment's number in the upper 32 bits, the offset of the entry's frame in the lower.
// Positions are ordered as the entries are and never used twice. 0 is none.
type Position uint64

func at(segment uint32, offset int64) Position {
	return Position(segment)<<32 | Position(uint32(offset))
}

// Segment returns the number of the segment that holds the entry.
func (p Position) Segment() uint32 { return uint32(p >> 32) }

// Offset returns the offset of the entry's frame in its segment, in bytes.
func (p Position) Offset() int64 { return int64(uint32(p)) }

// String returns segment and offset as in "17:4096", "none" for 0.
func (p Position) String() string {
	if p == 0 {
		return "none"
	}
	return fmt.Sprintf("%d:%d", p.Segment(), p.Offset())
}
