package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"time"
)

// question is asked over HTTP as a caller would, and beside it as the SQL that somebody would write who may read the tables.
type question struct {
	name  string
	hours int    // before the end of the rows
	oql   string // of POST /api/v1/query; or
	path  string // of the other interfaces, with its parameters
	// sql has {W} in the place of tenant and time range, {T} of the tenant alone, {M} of both for points.
	sql string
}

// rowList are the columns of a list of log records, in both languages.
const (
	rowList    = " | project time, severity, service, body, trace_id, attributes, resource | limit 100"
	rowListSQL = "SELECT Timestamp, SeverityNumber, ServiceName, Body, TraceId, LogAttributes, ResourceAttributes FROM otel_logs WHERE {W} AND "
	newest     = " ORDER BY Timestamp DESC LIMIT 100"

	spanList = "TraceId, SpanId, ParentSpanId, Timestamp, Duration, SpanName, SpanKind, StatusCode, StatusMessage, ServiceName, SpanAttributes, ResourceAttributes, " +
		"ScopeName, ScopeVersion, Events.Timestamp, Events.Name, Events.Attributes, Links.TraceId, Links.SpanId, TraceState"
)

// In every text {service}, {pod}, {request}, {trace}, {from}, {until} stand for values of the tenant's rows; times are in seconds.
var questions = []question{
	{"logs: last 100 errors of a service, 1 h", 1, `logs | where service == "{service}" and severity >= "error"` + rowList, "",
		rowListSQL + "ServiceName = '{service}' AND SeverityNumber >= 17" + newest},
	{"logs: newest 100, 1 h", 1, `logs` + rowList, "", rowListSQL + "1" + newest},
	{"logs: newest 100 of a service, 24 h", 24, `logs | where service == "{service}"` + rowList, "", rowListSQL + "ServiceName = '{service}'" + newest},
	{"logs: newest 100, 96 h", 96, `logs` + rowList, "", rowListSQL + "1" + newest},
	{"logs: count by service per minute, 24 h", 24, `logs | summarize count() by service, bin(1m) | limit 100000`, "",
		"SELECT ServiceName, toStartOfMinute(Timestamp) AS m, count() FROM otel_logs WHERE {W} GROUP BY 1, 2 ORDER BY 1, 2"},
	{"logs: count by severity, 96 h", 96, `logs | summarize count() by severity, bin(1h)`, "",
		"SELECT SeverityNumber, toStartOfHour(Timestamp) AS m, count() FROM otel_logs WHERE {W} GROUP BY 1, 2 ORDER BY 1, 2"},
	{"logs: text, frequent, newest 100, 24 h", 24, `logs | where body ~ "Cache Miss"` + rowList, "",
		rowListSQL + "positionCaseInsensitiveUTF8(Body, 'Cache Miss') > 0" + newest},
	{"logs: text, rare, newest 100, 24 h", 24, `logs | where body ~ "expires in"` + rowList, "",
		rowListSQL + "positionCaseInsensitiveUTF8(Body, 'expires in') > 0" + newest},
	{"logs: text, count, 24 h", 24, `logs | search "gave up" | count`, "", "SELECT count() FROM otel_logs WHERE {W} AND positionCaseInsensitiveUTF8(Body, 'gave up') > 0"},
	{"logs: a unique attribute, 96 h", 96, `logs | where attr["request.id"] == "{request}"` + rowList, "", rowListSQL + "LogAttributes['request.id'] = '{request}'" + newest},
	{"logs: of a pod, newest 100, 24 h", 24, `logs | where pod == "{pod}"` + rowList, "", rowListSQL + "`__otel_materialized_k8s.pod.name` = '{pod}'" + newest},
	{"logs: of a trace, 96 h", 96, `logs | where trace_id == "{trace}"` + rowList, "", rowListSQL + "TraceId = '{trace}'" + newest},
	{"logs: 5xx by route, 24 h", 24, `logs | where status_code >= 500 | summarize n = count() by route | sort by n desc`, "",
		"SELECT LogAttributes['http.route'] AS r, count() AS n FROM otel_logs WHERE {W} AND toInt64OrNull(LogAttributes['http.response.status_code']) >= 500 GROUP BY r ORDER BY n DESC"},
	{"logs: names of attributes, 24 h", 24, `logs | keys`, "", "SELECT arrayJoin(LogAttributes.keys) AS k, count() FROM otel_logs WHERE {W} GROUP BY k ORDER BY k"},
	{"spans: p95 by service and operation, 24 h", 24, `spans | summarize p95 = percentile(duration, 95) by service, name`, "",
		"SELECT ServiceName, SpanName, quantileTDigest(0.95)(Duration) FROM otel_traces WHERE {W} GROUP BY 1, 2 ORDER BY 1, 2"},
	{"spans: p95 by route, 24 h", 24, `spans | where kind == "server" | summarize p95 = percentile(duration, 95) by route`, "",
		"SELECT SpanAttributes['http.route'] AS r, quantileTDigest(0.95)(Duration) FROM otel_traces WHERE {W} AND SpanKind = 'Server' GROUP BY r ORDER BY r"},
	{"spans: errors of one operation, newest 100, 24 h", 24, `spans | where service == "{service}" and name == "GET /login" and status == "error" | project time, trace_id, duration, attributes | limit 100`, "",
		"SELECT Timestamp, TraceId, Duration, SpanAttributes FROM otel_traces WHERE {W} AND ServiceName = '{service}' AND SpanName = 'GET /login' AND StatusCode = 'Error'" + newest},
	{"spans: slowest 100, 24 h", 24, `spans | top 100 by duration | project time, trace_id, service, name, duration`, "",
		"SELECT Timestamp, TraceId, ServiceName, SpanName, Duration FROM otel_traces WHERE {W} ORDER BY Duration DESC LIMIT 100"},
	{"jaeger: trace by id, time unknown", 96, "", "/jaeger/api/traces/{trace}", "SELECT " + spanList + " FROM otel_traces WHERE {T} AND TraceId = '{trace}'"},
	{"jaeger: 20 newest traces of a service, 1 h", 1, "", "/jaeger/api/traces?service={service}&start={from}000000&end={until}000000&limit=20", "SELECT " + spanList +
		" FROM otel_traces WHERE {W} AND TraceId IN (SELECT TraceId FROM otel_traces WHERE {W} AND ServiceName = '{service}' GROUP BY TraceId ORDER BY max(Timestamp) DESC LIMIT 20)"},
	{"jaeger: 20 traces with a tag, 24 h", 24, "", "/jaeger/api/traces?service={service}&tags=%7B%22http.route%22%3A%22%2Flogin%22%7D&start={from}000000&end={until}000000&limit=20", "SELECT " + spanList +
		" FROM otel_traces WHERE {W} AND TraceId IN (SELECT TraceId FROM otel_traces WHERE {W} AND ServiceName = '{service}' AND (SpanAttributes['http.route'] = '/login'" +
		" OR ResourceAttributes['http.route'] = '/login' OR arrayExists(m -> m['http.route'] = '/login', Events.Attributes)) GROUP BY TraceId ORDER BY max(Timestamp) DESC LIMIT 20)"},
	{"jaeger: operations of a service, 96 h", 96, "", "/jaeger/api/services/{service}/operations", "SELECT DISTINCT SpanName FROM otel_traces WHERE {W} AND ServiceName = '{service}'"},
	{"jaeger: dependencies, 24 h", 24, "", "/jaeger/api/dependencies?endTs={until}000&lookback=86400000",
		"SELECT p.ServiceName, c.ServiceName, count() FROM (SELECT TraceId, ParentSpanId, ServiceName FROM otel_traces WHERE {W} AND ParentSpanId != '') AS c" +
			" INNER JOIN (SELECT TraceId, SpanId, ServiceName FROM otel_traces WHERE {W}) AS p ON c.TraceId = p.TraceId AND c.ParentSpanId = p.SpanId WHERE p.ServiceName != c.ServiceName GROUP BY 1, 2"},
	{"prometheus: rate, 200 series, 1 h", 1, "", "/prometheus/api/v1/query_range?query=rate(rpc_calls_total%5B5m%5D)&start={from}&end={until}&step=60", rateSQL("rpc.calls", 60)},
	{"prometheus: rate, 1,000 series, 1 h", 1, "", "/prometheus/api/v1/query_range?query=rate(http_requests_total%5B5m%5D)&start={from}&end={until}&step=60", rateSQL("http.requests", 60)},
	{"prometheus: sum of rates by job, 200 series, 24 h", 24, "", "/prometheus/api/v1/query_range?query=sum+by+(job)+(rate(rpc_calls_total%5B5m%5D))&start={from}&end={until}&step=300",
		"SELECT ServiceName, sumForEach(r) FROM (" + gridSQL("rpc.calls", 300, "ServiceName, ") + ") GROUP BY ServiceName"},
	{"prometheus: p95 of a histogram by route, 1 h", 1, "", "/prometheus/api/v1/query_range?query=histogram_quantile(0.95,sum+by+(le,http_route)+(rate(http_duration_seconds_bucket%5B5m%5D)))&start={from}&end={until}&step=300",
		"SELECT route, m, sumForEach(d) AS b, arrayFirstIndex(x -> x >= 0.95 * arraySum(b), arrayCumSum(b)) FROM (SELECT SeriesId, Attributes['http.route'] AS route, toStartOfFiveMinutes(TimeUnix) AS m," +
			" arrayMap((x, y) -> x - y, argMax(BucketCounts, TimeUnix), argMin(BucketCounts, TimeUnix)) AS d FROM otel_metrics_histogram WHERE {M} AND MetricName = 'http.duration' GROUP BY 1, 2, 3) GROUP BY 1, 2 ORDER BY 1, 2"},
	{"metrics: average per 5 minutes of a gauge, 24 h", 24, `metrics("process.memory") | summarize avg(value) by service, bin(5m)`, "",
		"SELECT ServiceName, toStartOfFiveMinutes(TimeUnix) AS m, avg(Value) FROM otel_metrics_gauge WHERE {M} AND MetricName = 'process.memory' GROUP BY 1, 2 ORDER BY 1, 2"},
}

