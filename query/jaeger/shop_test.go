package jaeger

import (
	"time"

	"go.opentelemetry.io/collector/pdata/pcommon"
	"go.opentelemetry.io/collector/pdata/ptrace"
)

// The shop's trace ids: of a payment that failed, of a look at the cart, and of an old batch with a 64-bit id.
const (
	payment = "0af7651916cd43dd8448eb211c80319c"
	look    = "4bf92f3577b34da6a3ce929d0e0e4736"
	batch   = "0000000000000000deadbeefcafebabe"
)

// shop is three traces of three services, with every kind of value that Jaeger shows.
func shop() ptrace.Traces {
	td := ptrace.NewTraces()
	front := service(td, "frontend", func(m pcommon.Map) {
		m.PutStr("host.name", "node-1")
		m.PutInt("process.pid", 4711)
	})
	front.Scope().SetName("net/http")
	front.Scope().SetVersion("1.2.0")
	s := newSpan(front, payment, "00f067aa0ba902b7", "", "POST /pay", ptrace.SpanKindServer, 10*time.Minute, 5*time.Second)
	s.Attributes().PutStr("http.route", "/pay")
	s.Attributes().PutInt("http.status_code", 504)
	s.Attributes().PutDouble("ratio", 0.5)
	s.Attributes().PutBool("retried", true)
	s.Attributes().PutEmptyBytes("digest").FromRaw([]byte{0, 0x30, 0x39})
	s.Attributes().PutInt("big", 9223372036854775222)
	list := s.Attributes().PutEmptySlice("list")
	list.AppendEmpty().SetInt(1)
	list.AppendEmpty().SetStr("two")
	s.Attributes().PutEmpty("nothing")
	s.SetFlags(0x101)
	s.TraceState().FromRaw("vendor=1")
	s.Status().SetCode(ptrace.StatusCodeError)
	s.Status().SetMessage("gateway timeout")
	s.SetDroppedAttributesCount(2)
	e := s.Events().AppendEmpty()
	e.SetName("exception")
	e.SetTimestamp(stamp(hourStart.Add(10*time.Minute + 4*time.Second + 1234*time.Nanosecond)))
	e.Attributes().PutStr("exception.type", "Timeout")
	e.Attributes().PutInt("attempt", 3)

	pay := service(td, "payment", func(m pcommon.Map) { m.PutStr("host.name", "node-2") })
	s = newSpan(pay, payment, "00f067aa0ba902b8", "00f067aa0ba902b7", "charge", ptrace.SpanKindClient, 10*time.Minute+time.Second, 4*time.Second)
	s.Attributes().PutStr("peer.service", "bank")
	s.Status().SetCode(ptrace.StatusCodeOk)
	l := s.Links().AppendEmpty()
	l.SetTraceID(mustTrace(batch))
	l.SetSpanID(mustSpan("00000000000000aa"))
	l = s.Links().AppendEmpty() // a link to the parent makes its type
	l.SetTraceID(mustTrace(payment))
	l.SetSpanID(mustSpan("00f067aa0ba902b7"))
	l.Attributes().PutStr("opentracing.ref_type", "follows_from")

	s = newSpan(front, look, "1000000000000001", "", "GET /cart", ptrace.SpanKindServer, 30*time.Minute, 12*time.Millisecond)
	s.Attributes().PutStr("http.route", "/cart")
	s.Attributes().PutInt("http.status_code", 200)
	cart := service(td, "cart/v2", func(pcommon.Map) {})
	s = newSpan(cart, look, "1000000000000002", "1000000000000001", "HGETALL", ptrace.SpanKindInternal, 30*time.Minute+time.Millisecond, 3*time.Millisecond)
	s.Attributes().PutStr("db.system", "redis")
	newSpan(cart, look, "1000000000000003", "1000000000000001", "HGETALL", ptrace.SpanKindInternal, 30*time.Minute+5*time.Millisecond, 2*time.Millisecond)

	newSpan(cart, batch, "00000000000000aa", "", "expire", ptrace.SpanKindUnspecified, 50*time.Minute, 250*time.Microsecond)
	return td
}

func service(td ptrace.Traces, name string, more func(pcommon.Map)) ptrace.ScopeSpans {
	rs := td.ResourceSpans().AppendEmpty()
	rs.Resource().Attributes().PutStr("service.name", name)
	more(rs.Resource().Attributes())
	return rs.ScopeSpans().AppendEmpty()
}

func newSpan(ss ptrace.ScopeSpans, trace, id, parent, name string, kind ptrace.SpanKind, after, took time.Duration) ptrace.Span {
	s := ss.Spans().AppendEmpty()
	s.SetTraceID(mustTrace(trace))
	s.SetSpanID(mustSpan(id))
	if parent != "" {
		s.SetParentSpanID(mustSpan(parent))
	}
	s.SetName(name)
	s.SetKind(kind)
	s.SetStartTimestamp(stamp(hourStart.Add(after)))
	s.SetEndTimestamp(stamp(hourStart.Add(after + took)))
	return s
}

// canary is in every text that another tenant sent. It must never come out.
const canary = "canary"

// strangers are another tenant's spans: under the shop's own trace and span ids, and in a trace of their own.
func strangers() ptrace.Traces {
	td := shop()
	for _, rs := range td.ResourceSpans().All() {
		rs.Resource().Attributes().PutStr("service.name", canary+"-service")
		rs.Resource().Attributes().PutStr("host.name", canary)
		for _, ss := range rs.ScopeSpans().All() {
			ss.Scope().SetName(canary)
			for _, s := range ss.Spans().All() {
				s.SetName(canary + s.Name())
				s.Attributes().PutStr("http.route", canary)
			}
		}
	}
	newSpan(service(td, "frontend", func(m pcommon.Map) { m.PutStr(canary, canary) }), strange, "5000000000000001", "", canary,
		ptrace.SpanKindServer, 20*time.Minute, time.Second).Status().SetCode(ptrace.StatusCodeError)
	return td
}

// strange is the id of a trace of another tenant alone.
const strange = "abcdefabcdefabcdefabcdefabcdefab"
