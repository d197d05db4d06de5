package oql

import (
	"errors"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/headgate-io/headgate/query/plan"
)

// What one query may cost before it is refused.
const (
	maxTextBytes = 16 << 10
	maxDepth     = 64   // of nested expressions
	maxNodes     = 1000 // expressions and operators
	maxStages    = 50
	maxSources   = 10 // with those of joins and unions
	maxInItems   = 1000
	maxColumns   = 200 // of one stage
	maxNameBytes = 128
	// MaxLimit is the greatest count that limit and top take.
	MaxLimit = 100_000
)

// parser reads tokens and builds the plan as it goes: names are resolved against the columns at that point.
type parser struct {
	lex  lexer
	tok  token // the current token
	vars Vars
	root *plan.Plan // of the whole query
	pipeline

	// Of the whole query, its subqueries included.
	sources, stages, nodes, depth int
}

// pipeline is the query or subquery at hand.
type pipeline struct {
	plan *plan.Plan
	cols []*plan.Column // visible columns, in order

	rows   bool         // each row is still a row of the source: no summarize, join or union so far
	time   *plan.Column // when each row was, nil if that is lost
	sorted bool         // a Sort stands since the last change of order
	order  []plan.Key   // order of rows that compare equal, and of all rows without a sort
}

// Parse returns the plan of text, which has no variables. The error is an *Error.
func Parse(text string) (*plan.Plan, error) { return ParseWith(text, nil) }

// ParseWith returns the plan of text with the values of its variables. The error is an *Error, also when a value does not
// fit where its variable stands. A variable that the text does not use is no error.
func ParseWith(text string, vars Vars) (*plan.Plan, error) {
	p := &parser{lex: lexer{src: text}, vars: vars}
	if len(text) > maxTextBytes {
		return nil, errorAt(text, 0, "the query is longer than %d bytes", maxTextBytes)
	}
	if !utf8.ValidString(text) {
		return nil, errorAt(text, invalidAt(text), "the query is not valid UTF-8")
	}
	if err := p.query(); err != nil {
		return nil, err
	}
	return p.plan, nil
}

func invalidAt(s string) int {
	for i, r := range s {
		if r == utf8.RuneError {
			if _, n := utf8.DecodeRuneInString(s[i:]); n == 1 {
				return i
			}
		}
	}
	return len(s)
}

func (p *parser) query() error {
	if err := p.advance(); err != nil {
		return err
	}
	return p.body(`"|" or the end of the query`, func() bool { return p.tok.kind == end })
}

// body reads a source and its stages up to where over.
func (p *parser) body(expected string, over func() bool) error {
	if err := p.source(); err != nil {
		return err
	}
	for !over() {
		if !p.isPunct("|") {
			return p.expected(expected)
		}
		if err := p.advance(); err != nil {
			return err
		}
		if p.stages++; p.stages > maxStages {
			return p.errorf("the query has more than %d stages", maxStages)
		}
		if err := p.stage(); err != nil {
			return err
		}
	}
	p.sortByDefault()
	p.plan.Output = p.cols
	return nil
}

// sourceNames are the closed list; nothing else can be read.
func sourceNames() []string {
	var names []string
	for _, s := range plan.Sources() {
		names = append(names, string(s))
	}
	return names
}

func (p *parser) source() error {
	at := p.tok
	if at.kind != word {
		return p.expected("a source (logs, spans or metrics)")
	}
	if p.sources++; p.sources > maxSources {
		return p.errorf("the query reads more than %d sources", maxSources)
	}
	if p.root == nil {
		p.root = plan.New(plan.Source(at.s))
		p.plan = p.root
	} else {
		p.plan = p.root.Sub(plan.Source(at.s))
	}
	if p.plan == nil {
		return p.errorAt(at, "unknown source %q, expected logs, spans or metrics%s", at.s, didYouMean(at.s, sourceNames()))
	}
	p.cols, p.rows, p.time = p.plan.Input, true, p.plan.Time()
	p.order = []plan.Key{{Col: p.time, Desc: true}}
	if err := p.advance(); err != nil {
		return err
	}
	if !p.isPunct("(") {
		return nil
	}
	if p.plan.Source != plan.Metrics {
		return p.errorf("only metrics takes names in parentheses")
	}
	if err := p.advance(); err != nil {
		return err
	}
	for {
		name, err := p.textLiteral("the name of a metric in double quotes")
		if err != nil {
			return err
		}
		if p.plan.MetricNames = append(p.plan.MetricNames, name); len(p.plan.MetricNames) > maxInItems {
			return p.errorf("more than %d names", maxInItems)
		}
		if p.isPunct(")") {
			return p.advance()
		}
		if !p.isPunct(",") {
			return p.expected(`"," or ")"`)
		}
		if err := p.advance(); err != nil {
			return err
		}
	}
}

