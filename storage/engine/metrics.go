package engine

import "github.com/prometheus/client_golang/prometheus"

type metrics struct {
	up       prometheus.Gauge
	restarts prometheus.Counter
}

func newMetrics(reg prometheus.Registerer) *metrics {
	m := &metrics{
		up: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "headgate_engine_up", Help: "1 while the embedded engine serves, else 0.",
		}),
		restarts: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "headgate_engine_restarts_total", Help: "Starts of the embedded engine after the first.",
		}),
	}
	if reg != nil {
		reg.MustRegister(m.up, m.restarts)
	}
	return m
}
