package jaeger

import (
	"encoding/base64"
	"math"
	"strconv"
	"strings"
)

// tag is a key and value of Jaeger's JSON.
type tag struct {
	Key   string `json:"key"`
	Type  string `json:"type"`
	Value any    `json:"value"`
}

func textTag(key, value string) tag { return tag{Key: key, Type: "string", Value: value} }

// maxSafeInteger is the largest integer that JavaScript's numbers hold; Jaeger writes those beyond as strings.
const maxSafeInteger = 1<<53 - 1

// attributeTag makes a tag of an attribute as Jaeger's translation of OTLP does: arrays and key-value lists are their JSON
// text. What JSON has no number for (NaN, infinities) is its text.
func attributeTag(key, text string, k kind) tag {
	switch k.letter {
	case kindBool:
		return tag{key, "bool", text == "true"}
	case kindInt:
		n, err := strconv.ParseInt(text, 10, 64)
		switch {
		case err != nil:
		case n > maxSafeInteger || n < -maxSafeInteger:
			return tag{key, "int64", text}
		default:
			return tag{key, "int64", n}
		}
	case kindDouble:
		f, err := strconv.ParseFloat(text, 64)
		switch {
		case err != nil:
		case math.IsNaN(f) || math.IsInf(f, 0):
			return tag{key, "float64", text}
		default:
			return tag{key, "float64", f}
		}
	case kindBytes:
		if _, err := base64.StdEncoding.DecodeString(text); err == nil {
			return tag{key, "binary", text}
		}
	}
	return textTag(key, text)
}

func (a *attributes) tags(out []tag) []tag {
	a.each(func(key, text string, k kind) { out = append(out, attributeTag(key, text, k)) })
	return out
}

// The tags that stand for fields of OTLP, in Jaeger's words.
const (
	tagScopeName     = "otel.scope.name"
	tagScopeVersion  = "otel.scope.version"
	tagLibraryName   = "otel.library.name" // what older Jaegers called the scope
	tagLibraryVer    = "otel.library.version"
	tagSpanKind      = "span.kind"
	tagStatusCode    = "otel.status_code"
	tagStatusMessage = "otel.status_description"
	tagError         = "error"
	tagTraceState    = "w3c.tracestate"
	tagEvent         = "event"
	tagTenant        = "tenant_id" // ours: of processes, where a caller reads several tenants
	attrRefType      = "opentracing.ref_type"
	attrServiceName  = "service.name"
)

// kinds of spans that have a tag; the others have none.
var taggedKinds = map[string]string{"Client": "client", "Server": "server", "Producer": "producer", "Consumer": "consumer", "Internal": "internal"}

// tags are the span's, in the order of Jaeger's translation.
func (r *record) tags() []tag {
	out := make([]tag, 0, len(r.attrs.keys)+6)
	if r.scope.name != "" {
		out = append(out, textTag(tagScopeName, r.scope.name))
	}
	if r.scope.version != "" {
		out = append(out, textTag(tagScopeVersion, r.scope.version))
	}
	out = r.attrs.tags(out)
	if k := taggedKinds[r.kind]; k != "" {
		out = append(out, textTag(tagSpanKind, k))
	}
	if r.status == "Ok" || r.status == "Error" {
		out = append(out, textTag(tagStatusCode, strings.ToUpper(r.status)))
	}
	if r.status == "Error" {
		out = append(out, tag{tagError, "bool", true})
	}
	if r.message != "" {
		out = append(out, textTag(tagStatusMessage, r.message))
	}
	if r.state != "" {
		out = append(out, textTag(tagTraceState, r.state))
	}
	return out
}

// tags are the process's: the resource without its service, and the tenant if the caller reads several.
func (r *resource) tags(several bool) []tag {
	out := make([]tag, 0, len(r.attrs.keys)+1)
	r.attrs.each(func(key, text string, k kind) {
		if key != attrServiceName {
			out = append(out, attributeTag(key, text, k))
		}
	})
	if several {
		out = append(out, textTag(tagTenant, r.tenant))
	}
	return out
}

// reference is one span's relation to another.
type reference struct {
	Type    string `json:"refType"`
	TraceID string `json:"traceID"`
	SpanID  string `json:"spanID"`
}

const (
	childOf     = "CHILD_OF"
	followsFrom = "FOLLOWS_FROM"
)

// references are the parent, first, and the links. A link to the parent is not repeated but decides the parent's type.
func (r *record) references() []reference {
	out := make([]reference, 0, len(r.linkTraceIDs)+1)
	trace := shortTraceID(r.traceID)
	if r.parentID != "" {
		out = append(out, reference{childOf, trace, r.parentID})
	}
	for i, id := range r.linkTraceIDs {
		ref := reference{followsFrom, shortTraceID(id), r.linkSpanIDs[i]}
		attrs := r.link(i)
		if t, ok := attrs.get(attrRefType); ok && t == "child_of" {
			ref.Type = childOf
		}
		if r.parentID != "" && ref.TraceID == trace && ref.SpanID == r.parentID {
			out[0].Type = ref.Type
			continue
		}
		out = append(out, ref)
	}
	return out
}

// shortTraceID is a trace id as Jaeger writes it: 16 digits if the upper half is zero.
func shortTraceID(id string) string {
	if len(id) == 32 && id[:16] == "0000000000000000" {
		return id[16:]
	}
	return id
}

// log is an event of a span.
type log struct {
	Timestamp uint64 `json:"timestamp"` // microseconds
	Fields    []tag  `json:"fields"`
}

func (r *record) logs() []log {
	out := make([]log, len(r.eventTimes))
	for i, at := range r.eventTimes {
		attrs := r.event(i)
		fields := make([]tag, 0, len(attrs.keys)+1)
		if _, named := attrs.get(tagEvent); r.eventNames[i] != "" && !named {
			fields = append(fields, textTag(tagEvent, r.eventNames[i]))
		}
		out[i] = log{Timestamp: at / 1000, Fields: attrs.tags(fields)}
	}
	return out
}

// warnings tell what is missing of the span, nil if nothing is.
func (r *record) warnings() (out []string) {
	for _, d := range []struct {
		n    uint32
		what string
	}{{r.droppedAttrs, "attributes"}, {r.droppedEvents, "events"}, {r.droppedLinks, "links"}} {
		if d.n > 0 {
			out = append(out, "the sender dropped "+strconv.FormatUint(uint64(d.n), 10)+" "+d.what+" of this span")
		}
	}
	if r.end < r.start {
		out = append(out, "the span ends before it starts: its duration is shown as 0")
	}
	return out
}
