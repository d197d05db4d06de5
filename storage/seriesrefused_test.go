package storage

import (
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/headgate-io/headgate/internal/chtest"
	"github.com/headgate-io/headgate/internal/timetest"
	"github.com/headgate-io/headgate/storage/schema"
)

// refuseSeries makes otel_metrics_series refuse rows for which the condition is false, until mend.
func (r *rig) refuseSeries(check string) (mend func()) {
	r.t.Helper()
	if err := r.conn.Exec(r.t.Context(), "ALTER TABLE otel_metrics_series ADD CONSTRAINT sound CHECK "+check); err != nil {
		r.t.Fatal(err)
	}
	return func() {
		r.t.Helper()
		if err := r.conn.Exec(r.t.Context(), "ALTER TABLE otel_metrics_series DROP CONSTRAINT sound"); err != nil {
			r.t.Fatal(err)
		}
	}
}

func (r *rig) points(tenant string) uint64 {
	r.t.Helper()
	return scan[uint64](r.t, r.conn, "SELECT count() FROM "+allPoints+" WHERE TenantId = '"+tenant+"'")
}

// A request whose series ClickHouse never takes goes aside with its reason, points and all; the others of its run are stored. It
// can be replayed.
func TestRefusedSeriesCostTheirRequestAlone(t *testing.T) {
	r := newRig(t, LogOptions{})
	mend := r.refuseSeries("TenantId != 'bad'")
	r.open()
	for seed := range uint64(5) {
		r.appendMetrics("a", seed, 20, time.Now(), 30)
		if seed == 2 {
			r.appendMetrics("bad", seed, 20, time.Now(), 30)
		}
	}
	r.run()
	r.settled()
	r.wantSeries()
	r.wantReceipts(6) // it was acked: it is billed
	if a, bad := r.points("a"), r.points("bad"); a != 100 || bad != 0 {
		t.Errorf("%d and %d points, want 100 and none", a, bad)
	}
	list, err := ListRejected(r.dir)
	if err != nil || len(list) != 1 || list[0].Tenant != "bad" || list[0].Rows != 20 || !strings.Contains(list[0].Reason, "sound") {
		t.Fatalf("rejected: %+v, %v, want the one request", list, err)
	}
	if r.count("headgate_storage_refused_series_inserts_total") == 0 || r.count("headgate_storage_rejected_requests_total") != 1 {
		t.Error("it is not counted")
	}
	mend()
	if err := Replay(r.dir, list[0].Name); err != nil {
		t.Fatal(err)
	}
	timetest.Eventually(t, "the replay", func() bool { return r.points("bad") == 20 })
	r.settled()
	r.wantSeries()
	r.wantReceipts(6)
}

// When every series is refused it is the table that is wrong: nothing goes aside, points of known series are stored meanwhile, and all
// is stored once it is mended.
func TestWrongSeriesTableSetsNothingAside(t *testing.T) {
	r := newRig(t, LogOptions{})
	r.open()
	r.run()
	r.appendMetrics("a", 1, 20, time.Now(), 30)
	r.settled()
	mend := r.refuseSeries("0")
	for seed := range uint64(4) {
		r.appendMetrics("b", seed, 20, time.Now(), 30)
	}
	timetest.Eventually(t, "refusals", func() bool { return r.count("headgate_storage_refused_series_inserts_total") > 4 })
	r.appendMetrics("a", 1, 20, time.Now(), 30)
	timetest.Eventually(t, "points of known series", func() bool { return r.points("a") == 40 })
	if n := r.points("b"); n != 0 {
		t.Errorf("%d points are there before their series", n)
	}
	mend()
	r.settled()
	r.wantSeries()
	r.wantReceipts(6)
	if n := r.points("b"); n != 80 {
		t.Errorf("%d points, want 80", n)
	}
	if list, _ := ListRejected(r.dir); len(list) != 0 {
		t.Errorf("rejected %v, want none", list)
	}
}

// A run of which some points are there is not halved, whose rows would be there twice: its series were written before them. One of
// which none are there waits.
func TestRefusedSeriesDoNotDoubleARunThatWasBegun(t *testing.T) {
	for _, begun := range []bool{true, false} {
		r := newRig(t, LogOptions{})
		var inserts atomic.Int64
		r.proxy.Choose(func(q *http.Request) chtest.Fault {
			return when(isPointsInsert(q) && (!begun || inserts.Add(1) > 2), chtest.Refuse)
		})
		r.open()
		r.appendMetrics("a", 1, 300, time.Now(), 30)
		r.appendMetrics("a", 2, 300, time.Now(), 30) // of the same run
		r.run()
		if begun {
			timetest.Eventually(t, "two tables", func() bool { return inserts.Load() > 3 })
		} else {
			timetest.Eventually(t, "series", func() bool {
				return scan[uint64](t, r.conn, "SELECT count() FROM "+schema.MetricsSeries) > 0
			})
		}
		r.close()
		mend := r.refuseSeries("0")
		r.proxy.Choose(func(*http.Request) chtest.Fault { return chtest.Pass })
		r.open()
		r.run()
		timetest.Eventually(t, "refusals", func() bool { return r.count("headgate_storage_refused_series_inserts_total") > 0 })
		mend()
		r.settled()
		r.wantSeries()
		if n := r.points("a"); n != 600 {
			t.Errorf("begun %v: %d points, want 600", begun, n)
		}
		r.wantReceipts(2)
		r.close()
	}
}
