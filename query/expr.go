package query

import (
	"fmt"
	"strings"
	"time"

	"github.com/headgate-io/headgate/query/plan"
)

// exprPrinter prints expressions of one SELECT level. With a table it is the level of that table's scan, where columns
// of the source are still expressions of the table.
type exprPrinter struct {
	*printer
	table string
}

// print prints e. An expression of type Bool is 0 or 1, never null, unless e is a nullable column itself.
//
// SECURITY: every function that appears here was chosen because it throws on no row: OrNull forms of conversions and of
// modulo, nullIf around divisors. A function that can throw on data tells about rows that nobody may see.
func (x exprPrinter) print(e *plan.Expr) (string, error) {
	switch e.Op {
	case plan.Ref:
		return x.ref(e.Col)
	case plan.Lit:
		return x.literal(e)
	case plan.Get:
		if s, ok := x.ownColumn(e); ok {
			return s, nil
		}
	case plan.Has:
		if m := e.Args[0]; m.Op == plan.Ref && m.Col.Key != "" {
			return "has(" + x.keys(m.Col) + ", " + x.params.text(e.Args[1].Value.(string)) + ")", nil
		}
	case plan.Lt, plan.Le, plan.Gt, plan.Ge:
		if s, ok := x.severityNumber(e); ok {
			return s, nil
		}
	case plan.Coalesce, plan.If:
		return x.branches(e)
	case plan.Bin:
		return x.bin(e)
	case plan.Now:
		t := x.bounds.Now
		if len(e.Args) == 1 {
			t = t.Add(-e.Args[0].Value.(time.Duration))
		}
		return x.time(t), nil
	case plan.In:
		return x.in(e)
	case plan.Index:
		v, err := x.print(e.Args[0])
		return "indexOf(" + x.params.texts(e.Args[1].Value.([]string)) + ", " + v + ")", err
	}
	args := make([]string, len(e.Args))
	for i, a := range e.Args {
		s, err := x.print(a)
		if err != nil {
			return "", err
		}
		args[i] = s
	}
	s, err := x.operation(e, args)
	if err != nil {
		return "", err
	}
	if e.Type == plan.Bool && e.Op != plan.IsNull && anyNullable(e.Args) {
		s = "ifNull(" + s + ", 0)"
	}
	return s, nil
}

func anyNullable(args []*plan.Expr) bool {
	for _, a := range args {
		if a.Nullable {
			return true
		}
	}
	return false
}

func (x exprPrinter) ref(c *plan.Column) (string, error) {
	if x.table == "" {
		return name(c), nil
	}
	sql, ok := columnsOf[x.table][c.Key]
	if !ok {
		return "", fmt.Errorf("BUG: table %s has no column for %q", x.table, c.Key)
	}
	return sql.expr, nil
}

// keys prints the keys of a map column. Those of the source are read without their values.
func (x exprPrinter) keys(c *plan.Column) string {
	switch {
	case c.Key == "":
		return "mapKeys(" + name(c) + ")"
	case x.table == "":
		return idName(keysID(c))
	default:
		return columnsOf[x.table][c.Key].expr + ".keys"
	}
}

// ownColumn replaces a look-up of a resource attribute by the column that the table has for it.
func (x exprPrinter) ownColumn(e *plan.Expr) (string, bool) {
	m := e.Args[0]
	key, _ := e.Args[1].Value.(string)
	if x.table == "" || m.Op != plan.Ref || m.Col.Key != "resource" {
		return "", false
	}
	s, ok := resourceColumns[x.table][key]
	return s, ok
}

// severityNumber prints the comparison of a log's severity with a class as one with the number that is stored.
func (x exprPrinter) severityNumber(e *plan.Expr) (string, bool) {
	a, b := e.Args[0], e.Args[1]
	rank, ok := b.Value.(int64)
	if x.table == "" || a.Op != plan.Ref || a.Col.Key != "severity" || !ok {
		return "", false
	}
	low, high := max(0, 4*rank-3), 4*rank
	if rank == int64(len(plan.SeverityNames)-1) {
		high = 255
	}
	n := low
	if e.Op == plan.Le || e.Op == plan.Gt {
		n = high
	}
	return "SeverityNumber " + string(e.Op) + " " + x.params.bind("UInt8", fmt.Sprint(n)), true
}

