package main

import (
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/spf13/pflag"
)

// TestManifestsOfRolesFitTogether: each workload of deploy/kubernetes/roles is a role that serve takes with its settings, opens the ports that
// are named, and is found by the services; the Ingress parts the API as processes do.
func TestManifestsOfRolesFitTogether(t *testing.T) {
	kinds := manifests(t, filepath.Join(deployDir, "kubernetes", "roles"))
	// What the secrets of deploy/kubernetes/README.md have in them.
	settings := map[string]string{
		"headgate-settings":       "--store postgres://u@db/x --clickhouse http://w@ch/headgate --clickhouse-reader http://r@ch/headgate",
		"headgate-query-settings": "--store postgres://u@db/x --clickhouse-reader http://r@ch/headgate",
	}
	ports := map[string]map[string]string{} // by role
	for _, w := range slices.Concat(kinds["StatefulSet"], kinds["Deployment"]) {
		container := in(w, "spec", "template", "spec", "containers", 0)
		values := map[string]string{}
		for _, e := range list(in(container, "env")) {
			values[in(e, "name").(string)] = in(e, "value").(string)
		}
		role := values["HEADGATE_ROLE"]
		wantTaken(t, role, values)
		secret := fmt.Sprint(in(container, "envFrom", 0, "secretRef", "name"))
		args := strings.Fields(settings[secret])
		for name, value := range values {
			args = append(args, "--"+strings.ToLower(strings.ReplaceAll(strings.TrimPrefix(name, "HEADGATE_"), "_", "-")), value)
		}
		f := pflag.NewFlagSet("serve", pflag.ContinueOnError)
		cfg := DefaultConfig()
		cfg.register(f)
		if err := f.Parse(args); err != nil {
			t.Fatal(err)
		}
		if err := cfg.Validate(); err != nil || (secret == "headgate-query-settings") != (role == "query") {
			t.Errorf("%s with %s: %v", role, secret, err)
		}
		want, defaults := map[string]string{}, defaultPorts(t)
		for _, l := range cfg.listens() {
			name := strings.TrimPrefix(l.flag, "--")
			want[name] = defaults[name]
		}
		ports[role] = map[string]string{}
		for _, p := range list(in(container, "ports")) {
			ports[role][in(p, "name").(string)] = fmt.Sprint(in(p, "containerPort"))
		}
		if !maps.Equal(ports[role], want) {
			t.Errorf("%s has the ports %v, want %v", role, ports[role], want)
		}
		labels, selector := in(w, "spec", "template", "metadata", "labels"), in(w, "spec", "selector", "matchLabels")
		if fmt.Sprint(labels) != fmt.Sprint(selector) || in(labels, "app.kubernetes.io/component") != role {
			t.Errorf("%s has the labels %v and selects %v", role, labels, selector)
		}
		if kind := in(w, "kind"); (kind == "StatefulSet") != cfg.role().receive {
			t.Errorf("%s is a %v: logs need volumes of their own, others none", role, kind)
		}
	}
	if got := slices.Sorted(maps.Keys(ports)); !slices.Equal(got, []string{"control", "ingest", "query"}) {
		t.Fatalf("workloads of %v", got)
	}
	backends := map[string]string{} // roles, by service
	for _, s := range kinds["Service"] {
		role, _ := in(s, "spec", "selector", "app.kubernetes.io/component").(string)
		backends[in(s, "metadata", "name").(string)] = role
		for _, p := range list(in(s, "spec", "ports")) {
			target := fmt.Sprint(in(p, "targetPort"))
			for of, open := range ports {
				if (role == of || role == "") && fmt.Sprint(in(p, "port")) != open[target] {
					t.Errorf("service %v of %s: port %v", in(s, "metadata", "name"), of, p)
				}
			}
		}
	}

	rule := proxyRule(t)
	to := func(path string) (role string) {
		longest := ""
		for _, p := range list(in(kinds["Ingress"][0], "spec", "rules", 0, "http", "paths")) {
			prefix := in(p, "path").(string)
			under := strings.TrimSuffix(prefix, "/") + "/"
			if (path == prefix || strings.HasPrefix(path, under)) && len(prefix) > len(longest) {
				longest, role = prefix, backends[fmt.Sprint(in(p, "backend", "service", "name"))]
			}
		}
		return role
	}
	for _, path := range []string{"/api/v1/query", "/api/v1/query/scope", "/api/v1/query-tiers", "/api/v1/saved-queries", "/api/v1/saved-queries/1/run", "/api/v1/dashboards/1",
		"/api/v1/tenants", "/api/v1/limits", "/api/openapi.json", "/prometheus/api/v1/query", "/jaeger", "/jaeger/api/v3/services", "/jaegers", "/"} {
		want := map[bool]string{true: "query", false: "control"}[rule.MatchString(path)]
		if got := to(path); got != want {
			t.Errorf("%s goes to %q, want %q", path, got, want)
		}
	}
}
