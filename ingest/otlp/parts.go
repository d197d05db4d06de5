package otlp

import "github.com/headgate-io/headgate/storage/native"

// parts are the events, links or exemplars of the record in hand. Their attributes share one list: a part's are those
// between the ends of its predecessor and its own.
type parts struct {
	events    []event
	links     []link
	exemplars []exemplar
	attrs     attrSet
}

func (p *parts) reset() {
	p.events, p.links, p.exemplars = p.events[:0], p.links[:0], p.exemplars[:0]
	p.attrs.reset()
}

func (p *parts) forget() {
	clear(p.events[:cap(p.events)])
	clear(p.links[:cap(p.links)])
	clear(p.exemplars[:cap(p.exemplars)])
	p.attrs.forget()
}

// rowBytes estimates what the parts take in a row beyond their texts.
func (p *parts) rowBytes() int {
	return 40*(len(p.events)+len(p.links)+len(p.exemplars)) + 8*len(p.attrs.list)
}

// attrRange is the attributes of one part in parts.attrs.
type attrRange struct{ from, to int }

func (p *parts) slice(r attrRange) []attr { return p.attrs.list[r.from:r.to] }

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

type event struct {
	time    uint64
	name    []byte
	dropped uint32
	attrs   attrRange
}

func (d *Decoder) readEvent(b []byte) error {
	p := &d.parts
	if len(p.events) >= maxItems {
		d.bad = TooManyItems
		return nil
	}
	var e event
	e.attrs.from = len(p.attrs.list)
	for i := 0; i < len(b); {
		var tag, n uint64
		if tag, i = varint(b, i); i < 0 {
			return ErrMalformed
		}
		switch tag {
		case tagEventTime:
			e.time, i = fixed64(b, i)
		case tagEventName:
			e.name, i = block(b, i)
		case tagEventAttr:
			var pair []byte
			if pair, i = block(b, i); i < 0 {
				break
			}
			if err := d.addAttr(&p.attrs, pair); err != nil {
				return err
			}
		case tagEventDropped:
			n, i = varint(b, i)
			e.dropped = uint32(n)
		default:
			i = skip(b, i, tag)
		}
		if i < 0 {
			return ErrMalformed
		}
	}
	e.attrs.to = len(p.attrs.list)
	p.events = append(p.events, e)
	return nil
}

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

// append adds the row of the events in hand.
func (c *eventColumns) append(d *Decoder) {
	for i := range d.parts.events {
		e := &d.parts.events[i]
		c.time.Elem.Append(int64(clampTime(e.time)))
		c.name.Elem.AppendIndex(d.intern(c.name.Elem, e.name))
		c.attrs.Elem.append(d, d.parts.slice(e.attrs))
		c.dropped.Elem.Append(e.dropped)
	}
	c.time.EndRow()
	c.name.EndRow()
	c.attrs.EndRow()
	c.dropped.EndRow()
}

type link struct {
	traceID, spanID, state []byte
	dropped, flags         uint32
	attrs                  attrRange
}

func (d *Decoder) readLink(b []byte) error {
	p := &d.parts
	if len(p.links) >= maxItems {
		d.bad = TooManyItems
		return nil
	}
	var l link
	l.attrs.from = len(p.attrs.list)
	for i := 0; i < len(b); {
		var tag, n uint64
		if tag, i = varint(b, i); i < 0 {
			return ErrMalformed
		}
		switch tag {
		case tagLinkTraceID:
			l.traceID, i = block(b, i)
		case tagLinkSpanID:
			l.spanID, i = block(b, i)
		case tagLinkState:
			l.state, i = block(b, i)
		case tagLinkAttr:
			var pair []byte
			if pair, i = block(b, i); i < 0 {
				break
			}
			if err := d.addAttr(&p.attrs, pair); err != nil {
				return err
			}
		case tagLinkDropped:
			n, i = varint(b, i)
			l.dropped = uint32(n)
		case tagLinkFlags:
			l.flags, i = fixed32(b, i)
		default:
			i = skip(b, i, tag)
		}
		if i < 0 {
			return ErrMalformed
		}
	}
	l.attrs.to = len(p.attrs.list)
	p.links = append(p.links, l)
	return nil
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

// append adds the row of the links in hand.
func (c *linkColumns) append(d *Decoder) {
	for i := range d.parts.links {
		l := &d.parts.links[i]
		appendID(c.traceID.Elem, l.traceID, traceIDBytes)
		appendID(c.spanID.Elem, l.spanID, spanIDBytes)
		d.appendString(c.state.Elem, l.state)
		c.attrs.Elem.append(d, d.parts.slice(l.attrs))
		c.dropped.Elem.Append(l.dropped)
		c.flags.Elem.Append(l.flags)
	}
	c.traceID.EndRow()
	c.spanID.EndRow()
	c.state.EndRow()
	c.attrs.EndRow()
	c.dropped.EndRow()
	c.flags.EndRow()
}
