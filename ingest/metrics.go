package ingest

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/headgate-io/headgate/ingest/otlp"
)

// transport is a label value.
type transport string

const (
	transportGRPC transport = "grpc"
	transportHTTP transport = "http"
	// signalUnknown labels requests to paths and services that are not ours, whatever they were called.
	signalUnknown = "unknown"
	// What became of a request that was not refused.
	outcomeAccepted = "accepted"
	outcomeDropped  = "dropped"
	outcomeRepeated = "repeated"
)

type metrics struct {
	requests *prometheus.CounterVec   // by transport, signal, outcome
	bytes    *prometheus.CounterVec   // by transport, signal; uncompressed, of accepted requests
	records  *prometheus.CounterVec   // by signal; accepted
	rejected *prometheus.CounterVec   // by signal, reason
	dropped  *prometheus.CounterVec   // by signal; by the policy drop
	unknown  *prometheus.CounterVec   // by signal; fields
	duration *prometheus.HistogramVec // by transport, signal
	waited   prometheus.Histogram
	panics   prometheus.Counter

	connections *prometheus.GaugeVec // by transport; open
	held        prometheus.Counter
	agents      *prometheus.CounterVec // by agent
	turned      *prometheus.CounterVec // by transport, reason
}

func newMetrics(reg prometheus.Registerer, inUse func() float64) *metrics {
	counter := func(name, help string, labels ...string) *prometheus.CounterVec {
		v := prometheus.NewCounterVec(prometheus.CounterOpts{Name: "headgate_ingest_" + name, Help: help}, labels)
		reg.MustRegister(v)
		return v
	}
	m := &metrics{
		requests: counter("requests_total", "OTLP requests, by outcome: accepted, dropped, repeated (known already), or the id of the refusal.", "transport", "signal", "outcome"),
		bytes:    counter("accepted_bytes_total", "Uncompressed protobuf bytes of accepted requests.", "transport", "signal"),
		records:  counter("accepted_records_total", "Log records, spans, data points and profiles accepted.", "signal"),
		rejected: counter("rejected_records_total", "Records rejected out of accepted requests.", "signal", "reason"),
		dropped:  counter("dropped_records_total", "Records dropped at a limit by their tenant's policy.", "signal"),
		unknown:  counter("unknown_fields_total", "Fields of accepted requests that this version does not know, and does not store.", "signal"),
		duration: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "headgate_ingest_request_duration_seconds", Help: "Time from a request's body to its answer.",
			Buckets: prometheus.ExponentialBuckets(0.002, 2, 13),
		}, []string{"transport", "signal"}),
		connections: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "headgate_ingest_connections", Help: "Open connections, by the port that they came to.",
		}, []string{"transport"}),
		waited: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "headgate_ingest_turn_wait_seconds", Help: "Time that requests waited for their turn to be decompressed and decoded.",
			Buckets: prometheus.ExponentialBuckets(0.0001, 4, 9),
		}),
		turned: counter("connections_refused_total", "Connections turned away: too-many, too-many-of-peer, greeting (TLS or first bytes failed), wrong-port.", "transport", "reason"),
		agents: counter("agent_requests_total", "Requests with a good key, by the family of their User-Agent: a language's SDK, a collector, none or other.", "agent"),
		held: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "headgate_ingest_auth_throttled_total", Help: "Refused keys whose connection was read more slowly after: their address had shown too many.",
		}),
		panics: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "headgate_ingest_panics_total", Help: "Requests that failed by a defect of headgate.",
		}),
	}
	reg.MustRegister(m.duration, m.waited, m.held, m.panics, m.connections,
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Name: "headgate_ingest_inflight_bytes", Help: "Memory held by requests being received, decoded or stored, of --max-inflight.",
		}, inUse))
	return m
}

// refuse counts a request that was refused on its headers, or while its body was read.
func (m *metrics) refuse(via transport, signal string, f *failure) {
	m.requests.WithLabelValues(string(via), signal, f.id).Inc()
}

// turnAway counts a connection that no server got.
func (m *metrics) turnAway(via transport, reason string) {
	m.turned.WithLabelValues(string(via), reason).Inc()
}

// finish counts a request that was read whole.
func (m *metrics) finish(c call, outcome string, result otlp.Result, size int, took time.Duration) {
	via, signal := string(c.via), c.signal.String()
	m.duration.WithLabelValues(via, signal).Observe(took.Seconds())
	m.requests.WithLabelValues(via, signal, outcome).Inc()
	if outcome != outcomeAccepted {
		return
	}
	m.bytes.WithLabelValues(via, signal).Add(float64(size))
	m.records.WithLabelValues(signal).Add(float64(result.Accepted))
	for reason, n := range result.Reasons {
		if n > 0 {
			m.rejected.WithLabelValues(signal, otlp.Reason(reason).String()).Add(float64(n))
		}
	}
}
