package prom

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"log/slog"
	"math"
	"testing"
	"time"

	"github.com/ClickHouse/clickhouse-go/v2/lib/driver"

	"github.com/headgate-io/headgate/internal/asktest"
	"github.com/headgate-io/headgate/internal/chtest"
	"github.com/headgate-io/headgate/query"
	"github.com/headgate-io/headgate/storage"
	"github.com/headgate-io/headgate/storage/schema"
)

func TestMain(m *testing.M) { chtest.Main(m) }

// database is a database with the telemetry tables, and a reader on it.
type database struct {
	t      testing.TB
	name   string
	writer driver.Conn
	reader *query.Reader
}

// patience lets queries wait and take as long as a busy machine makes them, so that no answer depends on how busy it is.
var patience = query.Limits{MaxThreads: 1, MaxExecution: asktest.Patience, MaxWait: asktest.Patience, HeavyPerTenant: 6}

func newDatabase(t testing.TB) *database {
	t.Helper()
	name := chtest.Database(t)
	engine := chtest.Start(t)
	d := &database{t: t, name: name, writer: engine.Open(t, name)}
	d.reader = query.NewReader(engine.OpenReader(t, name), query.ReaderOptions{Limits: patience})
	if err := storage.Migrate(t.Context(), d.writer, schema.Migrations, slog.New(slog.DiscardHandler)); err != nil {
		t.Fatal(err)
	}
	return d
}

// resource is what sends points, through one scope.
type resource struct {
	tenant     string
	attributes map[string]string // service.name among them
	scope      string
	version    string
}

// sent is a data point with its metric. What its kind lacks is not used.
type sent struct {
	metric
	resource
	description string
	attributes  map[string]string
	nanos       int64
	start       int64
	absent      bool // no recorded value
	value       float64
	count       uint64
	sum         float64
	noSum       bool
	bounds      []float64 // or quantiles
	buckets     []uint64
	values      []float64 // of quantiles
	exp         expPoint
	exemplars   []exemplarSent
}

type exemplarSent struct {
	nanos      int64
	value      float64
	trace      string
	attributes map[string]string
}

// send inserts points, and the rows of their series, as ingest does.
func (d *database) send(points ...sent) {
	d.t.Helper()
	tables := map[string]*rowBuffer{}
	series := &rowBuffer{}
	known := map[string]bool{}
	for _, p := range points {
		id := seriesID(p)
		day := uint16(p.nanos / int64(24*time.Hour))
		key := p.tenant + string(binary.LittleEndian.AppendUint64(nil, id)) + string(binary.LittleEndian.AppendUint16(nil, day))
		if !known[key] {
			known[key] = true
			series.series(p, id, day)
		}
		table := tableOf[p.kind]
		if tables[table] == nil {
			tables[table] = &rowBuffer{}
		}
		tables[table].point(p, id)
	}
	d.insert(schema.MetricsSeries, seriesColumns, series)
	for kind, table := range tableOf {
		if b := tables[table]; b != nil {
			d.insert(table, pointInsertColumns[kind], b)
		}
	}
}

func (d *database) insert(table, columns string, b *rowBuffer) {
	d.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	if err := d.writer.InsertFormat(ctx, "RowBinary", "INSERT INTO "+table+" ("+columns+")", bytes.NewReader(b.b)); err != nil {
		d.t.Fatalf("insert into %s: %v", table, err)
	}
}

// seriesID tells series apart as ingest's does: by everything but the tenant.
func seriesID(p sent) uint64 {
	l := newLabeller(newNamer(noTranslation), false)
	l.attributes(pairsOf(p.attributes))
	for k, v := range p.resource.attributes {
		l.set("resource "+k, v)
	}
	l.set(" rest", fmt.Sprintf("%q", []any{p.scope, p.version, p.metric}))
	return l.builder.Labels().Hash()
}

func pairsOf(m map[string]string) []pair {
	var out []pair
	for k, v := range m {
		out = append(out, pair{k, v})
	}
	return out
}

const (
	seriesColumns = "TenantId, Partition, RetentionDays, ReceivedAt, Day, MetricName, SeriesId, Kind, MetricUnit, MetricDescription, " +
		"AggregationTemporality, IsMonotonic, Attributes, ServiceName, ResourceAttributes, ScopeName, ScopeVersion"
	commonColumns = "TenantId, Partition, RetentionDays, ReceivedAt, SeriesId, TimeUnix, StartTimeUnix, MetricName, Flags, ServiceName"
)

const exemplarColumns = ", Exemplars.TimeUnix, Exemplars.Value, Exemplars.TraceId, Exemplars.SpanId, Exemplars.FilteredAttributes, Exemplars.ValueInt"

