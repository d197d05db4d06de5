package query

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// metrics counts what readers do. Labels come from closed sets.
type metrics struct {
	duration *prometheus.HistogramVec // outcome: ok, error
	queued   prometheus.Histogram
	rows     prometheus.Counter
	failures *prometheus.CounterVec // code: those of failure

	cache      *prometheus.CounterVec // outcome: hit, joined, miss
	cacheBytes prometheus.Gauge
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
	m.cache = prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "headgate_query_cache_total", Help: "Queries that may be answered from the cache, by what came of it.",
	}, []string{"outcome"})
	m.cacheBytes = prometheus.NewGauge(prometheus.GaugeOpts{Name: "headgate_query_cache_bytes", Help: "Answers that are kept."})
	m.queued = prometheus.NewHistogram(prometheus.HistogramOpts{
		Name: "headgate_query_queue_duration_seconds", Help: "Time that queries waited for a place.",
		Buckets: []float64{.001, .01, .1, .5, 1, 2, 5},
	})
	reg.MustRegister(m.queued, m.duration, m.rows, m.failures, m.cache, m.cacheBytes)
	return m
}

func (m *metrics) done(outcome string, took, queued time.Duration, rows int) {
	m.queued.Observe(queued.Seconds())
	m.duration.WithLabelValues(outcome).Observe(took.Seconds())
	m.rows.Add(float64(rows))
}

// cached counts an answer from the cache; joined says that its caller waited for another's question.
func (m *metrics) cached(joined bool) {
	outcome := "hit"
	if joined {
		outcome = "joined"
	}
	m.cache.WithLabelValues(outcome).Inc()
}
