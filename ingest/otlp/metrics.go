package otlp

import (
	"github.com/headgate-io/headgate/storage/native"
	"github.com/headgate-io/headgate/storage/schema"
)

// Fields of Metric, and of the five kinds of data, which agree on the numbers.
const (
	tagMetricName     = 1<<3 | wireBytes
	tagMetricDesc     = 2<<3 | wireBytes
	tagMetricUnit     = 3<<3 | wireBytes
	tagMetricGauge    = 5<<3 | wireBytes
	tagMetricSum      = 7<<3 | wireBytes
	tagMetricHist     = 9<<3 | wireBytes
	tagMetricExpHist  = 10<<3 | wireBytes
	tagMetricSummary  = 11<<3 | wireBytes
	tagMetricMetadata = 12<<3 | wireBytes

	tagDataPoints      = 1<<3 | wireBytes
	tagDataTemporality = 2<<3 | wireVarint
	tagDataMonotonic   = 3<<3 | wireVarint
)

// metricState is the metric that the walk is in.
type metricState struct {
	name, desc, unit []byte
	metadata         attrSet
	temporality      int32
	monotonic        bool
	bad              Reason
	bytes            int
}

func (m *metricState) monotonicByte() uint8 {
	if m.monotonic {
		return 1
	}
	return 0
}

func (m *metricState) forget() {
	m.name, m.desc, m.unit = nil, nil, nil
	m.metadata.forget()
}

// metricTable is what the five metric tables have in common.
type metricTable struct {
	table

	metrics          native.Repeats // the columns of metrics, with the rows that have them already
	time             sortTime
	start            otherTime
	name, desc, unit *native.LowCardinality
	metadata         *attrMap
	attrs            *attrMap
	flags            *native.Runs[uint32]
	temporality      *native.Fixed[int32] // sums and histograms, else nil
	monotonic        *native.Fixed[uint8] // sums, else nil
}

func (t *metricTable) begin(name string, kind seriesKind, rowBytes int) {
	t.table.begin(name, rowBytes)
	b := &t.b
	t.series = addSeries(b, kind)
	t.time = addSortTime(b, "TimeUnix")
	t.start = addOtherTime(b, "StartTimeUnix")
	t.name = addRepeatedText(b, &t.metrics, "MetricName")
	t.desc = addRepeatedText(b, &t.metrics, "MetricDescription")
	t.unit = addRepeatedText(b, &t.metrics, "MetricUnit")
	t.metadata = addRepeatedAttrs(b, &t.metrics, "MetricMetadata")
	t.attrs = addAttrMap(b, "Attributes")
	t.flags = addRuns[uint32](b, "Flags", "UInt32")
}

func (t *metricTable) addTemporality() {
	t.temporality = addRepeated(&t.b, &t.metrics, "AggregationTemporality", native.NewFixed[int32]("Int32"))
}

// closeMetric gives the rows since the last call the columns of the metric they are of.
func (t *metricTable) closeMetric(d *Decoder) {
	n := t.rows - t.metrics.Rows()
	if n == 0 {
		return
	}
	m := &d.metric
	name, unit := d.intern(t.name, m.name), d.intern(t.unit, m.unit)
	t.name.AppendIndex(name)
	t.desc.AppendIndex(d.intern(t.desc, m.desc))
	t.unit.AppendIndex(unit)
	t.metadata.append(d, m.metadata.list)
	if t.temporality != nil {
		t.temporality.Append(m.temporality)
	}
	if t.monotonic != nil {
		t.monotonic.Append(m.monotonicByte())
	}
	t.metrics.EndRun(n)
	t.series.add(t.series.metricPart(t, m, name, unit), n)
}

type metricsTables struct {
	gauge   *numberTable
	sum     *numberTable
	hist    *histogramTable
	expHist *expHistogramTable
	summary *summaryTable
}

func newMetricsTables() *metricsTables {
	m := &metricsTables{
		gauge:   newNumberTable(schema.MetricsGauge, seriesGauge),
		sum:     newNumberTable(schema.MetricsSum, seriesSum),
		hist:    newHistogramTable(),
		expHist: newExpHistogramTable(),
		summary: newSummaryTable(),
	}
	known := &knownValues{}
	for _, t := range []*metricTable{
		&m.gauge.metricTable, &m.sum.metricTable, &m.hist.metricTable, &m.expHist.metricTable, &m.summary.metricTable,
	} {
		t.attrs.hashed = known
	}
	return m
}

func (m *metricsTables) all() []*table {
	return []*table{&m.gauge.table, &m.sum.table, &m.hist.table, &m.expHist.table, &m.summary.table}
}

