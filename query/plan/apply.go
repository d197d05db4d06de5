package plan

import (
	"fmt"
	"math"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
)

// maxPatternBytes bounds a regular expression; the engine compiles it once per thread.
const maxPatternBytes = 1000

// maxConditions bounds the operands of one and, one or.
const maxConditions = 1000

// rules says how each operator checks and completes its arguments. Ref and Lit have no rule: Use and Value make them.
var rules map[Op]func([]*Expr) (*Expr, error)

func init() {
	rules = map[Op]func([]*Expr) (*Expr, error){
		Get: mapKey(Get, String), Has: mapKey(Has, Bool),
		And: conditions(And, 2, maxConditions), Or: conditions(Or, 2, maxConditions), Not: conditions(Not, 1, 1),
		Eq: equal, Lt: ordered(Lt), Le: ordered(Le), Gt: ordered(Gt), Ge: ordered(Ge), In: in,
		Contains: search(Contains), StartsWith: search(StartsWith), EndsWith: search(EndsWith), Match: match, IsNull: isNull,
		Add: add, Sub: sub, Mul: mul, Div: div, Mod: mod, Neg: neg,
		ToFloat: toFloat, ToInt: toInt, ToString: toText,
		Lower: text(Lower, String, 1), Upper: text(Upper, String, 1), Trim: text(Trim, String, 1), Length: text(Length, Int, 1),
		Replace: text(Replace, String, 3), Concat: concat, Extract: extract, Substring: substring,
		Coalesce: coalesce, If: choose,
		AnyPair: anyPair, AnyText: anyText, Index: index,
		Abs: number(Abs), Floor: number(Floor), Ceil: number(Ceil), Round: round, Bin: bin, Now: now,
	}
}

// Apply makes the expression op(args…). The error says what the operator wants and what it got; it names no position.
func Apply(op Op, args ...*Expr) (*Expr, error) {
	rule, ok := rules[op]
	if !ok {
		return nil, fmt.Errorf("no operator %q", string(op))
	}
	return rule(args)
}

// node makes a node that is null when any argument is.
func node(op Op, t Type, args ...*Expr) *Expr {
	return &Expr{Op: op, Type: t, Args: args, Nullable: slices.ContainsFunc(args, func(a *Expr) bool { return a.Nullable })}
}

// truth makes a node of type Bool that is never null: a comparison with null is false.
func truth(op Op, args ...*Expr) *Expr { return &Expr{Op: op, Type: Bool, Args: args} }

func count(op Op, args []*Expr, low, high int) error {
	switch n := len(args); {
	case n >= low && n <= high:
		return nil
	case low == high:
		return fmt.Errorf("%s takes %s, got %d", op, Arguments(low), n)
	default:
		return fmt.Errorf("%s takes %d to %s, got %d", op, low, Arguments(high), n)
	}
}

// Arguments is the number n with its noun.
func Arguments(n int) string {
	if n == 1 {
		return "1 argument"
	}
	return strconv.Itoa(n) + " arguments"
}

func mapKey(op Op, t Type) func([]*Expr) (*Expr, error) {
	return func(args []*Expr) (*Expr, error) {
		if err := count(op, args, 2, 2); err != nil {
			return nil, err
		}
		_, ok := args[1].Value.(string)
		if args[0].Type != Map || !args[1].isLit() || !ok {
			return nil, fmt.Errorf("a key in brackets wants a map of attributes and a text, not %s", args[0].Type)
		}
		return &Expr{Op: op, Type: t, Args: args}, nil
	}
}

func conditions(op Op, low, high int) func([]*Expr) (*Expr, error) {
	return func(args []*Expr) (*Expr, error) {
		if err := count(op, args, low, high); err != nil {
			return nil, err
		}
		for i, a := range args {
			c, err := Condition(a)
			if err != nil {
				return nil, err
			}
			args[i] = c
		}
		return truth(op, args...), nil
	}
}

// Condition checks that e can stand where true or false is wanted, and makes null false.
func Condition(e *Expr) (*Expr, error) {
	if e.Type != Bool {
		return nil, fmt.Errorf("a condition is wanted here, not %s: compare it with something", describe(e))
	}
	if e.Nullable {
		return truth(Eq, e, Value(true)), nil
	}
	return e, nil
}

