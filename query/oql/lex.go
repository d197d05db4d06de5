package oql

import (
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"
)

type kind uint8

const (
	end kind = iota
	word
	punct
	text     // value: string
	number   // value: int64, uint64 or float64
	duration // value: time.Duration
	variable // s: the name
)

type token struct {
	kind  kind
	off   int    // byte offset of its first character
	end   int    // byte offset after its last character
	s     string // the characters of a word or punct
	value any
}

// String names the token for "expected x, got y".
func (t token) String() string {
	switch t.kind {
	case end:
		return "the end of the query"
	case text:
		return "a text"
	case number, duration:
		return "a number"
	case variable:
		return "the variable $" + t.s
	default:
		return strconv.Quote(t.s)
	}
}

// puncts are the operators, longer ones first. The last row is there only to be refused with advice.
var puncts = []string{
	"!=~", "==", "!=", "<=", ">=", "=~", "!~", "!in",
	"|", "(", ")", "[", "]", ",", ".", "=", "<", ">", "~", "+", "-", "*", "/", "%",
}

var advice = map[byte]string{
	';':  `a query is one pipeline: ";" separates nothing here`,
	'\'': `a text is written in double quotes: "like this"`,
	'&':  `write "and"`,
	'!':  `write "not"`,
	'{':  `expected an expression; braces are no part of the language`,
	'#':  `a comment starts with //`,
}

type lexer struct {
	src string
	at  int
}

