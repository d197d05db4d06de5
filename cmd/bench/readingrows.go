package main

import (
	"fmt"
	"math"
	"strings"
	"time"
)

// The rows that -reading asks about are made by ClickHouse itself, each from its number alone: the same options make the
// same rows. They are as a decoder would write them, but for series ids, which here are hashes of the number of the series.
const (
	readingDays  = 4       // of logs and spans
	pointStep    = 60      // seconds between two points of a series, whose points are all of the last day
	rowsPerBatch = 120     // that follow each other and are one tenant's
	spansOfTrace = 10      // and twice as many log records
	stepsPerDay  = 24 * 60 // points of a series

	dayNanos = int64(24 * time.Hour)
)

// readingTenant is a tenant with its share of the rows.
type readingTenant struct {
	Name, ID, Partition, Key string
	Share                    float64
}

// sizes are the shares of n tenants: the k-th has 1/k^1.3 of the first.
func sizes(n int) []float64 {
	out, sum := make([]float64, n), 0.0
	for k := range out {
		out[k] = math.Pow(float64(k+1), -1.3)
		sum += out[k]
	}
	for k := range out {
		out[k] /= sum
	}
	return out
}

// rowMaker makes the INSERTs of a store.
type rowMaker struct {
	tenants []readingTenant
	only    int // the tenant, from 1, whose rows alone are made; 0 is all
	day     time.Time
	rows    int64 // of logs; half as many spans, and as many points
}

// common are expressions that all tables share: k is the tenant from 1, of the batch number b; s is the service.
func (m rowMaker) common() string {
	var ids, parts, cum []string
	at := 0.0
	for _, t := range m.tenants {
		at += t.Share
		ids, parts = append(ids, "'"+t.ID+"'"), append(parts, "'"+t.Partition+"'")
		cum = append(cum, fmt.Sprint(min(uint64(at*(1<<32)), 1<<32-1)))
	}
	cum[len(cum)-1] = fmt.Sprint(uint64(1) << 32)
	return strings.NewReplacer("IDS", strings.Join(ids, ","), "PARTS", strings.Join(parts, ","), "CUM", strings.Join(cum, ",")).Replace(`
	arrayFirstIndex(c -> c > toUInt32(cityHash64(b, 1)), [CUM]) AS k,
	[IDS][k] AS tenant, [PARTS][k] AS part,`)
}

// resource are expressions of a resource of service s of tenant k at time t.
const resource = `
	['checkout','frontend','cart','payment','shipping','catalog','search','ads','email','currency','recommendation','inventory',
		'gateway','auth','orders','billing','reports','images','sessions','worker'][s] AS service,
	concat(service, '-', lower(hex(toUInt32(cityHash64(k, s, intDiv(toUnixTimestamp(t), 21600), r % 3))))) AS pod,
	concat('node-', toString(cityHash64(k, pod) % 24)) AS node,
	map('service.name', service, 'service.namespace', 'shop', 'service.version', concat('1.', toString(s), '.4'), 'service.instance.id', pod,
		'deployment.environment.name', if(r % 3 = 0, 'staging', 'production'), 'k8s.cluster.name', 'main', 'k8s.namespace.name', 'shop',
		'k8s.node.name', node, 'k8s.pod.name', pod, 'k8s.pod.uid', lower(hex(sipHash128(pod))), 'host.name', node, 'os.type', 'linux',
		'telemetry.sdk.language', ['go','java','nodejs','python'][s % 4 + 1], 'telemetry.sdk.name', 'opentelemetry', 'cloud.region', 'eu-central-1') AS res`

// skewed is a service from 1 to 20, the first ones more often.
const skewed = `1 + toUInt8(20 * pow((cityHash64(b, 3) % 1000) / 1000, 1.6)) AS s, cityHash64(b, 4) AS r,`

const stampColumns = "TenantId, Partition, RetentionDays, RunId, ReceivedAt, "
const stampValues = "tenant, part, 3650, 1, toDateTime(t, 'UTC'), "

// where keeps the rows of one tenant.
func (m rowMaker) where() string {
	if m.only == 0 {
		return ""
	}
	return fmt.Sprintf(" WHERE k = %d", m.only)
}

