package query

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/headgate-io/headgate/internal/chtest"
)

// TestPlanIsAskedAsJSON: POST /api/v1/query takes the JSON form in the place of the text, and answers the same.
func TestPlanIsAskedAsJSON(t *testing.T) {
	s := answersStore(t)
	srv := s.serve(chtest.Scope(t, "a"))
	ask := func(body map[string]any) answer {
		body["start"], body["end"], body["format"] = hourStart, hourEnd, "ndjson"
		return post(t, srv, body)
	}
	plan := json.RawMessage(`{"from": "logs", "where": {"op": ">=", "args": ["severity", {"value": "warn"}]}, "aggregate": [{"fn": "count", "as": "n"}], "by": ["service"], "order": [{"expr": "n", "desc": true}]}`)
	want := `{"service":"db","n":2}` + "\n" + `{"service":"api","n":1}` + "\n"
	if got := ask(map[string]any{"plan": plan}); got.status != 200 || got.body != want {
		t.Errorf("plan: %d %s", got.status, got.body)
	}
	text := `logs | where severity >= "warn" | summarize n = count() by service | sort by n desc`
	if got := ask(map[string]any{"query": text}); got.body != want {
		t.Errorf("text: %d %s", got.status, got.body)
	}
	if got := ask(map[string]any{"plan": plan, "query": text}); got.status != 400 || !strings.Contains(got.body, `"query-invalid"`) {
		t.Errorf("both: %d %s", got.status, got.body)
	}
	got := ask(map[string]any{"plan": json.RawMessage(`{"from": "logs", "where": {"op": "==", "args": ["sevice", {"value": "x"}]}}`)})
	if got.status != 400 || !strings.Contains(got.body, `"query-syntax"`) || !strings.Contains(got.body, `"pointer":"/where/args/0"`) ||
		!strings.Contains(got.body, `did you mean \"service\"`) {
		t.Errorf("wrong column: %d %s", got.status, got.body)
	}
	for _, doc := range []string{`null`, `"logs"`, `[]`, `5`, `{"from": "logs", "sql": "SELECT 1"}`} {
		if got := ask(map[string]any{"plan": json.RawMessage(doc)}); got.status != 400 {
			t.Errorf("plan %s: %d %s", doc, got.status, got.body)
		}
	}
}
