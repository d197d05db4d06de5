package query

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/headgate-io/headgate/internal/tenant"
	"github.com/headgate-io/headgate/storage/schema"
)

// Points says which points of which series a statement reads.
type Points struct {
	Start, End time.Time // half-open
	Tenants    []string  // of the scope's; nil is all
	Table      string    // one of the five metric tables of package schema
	Names      []string  // of metrics, as OpenTelemetry has them; nil is any
	IDs        []uint64  // of series; nil is any. At most MaxIDs
	Starts     bool      // read start times too, of numbers; the others always have them
	Limit      int       // most rows, one per series
}

// MaxIDs is how many ids of series a statement takes.
const MaxIDs = 2500

// staleNaN is the value of a point that only says that its series ended: Prometheus' NaN for it.
const staleNaN = "reinterpretAsFloat64(toUInt64(9218868437227405314))"

// What a point is, per kind. Times are Int64 nanoseconds, counts are UInt64, lists are arrays.
//
// Numbers are sent as arrays of one column each, which ClickHouse makes much faster than an array of tuples.
var (
	noValue = "bitAnd(Flags, 1)"
	number  = []string{"toUnixTimestamp64Nano(TimeUnix)", "if(" + noValue + " = 1, " + staleNaN + ", ifNull(Value, ifNull(toFloat64(ValueInt), 0)))"}

	pointColumns = map[string][]string{
		schema.MetricsGauge: number,
		schema.MetricsSum:   number,
		schema.MetricsHistogram: {
			"toUnixTimestamp64Nano(TimeUnix)", "toUnixTimestamp64Nano(StartTimeUnix)", noValue,
			"Count", "isNotNull(Sum)", "ifNull(Sum, 0)", "BucketCounts", "ExplicitBounds",
		},
		schema.MetricsExponentialHistogram: {
			"toUnixTimestamp64Nano(TimeUnix)", "toUnixTimestamp64Nano(StartTimeUnix)", noValue,
			"Count", "isNotNull(Sum)", "ifNull(Sum, 0)", "Scale", "ZeroCount", "ZeroThreshold",
			"PositiveOffset", "PositiveBucketCounts", "NegativeOffset", "NegativeBucketCounts",
		},
		schema.MetricsSummary: {
			"toUnixTimestamp64Nano(TimeUnix)", "toUnixTimestamp64Nano(StartTimeUnix)", noValue,
			"Count", "Sum", "`ValueAtQuantiles.Quantile`", "`ValueAtQuantiles.Value`",
		},
	}
)

const startTime = "toUnixTimestamp64Nano(StartTimeUnix)"

// PrintPoints makes the statement that reads points grouped by their series: TenantId, SeriesId (UInt64), then an array
// per column of the kind, all of one length, in no particular order of time. It is for the encoding Binary. Columns:
//
//   - gauges and sums: time, value; with Starts, start time. A point without a recorded value has Prometheus' stale NaN.
//   - histograms: time, start time, whether it has no recorded value (UInt8 in a UInt32), count, whether it has a sum, sum,
//     bucket counts, bounds.
//   - exponential histograms: the same to the sum, then scale, zero count, zero threshold, positive offset and counts,
//     negative offset and counts.
//   - summaries: time, start time, whether it has no recorded value, count, sum, quantiles, their values.
//
// Errors are as those of Print.
func PrintPoints(scope tenant.Scope, s Points) (Stmt, error) {
	p, where, err := newPointPrinter(scope, s)
	if err != nil {
		return Stmt{}, err
	}
	columns := pointColumns[s.Table]
	if s.Starts && (s.Table == schema.MetricsGauge || s.Table == schema.MetricsSum) {
		columns = append(columns[:len(columns):len(columns)], startTime)
	}
	inner, outer := []string{"TenantId", "SeriesId"}, []string{"TenantId", "SeriesId"}
	for i, c := range columns {
		inner = append(inner, fmt.Sprintf("%s AS c%d", c, i+1))
		outer = append(outer, fmt.Sprintf("groupArray(c%d)", i+1))
	}
	return p.binary(scope, "SELECT "+strings.Join(outer, ", ")+" FROM ("+
		p.read(inner, s.Table, timeColumn(s.Table), p.start, p.end, where)+") GROUP BY TenantId, SeriesId")
}

