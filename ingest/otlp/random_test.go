package otlp

import (
	"fmt"
	"math"
	"math/rand/v2"
	"testing"

	"go.opentelemetry.io/collector/pdata/pcommon"
	"go.opentelemetry.io/collector/pdata/plog"
	"go.opentelemetry.io/collector/pdata/plog/plogotlp"
	"go.opentelemetry.io/collector/pdata/pmetric"
	"go.opentelemetry.io/collector/pdata/pmetric/pmetricotlp"
	"go.opentelemetry.io/collector/pdata/ptrace"
	"go.opentelemetry.io/collector/pdata/ptrace/ptraceotlp"
	"google.golang.org/protobuf/encoding/protowire"
)

// gen makes requests that use every field, at random, with extreme values among them.
type gen struct{ *rand.Rand }

func newGen(seed uint64) gen { return gen{rand.New(rand.NewPCG(seed, 1))} }

func (g gen) one(n int) bool { return g.IntN(n) == 0 }

var someStrings = []string{
	"", "a", "service.name", "tenant.id", "tenant.Id", "http.method", "k8s.pod.name", "<&>", "line\nbreak\t\"quoted\" \\",
	"nul\x00byte", "\xff", "a\xc3", "\xf0\x9f\x92\xa9", "\u2028\u2029", "été", "\x7f\x01", "日本語", "\xed\xa0\x80", "ab\xff\xfecd",
}

func (g gen) str() string {
	switch g.IntN(6) {
	case 0, 1, 2:
		return someStrings[g.IntN(len(someStrings))]
	case 3:
		b := make([]byte, g.IntN(300))
		for i := range b {
			b[i] = byte('a' + g.IntN(26))
		}
		return string(b)
	}
	return fmt.Sprintf("value-%d", g.IntN(400))
}

func (g gen) bytes(n int) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(g.Uint32())
	}
	return b
}

func (g gen) float() float64 {
	list := []float64{0, math.Copysign(0, -1), 1, -1.5, math.NaN(), math.Inf(1), math.Inf(-1), math.MaxFloat64,
		math.SmallestNonzeroFloat64, 1e21, 1e-7, 123456789.125, 1e20, 5e-9}
	if g.one(2) {
		return list[g.IntN(len(list))]
	}
	return math.Float64frombits(g.Uint64())
}

func (g gen) int() int64 {
	list := []int64{0, 1, -1, math.MaxInt64, math.MinInt64, 1 << 53, 1<<53 + 1, 42}
	if g.one(2) {
		return list[g.IntN(len(list))]
	}
	return int64(g.Uint64())
}

func (g gen) time() pcommon.Timestamp {
	list := []uint64{0, 1, math.MaxInt64, math.MaxInt64 + 1, math.MaxUint64, 1}
	if g.one(6) {
		return pcommon.Timestamp(list[g.IntN(len(list))])
	}
	return pcommon.Timestamp(1788000000000000000 + g.Uint64N(3*86400e9))
}

func (g gen) u32() uint32 {
	if g.one(2) {
		return 0
	}
	return g.Uint32() >> g.IntN(32)
}

func (g gen) value(v pcommon.Value, depth int) {
	switch g.IntN(10) {
	case 0:
	case 1, 2, 3:
		v.SetStr(g.str())
	case 4:
		v.SetInt(g.int())
	case 5:
		v.SetDouble(g.float())
	case 6:
		v.SetBool(g.one(2))
	case 7:
		v.SetEmptyBytes().FromRaw(g.bytes(g.IntN(20)))
	case 8:
		s := v.SetEmptySlice()
		for range g.IntN(4) {
			if e := s.AppendEmpty(); depth < 5 {
				g.value(e, depth+1)
			}
		}
	case 9:
		m := v.SetEmptyMap()
		for range g.IntN(4) {
			if e := m.PutEmpty(g.str()); depth < 5 {
				g.value(e, depth+1)
			}
		}
	}
	if depth == 0 && g.one(300) {
		g.deep(v, 60+g.IntN(10))
	}
}

func (g gen) deep(v pcommon.Value, levels int) {
	for range levels {
		if g.one(2) {
			v = v.SetEmptySlice().AppendEmpty()
		} else {
			v = v.SetEmptyMap().PutEmpty("k")
		}
	}
	v.SetStr("bottom")
}

