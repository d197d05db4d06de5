package query

import (
	"errors"
	"testing"

	"github.com/headgate-io/headgate/query/oql"
)

// FuzzParse: a text that parses prints, unless it is too complex, and what is printed reads each table inside a scan with
// the tenant first and holds no word that is not the printer's own.
func FuzzParse(f *testing.F) {
	for seed := range uint64(60) {
		f.Add(generate(seed))
	}
	for _, s := range []string{
		`logs | where body == "o'clock" and attr["a\"b"] =~ "^x" | project TenantId = 1, x = tenant`, "spans | top 3 by duration | project-away events",
		"metrics(\"a\", \"b'\") | summarize p99 = percentile(value, 99), top(unit) by bin(auto), attr.x.y", "logs | where time between ago(1h) and now() | count",
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		p, err := oql.Parse(text)
		if err != nil {
			var e *oql.Error
			if !errors.As(err, &e) || e.Line < 1 || e.Column < 1 || e.Msg == "" {
				t.Fatalf("Parse(%q) = %#v, want an error with a position", text, err)
			}
			_ = e.Caret()
			return
		}
		for _, named := range []bool{false, true} {
			b := hour()
			b.Named = named
			st, err := Print(p, scopeOf(t, "a", "b"), b)
			if errors.Is(err, ErrTooComplex) {
				return
			}
			if err != nil {
				t.Fatalf("Print(%q): %v", text, err)
			}
			if err := checkShape(st, "['a','b']"); err != nil {
				t.Fatalf("Print(%q) = %s: %v", text, st.sql, err)
			}
		}
	})
}
