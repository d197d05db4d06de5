package otlp

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"strings"
)

// ErrBadJSON says that a body is not OTLP/JSON: the request must be refused as a whole, for good.
var ErrBadJSON = errors.New("malformed json")

// byteOrderMark may stand before a body.
const byteOrderMark = "\xef\xbb\xbf"

// maxJSONDepth is how deep objects and arrays may nest. A level of an attribute value takes up to four.
const maxJSONDepth = 16 + 4*maxDepth

// JSONToProto converts an export request of sig from OTLP/JSON to protobuf. The result has the size that the collector's
// pdata gives the same request, so that what JSON is billed can be computed by anybody: a field that is unset is left out,
// but for the few that pdata always writes (a resource, a scope, an id, a body, a value, a status and bucket lists may be
// empty, two bytes each). The error wraps ErrBadJSON and is fit for the client's eyes.
//
// It reads what ProtoJSON allows, with OTLP's hexadecimal ids, and some of what is sent in practice beyond: enumeration
// names, snake_case keys, a byte order mark, an intValue that only a double can hold, bytesValue as an object. An id that
// is not hexadecimal becomes an invalid id, which costs its record at most.
func JSONToProto(sig Signal, body []byte) ([]byte, error) {
	out, _, err := Limits{MaxRecords: math.MaxInt}.AppendJSON(make([]byte, 0, len(body)/2), sig, JSONSource{Text: body})
	return out, err
}

// AppendJSON is JSONToProto to the end of dst, of a text that may still be made while it is read: it reads no further than to
// the first thing that is wrong. It fails with ErrTooManyRecords as soon as it meets one too many, and with what the source
// fails with. unknown is how many members were passed over because this version does not know them; members of theirs are
// not counted.
func (l Limits) AppendJSON(dst []byte, sig Signal, from JSONSource) (out []byte, unknown int, err error) {
	p := jsonParser{b: from.Text, from: from, out: dst, maxRecords: l.records()}
	if p.need(len(byteOrderMark)); bytes.HasPrefix(p.b, []byte(byteOrderMark)) {
		p.i = len(byteOrderMark)
	}
	p.message(jsonRequest + jsonMsg(sig))
	p.space()
	if p.err == nil && p.i < len(p.b) {
		p.fail("text after the end")
	}
	if p.err != nil {
		return nil, 0, p.err
	}
	return p.out, p.unknown, nil
}

// jsonParser reads b and writes protobuf to out. After an error it stands still: every reader returns at once.
type jsonParser struct {
	b                   []byte // the part of the text that is there
	i                   int    // how much of it was read
	passed              int    // bytes of the text before it
	from                JSONSource
	depth               int
	out                 []byte
	records, maxRecords int
	unknown             int    // members
	text                []byte // the last string, if it had escapes
	err                 error
}

func (p *jsonParser) fail(what string) {
	if p.err == nil {
		p.err = badJSON(p.passed+p.i, what)
	}
	p.i = len(p.b)
}

func badJSON(at int, what string) error { return fmt.Errorf("%w: byte %d: %s", ErrBadJSON, at, what) }

func errTooManyInJSON(most int) error { return fmt.Errorf("%w: more than %d", ErrTooManyRecords, most) }

// record reports whether m is counted against the limit of records.
func (m jsonMsg) record() bool {
	switch m {
	case jsonLog, jsonSpan, jsonNumberPoint, jsonHistogramPoint, jsonExpPoint, jsonSummaryPoint:
		return true
	}
	return false
}

// message reads an object as the fields of m.
func (p *jsonParser) message(m jsonMsg) {
	if m.record() {
		if p.records++; p.records > p.maxRecords {
			p.err, p.i = errTooManyInJSON(p.maxRecords), len(p.b)
			return
		}
	}
	var seen uint64 // fields that came, by number
	before := p.records
	p.object(func(key []byte) {
		f, ok := jsonLookup(m, key)
		switch {
		case !ok:
			p.unknown++
			p.skip()
		case p.null():
		case f.repeated:
			p.list(f)
		case m == jsonMetric && f.kind == jsonMessage && p.records > before && seen&(1<<f.num) == 0:
			// Of a oneof the last member counts: the points of the first would be acked and lost.
			p.fail("a metric has points of two kinds")
		default:
			// A zero is not written, as in protobuf, unless it takes back an earlier value of the same key.
			p.field(m, f, f.presence || seen&(1<<f.num) != 0)
			seen |= 1 << f.num
		}
	})
	for _, num := range jsonAlways[m] {
		if p.err == nil && seen&(1<<num) == 0 {
			p.bytes(num, nil)
		}
	}
}

