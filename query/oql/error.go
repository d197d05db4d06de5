package oql

import (
	"fmt"
	"strings"
	"unicode/utf8"
)

// Error is what is wrong with a query text and where.
type Error struct {
	Line, Column int    // from 1; columns count characters
	Msg          string // what is wrong and what was expected
	text         string // the line, for the caret
	off          int    // the byte of the text
}

// Error is one line: position and message.
func (e *Error) Error() string {
	return fmt.Sprintf("line %d column %d: %s", e.Line, e.Column, e.Msg)
}

// caretWidth bounds how much of a long line is shown around the caret, in characters.
const caretWidth = 60

// Caret returns the line with a caret under the column, as two lines of text. Control characters show as spaces; of a
// long line the part around the column is shown.
func (e *Error) Caret() string {
	line := []rune(strings.Map(func(r rune) rune {
		if r < ' ' || r == utf8.RuneError || r == 0x7f {
			return ' '
		}
		return r
	}, e.text))
	at := min(e.Column-1, len(line))
	from, to := max(0, at-caretWidth), min(len(line), at+caretWidth)
	lead := ""
	if from > 0 {
		lead = "…"
	}
	tail := ""
	if to < len(line) {
		tail = "…"
	}
	pad := strings.Repeat(" ", utf8.RuneCountInString(lead)+at-from)
	return lead + string(line[from:to]) + tail + "\n" + pad + "^"
}

// errorAt makes the error for byte offset off of text.
func errorAt(text string, off int, format string, args ...any) *Error {
	off = min(off, len(text))
	start := strings.LastIndexByte(text[:off], '\n') + 1
	end := len(text)
	if i := strings.IndexByte(text[off:], '\n'); i >= 0 {
		end = off + i
	}
	return &Error{
		Line:   strings.Count(text[:off], "\n") + 1,
		Column: utf8.RuneCountInString(text[start:off]) + 1,
		Msg:    fmt.Sprintf(format, args...),
		text:   text[start:end],
		off:    off,
	}
}
