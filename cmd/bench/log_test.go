package main

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/headgate-io/headgate/ingest/otlp"
	"github.com/headgate-io/headgate/internal/otlpgen"
	"github.com/headgate-io/headgate/internal/tenant"
	"github.com/headgate-io/headgate/storage"
)

// BenchmarkLogAppend measures what the log alone costs, fsync on: requests of realistic logs, decoded and encoded before the
// clock starts, are appended by several senders. Nothing takes them out.
func BenchmarkLogAppend(b *testing.B) {
	for _, s := range []shape{{1, 1000}, {16, 100}, {16, 1000}, {16, 8000}, {256, 100}} {
		b.Run(fmt.Sprintf("%d-senders/%d-records", s.senders, s.records), func(b *testing.B) { benchAppend(b, s) })
	}
}

func benchAppend(b *testing.B, s shape) {
	requests := logRequests(b, s.records)
	l, err := storage.OpenLog(b.Context(), storage.LogOptions{
		Dir: b.TempDir(), Ledger: noLedger{}, Now: time.Now, Registry: prometheus.NewRegistry(), MaxBytes: 64 << 30,
	})
	if err != nil {
		b.Fatal(err)
	}
	defer l.Close()
	var next atomic.Int64
	var wg sync.WaitGroup
	b.ReportAllocs()
	b.ResetTimer()
	before := cpuTime(b)
	for range s.senders {
		wg.Go(func() {
			for n := next.Add(1); n <= int64(b.N); n = next.Add(1) {
				r := requests[n%int64(len(requests))]
				r.Received = time.Now()
				if err := l.Append(r); err != nil {
					b.Error(err)
					return
				}
			}
		})
	}
	wg.Wait()
	b.StopTimer()
	million := float64(b.N) * float64(s.records) / 1e6
	b.ReportMetric((cpuTime(b)-before).Seconds()/million, "cpu-s/M")
	b.ReportMetric(million*1e6/b.Elapsed().Seconds(), "records/s")
}

// logRequests returns some requests of so many records each.
func logRequests(b *testing.B, records int) []storage.Request {
	b.Helper()
	id, err := tenant.ParseID("01k4qsh0g0000000000000bench")
	if err != nil {
		b.Fatal(err)
	}
	d := otlp.NewDecoder(otlp.Limits{})
	out := make([]storage.Request, 16)
	for i := range out {
		body := otlpgen.Logs(uint64(i), records)
		res, err := d.Decode(otlp.Logs, body, otlp.Stamp{Tenant: id, Partition: "shared-00", RetentionDays: 30, Received: time.Now()})
		if err != nil {
			b.Fatal(err)
		}
		out[i] = storage.Request{Tenant: id, Signal: "logs", Receipt: make([]byte, 100)}
		for _, r := range res.Rows {
			out[i].Rows = append(out[i].Rows, storage.Rows{Table: r.Table, Partition: "shared-00", Days: r.Days, Block: r.Encode()})
		}
	}
	return out
}

// cpuTime returns the time this process has computed, system calls included.
func cpuTime(b *testing.B) time.Duration {
	b.Helper()
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// noLedger takes what is never brought.
type noLedger struct{}

func (noLedger) Apply(context.Context, uint64, [][]byte) error { return nil }
func (noLedger) Applied(context.Context, []uint64) (map[uint64]bool, error) {
	return map[uint64]bool{}, nil
}
func (noLedger) NewestRun(context.Context) (uint64, error) { return 0, nil }
func (noLedger) Forget(context.Context, uint64) error      { return nil }
