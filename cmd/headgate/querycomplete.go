package main

import (
	"context"
	"encoding/json"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/headgate-io/headgate/query/plan"
)

// What can follow in a query beside names of columns. A test holds these lists against the language.
var (
	oqlStages = []string{
		"count", "distinct", "extend", "head", "join", "keys", "limit", "project", "project-away", "search", "sort", "summarize", "take", "top", "union", "where",
	}
	oqlFunctions = []string{
		"abs(", "ago(", "any(", "avg(", "bin(", "ceil(", "coalesce(", "concat(", "contains(", "count()", "countif(", "dcount(", "exists(", "extract(", "float(",
		"floor(", "iff(", "int(", "isempty(", "isnotempty(", "isnotnull(", "isnull(", "max(", "min(", "now()", "percentile(", "replace(", "round(", "string(",
		"strlen(", "substring(", "sum(", "tolower(", "top(", "toupper(", "trim(",
	}
	oqlWords = []string{"and", "asc", "between", "by", "desc", "endswith", "false", "in", "inner", "left", "not", "null", "on", "or", "startswith", "true"}
)

// completer knows what can stand where in a query. Not for concurrent use.
type completer struct {
	client *client
	keys   map[string][]string // names of attributes, by source and map, as far as asked for
}

func newCompleter(c *client) *completer { return &completer{client: c, keys: map[string][]string{}} }

// keyPatience is how long a completion waits for the names of attributes.
const keyPatience = 2 * time.Second

// at returns how the word before pos can go on: what stands before it, the candidates, what stands after.
func (c *completer) at(ctx context.Context, text string, pos int) (head string, words []string, tail string) {
	runes := []rune(text)
	before, tail := string(runes[:pos]), string(runes[pos:])
	begin := strings.LastIndexFunc(before, func(r rune) bool {
		return !(r == '_' || r == '.' || r == '-' || r == '\\' || r >= '0' && r <= '9' || r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z')
	}) + 1
	head, word := before[:begin], before[begin:]
	for _, w := range c.candidates(ctx, head, word) {
		if strings.HasPrefix(w, word) {
			words = append(words, w)
		}
	}
	slices.Sort(words)
	return head, slices.Compact(words), tail
}

func (c *completer) candidates(ctx context.Context, head, word string) []string {
	stage := strings.TrimSpace(head)
	source, _, _ := strings.Cut(strings.TrimSpace(head+word), " ")
	source, _, _ = strings.Cut(strings.TrimRight(source, "|"), "(")
	switch {
	case stage == "" && strings.HasPrefix(word, `\`):
		return []string{`\chart`, `\fields`, `\format`, `\help`, `\quit`, `\range`}
	case stage == "" || stage == `\fields`:
		return []string{"logs", "spans", "metrics"}
	case strings.HasPrefix(stage, `\format`):
		return queryFormats[:4]
	case strings.HasSuffix(stage, "|"):
		return oqlStages
	}
	if of, _, dotted := strings.Cut(word, "."); dotted {
		return c.attributes(ctx, source, of)
	}
	out := slices.Concat(oqlFunctions, oqlWords, []string{"attr.", "resource."})
	for _, f := range plan.Fields(plan.Source(source)) {
		out = append(append(out, f.Name), f.Also...)
	}
	return out
}

// attributes returns the names in use in a map of a source, each written as a column. They are those of the last hour, asked
// for once.
func (c *completer) attributes(ctx context.Context, source, of string) []string {
	if plan.Fields(plan.Source(source)) == nil || !slices.Contains([]string{"attr", "attributes", "resource", "scope"}, of) || c.client == nil {
		return nil
	}
	name := source + " " + of
	if known, ok := c.keys[name]; ok {
		return known
	}
	ctx, cancel := context.WithTimeout(ctx, keyPatience)
	defer cancel()
	var out struct{ Rows []struct{ Key string } }
	in := map[string]any{"query": source + " | keys " + of + " | limit 200", "max_age": "60s"}
	resp, err := c.client.send(ctx, http.MethodPost, "/api/v1/query", nil, in)
	if err != nil {
		return nil // completion is a help, not an answer
	}
	defer resp.Body.Close()
	if json.NewDecoder(resp.Body).Decode(&out) != nil {
		return nil
	}
	names := []string{}
	for _, r := range out.Rows {
		if plain(r.Key) {
			names = append(names, of+"."+r.Key)
		}
	}
	c.keys[name] = names
	return names
}

// plain reports whether a name can be written after a dot.
func plain(s string) bool {
	return s != "" && !strings.ContainsFunc(s, func(r rune) bool {
		return !(r == '_' || r == '.' || r >= '0' && r <= '9' || r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z')
	})
}