// readMetric reads a Metric and appends a row per data point. A metric without data is accepted and is nothing.
func (d *Decoder) readMetric(b []byte) error {
	m := &d.metric
	m.name, m.desc, m.unit, m.temporality, m.monotonic = nil, nil, nil, 0, false
	m.metadata.reset()
	d.bad = none

	var data []byte
	var kind uint64       // the field of the oneof that came last
	pieces, first := 0, 0 // how often it came in a row, and from where on
	for i := 0; i < len(b); {
		at := i
		tag, _, msg, next := nextField(b, i)
		if i = next; i < 0 {
			return ErrMalformed
		}
		switch tag {
		case tagMetricName:
			m.name = msg
		case tagMetricDesc:
			m.desc = msg
		case tagMetricUnit:
			m.unit = msg
		case tagMetricMetadata:
			if err := m.metadata.add(d, msg); err != nil {
				return err
			}
		case tagMetricGauge, tagMetricSum, tagMetricHist, tagMetricExpHist, tagMetricSummary:
			if tag != kind {
				kind, pieces, first = tag, 0, at
			}
			data = msg
			pieces++
		default:
			d.res.UnknownFields++
		}
	}
	if pieces > 1 {
		var err error
		if data, err = d.merged(b[first:], kind); err != nil {
			return err
		}
	}
	m.bad, m.bytes = d.bad, m.metadata.bytes()
	return d.readData(kind, data)
}

// readData reads a Gauge, Sum, Histogram, ExponentialHistogram or Summary.
func (d *Decoder) readData(kind uint64, b []byte) error {
	for i := 0; i < len(b); {
		start := i
		tag, num, msg, next := nextField(b, i)
		if i = next; i < 0 {
			return ErrMalformed
		}
		switch tag {
		case tagDataPoints:
			if err := d.readPoint(kind, msg, i-start); err != nil {
				return err
			}
		case tagDataTemporality:
			d.metric.temporality = int32(num)
		case tagDataMonotonic:
			d.metric.monotonic = num != 0
		default:
			d.res.UnknownFields++
		}
	}
	switch kind {
	case tagMetricGauge:
		d.metrics.gauge.closeMetric(d)
	case tagMetricSum:
		d.metrics.sum.closeMetric(d)
	case tagMetricHist:
		d.metrics.hist.closeMetric(d)
	case tagMetricExpHist:
		d.metrics.expHist.closeMetric(d)
	case tagMetricSummary:
		d.metrics.summary.closeMetric(d)
	}
	return nil
}

// readPoint reads one data point, which took wire bytes.
func (d *Decoder) readPoint(kind uint64, msg []byte, wire int) error {
	if err := d.overrun(); err != nil {
		return err
	}
	d.bad, d.items = none, 0
	switch kind {
	case tagMetricGauge:
		return d.numberPoint(d.metrics.gauge, msg, wire)
	case tagMetricSum:
		return d.numberPoint(d.metrics.sum, msg, wire)
	case tagMetricHist:
		return d.histogramPoint(msg, wire)
	case tagMetricExpHist:
		return d.expHistogramPoint(msg, wire)
	default:
		return d.summaryPoint(msg, wire)
	}
}

// point is what data points of all kinds have, beside attributes and exemplars.
type point struct {
	start, time uint64
	flags       uint32
}

// noRecordedValue is the flag of a point that only says that its series ended.
const noRecordedValue = 1

func (p *point) noValue() bool { return p.flags&noRecordedValue != 0 }

// Fields that all data points have in the same place.
const (
	tagPointStart = 2<<3 | wire64
	tagPointTime  = 3<<3 | wire64
	tagPointCount = 4<<3 | wire64 // not number points
	tagPointSum   = 5<<3 | wire64 // not number points
)

// admitPoint appends what all data points have and reports true, if the point in hand is accepted; else it drops the
// attributes. extra is what the row takes beyond the point's size on the wire and its exemplars.
func (d *Decoder) admitPoint(t *metricTable, p *point, wire, extra int) bool {
	if p.time == 0 && d.bad == none {
		d.bad = NoTime
	}
	if !d.admit(&t.table, sortable(p.time), wire, extra) {
		t.attrs.drop()
		return false
	}
	t.time.append(t.rows-1, p.time)
	t.start.append(t.rows-1, p.start)
	t.flags.Set(t.rows-1, p.flags)
	return true
}

// endPoint ends the row of the point that was admitted, whose attributes are the fields tag of msg.
func (d *Decoder) endPoint(t *metricTable, msg []byte, tag uint64) error {
	err := t.attrs.end(d, msg, tag)
	t.series.Append(t.attrs.sum)
	t.attrs.sum = 0
	return err
}

// optional is a double that may be unset.
type optional struct {
	v  float64
	ok bool
}

// appendOptional adds v, or NULL if it is unset or absent says that it is not to be read.
func appendOptional(c *native.Nullable[float64], v optional, absent bool) {
	if v.ok && !absent {
		c.Append(v.v)
	} else {
		c.AppendNull()
	}
}
