package clients

import (
	"os"
	"path/filepath"
	"testing"

	"go.opentelemetry.io/collector/confmap"
	"go.opentelemetry.io/collector/exporter/otlpexporter"
)

// TestCollectorsReadTheAgentFiles: the Collector's own exporter knows every setting that deploy/agents gives it.
func TestCollectorsReadTheAgentFiles(t *testing.T) {
	for _, name := range []string{"collector-gateway.yaml", "collector-agent.yaml"} {
		raw, err := os.ReadFile(filepath.Join("..", "deploy", "agents", name))
		if err != nil {
			t.Fatal(err)
		}
		parsed, err := confmap.NewRetrievedFromYAML(raw)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		conf, err := parsed.AsConf()
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		section, err := conf.Sub("exporters::otlp")
		if err != nil || len(section.AllKeys()) == 0 {
			t.Fatalf("%s: no exporter: %v", name, err)
		}
		cfg := otlpexporter.NewFactory().CreateDefaultConfig()
		if err := section.Unmarshal(cfg); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if err := confmap.Validate(cfg); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}
