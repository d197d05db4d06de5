package otlpgen

import (
	"fmt"

	"go.opentelemetry.io/collector/pdata/pcommon"
	"go.opentelemetry.io/collector/pdata/plog"
	"go.opentelemetry.io/collector/pdata/plog/plogotlp"
	"go.opentelemetry.io/collector/pdata/pmetric"
	"go.opentelemetry.io/collector/pdata/pmetric/pmetricotlp"
	"go.opentelemetry.io/collector/pdata/ptrace"
	"go.opentelemetry.io/collector/pdata/ptrace/ptraceotlp"
)

const schemaURL = "https://opentelemetry.io/schemas/1.37.0"

func encoded(b []byte, err error) []byte {
	if err != nil {
		panic(fmt.Sprintf("BUG: encode a generated request: %v", err))
	}
	return b
}

// Logs returns a logs request of the given number of records. 60 % have a trace and a span id.
func Logs(seed uint64, records int) []byte {
	m := newMaker(seed)
	ld := plog.NewLogs()
	var list plog.LogRecordSlice
	m.runs(records, func(run int, first bool) {
		if first {
			rl := ld.ResourceLogs().AppendEmpty()
			m.resource(run, rl.Resource())
			rl.SetSchemaUrl(schemaURL)
			sl := rl.ScopeLogs().AppendEmpty()
			m.scope(run, sl.Scope())
			list = sl.LogRecords()
		}
		m.log(list.AppendEmpty())
	})
	return encoded(plogotlp.NewExportRequestFromLogs(ld).MarshalProto())
}

var severities = []plog.SeverityNumber{
	plog.SeverityNumberInfo, plog.SeverityNumberInfo, plog.SeverityNumberInfo, plog.SeverityNumberDebug,
	plog.SeverityNumberWarn, plog.SeverityNumberError,
}

func (m *maker) log(l plog.LogRecord) {
	ts := m.tick()
	l.SetTimestamp(ts)
	l.SetObservedTimestamp(ts + 1_500_000)
	severity := severities[m.IntN(len(severities))]
	l.SetSeverityNumber(severity)
	l.SetSeverityText(severity.String())
	l.Body().SetStr(fmt.Sprintf("%s %s %d for customer %06d in %d ms (attempt %d, correlation %08x)",
		m.pick(verbs), m.pick(objects), m.IntN(1_000_000), m.IntN(50000), m.IntN(2000), 1+m.IntN(3), m.Uint32()))
	if m.IntN(10) < 6 {
		l.SetTraceID(m.traceID())
		l.SetSpanID(m.spanID())
		l.SetFlags(1)
	}
	m.attributes(5+m.IntN(6), l.Attributes())
}

// Traces returns a traces request of the given number of spans, about six to a trace. One in four has an event, one in
// twenty a link.
func Traces(seed uint64, records int) []byte {
	m := newMaker(seed)
	td := ptrace.NewTraces()
	var list ptrace.SpanSlice
	var traceID pcommon.TraceID
	var parent pcommon.SpanID
	m.runs(records, func(run int, first bool) {
		if first {
			rs := td.ResourceSpans().AppendEmpty()
			m.resource(run, rs.Resource())
			rs.SetSchemaUrl(schemaURL)
			ss := rs.ScopeSpans().AppendEmpty()
			m.scope(run, ss.Scope())
			list = ss.Spans()
		}
		if first || m.IntN(6) == 0 {
			traceID, parent = m.traceID(), pcommon.SpanID{}
		}
		s := list.AppendEmpty()
		m.span(s, traceID, parent)
		parent = s.SpanID()
	})
	return encoded(ptraceotlp.NewExportRequestFromTraces(td).MarshalProto())
}

func (m *maker) span(s ptrace.Span, traceID pcommon.TraceID, parent pcommon.SpanID) {
	ts := m.tick()
	s.SetTraceID(traceID)
	s.SetSpanID(m.spanID())
	s.SetParentSpanID(parent)
	s.SetName(m.pick(methods) + " " + m.pick(routes))
	s.SetKind(ptrace.SpanKind(1 + m.IntN(5)))
	s.SetStartTimestamp(ts)
	s.SetEndTimestamp(ts + pcommon.Timestamp(m.Uint64N(2e9)))
	s.SetFlags(0x101)
	m.attributes(5+m.IntN(6), s.Attributes())
	if m.IntN(12) == 0 {
		s.Status().SetCode(ptrace.StatusCodeError)
		s.Status().SetMessage("deadline exceeded")
	}
	if m.IntN(4) == 0 {
		e := s.Events().AppendEmpty()
		e.SetTimestamp(ts + 1000)
		e.SetName("exception")
		e.Attributes().PutStr("exception.type", "TimeoutError")
		e.Attributes().PutStr("exception.message", fmt.Sprintf("no answer from %s after %d ms", m.pick(serviceNames), m.IntN(5000)))
	}
	if m.IntN(20) == 0 {
		l := s.Links().AppendEmpty()
		l.SetTraceID(m.traceID())
		l.SetSpanID(m.spanID())
	}
}

