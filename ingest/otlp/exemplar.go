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
	native.Nested

	attrs    *attrMap
	time     nestedTime
	value    *native.Nullable[float64]
	valueInt *native.Nullable[int64]
	spanID   *native.String
	traceID  *native.String
}

func newExemplarColumns(b *native.Builder) *exemplarColumns {
	c := &exemplarColumns{
		attrs:    newAttrMap(),
		time:     newNestedTime(),
		value:    native.NewNullable[float64]("Float64"),
		valueInt: native.NewNullable[int64]("Int64"),
		spanID:   native.NewString(),
		traceID:  native.NewString(),
	}
	c.Add(b, "Exemplars.FilteredAttributes", c.attrs)
	c.Add(b, "Exemplars.TimeUnix", c.time.at)
	c.Add(b, "Exemplars.Value", c.value)
	c.Add(b, "Exemplars.ValueInt", c.valueInt)
	c.Add(b, "Exemplars.SpanId", c.spanID)
	c.Add(b, "Exemplars.TraceId", c.traceID)
	c.AddExtra(b, "Exemplars.RawTimeUnix", c.time.raw)
	c.AddExtra(b, "Exemplars.FilteredAttributesKinds", c.attrs.kinds)
	return c
}

// add reads an Exemplar into the row in hand.
func (c *exemplarColumns) add(d *Decoder, b []byte) error {
	if !d.item() {
		return nil
	}
	c.Begin()
	var time uint64
	var value number
	var spanID, traceID []byte
	for i := 0; i < len(b); {
		tag, num, msg, next := nextField(b, i)
		if i = next; i < 0 {
			return ErrMalformed
		}
		switch tag {
		case tagExemplarTime:
			time = num
		case tagExemplarDouble:
			value.setDouble(num)
		case tagExemplarInt:
			value.setInt(num)
		case tagExemplarSpanID:
			spanID = msg
		case tagExemplarTraceID:
			traceID = msg
		case tagExemplarAttr:
			if err := c.attrs.add(d, msg); err != nil {
				return err
			}
		default:
			d.res.UnknownFields++
		}
	}
	c.time.append(time)
	value.append(c.value, c.valueInt)
	appendID(c.spanID, spanID, spanIDBytes)
	appendID(c.traceID, traceID, traceIDBytes)
	return c.attrs.end(d, b, tagExemplarAttr)
}
