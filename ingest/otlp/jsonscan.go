package otlp

import (
	"bytes"
	"strconv"
	"unicode/utf16"
	"unicode/utf8"
)

func (p *jsonParser) space() {
	for p.i < len(p.b) {
		switch p.b[p.i] {
		case ' ', '\t', '\n', '\r':
			p.i++
		default:
			return
		}
	}
}

// next passes over c and reports whether it was there.
func (p *jsonParser) next(c byte) bool {
	p.space()
	if p.i < len(p.b) && p.b[p.i] == c {
		p.i++
		return true
	}
	return false
}

func (p *jsonParser) literal(s string) bool {
	p.space()
	if bytes.HasPrefix(p.b[p.i:], []byte(s)) {
		p.i += len(s)
		return true
	}
	return false
}

func (p *jsonParser) null() bool { return p.literal("null") }

func (p *jsonParser) bool() uint64 {
	switch {
	case p.literal("true"):
		return 1
	case p.literal("false"):
		return 0
	}
	p.fail("true or false is wanted")
	return 0
}

// enter begins an object or an array. A goroutine's stack overflow cannot be recovered from, so the depth is bounded.
func (p *jsonParser) enter(open byte, what string) bool {
	if !p.next(open) {
		p.fail(what)
		return false
	}
	if p.depth++; p.depth > maxJSONDepth {
		p.fail("nested too deep")
		return false
	}
	return true
}

// object reads an object and calls member behind the colon of each, to read its value. key is valid until then.
func (p *jsonParser) object(member func(key []byte)) {
	if !p.enter('{', "an object is wanted") {
		return
	}
	defer func() { p.depth-- }()
	if p.next('}') {
		return
	}
	for p.err == nil {
		key := p.string()
		if !p.next(':') {
			p.fail("a colon is wanted")
			return
		}
		member(key)
		if p.next('}') {
			return
		}
		if !p.next(',') {
			p.fail("a comma or the end of the object is wanted")
		}
	}
}

// array reads an array and calls element at each, to read it.
func (p *jsonParser) array(element func()) {
	if !p.enter('[', "an array is wanted") {
		return
	}
	defer func() { p.depth-- }()
	if p.next(']') {
		return
	}
	for p.err == nil {
		element()
		if p.next(']') {
			return
		}
		if !p.next(',') {
			p.fail("a comma or the end of the array is wanted")
		}
	}
}

// skip passes over a value of any kind.
func (p *jsonParser) skip() {
	p.space()
	if p.i == len(p.b) {
		p.fail("a value is wanted")
		return
	}
	switch p.b[p.i] {
	case '{':
		p.object(func([]byte) { p.skip() })
	case '[':
		p.array(p.skip)
	case '"':
		p.string()
	case 't', 'f':
		p.bool()
	case 'n':
		if !p.null() {
			p.fail("null is wanted")
		}
	default:
		p.numeral()
	}
}

// string reads a string. It is valid until the next one is read.
func (p *jsonParser) string() []byte {
	if !p.next('"') {
		p.fail("a string is wanted")
		return nil
	}
	from := p.i
	for ; p.i < len(p.b); p.i++ {
		switch c := p.b[p.i]; {
		case c == '"':
			p.i++
			return p.b[from : p.i-1]
		case c == '\\':
			return p.escaped(from)
		case c < ' ':
			p.fail("control character in a string")
			return nil
		}
	}
	p.fail("the string does not end")
	return nil
}

// escaped reads on in the string that began at from, at its first backslash.
func (p *jsonParser) escaped(from int) []byte {
	p.text = append(p.text[:0], p.b[from:p.i]...)
	for p.i < len(p.b) {
		c := p.b[p.i]
		p.i++
		switch {
		case c == '"':
			return p.text
		case c < ' ':
			p.fail("control character in a string")
			return nil
		case c != '\\':
			p.text = append(p.text, c)
		case p.i == len(p.b):
		default:
			p.escape()
		}
	}
	p.fail("the string does not end")
	return nil
}

var simpleEscapes = map[byte]byte{
	'"': '"', '\\': '\\', '/': '/', 'b': '\b', 'f': '\f', 'n': '\n', 'r': '\r', 't': '\t',
}

// escape reads what follows a backslash. Half of a surrogate pair becomes U+FFFD.
func (p *jsonParser) escape() {
	c := p.b[p.i]
	p.i++
	if plain, ok := simpleEscapes[c]; ok {
		p.text = append(p.text, plain)
		return
	}
	r, ok := p.hex4()
	if c != 'u' || !ok {
		p.fail("unknown escape")
		return
	}
	if utf16.IsSurrogate(r) {
		high := r
		r = utf8.RuneError
		if at := p.i; bytes.HasPrefix(p.b[p.i:], []byte(`\u`)) {
			p.i += 2
			low, ok := p.hex4()
			if pair := utf16.DecodeRune(high, low); ok && pair != utf8.RuneError {
				r = pair
			} else {
				p.i = at // the other one stands for itself
			}
		}
	}
	p.text = utf8.AppendRune(p.text, r)
}

func (p *jsonParser) hex4() (rune, bool) {
	if len(p.b)-p.i < 4 {
		return 0, false
	}
	v, err := strconv.ParseUint(string(p.b[p.i:p.i+4]), 16, 16)
	p.i += 4
	return rune(v), err == nil
}
