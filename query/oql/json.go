package oql

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"
	"sort"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/headgate-io/headgate/query/plan"
)

// PlanError is what is wrong with a query in its JSON form and where.
type PlanError struct {
	Pointer string // JSON Pointer (RFC 6901) to the value that is wrong, "" for the whole
	Msg     string
}

func (e *PlanError) Error() string {
	if e.Pointer == "" {
		return "plan: " + e.Msg
	}
	return "plan " + e.Pointer + ": " + e.Msg
}

// ParseJSON returns the plan of a query in its JSON form, which docs/oql.md describes. Each such query has a text that it
// equals, which JSONText returns: it is parsed as that text, so that both forms have one set of rules and bounds. The error is
// a *PlanError.
func ParseJSON(raw []byte, vars Vars) (*plan.Plan, error) {
	w, err := writeJSON(raw)
	if err != nil {
		return nil, err
	}
	if w.b.Len() > maxTextBytes {
		return nil, &PlanError{Msg: fmt.Sprintf("the query is longer than %d bytes as text", maxTextBytes)}
	}
	p, perr := ParseWith(w.b.String(), vars)
	if perr != nil {
		e := perr.(*Error)
		return nil, &PlanError{Pointer: w.at(e.off), Msg: e.Msg}
	}
	return p, nil
}

// JSONText returns the text that a query in its JSON form equals. It may fail to parse for what only names and types tell. The
// error is a *PlanError.
func JSONText(raw []byte) (string, error) {
	w, err := writeJSON(raw)
	if err != nil {
		return "", err
	}
	return w.b.String(), nil
}

// jsonWriter writes the text of a query in its JSON form and remembers which value wrote what.
//
// SECURITY: a text of the JSON form goes into the query in one of three ways only: quoted, as a name that is letters and
// digits, or as a word of a closed list. So no value can become another part of the query.
type jsonWriter struct {
	b     strings.Builder
	marks []mark
	depth int
}

// mark says that the text from off on was written for the value at pointer.
type mark struct {
	off     int
	pointer string
}

func writeJSON(raw []byte) (*jsonWriter, error) {
	dec := json.NewDecoder(bytes.NewReader(raw))
	dec.UseNumber()
	var v any
	if err := dec.Decode(&v); err != nil || !json.Valid(raw) {
		return nil, &PlanError{Msg: "not a JSON document"}
	}
	w := &jsonWriter{}
	if err := w.query(v); err != nil {
		return nil, err
	}
	return w, nil
}

// at is the pointer of the value that wrote the character at off.
func (w *jsonWriter) at(off int) string {
	i := sort.Search(len(w.marks), func(i int) bool { return w.marks[i].off > off })
	if i == 0 {
		return ""
	}
	return w.marks[i-1].pointer
}

// write writes s for the value at pointer.
func (w *jsonWriter) write(pointer, s string) {
	w.marks = append(w.marks, mark{w.b.Len(), pointer})
	w.b.WriteString(s)
}

func planErrorf(pointer, format string, args ...any) error {
	return &PlanError{Pointer: pointer, Msg: fmt.Sprintf(format, args...)}
}

// object is v with nothing but the known members.
func object(pointer, what string, v any, known ...string) (map[string]any, error) {
	o, ok := v.(map[string]any)
	if !ok {
		return nil, planErrorf(pointer, "expected %s", what)
	}
	for _, name := range sortedKeys(o) {
		if !slices.Contains(known, name) {
			return nil, planErrorf(pointer+"/"+escapePointer(name), "unknown member %q%s; the members here are %s", name, didYouMean(name, known), strings.Join(known, ", "))
		}
	}
	return o, nil
}

