package storage

import (
	"fmt"
	"net/http"
	"os"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/headgate-io/headgate/internal/chtest"
	"github.com/headgate-io/headgate/internal/timetest"
)

// Whatever the network and the server do to an INSERT: every row once, every receipt once.
func TestUncertainInsertsAreSettledExactly(t *testing.T) {
	faults := map[string]chtest.Fault{"refused": chtest.Refuse, "body cut": chtest.CutBody, "answer lost": chtest.LoseAnswer,
		"carried out late": chtest.Late, "overloaded": chtest.Overloaded, "no server": chtest.Broken}
	for name, fault := range faults {
		for _, restart := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s/restart=%v", name, restart), func(t *testing.T) {
				r := newRig(t, LogOptions{Timeout: 5 * time.Second})
				var inserts atomic.Int64
				failing := int64(2)
				if restart {
					failing = 1 << 40
				}
				r.proxy.Choose(func(q *http.Request) chtest.Fault {
					if chtest.IsInsert(q) && inserts.Add(1) <= failing {
						return fault
					}
					return chtest.Pass
				})
				r.open()
				r.mustAppend("a", 30, day, day+1, day+2)
				r.mustAppend("b", 7)
				r.run()
				if restart {
					timetest.Eventually(t, "a failed insert", func() bool { return inserts.Load() > 0 })
					r.close()
					r.proxy.Choose(func(*http.Request) chtest.Fault { return chtest.Pass })
					r.open()
					r.run()
				}
				r.settled()
				r.wantRows("a", 30)
				r.wantRows("b", 7)
				r.wantReceipts(2)
				if fault == chtest.Late {
					r.proxy.WaitLate()
					r.wantRows("a", 30)
					r.wantRows("b", 7)
				}
			})
		}
	}
}

func TestHangingServerIsLeftAndAskedAgain(t *testing.T) {
	r := newRig(t, LogOptions{Timeout: 500 * time.Millisecond})
	var hung atomic.Int64
	r.proxy.Choose(func(q *http.Request) chtest.Fault {
		if chtest.IsInsert(q) && hung.Add(1) <= 2 {
			return chtest.Hang
		}
		return chtest.Pass
	})
	r.open()
	r.run()
	r.mustAppend("a", 10)
	r.settled()
	r.wantRows("a", 10)
	r.wantReceipts(1)
}

// A kill of ClickHouse between a partition's deduplication record and its commit makes it take the repetition for a
// duplicate of rows that it does not have. Here the rows of one partition are deleted behind its back, which is the same to
// the one who sends.
func TestPartitionLostBehindItsTokenIsSentAgain(t *testing.T) {
	r := newRig(t, LogOptions{})
	var inserts atomic.Int64
	r.proxy.Choose(func(q *http.Request) chtest.Fault {
		if chtest.IsInsert(q) && inserts.Add(1) == 1 {
			return chtest.LoseAnswer
		}
		if inserts.Load() == 1 && strings.Contains(chtest.Statement(q), "system.processes") {
			return chtest.Refuse
		}
		return chtest.Pass
	})
	r.open()
	r.run()
	r.mustAppend("a", 30, day, day+1, day+2)
	timetest.Eventually(t, "the insert", func() bool {
		return scan[uint64](t, r.conn, "SELECT count() FROM otel_logs") == 30
	})
	if err := r.conn.Exec(t.Context(), "ALTER TABLE otel_logs DROP PARTITION ('shared-00', '2024-10-05')"); err != nil {
		t.Fatal(err)
	}
	r.proxy.Choose(func(*http.Request) chtest.Fault { return chtest.Pass })
	r.settled()
	r.wantRows("a", 30)
	r.wantReceipts(1)
	if n := scan[uint64](t, r.conn, "SELECT count() FROM system.tables WHERE database = currentDatabase() AND startsWith(name, 'headgate_missing_')"); n != 0 {
		t.Errorf("%d stages were left behind", n)
	}
}

// A kill of ClickHouse between a part's deduplication record and its commit leaves the record alone; here parts are taken
// away while ClickHouse is dead. The same INSERT again, under its token, brings nothing back: the question does.
func TestTokenAloneLosesRows(t *testing.T) {
	for lost, left := range map[string]int{"2024-10-05": 20, "2024-10": 0} {
		e := chtest.StartOwn(t, chtest.Options(t.TempDir()))
		r := newRigOn(t, e, LogOptions{})
		r.open()
		r.mustAppend("a", 30, day, day+1, day+2)
		d := &delivery{lane: r.log.lanes["logs"], conn: r.conn, ctx: t.Context(), patient: t.Context(), timeout: time.Minute}
		run, err := d.lane.form()
		if err != nil {
			t.Fatal(err)
		}
		p, err := d.plan(run)
		if err != nil {
			t.Fatal(err)
		}
		if err := d.insertAll(run, p.tables[0]); err != nil {
			t.Fatal(err)
		}
		parts := scan[[]string](t, r.conn, "SELECT groupArray(path) FROM system.parts WHERE database = currentDatabase() AND table = 'otel_logs' AND active AND partition LIKE '%"+lost+"%'")
		if err := syscall.Kill(e.PID(), syscall.SIGKILL); err != nil {
			t.Fatal(err)
		}
		for _, part := range parts {
			if err := os.RemoveAll(part); err != nil {
				t.Fatal(err)
			}
		}
		timetest.Eventually(t, "the engine's next life", func() bool { return r.conn.Exec(t.Context(), "SELECT 1") == nil })
		if err := d.insertAll(run, p.tables[0]); err != nil {
			t.Fatal(err)
		}
		r.wantRows("a", left) // what would be lost, were it not for the question
		run.sent = true
		if err := d.insert(run, p.tables[0]); err != nil {
			t.Fatal(err)
		}
		r.wantRows("a", 30)
		r.close()
		e.Stop()
	}
}

