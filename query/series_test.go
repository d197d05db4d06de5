package query

import (
	"regexp"
	"strings"
	"testing"

	"github.com/headgate-io/headgate/internal/chtest"
	"github.com/headgate-io/headgate/internal/tenant"
	"github.com/headgate-io/headgate/storage/schema"
)

var pointScanRe = regexp.MustCompile(`^(?:SELECT .* FROM \(+)*SELECT .* FROM (otel_metrics_[a-z_]+) PREWHERE TenantId IN \{p1:Array\(String\)\} AND indexHint\(Partition IN \{p2:Array\(String\)\}\) AND (Day|TimeUnix) >= `)

// readings are the statements about series and points, for a scope.
func readings(scope tenant.Scope, tenants []string) map[string]func() (Stmt, error) {
	const hostile = "x') OR 1=1 --\x00\t\\"
	s := Series{Start: hourStart, End: hourEnd, Tenants: tenants, Names: []string{hostile}, Limit: 10, Where: []SeriesCondition{
		{Attribute: []string{hostile}, Service: []string{hostile}, Instance: []string{hostile}},
	}}
	out := map[string]func() (Stmt, error){
		"names":     func() (Stmt, error) { return PrintMetricNames(scope, s) },
		"series":    func() (Stmt, error) { return PrintSeries(scope, s, false) },
		"resources": func() (Stmt, error) { return PrintSeries(scope, s, true) },
	}
	for table := range pointColumns {
		p := Points{Start: hourStart, End: hourEnd, Tenants: tenants, Table: table, Names: []string{hostile}, IDs: []uint64{1, 1 << 63}, Starts: true, Limit: 10}
		out["points of "+table] = func() (Stmt, error) { return PrintPoints(scope, p) }
		out["presence in "+table] = func() (Stmt, error) { return PrintPresence(scope, p) }
		if table != schema.MetricsSummary {
			out["exemplars of "+table] = func() (Stmt, error) { return PrintExemplars(scope, p) }
		}
		if bounds[table] != "" {
			out["bounds of "+table] = func() (Stmt, error) { return PrintBounds(scope, p) }
		}
	}
	return out
}

// TestSeriesAreReadInsideAScan: each of the statements reads one table, the tenant first, with every value bound, and the
// engine agrees.
func TestSeriesAreReadInsideAScan(t *testing.T) {
	s := newStore(t)
	for name, print := range readings(chtest.Scope(t, "a", "zz"), nil) {
		st, err := print()
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if st.params["p1"] != "['a','zz']" || !pointScanRe.MatchString(st.sql) && !strings.HasPrefix(st.sql, "SELECT TenantId, MetricName, SeriesId") ||
			strings.Count(st.sql, " PREWHERE TenantId IN {p1:Array(String)} AND ") != 1 || strings.Count(st.sql, "otel_") != 1 || strings.Contains(st.sql, "OR 1=1") {
			t.Errorf("%s: %s with %v", name, st.sql, st.params)
		}
		if tables, functions := s.tables(st); len(tables) != 1 || functions != 0 {
			t.Errorf("%s: reads tables %v, %d table functions", name, tables, functions)
		}
		res, err := s.reader.Run(t.Context(), st, Binary)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if n, err := res.Read(make([]byte, 1)); n != 0 {
			t.Errorf("%s: read %d bytes, %v, of an empty store", name, n, err)
		}
		res.Close()
	}
}

// TestSeriesNeedAScope: the zero scope prints nothing, and narrowing only takes away.
func TestSeriesNeedAScope(t *testing.T) {
	for name, print := range readings(tenant.Scope{}, nil) {
		if st, err := print(); err == nil {
			t.Errorf("%s: zero scope printed %s", name, st.sql)
		}
	}
	for name, print := range readings(chtest.Scope(t, "a", "b"), []string{"c"}) {
		if st, err := print(); err == nil {
			t.Errorf("%s: a foreign tenant printed %s with %v", name, st.sql, st.params)
		}
	}
	for name, print := range readings(chtest.Scope(t, "a", "b"), []string{"b", "c"}) {
		if st, err := print(); err != nil || st.params["p1"] != "['b']" {
			t.Errorf("%s: narrowed to %s, %v", name, st.params["p1"], err)
		}
	}
}
