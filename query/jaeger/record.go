package jaeger

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/headgate-io/headgate/query"
)

// record is one span as it is stored.
type record struct {
	traceID, spanID, parentID, state string // ids in lower-case hex
	name, kind, status, message      string // kind and status as stored: a name such as Server, or a number
	start, end, duration             uint64 // nanoseconds
	flags                            uint32

	attrs                                     attributes
	droppedAttrs, droppedEvents, droppedLinks uint32
	eventTimes                                []uint64
	eventNames                                []string
	eventKeys, eventValues                    [][]string
	eventKinds                                []string
	eventDropped                              []uint32
	linkTraceIDs, linkSpanIDs, linkStates     []string
	linkKeys, linkValues                      [][]string
	linkKinds                                 []string
	linkDropped, linkFlags                    []uint32

	resource *resource
	scope    *scope
}

// resource is what sent spans. Records of one trace with equal resources share one.
type resource struct {
	tenant, service, schemaURL, entityRefs string
	attrs                                  attributes
	dropped                                uint32
}

// scope is an instrumentation scope, shared like a resource.
type scope struct {
	name, version, schemaURL string
	attrs                    attributes
	dropped                  uint32
}

func (r *record) event(i int) attributes {
	return attributes{keys: r.eventKeys[i], values: r.eventValues[i], kinds: r.eventKinds[i]}
}

func (r *record) link(i int) attributes {
	return attributes{keys: r.linkKeys[i], values: r.linkValues[i], kinds: r.linkKinds[i]}
}

// field is a column of the result and where its value goes.
type field[T any] struct {
	column string
	into   func(*T) any
}

// The columns of a result of records, in order.
var (
	recordFields = []field[record]{
		{"trace_id", func(r *record) any { return &r.traceID }},
		{"span_id", func(r *record) any { return &r.spanID }},
		{"parent_span_id", func(r *record) any { return &r.parentID }},
		{"trace_state", func(r *record) any { return &r.state }},
		{"name", func(r *record) any { return &r.name }},
		{"kind_name", func(r *record) any { return &r.kind }},
		{"status_name", func(r *record) any { return &r.status }},
		{"status_message", func(r *record) any { return &r.message }},
		{"start_nanos", func(r *record) any { return &r.start }},
		{"end_nanos", func(r *record) any { return &r.end }},
		{"duration", func(r *record) any { return &r.duration }},
		{"flags", func(r *record) any { return &r.flags }},
		{"attribute_keys", func(r *record) any { return &r.attrs.keys }},
		{"attribute_values", func(r *record) any { return &r.attrs.values }},
		{"attribute_kinds", func(r *record) any { return &r.attrs.kinds }},
		{"dropped_attributes", func(r *record) any { return &r.droppedAttrs }},
		{"dropped_events", func(r *record) any { return &r.droppedEvents }},
		{"dropped_links", func(r *record) any { return &r.droppedLinks }},
		{"event_times", func(r *record) any { return &r.eventTimes }},
		{"event_names", func(r *record) any { return &r.eventNames }},
		{"event_keys", func(r *record) any { return &r.eventKeys }},
		{"event_values", func(r *record) any { return &r.eventValues }},
		{"event_kinds", func(r *record) any { return &r.eventKinds }},
		{"event_dropped", func(r *record) any { return &r.eventDropped }},
		{"link_trace_ids", func(r *record) any { return &r.linkTraceIDs }},
		{"link_span_ids", func(r *record) any { return &r.linkSpanIDs }},
		{"link_states", func(r *record) any { return &r.linkStates }},
		{"link_keys", func(r *record) any { return &r.linkKeys }},
		{"link_values", func(r *record) any { return &r.linkValues }},
		{"link_kinds", func(r *record) any { return &r.linkKinds }},
		{"link_dropped", func(r *record) any { return &r.linkDropped }},
		{"link_flags", func(r *record) any { return &r.linkFlags }},
	}
	resourceFields = []field[resource]{
		{"tenant", func(r *resource) any { return &r.tenant }},
		{"service", func(r *resource) any { return &r.service }},
		{"resource_schema_url", func(r *resource) any { return &r.schemaURL }},
		{"resource_keys", func(r *resource) any { return &r.attrs.keys }},
		{"resource_values", func(r *resource) any { return &r.attrs.values }},
		{"resource_kinds", func(r *resource) any { return &r.attrs.kinds }},
		{"resource_dropped", func(r *resource) any { return &r.dropped }},
		{"resource_entity_refs", func(r *resource) any { return &r.entityRefs }},
	}
	scopeFields = []field[scope]{
		{"scope_name", func(s *scope) any { return &s.name }},
		{"scope_version", func(s *scope) any { return &s.version }},
		{"scope_schema_url", func(s *scope) any { return &s.schemaURL }},
		{"scope_keys", func(s *scope) any { return &s.attrs.keys }},
		{"scope_values", func(s *scope) any { return &s.attrs.values }},
		{"scope_kinds", func(s *scope) any { return &s.attrs.kinds }},
		{"scope_dropped", func(s *scope) any { return &s.dropped }},
	}
)

