package oql

import (
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"strings"
	"testing"
	"unicode/utf8"
)

// TestJSONFormIsItsText holds the text that each part of the JSON form equals.
func TestJSONFormIsItsText(t *testing.T) {
	vars := Vars{"s": read(t, VarString, `"x"`), "l": read(t, VarList, `["x"]`), "w": read(t, VarDuration, `"5m"`), "n": read(t, VarInt, `5`)}
	for doc, want := range map[string]string{
		`{"from": "logs"}`: `logs`,
		`{"from": {"metrics": ["load", "o\"clock"]}}`:                                                                                                                                 `metrics("load", "o\"clock")`,
		`{"from": "logs", "where": {"op": "==", "args": ["service", {"value": "api"}]}}`:                                                                                              `logs | where (service == "api")`,
		`{"from": "logs", "where": [{"fn": "exists", "args": ["attr.x.y"]}, {"op": "not", "args": [{"op": "~", "args": ["body", {"value": "a\\b"}]}]}]}`:                              `logs | where exists(attr.x.y) | where (not (body ~ "a\\b"))`,
		`{"from": "logs", "where": {"op": "and", "args": [{"op": ">=", "args": ["severity", {"value": "error"}]}, {"op": "not in", "args": ["status_code", {"value": [200, -1]}]}]}}`: `logs | where ((severity >= "error") and (status_code not in (200, -1)))`,
		`{"from": "spans", "where": {"op": "between", "args": ["duration", {"duration": "1s"}, {"duration": "1h30m"}]}}`:                                                              `spans | where (duration between 1s and 1h30m)`,
		`{"from": "spans", "where": {"op": "not between", "args": ["time", {"datetime": "2025-03-04"}, {"fn": "now"}]}}`:                                                              `spans | where (time not between datetime"2025-03-04" and now())`,
		`{"from": "spans", "where": {"op": "in", "args": ["service", {"var": "l"}]}, "limit": {"var": "n"}}`:                                                                          `spans | where (service in ${l}) | limit ${n}`,
		`{"from": "spans", "where": {"op": "==", "args": [{"field": "attr", "key": "a.b\" == \"c"}, {"value": null}]}}`:                                                               `spans | where (attr["a.b\" == \"c"] == null)`,
		`{"from": "spans", "aggregate": [{"fn": "count", "as": "n"}, {"fn": "percentile", "args": ["duration", {"value": 95}]}, {"fn": "countif", "args": [{"op": "==", "args": ["status", {"value": "error"}]}]}], "by": ["service", {"bin": "auto"}, {"expr": {"fn": "tolower", "args": ["name"]}, "as": "lower"}], "order": [{"expr": "n", "desc": true}, "service"], "limit": 10}`: `spans | summarize n = count(), percentile(duration, 95), countif((status == "error")) by service, bin(auto), lower = tolower(name) | sort by n desc, service | limit 10`,
		`{"from": "logs", "by": ["service"]}`:                          `logs | distinct service`,
		`{"from": "logs", "aggregate": [{"fn": "count", "args": []}]}`: `logs | summarize count()`,
		`{"from": "logs", "select": ["time", {"expr": {"op": "-", "args": [{"op": "*", "args": ["attr.n", {"value": 2.5}]}, {"op": "-", "args": [{"value": -1e3}]}]}, "as": "x"}]}`: `logs | project time, x = ((attr.n * 2.5) - (- -1e3))`,
		`{"from": "logs", "aggregate": [{"fn": "count"}], "by": [{"bin": {"var": "w"}, "of": "time"}, {"bin": 10, "of": "severity_number"}]}`:                                       `logs | summarize count() by bin(time, ${w}), bin(severity_number, 10)`,
		`{"from": "logs", "where": {"op": "or", "args": [{"value": true}]}}`:                                                                                                        `logs | where (true)`,
	} {
		got, err := JSONText([]byte(doc))
		if err != nil || got != want {
			t.Errorf("%s\n got %s %v\nwant %s", doc, got, err, want)
			continue
		}
		p, err := ParseJSON([]byte(doc), vars)
		if err != nil {
			t.Errorf("%s: %v", doc, err)
			continue
		}
		if q, err := ParseWith(want, vars); err != nil || !reflect.DeepEqual(p, q) {
			t.Errorf("%s is not the plan of %s: %v", doc, want, err)
		}
	}
}