// PrintPresence makes the statement that tells when series had points: TenantId, SeriesId (UInt64), and the last time in
// milliseconds (Int64) of each whole minute of UTC in which it had any, as an array. It is for the encoding Binary. Errors
// are as those of Print.
func PrintPresence(scope tenant.Scope, s Points) (Stmt, error) {
	p, where, err := newPointPrinter(scope, s)
	if err != nil {
		return Stmt{}, err
	}
	inner := []string{"TenantId", "SeriesId", "toUnixTimestamp64Milli(TimeUnix) AS c1"}
	return p.binary(scope, "SELECT TenantId, SeriesId, groupArray(c2) FROM (SELECT TenantId, SeriesId, max(c1) AS c2 FROM ("+
		p.read(inner, s.Table, timeColumn(s.Table), p.start, p.end, where)+
		") GROUP BY TenantId, SeriesId, intDiv(c1, 60000)) GROUP BY TenantId, SeriesId")
}

// PrintExemplars makes the statement that reads the exemplars of points, grouped by series: TenantId, SeriesId (UInt64),
// and an array per point that has any, of tuples of time (Int64, nanoseconds), value, TraceId, SpanId and
// FilteredAttributes. It is for the encoding Binary. Errors are as those of Print; summaries have none.
func PrintExemplars(scope tenant.Scope, s Points) (Stmt, error) {
	if s.Table == schema.MetricsSummary {
		return Stmt{}, errors.New("BUG: summaries have no exemplars")
	}
	p, where, err := newPointPrinter(scope, s)
	if err != nil {
		return Stmt{}, err
	}
	where = append(where, "notEmpty(`Exemplars.TimeUnix`)")
	inner := []string{"TenantId", "SeriesId", "arrayMap((t, v, n, i, s, a) -> (toUnixTimestamp64Nano(t), ifNull(v, ifNull(toFloat64(n), 0)), i, s, a), " +
		"`Exemplars.TimeUnix`, `Exemplars.Value`, `Exemplars.ValueInt`, `Exemplars.TraceId`, `Exemplars.SpanId`, `Exemplars.FilteredAttributes`) AS c1"}
	return p.binary(scope, "SELECT TenantId, SeriesId, groupArray(c1) FROM ("+
		p.read(inner, s.Table, timeColumn(s.Table), p.start, p.end, where)+") GROUP BY TenantId, SeriesId")
}

// newPointPrinter returns a printer and the conditions of a read of points.
func newPointPrinter(scope tenant.Scope, s Points) (*printer, []string, error) {
	if pointColumns[s.Table] == nil {
		return nil, nil, fmt.Errorf("BUG: %q is no table of points", s.Table)
	}
	p, err := newSeriesPrinter(scope, s.Tenants, s.Start, s.End, s.Limit)
	if err != nil {
		return nil, nil, err
	}
	where := p.buckets(s.Table)
	if s.Names != nil {
		where = append(where, "MetricName IN "+p.params.texts(s.Names))
	}
	if s.IDs != nil {
		where = append(where, "SeriesId IN "+p.params.uint64s(s.IDs))
	}
	return p, where, nil
}

// bounds are the lists of points that become labels.
var bounds = map[string]string{
	schema.MetricsHistogram: "ExplicitBounds",
	schema.MetricsSummary:   "`ValueAtQuantiles.Quantile`",
}

// PrintBounds makes the statement that reads which bounds the points of histograms, or which quantiles those of summaries,
// have: TenantId, SeriesId (UInt64) and the distinct bounds in no particular order, an array of Float64. It is for the
// encoding Binary. Errors are as those of Print.
func PrintBounds(scope tenant.Scope, s Points) (Stmt, error) {
	column, ok := bounds[s.Table]
	if !ok {
		return Stmt{}, fmt.Errorf("BUG: points of %q have no bounds", s.Table)
	}
	p, where, err := newPointPrinter(scope, s)
	if err != nil {
		return Stmt{}, err
	}
	inner := []string{"TenantId", "SeriesId", column + " AS c1"}
	return p.binary(scope, "SELECT TenantId, SeriesId, groupUniqArrayArray(c1) FROM ("+
		p.read(inner, s.Table, timeColumn(s.Table), p.start, p.end, where)+") GROUP BY TenantId, SeriesId")
}