// gridSQL is a rate over 5 minutes at each step, per series.
func gridSQL(metric string, step int, with string) string {
	return fmt.Sprintf("SELECT %sSeriesId, timeSeriesRateToGrid({from}, {until}, %d, 300)(toDateTime(TimeUnix, 'UTC'), assumeNotNull(Value)) AS r FROM otel_metrics_sum WHERE {M} AND MetricName = '%s' GROUP BY %sSeriesId", with, step, metric, with)
}

// rateSQL is gridSQL with the labels of the series.
func rateSQL(metric string, step int) string {
	return "SELECT p.SeriesId, r, a, s FROM (" + gridSQL(metric, step, "") + ") AS p ANY LEFT JOIN (SELECT SeriesId, Attributes AS a, ServiceName AS s FROM otel_metrics_series WHERE {T} AND MetricName = '" +
		metric + "' AND Day >= toDate(toDateTime({from}, 'UTC')) AND Day <= toDate(toDateTime({until}, 'UTC'))) AS s ON p.SeriesId = s.SeriesId"
}

// sample is a tenant with values of its rows.
type sample struct {
	readingTenant
	service, pod, request, trace string
}

func (s *store) sample(ctx context.Context, k int) (sample, error) {
	t := sample{readingTenant: s.rows.tenants[k-1], service: "frontend"}
	out, err := s.sql.run(ctx, fmt.Sprintf("SELECT `__otel_materialized_k8s.pod.name`, LogAttributes['request.id'], TraceId FROM otel_logs WHERE TenantId = '%s' AND ServiceName = '%s' AND TraceId IN "+
		"(SELECT TraceId FROM otel_traces WHERE TenantId = '%s' AND Timestamp >= '%s') AND Timestamp >= '%[4]s' LIMIT 1", t.ID, t.service, t.ID, s.rows.last().Add(12*time.Hour).Format(time.DateTime)))
	if err != nil {
		return t, err
	}
	f := strings.Split(strings.TrimSpace(string(out.body)), "\t")
	if len(f) != 3 {
		return t, fmt.Errorf("tenant %s has no record that belongs to a trace", t.Name)
	}
	t.pod, t.request, t.trace = f[0], f[1], f[2]
	return t, nil
}