// TestJSONFormIsStrict: what is wrong is refused with a pointer to it.
func TestJSONFormIsStrict(t *testing.T) {
	where := func(e string) string { return `{"from": "logs", "where": ` + e + `}` }
	for doc, want := range map[string]string{
		``:                                             `plan: not a JSON document`,
		`{"from": "logs"} {}`:                          `plan: not a JSON document`,
		`"logs"`:                                       `plan: expected an object with from, where, aggregate, by, select, order and limit`,
		`null`:                                         `plan: expected an object with from, where, aggregate, by, select, order and limit`,
		`{}`:                                           `plan /from: expected a source ("logs", "spans", "metrics") or {"metrics": ["name"]}`,
		`{"from": "log"}`:                              `plan /from: unknown source "log", expected logs, spans or metrics, did you mean "logs"`,
		`{"from": "logs | count"}`:                     `plan /from: expected a source ("logs", "spans", "metrics") or {"metrics": ["name"]}`,
		`{"from": {"metrics": []}}`:                    `plan /from/metrics: expected an array of one value or more`,
		`{"from": {"metrics": [5]}}`:                   `plan /from/metrics/0: expected the name of a metric`,
		`{"from": {"logs": ["a"]}}`:                    `plan /from/logs: unknown member "logs"; the members here are metrics`,
		`{"from": "logs", "wher": {}}`:                 `plan /wher: unknown member "wher", did you mean "where"; the members here are from, where, aggregate, by, select, order, limit`,
		`{"from": "logs", "a/b~": 1}`:                  `plan /a~1b~0: unknown member "a/b~"; the members here are from, where, aggregate, by, select, order, limit`,
		`{"from": "logs", "limit": 0}`:                 `plan /limit: expected a count from 1 to 100000`,
		`{"from": "logs", "limit": -1}`:                `plan /limit: expected a count from 1 to 100000`,
		`{"from": "logs", "limit": 1e3}`:               `plan /limit: expected a count from 1 to 100000`,
		`{"from": "logs", "limit": "1"}`:               `plan /limit: expected a count from 1 to 100000`,
		`{"from": "logs", "limit": {"var": "x"}}`:      `plan /limit/var: unknown variable $x: this query has no variables`,
		where(`5`):                                     `plan /where: expected an expression: the name of a column, or an object with one of field, value, duration, datetime, var, op, fn, bin`,
		where(`{}`):                                    `plan /where: expected an expression: the name of a column, or an object with one of field, value, duration, datetime, var, op, fn, bin`,
		where(`"service"`):                             `plan /where: a condition is wanted here, not text: compare it with something`,
		where(`"service == 1"`):                        `plan /where: "service == 1" is not the name of a column; a value is written {"value": …}, an attribute of any name {"field": "attr", "key": …}`,
		where(`"and"`):                                 `plan /where: "and" is not the name of a column; a value is written {"value": …}, an attribute of any name {"field": "attr", "key": …}`,
		where(`{"valeu": 1}`):                          `plan /where/valeu: unknown member "valeu", did you mean "value"; the members here are field, value, duration, datetime, var, op, fn, bin`,
		where(`{"value": {}}`):                         `plan /where/value: expected a text, a number, true, false or null`,
		where(`{"value": [1]}`):                        `plan /where/value: a list stands after "in" only`,
		where(`{"value": true, "key": "x"}`):           `plan /where/key: unknown member "key"; the members here are value`,
		where(`{"field": 5}`):                          `plan /where/field: expected the name of a column`,
		where(`{"field": "attr", "key": 5}`):           `plan /where/key: expected the name of an attribute`,
		where(`{"field": "body", "key": "x"}`):         `plan /where/field: a key in brackets wants a map of attributes and a text, not string`,
		where(`{"duration": "5"}`):                     `plan /where/duration: expected a duration such as "150ms", "5m" or "7d"`,
		where(`{"duration": "5m or true"}`):            `plan /where/duration: expected a duration such as "150ms", "5m" or "7d"`,
		where(`{"datetime": 5}`):                       `plan /where/datetime: expected a time such as "2025-01-31T12:00:00Z"`,
		where(`{"datetime": "now"}`):                   `plan /where/datetime: "now" is not a time such as 2025-01-31T12:00:00Z`,
		where(`{"var": "a b"}`):                        `plan /where/var: expected the name of a variable`,
		where(`{"var": "x"}`):                          `plan /where/var: unknown variable $x: this query has no variables`,
		where(`{"op": "=", "args": ["body", "body"]}`): `plan /where/op: unknown operator "=", did you mean "!="; the operators are != !=~ !~ % * + - / < <= == =~ > >= and between endswith in not not between not in or startswith ~`,
		where(`{"op": "==", "args": ["body"]}`):        `plan /where/args: == takes an array of 2`,
		where(`{"op": "==", "args": "body"}`):          `plan /where/args: == takes an array of 2`,
		where(`{"op": "and", "args": []}`):             `plan /where/args: and takes an array of 1 to 1000`,
		where(`{"op": "==", "args": ["sevice", {"value": "a"}]}`):           `plan /where/args/0: unknown column "sevice" in logs, did you mean "service"`,
		where(`{"op": ">=", "args": ["severity", {"value": 17}]}`):          `plan /where/op: severity compares by name (severity >= "error"); the number 17 compares with severity_number`,
		where(`{"op": "=~", "args": ["body", {"value": "("}]}`):             `plan /where/op: regular expression: missing closing ): ` + "`(`",
		where(`{"op": "in", "args": ["service", "body"]}`):                  `plan /where/args/1: expected the list as {"value": [literals]} or {"var": name}`,
		where(`{"op": "in", "args": ["service", {"value": []}]}`):           `plan /where/args/1/value: expected an array of one value or more`,
		where(`{"op": "in", "args": ["service", {"value": ["a", null]}]}`):  `plan /where/args/1/value/1: expected a literal, got "null"`,
		where(`{"op": "in", "args": ["service", {"value": ["a", ["b"]]}]}`): `plan /where/args/1/value/1: a list stands after "in" only`,
		where(`{"fn": "lenght", "args": ["body"]}`):                         `plan /where/fn: unknown function "lenght", did you mean "len"`,
		where(`{"fn": "throwIf(1) or strlen", "args": ["body"]}`):           `plan /where/fn: expected the name of a function`,
		where(`{"fn": "strlen", "args": "body"}`):                           `plan /where/args: expected an array of one value or more`,
		where(`{"bin": "5"}`):                  `plan /where/bin: expected a width such as "5m", or "auto"`,
		where(`{"bin": "auto", "of": "time"}`): `plan /where/bin: expected a width such as "5m", or "auto"`,
		where(`{"bin": true}`):                 `plan /where/bin: expected a width such as "5m", or "auto"`,
		where(strings.Repeat(`{"op": "not", "args": [`, 70) + `"x"` + strings.Repeat(`]}`, 70)): `plan /where` + strings.Repeat("/args/0", 64) + `: the expression is nested more than 64 deep`,
		where(`{"value": "` + strings.Repeat("x", 20000) + `"}`):                                `plan: the query is longer than 16384 bytes as text`,
		`{"from": "logs", "aggregate": "count"}`:                                                `plan /aggregate: expected an array of one value or more`,
		`{"from": "logs", "aggregate": ["count"]}`:                                              `plan /aggregate/0: expected an aggregation such as {"fn": "count"}`,
		`{"from": "logs", "aggregate": [{"fn": "cuont"}]}`:                                      `plan /aggregate/0/fn: unknown aggregation "cuont", did you mean "count"; the aggregations are count, countif, dcount, sum, avg, min, max, any, percentile, top`,
		`{"from": "logs", "aggregate": [{"fn": "count", "as": "a b"}]}`:                         `plan /aggregate/0/as: expected a name: letters, digits and _`,
		`{"from": "logs", "aggregate": [{"fn": "count", "as": "by"}]}`:                          `plan /aggregate/0/as: expected a name, got "by"`,
		`{"from": "logs", "aggregate": [{"fn": "sum", "args": ["time"]}]}`:                      `plan /aggregate/0/fn: sum: a number is wanted here, not a value of type time`,
		`{"from": "logs", "by": ["attributes"]}`:                                                `plan /by/0: rows cannot be grouped by a map: name one of its attributes, as in attr["http.route"]`,
		`{"from": "logs", "select": ["time"], "by": ["time"]}`:                                  `plan /select: select is for rows: aggregate and by say themselves what the result consists of`,
		`{"from": "logs", "select": [{"expr": "time", "as": 5}]}`:                               `plan /select/0/as: expected a name: letters, digits and _`,
		`{"from": "logs", "select": [{"expr": "tiem"}]}`:                                        `plan /select/0/expr: unknown column "tiem" in logs, did you mean "time"`,
		`{"from": "logs", "order": [{"expr": "time", "desc": "yes"}]}`:                          `plan /order/0/desc: expected true or false`,
		`{"from": "logs", "order": [{"expr": "time", "desc": null}]}`:                           `plan /order/0/desc: expected true or false`,
		`{"from": "logs", "order": [{"expr": "time", "asc": true}]}`:                            `plan /order/0/asc: unknown member "asc", did you mean "desc"; the members here are expr, desc`,
		`{"from": "logs", "order": {"expr": "time"}}`:                                           `plan /order: expected an array of one value or more`,
		`{"from": "logs", "aggregate": [{"fn": "count"}], "order": ["time"]}`:                   `plan /order/0: unknown column "time": the columns here are count`,
	} {
		_, err := ParseJSON([]byte(doc), nil)
		var e *PlanError
		if !errors.As(err, &e) || e.Error() != want {
			t.Errorf("%.200s\n got %v\nwant %s", doc, err, want)
		}
	}
}

