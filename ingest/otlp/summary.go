package otlp

import (
	"math"

	"github.com/headgate-io/headgate/storage/native"
	"github.com/headgate-io/headgate/storage/schema"
)

// Fields of SummaryDataPoint and ValueAtQuantile.
const (
	tagSummaryQuantile = 6<<3 | wireBytes
	tagSummaryAttr     = 7<<3 | wireBytes
	tagSummaryFlags    = 8<<3 | wireVarint

	tagQuantile      = 1<<3 | wire64
	tagQuantileValue = 2<<3 | wire64
)

type summaryTable struct {
	metricTable

	count     *native.Fixed[uint64]
	sum       *native.Fixed[float64]
	quantiles *native.Array[float64]
	values    *native.Array[float64]
}

func newSummaryTable() *summaryTable {
	t := &summaryTable{}
	t.begin(schema.MetricsSummary, seriesSummary, 160)
	b := &t.b
	t.count = addFixed[uint64](b, "Count", "UInt64")
	t.sum = addFixed[float64](b, "Sum", "Float64")
	t.quantiles = addArray[float64](b, "ValueAtQuantiles.Quantile", "Float64")
	t.values = addArray[float64](b, "ValueAtQuantiles.Value", "Float64")
	t.end()
	return t
}

type summary struct {
	point
	count uint64
	sum   float64
}

// summaryPoint reads a SummaryDataPoint and appends its row.
func (d *Decoder) summaryPoint(b []byte, wire int) error {
	t := d.metrics.summary
	var p summary
	if err := d.readSummary(&p, b); err != nil {
		return err
	}
	if !d.admitPoint(&t.metricTable, &p.point, wire, 16*t.values.Begun()) {
		t.quantiles.DropRow()
		t.values.DropRow()
		return nil
	}
	t.count.Append(p.count)
	t.sum.Append(p.sum)
	t.quantiles.EndRow()
	t.values.EndRow()
	return d.endPoint(&t.metricTable, b, tagSummaryAttr)
}

func (d *Decoder) readSummary(p *summary, b []byte) error {
	t := d.metrics.summary
	for i := 0; ; {
		if i = t.attrs.addRun(b, i, tagSummaryAttr); i == len(b) {
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
			p.sum = math.Float64frombits(num)
		case tagSummaryFlags:
			p.flags = uint32(num)
		case tagSummaryQuantile:
			err = t.readQuantile(d, msg)
		case tagSummaryAttr:
			err = t.attrs.add(d, msg)
		default:
			d.res.UnknownFields++
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func (t *summaryTable) readQuantile(d *Decoder, b []byte) error {
	var quantile, value float64
	for i := 0; i < len(b); {
		tag, num, _, next := nextField(b, i)
		if i = next; i < 0 {
			return ErrMalformed
		}
		switch tag {
		case tagQuantile:
			quantile = math.Float64frombits(num)
		case tagQuantileValue:
			value = math.Float64frombits(num)
		default:
			d.res.UnknownFields++
		}
	}
	t.quantiles.Elem.Append(quantile)
	t.values.Elem.Append(value)
	return nil
}
