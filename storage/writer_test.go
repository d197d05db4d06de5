package storage

import (
	"context"
	"errors"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/headgate-io/headgate/internal/chtest"
	"github.com/headgate-io/headgate/storage/schema"
)

func TestWriteReturnsOnceRowsAreCommitted(t *testing.T) {
	conn := migrated(t, chtest.Start(t))
	w, _ := running(t, conn, WriterOptions{})
	if err := w.Write(t.Context(), []Rows{logRows("a", "shared-00", 3)}); err != nil {
		t.Fatalf("Write: %v", err)
	}
	if n := scan[uint64](t, conn, "SELECT count() FROM otel_logs WHERE TenantId = 'a' AND RunId > 0"); n != 3 {
		t.Errorf("%d rows, want 3", n)
	}
}

func TestRequestsShareAnInsert(t *testing.T) {
	conn := migrated(t, chtest.Start(t))
	w, reg := running(t, conn, WriterOptions{MaxDelay: time.Second, QueueTimeout: time.Minute})
	var wg sync.WaitGroup
	for range 50 {
		wg.Go(func() {
			if err := w.Write(t.Context(), []Rows{logRows("a", "shared-00", 10)}); err != nil {
				t.Errorf("Write: %v", err)
			}
		})
	}
	wg.Wait()
	if n := scan[uint64](t, conn, "SELECT count() FROM otel_logs"); n != 500 {
		t.Errorf("%d rows, want 500", n)
	}
	// One run takes what has come within the second; a slow machine may need another.
	if n := scan[uint64](t, conn, "SELECT uniqExact(RunId) FROM otel_logs"); n > 5 {
		t.Errorf("50 requests made %d inserts", n)
	}
	if n, err := testutil.GatherAndCount(reg, "headgate_storage_inserted_rows_total"); err != nil || n != 1 {
		t.Errorf("inserted rows metric: %d, %v", n, err)
	}
}

func TestEqualRequestsAreNotTakenForDuplicates(t *testing.T) {
	conn := migrated(t, chtest.Start(t))
	w, _ := running(t, conn, WriterOptions{MaxDelay: time.Millisecond})
	rows := logRows("a", "shared-00", 2)
	for range 3 {
		if err := w.Write(t.Context(), []Rows{rows}); err != nil {
			t.Fatalf("Write: %v", err)
		}
	}
	if n := scan[uint64](t, conn, "SELECT count() FROM otel_logs"); n != 6 {
		t.Errorf("%d rows, want 6", n)
	}
}

func TestInsertTouchesAtMostMaxPartitions(t *testing.T) {
	conn := migrated(t, chtest.Start(t))
	w, _ := running(t, conn, WriterOptions{MaxDelay: 300 * time.Millisecond, QueueTimeout: time.Minute})
	var wg sync.WaitGroup
	for i := range 10 {
		var days []uint16
		for d := range 20 {
			days = append(days, uint16(day+20*i+d))
		}
		wg.Go(func() {
			if err := w.Write(t.Context(), []Rows{logRows("a", "shared-00", 40, days...)}); err != nil {
				t.Errorf("Write: %v", err)
			}
		})
	}
	wg.Wait()
	if n := scan[uint64](t, conn, "SELECT max(n) FROM (SELECT uniqExact(Partition, toDate(Timestamp)) AS n FROM otel_logs GROUP BY RunId)"); n > MaxPartitions {
		t.Errorf("one insert touched %d partitions, want at most %d", n, MaxPartitions)
	}
	if n := scan[uint64](t, conn, "SELECT count() FROM otel_logs"); n != 400 {
		t.Errorf("%d rows, want 400", n)
	}
}

func TestTooManyWaitingBytesAreRefused(t *testing.T) {
	conn := migrated(t, chtest.Start(t))
	rows := logRows("a", "shared-00", 10)
	w, _ := running(t, conn, WriterOptions{MaxPendingBytes: int64(len(rows.Block.Data)) - 1})
	if err := w.Write(t.Context(), []Rows{rows}); !errors.Is(err, ErrUnavailable) {
		t.Errorf("Write = %v, want ErrUnavailable", err)
	}
	if n := w.pending.Load(); n != 0 {
		t.Errorf("%d bytes are still counted as waiting", n)
	}
}

func TestRowsNotSentYetAreTakenBack(t *testing.T) {
	conn := migrated(t, chtest.Start(t))
	w, _ := running(t, conn, WriterOptions{MaxDelay: 2 * time.Second})
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := w.Write(ctx, []Rows{logRows("gone", "shared-00", 5)}); !errors.Is(err, context.Canceled) {
		t.Errorf("Write = %v, want context.Canceled", err)
	}
	if err := w.Write(t.Context(), []Rows{logRows("stays", "shared-00", 5)}); err != nil {
		t.Fatalf("Write: %v", err)
	}
	if n := scan[uint64](t, conn, "SELECT count() FROM otel_logs WHERE TenantId = 'gone'"); n != 0 {
		t.Errorf("%d rows of the withdrawn write were stored", n)
	}
}

func TestWhatIsQueuedIsSentWhenTheWriterStops(t *testing.T) {
	conn := migrated(t, chtest.Start(t))
	w := NewWriter(conn, WriterOptions{MaxDelay: time.Hour, QueueTimeout: time.Minute}, quiet, prometheus.NewRegistry())
	wrote := make(chan error, 1)
	go func() { wrote <- w.Write(t.Context(), []Rows{logRows("a", "shared-00", 7)}) }()
	q := w.queues[schema.Logs]
	<-q.changed // the write is queued
	stopped, cancel := context.WithCancel(t.Context())
	cancel()
	if err := w.Run(stopped); err != nil {
		t.Errorf("Run: %v", err)
	}
	if err := <-wrote; err != nil {
		t.Errorf("Write = %v, want it sent at the stop", err)
	}
}

// TestKilledEngineIsAnOutage: what was acked stays, what was not is refused as retryable, and the writer goes on with the
// engine's next life.
func TestKilledEngineIsAnOutage(t *testing.T) {
	e := chtest.StartOwn(t, chtest.Options(t.TempDir()))
	admin := e.Open(t, "")
	if err := admin.Exec(t.Context(), "CREATE DATABASE outage"); err != nil {
		t.Fatal(err)
	}
	conn := e.Open(t, "outage")
	w, _ := running(t, conn, WriterOptions{MaxDelay: 5 * time.Millisecond, QueueTimeout: 2 * time.Second, InsertTimeout: 5 * time.Second})
	migrate := func() {
		t.Helper()
		if err := Migrate(t.Context(), conn, schema.Migrations, quiet); err != nil {
			t.Fatalf("Migrate: %v", err)
		}
	}
	migrate()
	acked := 0
	for i := range 30 {
		if i == 10 || i == 20 {
			if err := syscall.Kill(e.PID(), syscall.SIGKILL); err != nil {
				t.Fatalf("kill engine: %v", err)
			}
		}
		switch err := w.Write(t.Context(), []Rows{logRows("a", "shared-00", 1)}); {
		case err == nil:
			acked++
		case !errors.Is(err, ErrUnavailable):
			t.Errorf("Write during the outage = %v, want ErrUnavailable", err)
		}
	}
	if acked < 20 {
		t.Errorf("only %d of 30 writes were acked around two kills", acked)
	}
	if n := scan[uint64](t, conn, "SELECT count() FROM otel_logs"); n < uint64(acked) {
		t.Errorf("%d rows for %d acked", n, acked)
	}
}
