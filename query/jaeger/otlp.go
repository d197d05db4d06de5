package jaeger

import (
	"bufio"
	"encoding/hex"
	"errors"
	"io"
	"net/http"
	"strconv"

	"go.opentelemetry.io/collector/pdata/pcommon"
	"go.opentelemetry.io/collector/pdata/ptrace"

	"github.com/headgate-io/headgate/query"
)

// chunkSpans is how many spans of version 3 are made into one piece of JSON.
const chunkSpans = 500

// The members around the resource spans of an OTLP document, as pdata writes them.
const (
	otlpHead = `{"resourceSpans":[`
	otlpTail = `]}`
)

// chunk collects spans as one OTLP document. Spans of one resource and scope stand below it together.
type chunk struct {
	traces    ptrace.Traces
	resources map[*resource]ptrace.ScopeSpansSlice
	scopes    map[origin]ptrace.SpanSlice
	count     int
}

type origin struct {
	resource *resource
	scope    *scope
}

func newChunk() *chunk {
	return &chunk{traces: ptrace.NewTraces(), resources: map[*resource]ptrace.ScopeSpansSlice{}, scopes: map[origin]ptrace.SpanSlice{}}
}

func (c *chunk) add(r *record) {
	from := origin{r.resource, r.scope}
	spans, ok := c.scopes[from]
	if !ok {
		below, ok := c.resources[r.resource]
		if !ok {
			rs := c.traces.ResourceSpans().AppendEmpty()
			r.resource.copyTo(rs)
			below = rs.ScopeSpans()
			c.resources[r.resource] = below
		}
		ss := below.AppendEmpty()
		r.scope.copyTo(ss)
		spans = ss.Spans()
		c.scopes[from] = spans
	}
	r.copyTo(spans.AppendEmpty())
	c.count++
}

func (r *resource) copyTo(rs ptrace.ResourceSpans) {
	if r.entityRefs != "" {
		// pdata has entity references in a module of their own; its JSON reads them as they are stored.
		doc := `{"resourceSpans":[{"resource":{"entityRefs":` + r.entityRefs + `}}]}`
		if td, err := (&ptrace.JSONUnmarshaler{}).UnmarshalTraces([]byte(doc)); err == nil && td.ResourceSpans().Len() == 1 {
			td.ResourceSpans().At(0).Resource().CopyTo(rs.Resource())
		}
	}
	rs.SetSchemaUrl(r.schemaURL)
	r.attrs.copyTo(rs.Resource().Attributes())
	rs.Resource().SetDroppedAttributesCount(r.dropped)
}

func (s *scope) copyTo(ss ptrace.ScopeSpans) {
	ss.SetSchemaUrl(s.schemaURL)
	ss.Scope().SetName(s.name)
	ss.Scope().SetVersion(s.version)
	s.attrs.copyTo(ss.Scope().Attributes())
	ss.Scope().SetDroppedAttributesCount(s.dropped)
}

func (r *record) copyTo(s ptrace.Span) {
	s.SetTraceID(traceID(r.traceID))
	s.SetSpanID(spanID(r.spanID))
	s.SetParentSpanID(spanID(r.parentID))
	s.TraceState().FromRaw(r.state)
	s.SetFlags(r.flags)
	s.SetName(r.name)
	s.SetKind(ptrace.SpanKind(enum(r.kind, "Unspecified", "Internal", "Server", "Client", "Producer", "Consumer")))
	s.SetStartTimestamp(pcommon.Timestamp(r.start))
	s.SetEndTimestamp(pcommon.Timestamp(r.end))
	r.attrs.copyTo(s.Attributes())
	s.SetDroppedAttributesCount(r.droppedAttrs)
	for i, at := range r.eventTimes {
		e := s.Events().AppendEmpty()
		e.SetTimestamp(pcommon.Timestamp(at))
		e.SetName(r.eventNames[i])
		attrs := r.event(i)
		attrs.copyTo(e.Attributes())
		e.SetDroppedAttributesCount(r.eventDropped[i])
	}
	s.SetDroppedEventsCount(r.droppedEvents)
	for i, id := range r.linkTraceIDs {
		l := s.Links().AppendEmpty()
		l.SetTraceID(traceID(id))
		l.SetSpanID(spanID(r.linkSpanIDs[i]))
		l.TraceState().FromRaw(r.linkStates[i])
		attrs := r.link(i)
		attrs.copyTo(l.Attributes())
		l.SetDroppedAttributesCount(r.linkDropped[i])
		l.SetFlags(r.linkFlags[i])
	}
	s.SetDroppedLinksCount(r.droppedLinks)
	s.Status().SetCode(ptrace.StatusCode(enum(r.status, "Unset", "Ok", "Error")))
	s.Status().SetMessage(r.message)
}

// enum is the number of a stored name, or the number itself where that is stored.
func enum(stored string, names ...string) int32 {
	for i, n := range names {
		if n == stored {
			return int32(i)
		}
	}
	n, _ := strconv.ParseInt(stored, 10, 32) // 0 for a text that no row has
	return int32(n)
}

func traceID(s string) (id pcommon.TraceID) {
	if len(s) == 2*len(id) {
		_, _ = hex.Decode(id[:], []byte(s))
	}
	return id
}

func spanID(s string) (id pcommon.SpanID) {
	if len(s) == 2*len(id) {
		_, _ = hex.Decode(id[:], []byte(s))
	}
	return id
}

// writeOTLP streams the spans of recs as {"result":{"resourceSpans":[…]}}, with resources and scopes repeated where they
// begin anew. The returned error, if any, comes before the first byte: errNoTraces if there is no span.
func writeOTLP(w http.ResponseWriter, recs *records) error {
	rec, err := recs.next()
	if errors.Is(err, io.EOF) {
		return errNoTraces
	}
	if err != nil {
		return err
	}
	begin(w, recs)
	buf := bufio.NewWriterSize(w, bufferBytes)
	_, _ = buf.WriteString(`{"result":` + otlpHead)
	first := true
	flush := func(c *chunk) {
		b, err := (&ptrace.JSONMarshaler{}).MarshalTraces(c.traces)
		if err != nil || len(b) < len(otlpHead)+len(otlpTail) || string(b[:len(otlpHead)]) != otlpHead {
			panic(http.ErrAbortHandler)
		}
		if !first {
			_ = buf.WriteByte(',')
		}
		first = false
		_, _ = buf.Write(b[len(otlpHead) : len(b)-len(otlpTail)])
	}
	c := newChunk()
	for ; err == nil; rec, err = recs.next() {
		if c.count == chunkSpans {
			flush(c)
			c = newChunk()
		}
		c.add(rec)
	}
	if !errors.Is(err, io.EOF) {
		panic(http.ErrAbortHandler) // a reader would take what came so far for the whole
	}
	flush(c)
	w.Header().Set(query.TruncatedTrailer, strconv.FormatBool(recs.res.Truncated()))
	_, _ = buf.WriteString("]}}\n")
	_ = buf.Flush() // a client that is gone hears nothing more
	return nil
}
