package query

import (
	"bytes"
	"errors"
)

var errRow = errors.New("not a JSON array")

// splitRow appends the top-level values of the JSON array line to dst. The values alias line. It trusts the engine to
// write JSON: it finds the commas, it does not validate.
func splitRow(dst [][]byte, line []byte) ([][]byte, error) {
	line = bytes.TrimSpace(line)
	if len(line) < 2 || line[0] != '[' || line[len(line)-1] != ']' {
		return dst, errRow
	}
	line = line[1 : len(line)-1]
	depth, start := 0, 0
	for i := 0; i < len(line); i++ {
		switch line[i] {
		case '"':
			n := stringEnd(line[i+1:])
			if n < 0 {
				return dst, errRow
			}
			i += n
		case '[', '{':
			depth++
		case ']', '}':
			depth--
		case ',':
			if depth == 0 {
				dst = append(dst, bytes.TrimSpace(line[start:i]))
				start = i + 1
			}
		}
	}
	if depth != 0 {
		return dst, errRow
	}
	if last := bytes.TrimSpace(line[start:]); len(last) > 0 {
		return append(dst, last), nil
	}
	return dst, nil
}

// stringEnd returns how many bytes of s, which follows an opening quote, belong to the string with its closing quote, or
// -1 if it does not close.
func stringEnd(s []byte) int {
	for n := 0; ; {
		i := bytes.IndexByte(s[n:], '"')
		if i < 0 {
			return -1
		}
		n += i
		back := 0
		for back < n && s[n-1-back] == '\\' {
			back++
		}
		n++
		if back%2 == 0 {
			return n
		}
	}
}
