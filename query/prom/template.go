package prom

import (
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/promql/parser"

	"github.com/headgate-io/headgate/query/oql"
)

// template is a PromQL text whose variables, $name or ${name}, were replaced by placeholders: literals of the kind that a value of the
// variable's type is. What may be bound, and where, bind says.
type template struct {
	source string
	text   string
	places []*place // in the order of the text
}

// place is one use of a variable.
type place struct {
	name    string
	value   oql.Value
	off     int           // of the dollar, in source
	length  int           // in source
	at, end int           // of the placeholder, in text
	mark    string        // what the placeholder is, if a text
	span    time.Duration // what the placeholder is, if a duration
	bound   int           // how many literals of the tree it has become: one, in the end
}

// newTemplate replaces the variables of source. Errors are *oql.Error.
func newTemplate(source string, vars oql.Vars) (*template, error) {
	t := &template{source: source}
	var out strings.Builder
	nonce := strings.ToLower(rand.Text())
	matches := false // the last thing was an operator that a matcher may have
	for i := 0; i < len(source); {
		n := 1
		switch c := source[i]; c {
		case '#':
			if n = strings.IndexByte(source[i:], '\n'); n < 0 {
				n = len(source) - i
			}
		case '"', '\'', '`':
			n = quoted(source[i:])
			if err := misquoted(source, i, n, vars); matches && err != nil {
				return nil, err
			}
		case '$':
			p, err := t.place(i, vars)
			if err != nil {
				return nil, err
			}
			out.WriteByte(' ') // it is a word of its own, whatever it is next to
			p.at = out.Len()
			out.WriteString(p.placeholder(nonce, len(t.places)))
			p.end = out.Len()
			out.WriteByte(' ')
			t.places = append(t.places, p)
			i += p.length
			continue
		}
		out.WriteString(source[i : i+n])
		if c := source[i]; !strings.ContainsRune(" \t\r\n", rune(c)) {
			matches = c == '=' || c == '~'
		}
		i += n
	}
	t.text = out.String()
	return t, nil
}

// quoted is how long the string is that s begins with, up to the end of s for one without an end.
func quoted(s string) int {
	for i := 1; i < len(s); i++ {
		switch {
		case s[i] == s[0]:
			return i + 1
		case s[i] == '\\' && s[0] != '`':
			i++
		}
	}
	return len(s)
}

// misquoted refuses a matcher's string that holds a variable: it would be compared with, not its value.
func misquoted(source string, at, length int, vars oql.Vars) error {
	text := source[at : at+length]
	for i := range len(text) {
		if name, _ := variableAt(text[i:]); name != "" {
			if _, known := vars[name]; known {
				return oql.ErrorAt(source, at+i, "the variable $%s stands for the whole text: write $%s without quotes", name, name)
			}
		}
	}
	return nil
}

// variableAt returns the name of the variable that s begins with and how long it is written, "" for none.
func variableAt(s string) (name string, length int) {
	if s == "" || s[0] != '$' {
		return "", 0
	}
	braced := strings.HasPrefix(s, "${")
	from := 1
	if braced {
		from = 2
	}
	n := from
	for n < len(s) && (s[n] == '_' || s[n] >= 'a' && s[n] <= 'z' || s[n] >= 'A' && s[n] <= 'Z' || n > from && s[n] >= '0' && s[n] <= '9') {
		n++
	}
	switch {
	case n == from, braced && (n == len(s) || s[n] != '}'):
		return "", 0
	case braced:
		return s[from:n], n + 1
	}
	return s[from:n], n
}

// place reads the variable at a byte of the source.
func (t *template) place(off int, vars oql.Vars) (*place, error) {
	name, length := variableAt(t.source[off:])
	if name == "" {
		return nil, oql.ErrorAt(t.source, off, "a variable is wanted: $name or ${name}")
	}
	v, ok := vars[name]
	if !ok {
		known := "this query has no variables"
		if len(vars) > 0 {
			known = "there are $" + strings.Join(slices.Sorted(maps.Keys(vars)), ", $")
		}
		return nil, oql.ErrorAt(t.source, off, "unknown variable $%s: %s", name, known)
	}
	switch v.Type() {
	case oql.VarString, oql.VarList, oql.VarInt, oql.VarFloat, oql.VarDuration:
		return &place{name: name, value: v, off: off, length: length}, nil
	}
	return nil, oql.ErrorAt(t.source, off, "the variable $%s is a %s, of which PromQL has none", name, v.Type())
}

// placeholder returns a literal that stands for a value of the variable's type. Texts and durations, which the tree knows no place of,
// are told from all others by what they are; numbers by where they are.
func (p *place) placeholder(nonce string, n int) string {
	switch p.value.Type() {
	case oql.VarString, oql.VarList:
		p.mark = fmt.Sprintf("v%dx%s", n, nonce)
		return `"` + p.mark + `"`
	case oql.VarDuration:
		p.span = unlikely()
		return inSeconds(p.span)
	}
	return "1"
}

// unlikely returns a duration that nobody writes: a century, more or less. The parser reads durations as float64 seconds; whole ones of
// 32 bits stay exact.
func unlikely() time.Duration {
	var b [4]byte
	_, _ = rand.Read(b[:]) // never fails
	return time.Duration(1<<31|binary.BigEndian.Uint32(b[:])) * time.Second
}

// unread makes of an error of the parser one that points into the source.
func (t *template) unread(err error) error {
	var list parser.ParseErrors
	var one *parser.ParseErr
	switch {
	case errors.As(err, &list) && len(list) > 0:
		one = &list[0]
	case !errors.As(err, &one):
		return oql.ErrorAt(t.source, 0, "%s", t.inWords(err.Error()))
	}
	at := min(max(int(one.PositionRange.Start), 0), len(t.text))
	off := at
	for _, p := range t.places {
		switch {
		case at >= p.end+1:
			off = at - (p.end + 1) + p.off + p.length
		case at >= p.at-1:
			off = p.off
		}
	}
	return oql.ErrorAt(t.source, off, "%s", t.inWords(one.Err.Error()))
}

func inSeconds(d time.Duration) string { return strconv.FormatInt(int64(d.Seconds()), 10) + "s" }

// inWords names variables where a text has their placeholders, of which errors quote the first ten characters or all.
func (t *template) inWords(text string) string {
	const quoted = 10
	for _, p := range t.places {
		literal := inSeconds(p.span)
		forms := []string{strconv.Quote(literal[:min(quoted, len(literal))]) + "...", literal, model.Duration(p.span).String()}
		if p.mark != "" {
			literal = `"` + p.mark + `"`
			forms = []string{strconv.Quote(literal), strconv.Quote(literal[:quoted]) + "...", literal, p.mark}
		}
		for _, form := range forms {
			if p.mark != "" || p.span != 0 {
				text = strings.ReplaceAll(text, form, "$"+p.name)
			}
		}
	}
	return text
}