// describe names e's type for an error.
func describe(e *Expr) string {
	switch e.Type {
	case String:
		return "text"
	case Map:
		return "a map of attributes"
	case List:
		return "a list"
	case Null:
		return "null"
	default:
		return "a value of type " + e.Type.String()
	}
}

// asNumber reads e as a number: text that is none becomes null.
func asNumber(e *Expr) (*Expr, error) {
	switch {
	case e.numeric():
		return e, nil
	case e.Type == String:
		return toFloat([]*Expr{e})
	default:
		return nil, fmt.Errorf("a number is wanted here, not %s", describe(e))
	}
}

func asText(e *Expr) (*Expr, error) {
	if e.Type == String {
		return e, nil
	}
	return toText([]*Expr{e})
}

// literalText is the text that a literal number or truth value has as an attribute.
func literalText(v any) (string, bool) {
	switch v := v.(type) {
	case string:
		return v, true
	case int64:
		return strconv.FormatInt(v, 10), true
	case uint64:
		return strconv.FormatUint(v, 10), true
	case float64:
		return strconv.FormatFloat(v, 'g', -1, 64), true
	case bool:
		return strconv.FormatBool(v), true
	}
	return "", false
}

// pair brings two operands of a comparison to one comparable type. byText says that text and a number meet as text.
func pair(a, b *Expr, byText bool) (*Expr, *Expr, error) {
	if a.isLit() && !b.isLit() {
		y, x, err := pair(b, a, byText)
		return x, y, err
	}
	switch {
	case a.Type == Map || a.Type == List || b.Type == Map || b.Type == List:
		return nil, nil, fmt.Errorf("%s cannot be compared with %s", describe(a), describe(b))
	case b.Sample && b.Type == String && (a.Type == Severity || a.Type == Time):
		if a.Type == Time {
			return a, Value(time.Unix(0, 0).UTC()), nil
		}
		return a, severityValue(0), nil
	case a.numeric() && b.isLit() && b.Type == String:
		l, err := numberLiteral(a, b)
		return a, l, err
	case a.Type == Severity && b.isLit():
		l, err := severityLiteral(b)
		return a, l, err
	case a.Type == String && b.Type == String:
		l, err := fold(a, b)
		return a, l, err
	case a.Type == Time && b.Type == String && b.isLit():
		l, err := timeLiteral(b)
		return a, l, err
	case a.Type == b.Type, a.numeric() && b.numeric():
		return a, b, nil
	case byText && b.isLit() && a.Type == String:
		if s, ok := literalText(b.Value); ok {
			return a, Value(s), nil
		}
	case a.Type == String && b.numeric():
		n, err := asNumber(a)
		return n, b, err
	case b.Type == String && a.numeric():
		n, err := asNumber(b)
		return a, n, err
	}
	return nil, nil, fmt.Errorf("%s cannot be compared with %s", describe(a), describe(b))
}

// fold lowers a literal that is compared with a lower-case column and checks it against the closed list of its values.
func fold(a, b *Expr) (*Expr, error) {
	s, ok := b.Value.(string)
	if !ok || a.Op != Ref || !a.Col.Lower {
		return b, nil
	}
	s = strings.ToLower(s)
	if a.Col.Values != nil && !b.Sample && !slices.Contains(a.Col.Values, s) {
		return nil, fmt.Errorf("%s is never %q: it is one of %s", a.Col.Name, s, strings.Join(a.Col.Values, ", "))
	}
	return Value(s), nil
}

func severityLiteral(e *Expr) (*Expr, error) {
	switch v := e.Value.(type) {
	case string:
		if r, ok := SeverityRank(v); ok {
			return severityValue(r), nil
		}
		return nil, fmt.Errorf("no severity %q: it is one of %s", v, strings.Join(SeverityNames, ", "))
	case int64:
		return nil, fmt.Errorf("severity compares by name (severity >= \"error\"); the number %d compares with severity_number", v)
	}
	if e.Type == Severity {
		return e, nil
	}
	return nil, fmt.Errorf("severity compares by name, such as \"error\", not with %s", describe(e))
}