func (p *printer) time(t time.Time) string {
	n := t.UnixNano()
	switch {
	case t.Before(firstTime):
		n = 0
	case t.After(lastTime):
		n = lastTime.UnixNano()
	}
	return "fromUnixTimestamp64Nano(" + p.params.int64(n) + ", 'UTC')"
}

func (x exprPrinter) literal(e *plan.Expr) (string, error) {
	switch v := e.Value.(type) {
	case nil:
		return "NULL", nil
	case string:
		return x.params.text(v), nil
	case int64:
		return x.params.int64(v), nil
	case uint64:
		return x.params.uint64(v), nil
	case float64:
		return x.params.float64(v), nil
	case time.Duration:
		return x.params.int64(int64(v)), nil
	case time.Time:
		return x.time(v), nil
	case bool:
		if v {
			return "true", nil
		}
		return "false", nil
	}
	return "", fmt.Errorf("BUG: no SQL for a literal of type %T", e.Value)
}

// operation prints the operators whose arguments print by themselves.
func (x exprPrinter) operation(e *plan.Expr, a []string) (string, error) {
	infix := func(op string) (string, error) { return "(" + strings.Join(a, " "+op+" ") + ")", nil }
	call := func(fn string) (string, error) { return fn + "(" + strings.Join(a, ", ") + ")", nil }
	switch e.Op {
	case plan.Get:
		return a[0] + "[" + a[1] + "]", nil
	case plan.Has:
		return call("mapContains")
	case plan.And:
		return infix("AND")
	case plan.Or:
		return infix("OR")
	case plan.Not:
		return "NOT (" + a[0] + ")", nil
	case plan.Eq:
		return a[0] + " = " + a[1], nil
	case plan.Lt, plan.Le, plan.Gt, plan.Ge:
		return a[0] + " " + string(e.Op) + " " + a[1], nil
	case plan.Contains:
		return "positionCaseInsensitiveUTF8(" + a[0] + ", " + a[1] + ") > 0", nil
	case plan.Match:
		return call("match")
	case plan.StartsWith:
		return call("startsWith")
	case plan.EndsWith:
		return call("endsWith")
	case plan.IsNull:
		return call("isNull")
	case plan.AnyText:
		return call("has")
	case plan.AnyPair:
		return "arrayExists(m -> mapContains(m, " + a[1] + ") AND m[" + a[1] + "] = " + a[2] + ", " + a[0] + ")", nil
	case plan.Add, plan.Sub:
		return timeArithmetic(e, a), nil
	case plan.Mul:
		return infix("*")
	case plan.Div:
		return "(toFloat64(" + a[0] + ") / nullIf(toFloat64(" + a[1] + "), 0))", nil
	case plan.Mod:
		return call("moduloOrNull")
	case plan.Neg:
		return call("negate")
	case plan.ToFloat, plan.ToInt, plan.ToString:
		return convert(e, a[0])
	case plan.Lower:
		return call("lowerUTF8")
	case plan.Upper:
		return call("upperUTF8")
	case plan.Length:
		return call("lengthUTF8")
	case plan.Trim:
		return call("trimBoth")
	case plan.Concat:
		return call("concat")
	case plan.Replace:
		return call("replaceAll")
	case plan.Extract:
		return "extract(" + a[1] + ", " + a[0] + ")", nil
	case plan.Substring:
		a[1] += " + 1"
		return call("substringUTF8")
	case plan.Abs, plan.Floor, plan.Ceil:
		return call(string(e.Op))
	case plan.Round:
		return call("round")
	}
	return "", unknownOp(e.Op)
}

const nanos = "toUnixTimestamp64Nano("

