package prom

import (
	"fmt"
	"math/rand/v2"
	"regexp"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/prometheus/common/model"
	"github.com/prometheus/otlptranslator"
	"github.com/prometheus/prometheus/model/labels"
)

// wordsOf are the words of a metric's name as ClickHouse finds them.
func wordsOf(name string) []string {
	var out []string
	word := ""
	for i := range len(name) + 1 {
		if i < len(name) && strings.ContainsRune("0123456789:ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz", rune(name[i])) {
			word += name[i : i+1]
			continue
		}
		if word != "" {
			out = append(out, word)
		}
		word = ""
	}
	return out
}

// TestEveryNameOfAFamilyHasItsWords: whatever a metric is called, the words of a matcher on the name that it is translated to
// hold all of its own.
func TestEveryNameOfAFamilyHasItsWords(t *testing.T) {
	pieces := []string{
		"total", "ratio", "seconds", "bytes", "http", "Requests", "9", "a:b", ":", ".", "_", "__", "/", "-", " ", "é", "\xff", "%", "percent", "per", "second", "x",
	}
	units := []string{"", "1", "s", "By", "%", "By/s", "{packet}", "m/s", "1/s", "foo/bar", "_", "total", "ratio"}
	kinds := []string{kindGauge, kindSum, kindHistogram, kindExpHistogram, kindSummary}
	r := rand.New(rand.NewPCG(1, 2))
	for _, strategy := range []otlptranslator.TranslationStrategyOption{
		otlptranslator.UnderscoreEscapingWithSuffixes, otlptranslator.UnderscoreEscapingWithoutSuffixes, otlptranslator.NoTranslation, otlptranslator.NoUTF8EscapingWithSuffixes,
	} {
		n, checked := newNamer(strategy), 0
		for range 2000 {
			m := metric{kind: kinds[r.IntN(len(kinds))], unit: units[r.IntN(len(units))], monotonic: r.IntN(2) == 0}
			for range 1 + r.IntN(6) {
				m.name += pieces[r.IntN(len(pieces))]
			}
			family := n.family(m)
			if family == "" || !utf8.ValidString(family) {
				continue
			}
			for _, suffix := range suffixes {
				for _, matcher := range []*labels.Matcher{
					labels.MustNewMatcher(labels.MatchEqual, model.MetricNameLabel, family+suffix),
					labels.MustNewMatcher(labels.MatchRegexp, model.MetricNameLabel, "other|"+regexp.QuoteMeta(family+suffix)),
				} {
					words := n.words([]*labels.Matcher{labels.MustNewMatcher(labels.MatchEqual, "a", "b"), matcher})
					if words == nil || !matcher.Matches(family+suffix) {
						continue
					}
					checked++
					for _, w := range wordsOf(m.name) {
						if !slices.Contains(words, w) {
							t.Fatalf("%s: %q is %q, %v has the words %q without %q", strategy, fmt.Sprint(m), family, matcher, words, w)
						}
					}
				}
			}
		}
		if none := strategy == otlptranslator.NoUTF8EscapingWithSuffixes; (checked == 0) != none {
			t.Errorf("%s: %d names checked", strategy, checked)
		}
	}
}

// TestNamesThatTellNothing: where a matcher does not say which names it means, there are no words.
func TestNamesThatTellNothing(t *testing.T) {
	n := newNamer(otlptranslator.UnderscoreEscapingWithSuffixes)
	for _, m := range []*labels.Matcher{
		labels.MustNewMatcher(labels.MatchNotEqual, model.MetricNameLabel, "a"),
		labels.MustNewMatcher(labels.MatchRegexp, model.MetricNameLabel, "a.*"),
		labels.MustNewMatcher(labels.MatchNotRegexp, model.MetricNameLabel, "a|b"),
		labels.MustNewMatcher(labels.MatchEqual, "job", "a"),
		labels.MustNewMatcher(labels.MatchEqual, model.MetricNameLabel, strings.Repeat("a", 10_000)),
	} {
		if words := n.words([]*labels.Matcher{m}); words != nil {
			t.Errorf("%v: %q", m, words)
		}
	}
}

// TestMetricsOfOneFamilyAreFoundTogether: metrics whose names become one are all read for it, and those that share its words
// are not.
func TestMetricsOfOneFamilyAreFoundTogether(t *testing.T) {
	d := newDatabase(t)
	sum := func(name, unit, route string) sent {
		return sent{
			metric: metric{name: name, kind: kindSum, unit: unit, temporality: 2, monotonic: true}, resource: resource{tenant: "a"},
			attributes: map[string]string{"route": route}, nanos: noon.UnixNano(), value: 1,
		}
	}
	d.send(sum("http.requests", "1", "1"), sum("http_requests", "", "2"), sum("total.http.requests", "1", "3"), sum("http/requests/total", "", "4"),
		sum("requests", "1", "5"), sum("http.requests.done", "1", "6"), sum("requests.http", "1", "7"), sum("requests.http", "1", "8"), sum("requests.http", "1", "9"), sum("requests.http", "1", "10"), sum("requests.http", "1", "11"))
	srv := d.serve(t, Options{Limits: Limits{MaxSeries: 8}}, "a") // ten have the words of the first
	for query, want := range map[string]string{
		"count(http_requests_total)":                                `"4"`,
		`count({__name__=~"http_requests_total|requests_total"})`:   `"5"`,
		`count({__name__=~"http_requests_t.*"})`:                    `"4"`,
		`count(http_requests_total{route=~"[26]"})`:                 `"1"`,
		`count(http_requests_total) + count(requests_http_total)`:   `"9"`,
		`count(http_requests_total{route!="1"})`:                    `"3"`,
		`count(http_requests_total{route="3"})`:                     `"1"`,
		`count({__name__="requests_total",__name__!="a",route=""})`: `"result":[]`,
	} {
		got := ask(t, srv, "GET", "/api/v1/query", map[string][]string{"query": {query}, "time": {fmt.Sprint(noon.Unix())}})
		if got.status != 200 || !strings.Contains(got.body, want) {
			t.Errorf("%s = %v, want %s", query, got, want)
		}
	}
}
