package query

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/ClickHouse/clickhouse-go/v2"

	"github.com/headgate-io/headgate/internal/asktest"
	"github.com/headgate-io/headgate/internal/chtest"
	"github.com/headgate-io/headgate/internal/tenant"
	"github.com/headgate-io/headgate/query/oql"
	"github.com/headgate-io/headgate/storage/schema"
)

// generated is how many queries of a form the tests of isolation generate.
func generated(t testing.TB) uint64 { return asktest.Seeds(t, 300) }

// patient lets queries wait and take as long as a busy machine makes them, so that no answer depends on how busy it is.
func (s *store) patient() *store {
	l := &s.reader.limits
	l.MaxExecution, l.MaxWait, l.HeavyPerTenant = asktest.Patience, asktest.Patience, l.ConcurrentPerTenant
	return s
}

// serve starts the query API on the store for callers of scope.
func (s *store) serve(scope tenant.Scope) *httptest.Server {
	h := NewHandler(s.reader, HandlerOptions{
		Authenticate: as(scope),
		Now:          func() time.Time { return hourEnd },
		CursorKey:    [32]byte{1},
	})
	srv := httptest.NewServer(h)
	s.t.Cleanup(srv.Close)
	return srv
}

// as authenticates everybody as a caller of scope.
func as(scope tenant.Scope) func(*http.Request) (Caller, error) {
	return func(*http.Request) (Caller, error) { return Caller{Scope: scope, Key: "k"}, nil }
}

// answer is all of a response that must not depend on other tenants.
type answer struct {
	status int
	header string
	body   string
}

var requestIDRe = regexp.MustCompile(`"request_id":"[0-9A-Z]{26}"`)

func post(t testing.TB, srv *httptest.Server, body map[string]any) answer {
	t.Helper()
	b, err := json.Marshal(body)
	if err != nil {
		t.Fatal(err)
	}
	resp, out := asktest.Do(t, http.MethodPost, srv.URL, string(b), nil)
	resp.Header.Del("Date")
	resp.Header.Del("X-Request-Id")
	return answer{resp.StatusCode, fmt.Sprint(resp.Header, resp.Trailer), requestIDRe.ReplaceAllString(out, `"request_id":""`)}
}

// TestAnswersDoNotDependOnOtherTenants runs many queries on a store with one tenant's rows only and on one with another
// tenant's beside them, in the same parts: texts, and plans in their JSON form. Status, headers and body must be the same to
// the byte.
func TestAnswersDoNotDependOnOtherTenants(t *testing.T) {
	alone, shared := newStore(t).patient(), newStore(t).patient()
	alone.fill(false)
	shared.fill(true)
	scope := chtest.Scope(t, "a")
	one, two := alone.serve(scope), shared.serve(scope)
	formats := []Format{FormatJSON, FormatNDJSON, FormatCSV}
	for form, generate := range map[string]func(uint64) asked{"texts": generateAsked, "plans": generatePlan} {
		t.Run(form, func(t *testing.T) {
			var mu sync.Mutex // of the tallies
			statuses, rows := map[int]int{}, 0
			asktest.Each(t, generated(t), func(t *testing.T, seed uint64) {
				ask := generate(seed)
				body, text := ask.request(), ask.String()
				body["start"], body["end"], body["format"], body["limit"] = hourStart, hourEnd, formats[seed%3], 1+seed%50
				want, got := post(t, one, body), post(t, two, body)
				if want != got {
					t.Errorf("%s\n alone: %v\nshared: %v", text, want, got)
				}
				if strings.Contains(got.body+got.header, canary) && !strings.Contains(text, canary) {
					t.Errorf("%s\ncanary in %v", text, got)
				}
				if got.status >= 500 || got.status == 429 {
					t.Errorf("%s\nanswered %d %s", text, got.status, got.body)
				}
				mu.Lock()
				defer mu.Unlock()
				statuses[got.status]++
				rows += strings.Count(got.body, "\n")
			})
			t.Logf("answers by status %v, %d lines", statuses, rows)
			if n := int(generated(t)); statuses[200] < n*8/10 || rows < n {
				t.Errorf("too few of the generated %s say something: %v, %d lines", form, statuses, rows)
			}
		})
	}
}

// TestEachTableIsReadInsideAScan checks the printed SQL of the same queries by its text and by ClickHouse's own analysis.
func TestEachTableIsReadInsideAScan(t *testing.T) {
	s := newStore(t)
	scope := chtest.Scope(t, "a", "zz")
	var printed atomic.Int64
	asktest.Each(t, generated(t), func(t *testing.T, seed uint64) {
		text := generateAsked(seed)
		if seed%4 > 1 {
			text = generatePlan(seed)
		}
		p, err := text.parse()
		if err != nil {
			return
		}
		b := hour()
		b.Named = seed%2 == 0
		st, err := Print(p, scope, b)
		if err != nil {
			t.Errorf("%s: %v", text, err)
			return
		}
		printed.Add(1)
		if err := checkShape(st, "['a','zz']"); err != nil {
			t.Errorf("%s\n%s\n%v", text, st.sql, err)
		}
		if err := s.checkTree(st); err != nil {
			t.Errorf("%s\n%s\n%v", text, st.sql, err)
		}
	})
	if n := int64(generated(t)); printed.Load() < n*8/10 {
		t.Errorf("only %d of %d generated queries parse", printed.Load(), n)
	}
}

