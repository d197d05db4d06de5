package main

import (
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/model/rulefmt"
	"github.com/prometheus/prometheus/promql"
	"github.com/prometheus/prometheus/promql/parser"
	"github.com/prometheus/prometheus/promql/promqltest"
	"github.com/prometheus/prometheus/storage"
	"github.com/prometheus/prometheus/tsdb"
	"github.com/prometheus/prometheus/util/teststorage"
	"go.yaml.in/yaml/v3"
)

// deployDir has what operators copy.
const deployDir = "../../deploy"

// ruleStep is how often rules are evaluated, as their test files say.
const ruleStep = time.Minute

// alertRules returns the alerts of deploy/prometheus, which Prometheus' own reader accepts.
func alertRules(t *testing.T) (rules []rulefmt.Rule) {
	t.Helper()
	for _, file := range mustGlob(t, filepath.Join(deployDir, "prometheus", "alerts*.yaml")) {
		if strings.HasSuffix(file, ".test.yaml") {
			continue
		}
		groups, errs := rulefmt.ParseFile(file, false, model.UTF8Validation, parser.NewParser(parser.Options{}), slog.Default())
		if len(errs) > 0 {
			t.Fatal(errs)
		}
		for _, g := range groups.Groups {
			rules = append(rules, g.Rules...)
		}
	}
	if len(rules) == 0 {
		t.Fatal("no alerts")
	}
	return rules
}

// ruleEngine evaluates as a Prometheus with its defaults does.
func ruleEngine(t *testing.T) *promql.Engine {
	return promqltest.NewTestEngine(t, false, 5*time.Minute, 50_000_000)
}

// evaluateAlerts returns the ALERTS series that Prometheus makes of rules over samples, from time 0 to until: an alert is pending
// from the first evaluation that has its labels, and firing once that was For ago.
func evaluateAlerts(t *testing.T, rules []rulefmt.Rule, samples storage.Queryable, until time.Duration) *teststorage.TestStorage {
	t.Helper()
	engine := ruleEngine(t)
	var queries []promql.Query
	for _, r := range rules {
		q, err := engine.NewRangeQuery(t.Context(), samples, nil, r.Expr, time.Unix(0, 0), time.Unix(0, 0).Add(until), ruleStep)
		if err != nil {
			t.Fatalf("%s: %v", r.Alert, err)
		}
		defer q.Close()
		queries = append(queries, q)
	}
	out := teststorage.New(t, func(o *tsdb.Options) { o.OutOfOrderTimeWindow = until.Milliseconds() + 1 }) // one rule after the other
	for i, q := range queries {
		rule, result := rules[i], q.Exec(t.Context())
		matrix, err := result.Matrix()
		if err != nil {
			t.Fatalf("%s: %v", rule.Alert, err)
		}
		app := out.Appender(t.Context())
		for _, series := range matrix {
			var since, before int64
			for n, p := range series.Floats {
				if n == 0 || p.T-before > ruleStep.Milliseconds() {
					since = p.T
				}
				before = p.T
				state := "pending"
				if p.T-since >= time.Duration(rule.For).Milliseconds() {
					state = "firing"
				}
				b := labels.NewBuilder(series.Metric).Set(model.MetricNameLabel, "ALERTS").Set("alertname", rule.Alert).Set("alertstate", state)
				for name, value := range rule.Labels {
					b.Set(name, value)
				}
				if _, err := app.Append(0, b.Labels(), p.T, 1); err != nil {
					t.Fatalf("%s at %s: %v", rule.Alert, time.Duration(p.T)*time.Millisecond, err)
				}
			}
		}
		if err := app.Commit(); err != nil {
			t.Fatal(err)
		}
	}
	return out
}

// ruleTests is a file of promtool test rules, as far as ours use it.
type ruleTests struct {
	RuleFiles          []string `yaml:"rule_files"`
	EvaluationInterval string   `yaml:"evaluation_interval"`
	Tests              []struct {
		Name     string
		Interval string
		Input    []struct{ Series, Values string } `yaml:"input_series"`
		Expr     []ruleTest                        `yaml:"promql_expr_test"`
	}
}

type ruleTest struct {
	Expr     string
	EvalTime model.Duration `yaml:"eval_time"`
	Samples  []struct {
		Labels string
		Value  float64
	} `yaml:"exp_samples"`
}

// want are the labels of the samples that are expected.
func (r ruleTest) want(t *testing.T) (out []string) {
	t.Helper()
	for _, s := range r.Samples {
		l, err := parser.NewParser(parser.Options{}).ParseMetric(s.Labels)
		if err != nil || s.Value != 1 {
			t.Fatalf("%s %v: %v", s.Labels, s.Value, err)
		}
		out = append(out, l.String())
	}
	return out
}

// TestAlertsFireWhenTheirTestsSay runs deploy/prometheus/*.test.yaml as promtool does. Each alert must fire in one of them.
func TestAlertsFireWhenTheirTestsSay(t *testing.T) {
	rules := alertRules(t)
	var fired strings.Builder
	for _, file := range mustGlob(t, filepath.Join(deployDir, "prometheus", "*.test.yaml")) {
		raw, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		var tests ruleTests
		d := yaml.NewDecoder(strings.NewReader(string(raw)))
		d.KnownFields(true)
		if err := d.Decode(&tests); err != nil {
			t.Fatalf("%s: %v", file, err)
		}
		for _, test := range tests.Tests {
			t.Run(test.Name, func(t *testing.T) {
				load := "load " + test.Interval + "\n"
				for _, in := range test.Input {
					load += fmt.Sprintf("  %s %s\n", in.Series, in.Values)
				}
				last := slices.MaxFunc(test.Expr, func(a, b ruleTest) int { return int(a.EvalTime - b.EvalTime) })
				alerts := evaluateAlerts(t, rules, promqltest.LoadedStorage(t, load), time.Duration(last.EvalTime))
				for _, e := range test.Expr {
					want := e.want(t)
					q, err := ruleEngine(t).NewInstantQuery(t.Context(), alerts, promql.NewPrometheusQueryOpts(false, ruleStep-time.Millisecond), e.Expr, time.Unix(0, 0).Add(time.Duration(e.EvalTime)))
					if err != nil {
						t.Fatal(err)
					}
					defer q.Close()
					vector, err := q.Exec(t.Context()).Vector()
					if err != nil {
						t.Fatal(err)
					}
					var got []string
					for _, s := range vector {
						got = append(got, s.Metric.String())
					}
					slices.Sort(got)
					slices.Sort(want)
					if !slices.Equal(got, want) {
						t.Errorf("%s after %s:\n got %s\nwant %s", e.Expr, e.EvalTime, strings.Join(got, "\n     "), strings.Join(want, "\n     "))
					}
					fired.WriteString(strings.Join(want, "\n"))
				}
			})
		}
	}
	for _, r := range rules {
		if !strings.Contains(fired.String(), fmt.Sprintf("alertname=%q, alertstate=\"firing\"", r.Alert)) {
			t.Errorf("no test shows %s firing", r.Alert)
		}
	}
}
