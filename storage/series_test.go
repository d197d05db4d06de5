package storage

import (
	"fmt"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/headgate-io/headgate/ingest/otlp"
	"github.com/headgate-io/headgate/internal/chtest"
	"github.com/headgate-io/headgate/internal/otlpgen"
	"github.com/headgate-io/headgate/internal/timetest"
	"github.com/headgate-io/headgate/storage/schema"
)

// appendMetrics acks a generated request of n points of every kind.
func (r *rig) appendMetrics(tenantID string, seed uint64, n int, received time.Time, retention uint16) {
	r.t.Helper()
	res, err := otlp.NewDecoder(otlp.Limits{}).Decode(otlp.Metrics, otlpgen.Metrics(seed, n),
		otlp.Stamp{Tenant: id(r.t, tenantID), Partition: "shared-00", RetentionDays: retention, Received: received})
	if err != nil || res.Accepted != n {
		r.t.Fatalf("decode: %d accepted, %v", res.Accepted, err)
	}
	q := Request{Tenant: id(r.t, tenantID), Signal: "metrics", Received: received}
	for i := range res.Rows {
		rows := &res.Rows[i]
		q.Rows = append(q.Rows, Rows{Table: rows.Table, Partition: "shared-00", Days: rows.Days, Block: rows.Encode()})
	}
	r.sent++
	q.Receipt = fmt.Append(nil, tenantID, "-", r.sent)
	if err := r.log.Append(q); err != nil {
		r.t.Fatalf("append: %v", err)
	}
}

// allPoints is what points of all kinds have in common with their series' rows.
var allPoints = func() string {
	var parts []string
	for _, table := range schema.Tables {
		kind := seriesKinds[table]
		if kind == "" {
			continue
		}
		temporality, monotonic := "0", "false"
		if kind != "gauge" && kind != "summary" {
			temporality = "AggregationTemporality"
		}
		if kind == "sum" {
			monotonic = "IsMonotonic"
		}
		parts = append(parts, fmt.Sprintf(`SELECT toString(TenantId) AS TenantId, toString(Partition) AS Partition,
			toDate(TimeUnix) AS Day, toString(MetricName) AS MetricName, SeriesId, '%s' AS Kind, toString(MetricUnit) AS MetricUnit,
			toString(MetricDescription) AS MetricDescription, toInt32(%s) AS AggregationTemporality, %s::Bool AS IsMonotonic, toString(Attributes) AS Attributes,
			toString(ServiceName) AS ServiceName, toString(ResourceAttributes) AS ResourceAttributes, toString(ScopeName) AS ScopeName,
			toString(ScopeVersion) AS ScopeVersion, toString(ScopeSchemaUrl) AS ScopeSchemaUrl, toString(ScopeAttributes) AS ScopeAttributes FROM %s`,
			kind, temporality, monotonic, table))
	}
	return "(" + strings.Join(parts, " UNION ALL ") + ")"
}()

const seriesColumns = `toString(TenantId), toString(Partition), Day, toString(MetricName), SeriesId, toString(Kind), toString(MetricUnit), toString(MetricDescription),
	AggregationTemporality, IsMonotonic, toString(Attributes), toString(ServiceName), toString(ResourceAttributes), toString(ScopeName), toString(ScopeVersion),
	toString(ScopeSchemaUrl), toString(ScopeAttributes)`

// wantSeries checks that otel_metrics_series has what points say of their series, and nothing else.
func (r *rig) wantSeries() {
	r.t.Helper()
	const columns = `TenantId, Partition, Day, MetricName, SeriesId, Kind, MetricUnit, MetricDescription, AggregationTemporality,
		IsMonotonic, Attributes, ServiceName, ResourceAttributes, ScopeName, ScopeVersion, ScopeSchemaUrl, ScopeAttributes`
	points := "SELECT DISTINCT " + columns + " FROM " + allPoints
	series := "SELECT DISTINCT " + seriesColumns + " FROM otel_metrics_series"
	n := scan[uint64](r.t, r.conn, "SELECT count() FROM ("+points+")")
	lacking := scan[uint64](r.t, r.conn, "SELECT count() FROM ("+points+" EXCEPT "+series+")")
	further := scan[uint64](r.t, r.conn, "SELECT count() FROM ("+series+" EXCEPT "+points+")")
	if n == 0 || lacking != 0 || further != 0 {
		r.t.Errorf("of %d series %d are lacking, and there are %d others", n, lacking, further)
	}
	if n := scan[uint64](r.t, r.conn, "SELECT count() FROM "+allPoints+" WHERE SeriesId = 0"); n != 0 {
		r.t.Errorf("%d points have no series id", n)
	}
	// An id stands for one series.
	if n := scan[uint64](r.t, r.conn, `SELECT count() FROM (SELECT SeriesId FROM `+allPoints+` GROUP BY TenantId, SeriesId
		HAVING uniqExact(MetricName, Kind, MetricUnit, Attributes, ResourceAttributes, ScopeName) > 1)`); n != 0 {
		r.t.Errorf("%d ids stand for several series", n)
	}
}

