package query

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/headgate-io/headgate/internal/chtest"
	"github.com/headgate-io/headgate/internal/httpapi"
	"github.com/headgate-io/headgate/storage/schema"
)

// caching makes the store's reader keep answers.
func (s *store) caching() {
	s.reader = NewReader(chtest.Start(s.t).OpenReader(s.t, s.name), ReaderOptions{CacheBytes: 8 << 20, Limits: Limits{MaxThreads: 1}})
}

func (s *store) cached(outcome string) int {
	return int(testutil.ToFloat64(s.reader.metrics.cache.WithLabelValues(outcome)))
}

// countOf asks for logs | count and returns the number and the Age header.
func countOf(t testing.TB, srv *httptest.Server, more map[string]any) (n int, aged bool) {
	t.Helper()
	got := post(t, srv, ranged("logs | count", more))
	var p struct{ Rows []struct{ Count int } }
	if err := json.Unmarshal([]byte(got.body), &p); err != nil || len(p.Rows) != 1 {
		t.Fatalf("%d %s", got.status, got.body)
	}
	return p.Rows[0].Count, strings.Contains(got.header, "Age:")
}

// TestAnswersAreKeptOnRequest: an answer is given again, in each row format, to who takes one of its age, and to nobody
// else.
func TestAnswersAreKeptOnRequest(t *testing.T) {
	s := newStore(t)
	s.caching()
	srv := s.serve(chtest.Scope(t, "a"))
	kept := map[string]any{"max_age": "1m"}
	s.insert(schema.Logs, row{"TenantId": "a", "Timestamp": at(1)})
	if n, aged := countOf(t, srv, kept); n != 1 || aged {
		t.Errorf("first: %d, aged %v", n, aged)
	}
	s.insert(schema.Logs, row{"TenantId": "a", "Timestamp": at(2)})
	if n, aged := countOf(t, srv, kept); n != 1 || !aged {
		t.Errorf("again: %d, aged %v, want the kept 1", n, aged)
	}
	if got := post(t, srv, ranged("logs | count", map[string]any{"max_age": "1m", "format": "csv"})); got.body != "count\n1\n" {
		t.Errorf("as CSV: %q", got.body)
	}
	for name, more := range map[string]map[string]any{"not asked for": nil, "refused": {"max_age": "0s"}, "other range": {"max_age": "1m", "end": hourEnd.Add(-time.Second)}} {
		if n, aged := countOf(t, srv, more); n != 2 || aged {
			t.Errorf("%s: %d, aged %v, want 2 of its own", name, n, aged)
		}
	}
	now := time.Now()
	s.reader.cache.now = func() time.Time { return now.Add(11 * time.Second) }
	if n, aged := countOf(t, srv, map[string]any{"max_age": "10s"}); n != 2 || aged {
		t.Errorf("too old: %d, aged %v", n, aged)
	}
	for _, bad := range []string{"2m", "-1s", "x"} {
		if got := post(t, srv, ranged("logs", map[string]any{"max_age": bad})); got.status != 400 || !strings.Contains(got.body, "max_age") {
			t.Errorf("max_age %s: %d %s", bad, got.status, got.body)
		}
	}
}

// TestSettledRangesAreKeptUnasked: without max_age only fixed ranges that ended a minute ago are.
func TestSettledRangesAreKeptUnasked(t *testing.T) {
	s := newStore(t)
	s.caching()
	srv := httptest.NewServer(NewHandler(s.reader, HandlerOptions{Authenticate: as(chtest.Scope(t, "a")), Now: func() time.Time { return hourEnd }, MaxAge: time.Minute}))
	defer srv.Close()
	for _, c := range []struct {
		start, end any
		kept       bool
	}{
		{hourStart, hourEnd.Add(-time.Minute), true}, {hourStart, hourEnd.Add(-time.Minute + 1), false},
		{"-1h", "-10m", false}, {hourStart, "-10m", false}, {hourStart, nil, false},
	} {
		countOf(t, srv, map[string]any{"start": c.start, "end": c.end})
		if _, aged := countOf(t, srv, map[string]any{"start": c.start, "end": c.end}); aged != c.kept {
			t.Errorf("%v to %v: kept %v, want %v", c.start, c.end, aged, c.kept)
		}
	}
	if _, aged := countOf(t, srv, map[string]any{"end": hourEnd.Add(-time.Minute), "max_age": "0s"}); aged {
		t.Error("max_age 0s was answered from the cache")
	}
}