// advance reads the next token.
func (p *parser) advance() error {
	t, err := p.lex.next()
	if err != nil {
		return err
	}
	p.tok = t
	return nil
}

// peek returns the token after the current one without reading it.
func (p *parser) peek() token {
	l := p.lex
	t, err := l.next()
	if err != nil {
		return token{kind: end}
	}
	return t
}

func (p *parser) isPunct(s string) bool { return p.tok.kind == punct && p.tok.s == s }
func (p *parser) isWord(s string) bool  { return p.tok.kind == word && p.tok.s == s }

// accept reads the word s if it is there.
func (p *parser) accept(s string) (bool, error) {
	if !p.isWord(s) {
		return false, nil
	}
	return true, p.advance()
}

// want reads the punctuation s or fails.
func (p *parser) want(s string) error {
	if !p.isPunct(s) {
		return p.expected(`"` + s + `"`)
	}
	return p.advance()
}

func (p *parser) textLiteral(what string) (string, error) {
	s, ok := p.tok.value.(string)
	if p.tok.kind != text || !ok {
		return "", p.expected(what)
	}
	return s, p.advance()
}

// textValue reads a text or a variable that holds one.
func (p *parser) textValue(what string) (string, error) {
	if p.tok.kind != variable {
		return p.textLiteral(what)
	}
	at := p.tok
	e, err := p.variable()
	if err != nil {
		return "", err
	}
	s, ok := e.Value.(string)
	if !ok {
		return "", p.errorAt(at, "expected %s, and %s is no text", what, at)
	}
	return s, nil
}

func (p *parser) errorAt(t token, format string, args ...any) error {
	return errorAt(p.lex.src, t.off, format, args...)
}

func (p *parser) errorf(format string, args ...any) error { return p.errorAt(p.tok, format, args...) }

func (p *parser) expected(what string) error {
	if p.isPunct("=") {
		return p.errorf(`expected %s, got "="; two values are compared with "=="`, what)
	}
	if p.tok.kind == variable {
		return p.errorf("expected %s, got %s; a variable stands for a value only", what, p.tok)
	}
	return p.errorf("expected %s, got %s", what, p.tok)
}

// at gives err the position of t unless it has one.
func (p *parser) at(t token, err error) error {
	var e *Error
	if errors.As(err, &e) {
		return err
	}
	return p.errorAt(t, "%s", err.Error())
}

// column finds a visible column by its name or another name of it.
func (p *parser) column(name string) *plan.Column { return columnOf(p.cols, name) }

func columnOf(cols []*plan.Column, name string) *plan.Column {
	for _, c := range cols {
		if c.Name == name {
			return c
		}
	}
	for _, c := range cols {
		if slices.Contains(c.Also, name) {
			return c
		}
	}
	return nil
}

// maxListed is how many columns an error lists.
const maxListed = 12

func (p *parser) unknownColumn(t token, name string) error {
	names := make([]string, 0, len(p.cols))
	for _, c := range p.cols {
		names = append(names, c.Name)
	}
	base, _, dotted := strings.Cut(name, ".")
	if p.rows && len(names) > maxListed {
		for _, f := range plan.Fields(p.plan.Source) {
			names = append(names, f.Also...)
		}
		if dotted {
			return p.errorAt(t, "unknown column %q in %s; an attribute is written attr[%q], resource[%q] or scope[%q]", name, p.plan.Source, name, name, name)
		}
		hint := didYouMean(name, names)
		if of := elsewhere(name); of != "" {
			hint = ", it is a column of " + of
		}
		if hint == "" && t.s == name {
			hint = "; a text is written in double quotes: \"" + name + "\""
		}
		return p.errorAt(t, "unknown column %q in %s%s", name, p.plan.Source, hint)
	}
	hint := didYouMean(name, names)
	if dotted && hint == "" {
		hint = ", and " + base + " is not among them"
	}
	if len(names) > maxListed {
		names = append(names[:maxListed], "…")
	}
	return p.errorAt(t, "unknown column %q: the columns here are %s%s", name, strings.Join(names, ", "), hint)
}

// elsewhere names the source that has a column of that name.
func elsewhere(name string) string {
	for _, s := range plan.Sources() {
		if slices.ContainsFunc(plan.Fields(s), func(f plan.Field) bool { return f.Name == name || slices.Contains(f.Also, name) }) {
			return string(s)
		}
	}
	return ""
}