// The second guard is enough alone: without any deduplication in ClickHouse, what it has, or is about to have, is not sent
// again.
func TestQuestionAloneDoublesNothing(t *testing.T) {
	for _, fault := range []chtest.Fault{chtest.LoseAnswer, chtest.Abandon} {
		for _, restart := range []bool{false, true} {
			r := newRig(t, LogOptions{})
			for _, change := range []string{"MODIFY SETTING non_replicated_deduplication_window = 0",
				"ADD COLUMN slow UInt8 MATERIALIZED sleepEachRow(0.02)"} {
				if err := r.conn.Exec(t.Context(), "ALTER TABLE otel_logs "+change); err != nil {
					t.Fatal(err)
				}
			}
			var inserts atomic.Int64
			r.proxy.Choose(func(q *http.Request) chtest.Fault {
				if chtest.IsInsert(q) && inserts.Add(1) == 1 {
					return fault
				}
				if strings.Contains(chtest.Statement(q), "system.processes") {
					r.begun() // of what ClickHouse has not heard yet no question tells: that is the token's
				}
				return chtest.Pass
			})
			r.open()
			r.run()
			r.mustAppend("a", 30, day, day+1, day+2)
			if restart {
				timetest.Eventually(t, "the insert", func() bool { return inserts.Load() > 0 })
				r.restart()
			}
			r.settled()
			r.proxy.WaitLate()
			r.wantRows("a", 30)
			r.wantReceipts(1)
			r.close()
		}
	}
}

// begun waits until ClickHouse is carrying out an INSERT, or has rows of one.
func (r *rig) begun() {
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for deadline := time.Now().Add(time.Minute); time.Now().Before(deadline); <-tick.C {
		var n uint64
		err := r.conn.QueryRow(r.t.Context(), `SELECT (SELECT count() FROM otel_logs) + (SELECT count() FROM system.processes
			WHERE current_database = currentDatabase() AND Settings['insert_deduplication_token'] != '')`).Scan(&n)
		if err != nil || n > 0 {
			return
		}
	}
	r.t.Error("no INSERT is begun")
}

// The first guard is there: ClickHouse takes nothing for a run's token twice, whatever the rows are.
func TestRunsCarryTheirToken(t *testing.T) {
	r := newRig(t, LogOptions{})
	r.open()
	d := &delivery{lane: r.log.lanes["logs"], conn: r.conn, ctx: t.Context(), patient: t.Context(), timeout: time.Minute}
	var id uint64
	for i := range 2 {
		r.mustAppend("a", 10+i)
		run, err := d.lane.form()
		if err != nil {
			t.Fatal(err)
		}
		if i == 0 {
			id = run.id
		}
		run.id = id
		p, err := d.plan(run)
		if err != nil {
			t.Fatal(err)
		}
		if err := d.insertAll(run, p.tables[0]); err != nil {
			t.Fatal(err)
		}
	}
	r.wantRows("a", 10)
}

func TestAllPartitionsLostBehindTheTokenAreSentAgain(t *testing.T) {
	r := newRig(t, LogOptions{})
	r.proxy.Choose(func(q *http.Request) chtest.Fault {
		switch {
		case chtest.IsInsert(q):
			return chtest.LoseAnswer
		case strings.Contains(chtest.Statement(q), "system.processes"):
			return chtest.Refuse
		}
		return chtest.Pass
	})
	r.open()
	r.run()
	r.mustAppend("a", 30, day, day+1, day+2)
	timetest.Eventually(t, "the insert", func() bool { return scan[uint64](t, r.conn, "SELECT count() FROM otel_logs") == 30 })
	for _, d := range []string{"2024-10-04", "2024-10-05", "2024-10-06"} {
		if err := r.conn.Exec(t.Context(), "ALTER TABLE otel_logs DROP PARTITION ('shared-00', '"+d+"')"); err != nil {
			t.Fatal(err)
		}
	}
	r.proxy.Choose(func(*http.Request) chtest.Fault { return chtest.Pass })
	r.settled()
	r.wantRows("a", 30)
	r.wantReceipts(1)
}

func TestFailingLedgerBillsOnceInTheEnd(t *testing.T) {
	r := newRig(t, LogOptions{})
	r.ledger.fail.Store(true)
	r.open()
	r.run()
	r.mustAppend("a", 5)
	timetest.Eventually(t, "the insert", func() bool { return scan[uint64](t, r.conn, "SELECT count() FROM otel_logs") == 5 })
	r.restart() // between the insert and the ledger
	r.ledger.fail.Store(false)
	r.settled()
	r.wantRows("a", 5)
	r.wantReceipts(1)
}
