package engine

import (
	"bytes"
	"fmt"
	"os"
	"strconv"

	"github.com/prometheus/client_golang/prometheus"
)

type metrics struct {
	up       prometheus.Gauge
	restarts prometheus.Counter
}

// newMetrics registers the metrics unless reg is nil. pid is the child's process id, 0 while there is none.
func newMetrics(reg prometheus.Registerer, pid func() int) *metrics {
	m := &metrics{
		up: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "headgate_engine_up", Help: "1 while the embedded engine serves, else 0.",
		}),
		restarts: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "headgate_engine_restarts_total", Help: "Starts of the embedded engine after the first.",
		}),
	}
	if reg != nil {
		reg.MustRegister(m.up, m.restarts, prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Name: "headgate_engine_resident_memory_bytes", Help: "Memory of the embedded engine's process, of --engine-memory; 0 while there is none.",
		}, func() float64 { return residentBytes(pid()) }))
	}
	return m
}

// residentBytes is the resident memory of a process, 0 if it is gone.
func residentBytes(pid int) float64 {
	if pid == 0 {
		return 0
	}
	raw, err := os.ReadFile(fmt.Sprintf("/proc/%d/statm", pid))
	fields := bytes.Fields(raw)
	if err != nil || len(fields) < 2 {
		return 0
	}
	pages, _ := strconv.ParseInt(string(fields[1]), 10, 64) // the kernel writes numbers
	return float64(pages) * float64(os.Getpagesize())
}
