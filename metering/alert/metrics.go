package alert

import (
	"slices"
	"strconv"

	"github.com/prometheus/client_golang/prometheus"
)

type metrics struct {
	events   *prometheus.CounterVec
	attempts *prometheus.CounterVec
	ended    *prometheus.CounterVec
	busy     prometheus.Gauge
}

// newMetrics registers the metrics unless reg is nil.
func newMetrics(reg prometheus.Registerer) *metrics {
	m := &metrics{
		events: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "headgate_alert_events_total",
			Help: "Events that this process took to the audit, by kind and threshold in percent (0: none).",
		}, []string{"kind", "threshold"}),
		attempts: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "headgate_alert_attempts_total",
			Help: "Attempts to deliver to a webhook by result: delivered, status (an answer that is not 2xx), redirect, gone (410, " +
				"which disables the webhook), address (private or reserved), timeout, network, canceled (headgate stopped).",
		}, []string{"result"}),
		ended: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "headgate_alert_deliveries_total",
			Help: "Deliveries that ended: delivered, or failed for a day.",
		}, []string{"state"}),
		busy: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "headgate_alert_webhooks_busy",
			Help: "Webhooks that are being spoken to.",
		}),
	}
	for _, r := range results {
		m.attempts.WithLabelValues(r)
	}
	for _, s := range []string{StateDelivered, StateFailed} {
		m.ended.WithLabelValues(s)
	}
	if reg != nil {
		reg.MustRegister(m.events, m.attempts, m.ended, m.busy)
	}
	return m
}

func (m *metrics) event(a Alert) {
	kind, threshold := "other", "other"
	if slices.Contains(Kinds, a.Kind) {
		kind = string(a.Kind)
	}
	if a.Threshold == 0 || slices.Contains(Thresholds, a.Threshold) {
		threshold = strconv.Itoa(a.Threshold)
	}
	m.events.WithLabelValues(kind, threshold).Inc()
}
