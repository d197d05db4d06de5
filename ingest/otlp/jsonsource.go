package otlp

import (
	"errors"
	"io"
	"slices"
)

// A JSONSource is where AppendJSON has a text from, and room for what it becomes.
type JSONSource struct {
	// Text is the text, or its beginning.
	Text []byte
	// More returns kept, the end of what it or Text was the last time, and what follows it; io.EOF where nothing does. It may
	// move kept: the bytes before are not looked at again. nil: Text is all there is.
	More func(kept []byte) ([]byte, error)
	// Grow returns dst with room for n bytes more. nil takes them from the heap.
	Grow func(dst []byte, n int) ([]byte, error)
}

// fill gets what follows the text that is there, all of which was read. What lies before kept is of no more use. It reports
// by how much the rest has moved, and whether there is more of it.
func (p *jsonParser) fill(kept int) (moved int, more bool) {
	if p.from.More == nil || p.err != nil {
		return 0, false
	}
	had := len(p.b) - kept
	b, err := p.from.More(p.b[kept:])
	if err != nil && !errors.Is(err, io.EOF) {
		p.err, p.i = err, len(p.b)
		return 0, false
	}
	if err != nil {
		p.from.More = nil
	}
	p.b = b
	p.i -= kept
	p.passed += kept
	return kept, len(b) > had
}

// need reports whether n bytes are there to be read.
func (p *jsonParser) need(n int) bool {
	for len(p.b)-p.i < n {
		if _, more := p.fill(p.i); !more {
			return false
		}
	}
	return true
}

// room reports whether n bytes more may be written.
func (p *jsonParser) room(n int) bool {
	if p.err == nil && n > cap(p.out)-len(p.out) {
		p.grow(n)
	}
	return p.err == nil
}

func (p *jsonParser) grow(n int) {
	if p.from.Grow == nil {
		p.out = slices.Grow(p.out, n)
		return
	}
	out, err := p.from.Grow(p.out, n)
	if err != nil {
		p.err, p.i = err, len(p.b)
		return
	}
	p.out = out
}
