package query

import (
	"fmt"
	"math/rand/v2"
	"strings"

	"github.com/headgate-io/headgate/query/oql"
)

// generator writes random OQL queries, most of them valid, over the columns of the fixture.
type generator struct {
	*rand.Rand
	source string
	text   []string // visible columns by type
	num    []string
	cond   []string
	time   bool                // the column time is there
	inner  int                 // how deep in subqueries
	vars   map[string]Variable // nil: no variables
}

// generate writes the query of a seed as text without variables.
func generate(seed uint64) string {
	g := &generator{Rand: rand.New(rand.NewPCG(seed, 7))}
	return g.query()
}

// subquery writes a query for the parentheses of a join or union. Its rows are few, for joins multiply them.
func (g *generator) subquery(end string) string {
	sub := &generator{Rand: g.Rand, inner: g.inner + 1, vars: g.vars}
	return "(" + sub.query() + end + ")"
}

// join writes a join on columns that both sides have in the most cases.
func (g *generator) join() string {
	kind := pick(g, []string{"", "inner ", "left "})
	on := pick(g, []string{"service", "tenant", "service, tenant"})
	g.num = append(g.num, "joined")
	if g.IntN(3) > 0 {
		return "join " + kind + "(" + pick(g, []string{"logs", "spans", `metrics("load")`}) + " | summarize joined = count() by " + on + ") on " + on
	}
	return "join " + kind + g.subquery(" | limit 5 | extend joined = 1") + " on " + on
}

// union writes a union and forgets the columns that became text or null.
func (g *generator) union() string {
	if g.IntN(2) == 0 {
		return "union " + g.subquery("")
	}
	return "union (" + pick(g, []string{"logs", "spans", "logs", `metrics("load", "gc")`}) + " | where " + pick(g, []string{`service == "api"`, "attr.size > 700", "true"}) + ")"
}

func pick[T any](g *generator, from []T) T { return from[g.IntN(len(from))] }

func (g *generator) query() string {
	g.time = true
	common := []string{"service", `attr.color`, `attr["http.route"]`, `resource["host.name"]`, "host", "route", "method", "tenant", `attr.absent`, "scope_name"}
	switch g.IntN(3) {
	case 0:
		g.source = "logs"
		g.text = append(common, "body", "trace_id", "severity_text")
		g.num = []string{"severity_number", "status_code", "attr.size", "flags"}
		g.cond = []string{`severity >= "warn"`, `severity == "error"`, `severity in ("info", "fatal")`}
	case 1:
		g.source = "spans"
		g.text = append(common, "name", "kind", "status", "trace_id", "span_id")
		g.num = []string{"duration", "status_code", "attr.size"}
		g.cond = []string{`kind == "server"`, `status != "ok"`, `duration > 100ms`}
	default:
		g.source = pick(g, []string{"metrics", `metrics("load")`, `metrics("load", "requests", "latency")`})
		g.text = append(common, "name", "kind", "unit")
		g.num = []string{"value", "value_int", "count", "sum", "attr.size"}
		g.cond = []string{`kind == "sum"`, `monotonic`, `value != null`}
	}
	out := []string{g.source}
	for range g.IntN(5 - g.inner) {
		if len(g.text) == 0 && len(g.num) == 0 {
			break
		}
		out = append(out, g.stage())
	}
	// Whole rows, above all of the five tables of metrics, are dear to analyse (up to 200 ms of the engine's) and say no more.
	if columns := append(g.text, g.num...); len(columns) > 3 && g.IntN(20) < 19 {
		g.Shuffle(len(columns), func(i, j int) { columns[i], columns[j] = columns[j], columns[i] })
		out = append(out, "project "+strings.Join(columns[:3], ", "))
	}
	return strings.Join(out, " | ")
}

func (g *generator) stage() string {
	n := g.IntN(11)
	if g.inner > 1 {
		n = g.IntN(9) // no deeper
	}
	switch n {
	case 9:
		return g.join()
	case 10:
		if len(g.text) > 3 && g.IntN(4) == 0 {
			g.text, g.num, g.cond, g.time = []string{"key"}, []string{"count"}, nil, false
			return "keys " + pick(g, []string{"", "attr", "resource", "scope"})
		}
		return g.union()
	case 0, 1:
		return "where " + g.condition(2)
	case 2:
		name := fmt.Sprintf("x%d", g.IntN(3))
		if g.IntN(2) == 0 {
			e := g.number(2)
			g.num = append(g.num, name)
			g.text = remove(g.text, name)
			return "extend " + name + " = " + e
		}
		e := g.str(2)
		g.text = append(g.text, name)
		g.num = remove(g.num, name)
		return "extend " + name + " = " + e
	case 3:
		return fmt.Sprintf("sort by %s %s", g.scalar(), pick(g, []string{"asc", "desc", ""}))
	case 4:
		return fmt.Sprintf("%s %d", pick(g, []string{"limit", "take", "head"}), 1+g.IntN(20))
	case 5:
		return fmt.Sprintf("top %d by %s %s", 1+g.IntN(9), g.scalar(), pick(g, []string{"asc", "desc", ""}))
	case 6:
		return g.summarize()
	case 7:
		e := g.scalar()
		g.text, g.num, g.cond, g.time = nil, nil, nil, false
		g.text = []string{"d"}
		return "distinct d = string(" + e + ")"
	default:
		e := g.condition(1)
		if g.IntN(2) == 0 && len(g.text) > 3 {
			return "search " + g.literal() // valid on rows only
		}
		return "where " + e
	}
}

func remove(list []string, s string) []string {
	var out []string
	for _, x := range list {
		if x != s {
			out = append(out, x)
		}
	}
	return out
}

