package storage

import (
	"path/filepath"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/headgate-io/headgate/internal/faultfs"
)

// TestMetricsAreReadWhileTheLogOpens: a log of an outage takes long to open, and is scraped meanwhile.
func TestMetricsAreReadWhileTheLogOpens(t *testing.T) {
	reg := prometheus.NewRegistry()
	gather := func() map[string]float64 {
		t.Helper()
		families, err := reg.Gather()
		if err != nil {
			t.Errorf("gather: %v", err)
		}
		found := map[string]float64{}
		for _, f := range families {
			found[f.GetName()] = f.GetMetric()[0].GetGauge().GetValue()
		}
		return found
	}
	opening, reads := true, 0
	hooked := faultfs.Hooked{FS: faultfs.OS{}, BeforeSync: func() error {
		if opening {
			gather()
			reads++
		}
		return nil
	}}
	log, err := OpenLog(t.Context(), LogOptions{Dir: filepath.Join(t.TempDir(), "wal"), FS: hooked, Ledger: newLedger(), Now: time.Now,
		Registry: reg, SegmentBytes: 1 << 20, ReserveBytes: 5 << 20})
	if err != nil {
		t.Fatal(err)
	}
	defer log.Close()
	opening = false
	if reads == 0 {
		t.Error("the log opened without a sync: nothing was read meanwhile")
	}
	got := gather()
	if got["headgate_storage_log_disk_free_bytes"] <= 0 || got["headgate_storage_log_disk_reserve_bytes"] != 5<<20 || got["headgate_storage_log_bytes"] <= 0 {
		t.Errorf("an open log has %v", got)
	}
}