func sortedKeys(o map[string]any) []string {
	keys := make([]string, 0, len(o))
	for k := range o {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}

func escapePointer(name string) string {
	return strings.NewReplacer("~", "~0", "/", "~1").Replace(name)
}

func item(pointer string, i int) string { return pointer + "/" + strconv.Itoa(i) }

func (w *jsonWriter) query(v any) error {
	o, err := object("", "an object with from, where, aggregate, by, select, order and limit", v, "from", "where", "aggregate", "by", "select", "order", "limit")
	if err != nil {
		return err
	}
	if err := w.from(o["from"]); err != nil {
		return err
	}
	if where, ok := o["where"]; ok {
		if err := w.where(where); err != nil {
			return err
		}
	}
	if err := w.columns(o); err != nil {
		return err
	}
	if order, ok := o["order"]; ok {
		w.write("/order", " | sort by ")
		if err := w.list("/order", order, w.key); err != nil {
			return err
		}
	}
	if limit, ok := o["limit"]; ok {
		w.write("/limit", " | limit ")
		n, ok := limit.(json.Number)
		if _, err := strconv.ParseUint(n.String(), 10, 63); !ok || err != nil {
			if isVariable(limit) {
				return w.expr("/limit", limit)
			}
			return planErrorf("/limit", "expected a count from 1 to %d", MaxLimit)
		}
		w.write("/limit", n.String())
	}
	return nil
}

func isVariable(v any) bool {
	o, ok := v.(map[string]any)
	_, is := o["var"]
	return ok && is
}

// from writes the source: its name, or {"metrics": ["name", …]}.
func (w *jsonWriter) from(v any) error {
	if s, ok := v.(string); ok && isName(s) {
		w.write("/from", s)
		return nil
	}
	if _, ok := v.(map[string]any); !ok {
		return planErrorf("/from", `expected a source ("logs", "spans", "metrics") or {"metrics": ["name"]}`)
	}
	o, err := object("/from", "a source", v, "metrics")
	if err != nil {
		return err
	}
	w.write("/from", "metrics(")
	err = w.list("/from/metrics", o["metrics"], func(at string, v any) error {
		s, ok := v.(string)
		if !ok {
			return planErrorf(at, "expected the name of a metric")
		}
		w.write(at, Quote(s))
		return nil
	})
	w.b.WriteString(")")
	return err
}

// list writes the values of an array, separated by commas.
func (w *jsonWriter) list(pointer string, v any, one func(string, any) error) error {
	items, ok := v.([]any)
	if !ok || len(items) == 0 {
		return planErrorf(pointer, "expected an array of one value or more")
	}
	for i, v := range items {
		if i > 0 {
			w.b.WriteString(", ")
		}
		if err := one(item(pointer, i), v); err != nil {
			return err
		}
	}
	return nil
}

// where writes one condition, or several that all must hold.
func (w *jsonWriter) where(v any) error {
	items, ok := v.([]any)
	if !ok {
		w.write("/where", " | where ")
		return w.expr("/where", v)
	}
	for i, v := range items {
		w.write(item("/where", i), " | where ")
		if err := w.expr(item("/where", i), v); err != nil {
			return err
		}
	}
	return nil
}

// columns writes what the result consists of: aggregates by groups, distinct groups, or selected columns.
func (w *jsonWriter) columns(o map[string]any) error {
	aggregate, aggregated := o["aggregate"]
	by, grouped := o["by"]
	selected, isSelected := o["select"]
	switch {
	case isSelected && (aggregated || grouped):
		return planErrorf("/select", "select is for rows: aggregate and by say themselves what the result consists of")
	case isSelected:
		w.write("/select", " | project ")
		return w.list("/select", selected, w.named)
	case aggregated:
		w.write("/aggregate", " | summarize ")
		if err := w.list("/aggregate", aggregate, w.aggregation); err != nil || !grouped {
			return err
		}
		w.write("/by", " by ")
		return w.list("/by", by, w.named)
	case grouped:
		w.write("/by", " | distinct ")
		return w.list("/by", by, w.named)
	}
	return nil
}

// named writes an expression, or {"expr": …, "as": name}.
func (w *jsonWriter) named(at string, v any) error {
	o, ok := v.(map[string]any)
	if _, has := o["expr"]; !ok || !has {
		return w.expr(at, v)
	}
	o, err := object(at, "an expression", v, "expr", "as")
	if err != nil {
		return err
	}
	if err := w.as(at, o); err != nil {
		return err
	}
	return w.expr(at+"/expr", o["expr"])
}

func (w *jsonWriter) as(at string, o map[string]any) error {
	v, ok := o["as"]
	if !ok {
		return nil
	}
	s, ok := v.(string)
	if !ok || !isName(s) {
		return planErrorf(at+"/as", "expected a name: letters, digits and _")
	}
	w.write(at+"/as", s)
	w.b.WriteString(" = ")
	return nil
}

func (w *jsonWriter) aggregation(at string, v any) error {
	o, err := object(at, `an aggregation such as {"fn": "count"}`, v, "fn", "args", "as")
	if err != nil {
		return err
	}
	if err := w.as(at, o); err != nil {
		return err
	}
	return w.call(at, o)
}

// call writes the function of an object with fn and args.
func (w *jsonWriter) call(at string, o map[string]any) error {
	fn, ok := o["fn"].(string)
	if !ok || !isName(fn) {
		return planErrorf(at+"/fn", "expected the name of a function")
	}
	w.write(at+"/fn", fn+"(")
	if args, ok := o["args"]; ok {
		if items, ok := args.([]any); !ok || len(items) > 0 {
			if err := w.list(at+"/args", args, w.expr); err != nil {
				return err
			}
		}
	}
	w.write(at, ")")
	return nil
}

// key writes a sort key: an expression, or {"expr": …, "desc": true}.
func (w *jsonWriter) key(at string, v any) error {
	o, ok := v.(map[string]any)
	if _, has := o["expr"]; !ok || !has {
		return w.expr(at, v)
	}
	o, err := object(at, "a sort key", v, "expr", "desc")
	if err != nil {
		return err
	}
	if err := w.expr(at+"/expr", o["expr"]); err != nil {
		return err
	}
	switch desc := o["desc"].(type) {
	case nil:
		if _, has := o["desc"]; has {
			return planErrorf(at+"/desc", "expected true or false")
		}
	case bool:
		if desc {
			w.write(at+"/desc", " desc")
		}
	default:
		return planErrorf(at+"/desc", "expected true or false")
	}
	return nil
}

// isName reports whether s is one word of the language.
func isName(s string) bool {
	for i := range len(s) {
		if !isLetter(s[i]) && (i == 0 || !isDigit(s[i])) {
			return false
		}
	}
	return s != ""
}

// Quote returns s as the language writes a text. What is no valid UTF-8 does not come back the same.
func Quote(s string) string {
	var b strings.Builder
	b.WriteByte('"')
	for _, r := range s {
		switch {
		case r == '"' || r == '\\':
			b.WriteByte('\\')
			b.WriteRune(r)
		case r == '\n':
			b.WriteString(`\n`)
		case r == '\t':
			b.WriteString(`\t`)
		case r < ' ' || r == 0x7f:
			fmt.Fprintf(&b, `\x%02x`, r)
		case r == utf8.RuneError:
			b.WriteString(`\ufffd`)
		default:
			b.WriteRune(r)
		}
	}
	b.WriteByte('"')
	return b.String()
}