// recordColumns are the names of the columns of a result of records.
func recordColumns() []string {
	var out []string
	for _, f := range recordFields {
		out = append(out, f.column)
	}
	for _, f := range resourceFields {
		out = append(out, f.column)
	}
	for _, f := range scopeFields {
		out = append(out, f.column)
	}
	return out
}

// records reads a result of records. Not for concurrent use.
type records struct {
	res       *query.Result
	trace     string // whose resources and scopes are kept
	resources map[string]*resource
	scopes    map[string]*scope
}

// next returns the next span, or io.EOF after the last. Errors are the reader's, or of a row that is none.
func (r *records) next() (*record, error) {
	values, err := r.res.Next()
	if err != nil {
		return nil, err
	}
	if want := len(recordFields) + len(resourceFields) + len(scopeFields); len(values) != want {
		return nil, fmt.Errorf("span of %d columns, want %d", len(values), want)
	}
	rec := &record{}
	own, rest := values[:len(recordFields)], values[len(recordFields):]
	if err := fill(rec, recordFields, own); err != nil {
		return nil, err
	}
	if rec.traceID != r.trace || r.resources == nil {
		r.trace, r.resources, r.scopes = rec.traceID, map[string]*resource{}, map[string]*scope{}
	}
	if rec.resource, err = shared(r.resources, resourceFields, rest[:len(resourceFields)]); err != nil {
		return nil, err
	}
	if rec.scope, err = shared(r.scopes, scopeFields, rest[len(resourceFields):]); err != nil {
		return nil, err
	}
	return rec, rec.check()
}

// check holds that the lists of events and of links are as long as each other, as the table's are.
func (r *record) check() error {
	e, l := len(r.eventTimes), len(r.linkTraceIDs)
	if len(r.eventNames) != e || len(r.eventKeys) != e || len(r.eventValues) != e || len(r.eventKinds) != e || len(r.eventDropped) != e ||
		len(r.linkSpanIDs) != l || len(r.linkStates) != l || len(r.linkKeys) != l || len(r.linkValues) != l || len(r.linkKinds) != l ||
		len(r.linkDropped) != l || len(r.linkFlags) != l {
		return errors.New("span with events or links of different lengths")
	}
	return nil
}

// shared returns the value of known that was made of the same columns, or makes it.
func shared[T any](known map[string]*T, fields []field[T], values [][]byte) (*T, error) {
	key := string(bytes.Join(values, []byte{0})) // JSON has no NUL byte
	if v, ok := known[key]; ok {
		return v, nil
	}
	v := new(T)
	if err := fill(v, fields, values); err != nil {
		return nil, err
	}
	known[key] = v
	return v, nil
}

func fill[T any](v *T, fields []field[T], values [][]byte) error {
	for i, f := range fields {
		into := f.into(v)
		if s, ok := into.(*string); ok && plainString(values[i]) {
			*s = string(values[i][1 : len(values[i])-1])
			continue
		}
		if len(values[i]) == 2 && values[i][0] == '[' {
			continue // an empty list
		}
		if err := json.Unmarshal(values[i], into); err != nil {
			return fmt.Errorf("column %s: %w", f.column, err)
		}
	}
	return nil
}

// plainString reports whether b is a JSON string without escapes, whose text is what stands between the quotes.
func plainString(b []byte) bool {
	return len(b) >= 2 && b[0] == '"' && bytes.IndexByte(b, '\\') < 0
}
