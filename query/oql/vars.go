package oql

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"time"
	"unicode/utf8"

	"github.com/headgate-io/headgate/query/plan"
)

// VarType is the type of a variable. The list is closed.
type VarType string

const (
	VarString   VarType = "string"
	VarInt      VarType = "int"
	VarFloat    VarType = "float"
	VarBool     VarType = "bool"
	VarDuration VarType = "duration" // "5m"
	VarTime     VarType = "datetime" // "2025-01-31T12:00:00Z"
	VarList     VarType = "list"     // texts, numbers or truth values, for in
)

// VarTypes lists all types of variables.
var VarTypes = []VarType{VarString, VarInt, VarFloat, VarBool, VarDuration, VarTime, VarList}

// Value is the value of a variable: made by VarType.Read or VarType.Sample, it cannot be changed. Its zero value is none.
type Value struct {
	typ    VarType
	values []any // literals that plan.Value takes; one unless the type is VarList
	sample bool
}

// Vars are the values of variables by name, without the dollar.
//
// SECURITY: a value becomes a literal of the plan after the text is parsed, and so a bound parameter of the statement. It
// can never be read as a column, a stage, a source or any other part of a query, whatever it holds.
type Vars map[string]Value

// Read reads a value of type t from JSON: a duration and a datetime are texts, a list is an array of 1 to 1,000 texts,
// numbers or truth values. The error says what is wanted.
func (t VarType) Read(raw []byte) (Value, error) {
	dec := json.NewDecoder(bytes.NewReader(raw))
	dec.UseNumber()
	var v any
	if err := dec.Decode(&v); err != nil || !json.Valid(raw) {
		return Value{}, fmt.Errorf("not a JSON value")
	}
	if t != VarList {
		lit, err := t.literal(v)
		return Value{typ: t, values: []any{lit}}, err
	}
	items, ok := v.([]any)
	if !ok || len(items) < 1 || len(items) > maxInItems {
		return Value{}, fmt.Errorf("a list is wanted: an array of 1 to %d values", maxInItems)
	}
	out := Value{typ: t}
	for i, item := range items {
		lit, err := itemType(item).literal(item)
		if err != nil {
			return Value{}, fmt.Errorf("value %d of the list: %w", i+1, err)
		}
		out.values = append(out.values, lit)
	}
	return out, nil
}

// itemType is the type of an item of a list.
func itemType(v any) VarType {
	switch v := v.(type) {
	case json.Number:
		if _, err := strconv.ParseInt(v.String(), 10, 64); err == nil {
			return VarInt
		}
		return VarFloat
	case bool:
		return VarBool
	}
	return VarString
}

// literal makes of a decoded JSON value the literal that a variable of type t stands for.
func (t VarType) literal(v any) (any, error) {
	s, isText := v.(string)
	n, isNumber := v.(json.Number)
	switch t {
	case VarString:
		if isText && len(s) <= maxTextBytes && utf8.ValidString(s) {
			return s, nil
		}
		return nil, fmt.Errorf("a text of at most %d bytes is wanted", maxTextBytes)
	case VarInt:
		if i, err := strconv.ParseInt(n.String(), 10, 64); isNumber && err == nil {
			return i, nil
		}
		return nil, fmt.Errorf("a whole number of 64 bits is wanted")
	case VarFloat:
		if f, err := n.Float64(); isNumber && err == nil {
			return f, nil
		}
		return nil, fmt.Errorf("a number is wanted")
	case VarBool:
		if b, ok := v.(bool); ok {
			return b, nil
		}
		return nil, fmt.Errorf("true or false is wanted")
	case VarDuration:
		if !isText {
			return nil, fmt.Errorf("a duration such as \"5m\" is wanted")
		}
		return ParseDuration(s)
	case VarTime:
		if !isText {
			return nil, fmt.Errorf("a time such as \"2025-01-31T12:00:00Z\" is wanted")
		}
		return plan.ParseTime(s)
	}
	return nil, fmt.Errorf("no type of variables %q", string(t))
}

// Sample is a value for checking a text before its variable has one: what parses with it parses with every value of the
// type that fits the column it is compared with. A plan made with it is not meant to be run.
func (t VarType) Sample() Value {
	samples := map[VarType]any{
		VarString: "", VarInt: int64(1), VarFloat: 1.0, VarBool: true, VarDuration: time.Minute, VarTime: time.Unix(0, 0).UTC(), VarList: nil,
	}
	return Value{typ: t, values: []any{samples[t]}, sample: true}
}

// Variables returns the names of the variables that text uses, each once, in the order of the text. It needs no valid query:
// it stops at the first character that is no part of the language.
func Variables(text string) []string {
	var names []string
	l := lexer{src: text}
	for {
		t, err := l.next()
		if err != nil || t.kind == end {
			return names
		}
		if t.kind == variable && !slices.Contains(names, t.s) {
			names = append(names, t.s)
		}
	}
}

// bound returns the value of the variable at.
func (p *parser) bound(at token) (Value, error) {
	v, ok := p.vars[at.s]
	if !ok || len(v.values) == 0 {
		if len(p.vars) == 0 {
			return v, p.errorAt(at, "unknown variable $%s: this query has no variables", at.s)
		}
		return v, p.errorAt(at, "unknown variable $%s%s", at.s, didYouMean(at.s, slices.Sorted(maps.Keys(p.vars))))
	}
	return v, nil
}

func (v Value) literals() []*plan.Expr {
	out := make([]*plan.Expr, len(v.values))
	for i, lit := range v.values {
		if out[i] = plan.Value(lit); v.sample {
			out[i] = plan.SampleOf(lit)
		}
	}
	return out
}

// variable reads a variable that stands for one value.
func (p *parser) variable() (*plan.Expr, error) {
	v, err := p.bound(p.tok)
	if err != nil {
		return nil, err
	}
	if v.typ == VarList {
		return nil, p.errorf("the variable $%s is a list, which stands after in", p.tok.s)
	}
	return v.literals()[0], p.advance()
}

// list reads a variable that stands for one value or several.
func (p *parser) list() ([]*plan.Expr, error) {
	v, err := p.bound(p.tok)
	if err != nil {
		return nil, err
	}
	return v.literals(), p.advance()
}
