package prom

import (
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/prometheus/promql/parser"

	"github.com/headgate-io/headgate/internal/httpapi"
	"github.com/headgate-io/headgate/query"
	"github.com/headgate-io/headgate/query/oql"
)

// read makes a variable of a type from JSON, a sample from "".
func read(t testing.TB, typ oql.VarType, text string) oql.Value {
	t.Helper()
	if text == "" {
		return typ.Sample()
	}
	v, err := typ.Read([]byte(text))
	if err != nil {
		t.Fatalf("%s %s: %v", typ, text, err)
	}
	return v
}

// bindText binds the variables of a text.
func bindText(text string, vars oql.Vars) (parser.Expr, error) {
	tm, err := newTemplate(text, vars)
	if err != nil {
		return nil, err
	}
	return tm.bind(newParser())
}

// everything has a variable of each type.
func everything(t testing.TB) oql.Vars {
	return oql.Vars{
		"s": read(t, oql.VarString, `"shop"`), "re": read(t, oql.VarString, `"a.*"`), "i": read(t, oql.VarInt, `3`), "f": read(t, oql.VarFloat, `-0.5`),
		"d": read(t, oql.VarDuration, `"5m"`), "l": read(t, oql.VarList, `["a.b","c|d",5]`), "b": read(t, oql.VarBool, `true`),
		"t": read(t, oql.VarTime, `"2025-01-31T12:00:00Z"`), "big": read(t, oql.VarInt, fmt.Sprint(int64(math.MinInt64))),
	}
}

// TestVariablesStandForLiterals: what is evaluated is what the query with the values written out is.
func TestVariablesStandForLiterals(t *testing.T) {
	for text, want := range map[string]string{
		`up{job=$s}`:                                `up{job="shop"}`,
		`up{job!=${s},x="$s1"}`:                     `up{job!="shop",x="$s1"}`,
		`up{job=~$re} # $none`:                      `up{job=~"a.*"}`,
		`{"up", "a b"=~$re}`:                        `{"up", "a b"=~"a.*"}`,
		`up{job=~$l,x!~$l}`:                         `up{job=~"a\\.b|c\\|d|5",x!~"a\\.b|c\\|d|5"}`,
		`rate(up[$d])`:                              `rate(up[5m])`,
		`rate(up{job=$s}[${d}] offset -$d)`:         `rate(up{job="shop"}[5m] offset -5m)`,
		`max_over_time(up[$d:$d] offset $d)`:        `max_over_time(up[5m:5m] offset 5m)`,
		`up offset $d > $i`:                         `up offset 5m > 3`,
		`topk($i, up) or up*$f`:                     `topk(3, up) or up * -0.5`,
		`up > -$i and up < - -$i`:                   `up > -3 and up < 3`,
		`up / $d`:                                   `up / 300`,
		`quantile_over_time($f, up[5m]) + $big`:     `quantile_over_time(-0.5, up[5m]) + -9.223372036854775808e+18`,
		"label_replace(up, 'a', '${s}', 'b', `$s`)": "label_replace(up, 'a', '${s}', 'b', `$s`)",
		`vector($i)`:                                `vector(3)`,
	} {
		got, err := bindText(text, everything(t))
		if err != nil {
			t.Errorf("%s: %v", text, err)
			continue
		}
		expr, err := newParser().ParseExpr(want)
		if err != nil {
			t.Fatalf("%s: %v", want, err)
		}
		if g, w := shape(t, got), shape(t, expr); g != w {
			t.Errorf("%s is\n%s, want\n%s", text, g, w)
		}
		if err := Check(text, "", samples(everything(t))); err != nil {
			t.Errorf("Check(%s) = %v", text, err)
		}
	}
	// A value below zero is one number, unlike its text.
	if got, err := bindText(`$f ^ 2`, everything(t)); err != nil || got.(*parser.BinaryExpr).LHS.(*parser.NumberLiteral).Val != -0.5 {
		t.Errorf("$f ^ 2 is %v, %v", got, err)
	}
}

// shape is the tree of an expression as JSON.
func shape(t testing.TB, expr parser.Expr) string {
	t.Helper()
	v, err := treeOf(expr)
	if err != nil {
		t.Fatal(err)
	}
	raw, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return string(raw)
}

func samples(vars oql.Vars) map[string]query.Variable {
	out := map[string]query.Variable{}
	for name, v := range vars {
		out[name] = query.Variable{Type: v.Type()}
	}
	return out
}