// logs makes the log records of one of the days.
func (m rowMaker) logs(day int) string {
	n := m.rows / readingDays
	return "INSERT INTO otel_logs (" + stampColumns + `Timestamp, TimestampSource, ObservedTimestamp, TraceId, SpanId, TraceFlags, SeverityText, SeverityNumber,
	RawSeverityNumber, Body, LogAttributes, ServiceName, ResourceAttributes, ScopeName)
WITH number + ` + fmt.Sprint(int64(day)*n) + ` AS n, intDiv(n, ` + fmt.Sprint(rowsPerBatch) + `) AS b, cityHash64(n, 2) AS h,` + m.common() + `
	fromUnixTimestamp64Nano(toInt64(` + fmt.Sprint(m.day.AddDate(0, 0, day).UnixNano()) + ` + number * ` + fmt.Sprint(dayNanos/n) + `), 'UTC') AS t,` + skewed + resource + `,
	['TRACE','DEBUG','INFO','INFO','INFO','INFO','INFO','INFO','WARN','ERROR'] AS words,
	if(h % 1000 < 3, 'FATAL', words[1 + intDiv(h, 1000) % 10 - if(intDiv(h, 1000) % 10 = 9 AND h % 3 > 0, 2, 0)]) AS word,
	['/','/api/orders','/api/orders/{id}','/api/cart','/api/cart/{id}/items','/api/products','/api/products/{id}','/login','/api/search','/healthz'][1 + (h % 97) % 10] AS route,
	['200','200','200','200','201','204','302','404','500','503'][1 + intDiv(h, 7) % 10] AS code,
	lower(hex(sipHash128(h, 5))) AS request, toString(intDiv(h, 11) % 100000) AS user,
	concat('10.', toString(h % 7), '.', toString(intDiv(h, 13) % 256), '.', toString(intDiv(h, 17) % 256)) AS client,
	if(h % 10 < 6, lower(hex(sipHash128(intDiv(n, ` + fmt.Sprint(2*spansOfTrace) + `), 7))), '') AS trace
SELECT ` + stampValues + `t, 'time', t, trace, if(trace = '', '', lower(hex(sipHash64(n, 8)))), 1, word,
	transform(word, ['TRACE','DEBUG','INFO','WARN','ERROR','FATAL'], [1, 5, 9, 13, 17, 21], 0) AS number1, number1,
	multiIf(
		word IN ('ERROR', 'FATAL'), concat('timeout while calling ', ['payment','inventory','postgres','redis'][1 + h % 4], ' after ', toString(1000 + h % 9000), ' ms, request ', request, ' gave up at attempt ', toString(1 + h % 5)),
		h % 200000 = 11, concat('certificate of ', client, ' expires in ', toString(h % 30), ' days'),
		h % 5 = 0, concat('request completed method=GET route=', route, ' status=', code, ' duration_ms=', toString(h % 900), ' client=', client, ' request_id=', request),
		h % 5 = 1, concat('order ', toString(h % 100000000), ' of customer ', user, ' accepted, amount ', toString(h % 300), '.', toString(h % 90 + 10), ' EUR'),
		h % 5 = 2, concat('cache miss for key session:', request, ' in shard ', toString(h % 64), ', loading from the database'),
		h % 5 = 3, concat('SELECT id, name, price FROM products WHERE id = ', toString(h % 1000000), ' took ', toString(h % 400), ' ms'),
		concat('user ', user, ' signed in from ', client)),
	if(h % 2 = 0,
		map('http.request.method', if(h % 3 = 0, 'POST', 'GET'), 'http.route', route, 'http.response.status_code', code, 'request.id', request, 'thread.name', concat('worker-', toString(h % 16))),
		map('http.request.method', if(h % 3 = 0, 'POST', 'GET'), 'http.route', route, 'http.response.status_code', code, 'request.id', request, 'thread.name', concat('worker-', toString(h % 16)),
			'client.address', client, 'user.id', user, 'code.function.name', concat(service, '.handle'), 'code.line.number', toString(h % 700), 'duration_ms', toString(h % 900))),
	service, res, concat('shop.', service)
FROM numbers(` + fmt.Sprint(n) + ")" + m.where()
}

