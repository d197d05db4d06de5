package otlp

import (
	"bytes"
	"encoding/base64"
	"errors"
	"math"
	"slices"
	"unicode/utf8"
)

// maxDepth is how many arrays and maps a value may nest. SDKs stop at 64 as well.
const maxDepth = 64

// maxItems bounds the parts of one record that cost more memory here than on the wire.
const maxItems = 1 << 16

// Errors that reject the record, not the request.
var (
	errTooDeep      = errors.New("value nested too deep")
	errTooManyItems = errors.New("too many items in one record")
)

// entry is one pair of a map that is being rendered.
type entry struct {
	key   []byte
	value []byte // an AnyValue
}

// Field of both ArrayValue and KeyValueList.
const tagValues = 1<<3 | wireBytes

// appendJSON appends the array or map v as JSON, and its kind to d.kinds. Keys are sorted, so that equal maps are equal
// text.
func (d *Decoder) appendJSON(dst []byte, v *value, depth int) ([]byte, error) {
	if depth > maxDepth {
		return dst, errTooDeep
	}
	if v.kind == kindMap {
		return d.appendJSONMap(dst, v.b, depth)
	}
	d.kinds = append(d.kinds, "a("...)
	run := newKindRun(d.kinds)
	dst = append(dst, '[')
	sep := false
	for i := 0; i < len(v.b); {
		tag, _, elem, next := nextField(v.b, i)
		if i = next; i < 0 {
			return dst, ErrMalformed
		}
		if tag != tagValues {
			continue
		}
		if sep {
			dst = append(dst, ',')
		}
		sep = true
		from := len(d.kinds)
		var err error
		if dst, err = d.appendJSONValue(dst, elem, depth); err != nil {
			return dst, err
		}
		run.note(d.kinds, from)
	}
	d.kinds = append(run.close(d.kinds), ')')
	return append(dst, ']'), nil
}

func (d *Decoder) appendJSONMap(dst, b []byte, depth int) ([]byte, error) {
	base := len(d.entries) // the entries of the maps around this one lie below
	defer func() { d.entries = d.entries[:base] }()
	for i := 0; i < len(b); {
		tag, _, pair, next := nextField(b, i)
		if i = next; i < 0 {
			return dst, ErrMalformed
		}
		if tag != tagValues {
			continue
		}
		if len(d.entries) >= maxItems {
			return dst, errTooManyItems
		}
		key, val, err := d.keyValue(pair)
		if err != nil {
			return dst, err
		}
		d.entries = append(d.entries, entry{key, val})
	}
	own := d.entries[base:]
	slices.SortStableFunc(own, func(a, b entry) int { return bytes.Compare(a.key, b.key) })
	d.kinds = append(d.kinds, "k("...)
	run := newKindRun(d.kinds)
	dst = append(dst, '{')
	sep := false
	for i := range own {
		if i+1 < len(own) && bytes.Equal(own[i].key, own[i+1].key) {
			continue // a later one with the same key follows
		}
		if sep {
			dst = append(dst, ',')
		}
		sep = true
		dst = append(appendJSONString(dst, own[i].key), ':')
		from := len(d.kinds)
		var err error
		if dst, err = d.appendJSONValue(dst, own[i].value, depth); err != nil {
			return dst, err
		}
		run.note(d.kinds, from)
	}
	d.kinds = append(run.close(d.kinds), ')')
	return append(dst, '}'), nil
}

func (d *Decoder) appendJSONValue(dst, b []byte, depth int) ([]byte, error) {
	var v value
	if err := d.anyValue(b, &v); err != nil {
		return dst, err
	}
	if v.kind == kindArray || v.kind == kindMap {
		return d.appendJSON(dst, &v, depth+1)
	}
	d.kinds = append(d.kinds, kindLetters[v.kind])
	switch v.kind {
	case kindEmpty:
		return append(dst, "null"...), nil
	case kindString:
		return appendJSONString(dst, v.b), nil
	case kindBytes:
		dst = append(dst, '"')
		dst = base64.StdEncoding.AppendEncode(dst, v.b)
		return append(dst, '"'), nil
	case kindDouble:
		if f := math.Float64frombits(v.num); math.IsNaN(f) || math.IsInf(f, 0) {
			return append(appendDouble(append(dst, '"'), f), '"'), nil
		}
	}
	return numberText(dst, v.kind, v.num), nil
}

// appendJSONString quotes s as encoding/json does without HTML escaping: control characters, quotes, backslashes and the
// JavaScript line separators are escaped, and so is U+FFFD in place of each byte that is not UTF-8.
func appendJSONString(dst, s []byte) []byte {
	const hexDigits = "0123456789abcdef"
	dst = append(dst, '"')
	start := 0
	for i := 0; i < len(s); {
		c := s[i]
		if c < utf8.RuneSelf {
			if c >= ' ' && c != '"' && c != '\\' {
				i++
				continue
			}
			dst = append(dst, s[start:i]...)
			switch c {
			case '"', '\\':
				dst = append(dst, '\\', c)
			case '\b':
				dst = append(dst, `\b`...)
			case '\f':
				dst = append(dst, `\f`...)
			case '\n':
				dst = append(dst, `\n`...)
			case '\r':
				dst = append(dst, `\r`...)
			case '\t':
				dst = append(dst, `\t`...)
			default:
				dst = append(dst, `\u00`...)
				dst = append(dst, hexDigits[c>>4], hexDigits[c&15])
			}
			i++
			start = i
			continue
		}
		r, n := utf8.DecodeRune(s[i:])
		switch {
		case r == utf8.RuneError && n == 1:
			dst = append(append(dst, s[start:i]...), `\ufffd`...)
			start = i + n
		case r == '\u2028' || r == '\u2029':
			dst = append(append(dst, s[start:i]...), `\u202`...)
			dst = append(dst, hexDigits[r&15])
			start = i + n
		}
		i += n
	}
	return append(append(dst, s[start:]...), '"')
}
