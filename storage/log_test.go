package storage

import (
	"sync"
	"testing"
	"time"
)

func TestAckedRequestsReachClickHouseAndLedgerOnce(t *testing.T) {
	r := newRig(t, LogOptions{})
	r.open()
	r.run()
	var wg sync.WaitGroup
	var mu sync.Mutex
	for _, tenant := range []string{"a", "b"} {
		for range 20 {
			wg.Go(func() {
				mu.Lock()
				defer mu.Unlock()
				r.mustAppend(tenant, 10)
			})
		}
	}
	wg.Wait()
	r.settled()
	r.wantRows("a", 200)
	r.wantRows("b", 200)
	r.wantReceipts(40)
	if n := scan[uint64](t, r.conn, "SELECT count() FROM (SELECT RunId, _partition_id FROM otel_logs GROUP BY 1, 2 HAVING uniqExact(_part) > 1)"); n != 0 {
		t.Errorf("%d times a run made more than one part in a partition", n)
	}
}

func TestRestartBeforeTheFlushLosesNothing(t *testing.T) {
	r := newRig(t, LogOptions{})
	r.open()
	for range 5 {
		r.mustAppend("a", 3)
	}
	r.close()
	r.open()
	if len(r.restore) != 5 {
		t.Errorf("%d receipts were restored, want those of all 5 unfinished requests", len(r.restore))
	}
	r.run()
	r.settled()
	r.restart()
	if len(r.restore) != 0 {
		t.Errorf("%d receipts of finished requests were restored", len(r.restore))
	}
	r.settled()
	r.wantRows("a", 15)
	r.wantReceipts(5)
}

func TestInsertTouchesAtMostMaxPartitions(t *testing.T) {
	r := newRig(t, LogOptions{})
	r.open()
	for i := range 10 {
		var days []uint16
		for d := range 20 {
			days = append(days, uint16(day+20*i+d))
		}
		r.mustAppend("a", 40, days...)
	}
	r.run()
	r.settled()
	if n := scan[uint64](t, r.conn, "SELECT max(n) FROM (SELECT uniqExact(Partition, toDate(Timestamp)) AS n FROM otel_logs GROUP BY RunId)"); n > MaxPartitions {
		t.Errorf("one insert touched %d partitions, want at most %d", n, MaxPartitions)
	}
	r.wantRows("a", 400)
	r.wantReceipts(10)
}

func TestRequestsShareAnInsert(t *testing.T) {
	r := newRig(t, LogOptions{})
	r.open()
	for range 50 {
		r.mustAppend("a", 10)
	}
	r.run()
	r.settled()
	if n := scan[uint64](t, r.conn, "SELECT uniqExact(RunId) FROM otel_logs"); n != 1 {
		t.Errorf("50 waiting requests made %d inserts, want 1", n)
	}
	r.wantRows("a", 500)
}

func TestEqualRequestsAreNotTakenForDuplicates(t *testing.T) {
	r := newRig(t, LogOptions{})
	r.open()
	r.run()
	for range 3 {
		r.mustAppend("a", 2)
		r.settled()
	}
	r.wantRows("a", 6)
}

// What is being appended may become durable in any segment from the newest on: none of them goes before it is known of.
func TestSegmentsStayForAppendsUnderWay(t *testing.T) {
	r := newRig(t, LogOptions{})
	r.open()
	from, err := r.log.beginAppend("a", time.Now().UnixNano())
	if err != nil {
		t.Fatal(err)
	}
	r.log.mu.Lock()
	defer r.log.mu.Unlock()
	r.log.tail = from + 5
	if got := r.log.oldestLocked(); got != from {
		t.Errorf("segments below %d may go, while an append began in %d", got, from)
	}
	r.log.segments[from].appending--
	if got := r.log.oldestLocked(); got != from+5 {
		t.Errorf("segments below %d may go, want all below the newest, %d", got, from+5)
	}
}
