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
	quantiles *native.Array[*native.Fixed[float64]]
	values    *native.Array[*native.Fixed[float64]]

	point summary // the point in hand
}

func newSummaryTable() *summaryTable {
	t := &summaryTable{}
	t.begin(schema.MetricsSummary, 160)
	b := &t.b
	t.count = addFixed[uint64](b, "Count", "UInt64")
	t.sum = addFixed[float64](b, "Sum", "Float64")
	t.quantiles = addArray(b, "ValueAtQuantiles.Quantile", native.NewFixed[float64]("Float64"))
	t.values = addArray(b, "ValueAtQuantiles.Value", native.NewFixed[float64]("Float64"))
	t.end()
	return t
}

type summary struct {
	point
	count             uint64
	sum               float64
	quantiles, values []float64
}

// summaryPoint reads a SummaryDataPoint and appends its row.
func (d *Decoder) summaryPoint(b []byte, wire int) error {
	t := d.metrics.summary
	p := &t.point
	*p = summary{quantiles: p.quantiles[:0], values: p.values[:0]}
	if err := d.readSummary(p, b); err != nil {
		return err
	}
	if !d.admitPoint(&t.metricTable, &p.point, wire, 16*len(p.values)) {
		return nil
	}
	t.count.Append(p.count)
	t.sum.Append(p.sum)
	appendRow(t.quantiles, p.quantiles)
	appendRow(t.values, p.values)
	return t.attrs.end(d, b, tagSummaryAttr)
}

func (d *Decoder) readSummary(p *summary, b []byte) error {
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
			p.sum = math.Float64frombits(num)
		case tagSummaryFlags:
			p.flags = uint32(num)
		case tagSummaryQuantile:
			err = p.readQuantile(msg)
		case tagSummaryAttr:
			err = d.metrics.summary.attrs.add(d, msg)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func (p *summary) readQuantile(b []byte) error {
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
		}
	}
	p.quantiles = append(p.quantiles, quantile)
	p.values = append(p.values, value)
	return nil
}
