package otlp

import (
	"encoding/binary"

	"github.com/headgate-io/headgate/storage/native"
)

const (
	traceIDBytes = 16
	spanIDBytes  = 8
)

// validID reports whether id is an identifier of n bytes, 8 or 16: one of another length or all zero names nothing.
func validID(id []byte, n int) bool {
	return len(id) == n && binary.LittleEndian.Uint64(id)|binary.LittleEndian.Uint64(id[n-8:]) != 0
}

// appendID adds id as hexadecimal text, "" if it is not valid.
func appendID(c *native.String, id []byte, n int) {
	if !validID(id, n) {
		id = nil
	}
	c.AppendHex(id)
}