// text puts the values of a tenant into one of the question's texts.
func (q question) text(text string, t sample, end time.Time) string {
	from := end.Add(-time.Duration(q.hours) * time.Hour)
	between := func(column string, early time.Duration) string {
		return fmt.Sprintf("TenantId = '%s' AND %s >= '%s' AND %s < '%s'", t.ID, column, from.Add(-early).Format(time.DateTime), column, end.Format(time.DateTime))
	}
	early := time.Duration(0)
	if strings.HasPrefix(q.path, "/prometheus") {
		early = 5 * time.Minute // a rate at the first moment
	}
	return strings.NewReplacer("{service}", t.service, "{pod}", t.pod, "{request}", t.request, "{trace}", t.trace, "{T}", "TenantId = '"+t.ID+"'",
		"{from}", fmt.Sprint(from.Unix()), "{until}", fmt.Sprint(end.Unix()), "{W}", between("Timestamp", early), "{M}", between("TimeUnix", early)).Replace(text)
}

// request asks s as its caller t.
func (q question) request(ctx context.Context, s *store, t sample) (*http.Request, error) {
	end := s.rows.end()
	method, target, body := http.MethodGet, q.path, []byte(nil)
	if q.oql != "" {
		var err error
		method, target = http.MethodPost, "/api/v1/query"
		body, err = json.Marshal(map[string]any{
			"query": q.text(q.oql, t, end), "format": "ndjson", "start": end.Add(-time.Duration(q.hours) * time.Hour), "end": end, "max_age": "0s",
		})
		if err != nil {
			return nil, err
		}
	}
	if strings.HasPrefix(target, "/prometheus") {
		target += "&max_age=0s" // as above: the same question is asked again and again
	}
	u, err := url.Parse(s.srv.api + q.text(target, t, end))
	if err != nil {
		return nil, err
	}
	req, err := http.NewRequestWithContext(ctx, method, u.String(), bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	req.Header.Set("Authorization", "Bearer "+t.Key)
	req.Header.Set("Content-Type", "application/json")
	return req, nil
}
