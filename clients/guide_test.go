package clients

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"go.opentelemetry.io/collector/component"
	"go.opentelemetry.io/collector/confmap"
	"go.opentelemetry.io/collector/exporter/otlpexporter"
	"go.opentelemetry.io/collector/exporter/otlphttpexporter"
	"go.opentelemetry.io/otel/exporters/otlp/otlplog/otlploghttp"
	"go.opentelemetry.io/otel/exporters/otlp/otlpmetric/otlpmetrichttp"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracehttp"
)

// example returns a block of the guide that is marked <!-- tested: name -->, with the addresses and the key of a target
// in place of the guide's.
func example(name string, to target) (string, error) {
	page, err := os.ReadFile(guide)
	if err != nil {
		return "", err
	}
	block := regexp.MustCompile("(?s)<!-- tested: " + name + " -->\n```[a-z]+\n(.*?)\n```").FindSubmatch(page)
	if block == nil {
		return "", fmt.Errorf("%s has no example %q", guide, name)
	}
	return strings.NewReplacer("127.0.0.1:4317", to.grpc, "127.0.0.1:4318", to.http, "${env:HEADGATE_KEY}", to.key, "/var/lib/otelcol", to.queue).Replace(string(block[1])), nil
}

// asInTheGuide is the collector's exporter over gRPC with the settings that the guide recommends.
func asInTheGuide() client {
	return client{"collector otlp, guide", func(ctx context.Context, to target, p plan, t *tally) error {
		f := otlpexporter.NewFactory()
		cfg := f.CreateDefaultConfig().(*otlpexporter.Config)
		if err := fromGuide("collector", "exporters::otlp", to, cfg); err != nil {
			return err
		}
		if batch := cfg.QueueConfig.Get().Batch.Get(); p.largest > 0 {
			batch.MinSize, batch.MaxSize = int64(p.largest), int64(p.largest)
		}
		return runCollector(ctx, f, cfg, p, t)
	}}
}

// fromGuide reads one section of an example; a setting that the component does not know is an error.
func fromGuide(name, path string, to target, cfg component.Config) error {
	text, err := example(name, to)
	if err != nil {
		return err
	}
	parsed, err := confmap.NewRetrievedFromYAML([]byte(text))
	if err != nil {
		return err
	}
	conf, err := parsed.AsConf()
	if err != nil {
		return err
	}
	section, err := conf.Sub(path)
	if err != nil {
		return err
	}
	if len(section.AllKeys()) == 0 {
		return fmt.Errorf("%s: example %q has no %s", guide, name, path)
	}
	if err := section.Unmarshal(cfg); err != nil {
		return err
	}
	return confmap.Validate(cfg)
}

// everythingStored counts all rows of a tenant.
func (s *server) everythingStored(k key) (rows int) {
	s.t.Helper()
	s.flushed()
	for _, source := range []string{"logs", "spans", "metrics"} {
		var n int
		if _, err := fmt.Sscanf(strings.ReplaceAll(s.cli("query", "--key", k.Key, "--format", "ndjson", source+" | count"), " ", ""), `{"count":%d}`, &n); err != nil {
			s.t.Fatal(err)
		}
		rows += n
	}
	return rows
}

// TestExamplesOfTheGuide runs each marked example as it stands there, addresses and key aside.
func TestExamplesOfTheGuide(t *testing.T) {
	s := serve(t, "--cors-origin", "https://shop.example")
	s.cli("tenant", "create", "acme")
	k := s.newKey("acme")
	to := target{grpc: s.addr.GRPC, http: s.addr.HTTP, key: k.Key}
	bin, err := filepath.Abs(filepath.Join("..", "bin"))
	if err != nil {
		t.Fatal(err)
	}
	shell := func(t *testing.T, name, then string) string {
		t.Helper()
		text, err := example(name, to)
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
		defer cancel()
		cmd := exec.CommandContext(ctx, "sh", "-euc", text+"\n"+then)
		cmd.WaitDelay = time.Second
		cmd.Env = append(os.Environ(), "HEADGATE_KEY="+k.Key, "PATH="+bin+":"+os.Getenv("PATH"))
		out, err := cmd.CombinedOutput()
		if err != nil {
			t.Fatalf("%v:\n%s\n%s", err, text, out)
		}
		return string(out)
	}
	need := func(t *testing.T, command string) {
		t.Helper()
		if _, err := os.Stat(filepath.Join(bin, command)); err == nil {
			return
		}
		if _, err := exec.LookPath(command); err != nil {
			t.Skip(err)
		}
	}
	stores := func(name string, want int, run func(t *testing.T)) {
		t.Run(name, func(t *testing.T) {
			before := s.everythingStored(k)
			run(t)
			if got := s.everythingStored(k) - before; got != want {
				t.Errorf("%d records stored, want %d", got, want)
			}
		})
	}
	stores("curl", 1, func(t *testing.T) {
		need(t, "curl")
		if out := shell(t, "curl", ""); strings.TrimSpace(out) != "{}" {
			t.Errorf("curl printed %q, want {}", out)
		}
	})
	stores("telemetrygen over gRPC", 10, func(t *testing.T) { need(t, "telemetrygen"); shell(t, "telemetrygen-grpc", "") })
	stores("telemetrygen over HTTP", 20, func(t *testing.T) { need(t, "telemetrygen"); shell(t, "telemetrygen-http", "") })
	stores("environment, Node", 3, func(t *testing.T) {
		if reason := nodeReady(); reason != "" {
			t.Skip(reason)
		}
		shell(t, "environment", "exec node node/app.mjs")
	})
	stores("environment, Go", 60, func(t *testing.T) {
		for _, line := range strings.Split(shell(t, "environment", "env"), "\n") {
			if name, value, ok := strings.Cut(line, "="); ok && strings.HasPrefix(name, "OTEL_") {
				t.Setenv(name, value)
			}
		}
		var g goSDK
		var errs [3]error
		g.logs, errs[0] = otlploghttp.New(t.Context())
		g.traces, errs[1] = otlptracehttp.New(t.Context())
		g.metrics[0], errs[2] = otlpmetrichttp.New(t.Context())
		for _, err := range errs {
			if err != nil {
				t.Fatal(err)
			}
		}
		for batch := range 3 {
			if err := g.export(t.Context(), everything, batch); err != nil {
				t.Error(err)
			}
		}
	})
	t.Run("CORS", func(t *testing.T) {
		need(t, "curl")
		if out := shell(t, "cors", ""); !strings.Contains(strings.ToLower(out), "access-control-allow-origin: https://shop.example") {
			t.Errorf("the preflight was answered\n%s", out)
		}
	})
	t.Run("collector, HTTP", func(t *testing.T) {
		f := otlphttpexporter.NewFactory()
		cfg := f.CreateDefaultConfig()
		if err := fromGuide("collector", "exporters::otlphttp", to, cfg); err != nil {
			t.Fatal(err)
		}
		var sent tally
		p := everything
		p.batches = 6
		if err := runCollector(t.Context(), f, cfg, p, &sent); err != nil || sent.acked != 120 {
			t.Errorf("%d records acked of 120: %v%s", sent.acked, err, sent.why())
		}
	})
}