func isSeriesInsert(q *http.Request) bool {
	return strings.Contains(chtest.Statement(q), "INSERT INTO otel_metrics_series")
}

func isPointsInsert(q *http.Request) bool { return chtest.IsInsert(q) && !isSeriesInsert(q) }

func TestSeriesAreWrittenOnce(t *testing.T) {
	r := newRig(t, LogOptions{})
	var inserts atomic.Int64
	r.proxy.Choose(func(q *http.Request) chtest.Fault {
		if isSeriesInsert(q) {
			inserts.Add(1)
		}
		return chtest.Pass
	})
	r.open()
	r.run()
	now := time.Now()
	for range 3 {
		r.appendMetrics("a", 1, 500, now, 30)
		r.settled()
	}
	r.wantSeries()
	if n := inserts.Load(); n != 1 {
		t.Errorf("%d inserts of series, want 1", n)
	}
	rows := scan[uint64](t, r.conn, "SELECT count() FROM otel_metrics_series")
	if want := scan[uint64](t, r.conn, "SELECT uniqExact(SeriesId, toDate(Day)) FROM "+allPoints); rows != want {
		t.Errorf("%d rows for %d series", rows, want)
	}
	r.appendMetrics("b", 1, 500, now, 30) // the same, another tenant's
	r.appendMetrics("a", 2, 500, now, 30)
	r.settled()
	r.wantSeries()

	// A process that has started knows nothing; what it writes again is there once.
	r.restart()
	r.appendMetrics("a", 1, 500, now, 30)
	r.settled()
	r.wantSeries()
	final := scan[uint64](t, r.conn, "SELECT count() FROM otel_metrics_series FINAL WHERE TenantId = 'b'")
	if final != rows {
		t.Errorf("tenant b has %d series, a had %d", final, rows)
	}
	if n := scan[uint64](t, r.conn, "SELECT count() FROM (SELECT TenantId, MetricName, SeriesId, Day FROM otel_metrics_series FINAL GROUP BY ALL HAVING count() > 1)"); n != 0 {
		t.Errorf("%d series are there twice", n)
	}
	r.wantReceipts(6)
}

// Killed between the series and their points, at whatever point, and started again: everything is there once.
func TestSeriesAreThereBeforeTheirPoints(t *testing.T) {
	for name, fault := range map[string]func(*http.Request) chtest.Fault{
		"points refused": func(q *http.Request) chtest.Fault { return when(isPointsInsert(q), chtest.Refuse) },
		"points cut":     func(q *http.Request) chtest.Fault { return when(isPointsInsert(q), chtest.CutBody) },
		"points lost":    func(q *http.Request) chtest.Fault { return when(isPointsInsert(q), chtest.LoseAnswer) },
		"series refused": func(q *http.Request) chtest.Fault { return when(isSeriesInsert(q), chtest.Refuse) },
		"series cut":     func(q *http.Request) chtest.Fault { return when(isSeriesInsert(q), chtest.CutBody) },
		"series lost":    func(q *http.Request) chtest.Fault { return when(isSeriesInsert(q), chtest.LoseAnswer) },
		"series late":    func(q *http.Request) chtest.Fault { return when(isSeriesInsert(q), chtest.Late) },
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t, LogOptions{Timeout: 2 * time.Second})
			var faults atomic.Int64
			r.proxy.Choose(func(q *http.Request) chtest.Fault {
				f := fault(q)
				if f != chtest.Pass {
					faults.Add(1)
				}
				return f
			})
			r.open()
			r.run()
			r.appendMetrics("a", 1, 300, time.Now(), 30)
			timetest.Eventually(t, "faults", func() bool { return faults.Load() > 1 })
			r.close()
			if strings.HasPrefix(name, "series") {
				if n := scan[uint64](t, r.conn, "SELECT count() FROM "+allPoints); n != 0 {
					t.Errorf("%d points are there before their series", n)
				}
			} else if n := scan[uint64](t, r.conn, "SELECT count() FROM otel_metrics_series"); n == 0 {
				t.Error("no series are there before their points")
			}
			r.proxy.Choose(func(*http.Request) chtest.Fault { return chtest.Pass })
			r.open()
			r.run()
			r.settled()
			r.proxy.WaitLate()
			r.wantSeries()
			if n := scan[uint64](t, r.conn, "SELECT count() FROM "+allPoints); n != 300 {
				t.Errorf("%d points, want 300", n)
			}
			r.wantReceipts(1)
		})
	}
}

func when(is bool, f chtest.Fault) chtest.Fault {
	if is {
		return f
	}
	return chtest.Pass
}

