package storage

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

type writerMetrics struct {
	rows     *prometheus.CounterVec   // by table
	inserts  *prometheus.CounterVec   // by table, outcome
	duration *prometheus.HistogramVec // by table
	runRows  *prometheus.HistogramVec // by table
	refused  prometheus.Counter
}

func newWriterMetrics(reg prometheus.Registerer, pendingBytes func() float64) *writerMetrics {
	m := &writerMetrics{
		rows: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "headgate_storage_inserted_rows_total", Help: "Rows that ClickHouse has committed.",
		}, []string{"table"}),
		inserts: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "headgate_storage_inserts_total", Help: "INSERT statements sent, by outcome (ok, error).",
		}, []string{"table", "outcome"}),
		duration: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "headgate_storage_insert_duration_seconds", Help: "Time until ClickHouse answered an INSERT.",
			Buckets: prometheus.ExponentialBuckets(0.002, 2, 14),
		}, []string{"table"}),
		runRows: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "headgate_storage_insert_rows", Help: "Rows per INSERT.",
			Buckets: prometheus.ExponentialBuckets(1, 4, 10),
		}, []string{"table"}),
		refused: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "headgate_storage_refused_writes_total", Help: "Writes refused because too many bytes were waiting.",
		}),
	}
	reg.MustRegister(m.rows, m.inserts, m.duration, m.runRows, m.refused,
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Name: "headgate_storage_pending_bytes", Help: "Encoded bytes waiting for, or in, an INSERT.",
		}, pendingBytes))
	return m
}

func (m *writerMetrics) observe(table string, rows int, took time.Duration, err error) {
	outcome := "ok"
	if err != nil {
		outcome = "error"
	} else {
		m.rows.WithLabelValues(table).Add(float64(rows))
	}
	m.inserts.WithLabelValues(table, outcome).Inc()
	m.duration.WithLabelValues(table).Observe(took.Seconds())
	m.runRows.WithLabelValues(table).Observe(float64(rows))
}
