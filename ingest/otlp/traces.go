package otlp

import (
	"strconv"

	"github.com/headgate-io/headgate/storage/native"
	"github.com/headgate-io/headgate/storage/schema"
)

// Fields of Span and Status.
const (
	tagSpanTraceID       = 1<<3 | wireBytes
	tagSpanID            = 2<<3 | wireBytes
	tagSpanState         = 3<<3 | wireBytes
	tagSpanParent        = 4<<3 | wireBytes
	tagSpanName          = 5<<3 | wireBytes
	tagSpanKind          = 6<<3 | wireVarint
	tagSpanStart         = 7<<3 | wire64
	tagSpanEnd           = 8<<3 | wire64
	tagSpanAttr          = 9<<3 | wireBytes
	tagSpanDropped       = 10<<3 | wireVarint
	tagSpanEvent         = 11<<3 | wireBytes
	tagSpanDroppedEvents = 12<<3 | wireVarint
	tagSpanLink          = 13<<3 | wireBytes
	tagSpanDroppedLinks  = 14<<3 | wireVarint
	tagSpanStatus        = 15<<3 | wireBytes
	tagSpanFlags         = 16<<3 | wire32

	tagStatusMessage = 2<<3 | wireBytes
	tagStatusCode    = 3<<3 | wireVarint
)

type tracesTable struct {
	table

	start          sortTime
	end            otherTime
	duration       *native.Fixed[uint64]
	traceID        *native.String
	spanID, parent *native.String
	state          *native.Sparse
	flags          *native.Runs[uint32]
	spanName       *native.LowCardinality
	kind           *enumColumn
	attrs          *attrMap
	dropped        *native.Runs[uint32]
	status         *enumColumn
	message        *native.Sparse
	events         *eventColumns
	droppedEvents  *native.Runs[uint32]
	links          *linkColumns
	droppedLinks   *native.Runs[uint32]

	names recentTexts // of spanName
}

func newTracesTable() *tracesTable {
	t := &tracesTable{}
	t.begin(schema.Traces, 256)
	b := &t.b
	t.start = addSortTime(b, "Timestamp")
	t.end = addOtherTime(b, "EndTimestamp")
	t.duration = addFixed[uint64](b, "Duration", "UInt64")
	t.traceID = addString(b, "TraceId")
	t.spanID = addString(b, "SpanId")
	t.parent = addString(b, "ParentSpanId")
	t.state = addSparse(b, "TraceState")
	t.flags = addRuns[uint32](b, "Flags", "UInt32")
	t.spanName = addLowCardinality(b, "SpanName")
	t.kind = addEnum(b, "SpanKind", "Unspecified", "Internal", "Server", "Client", "Producer", "Consumer")
	t.attrs = addAttrMap(b, "SpanAttributes")
	t.dropped = addRuns[uint32](b, "DroppedAttrCount", "UInt32")
	t.status = addEnum(b, "StatusCode", "Unset", "Ok", "Error")
	t.message = addSparse(b, "StatusMessage")
	t.events = newEventColumns(b)
	t.droppedEvents = addRuns[uint32](b, "DroppedEventsCount", "UInt32")
	t.links = newLinkColumns(b)
	t.droppedLinks = addRuns[uint32](b, "DroppedLinksCount", "UInt32")
	t.table.end()
	return t
}

type span struct {
	start, end                                  uint64
	kind, status                                int32
	flags, dropped, droppedEvents, droppedLinks uint32

	traceID, id, parent, state, name, message []byte
}

