package main

import (
	"fmt"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"
)

// TestSettingsInFilesAreTaken: serve takes the values that unit, image and manifests give it, and the ports are its own.
func TestSettingsInFilesAreTaken(t *testing.T) {
	assigned := regexp.MustCompile(`(?m)(?:^#?|^ENV |^Environment=| +)(HEADGATE_[A-Z_]+)=([^\s\\]+)`)
	for _, file := range []string{"systemd/headgate.service", "systemd/headgate.env.example", "docker/Dockerfile", "clickhouse/headgate.env.example",
		"clickhouse/headgate-query.env.example"} {
		values := map[string]string{}
		for _, m := range assigned.FindAllStringSubmatch(mustRead(t, filepath.Join(deployDir, file)), -1) {
			if m[1] != "HEADGATE_CACHE_DIR" {
				values[m[1]] = m[2]
			}
		}
		if len(values) == 0 {
			t.Errorf("%s sets nothing", file)
		}
		wantTaken(t, file, values)
	}
}

// TestComposeFitsTogether: what services name is there, and headgate's ports are its own. It is not run: that needs a container engine.
func TestComposeFitsTogether(t *testing.T) {
	docs := documents(t, "compose.yaml", mustRead(t, filepath.Join(deployDir, "compose.yaml")))
	services, volumes := in(docs[0], "services").(map[string]any), in(docs[0], "volumes").(map[string]any)
	own := slices.Collect(func(yield func(string) bool) {
		for _, port := range defaultPorts(t) {
			if !yield(port) {
				return
			}
		}
	})
	for name, s := range services {
		values := map[string]string{}
		for key, value := range mapOf(in(s, "environment")) {
			if strings.HasPrefix(key, "HEADGATE_") {
				values[key] = fmt.Sprint(value)
			}
		}
		wantTaken(t, name, values)
		for other := range mapOf(in(s, "depends_on")) {
			if services[other] == nil || in(services[other], "healthcheck") == nil {
				t.Errorf("%s waits for the health of %s", name, other)
			}
		}
		for _, v := range list(in(s, "volumes")) {
			source, _, _ := strings.Cut(v.(string), ":")
			if _, ok := volumes[source]; !ok && !strings.HasPrefix(source, "./") {
				t.Errorf("%s: no volume %s", name, source)
			}
		}
		for _, p := range list(in(s, "ports")) {
			parts := strings.Split(p.(string), ":")
			if port := parts[len(parts)-1]; !slices.Contains(own, port) {
				t.Errorf("%s: port %s is not headgate's", name, port)
			}
			if port := parts[len(parts)-1]; port == "9464" && parts[0] != "127.0.0.1" {
				t.Errorf("%s: telemetry, which asks for no credential, is open to all: %s", name, p)
			}
		}
		grace, _ := time.ParseDuration(fmt.Sprint(in(s, "stop_grace_period")))
		if strings.HasPrefix(name, "headgate") && grace < 3*DefaultConfig().ShutdownGrace {
			t.Errorf("%s has %s to stop", name, grace)
		}
	}
}

func mapOf(v any) map[string]any {
	m, _ := v.(map[string]any)
	return m
}
