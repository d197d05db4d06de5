package prom

import (
	"net/http"
	"net/url"
	"strings"
	"testing"
)

// TestDeepExpressionsAreRefused: an expression that fills the bound of a query's text with nesting, and one that nests a little
// too deep, are refused at once; one that nests almost as deep as it may is not.
func TestDeepExpressionsAreRefused(t *testing.T) {
	d := newDatabase(t)
	d.fill("a")
	srv := d.serve(t, Options{}, "a")
	for _, c := range []struct{ before, leaf, after string }{
		{"(", "up", ")"}, {"-", "up", ""}, {"", "up", " or up"}, {"", "1", "+1"}, {"abs(", "up", ")"}, {"sum(", "up", ")"}, {"1 + (", "1", ")"},
	} {
		for n, want := range map[int]string{
			maxDepth/2 - 4: "", maxDepth: "nested more than 128 deep", (maxQueryBytes - 10) / len(c.before+c.after): "more than 2000 operators and parentheses",
		} {
			text := strings.Repeat(c.before, n) + c.leaf + strings.Repeat(c.after, n)
			for _, path := range []string{"query", "query_range", "format_query", "parse_query", "query_exemplars"} {
				if want == "" && path != "format_query" {
					continue
				}
				got := ask(t, srv, http.MethodPost, "/api/v1/"+path, url.Values{"query": {text}, "start": {"1"}, "end": {"2"}, "step": {"1"}})
				if (got.status == 400) != (want != "") || !strings.Contains(got.body, want) {
					t.Errorf("%s of %.20q, %d deep: %.300v, want %q", path, text, n, got, want)
				}
			}
		}
	}
}

func TestDeepExpressionsAreNotKept(t *testing.T) {
	for n, want := range map[int]string{
		maxDepth / 2: "", maxDepth: "nested more than 128 deep", 4 * maxJoints: "more than 2000 operators and parentheses",
	} {
		err := Check(strings.Repeat("1+", n)+"1", "", nil)
		if (err != nil) != (want != "") || err != nil && !strings.Contains(err.Error(), want) {
			t.Errorf("%d deep: %.200v, want %q", n, err, want)
		}
	}
}
