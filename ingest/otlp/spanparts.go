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
	native.Nested

	time    nestedTime
	name    *native.LowCardinality
	attrs   *attrMap
	dropped *native.Fixed[uint32]
}

func newEventColumns(b *native.Builder) *eventColumns {
	c := &eventColumns{
		time:    newNestedTime(),
		name:    native.NewLowCardinality(),
		attrs:   newAttrMap(),
		dropped: native.NewFixed[uint32]("UInt32"),
	}
	c.Add(b, "Events.Timestamp", c.time.at)
	c.Add(b, "Events.Name", c.name)
	c.Add(b, "Events.Attributes", c.attrs)
	c.Add(b, "Events.DroppedAttrCount", c.dropped)
	c.AddExtra(b, "Events.RawTimestamp", c.time.raw)
	c.AddExtra(b, "Events.AttributesKinds", c.attrs.kinds)
	return c
}

// add reads an Event into the row in hand.
func (c *eventColumns) add(d *Decoder, b []byte) error {
	if !d.item() {
		return nil
	}
	c.Begin()
	var time uint64
	var name []byte
	var dropped uint32
	for i := 0; ; {
		if i = c.attrs.addRun(b, i, tagEventAttr); i == len(b) {
			break
		}
		tag, num, msg, next := nextField(b, i)
		if i = next; i < 0 {
			return ErrMalformed
		}
		switch tag {
		case tagEventTime:
			time = num
		case tagEventName:
			name = msg
		case tagEventAttr:
			if err := c.attrs.add(d, msg); err != nil {
				return err
			}
		case tagEventDropped:
			dropped = uint32(num)
		default:
			d.res.UnknownFields++
		}
	}
	c.time.append(time)
	c.name.AppendIndex(d.intern(c.name, name))
	c.dropped.Append(dropped)
	return c.attrs.end(d, b, tagEventAttr)
}

type linkColumns struct {
	native.Nested

	traceID *native.String
	spanID  *native.String
	state   *native.String
	attrs   *attrMap
	dropped *native.Fixed[uint32]
	flags   *native.Fixed[uint32]
}

func newLinkColumns(b *native.Builder) *linkColumns {
	c := &linkColumns{
		traceID: native.NewString(),
		spanID:  native.NewString(),
		state:   native.NewString(),
		attrs:   newAttrMap(),
		dropped: native.NewFixed[uint32]("UInt32"),
		flags:   native.NewFixed[uint32]("UInt32"),
	}
	c.Add(b, "Links.TraceId", c.traceID)
	c.Add(b, "Links.SpanId", c.spanID)
	c.Add(b, "Links.TraceState", c.state)
	c.Add(b, "Links.Attributes", c.attrs)
	c.Add(b, "Links.DroppedAttrCount", c.dropped)
	c.Add(b, "Links.Flags", c.flags)
	c.AddExtra(b, "Links.AttributesKinds", c.attrs.kinds)
	return c
}

// add reads a Link into the row in hand.
func (c *linkColumns) add(d *Decoder, b []byte) error {
	if !d.item() {
		return nil
	}
	c.Begin()
	var traceID, spanID, state []byte
	var dropped, flags uint32
	for i := 0; ; {
		if i = c.attrs.addRun(b, i, tagLinkAttr); i == len(b) {
			break
		}
		tag, num, msg, next := nextField(b, i)
		if i = next; i < 0 {
			return ErrMalformed
		}
		switch tag {
		case tagLinkTraceID:
			traceID = msg
		case tagLinkSpanID:
			spanID = msg
		case tagLinkState:
			state = msg
		case tagLinkAttr:
			if err := c.attrs.add(d, msg); err != nil {
				return err
			}
		case tagLinkDropped:
			dropped = uint32(num)
		case tagLinkFlags:
			flags = uint32(num)
		default:
			d.res.UnknownFields++
		}
	}
	appendID(c.traceID, traceID, traceIDBytes)
	appendID(c.spanID, spanID, spanIDBytes)
	d.appendString(c.state, state)
	c.dropped.Append(dropped)
	c.flags.Append(flags)
	return c.attrs.end(d, b, tagLinkAttr)
}
