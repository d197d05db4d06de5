package otlp

import (
	"encoding/binary"
	"math"
	"slices"

	"github.com/headgate-io/headgate/storage/native"
	"github.com/headgate-io/headgate/storage/schema"
)

// Fields of HistogramDataPoint.
const (
	tagHistCounts       = 6<<3 | wire64
	tagHistCountsPacked = 6<<3 | wireBytes
	tagHistBounds       = 7<<3 | wire64
	tagHistBoundsPacked = 7<<3 | wireBytes
	tagHistExemplar     = 8<<3 | wireBytes
	tagHistAttr         = 9<<3 | wireBytes
	tagHistFlags        = 10<<3 | wireVarint
	tagHistMin          = 11<<3 | wire64
	tagHistMax          = 12<<3 | wire64
)

type histogramTable struct {
	metricTable

	count         *native.Fixed[uint64]
	sum, min, max *native.Nullable[float64]
	counts        *native.Array[*native.Fixed[uint64]]
	bounds        *native.Array[*native.Fixed[float64]]
	exemplars     *exemplarColumns

	point histogram // the point in hand
}

func newHistogramTable() *histogramTable {
	t := &histogramTable{}
	t.begin(schema.MetricsHistogram, 192)
	b := &t.b
	t.count = addFixed[uint64](b, "Count", "UInt64")
	t.sum = addNullable[float64](b, "Sum", "Float64")
	t.min = addNullable[float64](b, "Min", "Float64")
	t.max = addNullable[float64](b, "Max", "Float64")
	t.counts = addArray(b, "BucketCounts", native.NewFixed[uint64]("UInt64"))
	t.bounds = addArray(b, "ExplicitBounds", native.NewFixed[float64]("Float64"))
	t.temporality = addFixed[int32](b, "AggregationTemporality", "Int32")
	t.exemplars = newExemplarColumns(b)
	t.end()
	return t
}

type histogram struct {
	point
	count         uint64
	sum, min, max optional
	counts        []uint64
	bounds        []uint64 // the bits of doubles
}

// fits reports whether there is one more count than bounds, or nothing of both.
func (p *histogram) fits() bool {
	return len(p.counts) == len(p.bounds)+1 || len(p.counts)+len(p.bounds) == 0
}

// histogramPoint reads a HistogramDataPoint and appends its row.
func (d *Decoder) histogramPoint(b []byte, wire int) error {
	t := d.metrics.hist
	p := &t.point
	*p = histogram{counts: p.counts[:0], bounds: p.bounds[:0]}
	if err := d.readHistogram(p, b); err != nil {
		return err
	}
	if !p.fits() {
		if p.noValue() {
			p.counts, p.bounds = p.counts[:0], p.bounds[:0] // without a value its other fields do not count
		} else if d.bad == none {
			d.bad = InvalidBuckets
		}
	}
	if !d.admitPoint(&t.metricTable, &p.point, wire, 0) {
		t.exemplars.DropRow()
		return nil
	}
	t.count.Append(p.count)
	appendOptional(t.sum, p.sum, p.noValue())
	appendOptional(t.min, p.min, p.noValue())
	appendOptional(t.max, p.max, p.noValue())
	appendRow(t.counts, p.counts)
	for _, bits := range p.bounds {
		t.bounds.Elem.Append(math.Float64frombits(bits))
	}
	t.bounds.EndRow()
	t.exemplars.EndRow()
	return t.attrs.end(d, b, tagHistAttr)
}

// appendRow adds the row vals.
func appendRow[T native.Number](c *native.Array[*native.Fixed[T]], vals []T) {
	c.Elem.AppendAll(vals)
	c.EndRow()
}

func (d *Decoder) readHistogram(p *histogram, b []byte) error {
	for i := 0; i < len(b); {
		tag, num, msg, next := nextField(b, i)
		if i = next; i < 0 {
			return ErrMalformed
		}
		var err error
		switch tag {
		case tagPointStart:
			p.start = num
		case tagPointTime:
			p.time = num
		case tagPointCount:
			p.count = num
		case tagPointSum:
			p.sum = someDouble(num)
		case tagHistMin:
			p.min = someDouble(num)
		case tagHistMax:
			p.max = someDouble(num)
		case tagHistCounts:
			p.counts = append(p.counts, num)
		case tagHistCountsPacked:
			p.counts, err = appendPacked64(p.counts, msg)
		case tagHistBounds:
			p.bounds = append(p.bounds, num)
		case tagHistBoundsPacked:
			p.bounds, err = appendPacked64(p.bounds, msg)
		case tagHistFlags:
			p.flags = uint32(num)
		case tagHistAttr:
			err = d.metrics.hist.attrs.add(d, msg)
		case tagHistExemplar:
			err = d.metrics.hist.exemplars.add(d, msg)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func someDouble(bits uint64) optional { return optional{math.Float64frombits(bits), true} }

// appendPacked64 appends a packed list of 64-bit values, whose length must be a multiple of theirs.
func appendPacked64(list []uint64, b []byte) ([]uint64, error) {
	if len(b)%8 != 0 {
		return list, ErrMalformed
	}
	from := len(list)
	list = slices.Grow(list, len(b)/8)[:from+len(b)/8]
	for i := range list[from:] {
		list[from+i] = binary.LittleEndian.Uint64(b[8*i:])
	}
	return list, nil
}
