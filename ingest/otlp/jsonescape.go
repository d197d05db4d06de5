package otlp

import (
	"bytes"
	"strconv"
	"unicode/utf16"
	"unicode/utf8"
)

// escaped reads on in the string that began at from, at its first backslash.
func (p *jsonParser) escaped(from int) []byte {
	p.text = append(p.text[:0], p.b[from:p.i]...)
	for p.i < len(p.b) || p.need(1) {
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
		case p.need(1):
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
		p.need(len(`\u0000`))
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
	if !p.need(4) {
		return 0, false
	}
	v, err := strconv.ParseUint(string(p.b[p.i:p.i+4]), 16, 16)
	p.i += 4
	return rune(v), err == nil
}
