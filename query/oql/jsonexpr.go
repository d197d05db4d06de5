package oql

import (
	"encoding/json"
	"slices"
	"strings"
)

// jsonOps are the operators of the JSON form and how many arguments they take.
var jsonOps = map[string]struct{ low, high int }{
	"and": {1, maxNodes}, "or": {1, maxNodes}, "not": {1, 1},
	"==": {2, 2}, "!=": {2, 2}, "<": {2, 2}, "<=": {2, 2}, ">": {2, 2}, ">=": {2, 2}, "~": {2, 2}, "!~": {2, 2}, "=~": {2, 2}, "!=~": {2, 2},
	"startswith": {2, 2}, "endswith": {2, 2}, "in": {2, 2}, "not in": {2, 2}, "between": {3, 3}, "not between": {3, 3},
	"+": {2, 2}, "-": {1, 2}, "*": {2, 2}, "/": {2, 2}, "%": {2, 2},
}

// exprForms are what an expression of the JSON form can be, by the member that tells.
var exprForms = []string{"field", "value", "duration", "datetime", "var", "op", "fn", "bin"}

// expr writes an expression. A text is a column or attribute; everything else is an object.
func (w *jsonWriter) expr(at string, v any) error {
	if w.depth++; w.depth > maxDepth {
		return planErrorf(at, "the expression is nested more than %d deep", maxDepth)
	}
	defer func() { w.depth-- }()
	if s, ok := v.(string); ok {
		return w.field(at, s)
	}
	o, ok := v.(map[string]any)
	form := ""
	for _, f := range exprForms {
		if _, has := o[f]; has {
			form = f
			break
		}
	}
	if !ok || form == "" {
		if keys := sortedKeys(o); len(keys) > 0 {
			_, err := object(at, "", v, exprForms...)
			return err
		}
		return planErrorf(at, "expected an expression: the name of a column, or an object with one of %s", strings.Join(exprForms, ", "))
	}
	known := map[string][]string{"field": {"field", "key"}, "op": {"op", "args"}, "fn": {"fn", "args"}, "bin": {"bin", "of"}}[form]
	if known == nil {
		known = []string{form}
	}
	if _, err := object(at, "", v, known...); err != nil {
		return err
	}
	switch form {
	case "field":
		return w.fieldKey(at, o)
	case "value":
		return w.value(at+"/value", o["value"])
	case "op":
		return w.operation(at, o)
	case "fn":
		return w.call(at, o)
	case "bin":
		return w.bin(at, o)
	}
	return w.text(at+"/"+form, form, o[form])
}

// field writes a column, or an attribute as in attr.http.route.
func (w *jsonWriter) field(at, s string) error {
	if parts := strings.Split(s, "."); reserved[parts[0]] || slices.ContainsFunc(parts, func(p string) bool { return !isName(p) }) {
		return planErrorf(at, `%.60q is not the name of a column; a value is written {"value": …}, an attribute of any name {"field": "attr", "key": …}`, s)
	}
	w.write(at, s)
	return nil
}

func (w *jsonWriter) fieldKey(at string, o map[string]any) error {
	s, ok := o["field"].(string)
	if !ok {
		return planErrorf(at+"/field", "expected the name of a column")
	}
	if err := w.field(at+"/field", s); err != nil {
		return err
	}
	key, has := o["key"]
	if !has {
		return nil
	}
	k, ok := key.(string)
	if !ok {
		return planErrorf(at+"/key", "expected the name of an attribute")
	}
	w.write(at+"/key", "["+Quote(k)+"]")
	return nil
}

// value writes a literal.
func (w *jsonWriter) value(at string, v any) error {
	switch v := v.(type) {
	case string:
		w.write(at, Quote(v))
	case json.Number:
		w.write(at, v.String())
	case bool:
		w.write(at, map[bool]string{true: "true", false: "false"}[v])
	case nil:
		w.write(at, "null")
	case []any:
		return planErrorf(at, `a list stands after "in" only`)
	default:
		return planErrorf(at, "expected a text, a number, true, false or null")
	}
	return nil
}

// text writes a duration, a time or a variable.
func (w *jsonWriter) text(at, form string, v any) error {
	s, ok := v.(string)
	switch form {
	case "duration":
		if _, err := ParseDuration(s); !ok || err != nil {
			return planErrorf(at, `expected a duration such as "150ms", "5m" or "7d"`)
		}
		w.write(at, s)
	case "datetime":
		if !ok {
			return planErrorf(at, `expected a time such as "2025-01-31T12:00:00Z"`)
		}
		w.write(at, "datetime"+Quote(s))
	default:
		if !ok || !isName(s) {
			return planErrorf(at, "expected the name of a variable")
		}
		w.write(at, "${"+s+"}")
	}
	return nil
}

func (w *jsonWriter) operation(at string, o map[string]any) error {
	op, _ := o["op"].(string)
	n, ok := jsonOps[op]
	if !ok {
		ops := make([]string, 0, len(jsonOps))
		for k := range jsonOps {
			ops = append(ops, k)
		}
		slices.Sort(ops)
		return planErrorf(at+"/op", "unknown operator %.40q%s; the operators are %s", op, didYouMean(op, ops), strings.Join(ops, " "))
	}
	args, ok := o["args"].([]any)
	if !ok || len(args) < n.low || len(args) > n.high {
		if n.low == n.high {
			return planErrorf(at+"/args", "%s takes an array of %d", op, n.low)
		}
		return planErrorf(at+"/args", "%s takes an array of %d to %d", op, n.low, n.high)
	}
	w.write(at, "(")
	if len(args) == 1 && op != "and" && op != "or" {
		w.write(at+"/op", op+" ")
	}
	for i, a := range args {
		arg := item(at+"/args", i)
		switch {
		case i == 0:
		case i == 2 && strings.HasSuffix(op, "between"):
			w.b.WriteString(" and ")
		default:
			w.write(at+"/op", " "+op+" ")
		}
		if i == 1 && strings.HasSuffix(op, "in") {
			if err := w.items(arg, a); err != nil {
				return err
			}
			continue
		}
		if err := w.expr(arg, a); err != nil {
			return err
		}
	}
	w.write(at, ")")
	return nil
}

// items writes the list of in: {"value": [literals]} or a variable.
func (w *jsonWriter) items(at string, v any) error {
	if isVariable(v) {
		return w.expr(at, v)
	}
	o, err := object(at, `the list as {"value": [literals]} or {"var": name}`, v, "value")
	if err != nil {
		return err
	}
	w.write(at, "(")
	if err := w.list(at+"/value", o["value"], w.value); err != nil {
		return err
	}
	w.b.WriteString(")")
	return nil
}

// bin writes {"bin": "5m"}, {"bin": "auto"} or {"bin": width, "of": expression}.
func (w *jsonWriter) bin(at string, o map[string]any) error {
	w.write(at, "bin(")
	of, has := o["of"]
	if has {
		if err := w.expr(at+"/of", of); err != nil {
			return err
		}
		w.b.WriteString(", ")
	}
	switch width := o["bin"].(type) {
	case string:
		if _, err := ParseDuration(width); err != nil && (width != "auto" || has) {
			return planErrorf(at+"/bin", `expected a width such as "5m", or "auto"`)
		}
		w.write(at+"/bin", width)
	case json.Number:
		w.write(at+"/bin", width.String())
	default:
		if !isVariable(width) {
			return planErrorf(at+"/bin", `expected a width such as "5m", or "auto"`)
		}
		if err := w.expr(at+"/bin", width); err != nil {
			return err
		}
	}
	w.write(at, ")")
	return nil
}
