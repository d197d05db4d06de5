package storage

import (
	"errors"
	"fmt"
	"io"

	"github.com/headgate-io/headgate/storage/native"
	"github.com/headgate-io/headgate/storage/schema"
)

// seriesKinds are the tables of points, and what otel_metrics_series calls their kind.
var seriesKinds = map[string]string{
	schema.MetricsGauge: "gauge", schema.MetricsSum: "sum", schema.MetricsHistogram: "histogram",
	schema.MetricsExponentialHistogram: "exponential_histogram", schema.MetricsSummary: "summary",
}

const secondsPerDay = 86400

// points are the first columns of a block of points: all that tells whether its series are known.
type points struct {
	rows      int
	tenant    string
	placement string
	retention uint64 // of all rows: they are of one request
	received  uint64 // seconds, of all rows
	ids       *native.Values
	times     *native.Values // nanoseconds
}

// errNoSeries says that the points of a block have no series ids: they are of before there were any.
var errNoSeries = errors.New("points without series ids")

// readPoints reads as far as it must of the block that r is at the beginning of.
func readPoints(r *native.Reader, h head, t tableHead) (points, error) {
	p := points{rows: t.rows, tenant: h.tenant, placement: t.partition}
	for p.ids == nil || p.times == nil {
		name, c, err := r.Next()
		switch {
		case err != nil:
			return points{}, err
		case name == "RetentionDays":
			p.retention = c.Uint64(0)
		case name == "ReceivedAt":
			p.received = c.Uint64(0)
		case name == "SeriesId":
			p.ids = c
		case name == "TimeUnix":
			if p.ids == nil {
				return points{}, errNoSeries
			}
			p.times = c
		}
	}
	return p, nil
}

// series returns the series of row i: its place, and its id there.
func (p *points) series(i int) (seriesPlace, uint64) {
	return seriesPlace{p.tenant, p.placement, uint16(p.retention), uint16(p.received / secondsPerDay), p.day(i)}, p.ids.Uint64(i)
}

func (p *points) day(i int) uint16 { return uint16(p.times.Uint64(i) / (secondsPerDay * 1e9)) }

// known reports whether known has the series of every point.
func (p *points) known(known *knownSeries) bool {
	var ids map[uint64]struct{}
	var day uint16
	for i := range p.rows {
		if d := p.day(i); i == 0 || d != day {
			place, _ := p.series(i)
			ids, day = known.at(place), d
		}
		if _, ok := ids[p.ids.Uint64(i)]; !ok {
			return false
		}
	}
	return true
}

// seriesRows are rows of otel_metrics_series under construction.
type seriesRows struct {
	n   int
	b   native.Builder
	new *knownSeries // which series the rows are of

	tenant, placement, kind *native.LowCardinality
	texts                   []textColumn
	retention, day          *native.Fixed[uint16]
	received                *native.Fixed[uint32]
	id                      *native.Fixed[uint64]
	temporality             *native.Fixed[int32]
	monotonic               *native.Fixed[uint8]
	attrs, scopeAttrs       *native.Map[*native.String]
	resource                *native.Map[*native.LowCardinality]
}

// textColumn is a column that is copied from that of the same name.
type textColumn struct {
	name string
	from *native.Values // of the block in hand
	to   *native.LowCardinality
}

