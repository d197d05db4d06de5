package plan

import (
	"fmt"
	"slices"
)

// in checks value in (literal, …): args are the value and the literals, the result holds them as one list literal.
func in(args []*Expr) (*Expr, error) {
	if len(args) < 2 {
		return nil, fmt.Errorf("in wants at least one literal in its parentheses")
	}
	x := args[0]
	items := make([]*Expr, 0, len(args)-1)
	for _, l := range args[1:] {
		if l.Sample && l.Type == Null {
			items = append(items, zero(x.Type))
			continue
		}
		if !l.isLit() || l.Type == Null || l.Type == List {
			return nil, fmt.Errorf("in takes literals only")
		}
		_, l, err := pair(x, l, true)
		if err != nil {
			return nil, err
		}
		items = append(items, l)
	}
	list, err := listOf(x.Type, items)
	if err != nil {
		return nil, err
	}
	return truth(In, x, list), nil
}

// zero is the literal that a list of unknown values holds in the place of those for a value of type t.
func zero(t Type) *Expr {
	if t == String {
		return Value("")
	}
	return Value(0)
}

// listOf packs literals that were paired with a value of type t into one.
func listOf(t Type, items []*Expr) (*Expr, error) {
	switch t {
	case String:
		return pack[string](items), nil
	case Severity:
		return pack[int64](items), nil
	case Int, Duration, Float:
		if slices.ContainsFunc(items, func(e *Expr) bool { _, ok := integer(e.Value); return !ok }) {
			out := make([]float64, len(items))
			for i, e := range items {
				out[i] = toFloat64(e.Value)
			}
			return Value(out), nil
		}
		out := make([]int64, len(items))
		for i, e := range items {
			out[i], _ = integer(e.Value)
		}
		return Value(out), nil
	default:
		return nil, fmt.Errorf("in works on text, numbers and severities, not on %s", t)
	}
}

func pack[T any](items []*Expr) *Expr {
	out := make([]T, len(items))
	for i, e := range items {
		out[i] = e.Value.(T)
	}
	return Value(out)
}

// anyPair looks for a pair in a list of maps, such as the attributes of a span's events.
func anyPair(args []*Expr) (*Expr, error) {
	if err := count(AnyPair, args, 3, 3); err != nil {
		return nil, err
	}
	for _, a := range args[1:] {
		if _, ok := a.Value.(string); !ok {
			return nil, fmt.Errorf("a pair is two literal texts, not %s", describe(a))
		}
	}
	if args[0].Type != List {
		return nil, fmt.Errorf("a pair is looked for in a list of maps, not in %s", describe(args[0]))
	}
	return truth(AnyPair, args...), nil
}

// anyText looks for a text in a list of texts, such as the names of a span's events.
func anyText(args []*Expr) (*Expr, error) {
	if err := count(AnyText, args, 2, 2); err != nil {
		return nil, err
	}
	if _, ok := args[1].Value.(string); args[0].Type != List || !ok {
		return nil, fmt.Errorf("a literal text is looked for in a list of texts")
	}
	return truth(AnyText, args...), nil
}

// index is the place of a text in a literal list of texts.
func index(args []*Expr) (*Expr, error) {
	if err := count(Index, args, 2, 2); err != nil {
		return nil, err
	}
	if _, ok := args[1].Value.([]string); args[0].Type != String || !ok {
		return nil, fmt.Errorf("index looks up text in a literal list of texts")
	}
	return node(Index, Int, args...), nil
}
