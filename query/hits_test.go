package query

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/headgate-io/headgate/internal/asktest"
	"github.com/headgate-io/headgate/internal/chtest"
	"github.com/headgate-io/headgate/query/oql"
	"github.com/headgate-io/headgate/storage/schema"
)

// condition is a condition in its JSON form and what it means, over rows of the fixture.
type condition struct {
	doc   any
	holds func(row) bool
}

// field is what a field of OQL holds in a row of the fixture: its text, and whether it is there.
func field(r row, name string) (string, bool) {
	attrs := r["attributes"].(map[string]string)
	switch name {
	case "service":
		return r["ServiceName"].(string), true
	case "host":
		return r["ResourceAttributes"].(map[string]string)["host.name"], true
	case "route":
		return attrs["http.route"], true
	case "method":
		return attrs["http.request.method"], true
	case "status_code":
		v, ok := attrs["http.response.status_code"]
		return v, ok
	case "attr.color", "attr.size":
		v, ok := attrs[strings.TrimPrefix(name, "attr.")]
		return v, ok
	}
	return fmt.Sprint(r[map[string]string{"body": "Body", "severity_text": "SeverityText", "trace_id": "TraceId", "span_id": "SpanId", "name": "SpanName", "severity_number": "SeverityNumber", "flags": "Flags"}[name]]), true
}

// hitting makes conditions whose values are those of stored rows.
type hitting struct {
	*rand.Rand
	rows  []row
	texts []string
	nums  []string
}

func (h *hitting) of(list []string) string { return list[h.IntN(len(list))] }

func (h *hitting) condition(depth int) condition {
	if depth > 0 && h.IntN(2) == 0 {
		a, b := h.condition(depth-1), h.condition(depth-1)
		switch h.IntN(5) {
		case 0:
			return condition{object{"op": "not", "args": []any{a.doc}}, func(r row) bool { return !a.holds(r) }}
		case 1:
			return condition{object{"op": "and", "args": []any{a.doc, b.doc}}, func(r row) bool { return a.holds(r) && b.holds(r) }}
		default:
			return condition{object{"op": "or", "args": []any{a.doc, b.doc}}, func(r row) bool { return a.holds(r) || b.holds(r) }}
		}
	}
	if h.IntN(12) == 0 {
		return condition{object{"fn": "exists", "args": []any{"attr.color"}}, func(r row) bool { _, ok := field(r, "attr.color"); return ok }}
	}
	if h.IntN(3) == 0 {
		return h.number()
	}
	return h.text()
}

func (h *hitting) text() condition {
	name := h.of(h.texts)
	v, _ := field(h.rows[h.IntN(len(h.rows))], name)
	other, _ := field(h.rows[h.IntN(len(h.rows))], name)
	from := h.IntN(len(v) + 1)
	to := from + h.IntN(len(v)-from+1)
	on := func(op string, value any, f func(string) bool) condition {
		return condition{object{"op": op, "args": []any{name, object{"value": value}}}, func(r row) bool { s, _ := field(r, name); return f(s) }}
	}
	switch h.IntN(12) {
	case 0, 1:
		return on("==", v, func(s string) bool { return s == v })
	case 2:
		return on("!=", v, func(s string) bool { return s != v })
	case 3:
		return on("<=", v, func(s string) bool { return s <= v })
	case 4:
		return on(">", v, func(s string) bool { return s > v })
	case 5, 6:
		part := strings.ToUpper(v[from:to])
		return on("~", part, func(s string) bool { return strings.Contains(strings.ToUpper(s), part) })
	case 7:
		return on("!~", v[from:to], func(s string) bool { return !strings.Contains(strings.ToUpper(s), strings.ToUpper(v[from:to])) })
	case 8:
		return on("startswith", v[:to], func(s string) bool { return strings.HasPrefix(s, v[:to]) })
	case 9:
		return on("endswith", v[from:], func(s string) bool { return strings.HasSuffix(s, v[from:]) })
	case 10:
		return on("not in", []string{v, other}, func(s string) bool { return s != v && s != other })
	default:
		return on("in", []string{v, other, "o'b"}, func(s string) bool { return s == v || s == other })
	}
}

func (h *hitting) number() condition {
	name := h.of(h.nums)
	s, there := field(h.rows[h.IntN(len(h.rows))], name)
	if !there {
		s = "200"
	}
	v, err := strconv.Atoi(s)
	if err != nil {
		panic(err)
	}
	op := h.of([]string{"==", "!=", "<", "<=", ">", ">=", "between"})
	doc := object{"op": op, "args": []any{name, object{"value": v}}}
	if op == "between" {
		doc["args"] = []any{name, object{"value": v}, object{"value": v + 200}}
	}
	return condition{doc, func(r row) bool {
		s, there := field(r, name)
		n, _ := strconv.Atoi(s)
		if !there { // a comparison with null is false, and != the opposite of ==
			return op == "!="
		}
		return map[string]bool{"==": n == v, "!=": n != v, "<": n < v, "<=": n <= v, ">": n > v, ">=": n >= v, "between": v <= n && n <= v+200}[op]
	}}
}

// hit is a generated plan and the lines of its right answer.
type hit struct {
	doc  json.RawMessage
	want []string
	all  int // rows of its source
}

