package otlp

import "github.com/headgate-io/headgate/storage/native"

// Fields of Span.Event and Span.Link.
const (
	tagEventTime    = 1<<3 | wire64
	tagEventName    = 2<<3 | wireBytes
	tagEventAttr    = 3<<3 | wireBytes
	tagEventDropped = 4<<3 | wireVarint

	tagLinkTraceID = 1<<3 | wireBytes
	tagLinkSpanID  = 2<<3 | wireBytes
	tagLinkState   = 3<<3 | wireBytes
	tagLinkAttr    = 4<<3 | wireBytes
	tagLinkDropped = 5<<3 | wireVarint
	tagLinkFlags   = 6<<3 | wire32
)

type eventColumns struct {
	time    *native.Array[*native.Fixed[int64]]
	name    *native.Array[*native.LowCardinality]
	attrs   *native.Array[*attrMap]
	dropped *native.Array[*native.Fixed[uint32]]
}

func newEventColumns(b *native.Builder) eventColumns {
	return eventColumns{
		time:    addArray(b, "Events.Timestamp", native.NewFixed[int64](dateTime64)),
		name:    addArray(b, "Events.Name", native.NewLowCardinality()),
		attrs:   addArray(b, "Events.Attributes", newAttrMap()),
		dropped: addArray(b, "Events.DroppedAttrCount", native.NewFixed[uint32]("UInt32")),
	}
}

// add reads an Event into the row in hand.
func (c *eventColumns) add(d *Decoder, b []byte) error {
	if !d.item() {
		return nil
	}
	var time uint64
	var name []byte
	var dropped uint32
	for i := 0; i < len(b); {
		var tag, n uint64
		if tag, i = nextTag(b, i); i < 0 {
			return ErrMalformed
		}
		switch tag {
		case tagEventTime:
			time, i = fixed64(b, i)
		case tagEventName:
			name, i = block(b, i)
		case tagEventAttr:
			var pair []byte
			if pair, i = block(b, i); i < 0 {
				break
			}
			if err := c.attrs.Elem.add(d, pair); err != nil {
				return err
			}
		case tagEventDropped:
			n, i = varint(b, i)
			dropped = uint32(n)
		default:
			i = skip(b, i, tag)
		}
		if i < 0 {
			return ErrMalformed
		}
	}
	c.time.Elem.Append(int64(clampTime(time)))
	c.name.Elem.AppendIndex(d.intern(c.name.Elem, name))
	c.dropped.Elem.Append(dropped)
	return c.attrs.Elem.end(d, b, tagEventAttr)
}

// end ends the row.
func (c *eventColumns) end() {
	c.time.EndRow()
	c.name.EndRow()
	c.attrs.EndRow()
	c.dropped.EndRow()
}

// drop forgets the row in hand.
func (c *eventColumns) drop() {
	c.time.DropRow()
	c.name.DropRow()
	c.attrs.DropRow()
	c.dropped.DropRow()
}

type linkColumns struct {
	traceID *native.Array[*native.String]
	spanID  *native.Array[*native.String]
	state   *native.Array[*native.String]
	attrs   *native.Array[*attrMap]
	dropped *native.Array[*native.Fixed[uint32]]
	flags   *native.Array[*native.Fixed[uint32]]
}

func newLinkColumns(b *native.Builder) linkColumns {
	return linkColumns{
		traceID: addArray(b, "Links.TraceId", native.NewString()),
		spanID:  addArray(b, "Links.SpanId", native.NewString()),
		state:   addArray(b, "Links.TraceState", native.NewString()),
		attrs:   addArray(b, "Links.Attributes", newAttrMap()),
		dropped: addArray(b, "Links.DroppedAttrCount", native.NewFixed[uint32]("UInt32")),
		flags:   addArray(b, "Links.Flags", native.NewFixed[uint32]("UInt32")),
	}
}

// add reads a Link into the row in hand.
func (c *linkColumns) add(d *Decoder, b []byte) error {
	if !d.item() {
		return nil
	}
	var traceID, spanID, state []byte
	var dropped, flags uint32
	for i := 0; i < len(b); {
		var tag, n uint64
		if tag, i = nextTag(b, i); i < 0 {
			return ErrMalformed
		}
		switch tag {
		case tagLinkTraceID:
			traceID, i = block(b, i)
		case tagLinkSpanID:
			spanID, i = block(b, i)
		case tagLinkState:
			state, i = block(b, i)
		case tagLinkAttr:
			var pair []byte
			if pair, i = block(b, i); i < 0 {
				break
			}
			if err := c.attrs.Elem.add(d, pair); err != nil {
				return err
			}
		case tagLinkDropped:
			n, i = varint(b, i)
			dropped = uint32(n)
		case tagLinkFlags:
			flags, i = fixed32(b, i)
		default:
			i = skip(b, i, tag)
		}
		if i < 0 {
			return ErrMalformed
		}
	}
	appendID(c.traceID.Elem, traceID, traceIDBytes)
	appendID(c.spanID.Elem, spanID, spanIDBytes)
	d.appendString(c.state.Elem, state)
	c.dropped.Elem.Append(dropped)
	c.flags.Elem.Append(flags)
	return c.attrs.Elem.end(d, b, tagLinkAttr)
}

// end ends the row.
func (c *linkColumns) end() {
	c.traceID.EndRow()
	c.spanID.EndRow()
	c.state.EndRow()
	c.attrs.EndRow()
	c.dropped.EndRow()
	c.flags.EndRow()
}

// drop forgets the row in hand.
func (c *linkColumns) drop() {
	c.traceID.DropRow()
	c.spanID.DropRow()
	c.state.DropRow()
	c.attrs.DropRow()
	c.dropped.DropRow()
	c.flags.DropRow()
}
