package query

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/headgate-io/headgate/internal/chtest"
	"github.com/headgate-io/headgate/internal/tenant"
	"github.com/headgate-io/headgate/query/plan"
	"github.com/headgate-io/headgate/storage/schema"
)

// TestSpanRecordsAreReadInsideAScan: statements of whole spans, with the operators that only they use, have the shape of all
// others, and none of their columns may be null.
func TestSpanRecordsAreReadInsideAScan(t *testing.T) {
	s := newStore(t)
	s.fill(false)
	ids := []string{strings.Repeat("a", 32), "o'clock\\"}
	p := plan.New(plan.SpanRecords)
	apply := func(op plan.Op, args ...*plan.Expr) *plan.Expr {
		t.Helper()
		e, err := plan.Apply(op, args...)
		if err != nil {
			t.Fatal(err)
		}
		return e
	}
	pair := apply(plan.AnyPair, plan.Use(p.Key("event_attributes")), plan.Value("k'"), plan.Value("v\n"))
	text := apply(plan.AnyText, plan.Use(p.Key("event_names")), plan.Value("exception"))
	place := p.Define("place", apply(plan.Index, plan.Use(p.Key("trace_id")), plan.Value(ids)))
	p.Stages = []plan.Stage{
		plan.Where{Cond: apply(plan.In, plan.Use(p.Key("trace_id")), plan.Value(ids[0]), plan.Value(ids[1]))}, plan.Where{Cond: pair}, plan.Where{Cond: text},
		plan.Extend{Defs: []plan.Def{place}}, plan.Sort{Keys: []plan.Key{{Col: place.Col}}},
	}
	p.Output = nil
	for name := range spanRecordColumns {
		p.Output = append(p.Output, p.Key(name))
	}
	st, err := Print(p, chtest.Scope(t, "a", "zz"), hour())
	if err != nil {
		t.Fatal(err)
	}
	if err := checkShape(st, "['a','zz']"); err != nil {
		t.Errorf("%s\n%v", st.sql, err)
	}
	if tables, functions := s.tables(st); !slices.Equal(tables, []string{s.name + "." + schema.Traces}) || functions > 0 {
		t.Errorf("%s\nreads %v, %d table functions", st.sql, tables, functions)
	}
	if types := s.explain(st, "DESCRIBE (", ")"); strings.Contains(types, "Nullable") {
		t.Errorf("a column may be null:\n%s", types)
	}
	if got := s.explain(st, "EXPLAIN indexes = 1 ", ""); !strings.Contains(got, "idx_trace_id") {
		t.Errorf("trace ids do not reach their index:\n%s", got)
	}
}

// TestDependenciesAreCallsBetweenServices holds the count on spans whose parents are in another service, in the same, away,
// in another trace, and another tenant's under the same ids.
func TestDependenciesAreCallsBetweenServices(t *testing.T) {
	s := newStore(t)
	sp := func(tenant, service, trace, id, parent string, second float64) row {
		return row{"TenantId": tenant, "ServiceName": service, "TraceId": trace, "SpanId": id, "ParentSpanId": parent, "Timestamp": at(second)}
	}
	s.insert(schema.Traces,
		sp("a", "front", "t1", "1", "", 1), sp("a", "cart", "t1", "2", "1", 2), sp("a", "cart", "t1", "3", "2", 3), sp("a", "db", "t1", "4", "3", 4), sp("a", "db", "t1", "5", "3", 5),
		sp("a", "front", "t2", "1", "", 6), sp("a", "cart", "t2", "2", "1", 7),
		sp("a", "lost", "t3", "9", "8", 8), // its parent is not there
		sp("a", "cart", "t4", "6", "1", 9), // its parent is in another trace
		sp("a", "", "t5", "1", "", 10), sp("a", "front", "t5", "2", "1", 11),
		sp("a", "front", "t1", "1", "", 1), // sent twice
		sp("b", "canary", "t1", "2", "", 2), sp("b", "canary", "t3", "8", "", 7), sp("b", "other", "t1", "7", "1", 7), sp("b", "other", "t1", "10", "2", 7))
	ask := func(scope tenant.Scope, b Bounds) (out []string) {
		t.Helper()
		st, err := Dependencies(scope, b)
		if err != nil {
			t.Fatal(err)
		}
		if err := checkShape(st, st.params["p1"]); err != nil {
			t.Errorf("%s\n%v", st.sql, err)
		}
		if tables, functions := s.tables(st); !slices.Equal(slices.Compact(tables), []string{s.name + "." + schema.Traces}) || functions > 0 {
			t.Errorf("%s\nreads %v, %d table functions", st.sql, tables, functions)
		}
		res, err := s.reader.Run(t.Context(), st, Rows)
		if err != nil {
			t.Fatal(err)
		}
		defer res.Close()
		for values, err := res.Next(); err == nil; values, err = res.Next() {
			out = append(out, string(values[0])+string(values[1])+string(values[2]))
		}
		return out
	}
	if got, want := ask(chtest.Scope(t, "a"), hour()), []string{`"cart""db"2`, `"front""cart"2`, `"""front"1`}; !slices.Equal(got, want) {
		t.Errorf("dependencies of a: %s, want %s", got, want)
	}
	if got, want := ask(chtest.Scope(t, "b"), hour()), []string{`"canary""other"1`}; !slices.Equal(got, want) {
		t.Errorf("dependencies of b: %s, want %s", got, want)
	}
	if got, want := ask(chtest.Scope(t, "a", "b"), hour()), []string{`"cart""db"2`, `"front""cart"2`, `"""front"1`, `"canary""other"1`}; !slices.Equal(got, want) {
		t.Errorf("dependencies of both: %s, want %s", got, want)
	}
	early := hour()
	early.End = early.Start.Add(4500 * time.Millisecond)
	if got, want := ask(chtest.Scope(t, "a"), early), []string{`"cart""db"1`, `"front""cart"1`}; !slices.Equal(got, want) {
		t.Errorf("dependencies before the fifth second: %s, want %s", got, want)
	}
	if st, err := Dependencies(tenant.Scope{}, hour()); err == nil {
		t.Errorf("zero scope printed %s", st.sql)
	}
}