// attrs fills m, sometimes with a key twice (which pcommon.Map itself cannot do: see doubled in decoder_test.go).
func (g gen) attrs(m pcommon.Map) {
	for range g.IntN(8) {
		g.value(m.PutEmpty(g.str()), 0)
	}
}

func (g gen) traceID() (id pcommon.TraceID) {
	if !g.one(8) {
		copy(id[:], g.bytes(16))
	}
	return id
}

func (g gen) spanID() (id pcommon.SpanID) {
	if !g.one(8) {
		copy(id[:], g.bytes(8))
	}
	return id
}

func (g gen) resource(r pcommon.Resource) {
	if g.one(5) {
		return
	}
	g.attrs(r.Attributes())
	r.Attributes().PutStr("service.name", g.str())
	r.SetDroppedAttributesCount(g.u32())
}

func (g gen) scope(s pcommon.InstrumentationScope) {
	if g.one(5) {
		return
	}
	s.SetName(g.str())
	s.SetVersion(g.str())
	g.attrs(s.Attributes())
	s.SetDroppedAttributesCount(g.u32())
}

func (g gen) logs() plog.Logs {
	ld := plog.NewLogs()
	for range g.IntN(4) {
		rl := ld.ResourceLogs().AppendEmpty()
		g.resource(rl.Resource())
		rl.SetSchemaUrl(g.str())
		for range g.IntN(4) {
			sl := rl.ScopeLogs().AppendEmpty()
			g.scope(sl.Scope())
			sl.SetSchemaUrl(g.str())
			for range g.IntN(6) {
				g.log(sl.LogRecords().AppendEmpty())
			}
		}
	}
	return ld
}

func (g gen) log(l plog.LogRecord) {
	l.SetTimestamp(g.time())
	l.SetObservedTimestamp(g.time())
	l.SetSeverityNumber(plog.SeverityNumber(int32(g.IntN(400) - 50)))
	l.SetSeverityText(g.str())
	l.SetEventName(g.str())
	l.SetFlags(plog.LogRecordFlags(g.u32()))
	l.SetTraceID(g.traceID())
	l.SetSpanID(g.spanID())
	l.SetDroppedAttributesCount(g.u32())
	g.value(l.Body(), 0)
	g.attrs(l.Attributes())
}

func (g gen) traces() ptrace.Traces {
	td := ptrace.NewTraces()
	for range g.IntN(4) {
		rs := td.ResourceSpans().AppendEmpty()
		g.resource(rs.Resource())
		rs.SetSchemaUrl(g.str())
		for range g.IntN(4) {
			ss := rs.ScopeSpans().AppendEmpty()
			g.scope(ss.Scope())
			ss.SetSchemaUrl(g.str())
			for range g.IntN(6) {
				g.span(ss.Spans().AppendEmpty())
			}
		}
	}
	return td
}

func (g gen) span(s ptrace.Span) {
	s.SetStartTimestamp(g.time())
	s.SetEndTimestamp(g.time())
	s.SetTraceID(g.traceID())
	s.SetSpanID(g.spanID())
	s.SetParentSpanID(g.spanID())
	s.TraceState().FromRaw(g.str())
	s.SetFlags(g.u32())
	s.SetName(g.str())
	s.SetKind(ptrace.SpanKind(g.IntN(9) - 1))
	g.attrs(s.Attributes())
	s.SetDroppedAttributesCount(g.u32())
	s.SetDroppedEventsCount(g.u32())
	s.SetDroppedLinksCount(g.u32())
	s.Status().SetCode(ptrace.StatusCode(g.IntN(5) - 1))
	s.Status().SetMessage(g.str())
	for range g.IntN(3) {
		e := s.Events().AppendEmpty()
		e.SetTimestamp(g.time())
		e.SetName(g.str())
		g.attrs(e.Attributes())
		e.SetDroppedAttributesCount(g.u32())
	}
	for range g.IntN(3) {
		l := s.Links().AppendEmpty()
		l.SetTraceID(g.traceID())
		l.SetSpanID(g.spanID())
		l.TraceState().FromRaw(g.str())
		g.attrs(l.Attributes())
		l.SetDroppedAttributesCount(g.u32())
		l.SetFlags(g.u32())
	}
}

