package engine

import "strings"

// The lexer knows just enough of ClickHouse's tokens to see where words stand: outside strings, quoted names, comments
// and brackets. It never decides what a statement may do; that is the engine's parser's work.

type tokenKind uint8

const (
	tokenEnd tokenKind = iota
	tokenWord
	tokenQuoted // a quoted name
	tokenOther  // literals and punctuation
)

type token struct {
	kind       tokenKind
	start, end int
	depth      int // of brackets around it
}

type lexer struct {
	text  string
	pos   int
	depth int
}

// next returns the next significant token; at the end of the text one of kind tokenEnd.
func (l *lexer) next() token {
	l.skipBlank()
	if l.pos >= len(l.text) {
		return token{tokenEnd, l.pos, l.pos, l.depth}
	}
	t := token{tokenOther, l.pos, l.pos + 1, l.depth}
	switch c := l.text[l.pos]; {
	case isWordStart(c):
		for t.end < len(l.text) && (isWordStart(l.text[t.end]) || isDigit(l.text[t.end])) {
			t.end++
		}
		t.kind = tokenWord
	case isDigit(c): // 1, 0x1f, 1e3: one piece, so that 1FORMAT is no word
		for t.end < len(l.text) && (isWordStart(l.text[t.end]) || isDigit(l.text[t.end])) {
			t.end++
		}
	case c == '\'':
		t.end = l.quoted(c)
	case c == '"' || c == '`':
		t.end, t.kind = l.quoted(c), tokenQuoted
	case c == '$':
		t.end = l.heredoc()
	case c == '(' || c == '[' || c == '{':
		l.depth++
	case c == ')' || c == ']' || c == '}':
		l.depth--
		t.depth = l.depth
	}
	l.pos = t.end
	return t
}

// skipBlank passes white space and comments.
func (l *lexer) skipBlank() {
	for l.pos < len(l.text) {
		rest := l.text[l.pos:]
		switch {
		case strings.IndexByte(" \t\n\r\f\v\x00", rest[0]) >= 0:
			l.pos++
		case strings.HasPrefix(rest, "--"), strings.HasPrefix(rest, "//"), strings.HasPrefix(rest, "# "), strings.HasPrefix(rest, "#!"):
			l.skipPast(rest, "\n")
		case strings.HasPrefix(rest, "/*"):
			l.skipPast(rest, "*/")
		default:
			return
		}
	}
}

func (l *lexer) skipPast(rest, end string) {
	if i := strings.Index(rest[1:], end); i >= 0 {
		l.pos += 1 + i + len(end)
		return
	}
	l.pos = len(l.text)
}

// quoted returns the end of the text quoted with q at the position: \ escapes, and a doubled q stands for itself.
func (l *lexer) quoted(q byte) int {
	for i := l.pos + 1; i < len(l.text); i++ {
		switch {
		case l.text[i] == '\\':
			i++
		case l.text[i] == q && i+1 < len(l.text) && l.text[i+1] == q:
			i++
		case l.text[i] == q:
			return i + 1
		}
	}
	return len(l.text)
}

// heredoc returns the end of $tag$…$tag$, or of the single $.
func (l *lexer) heredoc() int {
	rest := l.text[l.pos:]
	i := strings.IndexByte(rest[1:], '$')
	if i < 0 || strings.ContainsFunc(rest[1:i+1], func(r rune) bool { return r > 127 || !isWordStart(byte(r)) && !isDigit(byte(r)) }) {
		return l.pos + 1
	}
	tag := rest[:i+2]
	if j := strings.Index(rest[len(tag):], tag); j >= 0 {
		return l.pos + len(tag) + j + len(tag)
	}
	return l.pos + 1
}

func isWordStart(c byte) bool { return c == '_' || 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' }
func isDigit(c byte) bool     { return '0' <= c && c <= '9' }
