package jaeger

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"go.opentelemetry.io/collector/pdata/pcommon"
	"go.opentelemetry.io/collector/pdata/ptrace"

	"github.com/headgate-io/headgate/internal/asktest"
)

// shown is a span as Jaeger shows it, made of what was sent.
type shown struct {
	trace, id, service, operation string
	start, took                   time.Duration // start since the fixture's hour
	tags                          []pair        // of the span, its process and its logs
}

var kindWords = map[ptrace.SpanKind]string{1: "internal", 2: "server", 3: "client", 4: "producer", 5: "consumer"}

// shownOf returns the spans of td.
func shownOf(td ptrace.Traces) (out []shown) {
	add := func(s *shown, m pcommon.Map) {
		for k, v := range m.All() {
			if k != attrServiceName {
				s.tags = append(s.tags, pair{k, v.AsString()})
			}
		}
	}
	for _, rs := range td.ResourceSpans().All() {
		service := noService
		if v, ok := rs.Resource().Attributes().Get(attrServiceName); ok && v.AsString() != "" {
			service = v.AsString()
		}
		for _, ss := range rs.ScopeSpans().All() {
			for _, sp := range ss.Spans().All() {
				s := shown{trace: shortTraceID(sp.TraceID().String()), id: sp.SpanID().String(), service: service, operation: sp.Name(),
					start: sp.StartTimestamp().AsTime().Sub(hourStart), took: sp.EndTimestamp().AsTime().Sub(sp.StartTimestamp().AsTime())}
				add(&s, rs.Resource().Attributes())
				add(&s, sp.Attributes())
				for _, e := range sp.Events().All() {
					s.tags = append(s.tags, pair{"event", e.Name()})
					add(&s, e.Attributes())
				}
				if w := kindWords[sp.Kind()]; w != "" {
					s.tags = append(s.tags, pair{"span.kind", w})
				}
				if n := ss.Scope().Name(); n != "" {
					s.tags = append(s.tags, pair{"otel.scope.name", n})
				}
				switch sp.Status().Code() {
				case ptrace.StatusCodeOk:
					s.tags = append(s.tags, pair{"otel.status_code", "OK"})
				case ptrace.StatusCodeError:
					s.tags = append(s.tags, pair{"otel.status_code", "ERROR"}, pair{"error", "true"})
				}
				out = append(out, s)
			}
		}
	}
	return out
}

// asks is a search that a span of the store answers, with the parameters that ask for it.
type asks struct {
	service, operation string
	tags               map[string]string
	from, to           time.Duration // both in
	least, most        time.Duration // zero: any
	limit              int
}

func generateSearch(spans []shown, seed uint64) asks {
	r := rand.New(rand.NewPCG(seed, 5))
	s := spans[r.IntN(len(spans))]
	a := asks{service: s.service, tags: map[string]string{}, limit: []int{1, 3, 20, 100}[r.IntN(4)]}
	// Bounds are whole microseconds around the span; each third touches it.
	start := s.start.Truncate(time.Microsecond)
	a.from, a.to = start-time.Duration(r.IntN(1800))*time.Second, start+time.Duration(r.IntN(1800))*time.Second
	switch r.IntN(3) {
	case 0:
		a.from = start
	case 1:
		a.to = start
	}
	if r.IntN(3) == 0 {
		a.operation = s.operation
	}
	if r.IntN(3) == 0 {
		a.least = s.took - time.Duration(r.IntN(2))*time.Duration(r.IntN(1_000_000_000))
	}
	if r.IntN(3) == 0 {
		a.most = s.took + time.Duration(r.IntN(2))*time.Duration(r.IntN(1_000_000_000))
	}
	for range r.IntN(3) {
		p := s.tags[r.IntN(len(s.tags))]
		a.tags[p.key] = p.value
	}
	if r.IntN(8) == 0 { // of another span, perhaps
		p := spans[r.IntN(len(spans))].tags[0]
		a.tags[p.key] = p.value
	}
	return a
}

func (a asks) path() string {
	q := []string{"service", a.service, "start", micros(hourStart.Add(a.from)), "end", micros(hourStart.Add(a.to)), "limit", fmt.Sprint(a.limit)}
	if a.operation != "" {
		q = append(q, "operation", a.operation)
	}
	if a.least > 0 {
		q = append(q, "minDuration", a.least.String())
	}
	if a.most > 0 {
		q = append(q, "maxDuration", a.most.String())
	}
	if len(a.tags) > 0 {
		q = append(q, "tags", mustEncode(a.tags))
	}
	return "/jaeger/api/traces" + params(q...)
}

// has reports whether the span is one that a asks for.
func (a asks) has(s shown) bool {
	for k, v := range a.tags {
		if !slices.Contains(s.tags, pair{k, v}) {
			return false
		}
	}
	return s.service == a.service && (a.operation == "" || s.operation == a.operation) &&
		s.start >= a.from && s.start < a.to+time.Microsecond &&
		(a.least <= 0 || s.took >= a.least) && (a.most <= 0 || s.took <= a.most)
}

