package query

import (
	"errors"
	"fmt"
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
	Bare       bool      // leave the lists of histograms and summaries empty
	Windows    Windows   // leave out what is in none of these
	Limit      int       // most rows: points of PrintPoints, series of the others
}

// Windows are stretches of time: the Length milliseconds up to and with At, and those before and after it by Every, a whole number of
// times. With the zero value all time is in them.
type Windows struct{ At, Every, Length int64 }

// MaxIDs is how many ids of series a statement takes.
const MaxIDs = 2500

// staleNaN is the value of a point that only says that its series ended: Prometheus' NaN for it.
const staleNaN = "reinterpretAsFloat64(toUInt64(9218868437227405314))"

// What a point is, per kind. Times are Int64 nanoseconds, counts are UInt64, lists are arrays.
var (
	noValue = "bitAnd(Flags, 1)"
	number  = []string{"toUnixTimestamp64Nano(TimeUnix)", "if(" + noValue + " = 1, " + staleNaN + ", ifNull(Value, ifNull(toFloat64(ValueInt), 0)))"}

	pointColumns = map[string][]string{
		schema.MetricsGauge: number,
		schema.MetricsSum:   number,
		schema.MetricsHistogram: {
			"toUnixTimestamp64Nano(TimeUnix)", startTime, noValue, "Count", "isNotNull(Sum)", "ifNull(Sum, 0)", "BucketCounts", "ExplicitBounds",
		},
		schema.MetricsExponentialHistogram: {
			"toUnixTimestamp64Nano(TimeUnix)", startTime, noValue, "Count", "isNotNull(Sum)", "ifNull(Sum, 0)", "Scale", "ZeroCount", "ZeroThreshold",
			"PositiveOffset", "PositiveBucketCounts", "NegativeOffset", "NegativeBucketCounts",
		},
		schema.MetricsSummary: {
			"toUnixTimestamp64Nano(TimeUnix)", startTime, noValue, "Count", "Sum", "`ValueAtQuantiles.Quantile`", "`ValueAtQuantiles.Value`",
		},
	}
)

// emptyList is what stands for a list that is not needed.
var emptyList = map[string]string{
	"BucketCounts": "emptyArrayUInt64()", "ExplicitBounds": "emptyArrayFloat64()",
	"`ValueAtQuantiles.Quantile`": "emptyArrayFloat64()", "`ValueAtQuantiles.Value`": "emptyArrayFloat64()",
}

const startTime = "toUnixTimestamp64Nano(StartTimeUnix)"

// PrintPoints makes the statement that reads points, each a row, in no particular order: sending them as they lie costs the
// engine half of what grouping them by series does. It is for the encoding Columns. Columns: SeriesId, and
//
//   - of gauges and sums: time, value; with Starts, start time. A point without a recorded value has Prometheus' stale NaN.
//   - of histograms: time, start time, whether it has no recorded value (UInt32), count, whether it has a sum (UInt8), sum,
//     bucket counts, bounds.
//   - of exponential histograms: the same to the sum, then scale, zero count, zero threshold, positive offset and counts,
//     negative offset and counts.
//   - of summaries: time, start time, whether it has no recorded value, count, sum, quantiles, their values.
//
// If more than one of the scope's tenants is read, the last column is the place of the point's among them, from 1 (UInt64).
// Errors are as those of Print.
func PrintPoints(scope tenant.Scope, s Points) (Stmt, error) {
	p, where, err := newPointPrinter(scope, s)
	if err != nil {
		return Stmt{}, err
	}
	list := append([]string{"SeriesId"}, pointColumns[s.Table]...)
	for i, c := range list {
		if empty := emptyList[c]; s.Bare && empty != "" {
			list[i] = empty
		}
	}
	if w := s.Windows; w.Every > w.Length {
		where = append(where, fmt.Sprintf("positiveModulo(%s - toUnixTimestamp64Milli(TimeUnix), %s) < %s", p.params.int64(w.At), p.params.int64(w.Every), p.params.int64(w.Length)))
	}
	if s.Starts && (s.Table == schema.MetricsGauge || s.Table == schema.MetricsSum) {
		list = append(list, startTime)
	}
	if len(narrow(scope, s.Tenants).Strings()) > 1 {
		list = append(list, "indexOf("+p.tenants+", TenantId)")
	}
	return p.binary(scope, p.read(list, s.Table, nil, timeColumn(s.Table), p.start, p.end, where))
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
		p.read(inner, s.Table, nil, timeColumn(s.Table), p.start, p.end, where)+
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
		p.read(inner, s.Table, nil, timeColumn(s.Table), p.start, p.end, where)+") GROUP BY TenantId, SeriesId")
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
	} else {
		where = append(where, "SeriesId != 0") // of before series were known
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
		p.read(inner, s.Table, nil, timeColumn(s.Table), p.start, p.end, where)+") GROUP BY TenantId, SeriesId")
}
