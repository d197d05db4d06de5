package ingest

import (
	"bytes"

	"google.golang.org/protobuf/encoding/protowire"

	"github.com/headgate-io/headgate/ingest/otlp"
)

// A body of another signal is, as OTLP has it, a request of unknown fields: a success without effect, or records without
// content. Nobody means that, so the answer says what the body looks like. What is accepted stays accepted.

// misdirected is the warning for a body of another signal, "" for none.
func misdirected(looksLike string) string {
	if looksLike == "" {
		return ""
	}
	return "the body looks like OTLP " + looksLike + ", which this path or service does not take: send it to that of " + looksLike
}

// jsonNames are the members that hold the records of each signal.
var jsonNames = []struct {
	name   string
	signal otlp.Signal
}{
	{`"resourceLogs"`, otlp.Logs}, {`"resource_logs"`, otlp.Logs}, {`"resourceSpans"`, otlp.Traces}, {`"resource_spans"`, otlp.Traces},
	{`"resourceMetrics"`, otlp.Metrics}, {`"resource_metrics"`, otlp.Metrics},
	{`"resourceProfiles"`, otlp.Profiles}, {`"resource_profiles"`, otlp.Profiles},
}

// jsonHead is how much of a text tells what it looks like.
const jsonHead = 1 << 10

// jsonLooksLike names the signal of a JSON body in which nothing of sig was found, "" if it does not show in its beginning.
func jsonLooksLike(sig otlp.Signal, text []byte) string {
	head := text[:min(len(text), jsonHead)]
	for _, other := range jsonNames {
		if other.signal != sig && bytes.Contains(head, []byte(other.name)) {
			return other.signal.String()
		}
	}
	return ""
}

// protobufLooksLike names the signal of a protobuf body whose first record is none of sig, "" if it may be of sig. Field 1
// is a number of 64 bits in a log record, an id of 16 bytes in a span, a name in a metric; each sender writes it.
func protobufLooksLike(sig otlp.Signal, body []byte) string {
	record := body
	for _, field := range []protowire.Number{1, 2, 2} { // resource_…, scope_…, the record
		kind, value := firstOf(record, field)
		if kind != protowire.BytesType {
			return ""
		}
		record, _ = protowire.ConsumeBytes(value)
	}
	kind, value := firstOf(record, 1)
	switch {
	case sig != otlp.Logs && kind == protowire.Fixed64Type:
		return otlp.Logs.String()
	case sig == otlp.Logs && kind == protowire.BytesType:
		if id, _ := protowire.ConsumeBytes(value); len(id) == 16 {
			return otlp.Traces.String()
		}
		return otlp.Metrics.String()
	}
	return ""
}

// maxLook is how many fields of a message are looked at: a record has fewer than 20, if each is there once, and attributes.
const maxLook = 200

// firstOf returns the first field of a number in a message, and -1 if there is none or what comes before it is malformed.
func firstOf(message []byte, field protowire.Number) (protowire.Type, []byte) {
	for range maxLook {
		number, kind, n := protowire.ConsumeTag(message)
		if n < 0 {
			break
		}
		size := protowire.ConsumeFieldValue(number, kind, message[n:])
		switch {
		case size < 0:
			return -1, nil
		case number == field:
			return kind, message[n : n+size]
		}
		message = message[n+size:]
	}
	return -1, nil
}

// warn adds to an answer what the body looks like: to a success that has nothing else to say, and to the refusal of what
// could not be decoded.
func warn(looksLike string, p *partial, f *failure) {
	switch {
	case looksLike == "":
	case f == nil && *p == partial{}:
		p.message = misdirected(looksLike)
	case f != nil && f.kind == undecodable:
		f.text += "; " + misdirected(looksLike)
	}
}