// Metrics returns a metrics request of the given number of data points, ten to a metric: gauges, sums, histograms,
// exponential histograms and summaries, as often as an application's SDK sends them.
func Metrics(seed uint64, records int) []byte {
	m := newMaker(seed)
	md := pmetric.NewMetrics()
	var list pmetric.MetricSlice
	var next func()
	n := 0
	m.runs(records, func(run int, first bool) {
		if first {
			rm := md.ResourceMetrics().AppendEmpty()
			m.resource(run, rm.Resource())
			rm.SetSchemaUrl(schemaURL)
			sm := rm.ScopeMetrics().AppendEmpty()
			m.scope(run, sm.Scope())
			list = sm.Metrics()
		}
		if n%10 == 0 {
			next = m.metric(n/10, list.AppendEmpty())
		}
		n++
		next()
	})
	return encoded(pmetricotlp.NewExportRequestFromMetrics(md).MarshalProto())
}

// metric begins the i-th metric and returns what adds a point to it.
func (m *maker) metric(i int, out pmetric.Metric) func() {
	out.SetUnit("1")
	switch i % 10 {
	case 0, 1, 2:
		out.SetName(fmt.Sprintf("process.runtime.gauge.%d", i%7))
		out.SetDescription("Bytes of memory in use by the runtime, by kind.")
		points := out.SetEmptyGauge().DataPoints()
		return func() {
			p := points.AppendEmpty()
			m.point(p)
			p.SetDoubleValue(m.Float64() * 1e6)
		}
	case 3, 4, 5, 6:
		out.SetName(fmt.Sprintf("http.server.request.count.%d", i%7))
		out.SetDescription("Number of requests served.")
		sum := out.SetEmptySum()
		sum.SetAggregationTemporality(pmetric.AggregationTemporalityCumulative)
		sum.SetIsMonotonic(true)
		return func() {
			p := sum.DataPoints().AppendEmpty()
			m.point(p)
			p.SetIntValue(m.Int64N(1e6))
		}
	case 7, 8:
		out.SetName("http.server.request.duration")
		out.SetDescription("Duration of HTTP server requests.")
		out.SetUnit("s")
		h := out.SetEmptyHistogram()
		h.SetAggregationTemporality(pmetric.AggregationTemporalityCumulative)
		return func() { m.histogram(h.DataPoints().AppendEmpty()) }
	}
	if i%20 == 9 {
		out.SetName("rpc.server.duration")
		h := out.SetEmptyExponentialHistogram()
		h.SetAggregationTemporality(pmetric.AggregationTemporalityDelta)
		return func() { m.expHistogram(h.DataPoints().AppendEmpty()) }
	}
	out.SetName("gc.pause.seconds")
	points := out.SetEmptySummary().DataPoints()
	return func() {
		p := points.AppendEmpty()
		m.point(p)
		p.SetCount(m.Uint64N(1000))
		p.SetSum(m.Float64())
		for _, q := range []float64{0, 0.5, 0.9, 0.99, 1} {
			v := p.QuantileValues().AppendEmpty()
			v.SetQuantile(q)
			v.SetValue(q * m.Float64())
		}
	}
}

type anyPoint interface {
	SetStartTimestamp(pcommon.Timestamp)
	SetTimestamp(pcommon.Timestamp)
	Attributes() pcommon.Map
}

func (m *maker) point(p anyPoint) {
	p.SetStartTimestamp(start - 3600e9)
	p.SetTimestamp(m.tick())
	a := p.Attributes()
	a.PutStr("http.request.method", m.pick(methods))
	a.PutStr("http.route", m.pick(routes))
	a.PutInt("http.response.status_code", statuses[m.IntN(len(statuses))])
	a.PutStr("network.protocol.version", "1.1")
}

var bounds = []float64{0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1, 2.5, 5, 7.5, 10}

func (m *maker) histogram(p pmetric.HistogramDataPoint) {
	m.point(p)
	p.ExplicitBounds().FromRaw(bounds)
	for range len(bounds) + 1 {
		n := m.Uint64N(500)
		p.BucketCounts().Append(n)
		p.SetCount(p.Count() + n)
	}
	p.SetSum(m.Float64() * 1000)
	p.SetMin(0.001)
	p.SetMax(9.5)
	if m.IntN(5) == 0 {
		e := p.Exemplars().AppendEmpty()
		e.SetTimestamp(p.Timestamp())
		e.SetDoubleValue(m.Float64())
		e.SetTraceID(m.traceID())
		e.SetSpanID(m.spanID())
	}
}

func (m *maker) expHistogram(p pmetric.ExponentialHistogramDataPoint) {
	m.point(p)
	p.SetScale(3)
	p.SetZeroCount(m.Uint64N(10))
	p.Positive().SetOffset(int32(m.IntN(40)) - 20)
	for range 24 {
		n := m.Uint64N(200)
		p.Positive().BucketCounts().Append(n)
		p.SetCount(p.Count() + n)
	}
	p.SetSum(m.Float64() * 1000)
}
