package otlp

import "github.com/headgate-io/headgate/storage/native"

const (
	traceIDBytes = 16
	spanIDBytes  = 8
)

// validID reports whether id is an identifier of n bytes: one of another length or all zero names nothing.
func validID(id []byte, n int) bool {
	if len(id) != n {
		return false
	}
	for _, b := range id {
		if b != 0 {
			return true
		}
	}
	return false
}

// appendID adds id as hexadecimal text, "" if it is not valid.
func appendID(c *native.String, id []byte, n int) {
	if !validID(id, n) {
		id = nil
	}
	c.AppendHex(id)
}
