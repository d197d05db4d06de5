package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"go.yaml.in/yaml/v3"

	"github.com/headgate-io/headgate/internal/pgtest"
)

// documents are those of a YAML text.
func documents(t *testing.T, name, text string) (docs []any) {
	t.Helper()
	for d := yaml.NewDecoder(strings.NewReader(text)); ; {
		var doc any
		err := d.Decode(&doc)
		if errors.Is(err, io.EOF) {
			return docs
		}
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		docs = append(docs, doc)
	}
}

// in follows keys of maps and indices of lists; nil if something is not there.
func in(v any, path ...any) any {
	for _, step := range path {
		switch s := step.(type) {
		case string:
			m, _ := v.(map[string]any)
			v = m[s]
		case int:
			l, _ := v.([]any)
			if v = nil; s < len(l) {
				v = l[s]
			}
		}
	}
	return v
}

func list(v any) []any {
	l, _ := v.([]any)
	return l
}

// defaultPorts are the ports of serve by the names that manifests have for them.
func defaultPorts(t *testing.T) map[string]string {
	t.Helper()
	c, ports := DefaultConfig(), map[string]string{}
	for name, addr := range map[string]string{"otlp-grpc": c.OTLPGRPC, "otlp-http": c.OTLPHTTP, "api": c.API, "telemetry": c.Telemetry} {
		_, port, err := net.SplitHostPort(addr)
		if err != nil {
			t.Fatal(err)
		}
		ports[name] = port
	}
	return ports
}

// wantTaken fails the test if serve's flags do not take the values, by variable. Those with an ellipsis are to be filled in.
func wantTaken(t *testing.T, where string, values map[string]string) {
	t.Helper()
	flags := newServe().Flags()
	for name, value := range values {
		flag := flags.Lookup(strings.ToLower(strings.ReplaceAll(strings.TrimPrefix(name, "HEADGATE_"), "_", "-")))
		if flag == nil {
			t.Errorf("%s: serve does not know %s", where, name)
		} else if err := flag.Value.Set(value); err != nil {
			t.Errorf("%s: %s=%s: %v", where, name, value, err)
		}
		if host, port, err := net.SplitHostPort(value); err == nil && !slices.Contains([]string{"4317", "4318", "8080", "9464"}, port) {
			t.Errorf("%s: %s=%s: not a port of headgate's, %s", where, name, value, host)
		}
	}
}

// manifests are the objects of a kustomization by kind, as kubectl builds them, or as they are written where there is none.
func manifests(t *testing.T, dir string) map[string][]any {
	t.Helper()
	var text string
	if kubectl, err := exec.LookPath("kubectl"); err == nil {
		var out, errs bytes.Buffer
		cmd := exec.CommandContext(t.Context(), kubectl, "kustomize", dir)
		cmd.Stdout, cmd.Stderr, cmd.WaitDelay = &out, &errs, 10*time.Second
		if err := cmd.Run(); err != nil {
			t.Fatalf("kubectl kustomize: %v\n%s", err, errs.String())
		}
		text = out.String()
	} else {
		for _, name := range list(in(documents(t, "kustomization", mustRead(t, filepath.Join(dir, "kustomization.yaml")))[0], "resources")) {
			text += "---\n" + mustRead(t, filepath.Join(dir, name.(string)))
		}
	}
	kinds := map[string][]any{}
	for _, d := range documents(t, dir, text) {
		kind := in(d, "kind").(string)
		kinds[kind] = append(kinds[kind], d)
	}
	return kinds
}

