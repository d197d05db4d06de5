package otlp

import "github.com/headgate-io/headgate/storage/native"

// Fields of Exemplar.
const (
	tagExemplarTime    = 2<<3 | wire64
	tagExemplarDouble  = 3<<3 | wire64
	tagExemplarSpanID  = 4<<3 | wireBytes
	tagExemplarTraceID = 5<<3 | wireBytes
	tagExemplarInt     = 6<<3 | wire64
	tagExemplarAttr    = 7<<3 | wireBytes
)

type exemplar struct {
	time            uint64
	value           number
	spanID, traceID []byte
	attrs           attrRange
}

func (d *Decoder) readExemplar(b []byte) error {
	p := &d.parts
	if len(p.exemplars) >= maxItems {
		d.bad = TooManyItems
		return nil
	}
	var e exemplar
	e.attrs.from = len(p.attrs.list)
	for i := 0; i < len(b); {
		var tag, n uint64
		if tag, i = varint(b, i); i < 0 {
			return ErrMalformed
		}
		switch tag {
		case tagExemplarTime:
			e.time, i = fixed64(b, i)
		case tagExemplarDouble:
			n, i = fixed64(b, i)
			e.value.setDouble(n)
		case tagExemplarInt:
			n, i = fixed64(b, i)
			e.value.setInt(n)
		case tagExemplarSpanID:
			e.spanID, i = block(b, i)
		case tagExemplarTraceID:
			e.traceID, i = block(b, i)
		case tagExemplarAttr:
			var pair []byte
			if pair, i = block(b, i); i < 0 {
				break
			}
			if err := d.addAttr(&p.attrs, pair); err != nil {
				return err
			}
		default:
			i = skip(b, i, tag)
		}
		if i < 0 {
			return ErrMalformed
		}
	}
	e.attrs.to = len(p.attrs.list)
	p.exemplars = append(p.exemplars, e)
	return nil
}

type exemplarColumns struct {
	attrs    *native.Array[*attrMap]
	time     *native.Array[*native.Fixed[int64]]
	value    *native.Array[*native.Nullable[float64]]
	valueInt *native.Array[*native.Nullable[int64]]
	spanID   *native.Array[*native.String]
	traceID  *native.Array[*native.String]
}

func newExemplarColumns(b *native.Builder) exemplarColumns {
	return exemplarColumns{
		attrs:    addArray(b, "Exemplars.FilteredAttributes", newAttrMap()),
		time:     addArray(b, "Exemplars.TimeUnix", native.NewFixed[int64](dateTime64)),
		value:    addArray(b, "Exemplars.Value", native.NewNullable[float64]("Float64")),
		valueInt: addArray(b, "Exemplars.ValueInt", native.NewNullable[int64]("Int64")),
		spanID:   addArray(b, "Exemplars.SpanId", native.NewString()),
		traceID:  addArray(b, "Exemplars.TraceId", native.NewString()),
	}
}

// append adds the row of the exemplars in hand.
func (c *exemplarColumns) append(d *Decoder) {
	for i := range d.parts.exemplars {
		e := &d.parts.exemplars[i]
		c.attrs.Elem.append(d, d.parts.slice(e.attrs))
		c.time.Elem.Append(int64(clampTime(e.time)))
		e.value.append(c.value.Elem, c.valueInt.Elem)
		appendID(c.spanID.Elem, e.spanID, spanIDBytes)
		appendID(c.traceID.Elem, e.traceID, traceIDBytes)
	}
	c.attrs.EndRow()
	c.time.EndRow()
	c.value.EndRow()
	c.valueInt.EndRow()
	c.spanID.EndRow()
	c.traceID.EndRow()
}
