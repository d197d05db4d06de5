package plan

import (
	"fmt"
	"slices"
)

// text is a function whose arguments are all read as text.
func text(op Op, t Type, n int) func([]*Expr) (*Expr, error) {
	return func(args []*Expr) (*Expr, error) {
		if err := count(op, args, n, n); err != nil {
			return nil, err
		}
		out, err := texts(args)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", op, err)
		}
		return node(op, t, out...), nil
	}
}

func texts(args []*Expr) ([]*Expr, error) {
	out := make([]*Expr, len(args))
	for i, a := range args {
		t, err := asText(a)
		if err != nil {
			return nil, err
		}
		out[i] = t
	}
	return out, nil
}

func toText(args []*Expr) (*Expr, error) {
	if err := count(ToString, args, 1, 1); err != nil {
		return nil, err
	}
	switch a := args[0]; a.Type {
	case String:
		return a, nil
	case List, Null:
		return nil, fmt.Errorf("text is wanted here, not %s", describe(a))
	default:
		return node(ToString, String, a), nil
	}
}

func concat(args []*Expr) (*Expr, error) {
	if err := count(Concat, args, 1, 20); err != nil {
		return nil, err
	}
	out, err := texts(args)
	if err != nil {
		return nil, fmt.Errorf("concat: %w", err)
	}
	return node(Concat, String, out...), nil
}

func extract(args []*Expr) (*Expr, error) {
	if err := count(Extract, args, 2, 2); err != nil {
		return nil, err
	}
	if err := pattern(args[0]); err != nil {
		return nil, fmt.Errorf("extract: %w", err)
	}
	t, err := asText(args[1])
	if err != nil {
		return nil, fmt.Errorf("extract: %w", err)
	}
	return node(Extract, String, args[0], t), nil
}

func substring(args []*Expr) (*Expr, error) {
	if err := count(Substring, args, 2, 3); err != nil {
		return nil, err
	}
	t, err := asText(args[0])
	if err != nil {
		return nil, fmt.Errorf("substring: %w", err)
	}
	out := []*Expr{t}
	for _, a := range args[1:] {
		if n, ok := a.Value.(int64); !ok || n < 0 || n > 1<<30 {
			return nil, fmt.Errorf("substring wants a start from 0 and a length as literal numbers")
		}
		out = append(out, a)
	}
	return node(Substring, String, out...), nil
}

// common brings branches to one type, nulls aside. Where numbers are among them, text such as an attribute is read as a
// number; a literal text is not.
func common(op Op, args []*Expr) (Type, []*Expr, error) {
	t := Null
	out := slices.Clone(args)
	if slices.ContainsFunc(args, (*Expr).numeric) {
		for i, a := range out {
			if a.Type != String || a.isLit() {
				continue
			}
			n, err := toFloat([]*Expr{a})
			if err != nil {
				return Null, nil, err
			}
			out[i] = n
		}
	}
	for _, a := range out {
		switch {
		case a.Type == Null || a.Type == t:
		case t == Null:
			t = a.Type
		case t.numeric() && a.numeric():
			t = sumType(t, a.Type)
		default:
			return Null, nil, fmt.Errorf("%s: the values are of different types, %s and %s", op, t, a.Type)
		}
	}
	if t == Null || t == Map || t == List {
		return Null, nil, fmt.Errorf("%s works on single values, not on %s", op, t)
	}
	return t, out, nil
}

// coalesce is its first argument that is neither null nor empty text.
func coalesce(args []*Expr) (*Expr, error) {
	if err := count(Coalesce, args, 1, 20); err != nil {
		return nil, err
	}
	t, args, err := common(Coalesce, args)
	if err != nil {
		return nil, err
	}
	e := node(Coalesce, t, args...)
	e.Nullable = t == String || args[len(args)-1].Nullable
	return e, nil
}

func choose(args []*Expr) (*Expr, error) {
	if err := count(If, args, 3, 3); err != nil {
		return nil, err
	}
	c, err := Condition(args[0])
	if err != nil {
		return nil, fmt.Errorf("iff: %w", err)
	}
	t, branches, err := common(If, args[1:])
	if err != nil {
		return nil, err
	}
	return node(If, t, append([]*Expr{c}, branches...)...), nil
}
