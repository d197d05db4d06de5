package engine_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/headgate-io/headgate/internal/chtest"
	"github.com/headgate-io/headgate/internal/timetest"
)

func TestManyConnectionsInsertAndQueryAtOnce(t *testing.T) {
	const clients, rounds, rows = 16, 8, 500
	e := chtest.Start(t)
	db := chtest.Database(t)
	conn := e.Open(t, db)
	mustExec(t, conn, "CREATE TABLE t (p UInt8, a UInt64) ENGINE = MergeTree PARTITION BY p ORDER BY a")
	var wg sync.WaitGroup
	for c := range clients {
		mine := e.Open(t, db)
		wg.Go(func() {
			for r := range rounds {
				b, err := mine.PrepareBatch(t.Context(), "INSERT INTO t")
				if err != nil {
					t.Errorf("client %d: prepare: %v", c, err)
					return
				}
				for i := range rows {
					if err := b.Append(uint8(i%20), uint64(c*rounds*rows+r*rows+i)); err != nil {
						t.Errorf("client %d: append: %v", c, err)
					}
				}
				if err := b.Send(); err != nil {
					t.Errorf("client %d: send: %v", c, err)
				}
				var n uint64
				if err := mine.QueryRow(t.Context(), "SELECT count() FROM t WHERE a >= $1 AND a < $2", c*rounds*rows, (c+1)*rounds*rows).Scan(&n); err != nil || n != uint64((r+1)*rows) {
					t.Errorf("client %d sees %d of its rows (%v), want %d", c, n, err, (r+1)*rows)
				}
				if err := mine.Exec(t.Context(), "SELECT no_such_column FROM t"); err == nil {
					t.Errorf("client %d: a wrong statement passed", c)
				}
			}
		})
	}
	wg.Wait()
	var n, distinct uint64
	if err := conn.QueryRow(t.Context(), "SELECT count(), uniqExact(a) FROM t").Scan(&n, &distinct); err != nil || n != clients*rounds*rows || distinct != n {
		t.Errorf("%d rows, %d distinct (%v), want %d of both", n, distinct, err, clients*rounds*rows)
	}
}

func TestMemoryBoundsEndTheStatementNotTheEngine(t *testing.T) {
	opts := chtest.Options(t.TempDir())
	opts.MemoryBytes = 1 << 30
	e := chtest.StartOwn(t, opts)
	conn := e.Open(t, "")
	pid := e.PID()
	for name, sql := range map[string]string{
		"statement": "SELECT length(groupArray(number)) FROM numbers(1000000000)",
		"engine":    "SELECT length(groupArray(number)) FROM numbers(1000000000) SETTINGS max_memory_usage = 0",
	} {
		err := conn.Exec(t.Context(), sql)
		if code, _ := codeOf(err); code != 241 {
			t.Errorf("%s: code %d (%v), want 241", name, code, err)
		}
	}
	mustExec(t, conn, "SELECT 1")
	if got := e.PID(); got != pid {
		t.Errorf("engine %d was replaced by %d", pid, got)
	}
	if hwm := residentBytes(t, pid, "VmHWM"); hwm > 1500<<20 {
		t.Errorf("engine held %d MB, bound 1024 MB and its own 200", hwm>>20)
	}
}

func TestStatementsBeyondTheLimitWaitThenFail(t *testing.T) {
	opts := chtest.Options(t.TempDir())
	opts.MaxStatements, opts.MaxWaiting, opts.MaxWait = 2, 2, 30*time.Second
	e := chtest.StartOwn(t, opts)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var wg sync.WaitGroup
	var refused atomic.Int32
	statuses := make(chan string, 16)
	for i := range 5 {
		conn := e.Open(t, "")
		wg.Go(func() {
			err := conn.Exec(ctx, fmt.Sprintf("SELECT sum(number), %d FROM numbers(1000000000000)", i))
			switch code, status := codeOf(err); {
			case code == 202 && status == 503:
				refused.Add(1)
			case !errors.Is(err, context.Canceled):
				statuses <- fmt.Sprintf("code %d, status %d (%v)", code, status, err)
			}
		})
	}
	// The hello of the driver takes a place too, so at least one of five finds neither place nor queue.
	timetest.Eventually(t, "one is refused", func() bool { return refused.Load() >= 1 })
	cancel()
	wg.Wait()
	close(statuses)
	for s := range statuses {
		t.Errorf("statement ended with %s, want a refusal or the end of its context", s)
	}
	conn := e.Open(t, "")
	timetest.Eventually(t, "places are free again", func() bool { return conn.Ping(t.Context()) == nil })
}
