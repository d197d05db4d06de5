package main

import (
	"bytes"
	"cmp"
	"context"
	"log/slog"
	"maps"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/headgate-io/headgate/internal/pgtest"
	"github.com/headgate-io/headgate/internal/tlsfiles/tlstest"
	"github.com/headgate-io/headgate/storage/schema"
)

var (
	describedMetric = regexp.MustCompile(`^Desc\{fqName: "(headgate_[a-z0-9_]+)", help: "(.*)", unit: "[^"]*", constLabels: \{(.*)\}, variableLabels: \{(.*)\}\}$`)
	metricOfPage    = regexp.MustCompile("(?m)^\\| `(headgate_[a-z0-9_]+)(?:\\{([a-z_,]+)\\})?` \\|(.*)$")
	namedInPage     = regexp.MustCompile("`(headgate_[a-z_]+)[`{]")
	namedMetric     = regexp.MustCompile(`\bheadgate_[a-z_]+`)
	familySuffix    = regexp.MustCompile(`_(bucket|sum|count)$`)
)

// noMetrics are names in the pages that begin as metrics do: a cookie and tables.
var noMetrics = []string{"headgate_session", "headgate_missing_", schema.AppliedMigrations}

// registered returns the labels of every metric that a headgate with all its parts registers, by name.
func registered(t *testing.T) map[string]string {
	t.Helper()
	t.Setenv(asHeadgate, "1") // for the engine's process
	cert, key := tlstest.NewAuthority(t).Files("headgate.example", "127.0.0.1")
	cfg := DefaultConfig()
	cfg.DataDir, cfg.Store = t.TempDir(), pgtest.New(t)
	cfg.OTLPGRPC, cfg.OTLPHTTP, cfg.API, cfg.Telemetry = "127.0.0.1:0", "127.0.0.1:0", "127.0.0.1:0", "127.0.0.1:0"
	cfg.TLSCert, cfg.TLSKey = cert, key
	if err := cfg.Validate(); err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	var out bytes.Buffer
	s := &server{cfg: cfg, role: cfg.role(), stdout: &out, log: slog.New(slog.DiscardHandler), reg: newRegistry(),
		ready: &readiness{name: cfg.Role, role: cfg.role()}, fail: func(err error) {
			if err != nil {
				t.Error(err)
			}
		}}
	defer func() {
		stop()
		if err := s.stop(); err != nil {
			t.Error(err)
		}
	}()
	for _, step := range s.steps() {
		if err := step.do(ctx); err != nil {
			t.Fatal(err)
		}
	}
	descs := make(chan *prometheus.Desc)
	go func() { s.reg.Describe(descs); close(descs) }()
	names := map[string]string{}
	for d := range descs {
		m := describedMetric.FindStringSubmatch(d.String())
		if m == nil {
			if strings.Contains(d.String(), "headgate_") {
				t.Errorf("not read: %s", d)
			}
			continue
		}
		name, _, _ := strings.Cut(m[3], "=")
		names[m[1]] = cmp.Or(m[4], name)
	}
	return names
}

// TestMetricsPageIsWhole: docs/metrics.md has every metric of headgate with its labels and alerts, and no page has another.
func TestMetricsPageIsWhole(t *testing.T) {
	labels, alerts := map[string]string{}, map[string]string{}
	for _, m := range metricOfPage.FindAllStringSubmatch(mustRead(t, "../../docs/metrics.md"), -1) {
		if _, twice := labels[m[1]]; twice {
			t.Errorf("%s stands twice", m[1])
		}
		labels[m[1]], alerts[m[1]] = m[2], m[3]
	}
	there := registered(t)
	for _, name := range slices.Sorted(maps.Keys(there)) {
		if of, ok := labels[name]; !ok || of != there[name] {
			t.Errorf("the page has %s{%s}: %v; want {%s}", name, of, ok, there[name])
		}
	}
	if len(there) < 60 {
		t.Errorf("%d metrics are registered: the parts were not opened", len(there))
	}
	for _, r := range alertRules(t) {
		for _, name := range namedMetric.FindAllString(r.Expr, -1) {
			name = familySuffix.ReplaceAllString(name, "")
			if !strings.Contains(alerts[name], "["+r.Alert+"](runbook.md#"+strings.ToLower(r.Alert)+")") {
				t.Errorf("%s: the page does not name %s, which asks for it", name, r.Alert)
			}
		}
	}
	for _, page := range append(mustGlob(t, "../../docs/*.md"), "../../README.md") {
		for _, m := range namedInPage.FindAllStringSubmatch(mustRead(t, page), -1) {
			if _, ok := there[familySuffix.ReplaceAllString(m[1], "")]; !ok && !slices.Contains(noMetrics, m[1]) {
				t.Errorf("%s: headgate has no %s", page, m[1])
			}
		}
	}
}