// TestSomeTextsHaveNoJSONForm: what the form cannot say is not said wrongly.
func TestSomeTextsHaveNoJSONForm(t *testing.T) {
	doubled := "logs | extend x0 = severity_number + severity_number"
	for i := range 40 {
		doubled += fmt.Sprintf(" | extend x%d = x%d + x%d", i+1, i, i)
	}
	for text, want := range map[string]bool{
		`logs`: true, `logs | project body`: true, `logs | where service == "a" | sort by severity | limit 5`: true,
		`spans | summarize n = count(), percentile(duration, 95) by service, bin(5m), attr.x | sort by n desc`: true,
		`logs | count`: true, `logs | distinct service`: true, `logs | extend x = 2.0 * severity_number, y = x + 1 | where service == "a"`: false,
		`logs | limit 5 | sort by service`: false, `logs | limit 5 | limit 3`: false, `logs | limit 5 | count`: false, `logs | sort by body | sort by service`: false,
		`logs | keys`: false, `logs | union (spans)`: false, `logs | join (spans) on trace_id`: false, `logs | sort by severity | project body`: false,
		`logs | summarize n = count() by service | where n > 5`: false, `logs | extend x = 1, body = "y" | project x, body`: true,
		`logs | where body == "\xff"`: false, doubled: false,
	} {
		p, err := Parse(text)
		if err != nil {
			t.Fatalf("%s: %v", text, err)
		}
		doc, ok := JSONOf(p)
		if ok != want {
			t.Errorf("JSONOf(%.80s) = %.200s %v, want %v", text, doc, ok, want)
		}
	}
}

