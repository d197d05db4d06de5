package otlp

import (
	"math"

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
	bounds        []float64
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
	appendRow(t.bounds, p.bounds)
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
		var tag, n uint64
		var f float64
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
		case tagPointCount:
			p.count, i = fixed64(b, i)
		case tagPointSum:
			p.sum, i = someDouble(b, i)
		case tagHistMin:
			p.min, i = someDouble(b, i)
		case tagHistMax:
			p.max, i = someDouble(b, i)
		case tagHistCounts:
			n, i = fixed64(b, i)
			p.counts = append(p.counts, n)
		case tagHistCountsPacked:
			msg, i = packed64(b, i)
			for ; len(msg) >= 8; msg = msg[8:] {
				n, _ = fixed64(msg, 0)
				p.counts = append(p.counts, n)
			}
		case tagHistBounds:
			f, i = double(b, i)
			p.bounds = append(p.bounds, f)
		case tagHistBoundsPacked:
			msg, i = packed64(b, i)
			for ; len(msg) >= 8; msg = msg[8:] {
				n, _ = fixed64(msg, 0)
				p.bounds = append(p.bounds, math.Float64frombits(n))
			}
		case tagHistFlags:
			n, i = varint(b, i)
			p.flags = uint32(n)
		case tagHistAttr:
			if msg, i = block(b, i); i >= 0 {
				err = d.metrics.hist.attrs.add(d, msg)
			}
		case tagHistExemplar:
			if msg, i = block(b, i); i >= 0 {
				err = d.metrics.hist.exemplars.add(d, msg)
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

func someDouble(b []byte, i int) (optional, int) {
	v, i := double(b, i)
	return optional{v, true}, i
}

// packed64 reads a packed list of 64-bit values, whose length must be a multiple of theirs.
func packed64(b []byte, i int) ([]byte, int) {
	msg, i := block(b, i)
	if len(msg)%8 != 0 {
		return nil, -1
	}
	return msg, i
}
