package otlp

import "bytes"

// space passes over white space.
func (p *jsonParser) space() {
	if p.i == len(p.b) || p.b[p.i] <= ' ' {
		p.spaces()
	}
}

func (p *jsonParser) spaces() {
	for p.i < len(p.b) || p.need(1) {
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
	if p.need(len(s)); bytes.HasPrefix(p.b[p.i:], []byte(s)) {
		p.i += len(s)
		return true
	}
	return false
}

func (p *jsonParser) null() bool {
	p.space()
	return p.i < len(p.b) && p.b[p.i] == 'n' && p.literal("null")
}

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
		if p.i < len(p.b) && p.b[p.i] == ':' {
			p.i++
		} else { // what is read before the colon may take the key's place
			p.text = append(p.text[:0], key...)
			if key = p.text; !p.next(':') {
				p.fail("a colon is wanted")
				return
			}
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

// string reads a string. It is valid until more is read.
func (p *jsonParser) string() []byte {
	if !p.next('"') {
		p.fail("a string is wanted")
		return nil
	}
	for from := p.i; ; {
		b, i := p.b, p.i
		for i < len(b) && jsonText[b[i]] {
			i++
		}
		if p.i = i; i == len(b) {
			moved, more := p.fill(from)
			if from -= moved; more {
				continue
			}
			p.fail("the string does not end")
			return nil
		}
		switch b[i] {
		case '"':
			p.i++
			return b[from:i]
		case '\\':
			return p.escaped(from)
		}
		p.fail("control character in a string")
		return nil
	}
}

// jsonText are the bytes that stand for themselves in a string.
var jsonText = func() (text [256]bool) {
	for c := range text {
		text[c] = c >= ' ' && c != '"' && c != '\\'
	}
	return text
}()
