package plan

import (
	"fmt"
	"time"
)

// integer returns v as an int64 if it is a whole literal that fits.
func integer(v any) (int64, bool) {
	switch v := v.(type) {
	case int64:
		return v, true
	case time.Duration:
		return int64(v), true
	}
	return 0, false
}

func toFloat64(v any) float64 {
	switch v := v.(type) {
	case uint64:
		return float64(v)
	case float64:
		return v
	}
	n, _ := integer(v)
	return float64(n)
}

// numbers reads all args as numbers.
func numbers(op Op, args []*Expr, n int) ([]*Expr, error) {
	if err := count(op, args, n, n); err != nil {
		return nil, err
	}
	out := make([]*Expr, len(args))
	for i, a := range args {
		e, err := asNumber(a)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", op, err)
		}
		out[i] = e
	}
	return out, nil
}

// sumType is the type of a sum or difference of numbers.
func sumType(a, b Type) Type {
	switch {
	case a == Float || b == Float:
		return Float
	case a == Duration || b == Duration:
		return Duration
	default:
		return Int
	}
}

func add(args []*Expr) (*Expr, error) {
	if len(args) == 2 && args[1].Type == Time {
		args = []*Expr{args[1], args[0]}
	}
	if len(args) == 2 && args[0].Type == Time {
		if args[1].Type != Duration {
			return nil, fmt.Errorf("+ adds a duration such as 5m to a time, not %s", describe(args[1]))
		}
		return node(Add, Time, args...), nil
	}
	n, err := numbers(Add, args, 2)
	if err != nil {
		return nil, err
	}
	return node(Add, sumType(n[0].Type, n[1].Type), n...), nil
}

func sub(args []*Expr) (*Expr, error) {
	if len(args) == 2 && args[0].Type == Time {
		switch args[1].Type {
		case Time:
			return node(Sub, Duration, args...), nil
		case Duration:
			return node(Sub, Time, args...), nil
		}
		return nil, fmt.Errorf("- takes a time or a duration such as 5m from a time, not %s", describe(args[1]))
	}
	n, err := numbers(Sub, args, 2)
	if err != nil {
		return nil, err
	}
	return node(Sub, sumType(n[0].Type, n[1].Type), n...), nil
}

func mul(args []*Expr) (*Expr, error) {
	n, err := numbers(Mul, args, 2)
	if err != nil {
		return nil, err
	}
	t := sumType(n[0].Type, n[1].Type)
	if n[0].Type == Duration && n[1].Type == Duration {
		t = Float
	}
	return node(Mul, t, n...), nil
}

// div is always a float, and null when the divisor is zero.
func div(args []*Expr) (*Expr, error) {
	n, err := numbers(Div, args, 2)
	if err != nil {
		return nil, err
	}
	e := node(Div, Float, n...)
	e.Nullable = true
	return e, nil
}

// mod is null when the divisor is zero.
func mod(args []*Expr) (*Expr, error) {
	if err := count(Mod, args, 2, 2); err != nil {
		return nil, err
	}
	out := make([]*Expr, 2)
	for i, a := range args {
		if a.Type == Float || a.Type == String {
			c, err := toInt([]*Expr{a})
			if err != nil {
				return nil, err
			}
			a = c
		}
		if !a.numeric() {
			return nil, fmt.Errorf("%%: a number is wanted here, not %s", describe(a))
		}
		out[i] = a
	}
	e := node(Mod, sumType(out[0].Type, out[1].Type), out...)
	e.Nullable = true
	return e, nil
}

func neg(args []*Expr) (*Expr, error) {
	n, err := numbers(Neg, args, 1)
	if err != nil {
		return nil, err
	}
	switch v := n[0].Value.(type) {
	case int64:
		return Value(-v), nil
	case float64:
		return Value(-v), nil
	case time.Duration:
		return Value(-v), nil
	case uint64:
		if v == 1<<63 {
			return Value(int64(-1 << 63)), nil
		}
		return nil, fmt.Errorf("-%d does not fit into 64 bits", v)
	}
	return node(Neg, n[0].Type, n...), nil
}

// number is a function of one number that keeps its type.
func number(op Op) func([]*Expr) (*Expr, error) {
	return func(args []*Expr) (*Expr, error) {
		n, err := numbers(op, args, 1)
		if err != nil {
			return nil, err
		}
		return node(op, n[0].Type, n...), nil
	}
}

func round(args []*Expr) (*Expr, error) {
	if len(args) == 1 {
		args = append(args, Value(0))
	}
	n, err := numbers(Round, args, 2)
	if err != nil {
		return nil, err
	}
	if d, ok := n[1].Value.(int64); !ok || d < 0 || d > 15 {
		return nil, fmt.Errorf("round: the digits are a literal from 0 to 15")
	}
	return node(Round, n[0].Type, n...), nil
}

// toFloat is null for text that is no number.
func toFloat(args []*Expr) (*Expr, error) {
	if err := count(ToFloat, args, 1, 1); err != nil {
		return nil, err
	}
	switch a := args[0]; a.Type {
	case Float:
		return a, nil
	case Int, Duration:
		return node(ToFloat, Float, a), nil
	case String:
		e := node(ToFloat, Float, a)
		e.Nullable = true
		return e, nil
	default:
		return nil, fmt.Errorf("float() reads text or a number, not %s", describe(a))
	}
}

// toInt is null for text that is no whole number; of a float the fraction is cut off.
func toInt(args []*Expr) (*Expr, error) {
	if err := count(ToInt, args, 1, 1); err != nil {
		return nil, err
	}
	switch a := args[0]; a.Type {
	case Int:
		return a, nil
	case Duration, Bool:
		return node(ToInt, Int, a), nil
	case String, Float:
		e := node(ToInt, Int, a)
		e.Nullable = true
		return e, nil
	default:
		return nil, fmt.Errorf("int() reads text, a number or a truth value, not %s", describe(a))
	}
}

// bin rounds down to a multiple of a literal width, integers below zero up. Width 0 of a time stands for auto.
func bin(args []*Expr) (*Expr, error) {
	if err := count(Bin, args, 2, 2); err != nil {
		return nil, err
	}
	x, w := args[0], args[1]
	if x.Type == String {
		n, err := asNumber(x)
		if err != nil {
			return nil, err
		}
		x = n
	}
	if !w.isLit() || !w.numeric() {
		return nil, fmt.Errorf("bin wants a literal width such as 5m")
	}
	switch x.Type {
	case Time:
		if d, ok := w.Value.(time.Duration); !ok || d < 0 {
			return nil, fmt.Errorf("bin of a time wants a width such as 5m")
		}
		return node(Bin, Time, x, w), nil
	case Int, Float, Duration:
		if toFloat64(w.Value) <= 0 {
			return nil, fmt.Errorf("bin wants a width greater than zero")
		}
		e := node(Bin, sumType(x.Type, w.Type), x, w)
		return e, nil
	default:
		return nil, fmt.Errorf("bin works on times and numbers, not on %s", describe(x))
	}
}

func now(args []*Expr) (*Expr, error) {
	if err := count(Now, args, 0, 1); err != nil {
		return nil, err
	}
	if len(args) == 1 {
		if _, ok := args[0].Value.(time.Duration); !ok {
			return nil, fmt.Errorf("ago wants a duration such as 30m")
		}
	}
	return node(Now, Time, args...), nil
}
