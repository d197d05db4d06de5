package otlp

import (
	"encoding/base64"
	"encoding/binary"
	"errors"
	"math"
	"strconv"
	"unicode/utf8"

	"github.com/headgate-io/headgate/storage/native"
)

type kind uint8

const (
	kindEmpty kind = iota
	kindString
	kindBool
	kindInt
	kindDouble
	kindArray
	kindMap
	kindBytes
	kindText // an array or map already rendered as JSON
)

// value is an AnyValue, read but not converted. b is the payload of a string, of bytes, of an array or a map.
type value struct {
	b    []byte
	num  uint64
	kind kind
}

// Fields of AnyValue.
const (
	tagAnyString = 1<<3 | wireBytes
	tagAnyBool   = 2<<3 | wireVarint
	tagAnyInt    = 3<<3 | wireVarint
	tagAnyDouble = 4<<3 | wire64
	tagAnyArray  = 5<<3 | wireBytes
	tagAnyMap    = 6<<3 | wireBytes
	tagAnyBytes  = 7<<3 | wireBytes
	tagAnyStrRef = 8<<3 | wireVarint // an index into a dictionary that only profiles have
)

// anyValue reads an AnyValue into v. An array or a map that appears twice in a row is merged, which is what protobuf does
// with a oneof member that is a message.
func (d *Decoder) anyValue(b []byte, v *value) error {
	// The common forms: one member, and nothing else.
	if text, ok := shortString(b); ok {
		*v = value{kind: kindString, b: text}
		return nil
	}
	if k, num := numberValue(b); k != kindEmpty {
		*v = value{kind: k, num: num}
		return nil
	}
	*v = value{}
	merging := -1 // where in the arena the pieces of v lie
	for i := 0; i < len(b); {
		tag, num, msg, next := nextField(b, i)
		if i = next; i < 0 {
			return ErrMalformed
		}
		switch tag {
		case tagAnyString:
			v.kind, v.b = kindString, msg
		case tagAnyBytes:
			v.kind, v.b = kindBytes, msg
		case tagAnyBool:
			v.kind, v.num = kindBool, num
		case tagAnyInt:
			v.kind, v.num = kindInt, num
		case tagAnyDouble:
			v.kind, v.num = kindDouble, num
		case tagAnyStrRef:
			v.kind, v.b = d.referredValue(int32(num))
		case tagAnyArray, tagAnyMap:
			k := kindArray
			if tag == tagAnyMap {
				k = kindMap
			}
			if v.kind != k {
				v.kind, v.b, merging = k, msg, -1
				break
			}
			if merging < 0 {
				merging = len(d.arena)
				if err := d.keep(v.b); err != nil {
					return err
				}
			}
			if err := d.keep(msg); err != nil {
				return err
			}
			v.b = d.arena[merging:]
		}
	}
	return nil
}

// shortString returns the text of the AnyValue b if that is a string of less than 128 bytes and nothing else.
func shortString(b []byte) (text []byte, ok bool) {
	if n := len(b) - 2; n >= 0 && n < 0x80 && b[0] == tagAnyString && int(b[1]) == n {
		return b[2:], true
	}
	return nil, false
}

// shortInt returns the number that the AnyValue b is if that is an integer of one or two bytes and nothing else.
func shortInt(b []byte) (v int64, ok bool) {
	switch {
	case len(b) == 2 && b[0] == tagAnyInt && b[1] < 0x80:
		return int64(b[1]), true
	case len(b) == 3 && b[0] == tagAnyInt && b[1] >= 0x80 && b[2] < 0x80:
		return int64(b[1]&0x7f) | int64(b[2])<<7, true
	}
	return 0, false
}

// numberValue returns the bool, int or double that the AnyValue b is if it is nothing else, or kindEmpty.
func numberValue(b []byte) (kind, uint64) {
	if len(b) < 2 {
		return kindEmpty, 0
	}
	switch b[0] {
	case tagAnyInt:
		if v, i := varint(b, 1); i == len(b) {
			return kindInt, v
		}
	case tagAnyDouble:
		if v, i := fixed64(b, 1); i == len(b) {
			return kindDouble, v
		}
	case tagAnyBool:
		if len(b) == 2 && b[1] < 0x80 {
			return kindBool, uint64(b[1])
		}
	}
	return kindEmpty, 0
}

// numberText appends the text of a bool, int or double.
func numberText(dst []byte, k kind, num uint64) []byte {
	switch k {
	case kindBool:
		return strconv.AppendBool(dst, num != 0)
	case kindInt:
		return strconv.AppendInt(dst, int64(num), 10)
	case kindDouble:
		return appendDouble(dst, math.Float64frombits(num))
	}
	return dst
}

// appendDouble appends f in the shortest form that reads back as f, with an exponent where ECMAScript has one.
func appendDouble(dst []byte, f float64) []byte {
	switch {
	case math.IsNaN(f):
		return append(dst, "NaN"...)
	case math.IsInf(f, 1):
		return append(dst, "Infinity"...)
	case math.IsInf(f, -1):
		return append(dst, "-Infinity"...)
	}
	abs := math.Abs(f)
	if abs < 1e12 {
		// Most doubles are short decimals. Two decimals of up to 15 digits are never the same double, so if f is one with
		// three places, that is its shortest form.
		if n := uint64(abs*1000 + 0.5); float64(n)/1000 == abs {
			return appendThousandths(dst, math.Signbit(f), n)
		}
	}
	if abs >= 1e-6 && abs < 1e21 {
		return strconv.AppendFloat(dst, f, 'f', -1, 64)
	}
	dst = strconv.AppendFloat(dst, f, 'e', -1, 64)
	if n := len(dst); n >= 4 && dst[n-4] == 'e' && dst[n-3] == '-' && dst[n-2] == '0' { // e-09 is written e-9
		dst[n-2] = dst[n-1]
		dst = dst[:n-1]
	}
	return dst
}

