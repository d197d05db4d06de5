package storage

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

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

// TestDamageThatAStartFindsIsCounted: an acked request that recovery cannot read is lost, and no read will find that later.
func TestDamageThatAStartFindsIsCounted(t *testing.T) {
	r := newRig(t, LogOptions{})
	r.open()
	for range 3 {
		r.mustAppend("a", 1)
	}
	r.close()
	files, err := filepath.Glob(filepath.Join(r.dir, "*.wal"))
	if err != nil || len(files) == 0 {
		t.Fatal(files, err)
	}
	raw, err := os.ReadFile(files[0])
	if err != nil {
		t.Fatal(err)
	}
	const firstPayload = 4096 + 48
	raw[firstPayload] ^= 1
	if err := os.WriteFile(files[0], raw, 0o600); err != nil {
		t.Fatal(err)
	}
	r.open()
	if got := testutil.ToFloat64(r.log.metrics.damaged); got != 1 {
		t.Errorf("%v requests are counted as damaged, want 1", got)
	}
	r.run()
	r.settled()
	r.wantRows("a", 2)
	if got := testutil.ToFloat64(r.log.metrics.damaged); got != 1 {
		t.Errorf("%v requests are counted as damaged after the others were stored, want 1", got)
	}
}
