package query

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/headgate-io/headgate/internal/chtest"
	"github.com/headgate-io/headgate/query/oql"
	"github.com/headgate-io/headgate/query/plan"
)

// asked is a generated query: a text, perhaps with variables, or a plan in its JSON form.
type asked struct {
	text string
	vars map[string]Variable
	plan json.RawMessage
}

// generateAsked returns the text of a seed: each third has variables.
func generateAsked(seed uint64) asked {
	if seed%3 == 2 {
		g := &generator{Rand: rand.New(rand.NewPCG(seed, 7)), vars: map[string]Variable{}}
		return asked{text: g.query(), vars: g.vars}
	}
	return asked{text: generate(seed)}
}

// generatePlan returns the plan of a seed in its JSON form, with variables.
func generatePlan(seed uint64) asked {
	g := &generator{Rand: rand.New(rand.NewPCG(seed, 7)), vars: map[string]Variable{}}
	doc, err := json.Marshal(g.document())
	if err != nil {
		panic(err)
	}
	return asked{plan: doc, vars: g.vars}
}

// request is the body that asks it.
func (a asked) request() map[string]any {
	body := map[string]any{}
	if a.plan != nil {
		body["plan"] = a.plan
	} else {
		body["query"] = a.text
	}
	if a.vars != nil {
		body["variables"] = a.vars
	}
	return body
}

func (a asked) parse() (*plan.Plan, error) {
	vars, err := variables(a.vars)
	if err != nil {
		return nil, err
	}
	if a.plan != nil {
		return oql.ParseJSON(a.plan, vars)
	}
	return oql.ParseWith(a.text, vars)
}

func (a asked) String() string {
	b, err := json.Marshal(a.request())
	if err != nil {
		panic(err)
	}
	return string(b)
}

// bound makes a variable of a literal in JSON and returns its name, or "" when there are to be none.
func (g *generator) bound(t oql.VarType, value string) string {
	if g.vars == nil || len(g.vars) >= maxVariables || g.IntN(3) > 0 {
		return ""
	}
	name := fmt.Sprintf("v%d", len(g.vars))
	g.vars[name] = Variable{Type: t, Value: json.RawMessage(value)}
	return name
}

type object = map[string]any

// document writes a query in its JSON form.
func (g *generator) document() object {
	d := object{}
	text := []string{"service", "attr.color", "host", "route", "trace_id", "scope_name", "resource.host.name"}
	num := []string{"status_code", "attr.size", "flags"}
	switch g.IntN(3) {
	case 0:
		d["from"] = "logs"
		g.text, g.num = append(text, "body", "severity_text"), append(num, "severity_number")
		g.cond = []string{">= severity warn", "== severity error"}
	case 1:
		d["from"] = "spans"
		g.text, g.num = append(text, "name", "kind", "status"), append(num, "duration")
		g.cond = []string{"== kind server", "!= status ok"}
	default:
		d["from"] = pick(g, []any{"metrics", object{"metrics": []string{"load"}}, object{"metrics": []string{"load", "latency"}}})
		g.text, g.num = []string{"service", "name", "kind", "unit", "attr.color"}, []string{"value", "count", "sum", "attr.size"}
		g.cond = []string{"== kind sum"}
	}
	switch g.IntN(3) {
	case 0:
		d["where"] = g.jsonCondition(2)
	case 1:
		d["where"] = []any{g.jsonCondition(1), g.jsonCondition(1)}
	}
	order := []any{object{"expr": g.jsonText(1), "desc": g.IntN(2) == 0}, "time"}
	switch g.IntN(4) {
	case 0:
		d["select"] = []any{"time", object{"expr": g.jsonText(2), "as": "x"}, object{"expr": g.jsonNumber(2), "as": "y"}}
		order = []any{"x", object{"expr": "time", "desc": true}}
	case 1:
		d["by"] = []any{object{"expr": g.jsonText(1), "as": "k"}}
		order = []any{"k"}
	case 2:
		d["aggregate"] = []any{object{"fn": "count", "as": "n"}, object{"fn": pick(g, []string{"sum", "avg", "min", "max", "dcount"}), "args": []any{g.jsonNumber(1)}, "as": "m"},
			object{"fn": "countif", "args": []any{g.jsonCondition(1)}}}
		d["by"] = []any{object{"bin": pick(g, []string{"5m", "auto", "90s"})}, object{"expr": g.jsonText(1), "as": "k"}}
		order = []any{object{"expr": "n", "desc": true}, "k"}
	}
	if g.IntN(2) == 0 {
		d["order"] = order
	}
	if g.IntN(2) == 0 {
		d["limit"] = 1 + g.IntN(30)
	}
	return d
}

func (g *generator) jsonLiteral() any {
	v := pick(g, []any{"api", "red", "", "GET", "/cart", "canary", "o\"'b", "\\", "T\tab", "x\" or true or \"", "') OR 1 = 1 --"})
	b, err := json.Marshal(v)
	if err != nil {
		panic(err)
	}
	if name := g.bound(oql.VarString, string(b)); name != "" {
		return object{"var": name}
	}
	return object{"value": v}
}

