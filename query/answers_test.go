package query

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/headgate-io/headgate/internal/chtest"
	"github.com/headgate-io/headgate/storage/schema"
)

// answersStore has a handful of rows whose answers can be seen by eye.
func answersStore(t *testing.T) *store {
	s := newStore(t)
	log := func(sec float64, severity int, service, body string, attrs map[string]string) row {
		return row{
			"TenantId": "a", "Timestamp": at(sec), "ObservedTimestamp": at(sec + 1), "SeverityNumber": severity, "SeverityText": "T", "Body": body,
			"ServiceName": service, "LogAttributes": attrs, "ResourceAttributes": map[string]string{
				"service.name": service, "host.name": "h-" + service, "k8s.pod.name": "p-" + service, "k8s.namespace.name": "shop",
			},
			"ScopeName": "lib", "ScopeVersion": "1.2", "ScopeAttributes": map[string]string{"k": "v"}, "EventName": "ev", "Flags": 1,
			"TraceId": "00000000000000000000000000000abc", "SpanId": "00000000000000ab",
		}
	}
	s.insert(schema.Logs,
		log(10, 9, "api", "GET /cart took 20ms", map[string]string{"http.route": "/cart", "http.request.method": "GET", "http.response.status_code": "200", "n": "5", "f": "2.5"}),
		log(70, 17, "api", "GET /cart TIMEOUT", map[string]string{"http.route": "/cart", "http.method": "GET", "http.status_code": "504", "n": "-7", "f": "x"}),
		log(130, 13, "db", "slow query 100%", map[string]string{"n": "15", "flag": "true"}),
		log(400, 21, "db", "out of memory", map[string]string{"n": "", "empty": ""}),
		log(410, 0, "db", "", nil),
	)
	span := func(sec float64, name, kind, status string, ms int, events ...string) row {
		r := row{
			"TenantId": "a", "Timestamp": at(sec), "EndTimestamp": at(sec + float64(ms)/1000), "Duration": ms * 1_000_000, "SpanName": name, "SpanKind": kind,
			"StatusCode": status, "StatusMessage": "m", "ServiceName": "api", "TraceId": "00000000000000000000000000000abc", "SpanId": fmt.Sprintf("%016x", ms),
			"ParentSpanId": "00000000000000ff", "TraceState": "k=v",
		}
		if len(events) > 0 {
			r["Events.Timestamp"], r["Events.Name"] = []string{at(sec)}, events
			r["Events.Attributes"], r["Events.DroppedAttrCount"] = []map[string]string{{"e": "1"}}, []int{0}
			r["Links.TraceId"], r["Links.SpanId"], r["Links.TraceState"] = []string{"aa"}, []string{"bb"}, []string{""}
			r["Links.Attributes"], r["Links.DroppedAttrCount"], r["Links.Flags"] = []map[string]string{{}}, []int{0}, []int{0}
		}
		return r
	}
	s.insert(schema.Traces,
		span(1, "GET /cart", "Server", "Ok", 100, "cache miss"), span(2, "query", "Client", "Error", 250), span(3, "query", "Client", "Unset", 50), span(4, "GET /", "Server", "Unset", 1600))
	s.insert(schema.MetricsGauge,
		row{"TenantId": "a", "TimeUnix": at(60), "MetricName": "load", "MetricUnit": "1", "Value": 1.5},
		row{"TenantId": "a", "TimeUnix": at(120), "MetricName": "load", "MetricUnit": "1", "ValueInt": 9007199254740993})
	s.insert(schema.MetricsSum, row{"TenantId": "a", "TimeUnix": at(61), "MetricName": "requests", "ValueInt": 7, "IsMonotonic": true, "AggregationTemporality": 2})
	s.insert(schema.MetricsHistogram, row{"TenantId": "a", "TimeUnix": at(62), "MetricName": "latency", "Count": 3, "Sum": 6.5, "Min": 0.5, "Max": 4, "ExplicitBounds": []float64{1, 5}, "BucketCounts": []int{1, 2, 0}, "AggregationTemporality": 1})
	s.insert(schema.MetricsExponentialHistogram, row{"TenantId": "a", "TimeUnix": at(63), "MetricName": "size", "Count": 2, "Scale": -1, "ZeroCount": 1, "PositiveOffset": -2, "PositiveBucketCounts": []int{1}})
	s.insert(schema.MetricsSummary, row{"TenantId": "a", "TimeUnix": at(64), "MetricName": "gc", "Count": 4, "Sum": 2, "ValueAtQuantiles.Quantile": []float64{0.5}, "ValueAtQuantiles.Value": []float64{1.25}})
	return s
}

