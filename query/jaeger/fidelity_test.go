package jaeger

import (
	"encoding/json"
	"fmt"
	"maps"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"go.opentelemetry.io/collector/pdata/pcommon"
	"go.opentelemetry.io/collector/pdata/ptrace"
)

// TestVersion3GivesBackWhatWasSent sends spans of every shape over OTLP, reads them by version 3 with pdata's own reader, and
// compares everything: resources, scopes, kinds of values, times, events, links, counts of what was dropped. The stamp's
// tenant.id is all that is added.
func TestVersion3GivesBackWhatWasSent(t *testing.T) {
	s := newStore(t)
	srv := s.serve("a")
	spans := 0
	for seed := range uint64(25) {
		g := sender{rand.New(rand.NewPCG(seed, 9))}
		id := fmt.Sprintf("%032x", 0xabc00+seed)
		td := g.traces(id)
		s.send("a", td)
		a := get(t, srv, "/jaeger/api/v3/traces/"+id)
		if a.status != 200 {
			t.Fatalf("trace %s: %d %s", id, a.status, a.body)
		}
		var doc struct {
			Result json.RawMessage `json:"result"`
		}
		if err := json.Unmarshal([]byte(a.body), &doc); err != nil {
			t.Fatal(err)
		}
		back, err := (&ptrace.JSONUnmarshaler{}).UnmarshalTraces(doc.Result)
		if err != nil {
			t.Fatalf("trace %s: %v\n%s", id, err, doc.Result)
		}
		for _, rs := range td.ResourceSpans().All() {
			rs.Resource().Attributes().PutStr("tenant.id", "a")
		}
		got, want := canonical(t, back), canonical(t, td)
		if !slices.Equal(slices.Sorted(maps.Keys(got)), slices.Sorted(maps.Keys(want))) {
			t.Fatalf("trace %s: spans %v, want %v", id, slices.Sorted(maps.Keys(got)), slices.Sorted(maps.Keys(want)))
		}
		for span, w := range want {
			if got[span] != w {
				t.Errorf("trace %s:\n got %s\nwant %s", id, got[span], w)
			}
		}
		spans += len(want)

		// Version 2 shows the same spans and is JSON.
		var v2 struct {
			Data []struct {
				Spans []struct {
					SpanID string
					Tags   []tag
				}
			}
		}
		a = get(t, srv, "/jaeger/api/traces/"+id)
		if err := json.Unmarshal([]byte(a.body), &v2); err != nil || len(v2.Data) != 1 || len(v2.Data[0].Spans) != len(want) {
			t.Errorf("trace %s by version 2: %d %v %.500s", id, a.status, err, a.body)
		}
	}
	if spans < 150 {
		t.Errorf("only %d spans were compared", spans)
	}
}

// canonical writes each span with its resource and scope so that equal text means equal telemetry.
func canonical(t *testing.T, td ptrace.Traces) map[string]string {
	t.Helper()
	out := map[string]string{}
	for _, rs := range td.ResourceSpans().All() {
		for _, ss := range rs.ScopeSpans().All() {
			for _, sp := range ss.Spans().All() {
				one := ptrace.NewTraces()
				r := one.ResourceSpans().AppendEmpty()
				rs.Resource().CopyTo(r.Resource())
				r.SetSchemaUrl(rs.SchemaUrl())
				sorted(r.Resource().Attributes())
				c := r.ScopeSpans().AppendEmpty()
				ss.Scope().CopyTo(c.Scope())
				c.SetSchemaUrl(ss.SchemaUrl())
				sorted(c.Scope().Attributes())
				p := c.Spans().AppendEmpty()
				sp.CopyTo(p)
				sorted(p.Attributes())
				for _, e := range p.Events().All() {
					sorted(e.Attributes())
				}
				for _, l := range p.Links().All() {
					sorted(l.Attributes())
				}
				b, err := (&ptrace.JSONMarshaler{}).MarshalTraces(one)
				if err != nil {
					t.Fatal(err)
				}
				out[sp.SpanID().String()] = string(b)
			}
		}
	}
	return out
}

// sorted puts the members of m, and of maps in it, in the order of their keys, which has no meaning.
func sorted(m pcommon.Map) {
	old := pcommon.NewMap()
	m.MoveTo(old)
	keys := map[string]pcommon.Value{}
	for k, v := range old.All() {
		keys[k] = v
	}
	for _, k := range slices.Sorted(maps.Keys(keys)) {
		v := m.PutEmpty(k)
		keys[k].CopyTo(v)
		sortedValue(v)
	}
}

func sortedValue(v pcommon.Value) {
	switch v.Type() {
	case pcommon.ValueTypeMap:
		sorted(v.Map())
	case pcommon.ValueTypeSlice:
		for _, e := range v.Slice().All() {
			sortedValue(e)
		}
	}
}

// sender makes random telemetry.
type sender struct{ *rand.Rand }

func (g sender) text() string {
	return []string{"", "plain", "quo\"te\\", "line\nbreak\ttab", "nul\x00", "日本語 💩", "</script>&<>", "\u2028", strings.Repeat("long ", 200)}[g.IntN(9)]
}

