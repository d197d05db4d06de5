package query

import (
	"flag"
	"fmt"
	"io"
	"maps"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/ClickHouse/clickhouse-go/v2"

	"github.com/headgate-io/headgate/internal/chtest"
	"github.com/headgate-io/headgate/query/plan"
	"github.com/headgate-io/headgate/storage/schema"
)

var update = flag.Bool("update", false, "rewrite the golden files")

// TestPlansPrintAs holds the SQL of one query per feature: testdata/sql.txt has queries, each followed by its statement and
// its parameters but for the four that every statement has. Cases are separated by an empty line.
func TestPlansPrintAs(t *testing.T) {
	const path = "testdata/sql.txt"
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var out []string
	for _, c := range strings.Split(strings.TrimSuffix(string(b), "\n"), "\n\n") {
		query, want, _ := strings.Cut(c, "\n----\n")
		query = strings.TrimSuffix(query, "\n----")
		st, err := Print(mustParse(t, query), chtest.Scope(t, "a"), hour())
		if err != nil {
			t.Errorf("%s: %v", query, err)
			continue
		}
		got := strings.ReplaceAll(strings.ReplaceAll(st.sql, " FROM ", "\nFROM "), " PREWHERE ", "\nPREWHERE ")
		for _, name := range slices.SortedFunc(maps.Keys(st.params), func(a, b string) int { return len(a)*100 - len(b)*100 + strings.Compare(a, b) }) {
			if name > "p4" || len(name) > 2 {
				got += fmt.Sprintf("\n%s = %s", name, st.params[name])
			}
		}
		if got != want && !*update {
			t.Errorf("%s\n got %s\nwant %s", query, got, want)
		}
		out = append(out, query+"\n----\n"+got)
	}
	if *update {
		if err := os.WriteFile(path, []byte(strings.Join(out, "\n\n")+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

// TestEveryColumnHasSQL: the catalogue and the tables agree, in names and in what may be null.
func TestEveryColumnHasSQL(t *testing.T) {
	for _, src := range append(plan.Sources(), plan.SpanRecords) {
		for _, table := range tablesOf[src] {
			for _, f := range plan.Fields(src) {
				if columnsOf[table][f.Name].expr == "" {
					t.Errorf("%s has no SQL for %s", table, f.Name)
				}
			}
			for name := range columnsOf[table] {
				if _, record := spanRecordColumns[name]; record && src == plan.Spans {
					continue
				}
				if !slices.ContainsFunc(plan.Fields(src), func(f plan.Field) bool { return f.Name == name }) {
					t.Errorf("%s has SQL for %s, which is no column of %s", table, name, src)
				}
			}
		}
	}
	s := newStore(t)
	for _, src := range plan.Sources() {
		for _, f := range plan.Fields(src) {
			st, err := Print(mustParse(t, string(src)+" | project "+f.Name), chtest.Scope(t, "a"), hour())
			if err != nil {
				t.Fatal(err)
			}
			typ := s.explain(st, "DESCRIBE (", ")")
			_, typ, _ = strings.Cut(strings.TrimSpace(typ), "\t")
			if nullable := strings.HasPrefix(typ, "Nullable") || strings.HasPrefix(typ, "LowCardinality(Nullable"); nullable != f.Nullable {
				t.Errorf("%s %s is %s in ClickHouse, Nullable %v in the catalogue", src, f.Name, typ, f.Nullable)
			}
		}
	}
}

// explain runs a statement about st.
func (s *store) explain(st Stmt, before, after string) string {
	s.t.Helper()
	ctx := clickhouse.Context(s.t.Context(), clickhouse.WithParameters(st.params))
	r, err := s.writer.QueryFormat(ctx, "TSVRaw", before+st.sql+after)
	if err != nil {
		s.t.Fatalf("%s%s: %v", before, st.sql, err)
	}
	defer r.Close()
	b, err := io.ReadAll(r)
	if err != nil {
		s.t.Fatal(err)
	}
	return string(b)
}

// TestConditionsPrune: the tenant and the range cut partitions and granules, and conditions reach the skip indexes.
func TestConditionsPrune(t *testing.T) {
	s := newStore(t)
	s.fill(true)
	s.exec("INSERT INTO otel_logs (TenantId, ServiceName, Timestamp) SELECT 'many', toString(number % 50), fromUnixTimestamp64Nano(" +
		"1741082400000000000 + intDiv(number, 50) * 1000000000, 'UTC') FROM numbers(180000)")
	b := hour()
	b.End = b.Start.Add(5 * time.Minute)
	st, err := Print(mustParse(t, "logs | summarize max(severity_number)"), chtest.Scope(t, "many"), b)
	if err != nil {
		t.Fatal(err)
	}
	if got := s.explain(st, "EXPLAIN indexes = 1 ", ""); !strings.Contains(got, "Granules: 3/") && !strings.Contains(got, "Granules: 2/") {
		t.Errorf("five minutes of an hour read more than its granules:\n%s", got)
	}
	for _, table := range []string{schema.Logs, schema.Traces} {
		old := fixture(table)
		for i := range old {
			old[i]["TenantId"], old[i]["Timestamp"] = "a", strings.Replace(at(float64(i)), "2025-03-04", "2025-02-01", 1)
		}
		s.insert(table, old...)
	}
	for query, want := range map[string][]string{
		"logs":                                       {"Parts: 1/2", "TenantId\n", "toStartOfFiveMinutes(Timestamp)\n"},
		`logs | where service == "api"`:              {"ServiceName"},
		`logs | where trace_id == "abc"`:             {"idx_trace_id", "Granules: 0/1"},
		`logs | where attr.color == "none"`:          {"idx_log_attr_value", "Granules: 0/1"},
		`spans | where duration > 1h`:                {"idx_duration", "Granules: 0/1"},
		`spans | where trace_id in ("a")`:            {"idx_trace_id", "Granules: 0/1"},
		`metrics("load")`:                            {"TenantId\n", "MetricName\n", "toStartOfHour(TimeUnix)\n"},
		`logs | where time < ago(30d) | count`:       {"Prewhere filter column:  0\n"},
		`logs | extend x = 1 | where service == "q"`: {"ServiceName"},
	} {
		st, err = Print(mustParse(t, query), chtest.Scope(t, "a"), hour())
		if err != nil {
			t.Fatal(err)
		}
		got := s.explain(st, "EXPLAIN indexes = 1 ", "")
		for _, w := range want {
			if !strings.Contains(got, w) {
				t.Errorf("%s: no %q in\n%s", query, w, got)
			}
		}
	}
}
