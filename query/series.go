package query

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/headgate-io/headgate/internal/tenant"
	"github.com/headgate-io/headgate/storage/schema"
)

// Series says which series of metrics a statement reads. All of its conditions have to hold; a nil list is none.
type Series struct {
	Start, End time.Time // half-open; series are known by the day
	Tenants    []string  // of the scope's
	Names      []string  // of metrics, as OpenTelemetry has them
	Words      []string  // each word of the metric's name, a run of letters, digits and colons of ASCII, is one of these
	Where      []SeriesCondition
	Limit      int // most rows, one per series
}

// SeriesCondition holds for a series with one of the values in one of the places. It narrows what is read, so that a
// language whose labels are no columns need not read every series.
type SeriesCondition struct {
	Attribute []string // any attribute of its points has one of these values
	Service   []string // its service.name is one of these
	Instance  []string // its service.instance.id is one of these
}

// PrintMetricNames makes the statement that reads the distinct metrics of the series: MetricName, Kind, MetricUnit,
// AggregationTemporality (Int32), IsMonotonic (UInt8) and the greatest MetricDescription, in order. It is for the
// encoding Binary. Errors are as those of Print.
func PrintMetricNames(scope tenant.Scope, s Series) (Stmt, error) {
	p, err := newSeriesPrinter(scope, s.Tenants, s.Start, s.End, s.Limit)
	if err != nil {
		return Stmt{}, err
	}
	const by = "MetricName, Kind, MetricUnit, AggregationTemporality, IsMonotonic"
	return p.binary(scope, "SELECT "+by+", max(MetricDescription) FROM ("+
		p.series([]string{by, "MetricDescription"}, s)+") GROUP BY "+by+" ORDER BY "+by)
}

// PrintSeries makes the statement that reads series, each once: TenantId, MetricName, SeriesId (UInt64), Kind, MetricUnit,
// AggregationTemporality (Int32), IsMonotonic (UInt8), Attributes, ServiceName, the attributes service.namespace and
// service.instance.id of its resource, ScopeName, ScopeVersion, ScopeSchemaUrl and ScopeAttributes; with resource, all of
// ResourceAttributes come last. Maps are written as lists of pairs. It is for the encoding Binary. Errors are as those of
// Print.
func PrintSeries(scope tenant.Scope, s Series, resource bool) (Stmt, error) {
	p, err := newSeriesPrinter(scope, s.Tenants, s.Start, s.End, s.Limit)
	if err != nil {
		return Stmt{}, err
	}
	list := []string{
		"TenantId", "MetricName", "SeriesId", "Kind", "MetricUnit", "AggregationTemporality", "IsMonotonic", "Attributes",
		"ServiceName", "ResourceAttributes['service.namespace']", "ResourceAttributes['service.instance.id']",
		"ScopeName", "ScopeVersion", "ScopeSchemaUrl", "ScopeAttributes",
	}
	if resource {
		list = append(list, "ResourceAttributes")
	}
	return p.binary(scope, p.series(list, s)+" LIMIT 1 BY TenantId, MetricName, SeriesId")
}

// seriesTable is the table of series. Its rows have the day of their points, not a time.
const (
	seriesTable = schema.MetricsSeries
	seriesDay   = "Day"
)

// newSeriesPrinter makes a printer without a plan for those of the scope's tenants that are in narrowed.
func newSeriesPrinter(scope tenant.Scope, narrowed []string, start, end time.Time, limit int) (*printer, error) {
	// SECURITY: a scope that auth did not make reads nothing, and narrowing only takes away.
	scope = narrow(scope, narrowed)
	if !scope.Valid() {
		return nil, errors.New("print: no tenant in scope")
	}
	p := &printer{params: newParams(), bounds: Bounds{Start: start, End: end, Now: end, Limit: limit, Named: true}}
	if err := p.bounds.validate(); err != nil {
		return nil, err
	}
	p.of(scope)
	p.start, p.end, p.last = p.time(start), p.time(end), p.time(end.Add(-1))
	p.params.bytes = 0 // the cap is on what the query binds
	return p, nil
}

// narrow returns the tenants of scope that are in to; all of them where to is nil.
func narrow(scope tenant.Scope, to []string) tenant.Scope {
	if to == nil {
		return scope
	}
	return scope.Among(to)
}

// series prints the read of the series table. The days are those that the time range touches.
func (p *printer) series(list []string, s Series) string {
	var where []string
	if s.Names != nil {
		where = append(where, "MetricName IN "+p.params.texts(s.Names))
	}
	if s.Words != nil {
		where = append(where, "hasAll("+p.params.texts(s.Words)+", extractAll(MetricName, '[0-9A-Za-z:]+'))")
	}
	for _, c := range s.Where {
		var or []string
		if c.Attribute != nil {
			or = append(or, "hasAny(mapValues(Attributes), "+p.params.texts(c.Attribute)+")")
		}
		if c.Service != nil {
			or = append(or, "ServiceName IN "+p.params.texts(c.Service))
		}
		if c.Instance != nil {
			or = append(or, "ResourceAttributes['service.instance.id'] IN "+p.params.texts(c.Instance))
		}
		where = append(where, "("+strings.Join(or, " OR ")+")")
	}
	return p.read(list, seriesTable, nil, seriesDay, p.day(p.bounds.Start), p.day(p.bounds.End.Add(-1).AddDate(0, 0, 1)), where)
}

func (p *printer) day(t time.Time) string {
	// Beyond its last day the type Date begins again.
	return p.params.bind("Date", earlier(t, lastDay).UTC().Format(time.DateOnly))
}

var lastDay = time.Date(2149, 6, 6, 0, 0, 0, 0, time.UTC)

func earlier(a, b time.Time) time.Time {
	if a.Before(b) {
		return a
	}
	return b
}

// binary makes sql, with the limit at its end, a statement.
func (p *printer) binary(scope tenant.Scope, sql string) (Stmt, error) {
	sql += fmt.Sprintf(" LIMIT %d", p.bounds.Limit)
	if p.params.bytes > maxBoundBytes {
		return Stmt{}, fmt.Errorf("%w: its values take %d bytes of at most %d", ErrTooComplex, p.params.bytes, maxBoundBytes)
	}
	return Stmt{sql: sql, params: p.params.values, limit: p.bounds.Limit, scope: scope, named: true}, nil
}