// timeArithmetic prints + and -, which for times work on nanoseconds.
func timeArithmetic(e *plan.Expr, a []string) string {
	left, right := e.Args[0].Type, e.Args[1].Type
	sum := "(" + a[0] + " " + string(e.Op) + " " + a[1] + ")"
	switch {
	case left == plan.Time && right == plan.Time:
		return "(" + nanos + a[0] + ") - " + nanos + a[1] + "))"
	case left == plan.Time:
		return "fromUnixTimestamp64Nano(toInt64(" + nanos + a[0] + ") " + string(e.Op) + " " + a[1] + "), 'UTC')"
	}
	return sum
}

// convert prints float(), int() and string().
func convert(e *plan.Expr, a string) (string, error) {
	from := e.Args[0].Type
	switch {
	case e.Op == plan.ToFloat && from == plan.String:
		return "toFloat64OrNull(" + a + ")", nil
	case e.Op == plan.ToFloat:
		return "toFloat64(" + a + ")", nil
	case e.Op == plan.ToInt && from == plan.String:
		return "toInt64OrNull(" + a + ")", nil
	case e.Op == plan.ToInt && from == plan.Float:
		return "accurateCastOrNull(trunc(" + a + "), 'Int64')", nil
	case e.Op == plan.ToInt:
		return "toInt64(" + a + ")", nil
	}
	switch from {
	case plan.Bool:
		return "if(" + a + ", 'true', 'false')", nil
	case plan.Time:
		return "concat(replaceOne(toString(" + a + "), ' ', 'T'), 'Z')", nil
	case plan.Severity:
		return severityName(a, e.Nullable), nil
	case plan.Map:
		return "toJSONString(" + a + ")", nil
	case plan.Int, plan.Float, plan.Duration:
		return "toString(" + a + ")", nil
	}
	return "", fmt.Errorf("BUG: no SQL for a text of type %s", from)
}

func severityName(a string, nullable bool) string {
	if nullable {
		return "if(isNull(" + a + "), NULL, " + severityName(a, false) + ")"
	}
	return "transform(" + a + ", [0, 1, 2, 3, 4, 5, 6], ['" + strings.Join(plan.SeverityNames, "', '") + "'], '')"
}

// branches prints coalesce and iff with all values brought to the type of the whole: ClickHouse refuses some mixtures.
func (x exprPrinter) branches(e *plan.Expr) (string, error) {
	var out []string
	for i, a := range e.Args {
		s, err := x.print(a)
		if err != nil {
			return "", err
		}
		condition := e.Op == plan.If && i == 0
		switch {
		case condition || a.Type == plan.Null:
		case e.Type == plan.Int || e.Type == plan.Duration:
			s = "toInt64(" + s + ")"
		case e.Type == plan.Float:
			s = "toFloat64(" + s + ")"
		case e.Type == plan.String && e.Op == plan.Coalesce:
			s = "nullIf(" + s + ", '')"
		}
		out = append(out, s)
	}
	fn := "coalesce("
	if e.Op == plan.If {
		fn = "if("
	}
	return fn + strings.Join(out, ", ") + ")", nil
}

func (x exprPrinter) in(e *plan.Expr) (string, error) {
	v, list := e.Args[0], e.Args[1]
	s, err := x.print(v)
	if err != nil {
		return "", err
	}
	switch l := list.Value.(type) {
	case []string:
		s += " IN " + x.params.texts(l)
	case []float64:
		s = "toFloat64(" + s + ") IN " + x.params.float64s(l)
	case []int64:
		if v.Type == plan.Float {
			fl := make([]float64, len(l))
			for i, n := range l {
				fl[i] = float64(n)
			}
			s += " IN " + x.params.float64s(fl)
			break
		}
		s += " IN " + x.params.int64s(l)
	default:
		return "", fmt.Errorf("BUG: no SQL for a list of type %T", list.Value)
	}
	if v.Nullable {
		return "ifNull(" + s + ", 0)", nil
	}
	return s, nil
}

