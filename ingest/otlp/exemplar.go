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

// add reads an Exemplar into the row in hand.
func (c *exemplarColumns) add(d *Decoder, b []byte) error {
	if !d.item() {
		return nil
	}
	var time uint64
	var value number
	var spanID, traceID []byte
	for i := 0; i < len(b); {
		var tag, n uint64
		if tag, i = nextTag(b, i); i < 0 {
			return ErrMalformed
		}
		switch tag {
		case tagExemplarTime:
			time, i = fixed64(b, i)
		case tagExemplarDouble:
			n, i = fixed64(b, i)
			value.setDouble(n)
		case tagExemplarInt:
			n, i = fixed64(b, i)
			value.setInt(n)
		case tagExemplarSpanID:
			spanID, i = block(b, i)
		case tagExemplarTraceID:
			traceID, i = block(b, i)
		case tagExemplarAttr:
			var pair []byte
			if pair, i = block(b, i); i < 0 {
				break
			}
			if err := c.attrs.Elem.add(d, pair); err != nil {
				return err
			}
		default:
			i = skip(b, i, tag)
		}
		if i < 0 {
			return ErrMalformed
		}
	}
	c.time.Elem.Append(int64(clampTime(time)))
	value.append(c.value.Elem, c.valueInt.Elem)
	appendID(c.spanID.Elem, spanID, spanIDBytes)
	appendID(c.traceID.Elem, traceID, traceIDBytes)
	return c.attrs.Elem.end(d, b, tagExemplarAttr)
}

// end ends the row.
func (c *exemplarColumns) end() {
	c.attrs.EndRow()
	c.time.EndRow()
	c.value.EndRow()
	c.valueInt.EndRow()
	c.spanID.EndRow()
	c.traceID.EndRow()
}

// drop forgets the row in hand.
func (c *exemplarColumns) drop() {
	c.attrs.DropRow()
	c.time.DropRow()
	c.value.DropRow()
	c.valueInt.DropRow()
	c.spanID.DropRow()
	c.traceID.DropRow()
}
