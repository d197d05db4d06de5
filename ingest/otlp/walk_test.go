package otlp

import "testing"

// The least that any reader of OTLP must do: visit each field of each message once, and keep nothing.

// submessages has, by message type and field number, the type of the message in the field.
var submessages = func() (table [msgs][18]msg) {
	for m, fields := range otlpSchema {
		for num, f := range fields {
			if num < 18 {
				table[m][num] = f.sub
			}
		}
	}
	return table
}()

// walk sums something of every field.
func walk(b []byte, m msg) (sum uint64, ok bool) {
	for i := 0; i < len(b); {
		var tag, n uint64
		if tag, i = nextTag(b, i); i < 0 {
			return sum, false
		}
		switch tag & 7 {
		case wireVarint:
			n, i = varint(b, i)
			sum += n
		case wire64:
			n, i = fixed64(b, i)
			sum += n
		case wire32:
			var v uint32
			v, i = fixed32(b, i)
			sum += uint64(v)
		case wireBytes:
			var field []byte
			field, i = block(b, i)
			if f := tag >> 3; i >= 0 && f < 18 && submessages[m][f] != leaf {
				n, ok := walk(field, submessages[m][f])
				if !ok {
					return sum, false
				}
				sum += n
			} else if len(field) > 0 {
				sum += uint64(field[0])
			}
		default:
			i = skip(b, i, tag)
		}
		if i < 0 {
			return sum, false
		}
	}
	return sum, true
}

var walked uint64

func BenchmarkWireWalk(b *testing.B) {
	bench(b, func(sig Signal, body []byte) error {
		n, ok := walk(body, mRequestLogs+msg(sig))
		walked += n
		if !ok {
			return ErrMalformed
		}
		return nil
	})
}
