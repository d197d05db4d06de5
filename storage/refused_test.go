package storage

import (
	"fmt"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/headgate-io/headgate/internal/chtest"
	"github.com/headgate-io/headgate/internal/timetest"
	"github.com/headgate-io/headgate/storage/schema"
)

// A request that ClickHouse never takes goes aside with its reason; the others of its run are stored, and it can be replayed.
func TestRefusedRequestIsFoundAndSetAside(t *testing.T) {
	r := newRig(t, LogOptions{})
	r.open()
	for i := range 9 {
		r.mustAppend("a", 2)
		if i == 4 {
			bad := logRowsIn("Bodi", "bad", "shared-00", 3)
			r.sent++
			if err := r.log.Append(Request{Tenant: id(t, "bad"), Signal: "logs", Received: time.Now(), Receipt: []byte("bad-1"), Rows: []Rows{bad}}); err != nil {
				t.Fatal(err)
			}
		}
	}
	r.run()
	r.settled()
	r.wantRows("a", 18)
	r.wantRows("bad", 0)
	r.wantReceipts(10) // it was acked: it is billed
	list, err := ListRejected(r.dir)
	if err != nil || len(list) != 1 {
		t.Fatalf("rejected: %v, %v, want one request", list, err)
	}
	got := list[0]
	if got.Tenant != "bad" || got.Rows != 3 || !strings.Contains(got.Reason, "Bodi") || got.Tables[0] != schema.Logs {
		t.Errorf("rejected %+v does not say what and why", got)
	}

	// The operator mends the table and has it tried again.
	if err := r.conn.Exec(t.Context(), "ALTER TABLE otel_logs ADD COLUMN Bodi String"); err != nil {
		t.Fatal(err)
	}
	if err := Replay(r.dir, got.Name); err != nil {
		t.Fatal(err)
	}
	timetest.Eventually(t, "the replay", func() bool {
		return scan[uint64](t, r.conn, "SELECT count() FROM otel_logs WHERE TenantId = 'bad'") == 3
	})
	r.settled()
	r.restart()
	r.settled()
	r.wantRows("bad", 3)
	r.wantReceipts(10)
	if list, _ := ListRejected(r.dir); len(list) != 0 {
		t.Errorf("%v is still listed after its replay", list)
	}
}

// A run of metrics goes into several tables. Those that have it when another one refuses it do not get it again.
func TestHalvesOfARefusedRunLeaveDoneTablesAlone(t *testing.T) {
	for _, restart := range []bool{false, true} {
		r := newRig(t, LogOptions{})
		send := func(column string) {
			r.sent++
			if err := r.log.Append(Request{Tenant: id(t, "a"), Signal: "metrics", Received: time.Now(), Receipt: fmt.Append(nil, r.sent),
				Rows: []Rows{metricRows(schema.MetricsGauge, "MetricUnit", 3), metricRows(schema.MetricsSum, column, 2)}}); err != nil {
				t.Fatal(err)
			}
		}
		r.open()
		for _, column := range []string{"MetricUnit", "MetricBogus", "MetricUnit", "MetricUnit"} {
			send(column)
		}
		if restart { // in the middle of the halving
			var inserts atomic.Int64
			r.proxy.Choose(func(q *http.Request) chtest.Fault {
				if chtest.IsInsert(q) && inserts.Add(1) > 3 {
					return chtest.Refuse
				}
				return chtest.Pass
			})
			r.run()
			timetest.Eventually(t, "the halving", func() bool { return inserts.Load() > 4 })
			r.close()
			r.proxy.Choose(func(*http.Request) chtest.Fault { return chtest.Pass })
			r.open()
		}
		send("MetricUnit") // shows that the table is well, if the others did so before the restart
		r.run()
		r.settled()
		for table, want := range map[string]uint64{schema.MetricsGauge: 15, schema.MetricsSum: 8} {
			if n := scan[uint64](t, r.conn, "SELECT count() FROM "+table); n != want {
				t.Errorf("restart %v: %s has %d rows, want %d", restart, table, n, want)
			}
		}
		r.wantReceipts(5)
		r.close()
	}
}

// When every request is refused it is the table that is wrong: nothing goes aside, and all is stored once it is mended.
func TestWrongTableSetsNothingAside(t *testing.T) {
	r := newRig(t, LogOptions{})
	if err := r.conn.Exec(t.Context(), "ALTER TABLE otel_logs RENAME COLUMN Body TO Text"); err != nil {
		t.Fatal(err)
	}
	r.open()
	r.run()
	for range 4 {
		r.mustAppend("a", 2)
	}
	timetest.Eventually(t, "suspects", func() bool { return r.count("headgate_storage_split_runs_total") > 0 })
	if err := r.conn.Exec(t.Context(), "ALTER TABLE otel_logs RENAME COLUMN Text TO Body"); err != nil {
		t.Fatal(err)
	}
	r.settled()
	r.wantRows("a", 8)
	r.wantReceipts(4)
	if list, _ := ListRejected(r.dir); len(list) != 0 {
		t.Errorf("rejected %v, want none", list)
	}
}
