package prom

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/headgate-io/headgate/internal/chtest"
	"github.com/headgate-io/headgate/query"
)

// question posts a question of a tenant and returns the answer.
func question(t testing.TB, h *Handler, tenant, body string) (int, string) {
	t.Helper()
	w := httptest.NewRecorder()
	h.Questions(query.Caller{Scope: chtest.Scope(t, tenant), Key: "k"}).ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), "POST", "/", strings.NewReader(body)))
	if got := w.Header().Get("Content-Type"); got != "application/json" {
		t.Errorf("%s is answered as %s", body, got)
	}
	return w.Code, w.Body.String()
}

// TestQuestionsAreAnsweredAsPrometheusAnswers: byte for byte as the path answers the query with its values written out, and of the
// caller's tenant alone.
func TestQuestionsAreAnsweredAsPrometheusAnswers(t *testing.T) {
	d := newDatabase(t)
	d.fill("a")
	d.fill("b")
	srv := d.serve(t, Options{}, "a")
	h := NewHandler(d.reader, Options{Now: func() time.Time { return noon }})
	const variables = `,"variables":{"job":{"type":"string","value":"shop/cart"},"jobs":{"type":"list","value":["shop/cart","x"]},"d":{"type":"duration","value":"5m"},"n":{"type":"int","value":2}}`
	ago := func(d time.Duration) string { return fmt.Sprint(noon.Add(-d).Unix()) }
	now := ago(0)
	for _, c := range []struct {
		body, path string
		params     map[string]string
	}{
		{`"query":"rate(http_requests_total{job=$job}[$d])","start":"-30m","step":"1m"`, "/api/v1/query_range",
			map[string]string{"query": `rate(http_requests_total{job="shop/cart"}[5m])`, "start": ago(30 * time.Minute), "end": now, "step": "60"}},
		{`"query":"topk($n, {job=~$jobs,__name__=~\"http.*|mem.*\"})","instant":true,"max_age":"5s"`, "/api/v1/query",
			map[string]string{"query": `topk(2, {job=~"shop/cart|x",__name__=~"http.*|mem.*"})`, "time": now}},
		{`"query":"sum(http_requests_total)"`, "/api/v1/query_range",
			map[string]string{"query": `sum(http_requests_total)`, "start": ago(time.Hour), "end": now, "step": "15"}},
		{`"query":"memory_usage_bytes","limit":1,"instant":true,"end":"-1m"`, "/api/v1/query",
			map[string]string{"query": `memory_usage_bytes`, "time": ago(time.Minute), "limit": "1"}},
		{`"query":"size_bytes offset $d","instant":true,"format":"json"`, "/api/v1/query", map[string]string{"query": `size_bytes offset 5m`, "time": now}},
		{`"query":"{tenant_id=\"b\"}","instant":true`, "/api/v1/query", map[string]string{"query": `{tenant_id="b"}`, "time": now}},
	} {
		params := url.Values{}
		for name, v := range c.params {
			params.Set(name, v)
		}
		want := ask(t, srv, http.MethodGet, c.path, params)
		status, got := question(t, h, "a", "{"+c.body+variables+"}")
		if status != want.status || status != 200 || got != want.body {
			t.Errorf("%s = %d %.400s, want %.400s", c.body, status, got, want.body)
		}
		if len(got) < 80 != strings.Contains(c.body, "tenant_id") {
			t.Errorf("%s says nothing: %s", c.body, got)
		}
		if _, other := question(t, h, "c", "{"+c.body+variables+"}"); strings.Contains(other, "cart") {
			t.Errorf("%s of a tenant without metrics = %s", c.body, other)
		}
	}
	// The other tenant's values come back for none of the hostile ones.
	for _, value := range hostile {
		raw, err := json.Marshal(value)
		if err != nil {
			t.Fatal(err)
		}
		status, got := question(t, h, "a", fmt.Sprintf(`{"query":"http_requests_total{job=$v}","instant":true,"variables":{"v":{"type":"string","value":%s}}}`, raw))
		if want := `"result":[]`; status != 200 || value != "" && !strings.Contains(got, want) {
			t.Errorf("%q: %d %s", value, status, got)
		}
	}
}

// TestQuestionsAreRefusedInPrometheusForm: with a type of error and, where the text is wrong, its place.
func TestQuestionsAreRefusedInPrometheusForm(t *testing.T) {
	name := chtest.Database(t)
	reader := query.NewReader(chtest.Start(t).OpenReader(t, name), query.ReaderOptions{Refuse: func() error { return query.Refused }})
	h := NewHandler(reader, Options{})
	for _, c := range []struct {
		body   string
		status int
		kind   string
		want   string
	}{
		{`{"query":"up"}`, 503, "unavailable", "walls"},
		{`{"query":"up{job=$x}","variables":{"x":{"type":"string"}}}`, 400, "bad_data", "needs a value"},
		{`{"query":"up{job=$x}","variables":{"x":{"type":"string","value":5}}}`, 400, "bad_data", "a text"},
		{`{"query":"up{job=$x}"}`, 400, "bad_data", "line 1 column 8"},
		{`{"query":"up{"}`, 400, "bad_data", "line 1 column"},
		{`{"query":"up","start":"yesterday"}`, 400, "bad_data", "start"},
		{`{"query":"up","step":"0s"}`, 400, "bad_data", "step"},
		{`{"query":"up","start":"-365d","step":"1s"}`, 400, "bad_data", "11,000"},
		{`{"query":"up[1d:1ms]"}`, 400, "bad_data", "subquery"},
		{`{"query":"up","format":"csv"}`, 400, "bad_data", "json"},
		{`{"query":"up","cursor":"x"}`, 400, "bad_data", "cursor"},
		{`{"query":"up","limit":-1}`, 400, "bad_data", "limit"},
		{`{"query":"` + strings.Repeat("a", maxQueryBytes+1) + `"}`, 400, "bad_data", "longer"},
		{`[]`, 400, "bad_data", "body"},
	} {
		status, got := question(t, h, "a", c.body)
		var doc struct{ Status, ErrorType, Error string }
		if err := json.Unmarshal([]byte(got), &doc); err != nil || status != c.status || doc.Status != "error" || doc.ErrorType != c.kind || !strings.Contains(doc.Error, c.want) {
			t.Errorf("%.200s = %d %s %v, want %d %s with %q", c.body, status, got, err, c.status, c.kind, c.want)
		}
	}
}
