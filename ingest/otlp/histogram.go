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
	counts        *native.Array[uint64]
	bounds        *native.Array[float64]
	exemplars     *exemplarColumns
}

func newHistogramTable() *histogramTable {
	t := &histogramTable{}
	t.begin(schema.MetricsHistogram, seriesHistogram, 192)
	b := &t.b
	t.count = addFixed[uint64](b, "Count", "UInt64")
	t.sum = addNullable[float64](b, "Sum", "Float64")
	t.min = addNullable[float64](b, "Min", "Float64")
	t.max = addNullable[float64](b, "Max", "Float64")
	t.counts = addArray[uint64](b, "BucketCounts", "UInt64")
	t.bounds = addArray[float64](b, "ExplicitBounds", "Float64")
	t.addTemporality()
	t.exemplars = newExemplarColumns(b)
	t.end()
	return t
}

type histogram struct {
	point
	count         uint64
	sum, min, max optional
}

// histogramPoint reads a HistogramDataPoint and appends its row.
func (d *Decoder) histogramPoint(b []byte, wire int) error {
	t := d.metrics.hist
	var p histogram
	if err := d.readHistogram(&p, b); err != nil {
		return err
	}
	if !t.bucketsFit() {
		if p.noValue() {
			t.dropBuckets() // without a value its other fields do not count
		} else if d.bad == none {
			d.bad = InvalidBuckets
		}
	}
	if !d.admitPoint(&t.metricTable, &p.point, wire, 0) {
		t.dropBuckets()
		t.exemplars.DropRow()
		return nil
	}
	t.count.Append(p.count)
	appendOptional(t.sum, p.sum, p.noValue())
	appendOptional(t.min, p.min, p.noValue())
	appendOptional(t.max, p.max, p.noValue())
	t.counts.EndRow()
	t.bounds.EndRow()
	t.exemplars.EndRow(t.rows - 1)
	return d.endPoint(&t.metricTable, b, tagHistAttr)
}

// bucketsFit reports whether the row in hand has one more count than bounds, or nothing of both.
func (t *histogramTable) bucketsFit() bool {
	counts, bounds := t.counts.Begun(), t.bounds.Begun()
	return counts == bounds+1 || counts+bounds == 0
}

func (t *histogramTable) dropBuckets() {
	t.counts.DropRow()
	t.bounds.DropRow()
}

func (d *Decoder) readHistogram(p *histogram, b []byte) error {
	t := d.metrics.hist
	for i := 0; ; {
		if i = t.attrs.addRun(b, i, tagHistAttr); i == len(b) {
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
		case tagPointCount:
			p.count = num
		case tagPointSum:
			p.sum = someDouble(num)
		case tagHistMin:
			p.min = someDouble(num)
		case tagHistMax:
			p.max = someDouble(num)
		case tagHistCounts:
			t.counts.Elem.Append(num)
		case tagHistCountsPacked:
			err = appendPacked64(t.counts, msg)
		case tagHistBounds:
			t.bounds.Elem.Append(math.Float64frombits(num))
		case tagHistBoundsPacked:
			err = appendPacked64(t.bounds, msg)
		case tagHistFlags:
			p.flags = uint32(num)
		case tagHistAttr:
			err = t.attrs.add(d, msg)
		case tagHistExemplar:
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

func someDouble(bits uint64) optional { return optional{math.Float64frombits(bits), true} }

// appendPacked64 adds a packed list of 64-bit values to the row in hand. Its length must be a multiple of theirs.
func appendPacked64[T uint64 | int64 | float64](c *native.Array[T], b []byte) error {
	if len(b)%8 != 0 {
		return ErrMalformed
	}
	c.Elem.AppendLittleEndian(b)
	return nil
}
