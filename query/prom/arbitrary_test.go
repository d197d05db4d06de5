package prom

import (
	"net/http"
	"net/url"
	"testing"
)

// TestSubqueriesAnswerInOneOrder: series that the engine takes out of a map come in the order of their labels, and are cut in it;
// where the expression orders them, in that.
func TestSubqueriesAnswerInOneOrder(t *testing.T) {
	d := newDatabase(t)
	d.fill("a")
	srv := d.serve(t, Options{}, "a")
	for _, c := range []struct{ query, limit string }{
		{`max_over_time((timestamp(gc_seconds{}))[10m:2m])`, ""},
		{`max_over_time((timestamp(gc_seconds{}))[10m:2m])`, "1"},
		{`sort_desc(max_over_time((gc_seconds{} + 0)[10m:2m]))`, ""},
	} {
		params := url.Values{"query": {c.query}, "time": {"1741087380"}, "limit": {c.limit}, "max_age": {"0s"}}
		first := ask(t, srv, http.MethodGet, "/api/v1/query", params)
		if first.status != http.StatusOK || len(first.body) < 200 {
			t.Fatalf("%s: %v", c.query, first)
		}
		for range 30 {
			if again := ask(t, srv, http.MethodGet, "/api/v1/query", params); again.body != first.body {
				t.Fatalf("%s: an answer is\n%s\nanother\n%s", c.query, first.body, again.body)
			}
		}
	}
}
