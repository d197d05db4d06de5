package ingest

import (
	"strings"

	"github.com/prometheus/client_golang/prometheus"
)

// agentMarks tell the families of clients by what is in their User-Agent, in lower case. The first that fits counts: the
// more special stand before the more general. SDKs name themselves as the specification asks,
// "OTel-OTLP-Exporter-Python/1.27.0", or as they did before it asked.
var agentMarks = []struct{ mark, family string }{
	{"collector", "collector"}, {"otelcol", "collector"}, {"alloy/", "alloy"},
	{"exporter-javascript", "javascript"}, {"exporter-java", "java"}, {"exporter-python", "python"}, {"exporter-dotnet", "dotnet"},
	{"exporter-ruby", "ruby"}, {"exporter-php", "php"}, {"exporter-rust", "rust"}, {"exporter-cpp", "cpp"}, {"exporter-swift", "swift"},
	{"exporter-erlang", "erlang"}, {"exporter-elixir", "erlang"}, {"exporter-go", "go"}, {"otel otlp exporter go", "go"}, {"otel go otlp", "go"},
	{"otel otlp exporter java", "java"}, {"fluent-bit", "fluent-bit"}, {"vector/", "vector"}, {"telegraf", "telegraf"},
	{"curl/", "curl"}, {"mozilla/", "browser"}, {"grpc-", "grpc"},
}

// Families that no mark stands for.
const (
	agentNone  = "none"
	agentOther = "other"
)

// maxAgentBytes is how much of a User-Agent is looked at.
const maxAgentBytes = 256

// agentFamily is a label value: one of a closed set, whatever the client says.
func agentFamily(userAgent string) string {
	if userAgent == "" {
		return agentNone
	}
	s := strings.ToLower(userAgent[:min(len(userAgent), maxAgentBytes)])
	for _, m := range agentMarks {
		if strings.Contains(s, m.mark) {
			return m.family
		}
	}
	return agentOther
}

// seenAgent is what a connection's last request said of its client.
type seenAgent struct {
	userAgent string
	requests  prometheus.Counter
}

// countAgent counts a request whose key is good. Connections mostly have one client, which is looked at once.
func (r *receiver) countAgent(from *conn, userAgent string) {
	if from == nil {
		return
	}
	seen := from.agent.Load()
	if seen == nil || seen.userAgent != userAgent {
		seen = &seenAgent{strings.Clone(userAgent[:min(len(userAgent), maxAgentBytes)]), r.metrics.agents.WithLabelValues(agentFamily(userAgent))}
		from.agent.Store(seen)
	}
	seen.requests.Inc()
}