// TestVariablesStandNowhereElse: the error points at the variable, when a query is saved as when it is run.
func TestVariablesStandNowhereElse(t *testing.T) {
	for text, column := range map[string]int{
		`$s`:                               1,
		`$s{job="x"}`:                      3,
		`{__name__=$s}`:                    11,
		`{__name__=~$l}`:                   12,
		`{$s, job="x"}`:                    2,
		`up{$s="x"}`:                       4,
		`up{job=$l}`:                       8,
		`up{job=$i}`:                       8,
		`up{job=$d}`:                       8,
		`sum by ($s) (up)`:                 9,
		`up * on($s) up`:                   9,
		`up * on(a) group_left($s) up`:     23,
		`$s(up)`:                           3,
		`ra$s(up)`:                         3,
		`http_$i`:                          6,
		`5$i + up`:                         2,
		`up[5$d]`:                          5,
		`up[$i]`:                           4,
		`up[$s]`:                           4,
		`up offset $i`:                     11,
		`up @ $i`:                          6,
		`up @ $t`:                          6,
		`up > bool $b`:                     11,
		`count_values($s, up)`:             14,
		`label_replace(up,$s,"b","c","d")`: 18,
		`label_replace(up,"a",$s,"c","d")`: 22,
		`label_join(up,"a","b",$s)`:        23,
		`up > $nothing`:                    6,
		`up > $`:                           6,
		`up > ${i`:                         6,
		`up > $1`:                          6,
		`up{job="$s"}`:                     9,
		`up{job=~"a|${s}"}`:                12,
		"up{job='x'} >\n  $s":              3,
		`up + rate($d)`:                    11,
		`up{job=$s,} up`:                   13,
	} {
		err := Check(text, "", samples(everything(t)))
		var refused *httpapi.Error
		if !errors.As(err, &refused) || refused.Code != query.CodeSyntax || refused.Extra["column"] != column {
			t.Errorf("Check(%s) = %v, want one at column %d", text, err, column)
		}
		if err != nil && (regexp.MustCompile(`v\dx|\d{4}`).MatchString(err.Error())) {
			t.Errorf("%s shows a placeholder: %v", text, err)
		}
		_, err = bindText(text, everything(t))
		var e *oql.Error
		if !errors.As(err, &e) || e.Column != column {
			t.Errorf("bind %s: %v, want an error at column %d", text, err, column)
		}
	}
}

// TestValuesAreRefusedForWhatTheyMakeOfAQuery: what the parser refuses of literals is refused of values too.
func TestValuesAreRefusedForWhatTheyMakeOfAQuery(t *testing.T) {
	for _, c := range []struct {
		text  string
		typ   oql.VarType
		value string
	}{
		{`{job=$v}`, oql.VarString, `""`},
		{`{job=~$v}`, oql.VarString, `".*"`},
		{`up{job=~$v}`, oql.VarString, `"("`},
		{`rate(up[$v])`, oql.VarDuration, `"0s"`},
		{`max_over_time(up[5m:$v])`, oql.VarDuration, `"0s"`},
		{`rate(up[$v])`, oql.VarDuration, `"1500us"`},
	} {
		v, err := c.typ.Read([]byte(c.value))
		if err != nil {
			continue // not a value at all
		}
		if expr, err := bindText(c.text, oql.Vars{"v": v}); err == nil {
			t.Errorf("%s with %s is %s", c.text, c.value, expr)
		}
		if err := Check(c.text, "", map[string]query.Variable{"v": {Type: c.typ}}); err != nil {
			t.Errorf("Check(%s) = %v", c.text, err)
		}
	}
	for _, step := range []string{"0", "-1m", "x", "1ns"} {
		if Check("up", step, nil) == nil {
			t.Errorf("a step of %s is taken", step)
		}
	}
}