func (g *generator) summarize() string {
	aggs := []string{"n = count()"}
	num := []string{"n"}
	for i := range g.IntN(3) {
		name := fmt.Sprintf("a%d", i)
		fn := pick(g, []string{"sum", "avg", "min", "max", "percentile", "dcount", "countif", "any"})
		arg := g.number(1)
		switch fn {
		case "percentile":
			arg += fmt.Sprintf(", %d", 5*g.IntN(21))
		case "countif":
			arg = g.condition(1)
		}
		aggs = append(aggs, name+" = "+fn+"("+arg+")")
		num = append(num, name)
	}
	var by, text []string
	if g.time && g.IntN(2) == 0 {
		by = append(by, pick(g, []string{"bin(5m)", "bin(auto)", "bin(90s)"}))
	}
	if g.IntN(2) == 0 {
		by = append(by, "k = "+g.str(1))
		text = []string{"k"}
	}
	g.num, g.text, g.cond, g.time = num, text, nil, false
	s := "summarize " + strings.Join(aggs, ", ")
	if by != nil {
		s += " by " + strings.Join(by, ", ")
	}
	return s
}

func (g *generator) scalar() string {
	if g.IntN(2) == 0 {
		return g.str(1)
	}
	return g.number(1)
}

func (g *generator) literal() string {
	l := pick(g, []string{`"api"`, `"red"`, `"a"`, `""`, `"GET"`, `"/cart"`, `"time"`, `"canary"`, `"%"`, "`\\d+`", `"o\"'b"`, `"\\"`, `"T\tab"`})
	if l[0] == '"' { // what JSON writes alike
		if name := g.bound(oql.VarString, l); name != "" {
			return "$" + name
		}
	}
	return l
}

func (g *generator) str(depth int) string {
	if depth == 0 || len(g.num) == 0 {
		if len(g.text) == 0 || g.IntN(5) == 0 {
			return g.literal()
		}
		return pick(g, g.text)
	}
	s := func() string { return g.str(depth - 1) }
	switch g.IntN(9) {
	case 0:
		return "tolower(" + s() + ")"
	case 1:
		return "substring(" + s() + ", " + fmt.Sprint(g.IntN(4)) + ", 5)"
	case 2:
		return "concat(" + s() + ", " + s() + ")"
	case 3:
		return "replace(" + s() + ", " + s() + ", " + s() + ")"
	case 4:
		return "coalesce(" + s() + ", " + s() + ")"
	case 5:
		return "iff(" + g.condition(depth-1) + ", " + s() + ", " + s() + ")"
	case 6:
		return "string(" + g.number(depth-1) + ")"
	case 7:
		return "extract(" + pick(g, []string{`"[a-z]+"`, `"(\\w)$"`, "`^/(.*)`"}) + ", " + s() + ")"
	default:
		return s()
	}
}

func (g *generator) number(depth int) string {
	if depth == 0 || len(g.num) == 0 {
		if len(g.num) == 0 || g.IntN(4) == 0 {
			n := pick(g, []string{"0", "1", "500", "2.5", "250ms", "9223372036854775807", "-3"})
			typ, value := oql.VarFloat, n
			if n == "250ms" {
				typ, value = oql.VarDuration, `"250ms"`
			}
			if name := g.bound(typ, value); name != "" {
				return "${" + name + "}"
			}
			return n
		}
		return pick(g, g.num)
	}
	n := func() string { return g.number(depth - 1) }
	switch g.IntN(9) {
	case 0, 1:
		return "(" + n() + " " + pick(g, []string{"+", "-", "*", "/", "%"}) + " " + n() + ")"
	case 2:
		return "strlen(" + g.str(depth-1) + ")"
	case 3:
		return "iff(" + g.condition(depth-1) + ", " + n() + ", " + n() + ")"
	case 4:
		return "float(" + g.str(depth-1) + ")"
	case 5:
		return "bin(" + n() + ", 10)"
	case 6:
		return pick(g, []string{"abs", "floor", "ceil", "round", "int"}) + "(" + n() + ")"
	case 7:
		return "coalesce(" + n() + ", 0)"
	default:
		return n()
	}
}

func (g *generator) condition(depth int) string {
	if depth == 0 {
		if len(g.cond) > 0 && g.IntN(2) == 0 {
			return pick(g, g.cond)
		}
		return g.str(0) + ` != ` + g.literal()
	}
	c := func() string { return g.condition(depth - 1) }
	switch g.IntN(10) {
	case 0:
		return "(" + c() + " and " + c() + ")"
	case 1:
		return "(" + c() + " or " + c() + ")"
	case 2:
		return "not (" + c() + ")"
	case 3:
		return g.number(depth-1) + " " + pick(g, []string{"==", "!=", "<", "<=", ">", ">="}) + " " + g.number(depth-1)
	case 4:
		return g.str(depth-1) + " " + pick(g, []string{"==", "!=", "<", "<=", ">", ">=", "~", "!~", "startswith", "endswith"}) + " " + g.str(depth-1)
	case 5:
		return g.str(depth-1) + " " + pick(g, []string{"=~", "!=~"}) + " " + pick(g, []string{`"a|b"`, `"^.{3}"`, "`\\d`"})
	case 6:
		return g.str(depth-1) + pick(g, []string{" in (", " not in ("}) + g.literal() + ", " + g.literal() + ")"
	case 7:
		return g.number(depth-1) + " between 1 and 500"
	case 8:
		return pick(g, []string{"true", "exists(attr.color)", `exists(resource["host.name"])`, "isnull(attr.absent)", "attr.size == 500", "attr.size > 100", "attr.color == null"})
	default:
		return c()
	}
}
