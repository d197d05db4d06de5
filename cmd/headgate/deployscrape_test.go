package main

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/promql/parser"
	"github.com/prometheus/prometheus/util/teststorage"
)

// sample is a line of /metrics with the labels that a scrape adds.
type sample struct {
	labels labels.Labels
	value  float64
}

// scrape is what a running headgate showed at a moment.
type scrape struct {
	at      time.Time
	samples []sample
}

// scraped reads /metrics by the reader of Prometheus' text format.
func (p *process) scraped() scrape {
	p.t.Helper()
	_, text := p.get("http://" + p.addr.Telemetry + "/metrics")
	s := scrape{at: timeNow()}
	add := func(l labels.Labels, v float64) {
		s.samples = append(s.samples, sample{labels.NewBuilder(l).Set("job", "headgate").Set("instance", "real").Labels(), v})
	}
	format := expfmt.NewTextParser(model.UTF8Validation)
	families, err := format.TextToMetricFamilies(strings.NewReader(text))
	if err != nil {
		p.t.Fatal(err)
	}
	for _, f := range families {
		vector, err := expfmt.ExtractSamples(&expfmt.DecodeOptions{Timestamp: model.Now()}, f)
		if err != nil {
			p.t.Fatal(err)
		}
		for _, v := range vector {
			b := labels.NewBuilder(labels.EmptyLabels())
			for name, value := range v.Metric {
				b.Set(string(name), string(value))
			}
			add(b.Labels(), float64(v.Value))
		}
	}
	add(labels.FromStrings(model.MetricNameLabel, "up"), 1)
	return s
}

// has reports whether a series of the scrapes has what a selector asks for.
func has(scrapes []scrape, selector *parser.VectorSelector) bool {
	for _, s := range scrapes {
		if slices.ContainsFunc(s.samples, func(s sample) bool {
			return !slices.ContainsFunc(selector.LabelMatchers, func(m *labels.Matcher) bool { return !m.Matches(s.labels.Get(m.Name)) })
		}) {
			return true
		}
	}
	return false
}

// selectorsOf returns the selectors of an expression, and the labels that it groups or joins by.
func selectorsOf(t *testing.T, expr string) (selectors []*parser.VectorSelector, by []string) {
	t.Helper()
	tree, err := parser.NewParser(parser.Options{}).ParseExpr(expr)
	if err != nil {
		t.Fatalf("%s: %v", expr, err)
	}
	parser.Inspect(tree, func(node parser.Node, _ []parser.Node) error {
		switch n := node.(type) {
		case *parser.VectorSelector:
			selectors = append(selectors, n)
		case *parser.AggregateExpr:
			by = append(by, n.Grouping...)
		case *parser.BinaryExpr:
			if n.VectorMatching != nil {
				by = append(by, n.VectorMatching.MatchingLabels...)
			}
		}
		return nil
	})
	return selectors, by
}

// wantShown fails the test for each selector, and each label to group by, of expr that no series of the scrapes has.
func wantShown(t *testing.T, scrapes []scrape, what, expr string) {
	t.Helper()
	selectors, by := selectorsOf(t, expr)
	for _, s := range selectors {
		if !has(scrapes, s) {
			t.Errorf("%s: no headgate shows %s", what, s)
		}
	}
	for _, name := range by {
		if !slices.ContainsFunc(selectors, func(s *parser.VectorSelector) bool {
			labelled := *s
			labelled.LabelMatchers = append(slices.Clone(s.LabelMatchers), labels.MustNewMatcher(labels.MatchNotEqual, name, ""))
			return has(scrapes, &labelled)
		}) {
			t.Errorf("%s: %s groups by %s, which its series have not", what, expr, name)
		}
	}
}

// stretch is a scrape that was seen each minute for so long.
type stretch struct {
	scrape
	minutes int
}

// timeline returns samples from time 0 on, as if scrapes had been taken each minute. Moments among the values, which end in
// _timestamp_seconds, move with the time, so that they are as long ago as they were.
func timeline(t *testing.T, stretches ...stretch) (samples *teststorage.TestStorage, end time.Duration) {
	t.Helper()
	samples = teststorage.New(t)
	app := samples.Appender(t.Context())
	for _, s := range stretches {
		for range s.minutes {
			for _, x := range s.samples {
				v := x.value
				if name := x.labels.Get(model.MetricNameLabel); v != 0 && strings.HasSuffix(name, "_timestamp_seconds") {
					v += end.Seconds() - float64(s.at.UnixMilli())/1000
				}
				if _, err := app.Append(0, x.labels, end.Milliseconds(), v); err != nil {
					t.Fatal(err)
				}
			}
			end += ruleStep
		}
	}
	if err := app.Commit(); err != nil {
		t.Fatal(err)
	}
	return samples, end - ruleStep
}