// TestKeptAnswersAreOfOneScope: the same text never gets another tenant's answer, nor that of a scope of other tenants.
func TestKeptAnswersAreOfOneScope(t *testing.T) {
	s := newStore(t)
	s.fill(true)
	s.caching()
	for range 2 { // the second round is answered from the cache
		for scope, want := range map[string]int{"a": 60, "b": 120, "a b": 180, "c": 0} {
			if n, _ := countOf(t, s.serve(chtest.Scope(t, strings.Fields(scope)...)), map[string]any{"max_age": "1m"}); n != want {
				t.Errorf("scope %s: %d, want %d", scope, n, want)
			}
		}
	}
	if hits := s.cached("hit"); hits != 4 {
		t.Errorf("%d hits, want 4", hits)
	}
}

// TestRefusedCallerGetsNoKeptAnswer: whether one may ask is decided each time.
func TestRefusedCallerGetsNoKeptAnswer(t *testing.T) {
	s := newStore(t)
	s.fill(true)
	s.caching()
	caller := as(chtest.Scope(t, "a"))
	srv := httptest.NewServer(NewHandler(s.reader, HandlerOptions{Now: func() time.Time { return hourEnd }, Authenticate: func(r *http.Request) (Caller, error) { return caller(r) }}))
	defer srv.Close()
	body := ranged("logs | count", map[string]any{"max_age": "1m"})
	first := post(t, srv, body)
	caller = func(*http.Request) (Caller, error) {
		return Caller{Scope: chtest.Scope(t, "a")}, httpapi.Errorf(http.StatusUnauthorized, "key-revoked", "the key was revoked")
	}
	if got := post(t, srv, body); got.status != 401 || strings.Contains(got.body, "60") {
		t.Errorf("disabled key: %d %s", got.status, got.body)
	}
	caller = as(chtest.Scope(t, "b")) // the key's tenant was moved, say
	if got := post(t, srv, body); got.status != 200 || got.body == first.body {
		t.Errorf("changed scope: %d %s", got.status, got.body)
	}
}

// TestErrorsAndCutResultsAreNotKept also covers results that are too long, whose rows must all come.
func TestErrorsAndCutResultsAreNotKept(t *testing.T) {
	s := newStore(t)
	s.many(120_000)
	s.caching()
	s.reader.limits.MaxRows = 200_000
	srv := s.serve(chtest.Scope(t, "a"))
	ask := func(query string, limit, rows int) {
		t.Helper()
		for range 2 {
			got := post(t, srv, ranged(query, map[string]any{"max_age": "1m", "limit": limit, "format": "ndjson"}))
			if n := strings.Count(got.body, "\n"); got.status != 200 || n != rows {
				t.Errorf("%s: %d, %d rows, want %d", query, got.status, n, rows)
			}
		}
	}
	ask("logs", 10, 10)
	ask("logs | summarize count() by body", 10, 10)
	ask("logs | project body", 150_000, 120_000)
	s.reader.limits.MaxRowsToRead = 10
	for range 2 {
		if got := post(t, srv, ranged("logs | summarize dcount(body)", map[string]any{"max_age": "1m"})); got.status != 422 {
			t.Errorf("failing query: %d %s", got.status, got.body)
		}
	}
	if n := len(s.reader.cache.answers); n != 0 || len(s.reader.cache.flights) != 0 || s.reader.gate.running != 0 {
		t.Errorf("%d answers kept, %d flights, %d places taken", n, len(s.reader.cache.flights), s.reader.gate.running)
	}
	s.reader.limits.MaxRowsToRead = 1e9
	ask("logs | count", 0, 1)
	if n := len(s.reader.cache.answers); n != 1 {
		t.Errorf("%d answers kept, want that of the last question", n)
	}
}

