package query

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"

	"github.com/headgate-io/headgate/internal/chtest"
	"github.com/headgate-io/headgate/internal/httpapi"
	"github.com/headgate-io/headgate/query/oql"
)

// answersOf runs a query and returns its rows as JSON, a line each, members in order of their names.
func (s *store) answersOf(query string) (string, error) {
	s.t.Helper()
	rows, err := s.ask(chtest.Scope(s.t, "a"), hour(), query)
	if err != nil {
		return "", err
	}
	var out []string
	for _, r := range rows {
		b, err := json.Marshal(r)
		if err != nil {
			s.t.Fatal(err)
		}
		out = append(out, strings.NewReplacer("\\u003c", "<", "\\u003e", ">", "\\u0026", "&").Replace(string(b)))
	}
	return strings.Join(out, "\n"), nil
}

// TestJoinsAndUnionsAnswerRight compares joins, unions and lists of keys with answers found by hand.
func TestJoinsAndUnionsAnswerRight(t *testing.T) {
	s := answersStore(t)
	for _, c := range []struct{ name, query, want string }{
		{"inner keeps matches only", `logs | summarize n = count() by service | join (spans | summarize spans = count() by service) on service`, `{"n":2,"service":"api","spans":4}`},
		{"left keeps rows without a match", `logs | summarize n = count() by service | join left (spans | summarize spans = count(), name = any(name) by service) on service`,
			`{"n":2,"name":"GET /","service":"api","spans":4}` + "\n" + `{"n":3,"name":null,"service":"db","spans":null}`},
		{"null makes conditions false", `logs | summarize n = count() by service | join left (spans | summarize spans = count() by service) on service | where spans == null | project service`, `{"service":"db"}`},
		{"several matches make several rows", `logs | where severity == "error" | project trace_id, body | join (spans | project trace_id, name, ms = duration / 1ms) on trace_id | project name, ms`,
			`{"ms":1600,"name":"GET /"}` + "\n" + `{"ms":50,"name":"query"}` + "\n" + `{"ms":250,"name":"query"}` + "\n" + `{"ms":100,"name":"GET /cart"}`},
		{"taken names get numbers", `logs | top 1 by time | project service, trace_id, x = 1 | join (logs | top 1 by time asc | project service, trace_id, x = 2) on trace_id`,
			`{"service":"db","service_2":"api","trace_id":"00000000000000000000000000000abc","x":1,"x_2":2}`},
		{"aliases name the same column", `spans | top 1 by duration | project service, name | join (logs | summarize n = count() by service) on service_name`, `{"n":2,"name":"GET /","service":"api"}`},
		{"several columns", `logs | summarize n = count() by service, tenant | join (spans | summarize m = count() by tenant, service) on tenant, service | project n, m`, `{"m":4,"n":2}`},
		{"integers of all sizes", `logs | summarize k = count() by service | join (logs | project k = severity_number - 15, body) on k | project k, body`, `{"body":"GET /cart TIMEOUT","k":2}`},
		{"null equals nothing", `logs | project status_code, n = 1 | join (logs | project status_code, m = 1) on status_code | count`, `{"count":2}`},
		{"severity", `logs | summarize n = count() by severity | join (logs | where body ~ "memory" | project severity, body) on severity`, `{"body":"out of memory","n":1,"severity":"fatal"}`},
		{"time bins", `logs | summarize n = count() by bin(1m) | join (spans | summarize m = count() by bin(1m)) on time | project n, m`, `{"m":4,"n":1}`},
		{"the order of the left side stays", `spans | sort by duration | project duration, service | join (logs | summarize n = count() by service) on service | project ms = duration / 1ms`,
			`{"ms":50}` + "\n" + `{"ms":100}` + "\n" + `{"ms":250}` + "\n" + `{"ms":1600}`},
		{"a limit after a join", `spans | sort by duration desc | join (logs | summarize n = count() by service) on service | limit 1 | project name, n`, `{"n":2,"name":"GET /"}`},
		{"maps come along", `spans | top 1 by duration | project service | join (logs | where severity == "error" | project service, attributes) on service | project attr.http.route, attr.n`, `{"attr.http.route":"/cart","attr.n":"-7"}`},
		{"a map without a match is empty", `logs | where service == "db" | top 1 by time | project service | join left (spans | project service, attributes, events) on service | project attributes, events`, `{"attributes":{},"events":[]}`},
		{"a join in a join", `logs | summarize n = count() by service | join (spans | summarize by_name = count() by service, name | join (spans | summarize m = max(duration) by name) on name) on service | project name, ms = m / 1ms, n`,
			`{"ms":1600,"n":2,"name":"GET /"}` + "\n" + `{"ms":100,"n":2,"name":"GET /cart"}` + "\n" + `{"ms":250,"n":2,"name":"query"}`},
		{"a condition after a join still reaches the left", `logs | join (spans | summarize m = count() by service) on service | where severity == "error" | project body, m`, `{"body":"GET /cart TIMEOUT","m":4}`},
		{"metrics join", `metrics("load") | summarize v = max(value) by unit | join (metrics | summarize kinds = dcount(kind) by unit) on unit`, `{"kinds":1,"unit":"1","v":9007199254740992}`},

		{"keys lists the names of attributes", `logs | keys`, `{"count":4,"key":"n"}` + "\n" + `{"count":2,"key":"f"}` + "\n" + `{"count":2,"key":"http.route"}` + "\n" + `{"count":1,"key":"empty"}` + "\n" + `{"count":1,"key":"flag"}` + "\n" +
			`{"count":1,"key":"http.method"}` + "\n" + `{"count":1,"key":"http.request.method"}` + "\n" + `{"count":1,"key":"http.response.status_code"}` + "\n" + `{"count":1,"key":"http.status_code"}`},
		{"keys of another map, filtered before and after", `logs | where service == "api" | keys resource | where key startswith "k8s" | project key, count`, `{"count":2,"key":"k8s.namespace.name"}` + "\n" + `{"count":2,"key":"k8s.pod.name"}`},
		{"keys of both sides of a union", `logs | union (spans) | keys scope`, `{"count":5,"key":"k"}`},
		{"keys of nothing", `metrics | keys`, ``},
		{"existence is asked of the keys", `logs | extend a = exists(attr.empty), b = exists(resource.nope) | summarize countif(a), x = countif(b), y = countif(exists(attr.f))`, `{"countif":1,"x":0,"y":2}`},
		{"a number in quotes is a number", `logs | where status_code == "200" or severity_number in ("21") | count`, `{"count":2}`},

		{"union adds rows, newest first", `logs | project time, what = body | union (spans | project time, what = name) | limit 3 | project what`,
			`{"what":""}` + "\n" + `{"what":"out of memory"}` + "\n" + `{"what":"slow query 100%"}`},
		{"missing columns are null", `logs | where severity == "fatal" | project service, severity, body | union (spans | top 1 by duration | project service, duration)`,
			`{"body":"out of memory","duration":null,"service":"db","severity":"fatal"}` + "\n" + `{"body":null,"duration":1600000000,"service":"api","severity":null}`},
		{"maps and lists that are missing are empty", `logs | where severity == "fatal" | project attributes | union (spans | top 1 by time asc | project events, links, monotonic = true)`,
			`{"attributes":{"empty":"","n":""},"events":[],"links":[],"monotonic":null}` + "\n" +
				`{"attributes":{},"events":[{"attributes":{"e":"1"},"name":"cache miss","time":"2025-03-04T10:00:01.000000000Z"}],"links":[{"attributes":{},"span_id":"bb","trace_id":"aa","trace_state":""}],"monotonic":true}`},
		{"aggregates over both", `logs | union (spans) | summarize n = count(), d = max(duration) by service`, `{"d":1600000000,"n":6,"service":"api"}` + "\n" + `{"d":null,"n":3,"service":"db"}`},
		{"whole rows of all sources", `logs | union (spans) | union (metrics) | summarize count(), dcount(kind), max(value), any(name)`, `{"any_name":"load","count":15,"dcount_kind":7,"max_value":9007199254740992}`},
		{"aliases hold after a union", `logs | union (spans) | where attr.http.route == "/cart" and timestamp > ago(2h) | count`, `{"count":2}`},
		{"bin of the time holds after a union", `logs | union (spans) | summarize n = count() by bin(1m)`, `{"n":5,"time":"2025-03-04T10:00:00.000000000Z"}` + "\n" + `{"n":1,"time":"2025-03-04T10:01:00.000000000Z"}` + "\n" + `{"n":1,"time":"2025-03-04T10:02:00.000000000Z"}` + "\n" + `{"n":2,"time":"2025-03-04T10:06:00.000000000Z"}`},
		{"signed and unsigned integers unite", `logs | summarize x = count() | union (logs | summarize x = min(severity_number - 100)) | union (metrics("load") | summarize x = any(value_int))`, `{"x":5}` + "\n" + `{"x":-100}` + "\n" + `{"x":9007199254740993}`},
		{"rows without a time stay in order", `logs | summarize n = count() by service | union (spans | summarize n = count() by service = name)`,
			`{"n":2,"service":"api"}` + "\n" + `{"n":3,"service":"db"}` + "\n" + `{"n":1,"service":"GET /"}` + "\n" + `{"n":1,"service":"GET /cart"}` + "\n" + `{"n":2,"service":"query"}`},
		{"limits inside hold", `logs | limit 1 | union (logs | limit 2) | union (spans | top 1 by duration) | count`, `{"count":4}`},
		{"a join on a union", `logs | union (spans) | summarize n = count() by service | join (logs | where service == "db" | distinct service) on service`, `{"n":3,"service":"db"}`},
		{"a union in a join", `logs | distinct service | join left (logs | project service | union (spans | project service) | summarize n = count() by service) on service`, `{"n":6,"service":"api"}` + "\n" + `{"n":3,"service":"db"}`},
	} {
		got, err := s.answersOf(c.query)
		if err != nil || got != c.want {
			t.Errorf("%s: %s\n got %s %v\nwant %s", c.name, c.query, got, err, c.want)
		}
	}
}

