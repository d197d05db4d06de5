package metering

import (
	"fmt"
	"io"
	"runtime"
	"testing"
	"time"

	"github.com/headgate-io/headgate/internal/timetest"
)

// An export of a day of 1,000 tenants with two keys each, and what of it is in memory at once.
func BenchmarkExport(b *testing.B) {
	db := benchDB(b)
	c := timetest.NewClock(noon.Add(48 * time.Hour))
	l := NewLedger(db, LedgerOptions{Now: c.Now})
	for h := range 24 {
		var rs []Receipt
		for i := range 2000 {
			rs = append(rs, logs(fmt.Sprint("t", i/2), fmt.Sprint("k", i%2), int64(i), noon.Add(time.Duration(h)*time.Hour)))
		}
		if _, err := l.Apply(b.Context(), testLog, uint64(h+1), rs); err != nil {
			b.Fatal(err)
		}
	}
	if err := l.seal(b.Context()); err != nil {
		b.Fatal(err)
	}
	for _, format := range []Format{FormatCSV, FormatJSON, FormatFOCUS, FormatCloudEvents} {
		b.Run(string(format), func(b *testing.B) {
			var before, after runtime.MemStats
			runtime.GC()
			runtime.ReadMemStats(&before)
			rows := int64(0)
			for b.Loop() {
				x, err := l.UnsafeExportOfAll(b.Context(), ExportFilter{Format: format})
				if err != nil {
					b.Fatal(err)
				}
				t, err := x.Write(b.Context(), io.Discard)
				if err != nil || t.Rows != 48_000 {
					b.Fatal(t, err)
				}
				rows += t.Rows
			}
			runtime.ReadMemStats(&after)
			b.ReportMetric(float64(rows)/b.Elapsed().Seconds(), "rows/s")
			b.ReportMetric(float64(after.HeapSys-min(before.HeapSys, after.HeapSys))/(1<<20), "MiB-heap-growth")
		})
	}
}
