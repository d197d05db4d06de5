package storage

import (
	"runtime"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/headgate-io/headgate/ingest/otlp"
	"github.com/headgate-io/headgate/internal/otlpgen"
	"github.com/headgate-io/headgate/internal/tenant"
)

// metricsEntry is a log entry of n generated points.
func metricsEntry(tb testing.TB, seed uint64, n int) (entry []byte, h head) {
	tb.Helper()
	a, err := tenant.ParseID("a")
	if err != nil {
		tb.Fatal(err)
	}
	now := time.Now()
	res, err := otlp.NewDecoder(otlp.Limits{}).Decode(otlp.Metrics, otlpgen.Metrics(seed, n), otlp.Stamp{Tenant: a, Partition: "shared-00", RetentionDays: 30, Received: now})
	if err != nil {
		tb.Fatal(err)
	}
	q := Request{Tenant: a, Signal: "metrics", Received: now}
	for i := range res.Rows {
		q.Rows = append(q.Rows, Rows{Table: res.Rows[i].Table, Partition: "shared-00", Days: res.Rows[i].Days, Block: res.Rows[i].Encode()})
	}
	entry = headOf(q).appendTo(nil)
	for _, t := range q.Rows {
		entry = append(entry, t.Block.Data...)
	}
	if h, err = parseHead(entry); err != nil {
		tb.Fatal(err)
	}
	return entry, h
}

// cpuTime is what the process has used so far: steadier than the clock on a busy machine.
func cpuTime() time.Duration {
	var u unix.Rusage
	if unix.Getrusage(unix.RUSAGE_SELF, &u) != nil {
		return 0
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// BenchmarkKnownSeries looks up the series of a request's points, all of which are known, among a million others.
func BenchmarkKnownSeries(b *testing.B) {
	const points = 8192
	entry, h := metricsEntry(b, 1, points)
	s := &describer{known: newKnownSeries(maxKnownSeries), rows: newSeriesRows()}
	for _, t := range h.tables {
		block, err := t.block(entry)
		if err == nil {
			err = s.rows.add(&s.reader, block, h, t, s.known)
		}
		if err != nil {
			b.Fatal(err)
		}
	}
	s.known.addAll(s.rows.new)
	for place := range s.known.places {
		for id := range uint64(1 << 20) {
			s.known.add(place, id*0x9e3779b97f4a7c15)
		}
		break
	}
	b.ReportAllocs()
	start := cpuTime()
	for b.Loop() {
		if s.undescribed(nil, entry, h, nil) {
			b.Fatal("not known")
		}
	}
	b.ReportMetric(float64((cpuTime()-start).Nanoseconds())/float64(b.N)/points, "cpu-ns/point")
}

// BenchmarkNewSeries makes the rows of a request whose series are all new.
func BenchmarkNewSeries(b *testing.B) {
	const points = 8192
	entry, h := metricsEntry(b, 1, points)
	s := &describer{known: newKnownSeries(maxKnownSeries), rows: newSeriesRows()}
	b.ReportAllocs()
	start := cpuTime()
	for b.Loop() {
		for _, t := range h.tables {
			block, err := t.block(entry)
			if err == nil {
				err = s.rows.add(&s.reader, block, h, t, s.known)
			}
			if err != nil {
				b.Fatal(err)
			}
		}
		s.rows.b.Encode(s.rows.n)
		b.ReportMetric(float64(s.rows.n), "series")
		s.rows.reset()
	}
	b.ReportMetric(float64((cpuTime()-start).Nanoseconds())/float64(b.N)/points, "cpu-ns/point")
}

// A known series takes at most 40 bytes, as its documentation says.
func TestKnownSeriesTakeLittleMemory(t *testing.T) {
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	k := newKnownSeries(maxKnownSeries)
	for id := range uint64(maxKnownSeries) {
		k.add(seriesPlace{tenant: "a"}, id*0x9e3779b97f4a7c15)
	}
	runtime.GC()
	runtime.ReadMemStats(&after)
	if per := float64(after.HeapAlloc-before.HeapAlloc) / maxKnownSeries; per > 40 {
		t.Errorf("%.1f bytes for each of %d", per, k.ids)
	} else {
		t.Logf("%.1f bytes each", per)
	}
}
