package otlp

import (
	"math"

	"github.com/headgate-io/headgate/storage/native"
	"github.com/headgate-io/headgate/storage/schema"
)

// Fields of NumberDataPoint.
const (
	tagNumberDouble   = 4<<3 | wire64
	tagNumberExemplar = 5<<3 | wireBytes
	tagNumberInt      = 6<<3 | wire64
	tagNumberAttr     = 7<<3 | wireBytes
	tagNumberFlags    = 8<<3 | wireVarint
)

// numberTable is the table of gauges or of sums.
type numberTable struct {
	metricTable

	value     *native.Nullable[float64]
	valueInt  *native.Nullable[int64]
	exemplars *exemplarColumns
}

func newNumberTable(name string) *numberTable {
	t := &numberTable{}
	t.begin(name, 160)
	b := &t.b
	t.value = addNullable[float64](b, "Value", "Float64")
	t.valueInt = addNullable[int64](b, "ValueInt", "Int64")
	if name == schema.MetricsSum {
		t.temporality = addFixed[int32](b, "AggregationTemporality", "Int32")
		t.monotonic = addFixed[uint8](b, "IsMonotonic", "Bool")
	}
	t.exemplars = newExemplarColumns(b)
	t.end()
	return t
}

// number is the value of a point or an exemplar: a double, an integer or neither.
type number struct {
	double float64
	int    int64
	kind   numberKind
}

type numberKind uint8

const (
	numberUnset numberKind = iota
	numberDouble
	numberInt
)

func (n *number) setDouble(bits uint64) {
	*n = number{double: math.Float64frombits(bits), kind: numberDouble}
}
func (n *number) setInt(bits uint64) { *n = number{int: int64(bits), kind: numberInt} }

// append adds n to both columns. An integer is in both: as it is, and as the nearest double.
func (n *number) append(value *native.Nullable[float64], valueInt *native.Nullable[int64]) {
	switch n.kind {
	case numberDouble:
		value.Append(n.double)
		valueInt.AppendNull()
	case numberInt:
		value.Append(float64(n.int))
		valueInt.Append(n.int)
	default:
		value.AppendNull()
		valueInt.AppendNull()
	}
}

// numberPoint reads a NumberDataPoint and appends its row.
func (d *Decoder) numberPoint(t *numberTable, b []byte, wire int) error {
	var p point
	var v number
	if err := d.readNumber(t, &p, &v, b); err != nil {
		return err
	}
	switch {
	case p.noValue():
		v = number{} // whatever was sent, it is not a value
	case v.kind == numberUnset && d.bad == none:
		d.bad = NoValue
	}
	if !d.admitPoint(&t.metricTable, &p, wire, 0) {
		t.exemplars.DropRow()
		return nil
	}
	v.append(t.value, t.valueInt)
	t.exemplars.EndRow()
	return t.attrs.end(d, b, tagNumberAttr)
}

func (d *Decoder) readNumber(t *numberTable, p *point, v *number, b []byte) error {
	for i := 0; i < len(b); {
		var tag, n uint64
		var msg []byte
		var err error
		if tag, i = nextTag(b, i); i < 0 {
			return ErrMalformed
		}
		switch tag {
		case tagPointStart:
			p.start, i = fixed64(b, i)
		case tagPointTime:
			p.time, i = fixed64(b, i)
		case tagNumberDouble:
			n, i = fixed64(b, i)
			v.setDouble(n)
		case tagNumberInt:
			n, i = fixed64(b, i)
			v.setInt(n)
		case tagNumberFlags:
			n, i = varint(b, i)
			p.flags = uint32(n)
		case tagNumberAttr:
			if msg, i = block(b, i); i >= 0 {
				err = t.attrs.add(d, msg)
			}
		case tagNumberExemplar:
			if msg, i = block(b, i); i >= 0 {
				err = t.exemplars.add(d, msg)
			}
		default:
			i = skip(b, i, tag)
		}
		if i < 0 {
			return ErrMalformed
		}
		if err != nil {
			return err
		}
	}
	return nil
}