// TestOneAsksForAll: of many who ask the same at once one asks the engine, and if that one leaves, another.
func TestOneAsksForAll(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCache(1<<20, newMetrics(prometheus.NewRegistry()))
		key := cacheKey{1}
		var wg sync.WaitGroup
		var mu sync.Mutex
		asked, answered := 0, 0
		for i := range 10 {
			wg.Go(func() {
				a, ask, err := c.lookup(t.Context(), key, time.Minute)
				if err != nil {
					t.Error(err)
				}
				mu.Lock()
				defer mu.Unlock()
				if !ask {
					answered++
					if string(a.lines) != "[1]\n" {
						t.Errorf("caller %d got %q", i, a.lines)
					}
					return
				}
				asked++
				n := asked
				wg.Go(func() {
					time.Sleep(time.Second) // of the bubble's time
					if n == 1 {
						c.land(key, nil, true)
						return
					}
					c.land(key, &entry{key: key, made: c.now(), lines: []byte("[1]\n")}, false)
				})
			})
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
		defer cancel()
		synctest.Wait()
		if _, _, err := c.lookup(ctx, key, time.Minute); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("who leaves: %v", err)
		}
		wg.Wait()
		if asked != 2 || answered != 8 {
			t.Errorf("%d asked, %d were answered, want 2 and 8", asked, answered)
		}
		// What cannot be kept is asked for by everyone alone.
		key = cacheKey{2}
		if _, ask, _ := c.lookup(t.Context(), key, time.Minute); !ask {
			t.Fatal("nobody asks")
		}
		for range 3 {
			wg.Go(func() {
				if a, ask, err := c.lookup(t.Context(), key, time.Minute); a != nil || ask || err != nil {
					t.Errorf("alone: %v, %v, %v", a, ask, err)
				}
			})
		}
		synctest.Wait()
		c.land(key, nil, false)
		wg.Wait()
	})
}

// TestCacheIsBounded: in all, and for one scope to its share, the last used staying.
func TestCacheIsBounded(t *testing.T) {
	m := newMetrics(prometheus.NewRegistry())
	c := newCache(40*1000, m)
	put := func(scope string, n int) {
		key := cacheKey{byte(n), byte(n >> 8), scope[0]}
		if _, ask, err := c.lookup(t.Context(), key, time.Minute); err != nil {
			t.Fatal(err)
		} else if ask {
			c.land(key, &entry{key: key, scope: scope, made: c.now(), lines: make([]byte, 1000-answerOverhead-len(scope))}, false)
		}
	}
	put("b", 0)
	for i := range 300 {
		put("a", i)
	}
	if c.perScope["a"] != 10_000 || c.perScope["b"] != 1000 || c.bytes != 11_000 {
		t.Errorf("%d bytes, by scope %v, want at most a quarter of a, and b untouched", c.bytes, c.perScope)
	}
	for s := range 10 {
		for i := range 10 {
			put(string(rune('c'+s)), i)
		}
	}
	if c.bytes > c.maxBytes || int(c.bytes) != 1000*len(c.answers) || c.used.Len() != len(c.answers) || testutil.ToFloat64(m.cacheBytes) != float64(c.bytes) {
		t.Errorf("%d bytes, %d answers, %d in order", c.bytes, len(c.answers), c.used.Len())
	}
	for _, n := range c.perScope {
		if n == 0 {
			t.Error(fmt.Sprint("a scope without answers is still there: ", c.perScope))
		}
	}
}
