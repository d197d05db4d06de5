package query

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// metrics counts what readers do. Labels come from closed sets.
type metrics struct {
	duration *prometheus.HistogramVec // outcome: ok, error
	rows     prometheus.Counter
	failures *prometheus.CounterVec // code: those of failure
}

func newMetrics(reg prometheus.Registerer) *metrics {
	m := &metrics{
		duration: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "headgate_query_duration_seconds", Help: "Time from request to the last byte of a query's result.",
			Buckets: []float64{.005, .02, .05, .1, .25, .5, 1, 2.5, 5, 10, 30},
		}, []string{"outcome"}),
		rows: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "headgate_query_result_rows_total", Help: "Rows of results.",
		}),
		failures: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "headgate_query_failures_total", Help: "Queries that failed, by the code that the caller got.",
		}, []string{"code"}),
	}
	reg.MustRegister(m.duration, m.rows, m.failures)
	return m
}

func (m *metrics) done(outcome string, took time.Duration, rows int) {
	m.duration.WithLabelValues(outcome).Observe(took.Seconds())
	m.rows.Add(float64(rows))
}