func generateHit(seed uint64) hit {
	h := &hitting{Rand: rand.New(rand.NewPCG(seed, 11))}
	from, table, attributes := "logs", schema.Logs, "LogAttributes"
	h.texts = []string{"service", "attr.color", "host", "route", "method", "trace_id", "span_id", "body", "severity_text"}
	h.nums = []string{"status_code", "attr.size", "severity_number", "flags"}
	if h.IntN(2) == 0 {
		from, table, attributes = "spans", schema.Traces, "SpanAttributes"
		h.texts = append(h.texts[:7:7], "name")
		h.nums = h.nums[:2]
	}
	h.rows = fixture(table)
	for _, r := range h.rows {
		r["attributes"] = r[attributes]
	}
	where := h.condition(2)
	d, shape, by := object{"from": from, "where": where.doc}, h.IntN(3), h.of(h.texts)
	var want []string
	groups := map[string]int{}
	for _, r := range h.rows {
		if where.holds(r) {
			s, _ := field(r, by)
			groups[s]++
			want = append(want, fmt.Sprintf(`{"k":%q,"at":%q}`, s, strings.Replace(r["Timestamp"].(string), " ", "T", 1)+"Z"))
		}
	}
	k := object{"expr": by, "as": "k"}
	switch shape {
	case 0: // groups
		d["aggregate"], d["by"], d["order"] = []any{object{"fn": "count", "as": "n"}}, []any{k}, []any{"k"}
		want = nil
		for s, n := range groups {
			want = append(want, fmt.Sprintf(`{"k":%q,"n":%d}`, s, n))
		}
		slices.Sort(want)
	case 1: // the newest
		d["select"], d["order"], d["limit"] = []any{k, object{"expr": "time", "as": "at"}}, []any{object{"expr": "at", "desc": true}}, 1+h.IntN(20)
		slices.Reverse(want)
		want = want[:min(len(want), d["limit"].(int))]
	default:
		d["select"], d["order"] = []any{k, object{"expr": "time", "as": "at"}}, []any{"at"}
	}
	doc, err := json.Marshal(d)
	if err != nil {
		panic(err)
	}
	return hit{doc, want, len(h.rows)}
}

// forms returns the forms of the plan in which it is written and read again: as a text and as the JSON of what was parsed. Each
// prints the same statement.
func (h hit) forms(t *testing.T) (text string, doc json.RawMessage) {
	t.Helper()
	p, err := oql.ParseJSON(h.doc, nil)
	if err != nil {
		t.Fatalf("%s: %v", h.doc, err)
	}
	if text, err = oql.JSONText(h.doc); err != nil {
		t.Fatalf("%s: %v", h.doc, err)
	}
	fromText := mustParse(t, text)
	doc, ok := oql.JSONOf(fromText)
	if !ok {
		t.Fatalf("%s has no JSON form", text)
	}
	fromDoc, err := oql.ParseJSON(doc, nil)
	if err != nil {
		t.Fatalf("%s: %v", doc, err)
	}
	if again, ok := oql.JSONOf(fromDoc); !ok || string(again) != string(doc) {
		t.Errorf("%s\nis written again as %s", doc, again)
	}
	scope := chtest.Scope(t, "a")
	want, err := Print(p, scope, hour())
	if err != nil {
		t.Fatal(err)
	}
	one, err1 := Print(fromText, scope, hour())
	two, err2 := Print(fromDoc, scope, hour())
	if err1 != nil || err2 != nil || one.sql != want.sql || two.sql != want.sql || fmt.Sprint(one.params) != fmt.Sprint(want.params) || fmt.Sprint(two.params) != fmt.Sprint(want.params) {
		t.Errorf("not the same statement, %v, %v:\n%s\n%s\n%s\n%s\n%s\n%s", err1, err2, h.doc, want.sql, text, one.sql, doc, two.sql)
	}
	return text, doc
}

// TestPlansAndTextsAnswerAlikeAndRight: a plan, its text and the plan made of that text answer the same, to the byte, and what
// the rows say by the conditions' meaning written down here. The values of conditions are those of stored rows, so that most hit.
func TestPlansAndTextsAnswerAlikeAndRight(t *testing.T) {
	s := newStore(t).patient()
	s.fill(true)
	srv := s.serve(chtest.Scope(t, "a"))
	n := asktest.Seeds(t, 100)
	var mu sync.Mutex // of the tallies
	hits, some := 0, 0
	asktest.Each(t, n, func(t *testing.T, seed uint64) {
		h := generateHit(seed)
		text, doc := h.forms(t)
		ask := func(form string, q any) answer {
			return post(t, srv, map[string]any{form: q, "start": hourStart, "end": hourEnd, "format": FormatNDJSON})
		}
		byPlan, byText, byDoc := ask("plan", h.doc), ask("query", text), ask("plan", doc)
		if byPlan != byText || byPlan != byDoc {
			t.Errorf("%s\n%s\n%s\nanswers differ:\n%v\n%v\n%v", h.doc, text, doc, byPlan, byText, byDoc)
		}
		got := strings.Split(strings.TrimSuffix(byText.body, "\n"), "\n")
		if byText.body == "" {
			got = nil
		}
		if byText.status != http.StatusOK || !slices.Equal(got, h.want) {
			t.Errorf("%s\n got %d %q\nwant %q", text, byText.status, got, h.want)
		}
		mu.Lock()
		defer mu.Unlock()
		if len(h.want) > 0 {
			hits++
			if len(h.want) < h.all {
				some++
			}
		}
	})
	t.Logf("%d of %d hit, %d of them not every row", hits, n, some)
	if n := int(n); hits < n*6/10 || some < n*5/10 {
		t.Errorf("too few of %d generated plans find something: %d, not everything: %d", n, hits, some)
	}
}
