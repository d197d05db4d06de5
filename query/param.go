package query

import (
	"strconv"
	"strings"
)

// maxBoundBytes bounds the values of one statement, as they travel. They ride in the URL of the engine's HTTP interface.
const maxBoundBytes = 64 << 10

// params collects the values of a statement as {name:Type} parameters. An equal value is bound once.
type params struct {
	values map[string]string // name → text in ClickHouse's escaped form
	names  map[string]string // type and text → name
	bytes  int               // of the values that stem from the query, in escaped form
}

func newParams() *params { return &params{values: map[string]string{}, names: map[string]string{}} }

// bind returns the SQL of a parameter of type typ that holds text, which is in escaped form already.
func (p *params) bind(typ, text string) string {
	key := typ + "\x00" + text
	name, ok := p.names[key]
	if !ok {
		name = "p" + strconv.Itoa(len(p.values)+1)
		p.names[key], p.values[name] = name, text
		p.bytes += len(text)
	}
	return "{" + name + ":" + typ + "}"
}

func (p *params) text(s string) string { return p.bind("String", escape.Replace(s)) }

func (p *params) int64(n int64) string { return p.bind("Int64", strconv.FormatInt(n, 10)) }

func (p *params) uint64(n uint64) string { return p.bind("UInt64", strconv.FormatUint(n, 10)) }

func (p *params) float64(f float64) string { return p.bind("Float64", formatFloat(f)) }

func formatFloat(f float64) string { return strconv.FormatFloat(f, 'g', -1, 64) }

func (p *params) texts(list []string) string {
	return p.bind("Array(String)", array(list, func(s string) string { return "'" + escapeQuoted.Replace(s) + "'" }))
}

func (p *params) int64s(list []int64) string {
	return p.bind("Array(Int64)", array(list, func(n int64) string { return strconv.FormatInt(n, 10) }))
}

func (p *params) uint64s(list []uint64) string {
	return p.bind("Array(UInt64)", array(list, func(n uint64) string { return strconv.FormatUint(n, 10) }))
}

func (p *params) float64s(list []float64) string {
	return p.bind("Array(Float64)", array(list, formatFloat))
}

func array[T any](list []T, text func(T) string) string {
	items := make([]string, len(list))
	for i, v := range list {
		items[i] = text(v)
	}
	return "[" + strings.Join(items, ",") + "]"
}

// SECURITY: ClickHouse reads a parameter's text in its escaped form: an unescaped backslash would change the value and a
// raw tab or newline end it. A value cannot leave its parameter, escaped or not; what is at stake is that the value
// compared is the value asked for.
var (
	escape = strings.NewReplacer(`\`, `\\`, "\t", `\t`, "\n", `\n`, "\r", `\r`, "\x00", `\0`, "\b", `\b`, "\f", `\f`)
	// In an array each text is quoted.
	escapeQuoted = strings.NewReplacer(`\`, `\\`, "\t", `\t`, "\n", `\n`, "\r", `\r`, "\x00", `\0`, "\b", `\b`, "\f", `\f`, `'`, `\'`)
)
