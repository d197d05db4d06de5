package otlp

import (
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"math"
	"strconv"
	"strings"
)

// wire returns the wire type of a number.
func (f *jsonField) wire() uint64 {
	switch f.kind {
	case jsonFixed64, jsonSfixed64, jsonDouble:
		return wire64
	case jsonFixed32:
		return wire32
	}
	return wireVarint
}

// append appends the number v, as number has returned it.
func (f *jsonField) append(dst []byte, v uint64) []byte {
	switch f.wire() {
	case wire64:
		return binary.LittleEndian.AppendUint64(dst, v)
	case wire32:
		return binary.LittleEndian.AppendUint32(dst, uint32(v))
	}
	return binary.AppendUvarint(dst, v)
}

// number reads a number, a bool or an enumeration value and returns it as it goes onto the wire. 64-bit integers are
// exact: they never pass through a double.
func (p *jsonParser) number(f jsonField) uint64 {
	switch f.kind {
	case jsonBool:
		return p.bool()
	case jsonDouble:
		v, err := parseDouble(p.numeral())
		if err != nil {
			p.fail("not a number")
		}
		return math.Float64bits(v)
	}
	text := p.numeral()
	if v, ok := f.names[text]; ok {
		return uint64(v)
	}
	neg, v, ok := parseInteger(text)
	switch f.kind {
	case jsonInt32, jsonEnum, jsonSint32:
		ok = ok && (v <= math.MaxInt32 || neg && v == 1<<31)
	case jsonUint32, jsonFixed32:
		ok = ok && !neg && v <= math.MaxUint32
	case jsonInt64, jsonSfixed64:
		ok = ok && fitsInt64(neg, v)
	default:
		ok = ok && !neg
	}
	if !ok {
		p.fail("not an integer of the field's range")
		return 0
	}
	n := signed(neg, v)
	if f.kind == jsonSint32 {
		n = uint64(uint32(n)<<1 ^ uint32(int32(n)>>31))
	}
	return n
}

// numeral returns the text of a number, or the content of a string in its place.
func (p *jsonParser) numeral() string {
	p.space()
	if p.i < len(p.b) && p.b[p.i] == '"' {
		return string(p.string())
	}
	from := p.i
	for more := true; more; {
		for p.i < len(p.b) && strings.IndexByte("+-.0123456789eE", p.b[p.i]) >= 0 {
			p.i++
		}
		if more = p.i == len(p.b); more {
			var moved int
			moved, more = p.fill(from)
			from -= moved
		}
	}
	if !validNumber(string(p.b[from:p.i])) {
		p.fail("a number is wanted")
		return ""
	}
	return string(p.b[from:p.i])
}

// validNumber reports whether s is a number of JSON's grammar.
func validNumber(s string) bool {
	s = strings.TrimPrefix(s, "-")
	digits := func() bool {
		n := 0
		for n < len(s) && '0' <= s[n] && s[n] <= '9' {
			n++
		}
		s = s[n:]
		return n > 0
	}
	leadingZero := strings.HasPrefix(s, "0")
	before := len(s)
	if !digits() || leadingZero && before-len(s) > 1 {
		return false
	}
	if strings.HasPrefix(s, ".") {
		if s = s[1:]; !digits() {
			return false
		}
	}
	if s != "" && (s[0] == 'e' || s[0] == 'E') {
		if s = s[1:]; s != "" && (s[0] == '+' || s[0] == '-') {
			s = s[1:]
		}
		if !digits() {
			return false
		}
	}
	return s == ""
}

// parseInteger reads a whole number exactly, also if it is written with a fraction or an exponent. It reports false if it
// is none or beyond 64 bits.
func parseInteger(s string) (neg bool, v uint64, ok bool) {
	if v, err := strconv.ParseUint(s, 10, 64); err == nil {
		return false, v, true
	}
	if !validNumber(s) {
		return false, 0, false
	}
	s, neg = strings.CutPrefix(s, "-")
	mantissa, power, _ := strings.Cut(strings.ToLower(s), "e")
	whole, fraction, _ := strings.Cut(mantissa, ".")
	fraction = strings.TrimRight(fraction, "0")
	exp := 0
	if power != "" {
		var err error
		if exp, err = strconv.Atoi(power); err != nil {
			return neg, 0, strings.Trim(whole+fraction, "0") == ""
		}
	}
	digits := strings.TrimLeft(whole+fraction, "0")
	exp -= len(fraction)
	for exp < 0 && strings.HasSuffix(digits, "0") {
		digits, exp = digits[:len(digits)-1], exp+1
	}
	switch {
	case digits == "":
		return neg, 0, true
	case exp < 0 || exp > 20:
		return neg, 0, false
	}
	v, err := strconv.ParseUint(digits+strings.Repeat("0", exp), 10, 64)
	return neg, v, err == nil
}

func fitsInt64(neg bool, v uint64) bool { return v <= math.MaxInt64 || neg && v == 1<<63 }

func signed(neg bool, v uint64) uint64 {
	if neg {
		return -v
	}
	return v
}

// parseDouble reads a number of JSON, or one of the names that ProtoJSON has for what is none.
func parseDouble(s string) (float64, error) {
	switch s {
	case "NaN":
		return math.NaN(), nil
	case "Infinity":
		return math.Inf(1), nil
	case "-Infinity":
		return math.Inf(-1), nil
	}
	if !validNumber(s) {
		return 0, strconv.ErrSyntax
	}
	return strconv.ParseFloat(s, 64)
}

// hexID reads an id in hexadecimal. What is not hexadecimal becomes an id of one byte, which is never valid.
func (p *jsonParser) hexID() []byte {
	s := p.string()
	id, err := hex.AppendDecode(nil, s)
	if err != nil {
		return []byte{0}
	}
	return id
}

// profileID reads the id of a profile. OTLP/JSON has it in base64, as all bytes but the ids of traces and spans, and the
// collector writes it in hexadecimal; of 16 bytes the two differ in length.
func (p *jsonParser) profileID() []byte {
	p.space()
	if p.need(2*profileIDBytes+2) && p.b[p.i] == '"' && p.b[p.i+2*profileIDBytes+1] == '"' {
		return p.hexID()
	}
	return p.base64()
}

// base64 reads bytes in base64, standard or for URLs, padded or not; or, as old JavaScript SDKs write a Uint8Array, an
// object of bytes by index.
func (p *jsonParser) base64() (out []byte) {
	p.space()
	if p.i < len(p.b) && p.b[p.i] == '{' {
		f := jsonField{kind: jsonUint32}
		p.object(func([]byte) {
			v := p.number(f)
			if v > math.MaxUint8 {
				p.fail("not a byte")
			}
			out = append(out, byte(v))
		})
		return out
	}
	s := strings.NewReplacer("-", "+", "_", "/").Replace(strings.TrimRight(string(p.string()), "="))
	out, err := base64.RawStdEncoding.DecodeString(s)
	if err != nil {
		p.fail("not base64")
	}
	return out
}