func (x exprPrinter) bin(e *plan.Expr) (string, error) {
	s, err := x.print(e.Args[0])
	if err != nil {
		return "", err
	}
	if e.Args[0].Type == plan.Time {
		width, ok := e.Args[1].Value.(time.Duration)
		if !ok || width < 0 {
			return "", fmt.Errorf("BUG: bin of width %v", e.Args[1].Value)
		}
		if width == 0 {
			width = autoWidth(x.bounds.End.Sub(x.bounds.Start))
		}
		w := x.params.int64(int64(width))
		return "fromUnixTimestamp64Nano(toInt64(intDiv(" + nanos + s + "), " + w + ") * " + w + "), 'UTC')", nil
	}
	w, err := x.print(e.Args[1])
	if err != nil {
		return "", err
	}
	if e.Type == plan.Float {
		return "(floor(toFloat64(" + s + ") / " + w + ") * " + w + ")", nil
	}
	return "(intDiv(" + s + ", " + w + ") * " + w + ")", nil
}

// autoWidths are the widths that bin(auto) chooses from.
var autoWidths = []time.Duration{
	time.Second, 5 * time.Second, 10 * time.Second, 30 * time.Second,
	time.Minute, 5 * time.Minute, 10 * time.Minute, 30 * time.Minute,
	time.Hour, 3 * time.Hour, 6 * time.Hour, 12 * time.Hour, 24 * time.Hour, 7 * 24 * time.Hour,
}

// maxAutoBins is how many bins a range makes at most with bin(auto), up to 2 years.
const maxAutoBins = 120

func autoWidth(span time.Duration) time.Duration {
	for _, w := range autoWidths {
		if span <= maxAutoBins*w {
			return w
		}
	}
	return autoWidths[len(autoWidths)-1]
}

// summarize prints the parts of a grouped SELECT: the group columns, the aggregates and the GROUP BY.
func (x exprPrinter) summarize(s plan.Summarize) (by idSet, aggs []string, tail string, err error) {
	by = idSet{}
	for _, c := range s.By {
		by[c.ID] = true
	}
	for _, a := range s.Aggs {
		sql, err := x.aggregate(a)
		if err != nil {
			return nil, nil, "", err
		}
		aggs = append(aggs, sql+" AS "+name(a.Col))
	}
	if len(by) > 0 {
		tail = " GROUP BY " + strings.Join(by.list(), ", ")
	}
	return by, aggs, tail, nil
}

func (x exprPrinter) aggregate(a plan.Agg) (string, error) {
	arg := ""
	if a.Arg != nil {
		s, err := x.print(a.Arg)
		if err != nil {
			return "", err
		}
		arg = s
	}
	switch a.Fn {
	case plan.Count:
		return "count()", nil
	case plan.CountIf:
		return "countIf(" + arg + ")", nil
	case plan.DCount:
		return "uniq(" + arg + ")", nil
	case plan.Sum:
		return "ifNull(sum(" + arg + "), 0)", nil
	case plan.Avg:
		return "avgOrNull(" + arg + ")", nil
	case plan.Min:
		return "minOrNull(" + arg + ")", nil
	case plan.Max:
		return "maxOrNull(" + arg + ")", nil
	case plan.Any:
		if a.By == nil {
			return "minOrNull(" + arg + ")", nil
		}
		return "argMaxOrNull(" + arg + ", " + name(a.By) + ")", nil
	case plan.Percentile:
		// The level is printed from a number that was checked to be 0 to 100: parameters cannot stand there.
		return "quantileTDigestOrNull(" + formatFloat(a.Param/100) + ")(" + arg + ")", nil
	case plan.Top:
		if a.Arg.Type == plan.Severity {
			arg = severityName(arg, a.Arg.Nullable)
		}
		return "topK(" + formatFloat(a.Param) + ")(" + arg + ")", nil
	}
	return "", fmt.Errorf("BUG: no SQL for aggregation %q", string(a.Fn))
}
