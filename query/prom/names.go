package prom

import (
	"slices"
	"strings"

	"github.com/prometheus/common/model"
	"github.com/prometheus/otlptranslator"
	"github.com/prometheus/prometheus/model/labels"
)

// metric is one metric as OpenTelemetry has it; series of one metric agree on all of this.
type metric struct {
	name, kind, unit string
	temporality      int32
	monotonic        bool
}

// The values of the column Kind.
const (
	kindGauge        = "gauge"
	kindSum          = "sum"
	kindHistogram    = "histogram"
	kindExpHistogram = "exponential_histogram"
	kindSummary      = "summary"
)

// The values of AggregationTemporality.
const temporalityDelta = 1

func (m metric) delta() bool {
	return m.temporality == temporalityDelta && m.kind != kindGauge && m.kind != kindSummary
}

// translated is the type by which the name of a metric is translated.
func (m metric) translated() otlptranslator.MetricType {
	switch m.kind {
	case kindGauge:
		return otlptranslator.MetricTypeGauge
	case kindSum:
		if m.monotonic {
			return otlptranslator.MetricTypeMonotonicCounter
		}
		return otlptranslator.MetricTypeNonMonotonicCounter
	case kindHistogram:
		return otlptranslator.MetricTypeHistogram
	case kindExpHistogram:
		return otlptranslator.MetricTypeExponentialHistogram
	case kindSummary:
		return otlptranslator.MetricTypeSummary
	}
	return otlptranslator.MetricTypeUnknown
}

// prometheus is the type that Prometheus' metadata gives to the metric. What comes with delta temporality is accumulated,
// so it is what it would be without.
func (m metric) prometheus() model.MetricType {
	switch m.kind {
	case kindGauge:
		return model.MetricTypeGauge
	case kindSum:
		if m.monotonic {
			return model.MetricTypeCounter
		}
		return model.MetricTypeGauge
	case kindHistogram, kindExpHistogram:
		return model.MetricTypeHistogram
	case kindSummary:
		return model.MetricTypeSummary
	}
	return model.MetricTypeUnknown
}

// part is one of the series that a data point becomes.
type part uint8

const (
	partValue  part = 1 << iota // numbers, native histograms, quantiles of summaries: under the metric's own name
	partBucket                  // the buckets of a classic histogram
	partSum
	partCount
)

// parts returns what points of a kind become.
func parts(kind string) part {
	switch kind {
	case kindHistogram:
		return partBucket | partSum | partCount
	case kindSummary:
		return partValue | partSum | partCount
	}
	return partValue
}

var suffixes = map[part]string{partValue: "", partBucket: "_bucket", partSum: "_sum", partCount: "_count"}

// targetInfo is the name of the series that hold the attributes of resources.
const targetInfo = "target_info"

// namer translates names of metrics and attributes and remembers those of attributes. It is not for concurrent use.
type namer struct {
	metrics otlptranslator.MetricNamer
	label   otlptranslator.LabelNamer
	labels  map[string]string
}

func newNamer(strategy otlptranslator.TranslationStrategyOption) *namer {
	return &namer{
		metrics: otlptranslator.NewMetricNamer("", strategy),
		label:   otlptranslator.LabelNamer{UTF8Allowed: !strategy.ShouldEscape()},
		labels:  map[string]string{},
	}
}

// family returns the name of the metric's family, "" if it has none: an empty name, or one of underscores alone.
func (n *namer) family(m metric) string {
	name, err := n.metrics.Build(otlptranslator.Metric{Name: valid(m.name), Unit: valid(m.unit), Type: m.translated()})
	if err != nil {
		return ""
	}
	return name
}

// words returns the words of which all words of a metric's name are some, if the matchers allow names of its series; nil if
// that cannot be told. It takes nothing but the matchers to know, where the names themselves take a read.
//
// A name's words are its runs of letters, digits and colons. Translation keeps them all, though it moves some to the
// end, and adds others.
func (n *namer) words(matchers []*labels.Matcher) []string {
	if n.metrics.UTF8Allowed && n.metrics.WithMetricSuffixes {
		return nil // cuts names by bytes
	}
	for _, m := range matchers {
		var names []string
		switch {
		case m.Name != model.MetricNameLabel:
		case m.Type == labels.MatchEqual:
			names = []string{m.Value}
		case m.Type == labels.MatchRegexp:
			names = m.SetMatches()
		}
		if names == nil || tooLong(names) {
			continue
		}
		words := []string{}
		for _, name := range names {
			words = append(words, strings.FieldsFunc(name, func(r rune) bool {
				return r != ':' && (r < '0' || r > '9') && (r < 'A' || r > 'Z') && (r < 'a' || r > 'z')
			})...)
		}
		slices.Sort(words)
		return slices.Compact(words)
	}
	return nil
}

// key returns the name of the label for an attribute, "" if it can have none.
func (n *namer) key(attribute string) string {
	name, ok := n.labels[attribute]
	if !ok {
		var err error
		if name, err = n.label.Build(valid(attribute)); err != nil || name == model.MetricNameLabel {
			name = ""
		}
		n.labels[attribute] = name
	}
	return name
}

// valid replaces what is not UTF-8, which Prometheus' labels have to be.
func valid(s string) string { return strings.ToValidUTF8(s, "\uFFFD") }