// traces are those of the right answer, the one with the newest span that was asked for first.
func (a asks) traces(spans []shown) (ids []string) {
	newest := map[string]time.Duration{}
	for _, s := range spans {
		if at, ok := newest[s.trace]; a.has(s) && (!ok || s.start > at) {
			newest[s.trace] = s.start
		}
	}
	for id := range newest {
		ids = append(ids, id)
	}
	slices.SortFunc(ids, func(x, y string) int {
		if newest[x] != newest[y] {
			return int(newest[y] - newest[x])
		}
		return strings.Compare(x, y)
	})
	return ids[:min(len(ids), a.limit)]
}

// spanIDs are the ids of a trace's spans in an answer, by trace, sorted.
func spanIDs(t *testing.T, a answer) map[string][]string {
	t.Helper()
	var doc struct {
		Data []struct {
			TraceID string
			Spans   []struct{ SpanID string }
		}
	}
	if err := json.Unmarshal([]byte(a.body), &doc); err != nil {
		t.Fatal(err)
	}
	out := map[string][]string{}
	for _, d := range doc.Data {
		for _, s := range d.Spans {
			out[d.TraceID] = append(out[d.TraceID], s.SpanID)
		}
		slices.Sort(out[d.TraceID])
	}
	return out
}

// TestSearchesFindWhatTheyMean compares searches, whose parameters are those of stored spans, with what Jaeger's parameters mean
// over the spans that were sent: which traces, in which order, and all of their spans. Another tenant's are beside them.
func TestSearchesFindWhatTheyMean(t *testing.T) {
	s := newStore(t)
	s.send("a", town())
	others(s)
	srv, spans := s.serve("a"), shownOf(town())
	whole := map[string][]string{}
	for _, sp := range spans {
		whole[sp.trace] = append(whole[sp.trace], sp.id)
		slices.Sort(whole[sp.trace])
	}
	n := asktest.Seeds(t, 150)
	var mu sync.Mutex // of the tallies
	hits, several := 0, 0
	asktest.Each(t, n, func(t *testing.T, seed uint64) {
		asked := generateSearch(spans, seed)
		want, a := asked.traces(spans), get(t, srv, asked.path())
		if got := traceIDs(t, a); !slices.Equal(got, want) {
			t.Errorf("%s\n got %v\nwant %v", asked.path(), got, want)
		}
		for id, ids := range spanIDs(t, a) {
			if !slices.Equal(ids, whole[id]) {
				t.Errorf("%s\ntrace %s has spans %v, want %v", asked.path(), id, ids, whole[id])
			}
		}
		if len(want) > 0 && seed%10 == 0 {
			if one := spanIDs(t, get(t, srv, "/jaeger/api/traces/"+want[0])); len(one) != 1 || !slices.Equal(one[want[0]], whole[want[0]]) {
				t.Errorf("by its id: %v, want %s with spans %v", one, want[0], whole[want[0]])
			}
		}
		mu.Lock()
		defer mu.Unlock()
		if len(want) > 0 {
			hits++
		}
		if len(want) > 1 {
			several++
		}
	})
	t.Logf("%d of %d searches find traces, %d several", hits, n, several)
	if n := int(n); hits < n*6/10 || several < n/5 {
		t.Errorf("too few of %d searches find traces: %d, %d several", n, hits, several)
	}
}

// TestServicesAndOperationsAreThoseSent: no more and no fewer, by service and by kind.
func TestServicesAndOperationsAreThoseSent(t *testing.T) {
	s := newStore(t)
	s.send("a", town())
	others(s)
	srv, spans := s.serve("a"), shownOf(town())
	services := map[string]bool{}
	for _, sp := range spans {
		services[sp.service] = true
	}
	names := func(keep func(shown) bool, of func(shown) string) (out []string) {
		for _, sp := range spans {
			if keep(sp) {
				out = append(out, of(sp))
			}
		}
		slices.Sort(out)
		return slices.Compact(out)
	}
	same := func(path string, want []string) {
		t.Helper()
		var texts struct{ Data []string }
		var named struct{ Data []struct{ Name string } }
		a := get(t, srv, path)
		if err := json.Unmarshal([]byte(a.body), &texts); err != nil {
			if err := json.Unmarshal([]byte(a.body), &named); err != nil {
				t.Fatalf("%s: %v: %+v", path, err, a)
			}
			texts.Data = nil
			for _, d := range named.Data {
				texts.Data = append(texts.Data, d.Name)
			}
		}
		slices.Sort(texts.Data)
		if got := slices.Compact(texts.Data); a.status != 200 || !slices.Equal(got, want) {
			t.Errorf("%s: %v, want %v", path, got, want)
		}
	}
	same("/jaeger/api/services", names(func(shown) bool { return true }, func(s shown) string { return s.service }))
	operation := func(s shown) string { return s.operation }
	for service := range services {
		same("/jaeger/api/services/"+url.PathEscape(service)+"/operations", names(func(s shown) bool { return s.service == service }, operation))
		for _, kind := range kindWords {
			of := func(s shown) bool { return s.service == service && slices.Contains(s.tags, pair{"span.kind", kind}) }
			same("/jaeger/api/operations"+params("service", service, "spanKind", kind), names(of, operation))
		}
	}
}