// TestAnswersAreRight compares queries with answers found by hand. An answer is one line per row, values by column.
func TestAnswersAreRight(t *testing.T) {
	s := answersStore(t)
	scope := chtest.Scope(t, "a")
	test := func(query string, want ...string) {
		t.Helper()
		rows, err := s.ask(scope, hour(), query)
		if err != nil {
			t.Errorf("%s: %v", query, err)
			return
		}
		var got []string
		for _, r := range rows {
			b, err := json.Marshal(r)
			if err != nil {
				t.Fatal(err)
			}
			got = append(got, strings.NewReplacer("\\u003c", "<", "\\u003e", ">", "\\u0026", "&").Replace(string(b)))
		}
		if strings.Join(got, "\n") != strings.Join(want, "\n") {
			t.Errorf("%s\n got %s\nwant %s", query, strings.Join(got, "\n     "), strings.Join(want, "\n     "))
		}
	}
	// one evaluates an expression over the first log record.
	one := func(expr, want string) {
		t.Helper()
		test("logs | where severity_number == 9 | project v = "+expr, `{"v":`+want+`}`)
	}
	// logs lists the severity numbers, in order of time, of the records for which a condition holds.
	logs := func(cond, want string) {
		t.Helper()
		rows, err := s.ask(scope, hour(), "logs | where "+cond+" | sort by time | project n = severity_number")
		got := ""
		for _, r := range rows {
			got += fmt.Sprint(r["n"], " ")
		}
		if strings.TrimSpace(got) != want || err != nil {
			t.Errorf("where %s: got %q, %v, want %q", cond, got, err, want)
		}
	}

	// A row without project has all the columns.
	test(`logs | limit 1 | where service == "db"`, `{"attributes":{},"body":"","event_name":"ev","flags":1,"host":"h-db","method":"","namespace":"shop","observed_time":"2025-03-04T10:06:51.000000000Z","pod":"p-db","resource":{"host.name":"h-db","k8s.namespace.name":"shop","k8s.pod.name":"p-db","service.name":"db"},"route":"","scope":{"k":"v"},"scope_name":"lib","scope_version":"1.2","service":"db","severity":"unspecified","severity_number":0,"severity_text":"T","span_id":"00000000000000ab","status_code":null,"tenant":"a","time":"2025-03-04T10:06:50.000000000Z","trace_id":"00000000000000000000000000000abc"}`)
	test(`spans | where name == "GET /cart" | project-away resource, attributes, scope`, `{"duration":100000000,"end_time":"2025-03-04T10:00:01.100000000Z","events":[{"attributes":{"e":"1"},"name":"cache miss","time":"2025-03-04T10:00:01.000000000Z"}],"flags":0,"host":"","kind":"server","links":[{"attributes":{},"span_id":"bb","trace_id":"aa","trace_state":""}],"method":"","name":"GET /cart","namespace":"","parent_span_id":"00000000000000ff","pod":"","route":"","scope_name":"","scope_version":"","service":"api","span_id":"0000000000000064","status":"ok","status_code":null,"status_message":"m","tenant":"a","time":"2025-03-04T10:00:01.000000000Z","trace_id":"00000000000000000000000000000abc","trace_state":"k=v"}`)
	test(`metrics | project name, kind, value, count, sum, min, max`,
		`{"count":null,"kind":"gauge","max":null,"min":null,"name":"load","sum":null,"value":9007199254740992}`,
		`{"count":4,"kind":"summary","max":null,"min":null,"name":"gc","sum":2,"value":null}`,
		`{"count":2,"kind":"exponential_histogram","max":null,"min":null,"name":"size","sum":null,"value":null}`,
		`{"count":3,"kind":"histogram","max":4,"min":0.5,"name":"latency","sum":6.5,"value":null}`,
		`{"count":null,"kind":"sum","max":null,"min":null,"name":"requests","sum":null,"value":7}`,
		`{"count":null,"kind":"gauge","max":null,"min":null,"name":"load","sum":null,"value":1.5}`)
	test(`metrics("latency", "gc") | project bounds, bucket_counts, quantiles, temporality`,
		`{"bounds":[],"bucket_counts":[],"quantiles":[{"quantile":0.5,"value":1.25}],"temporality":null}`,
		`{"bounds":[1,5],"bucket_counts":[1,2,0],"quantiles":[],"temporality":"delta"}`)
	test(`metrics("size") | project scale, zero_count, positive_offset, positive_counts, negative_counts`,
		`{"negative_counts":[],"positive_counts":[1],"positive_offset":-2,"scale":-1,"zero_count":1}`)
	test(`metrics("requests") | project monotonic, temporality, value_int`, `{"monotonic":true,"temporality":"cumulative","value_int":7}`)
	test(`metrics | where monotonic | count`, `{"count":1}`)
	test(`metrics | where not monotonic and kind in ("gauge", "summary") | count`, `{"count":3}`)

	// Conditions.
	logs(`severity >= "error"`, "17 21")
	logs(`severity > "error"`, "21")
	logs(`severity < "warn"`, "9 0")
	logs(`severity <= "Warning"`, "9 13 0")
	logs(`severity == "error"`, "17")
	logs(`severity != "ERROR"`, "9 13 21 0")
	logs(`severity in ("info", "fatal")`, "9 21")
	logs(`severity between "warn" and "error"`, "17 13")
	logs(`severity_number between 10 and 20`, "17 13")
	logs(`severity_number not between 10 and 20`, "9 21 0")
	logs(`service == "api"`, "9 17")
	logs(`service in ("db", "x")`, "13 21 0")
	logs(`service not in ("db")`, "9 17")
	logs(`service !in ("db")`, "9 17")
	logs(`body ~ "timeout"`, "17")
	logs(`body !~ "GET"`, "13 21 0")
	logs(`body =~ "^GET.*[0-9]ms$"`, "9")
	logs(`body !=~ "[0-9]"`, "17 21 0")
	logs(`body startswith "GET"`, "9 17")
	logs(`body not startswith "GET"`, "13 21 0")
	logs(`body endswith "100%"`, "13")
	logs(`contains(body, "MEMORY")`, "21")
	logs(`attr.n > 4`, "9 13")
	logs(`attr.n <= 5`, "9 17")
	logs(`not attr.n > 4`, "17 21 0")
	logs(`attr.n == 5`, "9")
	logs(`attr.n != 5`, "17 13 21 0")
	logs(`attr.n in (5, -7)`, "9 17")
	logs(`attr.f == 2.5`, "9")
	logs(`attr["http.route"] == "/cart"`, "9 17")
	logs(`attr.http.route == "/cart" and attributes.n == "5"`, "9")
	logs(`resource.service.name == "db"`, "13 21 0")
	logs(`resource["host.name"] == host`, "9 17 13 21 0")
	logs(`scope["k"] == "v" and scope.k == "v"`, "9 17 13 21 0")
	logs(`exists(attr.n)`, "9 17 13 21")
	logs(`attr.n == null`, "0")
	logs(`attr.empty != null`, "21")
	logs(`isempty(attr.n)`, "21 0")
	logs(`isnotempty(attr.n) and isnotnull(attr.n)`, "9 17 13")
	logs(`attr.flag == true`, "13")
	logs(`status_code >= 200`, "9 17")
	logs(`status_code == null`, "13 21 0")
	logs(`not (status_code > 300)`, "9 13 21 0")
	logs(`status_code != 200`, "17 13 21 0")
	logs(`time >= datetime"2025-03-04T10:02:00Z" and time < datetime"2025-03-04T10:06:45Z"`, "13 21")
	logs(`time > ago(54m)`, "21 0")
	logs(`time > "2025-03-04 10:06:45"`, "0")
	logs(`time between ago(1h) and now() - 58m`, "9 17")
	logs(`trace_id == "00000000000000000000000000000ABC"`, "9 17 13 21 0")
	logs(`service == "api" or severity == "fatal" and not false`, "9 17 21")
	logs(`(service == "api" or severity == "fatal") and method == "GET"`, "9 17")
	logs(`true`, "9 17 13 21 0")
	logs(`body == ""`, "0")
	logs(`strlen(body) in (0, 13)`, "21 0")
	logs(`float(attr.f) in (2, 2.5)`, "9")
	test(`spans | where kind == "SERVER" and duration >= 100ms | sort by duration | project name`, `{"name":"GET /cart"}`, `{"name":"GET /"}`)
	test(`spans | where status == "error" or duration in (50ms, 1h) | sort by duration | project name, status`, `{"name":"query","status":"unset"}`, `{"name":"query","status":"error"}`)
	test(`spans | search "CART" | count`, `{"count":1}`)
	test(`logs | search "memory" | project body`, `{"body":"out of memory"}`)

	// Expressions.
	one(`1 + 2 * 3 - -4`, `11`)
	one(`(1 + 2) * 3`, `9`)
	one(`7 / 2`, `3.5`)
	one(`7 / 0`, `null`)
	one(`7 % 4`, `3`)
	one(`7 % 0`, `null`)
	one(`attr.n + 1`, `6`)
	one(`attr.absent + 1`, `null`)
	one(`-severity_number`, `-9`)
	one(`9223372036854775807`, `9223372036854775807`)
	one(`2.5e3`, `2500`)
	one(`"a\"b\\c\n\t\x41\u00e9"`, "\"a\\\"b\\\\c\\n\\tAé\"")
	one("`raw \\d+`", `"raw \\d+"`)
	one(`null`, `null`)
	one(`true and not false`, `true`)
	one(`tolower(body)`, `"get /cart took 20ms"`)
	one(`toupper(service)`, `"API"`)
	one(`strlen("äé")`, `2`)
	one(`substring(body, 4, 5)`, `"/cart"`)
	one(`substring(body, 10)`, `"took 20ms"`)
	one(`trim("  x ")`, `"x"`)
	one(`concat(service, "-", 5, true, severity)`, `"api-5trueinfo"`)
	one(`replace(body, "cart", "x")`, `"GET /x took 20ms"`)
	one(`extract("took ([0-9]+)", body)`, `"20"`)
	one(`extract("nothing", body)`, `""`)
	one(`coalesce(attr.absent, attr.empty, service)`, `"api"`)
	one(`coalesce(attr.absent, 0)`, `0`)
	one(`coalesce(attr.n, 0)`, `5`)
	one(`iff(severity == "info", "yes", "no")`, `"yes"`)
	one(`iff(attr.n > 5, 1, 2.5)`, `2.5`)
	one(`iff(attr.n > 4, 1, null)`, `1`)
	one(`iff(attr.n > 5, 1, null)`, `null`)
	one(`abs(-5)`, `5`)
	one(`floor(2.7)`, `2`)
	one(`ceil(2.1)`, `3`)
	one(`round(2.567, 2)`, `2.57`)
	one(`round(2.5)`, `2`)
	one(`float("2.5")`, `2.5`)
	one(`float("x")`, `null`)
	one(`int("12")`, `12`)
	one(`int(2.9)`, `2`)
	one(`int(1e300)`, `null`)
	one(`string(2.5)`, `"2.5"`)
	one(`string(time)`, `"2025-03-04T10:00:10.000000000Z"`)
	one(`string(severity)`, `"info"`)
	one(`string(scope)`, `"{\"k\":\"v\"}"`)
	one(`bin(severity_number, 5)`, `5`)
	one(`bin(attr.f, 1)`, `2`)
	one(`bin(time, 1m)`, `"2025-03-04T10:00:00.000000000Z"`)
	one(`bin(time, 7s)`, `"2025-03-04T10:00:06.000000000Z"`)
	one(`bin(auto)`, `"2025-03-04T10:00:00.000000000Z"`)
	one(`time + 1h30m`, `"2025-03-04T11:30:10.000000000Z"`)
	one(`time - 10s`, `"2025-03-04T10:00:00.000000000Z"`)
	one(`observed_time - time`, `1000000000`)
	one(`(observed_time - time) / 1ms`, `1000`)
	one(`now() - time > 59m`, `true`)
	one(`90s`, `90000000000`)
	one(`1.5m == 90s`, `true`)
	one(`"b" > "a"`, `true`)
	one(`exists(attr.n)`, `true`)
	one(`status_code`, `200`)
	one(`route`, `"/cart"`)

	// Stages.
	test(`logs | count`, `{"count":5}`)
	test(`logs | where false | count`, `{"count":0}`)
	test(`logs | where false | summarize n = count(), s = sum(attr.n), m = max(attr.n), a = avg(attr.n) by service`)
	test(`logs | where false | summarize s = sum(severity_number), m = max(severity_number), a = avg(severity_number), p = percentile(severity_number, 50), y = any(service)`,
		`{"a":null,"m":null,"p":null,"s":0,"y":null}`)
	test(`logs | summarize count() by service`, `{"count":2,"service":"api"}`, `{"count":3,"service":"db"}`)
	test(`logs | summarize n = count() by bin(5m)`, `{"n":3,"time":"2025-03-04T10:00:00.000000000Z"}`, `{"n":2,"time":"2025-03-04T10:05:00.000000000Z"}`)
	test(`logs | summarize n = count() by severity | sort by severity desc`, `{"n":1,"severity":"fatal"}`, `{"n":1,"severity":"error"}`, `{"n":1,"severity":"warn"}`, `{"n":1,"severity":"info"}`, `{"n":1,"severity":"unspecified"}`)
	test(`logs | summarize e = countif(severity >= "error"), n = count() by service | extend r = e / n | project service, r`, `{"r":0.5,"service":"api"}`, `{"r":0.3333333333333333,"service":"db"}`)
	test(`logs | summarize dcount(service), sum(attr.n), avg(attr.n), min(severity_number), max(severity), any(body), top(service, 1), percentile(severity_number, 50)`,
		`{"any_body":"","avg_attr.n":4.333333333333333,"dcount_service":2,"max_severity":"fatal","min_severity_number":0,"p50_severity_number":13,"sum_attr.n":13,"top_service":["db"]}`)
	test(`spans | summarize p = percentile(duration, 50), s = sum(duration), m = max(duration) by name | sort by s desc | limit 2`,
		`{"m":1600000000,"name":"GET /","p":1600000000,"s":1600000000}`, `{"m":250000000,"name":"query","p":50000000,"s":300000000}`)
	test(`logs | summarize n = count() by attr.http.route | sort by attr["http.route"] desc`, `{"attr.http.route":"/cart","n":2}`, `{"attr.http.route":"","n":3}`)
	test(`logs | distinct service, pod`, `{"pod":"p-api","service":"api"}`, `{"pod":"p-db","service":"db"}`)
	test(`logs | top 2 by severity_number | project severity_number`, `{"severity_number":21}`, `{"severity_number":17}`)
	test(`logs | top 1 by severity_number asc | project severity_number`, `{"severity_number":0}`)
	test(`logs | sort by service, severity_number desc | take 3 | project service, severity_number`,
		`{"service":"api","severity_number":17}`, `{"service":"api","severity_number":9}`, `{"service":"db","severity_number":21}`)
	test(`logs | sort by status_code | head 3 | project status_code`, `{"status_code":200}`, `{"status_code":504}`, `{"status_code":null}`)
	test(`logs | limit 2 | summarize n = count() by service`, `{"n":2,"service":"db"}`)
	test(`logs | project service | limit 1`, `{"service":"db"}`)
	test(`logs | extend a = attr.n * 2, b = a + 1 | where b > 10 | sort by b | project a, b`, `{"a":10,"b":11}`, `{"a":30,"b":31}`)
	test(`logs | extend service = concat(service, "!") | summarize count() by service`, `{"count":2,"service":"api!"}`, `{"count":3,"service":"db!"}`)
	test(`logs | project s = service, severity | project-away s | limit 1`, `{"severity":"unspecified"}`)
	test(`logs | summarize n = count() by service | summarize max(n), any(service), count()`, `{"any_service":"api","count":2,"max_n":3}`)
	test(`logs | summarize n = count() by service | where n > 2`, `{"n":3,"service":"db"}`)
	test(`logs | project level, msg, timestamp | limit 1`, `{"body":"","severity":"unspecified","time":"2025-03-04T10:06:50.000000000Z"}`)
	test(`logs | where time < now() // the end
	| count`, `{"count":5}`)
}

// TestRangeIsHalfOpen: a row at the start is in, one at the end is not, to the nanosecond.
func TestRangeIsHalfOpen(t *testing.T) {
	s := newStore(t)
	s.insert(schema.Logs, row{"TenantId": "a", "Timestamp": at(1), "Body": "x"})
	moment := hourStart.Add(1e9)
	for _, c := range []struct {
		name string
		from time.Duration
		to   time.Duration
		want json.Number
	}{{"starts at", 0, 1, "1"}, {"ends at", -1, 0, "0"}, {"starts after", 1, 2, "0"}, {"is around", -1, 1, "1"}} {
		b := hour()
		b.Start, b.End = moment.Add(c.from), moment.Add(c.to)
		rows, err := s.ask(chtest.Scope(t, "a"), b, "logs | count")
		if err != nil || rows[0]["count"] != c.want {
			t.Errorf("range that %s the row: %v, %v, want %v", c.name, rows, err, c.want)
		}
	}
}