func (g *generator) jsonText(depth int) any {
	if depth == 0 || g.IntN(2) == 0 {
		if g.IntN(5) == 0 {
			return g.jsonLiteral()
		}
		return pick(g, g.text)
	}
	switch g.IntN(4) {
	case 0:
		return object{"fn": "tolower", "args": []any{g.jsonText(depth - 1)}}
	case 1:
		return object{"fn": "concat", "args": []any{g.jsonText(depth - 1), g.jsonText(depth - 1)}}
	case 2:
		return object{"fn": "iff", "args": []any{g.jsonCondition(depth - 1), g.jsonText(depth - 1), g.jsonText(depth - 1)}}
	}
	return object{"field": "attr", "key": pick(g, []string{"color", "no such", "a\"]b"})}
}

func (g *generator) jsonNumber(depth int) any {
	if depth == 0 || g.IntN(2) == 0 {
		if g.IntN(4) == 0 {
			if name := g.bound(oql.VarInt, "500"); name != "" {
				return object{"var": name}
			}
			return object{"value": pick(g, []any{0, 1, -3, 2.5, 500, 9223372036854775807})}
		}
		return pick(g, g.num)
	}
	if g.IntN(3) == 0 {
		return object{"bin": 10, "of": g.jsonNumber(depth - 1)}
	}
	return object{"op": pick(g, []string{"+", "-", "*", "/", "%"}), "args": []any{g.jsonNumber(depth - 1), g.jsonNumber(depth - 1)}}
}

func (g *generator) jsonCondition(depth int) any {
	if depth == 0 {
		var op, field, value string
		if _, err := fmt.Sscan(pick(g, g.cond), &op, &field, &value); err != nil {
			panic(err)
		}
		return object{"op": op, "args": []any{field, object{"value": value}}}
	}
	switch g.IntN(7) {
	case 0:
		return object{"op": pick(g, []string{"and", "or"}), "args": []any{g.jsonCondition(depth - 1), g.jsonCondition(depth - 1)}}
	case 1:
		return object{"op": "not", "args": []any{g.jsonCondition(depth - 1)}}
	case 2:
		return object{"op": pick(g, []string{"==", "!=", "<", ">=", "~", "startswith"}), "args": []any{g.jsonText(depth - 1), g.jsonText(depth - 1)}}
	case 3:
		return object{"op": pick(g, []string{"==", "<", ">="}), "args": []any{g.jsonNumber(depth - 1), g.jsonNumber(depth - 1)}}
	case 4:
		if name := g.bound(oql.VarList, `["api", "red", "o'b"]`); name != "" {
			return object{"op": "in", "args": []any{g.jsonText(depth - 1), object{"var": name}}}
		}
		return object{"op": pick(g, []string{"in", "not in"}), "args": []any{g.jsonText(depth - 1), object{"value": []string{"api", "red", "o'b"}}}}
	case 5:
		return object{"op": "between", "args": []any{g.jsonNumber(depth - 1), object{"value": 1}, object{"value": 500}}}
	}
	return object{"fn": "exists", "args": []any{"attr.color"}}
}

// TestGeneratedPlansEqualTheirTexts: the JSON form and the text that it is written as print the same statement.
func TestGeneratedPlansEqualTheirTexts(t *testing.T) {
	documents := 0
	for seed := range uint64(200) {
		a := generatePlan(seed)
		p, err := a.parse()
		if err != nil {
			continue
		}
		documents++
		text, err := oql.JSONText(a.plan)
		if err != nil {
			t.Fatalf("%s: %v", a, err)
		}
		q, err := asked{text: text, vars: a.vars}.parse()
		if err != nil {
			t.Errorf("%s is written as %s: %v", a, text, err)
			continue
		}
		one, err := Print(p, chtest.Scope(t, "a"), hour())
		if err != nil {
			t.Errorf("%s: %v", a, err)
			continue
		}
		two, err := Print(q, chtest.Scope(t, "a"), hour())
		if err != nil || one.sql != two.sql || fmt.Sprint(one.params) != fmt.Sprint(two.params) {
			t.Errorf("%s and its text %s differ:\n%s\n%s\n%v", a, text, one.sql, two.sql, err)
		}
	}
	if documents < 150 {
		t.Errorf("only %d of 200 generated documents are plans", documents)
	}
}

// TestTextsHaveJSONForms: what can be written as JSON answers as its text does, and writing it again changes nothing.
func TestTextsHaveJSONForms(t *testing.T) {
	s := newStore(t)
	s.fill(false)
	forms := 0
	for seed := range uint64(300) {
		text := generate(seed)
		p, err := oql.Parse(text)
		if err != nil {
			continue
		}
		doc, ok := oql.JSONOf(p)
		if !ok {
			continue
		}
		forms++
		q, err := oql.ParseJSON(doc, nil)
		if err != nil {
			t.Fatalf("%s as %s: %v", text, doc, err)
		}
		if again, ok := oql.JSONOf(q); !ok || string(again) != string(doc) {
			t.Errorf("%s\nas %s\nas %s", text, doc, again)
		}
		if forms%3 > 0 {
			continue
		}
		back, err := oql.JSONText(doc)
		if err != nil {
			t.Fatal(err)
		}
		want, err := s.answersOf(text)
		if err != nil {
			t.Fatal(err)
		}
		if got, err := s.answersOf(back); err != nil || got != want {
			t.Errorf("%s\nas %s\n got %.500s %v\nwant %.500s", text, back, got, err, want)
		}
	}
	if forms < 80 {
		t.Errorf("only %d of 300 texts have a JSON form", forms)
	}
	t.Logf("%d of 300 texts have a JSON form", forms)
}