func isLetter(c byte) bool { return c == '_' || c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' }
func isDigit(c byte) bool  { return c >= '0' && c <= '9' }

// next returns the next token. After the end it returns end tokens for ever.
func (l *lexer) next() (token, *Error) {
	l.skip()
	if l.at == len(l.src) {
		return token{kind: end, off: l.at, end: l.at}, nil
	}
	from := l.at
	c := l.src[l.at]
	switch {
	case isLetter(c):
		for l.at < len(l.src) && (isLetter(l.src[l.at]) || isDigit(l.src[l.at])) {
			l.at++
		}
		return token{kind: word, off: from, end: l.at, s: l.src[from:l.at]}, nil
	case isDigit(c):
		return l.number()
	case c == '"':
		return l.quoted()
	case c == '`':
		return l.raw()
	case c == '$':
		return l.variable()
	}
	if strings.HasPrefix(l.src[l.at:], "||") {
		return token{}, errorAt(l.src, from, `write "or"; a single "|" starts the next stage`)
	}
	for _, p := range puncts {
		if !strings.HasPrefix(l.src[l.at:], p) || p == "!in" && l.at+3 < len(l.src) && (isLetter(l.src[l.at+3]) || isDigit(l.src[l.at+3])) {
			continue
		}
		l.at += len(p)
		return token{kind: punct, off: from, end: l.at, s: p}, nil
	}
	if a, ok := advice[c]; ok {
		return token{}, errorAt(l.src, from, "%s", a)
	}
	r, _ := utf8.DecodeRuneInString(l.src[l.at:])
	return token{}, errorAt(l.src, from, "unexpected character %q", r)
}

// skip passes over space and comments.
func (l *lexer) skip() {
	for l.at < len(l.src) {
		switch {
		case strings.IndexByte(" \t\r\n", l.src[l.at]) >= 0:
			l.at++
		case strings.HasPrefix(l.src[l.at:], "//"):
			i := strings.IndexByte(l.src[l.at:], '\n')
			if i < 0 {
				l.at = len(l.src)
				return
			}
			l.at += i
		default:
			return
		}
	}
}

// variable reads $name or ${name}.
func (l *lexer) variable() (token, *Error) {
	from := l.at
	at := from + 1
	braced := strings.HasPrefix(l.src[at:], "{")
	if braced {
		at++
	}
	start := at
	for at < len(l.src) && (isLetter(l.src[at]) || at > start && isDigit(l.src[at])) {
		at++
	}
	if at == start {
		return token{}, errorAt(l.src, from, `"$" is followed by the name of a variable, as in $service or ${service}`)
	}
	name := l.src[start:at]
	if braced {
		if !strings.HasPrefix(l.src[at:], "}") {
			return token{}, errorAt(l.src, from, `the variable ${%s has no closing }`, name)
		}
		at++
	}
	l.at = at
	return token{kind: variable, off: from, end: at, s: name}, nil
}

func (l *lexer) digits() {
	for l.at < len(l.src) && isDigit(l.src[l.at]) {
		l.at++
	}
}

// number reads an integer, a float or, when a unit follows, a duration such as 5m or 1h30m.
func (l *lexer) number() (token, *Error) {
	from := l.at
	l.digits()
	float := false
	if l.at+1 < len(l.src) && l.src[l.at] == '.' && isDigit(l.src[l.at+1]) {
		float = true
		l.at++
		l.digits()
	}
	if e := l.at; e < len(l.src) && (l.src[e] == 'e' || l.src[e] == 'E') {
		e++
		if e < len(l.src) && (l.src[e] == '+' || l.src[e] == '-') {
			e++
		}
		if e < len(l.src) && isDigit(l.src[e]) {
			float = true
			l.at = e
			l.digits()
		}
	}
	if l.at < len(l.src) && (isLetter(l.src[l.at]) || strings.HasPrefix(l.src[l.at:], "µ")) {
		return l.duration(from)
	}
	tok := token{kind: number, off: from, end: l.at, s: l.src[from:l.at]}
	if !float {
		if n, err := strconv.ParseInt(tok.s, 10, 64); err == nil {
			tok.value = n
			return tok, nil
		}
		if n, err := strconv.ParseUint(tok.s, 10, 64); err == nil {
			tok.value = n
			return tok, nil
		}
		return token{}, errorAt(l.src, from, "the number does not fit into 64 bits")
	}
	f, err := strconv.ParseFloat(tok.s, 64)
	if err != nil || math.IsInf(f, 0) {
		return token{}, errorAt(l.src, from, "the number is too large")
	}
	tok.value = f
	return tok, nil
}

var units = map[string]time.Duration{
	"ns": time.Nanosecond, "us": time.Microsecond, "µs": time.Microsecond, "ms": time.Millisecond, "s": time.Second,
	"m": time.Minute, "h": time.Hour, "d": 24 * time.Hour, "w": 7 * 24 * time.Hour,
}

// duration reads on after the first number of a duration that starts at from.
func (l *lexer) duration(from int) (token, *Error) {
	sum, start := 0.0, from
	var whole time.Duration
	for {
		num := l.src[start:l.at]
		u := l.at
		for l.at < len(l.src) && (isLetter(l.src[l.at]) || l.src[l.at] >= utf8.RuneSelf) {
			l.at++
		}
		unit, ok := units[l.src[u:l.at]]
		if !ok {
			return token{}, errorAt(l.src, u, "unknown unit %q: a duration is 150ms, 5m, 2h, 7d (units ns us ms s m h d w)", l.src[u:l.at])
		}
		f, _ := strconv.ParseFloat(num, 64)
		sum += f * float64(unit)
		if n, err := strconv.ParseInt(num, 10, 64); err == nil && sum < math.MaxInt64/2 {
			whole += time.Duration(n) * unit
		} else {
			whole += time.Duration(math.Round(min(f*float64(unit), math.MaxInt64/2)))
		}
		if sum >= math.MaxInt64/2 {
			return token{}, errorAt(l.src, from, "the duration is too long")
		}
		if l.at == len(l.src) || !isDigit(l.src[l.at]) {
			return token{kind: duration, off: from, end: l.at, s: l.src[from:l.at], value: whole}, nil
		}
		start = l.at
		l.digits()
	}
}

func (l *lexer) raw() (token, *Error) {
	from := l.at
	i := strings.IndexByte(l.src[from+1:], '`')
	if i < 0 {
		return token{}, errorAt(l.src, from, "the text has no closing `")
	}
	l.at = from + i + 2
	return token{kind: text, off: from, end: l.at, value: l.src[from+1 : l.at-1]}, nil
}

// quoted reads "…" with the escapes \" \\ \n \t \xHH (a byte) and \uHHHH (a code point).
func (l *lexer) quoted() (token, *Error) {
	from := l.at
	var b strings.Builder
	for i := from + 1; i < len(l.src); {
		switch c := l.src[i]; c {
		case '"':
			l.at = i + 1
			return token{kind: text, off: from, end: l.at, value: b.String()}, nil
		case '\n':
			return token{}, errorAt(l.src, from, `the text has no closing "`)
		case '\\':
			n, err := unescape(&b, l.src[i:])
			if err != nil {
				return token{}, errorAt(l.src, i, "%v", err)
			}
			i += n
		default:
			b.WriteByte(c)
			i++
		}
	}
	return token{}, errorAt(l.src, from, `the text has no closing "`)
}

// unescape writes what the escape at the start of s stands for and returns its length.
func unescape(b *strings.Builder, s string) (int, error) {
	hex := func(n int) (rune, error) {
		if len(s) < 2+n {
			return 0, fmt.Errorf(`\%c wants %d hex digits`, s[1], n)
		}
		v, err := strconv.ParseUint(s[2:2+n], 16, 32)
		if err != nil {
			return 0, fmt.Errorf(`\%c wants %d hex digits`, s[1], n)
		}
		return rune(v), nil
	}
	if len(s) < 2 {
		return 0, fmt.Errorf("the escape is not finished")
	}
	switch s[1] {
	case '"', '\\':
		b.WriteByte(s[1])
	case 'n':
		b.WriteByte('\n')
	case 't':
		b.WriteByte('\t')
	case 'x':
		v, err := hex(2)
		if err != nil {
			return 0, err
		}
		b.WriteByte(byte(v))
		return 4, nil
	case 'u':
		v, err := hex(4)
		if err != nil {
			return 0, err
		}
		if v >= 0xd800 && v < 0xe000 {
			return 0, fmt.Errorf(`\u wants a code point, not half of a surrogate pair`)
		}
		b.WriteRune(v)
		return 6, nil
	default:
		return 0, fmt.Errorf(`unknown escape: the escapes are \" \\ \n \t \xHH \uHHHH, and a regular expression reads best in backquotes`)
	}
	return 2, nil
}
