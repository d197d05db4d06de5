package query

import (
	"errors"
	"testing"

	"github.com/headgate-io/headgate/internal/chtest"
	"github.com/headgate-io/headgate/query/oql"
	"github.com/headgate-io/headgate/query/plan"
)

// checkPrinted is what holds for each plan: it prints, unless it is too complex; what is printed reads each table inside a scan with
// the tenant first and holds no word that is not the printer's own; and ClickHouse reads it so too, types included.
func (s *store) checkPrinted(t *testing.T, name string, p *plan.Plan) {
	t.Helper()
	own := &store{t: t, name: s.name, writer: s.writer}
	for _, named := range []bool{false, true} {
		b := hour()
		b.Named = named
		st, err := Print(p, chtest.Scope(t, "a", "b"), b)
		if errors.Is(err, ErrTooComplex) {
			return
		}
		if err != nil {
			t.Fatalf("Print(%q): %v", name, err)
		}
		if err := checkShape(st, "['a','b']"); err != nil {
			t.Fatalf("Print(%q) = %s: %v", name, st.sql, err)
		}
		if named {
			continue // the names alone differ
		}
		if err := own.checkTree(st); err != nil {
			t.Fatalf("Print(%q) = %s: %v", name, st.sql, err)
		}
	}
}

// FuzzParse: a text is refused with a position, or prints as it should.
func FuzzParse(f *testing.F) {
	for seed := range uint64(60) {
		f.Add(generateAsked(seed).text)
	}
	for _, s := range []string{
		`logs | where body == "o'clock" and attr["a\"b"] =~ "^x" | project TenantId = 1, x = tenant`, "spans | top 3 by duration | project-away events",
		"metrics(\"a\", \"b'\") | summarize p99 = percentile(value, 99), top(unit) by bin(auto), attr.x.y", "logs | where time between ago(1h) and now() | count",
		"logs | join left (spans | union (metrics) | keys resource | extend service = key) on service | union (logs | where service in $s and body ~ ${v})",
	} {
		f.Add(s)
	}
	s := newStore(f)
	vars := oql.Vars{"s": oql.VarList.Sample(), "v": oql.VarString.Sample(), "v0": oql.VarString.Sample(), "v1": oql.VarFloat.Sample(), "v2": oql.VarDuration.Sample()}
	f.Fuzz(func(t *testing.T, text string) {
		p, err := oql.ParseWith(text, vars)
		if err != nil {
			var e *oql.Error
			if !errors.As(err, &e) || e.Line < 1 || e.Column < 1 || e.Msg == "" {
				t.Fatalf("ParseWith(%q) = %#v, want an error with a position", text, err)
			}
			_ = e.Caret()
			return
		}
		s.checkPrinted(t, text, p)
	})
}

// FuzzPlanJSON: a document is refused with a pointer, or prints as it should.
func FuzzPlanJSON(f *testing.F) {
	for seed := range uint64(30) {
		f.Add([]byte(generatePlan(seed).plan))
	}
	s := newStore(f)
	vars := oql.Vars{"v0": oql.VarString.Sample(), "v1": oql.VarFloat.Sample(), "v2": oql.VarList.Sample()}
	f.Fuzz(func(t *testing.T, doc []byte) {
		p, err := oql.ParseJSON(doc, vars)
		if err != nil {
			var e *oql.PlanError
			if !errors.As(err, &e) || e.Msg == "" || e.Pointer != "" && e.Pointer[0] != '/' {
				t.Fatalf("ParseJSON(%q) = %#v, want an error with a pointer", doc, err)
			}
			return
		}
		s.checkPrinted(t, string(doc), p)
	})
}