// Points that come on another day, or are to be kept for longer, have their series kept as long.
func TestSeriesOutliveTheirPoints(t *testing.T) {
	r := newRig(t, LogOptions{})
	r.open()
	r.run()
	today := time.Now()
	for tenant, came := range map[string][]struct {
		at        time.Time
		retention uint16
	}{
		"later":   {{today, 30}, {today.AddDate(0, 0, 3), 30}},
		"longer":  {{today, 30}, {today, 90}},
		"shorter": {{today, 90}, {today.AddDate(0, 0, 2), 7}},
	} {
		for _, c := range came {
			r.appendMetrics(tenant, 1, 200, c.at, c.retention)
			r.settled()
		}
	}
	r.wantSeries()
	if err := r.conn.Exec(t.Context(), "OPTIMIZE TABLE otel_metrics_series FINAL"); err != nil {
		t.Fatal(err)
	}
	var tables []string
	for table := range seriesKinds {
		tables = append(tables, "SELECT TenantId, SeriesId, max(ReceivedAt + toIntervalDay(RetentionDays)) AS end FROM "+table+" GROUP BY TenantId, SeriesId")
	}
	n := scan[uint64](t, r.conn, `SELECT count() FROM (`+strings.Join(tables, " UNION ALL ")+`) AS p LEFT JOIN
		(SELECT TenantId, SeriesId, ReceivedAt + toIntervalDay(RetentionDays + 1) AS end FROM otel_metrics_series) AS s
		ON p.TenantId = s.TenantId AND p.SeriesId = s.SeriesId WHERE s.end < p.end`)
	if n != 0 {
		t.Errorf("%d series end before their points", n)
	}
}

// What is deleted with its tenant is written again for points that come later all the same, and what a gone tenant still
// has in the log is not written.
func TestDeletedTenantsHaveNoSeries(t *testing.T) {
	var gone atomic.Bool
	r := newRig(t, LogOptions{Gone: func(tenant string) bool { return tenant == "a" && gone.Load() }})
	r.open()
	r.run()
	now := time.Now()
	r.appendMetrics("a", 1, 200, now, 30)
	r.appendMetrics("b", 1, 200, now, 30)
	r.settled()
	gone.Store(true)
	r.appendMetrics("a", 2, 200, now, 30)
	r.settled()
	if err := DeleteTenant(t.Context(), r.conn, id(t, "a"), nil); err != nil {
		t.Fatal(err)
	}
	if n := scan[uint64](t, r.conn, "SELECT count() FROM otel_metrics_series WHERE TenantId = 'a'"); n != 0 {
		t.Errorf("%d series of the deleted tenant are left", n)
	}
	r.wantSeries()
	gone.Store(false)
	r.appendMetrics("a", 1, 200, now, 30)
	r.settled()
	r.wantSeries()
}

// Points of before there were ids are inserted as they are.
func TestPointsOfBeforeHaveNoSeries(t *testing.T) {
	r := newRig(t, LogOptions{})
	r.open()
	r.run()
	err := r.log.Append(Request{Tenant: id(t, "a"), Signal: "metrics", Received: time.Now(), Receipt: []byte("a-1"),
		Rows: []Rows{metricRows(schema.MetricsGauge, "MetricUnit", 5)}})
	if err != nil {
		t.Fatal(err)
	}
	r.settled()
	if n := scan[uint64](t, r.conn, "SELECT countIf(SeriesId = 0) FROM otel_metrics_gauge"); n != 5 {
		t.Errorf("%d points without an id, want 5", n)
	}
	if n := scan[uint64](t, r.conn, "SELECT count() FROM otel_metrics_series"); n != 0 || r.count("headgate_storage_undescribed_blocks_total") != 0 {
		t.Errorf("%d series of points without ids", n)
	}
}

func TestKnownSeriesAreBounded(t *testing.T) {
	k := newKnownSeries(1000)
	place := func(tenant string, day uint16) seriesPlace { return seriesPlace{tenant: tenant, day: day} }
	for day := range uint16(50) {
		o := newKnownSeries(0)
		for i := range uint64(90) {
			o.add(place("a", day), i)
			o.add(place("b", 7), i) // is used all the time
		}
		k.addAll(o)
		if k.ids > 1000 {
			t.Fatalf("%d ids", k.ids)
		}
	}
	if len(k.at(place("b", 7))) != 90 || len(k.at(place("a", 49))) != 90 || k.at(place("a", 0)) != nil {
		t.Errorf("kept %d and %d of 90 in use and %d of the oldest", len(k.at(place("b", 7))), len(k.at(place("a", 49))), len(k.at(place("a", 0))))
	}
	o := newKnownSeries(0)
	for i := range uint64(5000) {
		o.add(place("c", 1), i)
	}
	if k.addAll(o); k.ids > 1000 {
		t.Errorf("%d ids of one place", k.ids)
	}
	k.addAll(&knownSeries{places: map[seriesPlace]*seriesIDs{place("b", 8): {ids: map[uint64]struct{}{1: {}}}}})
	k.forgetTenant("b")
	if k.at(place("b", 8)) != nil || k.at(place("b", 7)) != nil {
		t.Error("a tenant is not forgotten")
	}
	n := 0
	for _, s := range k.places {
		n += len(s.ids)
	}
	if n != k.ids {
		t.Errorf("%d ids are counted as %d", n, k.ids)
	}
}