func (g gen) metrics() pmetric.Metrics {
	md := pmetric.NewMetrics()
	for range g.IntN(4) {
		rm := md.ResourceMetrics().AppendEmpty()
		g.resource(rm.Resource())
		rm.SetSchemaUrl(g.str())
		for range g.IntN(4) {
			sm := rm.ScopeMetrics().AppendEmpty()
			g.scope(sm.Scope())
			sm.SetSchemaUrl(g.str())
			for range g.IntN(8) {
				g.metric(sm.Metrics().AppendEmpty())
			}
		}
	}
	return md
}

func (g gen) metric(m pmetric.Metric) {
	m.SetName(g.str())
	m.SetDescription(g.str())
	m.SetUnit(g.str())
	if g.one(3) {
		g.attrs(m.Metadata())
	}
	n := g.IntN(4)
	switch g.IntN(6) {
	case 1:
		for range n {
			g.number(m.SetEmptyGauge().DataPoints().AppendEmpty())
		}
	case 2:
		s := m.SetEmptySum()
		s.SetAggregationTemporality(pmetric.AggregationTemporality(g.IntN(4)))
		s.SetIsMonotonic(g.one(2))
		for range n {
			g.number(s.DataPoints().AppendEmpty())
		}
	case 3:
		h := m.SetEmptyHistogram()
		h.SetAggregationTemporality(pmetric.AggregationTemporality(g.IntN(4)))
		for range n {
			g.histogram(h.DataPoints().AppendEmpty())
		}
	case 4:
		h := m.SetEmptyExponentialHistogram()
		h.SetAggregationTemporality(pmetric.AggregationTemporality(g.IntN(4)))
		for range n {
			g.expHistogram(h.DataPoints().AppendEmpty())
		}
	case 5:
		s := m.SetEmptySummary()
		for range n {
			g.summary(s.DataPoints().AppendEmpty())
		}
	}
}

func (g gen) flags() pmetric.DataPointFlags { return pmetric.DataPointFlags(g.u32()) }

func (g gen) number(p pmetric.NumberDataPoint) {
	p.SetStartTimestamp(g.time())
	p.SetTimestamp(g.time())
	p.SetFlags(g.flags())
	g.attrs(p.Attributes())
	switch g.IntN(5) {
	case 0, 1:
		p.SetIntValue(g.int())
	case 2, 3:
		p.SetDoubleValue(g.float())
	}
	g.exemplars(p.Exemplars())
}

func (g gen) exemplars(list pmetric.ExemplarSlice) {
	for range g.IntN(3) {
		e := list.AppendEmpty()
		e.SetTimestamp(g.time())
		e.SetTraceID(g.traceID())
		e.SetSpanID(g.spanID())
		g.attrs(e.FilteredAttributes())
		switch g.IntN(3) {
		case 0:
			e.SetIntValue(g.int())
		case 1:
			e.SetDoubleValue(g.float())
		}
	}
}

func (g gen) histogram(p pmetric.HistogramDataPoint) {
	p.SetStartTimestamp(g.time())
	p.SetTimestamp(g.time())
	p.SetFlags(g.flags())
	g.attrs(p.Attributes())
	p.SetCount(g.Uint64())
	if g.one(2) {
		p.SetSum(g.float())
	}
	if g.one(2) {
		p.SetMin(g.float())
	}
	if g.one(2) {
		p.SetMax(g.float())
	}
	n := g.IntN(5)
	for range n {
		p.BucketCounts().Append(g.Uint64())
	}
	if g.one(6) {
		n = g.IntN(5)
	}
	for range max(n-1, 0) {
		p.ExplicitBounds().Append(g.float())
	}
	g.exemplars(p.Exemplars())
}