// numberLiteral reads a literal text that is compared with the number a.
func numberLiteral(a, b *Expr) (*Expr, error) {
	s := b.Value.(string)
	if b.Sample {
		return Value(0), nil
	}
	if a.Type == Duration {
		return nil, fmt.Errorf("a duration is written without quotes, as in 150ms or 5m, not as the text %q", s)
	}
	if n, err := strconv.ParseInt(s, 10, 64); err == nil {
		return Value(n), nil
	}
	if f, err := strconv.ParseFloat(s, 64); err == nil && !math.IsInf(f, 0) && !math.IsNaN(f) {
		return Value(f), nil
	}
	return nil, fmt.Errorf("%s is compared with numbers, and %q is none", describe(a), s)
}

var timeLayouts = []string{time.RFC3339Nano, "2006-01-02T15:04:05", "2006-01-02 15:04:05", "2006-01-02T15:04", "2006-01-02 15:04", "2006-01-02"}

// ParseTime reads a time as literals have it: RFC 3339, or a date with or without a time of day, then in UTC.
func ParseTime(s string) (time.Time, error) {
	for _, l := range timeLayouts {
		if t, err := time.Parse(l, s); err == nil {
			if y := t.UTC().Year(); y < 1970 || y > 2261 {
				return time.Time{}, fmt.Errorf("time %q is outside of the years 1970 to 2261", s)
			}
			return t.UTC(), nil
		}
	}
	return time.Time{}, fmt.Errorf("%.60q is not a time such as 2025-01-31T12:00:00Z", s)
}

func timeLiteral(e *Expr) (*Expr, error) {
	t, err := ParseTime(e.Value.(string))
	if err != nil {
		return nil, err
	}
	return Value(t), nil
}

func equal(args []*Expr) (*Expr, error) {
	if err := count(Eq, args, 2, 2); err != nil {
		return nil, err
	}
	a, b := args[0], args[1]
	if a.Type == Null {
		a, b = b, a
	}
	if b.Type == Null {
		return isNull([]*Expr{a})
	}
	a, b, err := pair(a, b, true)
	if err != nil {
		return nil, err
	}
	return truth(Eq, a, b), nil
}

func ordered(op Op) func([]*Expr) (*Expr, error) {
	return func(args []*Expr) (*Expr, error) {
		if err := count(op, args, 2, 2); err != nil {
			return nil, err
		}
		if args[0].Type == Bool || args[1].Type == Bool || args[0].Type == Null || args[1].Type == Null {
			return nil, fmt.Errorf("%s has no order: use == or !=", describe(args[0]))
		}
		a, b, err := pair(args[0], args[1], false)
		if err != nil {
			return nil, err
		}
		return truth(op, a, b), nil
	}
}

func isNull(args []*Expr) (*Expr, error) {
	if err := count(IsNull, args, 1, 1); err != nil {
		return nil, err
	}
	if a := args[0]; a.Op == Get {
		return truth(Not, truth(Has, a.Args...)), nil
	}
	return truth(IsNull, args...), nil
}

func search(op Op) func([]*Expr) (*Expr, error) {
	return func(args []*Expr) (*Expr, error) {
		if err := count(op, args, 2, 2); err != nil {
			return nil, err
		}
		if args[0].Type != String || args[1].Type != String {
			return nil, fmt.Errorf("%s looks for text in text, not for %s in %s", op, describe(args[1]), describe(args[0]))
		}
		return truth(op, args...), nil
	}
}

// pattern checks a literal regular expression. The engine's are RE2 as Go's are, so what Go compiles cannot fail there.
func pattern(e *Expr) error {
	s, ok := e.Value.(string)
	if !ok || len(s) > maxPatternBytes {
		return fmt.Errorf("a regular expression is a literal text of at most %d bytes", maxPatternBytes)
	}
	if strings.ContainsRune(s, 0) {
		return fmt.Errorf("a regular expression cannot hold a NUL byte")
	}
	if _, err := regexp.Compile(s); err != nil {
		return fmt.Errorf("regular expression: %s", strings.TrimPrefix(err.Error(), "error parsing regexp: "))
	}
	return nil
}

func match(args []*Expr) (*Expr, error) {
	if err := count(Match, args, 2, 2); err != nil {
		return nil, err
	}
	if args[0].Type != String {
		return nil, fmt.Errorf("=~ matches text, not %s", describe(args[0]))
	}
	if err := pattern(args[1]); err != nil {
		return nil, err
	}
	return truth(Match, args...), nil
}