// appendThousandths appends n/1000 without zeros at the end.
func appendThousandths(dst []byte, negative bool, n uint64) []byte {
	if negative {
		dst = append(dst, '-')
	}
	dst = strconv.AppendUint(dst, n/1000, 10)
	if n %= 1000; n == 0 {
		return dst
	}
	at := len(dst)
	dst = append(dst, '.', byte('0'+n/100), byte('0'+n/10%10), byte('0'+n%10))
	switch {
	case n%100 == 0:
		return dst[:at+2]
	case n%10 == 0:
		return dst[:at+3]
	}
	return dst
}

// text returns a value, rendered if it is an array or a map, as text. The text may lie in d.scratch and is valid until
// that is used again.
func (d *Decoder) text(v *value) []byte {
	switch v.kind {
	case kindText:
		return v.b
	case kindString:
		return d.valid(v.b)
	case kindBytes:
		d.scratch = base64.StdEncoding.AppendEncode(d.scratch[:0], v.b)
	default:
		d.scratch = numberText(d.scratch[:0], v.kind, v.num)
	}
	return d.scratch
}

// render replaces an array or a map v by its JSON, which it appends to buf, and puts its kinds into d.kinds. What rejects
// the record is noted in d.bad.
func (d *Decoder) render(v *value, buf *[]byte) error {
	if v.kind != kindArray && v.kind != kindMap {
		return nil
	}
	from := len(*buf)
	d.kinds = d.kinds[:0]
	text, err := d.appendJSON(*buf, v, 1)
	switch {
	case err == nil:
	case errors.Is(err, errTooDeep):
		d.bad = TooDeep
	case errors.Is(err, errTooManyItems):
		d.bad = TooManyItems
	default:
		return err
	}
	*buf = text
	*v = value{kind: kindText, b: text[from:]}
	return nil
}

// appendNumber adds the row of a bool, int or double.
func appendNumber(c *native.String, k kind, num uint64) {
	if k == kindInt {
		c.AppendInt(int64(num))
	} else {
		c.End(numberText(c.Begin(), k, num))
	}
}

// appendValue adds the row v to c, as text. What rejects the record is noted in d.bad.
func (d *Decoder) appendValue(c *native.String, v *value) error {
	switch v.kind {
	case kindEmpty:
		c.Append(nil)
	case kindBool, kindInt, kindDouble:
		appendNumber(c, v.kind, v.num)
	case kindBytes:
		c.End(base64.StdEncoding.AppendEncode(c.Begin(), v.b))
	case kindArray, kindMap:
		d.scratch = d.scratch[:0]
		if err := d.render(v, &d.scratch); err != nil {
			return err
		}
		c.Append(v.b)
	default:
		c.Append(d.text(v))
	}
	return nil
}

// appendString adds the row b to c.
func (d *Decoder) appendString(c *native.String, b []byte) { c.Append(d.valid(b)) }

// setSparse is appendString for a column whose rows are mostly empty.
func (d *Decoder) setSparse(c *native.Sparse, row int, b []byte) {
	if len(b) > 0 {
		c.Set(row, d.valid(b))
	}
}

// valid returns b with each run of bytes that are not UTF-8 replaced by U+FFFD. It may lie in d.scratch.
func (d *Decoder) valid(b []byte) []byte {
	if native.IsASCII(b) || utf8.Valid(b) {
		return b
	}
	d.scratch = appendValid(d.scratch[:0], b)
	return d.scratch
}

func appendValid(dst, b []byte) []byte {
	bad := false
	for len(b) > 0 {
		r, n := utf8.DecodeRune(b)
		if r == utf8.RuneError && n == 1 {
			if !bad {
				dst = append(dst, "\uFFFD"...)
			}
			bad = true
		} else {
			dst = append(dst, b[:n]...)
			bad = false
		}
		b = b[n:]
	}
	return dst
}

// intern returns the index of b in the dictionary of c.
func (d *Decoder) intern(c *native.LowCardinality, b []byte) uint32 {
	if i, ok := c.Find(b); ok {
		return i
	}
	// Only what is new is checked: the dictionary holds valid text alone, so invalid text is never found in it.
	return c.Index(d.valid(b))
}

// recentTexts remembers where texts that come in no order stand in their column's dictionary: by a hash of their two ends, which
// costs less than the dictionary's, the index of the last one, perhaps in the dictionary of an earlier request.
type recentTexts [64]uint32

// index is d.intern.
func (r *recentTexts) index(d *Decoder, c *native.LowCardinality, b []byte) uint32 {
	if len(b) < 8 {
		return d.intern(c, b)
	}
	head, tail := binary.LittleEndian.Uint64(b), binary.LittleEndian.Uint64(b[len(b)-8:])
	i := &r[(head*scopePart^tail*keyFactor)>>58]
	if !c.Is(*i, b) {
		*i = d.intern(c, b)
	}
	return *i
}