func (g sender) attrs(m pcommon.Map) {
	for i := range g.IntN(7) {
		g.value(m.PutEmpty(fmt.Sprintf("k%d %s", i, g.text())), 3)
	}
}

func (g sender) value(v pcommon.Value, depth int) {
	switch k := g.IntN(8); {
	case k == 0:
		v.SetStr(g.text())
	case k == 1:
		v.SetBool(g.IntN(2) == 0)
	case k == 2:
		v.SetInt([]int64{0, 1, -5, math.MaxInt64, math.MinInt64, 1 << 53}[g.IntN(6)])
	case k == 3:
		v.SetDouble([]float64{0, 1, -2.5, 1e300, math.NaN(), math.Inf(1), math.Inf(-1), 0.1, 1 << 60}[g.IntN(9)])
	case k == 4:
		v.SetEmptyBytes().FromRaw([]byte(g.text()))
	case k == 5: // empty
	case k == 6 && depth > 0:
		s := v.SetEmptySlice()
		for range g.IntN(4) {
			g.value(s.AppendEmpty(), depth-1)
		}
	case depth > 0:
		m := v.SetEmptyMap()
		for i := range g.IntN(4) {
			g.value(m.PutEmpty(fmt.Sprintf("%d%s", i, g.text())), depth-1)
		}
	}
}

func (g sender) time() pcommon.Timestamp {
	switch g.IntN(12) {
	case 0:
		return pcommon.Timestamp(math.MaxUint64 - uint64(g.IntN(1000)))
	case 1:
		return 0
	}
	return stamp(hourStart.Add(time.Duration(g.Int64N(int64(time.Hour)))))
}

func (g sender) traces(id string) ptrace.Traces {
	td := ptrace.NewTraces()
	n := 0
	for range 1 + g.IntN(3) {
		rs := td.ResourceSpans().AppendEmpty()
		if g.IntN(3) == 0 {
			refs, err := (&ptrace.JSONUnmarshaler{}).UnmarshalTraces([]byte(
				`{"resourceSpans":[{"resource":{"entityRefs":[{"type":"service","idKeys":["service.name"],"descriptionKeys":["k"]},{"schemaUrl":"s","type":"host"}]}}]}`))
			if err != nil {
				panic(err)
			}
			refs.ResourceSpans().At(0).Resource().CopyTo(rs.Resource())
		}
		g.attrs(rs.Resource().Attributes())
		if g.IntN(4) > 0 {
			rs.Resource().Attributes().PutStr("service.name", g.text())
		}
		rs.Resource().SetDroppedAttributesCount(g.Uint32N(3))
		rs.SetSchemaUrl(g.text())
		for range 1 + g.IntN(2) {
			ss := rs.ScopeSpans().AppendEmpty()
			ss.Scope().SetName(g.text())
			ss.Scope().SetVersion(g.text())
			g.attrs(ss.Scope().Attributes())
			ss.Scope().SetDroppedAttributesCount(g.Uint32N(3))
			ss.SetSchemaUrl(g.text())
			for range 1 + g.IntN(4) {
				n++
				g.span(ss.Spans().AppendEmpty(), id, n)
			}
		}
	}
	return td
}

func (g sender) span(s ptrace.Span, id string, n int) {
	s.SetTraceID(mustTrace(id))
	s.SetSpanID(mustSpan(fmt.Sprintf("%016x", n)))
	if g.IntN(3) > 0 {
		s.SetParentSpanID(mustSpan(fmt.Sprintf("%016x", 1+g.IntN(9))))
	}
	s.TraceState().FromRaw([]string{"", "a=b,c=d"}[g.IntN(2)])
	s.SetFlags(g.Uint32N(1024))
	s.SetName("name " + g.text())
	s.SetKind(ptrace.SpanKind(g.IntN(8)))
	s.SetStartTimestamp(g.time())
	s.SetEndTimestamp(g.time())
	g.attrs(s.Attributes())
	s.SetDroppedAttributesCount(g.Uint32N(3))
	s.SetDroppedEventsCount(g.Uint32N(3))
	s.SetDroppedLinksCount(g.Uint32N(3))
	s.Status().SetCode(ptrace.StatusCode(g.IntN(5)))
	s.Status().SetMessage(g.text())
	for range g.IntN(3) {
		e := s.Events().AppendEmpty()
		e.SetName(g.text())
		e.SetTimestamp(g.time())
		g.attrs(e.Attributes())
		e.SetDroppedAttributesCount(g.Uint32N(3))
	}
	for range g.IntN(3) {
		l := s.Links().AppendEmpty()
		l.SetTraceID(mustTrace(strings.Repeat("9", 32)))
		l.SetSpanID(mustSpan(fmt.Sprintf("%016x", 1+g.IntN(9))))
		l.TraceState().FromRaw([]string{"", "x=y"}[g.IntN(2)])
		g.attrs(l.Attributes())
		l.SetDroppedAttributesCount(g.Uint32N(3))
		l.SetFlags(g.Uint32N(1024))
	}
}
