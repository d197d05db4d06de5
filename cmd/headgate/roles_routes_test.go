package main

import (
	"encoding/json"
	"os"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/headgate-io/headgate/control"
)

// Each path is served by the process whose it is, and all others say so, whoever asks; the document is the same everywhere.
func TestEveryRouteBelongsToARole(t *testing.T) {
	d := newParted(t)
	_, text := d.control.ask("", "GET", "/api/openapi.json", "")
	if _, same := d.query.ask("", "GET", "/api/openapi.json", ""); same != text {
		t.Error("the documents of control and query differ")
	}
	doc := unmarshal[struct {
		Paths map[string]map[string]struct {
			Role string `json:"x-headgate-role"`
		}
	}](t, text)
	toQuery := proxyRule(t)
	byRole := map[string]*process{"query": d.query, "control": d.control}
	asked := map[string]int{}
	check := func(method, path, role string) {
		t.Helper()
		asked[role]++
		if toQuery.MatchString(path) != (role == "query") {
			t.Errorf("the rule of docs/cluster.md takes %s to the wrong role, want %s", path, role)
		}
		for name, p := range byRole {
			status, text := p.ask("", method, path, "")
			var problem struct{ Code, Role string }
			_ = json.Unmarshal([]byte(text), &problem)
			elsewhere := status == 421 && problem.Code == control.CodeElsewhere && problem.Role == role
			if elsewhere == (name == role) || elsewhere != (status == 421) || status == 404 && problem.Code == "path-not-found" {
				t.Errorf("%s %s at %s: %d %s", method, path, name, status, text)
			}
		}
	}
	for path, operations := range doc.Paths {
		for method, op := range operations {
			check(strings.ToUpper(method), strings.NewReplacer("{", "", "}", "").Replace(path), op.Role)
		}
	}
	for _, path := range []string{"/prometheus/api/v1/query", "/prometheus/api/v1/nothing", "/jaeger/api/services", "/jaeger/api/v3/services"} {
		check("GET", path, "query")
	}
	if asked["query"] < 15 || asked["control"] < 80 {
		t.Errorf("asked %v", asked)
	}
	for name, p := range byRole {
		if status, text := p.ask("", "GET", "/api/v1/nothing", ""); status != 404 || !strings.Contains(text, "path-not-found") {
			t.Errorf("what nobody serves at %s: %d %s", name, status, text)
		}
	}
	for name, want := range map[string]addresses{
		"ingest": {OTLPGRPC: d.ingest.addr.OTLPGRPC, OTLPHTTP: d.ingest.addr.OTLPHTTP, Telemetry: d.ingest.addr.Telemetry},
		"query":  {API: d.query.addr.API, Telemetry: d.query.addr.Telemetry}, "control": {API: d.control.addr.API, Telemetry: d.control.addr.Telemetry},
	} {
		p := map[string]*process{"ingest": d.ingest, "query": d.query, "control": d.control}[name]
		if p.addr != want {
			t.Errorf("%s publishes %+v", name, p.addr)
		}
		if status, text := p.get("http://" + p.addr.Telemetry + "/readyz"); status != 200 || !strings.HasPrefix(text, "ready") {
			t.Errorf("%s: readyz %d %s", name, status, text)
		}
		if status, _ := p.get("http://" + p.addr.Telemetry + "/readyz/query"); (status == 200) != (name == "query") {
			t.Errorf("%s: readyz/query %d", name, status)
		}
	}
	if _, text, err := d.ingest.try("tenant", "list"); err == nil || !strings.Contains(text, "--api-url") {
		t.Errorf("a command on the directory of ingest: %v %s", err, text)
	}
	if _, text, err := d.query.try("tenant", "list"); err == nil || !strings.Contains(text, "--role control") {
		t.Errorf("a command of control on the directory of query: %v %s", err, text)
	}
	if text := launchAs(t, "query", d.ingest.dir, d.args...).refusal(); !strings.Contains(text, "in use by another headgate") {
		t.Errorf("two processes on one directory: %s", text)
	}
	d.ingest.end(syscall.SIGTERM)
	on := launchAs(t, "query", d.ingest.dir, append(slices.Clone(d.args), "--secrets-dir", d.secrets)...)
	if text := on.refusal(); !strings.Contains(text, "log of acked requests") {
		t.Errorf("query on the directory of a log: %s", text)
	}
}

// proxyRule is the condition in docs/cluster.md by which a proxy tells what is query's.
func proxyRule(t *testing.T) *regexp.Regexp {
	t.Helper()
	text, err := os.ReadFile("../../docs/cluster.md")
	if err != nil {
		t.Fatal(err)
	}
	rule := regexp.MustCompile(`location ~ (\S+) \{ proxy_pass http://query; \}`).FindSubmatch(text)
	if rule == nil {
		t.Fatal("docs/cluster.md has no rule for proxies")
	}
	return regexp.MustCompile(string(rule[1]))
}

// refusal is what a process says that cannot start.
func (p *process) refusal() string {
	p.t.Helper()
	select {
	case err := <-p.gone:
		p.gone <- err
		if err == nil {
			p.t.Errorf("it ended well:\n%s", p.out.String())
		}
	case <-time.After(time.Minute):
		p.t.Errorf("it does not end:\n%s", p.out.String())
	}
	return p.out.String()
}
