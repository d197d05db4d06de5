package auth

import "github.com/prometheus/client_golang/prometheus"

type metrics struct {
	checks       *prometheus.CounterVec
	syncFailures prometheus.Counter
	syncedAt     prometheus.Gauge
	tenants      prometheus.Gauge
	keys         prometheus.Gauge
}

// newMetrics makes the package's metrics, registered unless reg is nil. None has a tenant label.
func newMetrics(reg prometheus.Registerer) *metrics {
	m := &metrics{
		checks: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "headgate_auth_checks_total",
			Help: "Credentials checked, by result: ok or the code of the refusal.",
		}, []string{"result"}),
		syncFailures: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "headgate_auth_sync_failures_total",
			Help: "Failed looks for changes of tenants and keys; the last known state stays in force.",
		}),
		syncedAt: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "headgate_auth_synced_timestamp_seconds",
			Help: "When tenants and keys were last known to be current.",
		}),
		tenants: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "headgate_auth_tenants",
			Help: "Tenants in memory, deleted ones included.",
		}),
		keys: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "headgate_auth_keys",
			Help: "API keys in memory that are not revoked.",
		}),
	}
	for _, e := range []*Error{ErrNoCredential, ErrUnknownKey, ErrExpired, ErrTenantInactive, ErrKeysUnavailable} {
		m.checks.WithLabelValues(e.Code)
	}
	m.checks.WithLabelValues("ok")
	if reg != nil {
		reg.MustRegister(m.checks, m.syncFailures, m.syncedAt, m.tenants, m.keys)
	}
	return m
}
