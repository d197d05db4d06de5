package metering

import "github.com/prometheus/client_golang/prometheus"

// meterMetrics and ledgerMetrics have no tenant label; who used how much is the ledger's to tell.
type meterMetrics struct {
	admitted        prometheus.Counter
	heartbeats      prometheus.Counter
	refusedBytes    *prometheus.CounterVec
	refusedRequests *prometheus.CounterVec
}

// newMeterMetrics registers the metrics unless reg is nil.
func newMeterMetrics(reg prometheus.Registerer) *meterMetrics {
	m := &meterMetrics{
		admitted: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "headgate_metering_admitted_bytes_total",
			Help: "Bytes that fitted all limits when they arrived; some may be given back after decoding.",
		}),
		heartbeats: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "headgate_metering_heartbeats_total",
			Help: "Requests let pass unbilled by the policy sample.",
		}),
		refusedBytes: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "headgate_metering_refused_bytes_total",
			Help: "Bytes that did not fit, by the limit in the way. Unread bodies count in the requests alone.",
		}, []string{"limit"}),
		refusedRequests: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "headgate_metering_refused_requests_total",
			Help: "Requests that did not fit, by the limit in the way.",
		}, []string{"limit"}),
	}
	for _, of := range limitIDs {
		for _, id := range of {
			m.refusedBytes.WithLabelValues(id)
			m.refusedRequests.WithLabelValues(id)
		}
	}
	if reg != nil {
		reg.MustRegister(m.admitted, m.heartbeats, m.refusedBytes, m.refusedRequests)
	}
	return m
}

type ledgerMetrics struct {
	receipts       prometheus.Counter
	lateReceipts   prometheus.Counter
	commitFailures prometheus.Counter
	commitSeconds  prometheus.Histogram
	droppedCounts  prometheus.Counter
	sealHeld       prometheus.Gauge
}

// newLedgerMetrics registers the metrics unless reg is nil.
func newLedgerMetrics(reg prometheus.Registerer) *ledgerMetrics {
	m := &ledgerMetrics{
		receipts: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "headgate_metering_receipts_total",
			Help: "Receipts that are durable in the usage ledger.",
		}),
		lateReceipts: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "headgate_metering_late_receipts_total",
			Help: "Receipts whose hour was sealed before they were applied: billed as corrections in the first open hour.",
		}),
		commitFailures: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "headgate_metering_commit_failures_total",
			Help: "Ledger transactions that failed; they are tried again.",
		}),
		commitSeconds: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name:    "headgate_metering_commit_duration_seconds",
			Help:    "Time of one ledger transaction, its sync included.",
			Buckets: prometheus.ExponentialBuckets(0.0005, 2, 14),
		}),
		droppedCounts: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "headgate_metering_dropped_counts_total",
			Help: "Refused requests that the ledger could not count: malformed, or too many rows waited for the database.",
		}),
		sealHeld: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "headgate_metering_seal_held_seconds",
			Help: "How much of the usage another replica that is gone or behind keeps from being sealed.",
		}),
	}
	if reg != nil {
		reg.MustRegister(m.receipts, m.lateReceipts, m.commitFailures, m.commitSeconds, m.droppedCounts, m.sealHeld)
	}
	return m
}

// newLeaseMetrics makes the counter of exchanges with the database, by outcome, and registers it unless reg is nil.
func newLeaseMetrics(reg prometheus.Registerer) *prometheus.CounterVec {
	m := prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "headgate_metering_lease_exchanges_total",
		Help: "Transactions in which bytes of limits were leased or returned.",
	}, []string{"outcome"})
	for _, outcome := range []string{"ok", "failed"} {
		m.WithLabelValues(outcome)
	}
	if reg != nil {
		reg.MustRegister(m)
	}
	return m
}