// TestBothSidesReadTheSameTenantsAndRange: a join and a union see nothing that the query around them does not.
func TestBothSidesReadTheSameTenantsAndRange(t *testing.T) {
	s := newStore(t)
	s.fill(true)
	b := hour()
	b.End = b.Start.Add(b.End.Sub(b.Start) / 2)
	for query, want := range map[string]json.Number{
		"logs | union (logs) | count":                                          "60",
		"logs | union (spans | union (metrics)) | count":                       "210",
		"logs | join (spans | distinct tenant) on tenant | count":              "30",
		"logs | distinct tenant | join (spans) on tenant | count":              "30",
		"logs | union (spans) | distinct tenant | count":                       "1",
		"logs | join left (spans) on span_id | where duration != null | count": "30",
	} {
		rows, err := s.ask(chtest.Scope(t, "a"), b, query)
		if err != nil || len(rows) != 1 || rows[0]["count"] != want {
			t.Errorf("%s: %v, %v, want %v", query, rows, err, want)
		}
	}
}

// TestJoinOfTooMuchIsRefused: the right side of a join is bounded, by different keys and by bytes, and its failure says what to do.
func TestJoinOfTooMuchIsRefused(t *testing.T) {
	s := newStore(t)
	s.exec("INSERT INTO otel_logs (TenantId, ServiceName, Timestamp, Body) SELECT 'a', toString(number % 5), fromUnixTimestamp64Nano(1741082400000000000 + number, 'UTC'), repeat('x', 2000) FROM numbers(20000)")
	conn := s.reader.conn
	for query, limits := range map[string]Limits{
		"logs | limit 1 | join (logs | distinct time) on time | count":                    {MaxJoinKeys: 1000, MaxThreads: 1},
		"logs | limit 1 | project service | join (logs) on service | summarize max(body)": {MaxMemoryBytes: 40 << 20, MaxThreads: 1},
	} {
		s.reader = NewReader(conn, ReaderOptions{Limits: limits})
		_, err := s.answersOf(query)
		var e *httpapi.Error
		if !errors.As(err, &e) || e.Code != CodeTooMuchData || !strings.Contains(e.Detail, "parentheses of a join") {
			t.Errorf("%s: %v", query, err)
		}
	}
	s.reader = NewReader(conn, ReaderOptions{Limits: Limits{MaxJoinKeys: 1000, MaxThreads: 1}})
	if got, err := s.answersOf("logs | project service, time | join (logs | summarize n = count() by service) on service | summarize sum(n)"); err != nil || got != `{"sum_n":80000000}` {
		t.Errorf("the left side is not bounded: %s %v", got, err)
	}
}

// TestLimitsCoverSubqueries: what one query may cost is counted over all of its subqueries together.
func TestLimitsCoverSubqueries(t *testing.T) {
	for text, want := range map[string]string{
		"logs" + strings.Repeat(" | union (logs)", 10):                                                                                    "the query reads more than 10 sources",
		"logs | union (logs" + strings.Repeat(" | where true", 30) + ")" + strings.Repeat(" | where true", 20):                            "the query has more than 50 stages",
		"logs | union (logs | where " + strings.Repeat("1 < 2 and ", 160) + "true) | where " + strings.Repeat("1 < 2 and ", 200) + "true": "the query has more than 1000 operators and values",
	} {
		if _, err := oql.Parse(text); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%.60s…: %v, want %s", text, err, want)
		}
	}
}