func (g gen) expHistogram(p pmetric.ExponentialHistogramDataPoint) {
	p.SetStartTimestamp(g.time())
	p.SetTimestamp(g.time())
	p.SetFlags(g.flags())
	g.attrs(p.Attributes())
	p.SetCount(g.Uint64())
	if g.one(2) {
		p.SetSum(g.float())
	}
	if g.one(2) {
		p.SetMin(g.float())
	}
	if g.one(2) {
		p.SetMax(g.float())
	}
	p.SetScale(int32(g.u32()))
	p.SetZeroCount(g.Uint64())
	p.SetZeroThreshold(g.float())
	for _, side := range []pmetric.ExponentialHistogramDataPointBuckets{p.Positive(), p.Negative()} {
		side.SetOffset(int32(g.u32()))
		for range g.IntN(5) {
			side.BucketCounts().Append(g.Uint64() >> g.IntN(64))
		}
	}
	g.exemplars(p.Exemplars())
}

func (g gen) summary(p pmetric.SummaryDataPoint) {
	p.SetStartTimestamp(g.time())
	p.SetTimestamp(g.time())
	p.SetFlags(g.flags())
	g.attrs(p.Attributes())
	p.SetCount(g.Uint64())
	p.SetSum(g.float())
	for range g.IntN(4) {
		q := p.QuantileValues().AppendEmpty()
		q.SetQuantile(g.Float64())
		q.SetValue(g.float())
	}
}

// request returns a random request of sig in protobuf.
func (g gen) request(t testing.TB, sig Signal) []byte {
	t.Helper()
	var b []byte
	var err error
	switch sig {
	case Logs:
		b, err = plogotlp.NewExportRequestFromLogs(g.logs()).MarshalProto()
	case Traces:
		b, err = ptraceotlp.NewExportRequestFromTraces(g.traces()).MarshalProto()
	default:
		b, err = pmetricotlp.NewExportRequestFromMetrics(g.metrics()).MarshalProto()
	}
	if err != nil {
		t.Fatal(err)
	}
	return g.withEntityRefs(b)
}

// withEntityRefs adds entity references, which pdata keeps but does not show, to the resources of a request.
func (g gen) withEntityRefs(b []byte) []byte {
	resources, _ := split(b)
	for i, r := range resources {
		if g.one(2) {
			continue
		}
		fields, _ := split(r.body)
		for j, f := range fields {
			if f.num != 1 {
				continue
			}
			body := f.body
			for range g.IntN(3) {
				var ref [][]byte
				for num := range protowire.Number(4) {
					for range g.IntN(4) {
						// As an encoder does it: a field that is not a list is there once, and not if it is empty.
						if s := g.str(); num >= 2 || s != "" {
							ref = append(ref, stringField(num+1, s))
						}
						if num < 2 {
							break
						}
					}
				}
				body = append(body[:len(body):len(body)], message(3, ref...)...)
			}
			fields[j] = f.withBody(body)
		}
		resources[i] = r.withBody(join(fields))
	}
	return join(resources)
}

func TestRandomRequestsBecomeTheRowsThatPdataSees(t *testing.T) {
	st := testStamp(t)
	d := NewDecoder(Limits{})
	for _, sig := range []Signal{Logs, Traces, Metrics} {
		t.Run(sig.String(), func(t *testing.T) {
			for seed := range uint64(150) {
				body := newGen(seed).request(t, sig)
				res, err := d.Decode(sig, body, st)
				if err != nil {
					t.Fatalf("seed %d: %v", seed, err)
				}
				want, err := reference(sig, body, st)
				if err != nil {
					t.Fatalf("seed %d: pdata: %v", seed, err)
				}
				compareSets(t, readRows(t, res), want)
				if t.Failed() {
					t.Fatalf("seed %d", seed)
				}
			}
		})
	}
}

func TestD15DisguisedRequestsBecomeTheSameRows(t *testing.T) {
	st := testStamp(t)
	d := NewDecoder(Limits{})
	for _, sig := range signals {
		t.Run(sig.String(), func(t *testing.T) {
			for seed := range uint64(120) {
				g := newGen(seed)
				plain := g.request(t, sig)
				hidden := disguise(g.Rand, plain, mRequestLogs+msg(sig))
				res, err := d.Decode(sig, hidden, st)
				if err != nil {
					t.Fatalf("seed %d: %v", seed, err)
				}
				want, err := reference(sig, plain, st)
				if err != nil {
					t.Fatal(err)
				}
				got := readRows(t, res)
				got.billed = want.billed // the bytes are others
				compareSets(t, got, want)
				if t.Failed() {
					t.Fatalf("seed %d", seed)
				}
			}
		})
	}
}