// hostile values try to end their literal, or to be read as something else.
var hostile = []string{
	`"`, `\`, `\"`, `"} or up{job="`, `x"} or {__name__=~".+"} or up{job="y`, "`", "'", "\n", "#", "# comment", "$s", "${s}", "$1", "{{x}}", "%s", "", " ",
	"\x00", "\ufffd", "\u2028", "a|b", ".*", ".+", "(", "[", `\Q`, `\E.*\Q`, "(?i)x", "up", "__name__", "tenant_id", "1", "5m", "NaN", "or", "by (x)", "offset 5m",
	strings.Repeat("x", 4000), "é", "🙂",
}

// TestHostileValuesStayValues: whatever the value, the tree is that of a harmless one but for the matcher's text, which is the value.
func TestHostileValuesStayValues(t *testing.T) {
	const text = `sum by (job) (rate(up{job="x",path=$v,z!~"q"}[5m])) > 2 # $v`
	harmless, err := bindText(text, oql.Vars{"v": read(t, oql.VarString, `"harmless"`)})
	if err != nil {
		t.Fatal(err)
	}
	for _, value := range hostile {
		raw, err := json.Marshal(value)
		if err != nil {
			t.Fatal(err)
		}
		got, err := bindText(text, oql.Vars{"v": read(t, oql.VarString, string(raw))})
		if err != nil {
			t.Errorf("%q: %v", value, err)
			continue
		}
		seen := 0
		parser.Inspect(got, func(node parser.Node, _ []parser.Node) error {
			if s, ok := node.(*parser.VectorSelector); ok {
				for _, m := range s.LabelMatchers {
					if m.Name == "path" && m.Value == value {
						seen++
						m.Value = "harmless"
					}
				}
			}
			return nil
		})
		if g, w := shape(t, got), shape(t, harmless); seen != 1 || g != w {
			t.Errorf("%q: %d matchers have it, the rest is %s", value, seen, g)
		}
		// As an item of a list a value matches itself, and nothing else of these.
		list, err := json.Marshal([]string{"first", value})
		if err != nil {
			t.Fatal(err)
		}
		listed, err := bindText(`up{path=~$v}`, oql.Vars{"v": read(t, oql.VarList, string(list))})
		if err != nil {
			t.Errorf("list of %q: %v", value, err)
			continue
		}
		m := listed.(*parser.VectorSelector).LabelMatchers[0]
		for _, other := range append(hostile, "first", "second") {
			if want := other == value || other == "first"; m.Matches(other) != want {
				t.Errorf("list of %q matches %q: %t", value, other, !want)
			}
		}
	}
}

// FuzzBind: a variable that is taken is one literal, so no value changes the tree but in that literal.
func FuzzBind(f *testing.F) {
	for _, text := range []string{`up{job=$s}`, `rate(up{job=~$s}[$d]) > $i`, `up[$d:$d] offset -$d`, `$i^-$i`, "`$s`+\"$s\"", `{$s="a"}`, `up{a="\"",b=$s}`, `'\'$s'`, `#`, `"`} {
		f.Add(text, "x", int64(1))
		f.Add(text, `"} or up{a="`, int64(-7))
	}
	f.Fuzz(func(t *testing.T, text, s string, n int64) {
		raw, err := json.Marshal(s)
		if err != nil {
			t.Skip("no query that can be bound")
		}
		v, err := oql.VarString.Read(raw)
		if err != nil {
			t.Skip("no query that can be bound")
		}
		whole, err := oql.VarInt.Read(fmt.Append(nil, n))
		if err != nil {
			t.Fatal(err)
		}
		span := read(t, oql.VarDuration, `"7m"`)
		got, err := bindText(text, oql.Vars{"s": v, "i": whole, "d": span})
		if err != nil {
			return
		}
		plain, err := bindText(text, oql.Vars{"s": read(t, oql.VarString, `"x"`), "i": read(t, oql.VarInt, "1"), "d": span})
		if err != nil {
			return // refused for what the value makes of it
		}
		if g, w := skeleton(got), skeleton(plain); g != w {
			t.Errorf("%q is %s, and %s with other values", text, g, w)
		}
	})
}

// skeleton is an expression without its literals: the types of its nodes, and names of matchers.
func skeleton(expr parser.Expr) string {
	var out strings.Builder
	parser.Inspect(expr, func(node parser.Node, _ []parser.Node) error {
		fmt.Fprintf(&out, "%T ", node)
		switch n := node.(type) {
		case *parser.VectorSelector:
			for _, m := range n.LabelMatchers {
				fmt.Fprintf(&out, "%s %s ", m.Name, m.Type)
			}
		case *parser.Call:
			out.WriteString(n.Func.Name)
		case *parser.AggregateExpr:
			fmt.Fprint(&out, n.Op, n.Grouping)
		case *parser.MatrixSelector:
			fmt.Fprint(&out, n.Range)
		}
		return nil
	})
	return out.String()
}

// TestStepsOfRanges: a range has some values, and never more than it may.
func TestStepsOfRanges(t *testing.T) {
	for _, span := range []time.Duration{0, time.Second, time.Hour, 24 * time.Hour, 30 * 24 * time.Hour, 20 * 365 * 24 * time.Hour} {
		if step := stepOf(span); step < leastStep || span/step > mostSteps {
			t.Errorf("%s has a step of %s", span, step)
		}
	}
}