// spans makes the spans of one of the days. Those of a trace are a tree over several services of a tenant.
func (m rowMaker) spans(day int) string {
	n := m.rows / 2 / readingDays
	return "INSERT INTO otel_traces (" + stampColumns + `Timestamp, EndTimestamp, Duration, TraceId, SpanId, ParentSpanId, SpanName, SpanKind, StatusCode, StatusMessage,
	SpanAttributes, Events.Timestamp, Events.Name, Events.Attributes, Events.DroppedAttrCount, ServiceName, ResourceAttributes, ScopeName)
WITH intDiv(number, ` + fmt.Sprint(spansOfTrace) + `) + ` + fmt.Sprint(int64(day)*n/spansOfTrace) + ` AS trace, number % ` + fmt.Sprint(spansOfTrace) + ` AS i, intDiv(trace, ` + fmt.Sprint(rowsPerBatch/spansOfTrace/2) + `) AS b,
	cityHash64(trace, i, 12) AS h,` + m.common() + `
	fromUnixTimestamp64Nano(toInt64(` + fmt.Sprint(m.day.AddDate(0, 0, day).UnixNano()) + ` + intDiv(number, ` + fmt.Sprint(spansOfTrace) + `) * ` + fmt.Sprint(dayNanos/(n/spansOfTrace+1)) + ` + i * 3000000), 'UTC') AS t,
	1 + toUInt8(20 * pow((cityHash64(trace, intDiv(i, 2), 3) % 1000) / 1000, 1.6)) AS s, cityHash64(b, 4) AS r,` + resource + `,
	['/','/api/orders','/api/orders/{id}','/api/cart','/api/cart/{id}/items','/api/products','/api/products/{id}','/login','/api/search','/healthz'][1 + (h % 97) % 10] AS route,
	toUInt64(1000000 * exp(6.2 * (h % 1000) / 1000) * if(i = 0, 8, 1) + h % 1000000) AS took,
	if(h % 100 < 3, 'Error', 'Unset') AS status
SELECT ` + stampValues + `t, fromUnixTimestamp64Nano(toInt64(toUnixTimestamp64Nano(t) + took), 'UTC'), took, lower(hex(sipHash128(trace, 7))), lower(hex(sipHash64(trace, i))),
	if(i = 0, '', lower(hex(sipHash64(trace, toUInt8(intDiv(i - 1, 2)))))),
	if(i % 2 = 0, concat(if(h % 3 = 0, 'POST ', 'GET '), route), concat(['SELECT ','UPDATE ','GET ','publish '][1 + h % 4], ['orders','products','carts','users'][1 + intDiv(h, 5) % 4])),
	if(i % 2 = 0, 'Server', 'Client'), status, if(status = 'Error', 'deadline exceeded', ''),
	map('http.request.method', if(h % 3 = 0, 'POST', 'GET'), 'http.route', route, 'http.response.status_code', if(status = 'Error', '503', '200'), 'request.id', lower(hex(sipHash128(h, 5))),
		'server.address', node, 'thread.id', toString(h % 64), 'user.id', toString(intDiv(h, 11) % 100000)),
	if(h % 10 = 0, [t], []), if(h % 10 = 0, ['exception'], []), if(h % 10 = 0, [map('exception.type', 'Timeout', 'exception.message', 'deadline exceeded')], []), if(h % 10 = 0, [toUInt32(0)], []),
	service, res, concat('shop.', service)
FROM numbers(` + fmt.Sprint(n) + ")" + m.where()
}

// pointKind is one of the tables of points.
type pointKind struct {
	table, kind, unit string
	share             float64  // of all points
	names             []string // of the metric of a tenant's first 200 series, and of the next 1000; the others are by 20
	columns, values   string   // what the table has of its own; v is how far the series has come, n the step
	temporality       int
	monotonic         bool
}

var pointKinds = []pointKind{
	{
		table: "otel_metrics_sum", kind: "sum", unit: "1", share: .6, names: []string{"rpc.calls", "http.requests"}, temporality: 2, monotonic: true,
		columns: "Value, AggregationTemporality, IsMonotonic", values: "toFloat64(v), 2, true",
	},
	{
		table: "otel_metrics_gauge", kind: "gauge", unit: "By", share: .2, names: []string{"process.memory", "queue.bytes"},
		columns: "Value", values: "toFloat64(1000000 + cityHash64(j, n) % 500000)",
	},
	{
		table: "otel_metrics_histogram", kind: "histogram", unit: "s", share: .2, names: []string{"http.duration", "db.duration"}, temporality: 2,
		columns: "Count, Sum, BucketCounts, ExplicitBounds, AggregationTemporality",
		values: `v, toFloat64(v) / 9, arrayMap(x -> intDiv(v * x, 55), [1,2,4,8,10,9,7,6,4,3,1]),
	[0.005,0.01,0.025,0.05,0.1,0.25,0.5,1,2.5,5], 2`,
	},
}