// FuzzQuote: what Quote writes is one text, and reads back as what it was.
func FuzzQuote(f *testing.F) {
	for _, s := range []string{"", `a"b\c`, "\x00\n\t\r\x7f", "é\u2028\ufffd", "` // |"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		if !utf8.ValidString(s) {
			return
		}
		l := lexer{src: Quote(s)}
		tok, err := l.next()
		if err != nil || tok.kind != text || tok.value != s || tok.end != len(l.src) {
			t.Errorf("Quote(%q) = %s, which reads as %v %v", s, l.src, tok, err)
		}
	})
}

// FuzzJSON: a document in the JSON form is refused with a pointer to a place in it or next to one, or is the plan of its text.
func FuzzJSON(f *testing.F) {
	f.Add([]byte(`{"from": "logs", "where": {"op": "in", "args": ["service", {"value": ["a"]}]}, "aggregate": [{"fn": "count", "as": "n"}], "by": [{"bin": "5m"}], "order": [{"expr": "n", "desc": true}], "limit": 5}`))
	f.Add([]byte(`{"from": {"metrics": ["a"]}, "select": ["time", {"field": "attr", "key": "b"}], "where": [{"datetime": "2025-01-01"}, {"duration": "5m"}, {"var": "x"}]}`))
	f.Fuzz(func(t *testing.T, doc []byte) {
		p, err := ParseJSON(doc, nil)
		if err != nil {
			var e *PlanError
			if !errors.As(err, &e) || e.Msg == "" {
				t.Fatalf("ParseJSON(%q) = %v", doc, err)
			}
			return
		}
		text, err := JSONText(doc)
		if err != nil {
			t.Fatal(err)
		}
		q, err := Parse(text)
		if err != nil || !reflect.DeepEqual(p, q) {
			t.Fatalf("%s is not the plan of %s: %v", doc, text, err)
		}
		var members map[string]any
		if json.Unmarshal(doc, &members) != nil || p.Source == "" {
			t.Fatalf("%s is no object", doc)
		}
	})
}
