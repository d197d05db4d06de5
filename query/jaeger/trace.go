package jaeger

import (
	"bufio"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"strconv"

	"github.com/headgate-io/headgate/query"
)

// span is a span in Jaeger's JSON.
type span struct {
	TraceID    string      `json:"traceID"`
	SpanID     string      `json:"spanID"`
	Flags      uint32      `json:"flags,omitempty"` // 1 is sampled
	Operation  string      `json:"operationName"`
	References []reference `json:"references"`
	StartTime  uint64      `json:"startTime"` // microseconds
	Duration   uint64      `json:"duration"`  // microseconds
	Tags       []tag       `json:"tags"`
	Logs       []log       `json:"logs"`
	ProcessID  string      `json:"processID"`
	Warnings   []string    `json:"warnings"`
}

type process struct {
	Service string `json:"serviceName"`
	Tags    []tag  `json:"tags"`
}

func (r *record) span(processID string) span {
	return span{
		TraceID: shortTraceID(r.traceID), SpanID: r.spanID, Flags: r.flags & 1, Operation: r.name, References: r.references(),
		StartTime: r.start / 1000, Duration: r.duration / 1000, Tags: r.tags(), Logs: r.logs(), ProcessID: processID, Warnings: r.warnings(),
	}
}

// traceWriter writes traces as Jaeger's JSON, span by span. Errors stick to its buffer.
type traceWriter struct {
	w         *bufio.Writer
	several   bool                 // tenants: processes say whose they are
	trace     string               // that is open
	seen      map[string]bool      // traces written
	spans     int                  // of the open trace
	processes map[*resource]string // of the open trace
	order     []*resource
}

// add writes one more span; the spans of a trace come one after another.
func (t *traceWriter) add(r *record) error {
	if r.traceID != t.trace {
		t.close(nil)
		t.open(r.traceID)
	}
	id, ok := t.processes[r.resource]
	if !ok {
		id = "p" + strconv.Itoa(len(t.order)+1)
		t.processes[r.resource] = id
		t.order = append(t.order, r.resource)
	}
	if t.spans++; t.spans > 1 {
		_ = t.w.WriteByte(',')
	}
	return t.json(r.span(id))
}

func (t *traceWriter) open(id string) {
	if len(t.seen) > 0 {
		_ = t.w.WriteByte(',')
	}
	t.trace, t.spans, t.processes, t.order = id, 0, map[*resource]string{}, nil
	t.seen[id] = true
	_, _ = t.w.WriteString(`{"traceID":"` + shortTraceID(id) + `","spans":[`)
}

// close ends the open trace, if there is one.
func (t *traceWriter) close(warnings []string) {
	if t.trace == "" {
		return
	}
	_, _ = t.w.WriteString(`],"processes":{`)
	for i, r := range t.order {
		if i > 0 {
			_ = t.w.WriteByte(',')
		}
		_, _ = t.w.WriteString(`"` + t.processes[r] + `":`)
		_ = t.json(process{Service: serviceName(r.service), Tags: r.tags(t.several)})
	}
	_, _ = t.w.WriteString(`},"warnings":`)
	_ = t.json(warnings)
	_ = t.w.WriteByte('}')
	t.trace = ""
}

// json writes v without the line's end of an encoder.
func (t *traceWriter) json(v any) error {
	b, err := encode(v)
	if err != nil {
		return err
	}
	_, err = t.w.Write(b)
	return err
}

// structuredError is an error in Jaeger's envelope.
type structuredError struct {
	Code    int    `json:"code,omitempty"`
	Msg     string `json:"msg"`
	TraceID string `json:"traceID,omitempty"`
}

// envelope is what everything of the API of version 2 comes in.
type envelope struct {
	Data   any               `json:"data"`
	Total  int               `json:"total"`
	Limit  int               `json:"limit"`
	Offset int               `json:"offset"`
	Errors []structuredError `json:"errors"`
}

// writeTraces streams the traces of recs; of those of asked that are not there it says so at the end, if asked is not nil.
// The returned error, if any, comes before the first byte: errNotFound if there is no span and mustFind.
func writeTraces(w http.ResponseWriter, recs *records, asked []string, several, mustFind bool) error {
	rec, err := recs.next()
	switch {
	case errors.Is(err, io.EOF):
		if mustFind {
			return errNotFound
		}
	case err != nil:
		return err
	}
	begin(w, recs)
	buf := bufio.NewWriterSize(w, bufferBytes)
	t := &traceWriter{w: buf, several: several, seen: map[string]bool{}}
	_, _ = buf.WriteString(`{"data":[`)
	for ; err == nil; rec, err = recs.next() {
		if t.add(rec) != nil {
			return nil // the client is gone
		}
	}
	if !errors.Is(err, io.EOF) {
		panic(http.ErrAbortHandler) // a reader would take what came so far for the whole
	}
	var errs []structuredError
	var warnings []string
	if recs.res.Truncated() {
		warnings = []string{cutWarning(recs.res.Count())}
		errs = append(errs, structuredError{Msg: warnings[0]})
	}
	w.Header().Set(query.TruncatedTrailer, strconv.FormatBool(recs.res.Truncated()))
	t.close(warnings)
	if !recs.res.Truncated() { // else those that are not seen may be there
		errs = append(errs, missing(asked, t.seen)...)
	}
	_, _ = buf.WriteString(`],"total":0,"limit":0,"offset":0,"errors":`)
	_ = t.json(errs)
	_, _ = buf.WriteString("}\n")
	_ = buf.Flush() // a client that is gone hears nothing more
	return nil
}

// missing says which of asked were not seen.
func missing(asked []string, seen map[string]bool) (out []structuredError) {
	for _, id := range asked {
		if !seen[id] {
			out = append(out, structuredError{Msg: errNotFound.Detail, TraceID: shortTraceID(id)})
		}
	}
	return out
}

func cutWarning(spans int) string {
	return "only the first " + strconv.Itoa(spans) + " spans are shown: ask for fewer traces, or for one by its id with start and end"
}

// encode is v as JSON, without escapes for HTML.
func encode(v any) ([]byte, error) {
	var b jsonBuffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		return nil, err
	}
	return b[:len(b)-1], nil
}

type jsonBuffer []byte

func (b *jsonBuffer) Write(p []byte) (int, error) {
	*b = append(*b, p...)
	return len(p), nil
}