func newSeriesRows() *seriesRows {
	s := &seriesRows{new: newKnownSeries(0)}
	low := func(name string) *native.LowCardinality {
		c := native.NewLowCardinality()
		s.b.Add(name, c)
		return c
	}
	copied := func(names ...string) {
		for _, name := range names {
			s.texts = append(s.texts, textColumn{name: name, to: low(name)})
		}
	}
	s.tenant, s.placement = low("TenantId"), low("Partition")
	s.retention = addFixed[uint16](&s.b, "RetentionDays", "UInt16")
	s.received = addFixed[uint32](&s.b, "ReceivedAt", "DateTime('UTC')")
	s.day = addFixed[uint16](&s.b, "Day", "Date")
	copied("MetricName")
	s.id = addFixed[uint64](&s.b, "SeriesId", "UInt64")
	s.kind = low("Kind")
	copied("MetricUnit", "MetricDescription")
	s.temporality = addFixed[int32](&s.b, "AggregationTemporality", "Int32")
	s.monotonic = addFixed[uint8](&s.b, "IsMonotonic", "Bool")
	s.attrs = native.NewMap(native.NewLowCardinality(), native.NewString())
	s.b.Add("Attributes", s.attrs)
	copied("ServiceName")
	s.resource = native.NewMap(native.NewLowCardinality(), native.NewLowCardinality())
	s.b.Add("ResourceAttributes", s.resource)
	copied("ScopeName", "ScopeVersion", "ScopeSchemaUrl")
	s.scopeAttrs = native.NewMap(native.NewLowCardinality(), native.NewString())
	s.b.Add("ScopeAttributes", s.scopeAttrs)
	return s
}

func addFixed[T native.Number](b *native.Builder, name, typ string) *native.Fixed[T] {
	c := native.NewFixed[T](typ)
	b.Add(name, c)
	return c
}

func (s *seriesRows) reset() {
	s.n, s.new = 0, newKnownSeries(0)
	s.b.Reset()
}

// add adds a row for each series of the block that neither known has nor a row was added for.
func (s *seriesRows) add(r *native.Reader, b native.Block, h head, t tableHead, known *knownSeries) error {
	r.Reset(b)
	p, err := readPoints(r, h, t)
	if errors.Is(err, errNoSeries) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("read points of %s: %w", t.table, err)
	}
	cols := map[string]*native.Values{}
	for {
		name, c, err := r.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return fmt.Errorf("read points of %s: %w", t.table, err)
		}
		cols[name] = c
	}
	for _, name := range [...]string{"Attributes", "ResourceAttributes", "ScopeAttributes"} {
		if cols[name] == nil {
			return fmt.Errorf("read points of %s: no column %s", t.table, name)
		}
	}
	for i := range s.texts {
		c := &s.texts[i]
		if c.from = cols[c.name]; c.from == nil {
			return fmt.Errorf("read points of %s: no column %s", t.table, c.name)
		}
	}
	for i := range p.rows {
		place, id := p.series(i)
		if _, ok := known.at(place)[id]; !ok && s.new.add(place, id) {
			s.addRow(place, id, uint32(p.received), seriesKinds[t.table], cols, i)
		}
	}
	return nil
}

// addRow adds the series id, which row i of cols is a point of.
func (s *seriesRows) addRow(place seriesPlace, id uint64, received uint32, kind string, cols map[string]*native.Values, i int) {
	s.n++
	s.tenant.Append([]byte(place.tenant))
	s.placement.Append([]byte(place.placement))
	s.retention.Append(place.retention)
	s.received.Append(received)
	s.day.Append(place.day)
	s.id.Append(id)
	s.kind.Append([]byte(kind))
	for j := range s.texts {
		c := &s.texts[j]
		c.to.Restart()
		c.to.Append(c.from.Text(i))
	}
	// Gauges and summaries have neither.
	var temporality, monotonic uint64
	if c := cols["AggregationTemporality"]; c != nil {
		temporality = c.Uint64(i)
	}
	if c := cols["IsMonotonic"]; c != nil {
		monotonic = c.Uint64(i)
	}
	s.temporality.Append(int32(temporality))
	s.monotonic.Append(uint8(monotonic))
	copyMap(s.attrs, cols["Attributes"], i)
	copyMap(s.resource, cols["ResourceAttributes"], i)
	copyMap(s.scopeAttrs, cols["ScopeAttributes"], i)
}

// copyMap adds row i of from to the column to.
func copyMap[V interface {
	native.Flat
	Append([]byte)
}](to *native.Map[V], from *native.Values, i int) {
	to.Keys.Restart() // rows have much the same keys
	for k, end := from.Row(i); k < end; k++ {
		to.Keys.Append(from.Keys().Text(k))
		to.Vals.Append(from.Elems().Text(k))
	}
	to.EndRow()
}
