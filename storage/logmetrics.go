package storage

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

type logMetrics struct {
	rows     *prometheus.CounterVec   // by table
	inserts  *prometheus.CounterVec   // by table, outcome
	duration *prometheus.HistogramVec // by table
	runRows  *prometheus.HistogramVec // by table
	syncs    prometheus.Histogram
	group    prometheus.Histogram
	refused  prometheus.Counter
	runs     prometheus.Counter
	receipts prometheus.Counter
	found    prometheus.Counter
	repaired prometheus.Counter
	splits   prometheus.Counter
	setAside prometheus.Counter
	damaged  prometheus.Counter
	purged   prometheus.Counter

	undescribed   prometheus.Counter
	seriesRefused prometheus.Counter
}

func newLogMetrics(reg prometheus.Registerer) *logMetrics {
	counter := func(name, help string) prometheus.Counter {
		c := prometheus.NewCounter(prometheus.CounterOpts{Name: "headgate_storage_" + name, Help: help})
		reg.MustRegister(c)
		return c
	}
	histogram := func(name, help string, buckets []float64) prometheus.HistogramOpts {
		return prometheus.HistogramOpts{Name: "headgate_storage_" + name, Help: help, Buckets: buckets}
	}
	m := &logMetrics{
		rows: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "headgate_storage_inserted_rows_total", Help: "Rows of INSERTs that ClickHouse has confirmed.",
		}, []string{"table"}),
		inserts: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "headgate_storage_inserts_total", Help: "INSERT statements sent, by outcome (ok, error).",
		}, []string{"table", "outcome"}),
		duration: prometheus.NewHistogramVec(histogram("insert_duration_seconds", "Time until ClickHouse answered an INSERT.",
			prometheus.ExponentialBuckets(0.002, 2, 14)), []string{"table"}),
		runRows: prometheus.NewHistogramVec(histogram("insert_rows", "Rows per INSERT.", prometheus.ExponentialBuckets(1, 4, 10)),
			[]string{"table"}),
		syncs: prometheus.NewHistogram(histogram("log_sync_duration_seconds", "Time to make a group of requests durable.",
			prometheus.ExponentialBuckets(0.0001, 2, 16))),
		group: prometheus.NewHistogram(histogram("log_group_entries", "Entries that shared a sync of the log.",
			prometheus.ExponentialBuckets(1, 2, 11))),
		refused:       counter("log_refused_requests_total", "Requests refused because the log was full or failed."),
		runs:          counter("settled_runs_total", "Runs that are in ClickHouse and in the ledger."),
		receipts:      counter("settled_requests_total", "Requests whose rows are in ClickHouse and whose receipts are in the ledger."),
		found:         counter("found_partitions_total", "Partitions of uncertain inserts that ClickHouse turned out to have: what was not sent twice."),
		repaired:      counter("repaired_partitions_total", "Partitions that were missing after an interrupted insert, and were sent alone."),
		splits:        counter("split_runs_total", "Runs halved because ClickHouse refused something in them."),
		setAside:      counter("rejected_requests_total", "Acked requests set aside because ClickHouse does not take them. See headgate wal inspect."),
		purged:        counter("purged_rows_total", "Rows of acked requests dropped because their tenant is being deleted, or was."),
		seriesRefused: counter("refused_series_inserts_total", "INSERTs into otel_metrics_series that ClickHouse refused for what is in them. Their requests are tried in halves."),
		undescribed:   counter("undescribed_blocks_total", "Blocks of data points whose series could not be read, and which otel_metrics_series may lack."),
		damaged:       counter("damaged_requests_total", "Acked requests lost because the disk has damaged their log entries."),
	}
	reg.MustRegister(m.rows, m.inserts, m.duration, m.runRows, m.syncs, m.group)
	return m
}

// showLog registers what is read from l itself. The process is scraped while its log is being recovered, so l must be open.
func showLog(reg prometheus.Registerer, l *Log) {
	gauge := func(name, help string, f func() float64) {
		reg.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: "headgate_storage_" + name, Help: help}, f))
	}
	gauge("log_bytes", "Size of the log on disk.", func() float64 { return float64(l.wal.Stats().Bytes) })
	gauge("log_limit_bytes", "Size at which the log takes nothing more.", func() float64 { return float64(l.opt.MaxBytes) })
	gauge("log_disk_free_bytes", "Free space on the log's disk; below the reserve the log takes nothing more. -1 where it cannot be told.", func() float64 {
		free, err := l.disk.free(l.opt.Now())
		if err != nil {
			return -1
		}
		return float64(free)
	})
	gauge("log_disk_reserve_bytes", "Free space on that disk that requests leave.", func() float64 { return float64(max(l.opt.ReserveBytes, 0)) })
	gauge("log_requests", "Requests in the log that are not yet in ClickHouse and in the ledger.", func() float64 {
		l.mu.Lock()
		defer l.mu.Unlock()
		return float64(l.entries)
	})
	gauge("log_age_seconds", "Time since the oldest of those requests was received.", func() float64 {
		oldest, ok := l.Oldest()
		if !ok {
			return 0
		}
		return l.opt.Now().Sub(oldest).Seconds()
	})
}

func (m *logMetrics) inserted(table string, rows int, took time.Duration, err error) {
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

func (m *logMetrics) settled(p *plan) {
	m.runs.Inc()
	m.receipts.Add(float64(len(p.receipts)))
}

// synced is called by the log for each group.
func (m *logMetrics) synced(took time.Duration, entries int, _ int64, _ error) {
	m.syncs.Observe(took.Seconds())
	m.group.Observe(float64(entries))
}