// maxSnakeKey is longer than any key in snake_case.
const maxSnakeKey = 64

// jsonLookup finds the field key of m; keys in snake_case are understood.
//
// SECURITY: a key may be as long as the body, and each of its parts takes 16 bytes: one of 60 MiB took a GiB.
func jsonLookup(m jsonMsg, key []byte) (jsonField, bool) {
	f, ok := jsonSchema[m][string(key)]
	if !ok && len(key) <= maxSnakeKey && bytes.IndexByte(key, '_') > 0 {
		var camel strings.Builder
		for i, word := range strings.Split(string(key), "_") {
			if i > 0 && word != "" {
				word = strings.ToUpper(word[:1]) + word[1:]
			}
			camel.WriteString(word)
		}
		f, ok = jsonSchema[m][camel.String()]
	}
	return f, ok
}

// field reads a value and writes it; a zero only if asked to.
func (p *jsonParser) field(m jsonMsg, f jsonField, zero bool) {
	switch f.kind {
	case jsonMessage:
		p.sized(f.num, func() { p.message(f.message) })
	case jsonString:
		if s := p.string(); len(s) > 0 || zero {
			p.bytes(f.num, s)
		}
	case jsonID:
		if id := p.hexID(); len(id) > 0 || zero {
			p.bytes(f.num, id)
		}
	case jsonBytes:
		if b := p.base64(); len(b) > 0 || zero {
			p.bytes(f.num, b)
		}
	case jsonProfileID:
		if id := p.profileID(); len(id) > 0 || zero {
			p.bytes(f.num, id)
		}
	case jsonPast:
		p.fail(errProfilesVersion.Error())
	default:
		if m == jsonAnyValue && f.kind == jsonInt64 {
			p.anyInt()
			return
		}
		if v := p.number(f); v != 0 || zero {
			p.tag(f.num, f.wire())
			p.out = f.append(p.out, v)
		}
	}
}

// list reads an array as a repeated field; numbers are packed.
func (p *jsonParser) list(f jsonField) {
	if f.kind == jsonMessage || f.kind == jsonString {
		p.array(func() {
			if p.null() {
				p.fail("null in a list")
				return
			}
			p.field(jsonRequest, f, true)
		})
		return
	}
	from := len(p.out)
	p.sized(f.num, func() {
		p.array(func() {
			if v := p.number(f); p.room(binary.MaxVarintLen64) {
				p.out = f.append(p.out, v)
			}
		})
	})
	if p.err == nil && p.out[len(p.out)-1] == 0 && len(p.out) == from+2 {
		p.out = p.out[:from] // an empty list is nothing
	}
}

// tag begins a field. A number may follow it.
func (p *jsonParser) tag(num uint64, wire uint64) {
	if p.room(2 * binary.MaxVarintLen64) {
		p.out = binary.AppendUvarint(p.out, num<<3|wire)
	}
}

func (p *jsonParser) bytes(num uint64, b []byte) {
	if !p.room(2*binary.MaxVarintLen64 + len(b)) {
		return
	}
	p.out = binary.AppendUvarint(p.out, num<<3|wireBytes)
	p.out = binary.AppendUvarint(p.out, uint64(len(b)))
	p.out = append(p.out, b...)
}

// sized writes a field whose length is known after write has written it.
func (p *jsonParser) sized(num uint64, write func()) {
	p.tag(num, wireBytes)
	if p.err != nil {
		return
	}
	p.out = append(p.out, 0)
	from := len(p.out)
	write()
	if !p.room(binary.MaxVarintLen64) {
		return
	}
	n := len(p.out) - from
	if n < 0x80 {
		p.out[from-1] = byte(n)
		return
	}
	var size [binary.MaxVarintLen64]byte
	more := binary.PutUvarint(size[:], uint64(n)) - 1
	p.out = append(p.out, size[:more]...)
	copy(p.out[from+more:], p.out[from:from+n])
	copy(p.out[from-1:], size[:more+1])
}

// anyInt reads the intValue of an AnyValue. JavaScript writes every whole number as one, also those beyond 64 bits: they
// become doubles, for one attribute must not cost the request.
func (p *jsonParser) anyInt() {
	text := p.numeral()
	if p.err != nil {
		return
	}
	neg, v, ok := parseInteger(text)
	if ok && fitsInt64(neg, v) {
		p.tag(3, wireVarint)
		p.out = binary.AppendUvarint(p.out, signed(neg, v))
		return
	}
	f, err := parseDouble(text)
	if err != nil || f != math.Trunc(f) {
		p.fail("not an integer")
		return
	}
	p.tag(4, wire64)
	p.out = binary.LittleEndian.AppendUint64(p.out, math.Float64bits(f))
}
