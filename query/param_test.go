package query

import (
	"encoding/hex"
	"io"
	"math"
	"math/rand/v2"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/ClickHouse/clickhouse-go/v2"

	"github.com/headgate-io/headgate/internal/chtest"
	"github.com/headgate-io/headgate/query/oql"
	"github.com/headgate-io/headgate/query/plan"
)

// values are texts that break naive quoting, and random ones.
func hostileTexts() []string {
	all := make([]byte, 256)
	for i := range all {
		all[i] = byte(i)
	}
	out := []string{
		string(all), "", "'", `"`, "`", `\`, `\\`, `\'`, `C:\new\table`, "a\tb\nc\rd\x00e\bf\fg\vh\ai", `\N`, `\x41`, `\0`, "NULL", "null", "[]", "']", "'],['", "a,b",
		"{x:String}", "{p1:Array(String)}", "?", "$1", "@p", ":p", "%s", "%00", "+", "a b&param_p1=['b']", "; DROP TABLE otel_logs", "-- ", "/* */", "\xff\xfe", "é", "\u2028", "🦆", strings.Repeat(`\`, 200),
	}
	r := rand.New(rand.NewPCG(1, 2))
	const nasty = "\\\\\\'''\"\"`\t\n\r\x00\b\f,[]{}()%&=+#;:NnTt0xab\xff\xc3\xa9"
	for range 300 {
		b := make([]byte, r.IntN(12))
		for i := range b {
			b[i] = nasty[r.IntN(len(nasty))]
		}
		out = append(out, string(b))
	}
	return out
}

// TestBoundValuesArriveAsTheyAre sends values through the driver and the engine as single parameters and in arrays.
func TestBoundValuesArriveAsTheyAre(t *testing.T) {
	conn := chtest.Start(t).OpenReader(t, "")
	hexOf := func(p *params, expr string) string {
		t.Helper()
		ctx := clickhouse.Context(t.Context(), clickhouse.WithParameters(p.values))
		r, err := conn.QueryFormat(ctx, "TSVRaw", "SELECT "+expr)
		if err != nil {
			t.Fatalf("%q: %v", p.values, err)
		}
		defer r.Close()
		b, err := io.ReadAll(r)
		if err != nil {
			t.Fatal(err)
		}
		return strings.TrimSuffix(string(b), "\n")
	}
	texts := hostileTexts()
	var want []string
	for _, s := range texts {
		want = append(want, strings.ToUpper(hex.EncodeToString([]byte(s))))
	}
	for from := 0; from < len(texts); from += 20 { // the values ride in a URL
		part := texts[from:min(from+20, len(texts))]
		p := newParams()
		if got, w := hexOf(p, "arrayStringConcat(arrayMap(x -> hex(x), "+p.texts(part)+"), ',')"), strings.Join(want[from:from+len(part)], ","); got != w {
			t.Errorf("array %q = %s, want %s", part, got, w)
		}
		p = newParams()
		var exprs []string
		for _, s := range part {
			exprs = append(exprs, "hex("+p.text(s)+")")
		}
		if got, w := hexOf(p, "concat("+strings.Join(exprs, ", ',', ")+")"), strings.Join(want[from:from+len(part)], ","); got != w {
			t.Errorf("texts %q = %s, want %s", part, got, w)
		}
	}
	p := newParams()
	for expr, want := range map[string]string{
		p.int64(math.MinInt64):                              "-9223372036854775808",
		p.int64(math.MaxInt64):                              "9223372036854775807",
		p.uint64(math.MaxUint64):                            "18446744073709551615",
		p.float64(math.SmallestNonzeroFloat64) + " > 0":     "1",
		p.float64(math.MaxFloat64):                          "1.7976931348623157e308",
		p.float64(0.1):                                      "0.1",
		p.float64(-1e-300):                                  "-1e-300",
		"toString(" + p.int64s([]int64{-1, 0, 1}) + ")":     "[-1,0,1]",
		"toString(" + p.float64s([]float64{2.5, 1e9}) + ")": "[2.5,1000000000]",
	} {
		if got := hexOf(p, expr); got != want {
			t.Errorf("%s = %s, want %s", expr, got, want)
		}
	}
}

// quoteOQL writes s as a literal of the language.
func quoteOQL(s string) string {
	var b strings.Builder
	b.WriteByte('"')
	for _, c := range []byte(s) {
		if c == '"' || c == '\\' || c < ' ' || c >= 0x7f {
			b.WriteString(`\x` + hex.EncodeToString([]byte{c}))
			continue
		}
		b.WriteByte(c)
	}
	return b.String() + `"`
}

// TestLiteralsMeanWhatTheySay: any text can be written, and finds exactly the rows that hold it.
func TestLiteralsMeanWhatTheySay(t *testing.T) {
	s := newStore(t)
	texts := hostileTexts()
	seen := map[string]bool{}
	var rows []row
	for i, v := range texts {
		if seen[v] || v == "" || strings.ToValidUTF8(v, "") != v {
			continue // an attribute has a name, and JSON, which carries the rows here, is UTF-8
		}
		seen[v] = true
		rows = append(rows, row{"TenantId": "a", "Timestamp": at(float64(i)), "Body": v, "LogAttributes": map[string]string{v: v}})
	}
	s.insert("otel_logs", rows...)
	b := hour()
	b.Limit = 10
	for v := range seen {
		lit := quoteOQL(v)
		p, err := oql.Parse("logs | where body == " + lit)
		if err != nil {
			t.Fatalf("%s: %v", lit, err)
		}
		if got := p.Stages[0].(plan.Where).Cond.Args[1].Value; got != v {
			t.Fatalf("literal %s = %q, want %q", lit, got, v)
		}
		got, err := s.ask(chtest.Scope(t, "a"), b, "logs | where body == "+lit+" and body in ("+lit+", \"no\") and exists(attr["+lit+"]) and attr["+lit+"] == "+lit+" | project body, a = attr["+lit+"], l = "+lit)
		if err != nil || len(got) != 1 || got[0]["body"] != v || got[0]["a"] != v || got[0]["l"] != v {
			t.Errorf("%q: %q, %v", v, got, err)
		}
	}
}

// TestHostileTextIsRefusedOrHarmless sends texts that attack the parser, the printer and the engine.
func TestHostileTextIsRefusedOrHarmless(t *testing.T) {
	s := newStore(t)
	s.fill(true)
	srv := s.serve(chtest.Scope(t, "a"))
	nested := func(open, mid, end string, n int) string {
		return strings.Repeat(open, n) + mid + strings.Repeat(end, n)
	}
	var extends []string
	for i := range 50 {
		extends = append(extends, "extend y"+strconv.Itoa(i)+" = 1")
	}
	queries := []string{
		"", " ", "|", "logs |", "logs ||", "logs; spans", "logs -- x", "logs /* x */", "otel_logs", "system.parts", "(logs)", "`logs`", `"logs"`, "numbers(10)",
		`logs | where body == 'x'`, `logs | where body == "`, "logs | where body == `", `logs | where body == "\q"`, "logs | where body == \"\n\"", "logs | where body == \"\x00\"", "logs\x00", "logs | where body == \"\xff\"", "\xef\xbb\xbflogs",
		`logs | where 1 = 1`, `logs | where 1 or 1`, `logs | where 1`, `logs | where "a"`, `logs | where body`, `logs | where body ~ 5`, `logs | where body =~ "("`, `logs | where body =~ body`, `logs | where body =~ "(((a{1000}){1000}){1000})"`, `logs | where body =~ "\x00"`,
		"logs | where body =~ `^(a+)+$`", "logs | where body =~ `" + strings.Repeat("(x{100}|y{100})", 60) + "`",
		`logs | where TenantId == "b"`, `logs | where tenant == "b"`, `logs | where tenant in ("a", "b")`, `logs | where tenant != "a"`, `logs | where not (tenant == "a")`, `logs | where true or tenant == "b"`,
		`logs | extend tenant = "b" | where tenant == "b"`, `logs | extend TenantId = "b"`, `logs | project TenantId = "b", Timestamp = 1, equals = 2, c1 = 3, r1 = 4`, `logs | extend c1 = body, c0 = 1 | where c1 ~ "a"`,
		`logs | where time > datetime"9999-01-01T00:00:00Z"`, `logs | where time > ago(99999d)`, `logs | project v = time + 100000d + 100000d`, `logs | project v = time - 100000d`,
		`logs | where severity_number == 99999999999999999999`, `logs | where severity_number == 1e999`, `logs | project v = 9223372036854775807 + 1, w = -9223372036854775807 - 5, x = 18446744073709551615 + 1`, `logs | project v = 9223372036854775807 * 9223372036854775807`,
		`logs | project v = -9223372036854775808 % -1, w = -9223372036854775808 / -1, x = bin(-9223372036854775808, 7), y = abs(-9223372036854775808), z = --9223372036854775808`, `logs | project v = 1e308 * 1e308, w = 0.0 / 0.0, x = float("nan"), y = float("inf"), z = int(float("inf"))`,
		`logs | project v = int(1e308), w = round(1e308, 15), x = bin(1e308, 0.1), y = 1e308 % 3, z = 18446744073709551615 % 18446744073709551615`, `logs | project v = int(float("nan")), w = floor(float("nan")), x = bin(float("nan"), 2)`,
		`logs | project v = lower("\xff\xfe"), w = upper("\xff"), x = strlen("\xff\xff"), y = substring("\xc3\xa9\xff", 1, 1), z = trim("\xff ")`, `logs | where body ~ "\xff" or body =~ "\\xff" or body startswith "\xff"`, `logs | project v = replace(body, "", "x"), w = replace(body, "\x00", ""), x = extract("", body)`,
		`logs | where attr[""] == ""`, `logs | where exists(attr["\x00"])`, `logs | where attr["TenantId"] == "b"`, `logs | project attr["x` + "`" + `; DROP TABLE otel_logs"]`, `logs | project attr["{p1:Array(String)}"], x = "{p1:Array(String)}"`,
		`logs | join (spans) on trace_id`, `logs | union (logs)`, `logs | where body in (logs)`, `logs | where body in (spans | project name)`, `logs | summarize count() by attributes`, `logs | sort by resource`, `logs | limit 0`, `logs | limit -1`, `logs | limit 100001`, `logs | limit 1.5`,
		`metrics("")`, `metrics("' OR 1=1 --")`, `metrics("load" "gc")`, `metrics("load",)`, `metrics(load)`, `metrics("load") | where name == "canary"`,
		`logs | where ` + nested("(", "true", ")", 30), `logs | where ` + nested("(", "true", ")", 100), `logs | where ` + nested("(", "true", ")", 7000), `logs | where ` + nested("not ", "true", "", 60), `logs | where ` + nested("not ", "true", "", 3000), `logs | project v = ` + nested("-", "1", "", 8000),
		`logs | where true` + nested(" and true", "", "", 400), `logs | where true` + nested(" or body == \"x\"", "", "", 240), `logs | project v = 1` + nested(" + 1", "", "", 60), `logs | project v = 1` + nested(" + 1", "", "", 600), `logs | project v = ` + nested("iff(1 between ", "1", " and 2, 1, 2)", 8), `logs | project v = ` + nested("iff(", "1", " between 1 and 2, 1, 2)", 60),
		`logs` + nested(" | where true", "", "", 50), `logs` + nested(" | where true", "", "", 51), `logs` + nested(" | limit 5", "", "", 50), "logs | " + strings.Join(extends, " | "), `logs | extend x = 1` + nested(", x = x + 1", "", "", 58), `logs | extend x = 1` + nested(", x = x + 1", "", "", 150),
		`logs | where body in ("x"` + nested(`, "x"`, "", "", 999) + `)`, `logs | where body in ("x"` + nested(`, "x"`, "", "", 1000) + `)`, "logs // " + strings.Repeat("x", 16<<10), `logs | where body == "` + strings.Repeat(`\x00`, 4000) + `"`,
		`spans | where ` + nested(`status_code == 200 or `, "false", "", 240), `metrics | where ` + nested(`method == "x" or `, "false", "", 240),
	}
	began := time.Now()
	for _, q := range queries {
		got := post(t, srv, map[string]any{"query": q, "start": hourStart, "end": hourEnd, "limit": 3})
		if got.status != 200 && got.status != 400 {
			t.Errorf("%.200q: %d %s", q, got.status, got.body)
		}
		if strings.Contains(got.body, `"error":{`) || strings.Contains(got.body, "DB::Exception") || strings.Contains(got.body, canary) && !strings.Contains(q, canary) || strings.Contains(got.body, `"tenant":"b"`) && !strings.Contains(q, "extend tenant") {
			t.Errorf("%.200q: %s", q, got.body)
		}
	}
	t.Logf("%d texts in %v", len(queries), time.Since(began))
}
