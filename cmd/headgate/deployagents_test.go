package main

import (
	"fmt"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// guideBlock is a block of docs/clients.md: that after a mark, of a language.
func guideBlock(t *testing.T, mark, language string) string {
	t.Helper()
	_, rest, found := strings.Cut(mustRead(t, "../../docs/clients.md"), mark)
	block := regexp.MustCompile("(?s)```" + language + "\n(.*?)\n```").FindStringSubmatch(rest)
	if !found || block == nil {
		t.Fatalf("the guide has no block after %q", mark)
	}
	return block[1]
}

// wantWithin fails the test for each setting of part that whole has not, or otherwise.
func wantWithin(t *testing.T, where string, part, whole any) {
	t.Helper()
	m, ok := part.(map[string]any)
	if !ok && part != nil {
		if fmt.Sprint(part) != fmt.Sprint(whole) {
			t.Errorf("%s is %v, in the guide %v", where, whole, part)
		}
		return
	}
	for key, value := range m {
		wantWithin(t, where+"."+key, value, in(whole, key))
	}
}

// TestAgentFilesHaveTheGuidesSettings: what docs/clients.md says, and make clients runs, is what operators copy.
func TestAgentFilesHaveTheGuidesSettings(t *testing.T) {
	file := func(name string) string { return mustRead(t, filepath.Join(deployDir, "agents", name)) }
	parse := func(text string) any { return documents(t, "agents", text)[0] }
	gateway := parse(file("collector-gateway.yaml"))
	for _, mark := range []string{"tested: collector -->", "tested: collector-disk -->"} {
		block := parse(guideBlock(t, mark, "yaml"))
		wantWithin(t, "exporters.otlp", in(block, "exporters", "otlp"), in(gateway, "exporters", "otlp"))
		wantWithin(t, "extensions", in(block, "extensions"), in(gateway, "extensions"))
	}
	vector := guideBlock(t, "\n## Vector", "yaml")
	for _, signal := range []string{"logs", "traces", "metrics"} {
		wantWithin(t, "vector", parse(strings.NewReplacer("headgate_logs", "headgate_"+signal, "otel.logs", "otel."+signal, "v1/logs", "v1/"+signal).Replace(vector)), parse(file("vector.yaml")))
	}

	fluent, section := parse(file("fluent-bit.yaml")), any(nil)
	for line := range strings.Lines(guideBlock(t, "\n## Fluent Bit", "")) {
		switch key, value, _ := strings.Cut(strings.TrimSpace(line), " "); key {
		case "":
		case "[SERVICE]":
			section = in(fluent, "service")
		case "[INPUT]":
			section = in(fluent, "pipeline", "inputs", 0)
		case "[OUTPUT]":
			section = in(fluent, "pipeline", "outputs", 0)
		default:
			wantWithin(t, "fluent-bit "+key, strings.TrimSpace(value), in(section, key))
		}
	}

	env := strings.Split(file("sdk.env"), "\n")
	for line := range strings.Lines(guideBlock(t, "tested: environment -->", "sh")) {
		want := strings.NewReplacer("export ", "", `"`, "", "$HEADGATE_KEY", "${HEADGATE_KEY}", "\n", "").Replace(line)
		if !slices.Contains(env, want) {
			t.Errorf("sdk.env lacks %s", want)
		}
	}
}

// TestCollectorsPipelinesNameWhatIsThere: each receiver, processor, exporter and extension that a service names is configured, and each
// configured one is used.
func TestCollectorsPipelinesNameWhatIsThere(t *testing.T) {
	for _, path := range mustGlob(t, filepath.Join(deployDir, "agents", "collector-*.yaml")) {
		config := documents(t, path, mustRead(t, path))[0]
		used := map[string]bool{}
		use := func(kind string, names any) {
			for _, name := range list(names) {
				used[kind+" "+name.(string)] = true
				if _, ok := mapOf(in(config, kind))[name.(string)]; !ok {
					t.Errorf("%s: no %s %s", path, kind, name)
				}
			}
		}
		use("extensions", in(config, "service", "extensions"))
		for _, signal := range []string{"logs", "traces", "metrics"} {
			for _, kind := range []string{"receivers", "processors", "exporters"} {
				names := in(config, "service", "pipelines", signal, kind)
				if use(kind, names); len(list(names)) == 0 {
					t.Errorf("%s: %s have no %s", path, signal, kind)
				}
			}
		}
		for _, kind := range []string{"extensions", "receivers", "processors", "exporters"} {
			for name := range mapOf(in(config, kind)) {
				if !used[kind+" "+name] {
					t.Errorf("%s: %s %s is not used", path, kind, name)
				}
			}
		}
	}
}
