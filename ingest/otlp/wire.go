package otlp

import (
	"encoding/binary"
	"errors"
)

// ErrMalformed says that a body is not protobuf: the request must be refused as a whole, for good.
var ErrMalformed = errors.New("malformed protobuf")

// Wire types.
const (
	wireVarint = 0
	wire64     = 1
	wireBytes  = 2
	wireGroup  = 3
	wireEnd    = 4
	wire32     = 5
)

// A tag is a field number and a wire type as they stand on the wire; comparing both at once makes a field of an
// unexpected wire type an unknown field, as protobuf demands.

const (
	maxFieldNumber = 1<<29 - 1
	maxGroupDepth  = 10_000
)

// The readers take the buffer and a position and return the value and the position behind it, or a negative position if
// the buffer does not hold the value.

// nextTag reads a tag at i, which must lie within b. Its odd form is what the compiler inlines.
func nextTag(b []byte, i int) (tag uint64, next int) {
	if tag, next = uint64(b[i]), i+1; tag >= 0x80 {
		tag, next = longVarint(b, i)
	}
	return
}

func varint(b []byte, i int) (uint64, int) {
	if i < len(b) && b[i] < 0x80 {
		return uint64(b[i]), i + 1
	}
	return longVarint(b, i)
}

func longVarint(b []byte, i int) (uint64, int) {
	if i+1 < len(b) && b[i] >= 0x80 && b[i+1] < 0x80 {
		return uint64(b[i]&0x7f) | uint64(b[i+1])<<7, i + 2
	}
	v, n := binary.Uvarint(b[i:])
	if n <= 0 {
		return 0, -1
	}
	return v, i + n
}

func fixed64(b []byte, i int) (uint64, int) {
	if len(b)-i < 8 {
		return 0, -1
	}
	return binary.LittleEndian.Uint64(b[i:]), i + 8
}

func fixed32(b []byte, i int) (uint32, int) {
	if len(b)-i < 4 {
		return 0, -1
	}
	return binary.LittleEndian.Uint32(b[i:]), i + 4
}

// block reads a length and that many bytes. They are part of b.
func block(b []byte, i int) ([]byte, int) {
	var n uint64
	switch {
	case i < len(b) && b[i] < 0x80:
		n, i = uint64(b[i]), i+1
	case i+1 < len(b) && b[i+1] < 0x80:
		n, i = uint64(b[i]&0x7f)|uint64(b[i+1])<<7, i+2
	default:
		if n, i = longVarint(b, i); i < 0 {
			return nil, -1
		}
	}
	if n > uint64(len(b)-i) {
		return nil, -1
	}
	end := i + int(n)
	return b[i:end], end
}

// nextField reads the field at i, which must lie within b: its tag, and its value, which is a number or, with wireBytes, a
// part of b. A group has no value.
func nextField(b []byte, i int) (tag, num uint64, msg []byte, next int) {
	// The common forms: a tag of one byte, and a short value.
	if t := b[i]; t >= 1<<3 && t < 0x80 && i+1 < len(b) {
		switch n := b[i+1]; t & 7 {
		case wireBytes:
			if end := i + 2 + int(n); n < 0x80 && end <= len(b) {
				return uint64(t), 0, b[i+2 : end], end
			}
		case wire64:
			if num, next = fixed64(b, i+1); next > 0 {
				return uint64(t), num, nil, next
			}
		case wireVarint:
			if n < 0x80 {
				return uint64(t), uint64(n), nil, i + 2
			}
		case wire32:
			if n, next := fixed32(b, i+1); next > 0 {
				return uint64(t), uint64(n), nil, next
			}
		}
	}
	return anyField(b, i)
}

// field64 returns the tag and the value of the field at i if that is a tag of one byte and eight bytes, else a next of 0. It is
// what the compiler inlines of nextField.
func field64(b []byte, i int) (tag, num uint64, next int) {
	if t := b[i]; t&7 == wire64 && t < 0x80 && t >= 1<<3 && len(b)-i >= 9 {
		return uint64(t), binary.LittleEndian.Uint64(b[i+1:]), i + 9
	}
	return 0, 0, 0
}

// anyField is nextField for all forms.
func anyField(b []byte, i int) (tag, num uint64, msg []byte, next int) {
	tag, i = varint(b, i)
	if n := tag >> 3; i < 0 || n == 0 || n > maxFieldNumber {
		return 0, 0, nil, -1
	}
	switch tag & 7 {
	case wireBytes:
		msg, i = block(b, i)
	case wire64:
		num, i = fixed64(b, i)
	case wireVarint:
		num, i = varint(b, i)
	case wire32:
		var n uint32
		n, i = fixed32(b, i)
		num = uint64(n)
	default:
		i = skip(b, i, tag)
	}
	return tag, num, msg, i
}

// skip passes over the value of a field that is not known.
func skip(b []byte, i int, tag uint64) int { return skipNested(b, i, tag, 0) }

func skipNested(b []byte, i int, tag uint64, depth int) int {
	if n := tag >> 3; n == 0 || n > maxFieldNumber {
		return -1
	}
	switch tag & 7 {
	case wireVarint:
		_, i = varint(b, i)
	case wire64:
		_, i = fixed64(b, i)
	case wireBytes:
		_, i = block(b, i)
	case wire32:
		_, i = fixed32(b, i)
	case wireGroup:
		if depth == maxGroupDepth {
			return -1
		}
		for {
			var inner uint64
			if inner, i = varint(b, i); i < 0 {
				return -1
			}
			if inner&7 == wireEnd {
				if inner>>3 != tag>>3 {
					return -1
				}
				return i
			}
			if i = skipNested(b, i, inner, depth+1); i < 0 {
				return -1
			}
		}
	default:
		return -1
	}
	return i
}
