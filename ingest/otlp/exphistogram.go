package otlp

import (
	"math"

	"github.com/headgate-io/headgate/storage/native"
	"github.com/headgate-io/headgate/storage/schema"
)

// Fields of ExponentialHistogramDataPoint and its Buckets.
const (
	tagExpAttr      = 1<<3 | wireBytes
	tagExpScale     = 6<<3 | wireVarint
	tagExpZeroCount = 7<<3 | wire64
	tagExpPositive  = 8<<3 | wireBytes
	tagExpNegative  = 9<<3 | wireBytes
	tagExpFlags     = 10<<3 | wireVarint
	tagExpExemplar  = 11<<3 | wireBytes
	tagExpMin       = 12<<3 | wire64
	tagExpMax       = 13<<3 | wire64
	tagExpThreshold = 14<<3 | wire64

	tagBucketsOffset       = 1<<3 | wireVarint
	tagBucketsCounts       = 2<<3 | wireVarint
	tagBucketsCountsPacked = 2<<3 | wireBytes
)

type expHistogramTable struct {
	metricTable

	count         *native.Fixed[uint64]
	sum, min, max *native.Nullable[float64]
	scale         *native.Fixed[int32]
	zeroCount     *native.Fixed[uint64]
	threshold     *native.Fixed[float64]
	posOffset     *native.Fixed[int32]
	posCounts     *native.Array[uint64]
	negOffset     *native.Fixed[int32]
	negCounts     *native.Array[uint64]
	exemplars     *exemplarColumns
}

func newExpHistogramTable() *expHistogramTable {
	t := &expHistogramTable{}
	t.begin(schema.MetricsExponentialHistogram, seriesExpHistogram, 224)
	b := &t.b
	t.count = addFixed[uint64](b, "Count", "UInt64")
	t.sum = addNullable[float64](b, "Sum", "Float64")
	t.min = addNullable[float64](b, "Min", "Float64")
	t.max = addNullable[float64](b, "Max", "Float64")
	t.scale = addFixed[int32](b, "Scale", "Int32")
	t.zeroCount = addFixed[uint64](b, "ZeroCount", "UInt64")
	t.threshold = addFixed[float64](b, "ZeroThreshold", "Float64")
	t.posOffset = addFixed[int32](b, "PositiveOffset", "Int32")
	t.posCounts = addArray[uint64](b, "PositiveBucketCounts", "UInt64")
	t.negOffset = addFixed[int32](b, "NegativeOffset", "Int32")
	t.negCounts = addArray[uint64](b, "NegativeBucketCounts", "UInt64")
	t.addTemporality()
	t.exemplars = newExemplarColumns(b)
	t.end()
	return t
}

type expHistogram struct {
	point
	count, zeroCount uint64
	sum, min, max    optional
	scale            int32
	threshold        float64
	pos, neg         int32 // the offsets of the first buckets
}

// expHistogramPoint reads an ExponentialHistogramDataPoint and appends its row.
func (d *Decoder) expHistogramPoint(b []byte, wire int) error {
	t := d.metrics.expHist
	var p expHistogram
	if err := d.readExpHistogram(&p, b); err != nil {
		return err
	}
	// A count may be one byte on the wire and is eight in the row.
	if !d.admitPoint(&t.metricTable, &p.point, wire, 8*(t.posCounts.Begun()+t.negCounts.Begun())) {
		t.posCounts.DropRow()
		t.negCounts.DropRow()
		t.exemplars.DropRow()
		return nil
	}
	t.count.Append(p.count)
	appendOptional(t.sum, p.sum, p.noValue())
	appendOptional(t.min, p.min, p.noValue())
	appendOptional(t.max, p.max, p.noValue())
	t.scale.Append(p.scale)
	t.zeroCount.Append(p.zeroCount)
	t.threshold.Append(p.threshold)
	t.posOffset.Append(p.pos)
	t.posCounts.EndRow()
	t.negOffset.Append(p.neg)
	t.negCounts.EndRow()
	t.exemplars.EndRow(t.rows - 1)
	return d.endPoint(&t.metricTable, b, tagExpAttr)
}

func (d *Decoder) readExpHistogram(p *expHistogram, b []byte) error {
	t := d.metrics.expHist
	for i := 0; ; {
		if i = t.attrs.addRun(b, i, tagExpAttr); i == len(b) {
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
		case tagExpMin:
			p.min = someDouble(num)
		case tagExpMax:
			p.max = someDouble(num)
		case tagExpScale:
			p.scale = zigzag(num)
		case tagExpZeroCount:
			p.zeroCount = num
		case tagExpThreshold:
			p.threshold = math.Float64frombits(num)
		case tagExpFlags:
			p.flags = uint32(num)
		case tagExpPositive:
			err = d.readBuckets(&p.pos, t.posCounts, msg)
		case tagExpNegative:
			err = d.readBuckets(&p.neg, t.negCounts, msg)
		case tagExpAttr:
			err = t.attrs.add(d, msg)
		case tagExpExemplar:
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

// zigzag decodes a sint32.
func zigzag(n uint64) int32 { return int32(uint32(n)>>1) ^ -int32(n&1) }

// readBuckets reads a Buckets message, one side of a histogram, and merges it with what was read before.
func (d *Decoder) readBuckets(offset *int32, counts *native.Array[uint64], b []byte) error {
	for i := 0; i < len(b); {
		tag, num, msg, next := nextField(b, i)
		if i = next; i < 0 {
			return ErrMalformed
		}
		switch tag {
		case tagBucketsOffset:
			*offset = zigzag(num)
		case tagBucketsCounts:
			counts.Elem.Append(num)
		case tagBucketsCountsPacked:
			for at := 0; at < len(msg); {
				if num, at = varint(msg, at); at < 0 {
					return ErrMalformed
				}
				counts.Elem.Append(num)
			}
		default:
			d.res.UnknownFields++
		}
	}
	return nil
}
