package otlp

import (
	"math"

	"github.com/headgate-io/headgate/storage/native"
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

func newNumberTable(name string, kind seriesKind) *numberTable {
	t := &numberTable{}
	t.begin(name, kind, 160)
	b := &t.b
	t.value = addNullable[float64](b, "Value", "Float64")
	t.valueInt = addNullable[int64](b, "ValueInt", "Int64")
	if kind == seriesSum {
		t.addTemporality()
		t.monotonic = addRepeated(b, &t.metrics, "IsMonotonic", native.NewFixed[uint8]("Bool"))
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
	t.exemplars.EndRow(t.rows - 1)
	return d.endPoint(&t.metricTable, b, tagNumberAttr)
}

func (d *Decoder) readNumber(t *numberTable, p *point, v *number, b []byte) error {
	for i := 0; ; {
		if i = t.attrs.addRun(b, i, tagNumberAttr); i == len(b) {
			break
		}
		var msg []byte
		tag, num, next := field64(b, i)
		if next == 0 {
			tag, num, msg, next = nextField(b, i)
		}
		if i = next; i < 0 {
			return ErrMalformed
		}
		var err error
		switch tag {
		case tagPointStart:
			p.start = num
		case tagPointTime:
			p.time = num
		case tagNumberDouble:
			v.setDouble(num)
		case tagNumberInt:
			v.setInt(num)
		case tagNumberFlags:
			p.flags = uint32(num)
		case tagNumberAttr:
			err = t.attrs.add(d, msg)
		case tagNumberExemplar:
			err = t.exemplars.add(d, msg)
		default:
			d.res.UnknownFields++
		}
		if err != nil {
			return err
		}
	}
	return nil
}