var pointInsertColumns = map[string]string{
	kindGauge:        commonColumns + ", Value" + exemplarColumns,
	kindSum:          commonColumns + ", Value" + exemplarColumns,
	kindHistogram:    commonColumns + ", Count, Sum, BucketCounts, ExplicitBounds" + exemplarColumns,
	kindSummary:      commonColumns + ", Count, Sum, ValueAtQuantiles.Quantile, ValueAtQuantiles.Value",
	kindExpHistogram: commonColumns + ", Count, Sum, Scale, ZeroCount, ZeroThreshold, PositiveOffset, PositiveBucketCounts, NegativeOffset, NegativeBucketCounts" + exemplarColumns,
}

// rowBuffer writes RowBinary.
type rowBuffer struct{ b []byte }

func (r *rowBuffer) text(s string) { r.length(len(s)); r.b = append(r.b, s...) }
func (r *rowBuffer) length(n int)  { r.b = binary.AppendUvarint(r.b, uint64(n)) }
func (r *rowBuffer) u8(n uint8)    { r.b = append(r.b, n) }
func (r *rowBuffer) u16(n uint16)  { r.b = binary.LittleEndian.AppendUint16(r.b, n) }
func (r *rowBuffer) u32(n uint32)  { r.b = binary.LittleEndian.AppendUint32(r.b, n) }
func (r *rowBuffer) u64(n uint64)  { r.b = binary.LittleEndian.AppendUint64(r.b, n) }
func (r *rowBuffer) f64(f float64) { r.u64(math.Float64bits(f)) }
func (r *rowBuffer) flag(b bool)   { r.u8(map[bool]uint8{true: 1}[b]) }
func (r *rowBuffer) null(b bool)   { r.flag(b) }
func (r *rowBuffer) counts(l []uint64) {
	r.length(len(l))
	for _, n := range l {
		r.u64(n)
	}
}

func (r *rowBuffer) floats(l []float64) {
	r.length(len(l))
	for _, f := range l {
		r.f64(f)
	}
}

func (r *rowBuffer) pairs(m map[string]string) {
	r.length(len(m))
	for k, v := range m {
		r.text(k)
		r.text(v)
	}
}

const receivedAt = 1_800_000_000

func (r *rowBuffer) stamp(p sent) {
	r.text(p.tenant)
	r.text(chtest.Partition(p.tenant))
	r.u16(3000)
	r.u32(receivedAt)
}

func (r *rowBuffer) series(p sent, id uint64, day uint16) {
	r.stamp(p)
	r.u16(day)
	r.text(p.name)
	r.u64(id)
	r.text(p.kind)
	r.text(p.unit)
	r.text(p.description)
	r.u32(uint32(p.temporality))
	r.flag(p.monotonic)
	r.pairs(p.attributes)
	r.text(p.resource.attributes[serviceName])
	r.pairs(p.resource.attributes)
	r.text(p.scope)
	r.text(p.version)
}

func (r *rowBuffer) point(p sent, id uint64) {
	r.stamp(p)
	r.u64(id)
	r.u64(uint64(p.nanos))
	r.u64(uint64(p.start))
	r.text(p.name)
	r.u32(map[bool]uint32{true: 1}[p.absent])
	r.text(p.resource.attributes[serviceName])
	switch p.kind {
	case kindGauge, kindSum:
		r.null(p.absent)
		if !p.absent {
			r.f64(p.value)
		}
	case kindHistogram, kindExpHistogram:
		r.u64(p.count)
		r.null(p.noSum)
		if !p.noSum {
			r.f64(p.sum)
		}
	case kindSummary:
		r.u64(p.count)
		r.f64(p.sum)
	}
	switch p.kind {
	case kindHistogram:
		r.counts(p.buckets)
		r.floats(p.bounds)
	case kindSummary:
		r.floats(p.bounds)
		r.floats(p.values)
		return
	case kindExpHistogram:
		r.u32(uint32(p.exp.scale))
		r.u64(p.exp.zeroCount)
		r.f64(p.exp.threshold)
		r.u32(uint32(p.exp.positive.offset))
		r.counts(p.exp.positive.counts)
		r.u32(uint32(p.exp.negative.offset))
		r.counts(p.exp.negative.counts)
	}
	n := len(p.exemplars)
	r.length(n)
	for _, e := range p.exemplars {
		r.u64(uint64(e.nanos))
	}
	r.length(n)
	for _, e := range p.exemplars {
		r.null(false)
		r.f64(e.value)
	}
	r.length(n)
	for _, e := range p.exemplars {
		r.text(e.trace)
	}
	r.length(n)
	for range p.exemplars {
		r.text("")
	}
	r.length(n)
	for _, e := range p.exemplars {
		r.pairs(e.attributes)
	}
	r.length(n)
	for range p.exemplars {
		r.null(true)
	}
}
