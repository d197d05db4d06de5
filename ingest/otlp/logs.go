package otlp

import (
	"math"

	"github.com/headgate-io/headgate/storage/native"
	"github.com/headgate-io/headgate/storage/schema"
)

// Fields of LogRecord.
const (
	tagLogTime     = 1<<3 | wire64
	tagLogSeverity = 2<<3 | wireVarint
	tagLogText     = 3<<3 | wireBytes
	tagLogBody     = 5<<3 | wireBytes
	tagLogAttr     = 6<<3 | wireBytes
	tagLogDropped  = 7<<3 | wireVarint
	tagLogFlags    = 8<<3 | wire32
	tagLogTraceID  = 9<<3 | wireBytes
	tagLogSpanID   = 10<<3 | wireBytes
	tagLogObserved = 11<<3 | wire64
	tagLogEvent    = 12<<3 | wireBytes
)

// Where a log's Timestamp is from; values of the column TimestampSource.
const (
	sourceTime     = 1
	sourceObserved = 2
	sourceReceived = 3
)

type logsTable struct {
	table

	time     sortTime
	source   *native.Runs[uint8]
	observed otherTime
	traceID  *native.String
	spanID   *native.String
	trace    *native.Fixed[uint8]
	flags    *native.Fixed[uint32]
	text     *native.LowCardinality
	severity *native.Fixed[uint8]
	rawSev   *native.Rare[int32] // where severity cannot hold it
	body     *native.String
	bodyKind *kindColumn
	event    *native.LowCardinality
	attrs    *attrMap
	dropped  *native.Runs[uint32]

	texts [32]uint32 // by severity: the index of the last text in the dictionary, perhaps of an earlier request's
}

func newLogsTable() *logsTable {
	t := &logsTable{}
	t.begin(schema.Logs, 128)
	b := &t.b
	t.time = addSortTime(b, "Timestamp")
	t.source = addRuns[uint8](b, "TimestampSource", "Enum8('time' = 1, 'observed' = 2, 'received' = 3)")
	t.observed = addOtherTime(b, "ObservedTimestamp")
	t.traceID = addString(b, "TraceId")
	t.spanID = addString(b, "SpanId")
	t.trace = addFixed[uint8](b, "TraceFlags", "UInt8")
	t.flags = addFixed[uint32](b, "Flags", "UInt32")
	t.text = addLowCardinality(b, "SeverityText")
	t.severity = addFixed[uint8](b, "SeverityNumber", "UInt8")
	t.rawSev = addRare[int32](b, "RawSeverityNumber", "Int32")
	t.body = addString(b, "Body")
	t.bodyKind = newKindColumn()
	b.Add("BodyKind", t.bodyKind)
	t.event = addLowCardinality(b, "EventName")
	t.attrs = addAttrMap(b, "LogAttributes")
	t.dropped = addRuns[uint32](b, "DroppedAttrCount", "UInt32")
	t.end()
	return t
}

type logRecord struct {
	time, observed uint64
	severity       int32
	dropped, flags uint32

	text, traceID, spanID, event []byte

	body value
}

// logRecord reads a LogRecord and appends its row.
func (d *Decoder) logRecord(b []byte, wire int) error {
	var r logRecord
	if err := d.readLog(&r, b); err != nil {
		return err
	}
	ns, source := r.timestamp(uint64(d.stamp.Received.UnixNano()))
	t := d.logs
	if !d.admit(&t.table, sortable(ns), wire, 0) {
		t.attrs.drop()
		return nil
	}
	if source == sourceReceived {
		d.res.Untimed++
	}
	row := t.rows - 1
	t.time.append(row, ns)
	t.source.Set(row, source)
	t.observed.append(row, r.observed)
	appendID(t.traceID, r.traceID, traceIDBytes)
	appendID(t.spanID, r.spanID, spanIDBytes)
	t.trace.Append(uint8(r.flags))
	t.flags.Append(r.flags)
	text := &t.texts[uint8(r.severity)%uint8(len(t.texts))]
	if !t.text.Is(*text, r.text) {
		*text = d.intern(t.text, r.text)
	}
	t.text.AppendIndex(*text)
	severity := min(max(r.severity, 0), math.MaxUint8)
	t.severity.Append(uint8(severity))
	if severity != r.severity {
		t.rawSev.Set(row, r.severity)
	}
	t.body.Append(d.text(&r.body)) // rendered: it cannot reject the record any more
	t.bodyKind.noteValue(d, 0, &r.body)
	t.bodyKind.endRow(1)
	t.event.AppendIndex(d.intern(t.event, r.event))
	t.dropped.Set(row, r.dropped)
	return t.attrs.end(d, b, tagLogAttr)
}

// timestamp returns the record's time, or the nearest thing to it, and where it is from.
func (r *logRecord) timestamp(received uint64) (ns uint64, source uint8) {
	switch {
	case r.time != 0:
		return r.time, sourceTime
	case r.observed != 0:
		return r.observed, sourceObserved
	default:
		return received, sourceReceived
	}
}

func (d *Decoder) readLog(r *logRecord, b []byte) error {
	d.bad, d.items = none, 0
	var body []byte
	bodies := 0
	for i := 0; ; {
		if i = d.logs.attrs.addRun(b, i, tagLogAttr); i == len(b) {
			break
		}
		tag, num, msg, next := nextField(b, i)
		if i = next; i < 0 {
			return ErrMalformed
		}
		switch tag {
		case tagLogTime:
			r.time = num
		case tagLogObserved:
			r.observed = num
		case tagLogSeverity:
			r.severity = int32(num)
		case tagLogText:
			r.text = msg
		case tagLogBody:
			body = msg
			bodies++
		case tagLogAttr:
			if err := d.logs.attrs.add(d, msg); err != nil {
				return err
			}
		case tagLogDropped:
			r.dropped = uint32(num)
		case tagLogFlags:
			r.flags = uint32(num)
		case tagLogTraceID:
			r.traceID = msg
		case tagLogSpanID:
			r.spanID = msg
		case tagLogEvent:
			r.event = msg
		default:
			d.res.UnknownFields++
		}
	}
	return d.readBody(r, b, body, bodies)
}

func (d *Decoder) readBody(r *logRecord, b, body []byte, bodies int) (err error) {
	if bodies > 1 {
		if body, err = d.merged(b, tagLogBody); err != nil {
			return err
		}
	}
	if err = d.anyValue(body, &r.body); err != nil {
		return err
	}
	d.bodyText = d.bodyText[:0]
	return d.render(&r.body, &d.bodyText)
}