// TestManifestsFitTogether builds deploy/kubernetes and holds ports, probes, times and sizes against a running headgate and its defaults.
func TestManifestsFitTogether(t *testing.T) {
	kinds := manifests(t, filepath.Join(deployDir, "kubernetes"))
	for kind, n := range map[string]int{"Namespace": 1, "Service": 2, "StatefulSet": 1, "PodDisruptionBudget": 1, "NetworkPolicy": 1} {
		if len(kinds[kind]) != n {
			t.Fatalf("%d objects %s, want %d", len(kinds[kind]), kind, n)
		}
	}
	pod := in(kinds["StatefulSet"][0], "spec", "template", "spec")
	container := in(pod, "containers", 0)

	ports := map[string]string{}
	for _, p := range list(in(container, "ports")) {
		ports[in(p, "name").(string)] = fmt.Sprint(in(p, "containerPort"))
	}
	if want := defaultPorts(t); fmt.Sprint(ports) != fmt.Sprint(want) {
		t.Errorf("ports %v, want %v", ports, want)
	}
	for _, s := range kinds["Service"] {
		for _, p := range list(in(s, "spec", "ports")) {
			if fmt.Sprint(in(p, "port")) != ports[fmt.Sprint(in(p, "targetPort"))] {
				t.Errorf("%v: port %v", in(s, "metadata", "name"), p)
			}
		}
	}
	for _, rule := range list(in(kinds["NetworkPolicy"][0], "spec", "ingress")) {
		for _, p := range list(in(rule, "ports")) {
			port := fmt.Sprint(in(p, "port"))
			if ports[port] == "" || (port == "telemetry") != (in(rule, "from") != nil) {
				t.Errorf("the network lets %v to %s", in(rule, "from"), port)
			}
		}
	}

	values := map[string]string{}
	for _, e := range list(in(container, "env")) {
		values[in(e, "name").(string)] = in(e, "value").(string)
	}
	wantTaken(t, "StatefulSet", values)
	size := func(s any) int64 {
		n, err := parseBytes(strings.TrimSuffix(fmt.Sprint(s), "i") + "iB")
		if err != nil {
			t.Fatal(err)
		}
		return n
	}
	logMax, _ := parseBytes(values["HEADGATE_LOG_MAX_BYTES"])
	if volume := size(in(kinds["StatefulSet"][0], "spec", "volumeClaimTemplates", 0, "spec", "resources", "requests", "storage")); volume < logMax+2**DefaultConfig().LogReserve.bytes {
		t.Errorf("a volume of %d bytes for a log of %d and the reserve", volume, logMax)
	}
	inFlight, _ := parseBytes(values["HEADGATE_MAX_INFLIGHT"])
	if memory := size(in(container, "resources", "limits", "memory")); memory < 2*inFlight+256<<20 {
		t.Errorf("memory of %d bytes for %d in flight", memory, inFlight)
	}
	if s, _ := in(pod, "terminationGracePeriodSeconds").(int); time.Duration(s)*time.Second < 3*DefaultConfig().ShutdownGrace {
		t.Errorf("%d s to stop", s)
	}

	p := serveOn(t, t.TempDir())
	for _, probe := range []string{"startupProbe", "livenessProbe", "readinessProbe"} {
		get := in(container, probe, "httpGet")
		if status, text := p.get("http://" + p.addr.Telemetry + fmt.Sprint(in(get, "path"))); status != 200 || in(get, "port") != "telemetry" {
			t.Errorf("%s %v: %d %s", probe, get, status, text)
		}
	}
}

// TestEveryYAMLParses: also where no other test reads it.
func TestEveryYAMLParses(t *testing.T) {
	for _, path := range filesBelow(t, deployDir) {
		if strings.HasSuffix(path, ".yaml") && len(documents(t, path, mustRead(t, path))) == 0 {
			t.Errorf("%s is empty", path)
		}
	}
}

// TestSecretsOfAFirstStartServeAnotherDatabase is the way to secrets in deploy/kubernetes: what one start made, whose database is thrown
// away, is good for others on a new one.
func TestSecretsOfAFirstStartServeAnotherDatabase(t *testing.T) {
	first := serveOn(t, t.TempDir())
	first.end(syscall.SIGTERM)
	secrets := t.TempDir()
	for _, name := range secretFiles {
		if err := os.WriteFile(filepath.Join(secrets, name), []byte(mustRead(t, filepath.Join(first.dir, name))), 0o400); err != nil {
			t.Fatal(err)
		}
	}
	store := pgtest.New(t)
	for range 2 {
		p := serveOn(t, t.TempDir(), "--store", store, "--secrets-dir", secrets)
		p.secrets = secrets
		p.cli("tenant", "list")
	}
	if left := filesBelow(t, secrets); len(left) != len(secretFiles) {
		t.Errorf("the secrets directory has %v", left)
	}
}
