package ingest

import (
	"fmt"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus/testutil"
	"go.opentelemetry.io/collector/pdata/plog/plogotlp"

	"github.com/headgate-io/headgate/auth"
)

func TestO3AgentsAreAClosedSet(t *testing.T) {
	for agent, want := range map[string]string{
		"OTel OTLP Exporter Go/1.47.0 grpc-go/1.85.0":           "go",
		"OTel Go OTLP over HTTP/protobuf logs exporter/0.23.0":  "go",
		"OTel-OTLP-Exporter-JavaScript/0.223.0":                 "javascript",
		"OTel-OTLP-Exporter-Java/1.55.0":                        "java",
		"OTel-OTLP-Exporter-Python/1.38.0 grpc-python/1.74.0":   "python",
		"OpenTelemetry Collector Contrib/0.164.0 (linux/amd64)": "collector",
		"otelcol-custom/1.0 grpc-go/1.85.0":                     "collector",
		"Fluent-Bit":                                            "fluent-bit",
		"curl/8.5.0":                                            "curl",
		"Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36":    "browser",
		"grpc-java-netty/1.70.0":                                "grpc",
		"":                                                      "none", "x": "other", "\xff\n": "other", strings.Repeat("x", 1000) + "curl/": "other",
	} {
		if got := agentFamily(agent); got != want {
			t.Errorf("agentFamily(%.60q) = %q, want %q", agent, got, want)
		}
	}
}

// TestO3RequestsAreCountedByAgent: those with a good key, on both ports, and a client that makes up a name for each request
// makes no label (X9).
func TestO3RequestsAreCountedByAgent(t *testing.T) {
	g := start(t, Options{})
	_, key := g.tenant("acme", auth.NewTenant{})
	agents := g.server.receiver.metrics.agents
	for i := range 20 {
		want200(t, g.post("/v1/logs", strings.NewReader("{}"), "key", key, "Content-Type", jsonType, "User-Agent", fmt.Sprintf("made-up-%d", i)), jsonType, "{}")
		g.post("/v1/logs", strings.NewReader("{}"), "key", "hg_nobody", "Content-Type", jsonType, "User-Agent", "curl/8")
	}
	client := plogotlp.NewGRPCClient(g.dial())
	for range 3 {
		if _, err := client.Export(withKey(t.Context(), key), logs(1)); err != nil {
			t.Fatal(err)
		}
	}
	for family, want := range map[string]float64{"other": 20, "grpc": 3, "curl": 0} {
		if n := testutil.ToFloat64(agents.WithLabelValues(family)); n != want {
			t.Errorf("%v requests of %s, want %v", n, family, want)
		}
	}
	if n := testutil.CollectAndCount(agents); n != 3 {
		t.Errorf("%d families", n)
	}
}
