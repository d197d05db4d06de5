package wal

import (
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

// BenchmarkAppend measures senders that wait for their entry each, on the real disk. It reports entries and megabytes
// per second, the median and the 99th percentile of the time until an entry was durable, and entries per sync.
func BenchmarkAppend(b *testing.B) {
	for _, size := range []int{10 << 10, 500 << 10} {
		for _, senders := range []int{1, 16, 256} {
			b.Run(fmt.Sprintf("%dKiB/%d-senders", size>>10, senders), func(b *testing.B) { benchAppend(b, size, senders) })
		}
	}
}

func benchAppend(b *testing.B, size, senders int) {
	l := open(b, b.TempDir(), Options{MaxBytes: 1 << 30, ReserveBytes: -1})
	defer closeLog(b, l)
	head, rest := payload(1, 256), payload(2, size-256)
	took := make([]time.Duration, b.N)
	var next atomic.Int64
	cpu := cpuTime(b)
	b.SetBytes(int64(size))
	b.ReportAllocs()
	b.ResetTimer()
	var wg sync.WaitGroup
	for range senders {
		wg.Go(func() {
			for i := next.Add(1); i <= int64(b.N); i = next.Add(1) {
				start := time.Now()
				p, err := l.Append(head, rest)
				took[i-1] = time.Since(start)
				if err != nil {
					b.Error(err)
					return
				}
				if p.Segment() > 4 && i%1024 == 0 { // as a flusher would
					if err := l.DeleteBefore(at(p.Segment()-2, 0)); err != nil {
						b.Error(err)
					}
				}
			}
		})
	}
	wg.Wait()
	b.StopTimer()
	slices.Sort(took)
	st := l.Stats()
	b.ReportMetric((cpuTime(b)-cpu).Seconds()/(float64(b.N)*float64(size)/1e9), "cpu-s/GB")
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "entries/s")
	b.ReportMetric(float64(took[len(took)/2].Microseconds())/1e3, "p50-ms")
	b.ReportMetric(float64(took[len(took)*99/100].Microseconds())/1e3, "p99-ms")
	b.ReportMetric(float64(st.GroupEntries)/float64(max(st.Groups, 1)), "entries/sync")
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

// BenchmarkScanHeads measures what a restart with a backlog reads: a gigabyte of entries of 100 KiB.
func BenchmarkScanHeads(b *testing.B) {
	dir, opt := b.TempDir(), Options{MaxBytes: 2 << 30, ReserveBytes: -1}
	l := open(b, dir, opt)
	head, rest := payload(1, 256), payload(2, 100<<10)
	for range 10240 / 16 {
		var wg sync.WaitGroup
		for range 16 {
			wg.Go(func() {
				if _, err := l.Append(head, rest); err != nil {
					b.Error(err)
				}
			})
		}
		wg.Wait()
	}
	closeLog(b, l)
	b.ReportAllocs()
	for b.Loop() {
		l := open(b, dir, opt)
		n := 0
		if err := l.ScanHeads(func(Position, []byte, int) error { n++; return nil }); err != nil || n != 10240 {
			b.Fatalf("%d entries, %v", n, err)
		}
		closeLog(b, l)
	}
}