func registered(database, table string) bool {
	for _, t := range schema.Tables {
		if table == database+"."+t {
			return true
		}
	}
	return false
}

var tableRe = regexp.MustCompile(`\bTABLE id: \d+.*, table_name: (\S+)`)

// tables asks ClickHouse which tables and how many table functions a statement reads.
func (s *store) tables(st Stmt) (tables []string, functions int) {
	s.t.Helper()
	tree := s.explain(st, "EXPLAIN QUERY TREE run_passes = 1 ", "")
	for _, m := range tableRe.FindAllStringSubmatch(tree, -1) {
		tables = append(tables, m[1])
	}
	return tables, strings.Count(tree, "TABLE_FUNCTION")
}

// checkTree returns what is wrong with a statement as ClickHouse itself reads it: a table that is not registered or not alone in
// a SELECT whose PREWHERE begins with the tenants, a table function, or not the scans that were printed, on every side of each
// join and union.
func (s *store) checkTree(st Stmt) error {
	s.t.Helper()
	tree := s.explain(st, "EXPLAIN QUERY TREE run_passes = 1 ", "")
	lines := strings.Split(tree, "\n")
	indent := func(l string) int { return len(l) - len(strings.TrimLeft(l, " ")) }
	scans := 0
	for i, l := range lines {
		if strings.TrimSpace(l) != "JOIN TREE" {
			continue
		}
		m := tableRe.FindStringSubmatch(lines[i+1])
		if m == nil {
			continue
		}
		if !registered(s.name, m[1]) {
			return fmt.Errorf("reads %s", m[1])
		}
		at := i + 1
		for at < len(lines) && (indent(lines[at]) > indent(l) || strings.TrimSpace(lines[at]) != "PREWHERE" && indent(lines[at]) == indent(l)) {
			at++
		}
		if at == len(lines) || strings.TrimSpace(lines[at]) != "PREWHERE" || indent(lines[at]) != indent(l) {
			return fmt.Errorf("%s has no PREWHERE in\n%s", m[1], tree)
		}
		if strings.Contains(lines[at+1], "constant_value: UInt64_0") { // a condition that never holds: nothing is read
			scans++
			continue
		}
		for at < len(lines) && !strings.Contains(lines[at], "COLUMN id") {
			at++
		}
		if at == len(lines) || !strings.Contains(lines[at], "column_name: TenantId,") {
			return fmt.Errorf("the PREWHERE of %s does not begin with the tenants in\n%s", m[1], tree)
		}
		scans++
	}
	tables, functions, printed := len(tableRe.FindAllString(tree, -1)), strings.Count(tree, "TABLE_FUNCTION"), strings.Count(st.sql, " FROM otel_")
	if scans == 0 || tables != scans || printed != scans || functions > 0 {
		return fmt.Errorf("%d scans printed, ClickHouse reads %d of %d tables and %d table functions", printed, scans, tables, functions)
	}
	return nil
}

// TestScopeIsTheOnlyWayIn: the zero scope prints nothing, and each scope sees exactly its tenants.
func TestScopeIsTheOnlyWayIn(t *testing.T) {
	s := newStore(t)
	s.fill(true)
	p, err := oql.Parse("logs | count")
	if err != nil {
		t.Fatal(err)
	}
	if st, err := Print(p, tenant.Scope{}, hour()); err == nil {
		t.Errorf("zero scope printed %s", st.sql)
	}
	if _, err := s.reader.Run(t.Context(), Stmt{}, Rows); err == nil {
		t.Error("the zero statement ran")
	}
	for _, c := range []struct {
		scope tenant.Scope
		n     json.Number
	}{{chtest.Scope(t, "a"), "60"}, {chtest.Scope(t, "b"), "120"}, {chtest.Scope(t, "a", "b"), "180"}, {chtest.Scope(t, "c"), "0"}, {chtest.Scope(t, "A"), "0"}} {
		rows, err := s.ask(c.scope, hour(), "logs | count")
		if err != nil || len(rows) != 1 || rows[0]["count"] != c.n {
			t.Errorf("scope %v: %v, %v, want %v", c.scope.Strings(), rows, err, c.n)
		}
	}
}

// TestTenantIsCheckedFirst: under the reader's settings the engine computes nothing of a query for rows of other tenants.
// The printer writes no function that throws; this is what holds if it ever did.
func TestTenantIsCheckedFirst(t *testing.T) {
	s := newStore(t)
	s.fill(true)
	const throws = "throwIf(Body LIKE '%" + canary + "%') = 0"
	for where, want := range map[string]string{
		"TenantId IN ['a'] AND Timestamp > toDateTime64(0, 9) AND " + throws: "60\n",
		"TenantId IN ['b'] AND " + throws:                                    "throws",
		throws + " AND TenantId IN ['a']":                                    "throws", // the test can see a leak
	} {
		ctx := clickhouse.Context(t.Context(), clickhouse.WithSettings(s.reader.limits.settings()))
		got := "throws"
		r, err := s.reader.conn.QueryFormat(ctx, "TSV", "SELECT count() FROM (SELECT Body FROM otel_logs PREWHERE "+where+")")
		if err == nil {
			b, err := io.ReadAll(r)
			if err != nil {
				t.Fatal(err)
			}
			r.Close()
			got = string(b)
		}
		if got != want {
			t.Errorf("%s: %q, want %q", where, got, want)
		}
	}
}