// span reads a Span and appends its row.
func (d *Decoder) span(b []byte, wire int) error {
	var s span
	if err := d.readSpan(&s, b); err != nil {
		return err
	}
	switch {
	case d.bad != none:
	case !validID(s.traceID, traceIDBytes):
		d.bad = InvalidTraceID
	case !validID(s.id, spanIDBytes):
		d.bad = InvalidSpanID
	}
	t := d.traces
	if !d.admit(&t.table, sortable(s.start), wire, 0) {
		t.attrs.drop()
		t.events.DropRow()
		t.links.DropRow()
		return nil
	}
	if s.start == 0 {
		d.res.Untimed++
	}
	row := t.rows - 1
	t.start.append(row, s.start)
	t.end.append(row, s.end)
	t.duration.Append(max(s.end, s.start) - s.start)
	t.traceID.AppendHex(s.traceID)
	t.spanID.AppendHex(s.id)
	appendID(t.parent, s.parent, spanIDBytes)
	d.setSparse(t.state, row, s.state)
	t.flags.Set(row, s.flags)
	t.spanName.AppendIndex(t.names.index(d, t.spanName, s.name))
	t.kind.append(d, s.kind)
	t.dropped.Set(row, s.dropped)
	t.status.append(d, s.status)
	d.setSparse(t.message, row, s.message)
	t.events.EndRow(row)
	t.droppedEvents.Set(row, s.droppedEvents)
	t.links.EndRow(row)
	t.droppedLinks.Set(row, s.droppedLinks)
	return t.attrs.end(d, b, tagSpanAttr)
}

// enumColumn is a column of the names of an enumeration's values.
type enumColumn struct {
	*native.LowCardinality
	names []string
	known []uint32 // by value: the name's dictionary index plus one, or 0
}

func addEnum(b *native.Builder, name string, names ...string) *enumColumn {
	c := &enumColumn{LowCardinality: native.NewLowCardinality(), names: names, known: make([]uint32, len(names))}
	b.Add(name, c)
	return c
}

// Reset implements native.Column.
func (c *enumColumn) Reset() {
	c.LowCardinality.Reset()
	clear(c.known)
}

// append adds the name of v, or its number if it has none.
func (c *enumColumn) append(d *Decoder, v int32) {
	if v < 0 || int(v) >= len(c.names) {
		d.scratch = strconv.AppendInt(d.scratch[:0], int64(v), 10)
		c.Append(d.scratch)
		return
	}
	if c.known[v] == 0 {
		d.scratch = append(d.scratch[:0], c.names[v]...)
		c.known[v] = d.intern(c.LowCardinality, d.scratch) + 1
	}
	c.AppendIndex(c.known[v] - 1)
}

func (d *Decoder) readSpan(s *span, b []byte) error {
	d.bad, d.items = none, 0
	for i := 0; ; {
		if i = d.traces.attrs.addRun(b, i, tagSpanAttr); i == len(b) {
			break
		}
		tag, num, msg, next := nextField(b, i)
		if i = next; i < 0 {
			return ErrMalformed
		}
		var err error
		switch tag {
		case tagSpanTraceID:
			s.traceID = msg
		case tagSpanID:
			s.id = msg
		case tagSpanState:
			s.state = msg
		case tagSpanParent:
			s.parent = msg
		case tagSpanName:
			s.name = msg
		case tagSpanKind:
			s.kind = int32(num)
		case tagSpanStart:
			s.start = num
		case tagSpanEnd:
			s.end = num
		case tagSpanFlags:
			s.flags = uint32(num)
		case tagSpanDropped:
			s.dropped = uint32(num)
		case tagSpanDroppedEvents:
			s.droppedEvents = uint32(num)
		case tagSpanDroppedLinks:
			s.droppedLinks = uint32(num)
		case tagSpanAttr:
			err = d.traces.attrs.add(d, msg)
		case tagSpanEvent:
			err = d.traces.events.add(d, msg)
		case tagSpanLink:
			err = d.traces.links.add(d, msg)
		case tagSpanStatus:
			err = d.readStatus(s, msg)
		default:
			d.res.UnknownFields++
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func (d *Decoder) readStatus(s *span, b []byte) error {
	for i := 0; i < len(b); {
		tag, num, msg, next := nextField(b, i)
		if i = next; i < 0 {
			return ErrMalformed
		}
		switch tag {
		case tagStatusMessage:
			s.message = msg
		case tagStatusCode:
			s.status = int32(num)
		default:
			d.res.UnknownFields++
		}
	}
	return nil
}