// series is how many series all tenants have of a kind, and the first number of each tenant's, which ends with the whole.
func (m rowMaker) series(p pointKind) (total int64, begin []int64) {
	all := float64(m.rows/2) * p.share / stepsPerDay
	for _, t := range m.tenants {
		begin = append(begin, total)
		total += max(2, int64(all*t.Share))
	}
	return total, append(begin, total)
}

// describes are expressions of the series j of tenant k: metric, attributes, resource, and id.
func (m rowMaker) describes(p pointKind) string {
	_, begin := m.series(p)
	var ids, parts, ends, begins []string
	for i, t := range m.tenants {
		ids, parts = append(ids, "'"+t.ID+"'"), append(parts, "'"+t.Partition+"'")
		ends, begins = append(ends, fmt.Sprint(begin[i+1])), append(begins, fmt.Sprint(begin[i]))
	}
	return strings.NewReplacer("IDS", strings.Join(ids, ","), "PARTS", strings.Join(parts, ","), "ENDS", strings.Join(ends, ","), "BEGINS", strings.Join(begins, ","),
		"KIND", p.kind, "FIRST", p.names[0], "SECOND", p.names[1]).Replace(`
	arrayFirstIndex(c -> c > g, [ENDS]) AS k, [IDS][k] AS tenant, [PARTS][k] AS part, g - [BEGINS][k] AS j,
	multiIf(j < 200, 'FIRST', j < 1200, 'SECOND', concat('KIND.other.', toString(intDiv(j, 20)))) AS metric,
	cityHash64(k, 'KIND', j) AS id, 1 + j % 20 AS s, intDiv(j, 100) AS r,`) + resource + `,
	map('http.route', concat('/api/r', toString(intDiv(j, 20) % 25)), 'http.request.method', ['GET','POST','PUT','DELETE'][1 + intDiv(j, 5) % 4], 'http.response.status_code', ['200','404','500'][1 + j % 3],
		'worker', toString(j)) AS attrs`
}

// seriesRows makes what the ids of a kind stand for.
func (m rowMaker) seriesRows(p pointKind) string {
	total, _ := m.series(p)
	return "INSERT INTO otel_metrics_series (TenantId, Partition, RetentionDays, ReceivedAt, Day, MetricName, SeriesId, Kind, MetricUnit, AggregationTemporality, IsMonotonic, Attributes, ServiceName, ResourceAttributes, ScopeName)" + `
WITH number AS g, fromUnixTimestamp64Nano(toInt64(` + fmt.Sprint(m.last().UnixNano()) + `), 'UTC') AS t,` + m.describes(p) + `
SELECT tenant, part, 3650, toDateTime(t, 'UTC'), toDate(t), metric, id, ` + fmt.Sprintf("'%s', '%s', %d, %v", p.kind, p.unit, p.temporality, p.monotonic) + `, attrs, service, res, 'shop'
FROM numbers(` + fmt.Sprint(total) + ")" + m.where()
}

// points makes the points of a kind.
func (m rowMaker) points(p pointKind) string {
	total, _ := m.series(p)
	start := fmt.Sprint(m.last().UnixNano())
	return "INSERT INTO " + p.table + " (" + stampColumns + "SeriesId, TimeUnix, StartTimeUnix, MetricName, MetricUnit, Attributes, ServiceName, ResourceAttributes, ScopeName, " + p.columns + `)
WITH number % ` + fmt.Sprint(total) + ` AS g, intDiv(number, ` + fmt.Sprint(total) + `) AS n, fromUnixTimestamp64Nano(toInt64(` + start + `), 'UTC') AS t0,
	fromUnixTimestamp64Nano(toInt64(` + start + ` + (n * ` + fmt.Sprint(pointStep) + ` + g % 55) * 1000000000), 'UTC') AS at, t0 AS t,` + m.describes(p) + `,
	n * (1 + j % 50) + cityHash64(j, n) % (1 + j % 50) AS v
SELECT tenant, part, 3650, 1, toDateTime(at, 'UTC'), id, at, t0, metric, '` + p.unit + `', attrs, service, res, 'shop', ` + p.values + `
FROM numbers(` + fmt.Sprint(total*stepsPerDay) + ")" + m.where()
}

// last is the last of the days, and end the end of it.
func (m rowMaker) last() time.Time { return m.day.AddDate(0, 0, readingDays-1) }
func (m rowMaker) end() time.Time  { return m.day.AddDate(0, 0, readingDays) }
