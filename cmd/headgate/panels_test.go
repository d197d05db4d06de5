package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/headgate-io/headgate/control"
)

// requests is a counter of requests by route, at two times a minute apart, as it is sent.
func requests(job string) string {
	point := func(route string, ago time.Duration, n int) string {
		return fmt.Sprintf(`{"attributes":[{"key":"route","value":{"stringValue":%q}}],"startTimeUnixNano":"%d","timeUnixNano":"%d","asInt":"%d"}`,
			route, time.Now().Add(-time.Hour).UnixNano(), time.Now().Add(-ago).UnixNano(), n)
	}
	return fmt.Sprintf(`{"resourceMetrics":[{"resource":{"attributes":[{"key":"service.name","value":{"stringValue":%q}}]},"scopeMetrics":[{"metrics":[
		{"name":"requests","sum":{"isMonotonic":true,"aggregationTemporality":2,"dataPoints":[%s,%s,%s]}}]}]}]}`,
		job, point("/cart", 2*time.Minute, 10), point("/cart", time.Minute, 40), point("/pay", time.Minute, 7))
}

// TestPanelsInPromQL: a panel in PromQL is checked when it is saved, and reads what its viewer may, with the values that the viewer chose.
func TestPanelsInPromQL(t *testing.T) {
	p := serveOn(t, t.TempDir())
	raw, err := os.ReadFile(filepath.Join(p.dir, adminTokenFile))
	if err != nil {
		t.Fatal(err)
	}
	s := &site{t: t, process: p, operator: strings.TrimSpace(string(raw))}
	s.do(s.operator, "POST", "/api/v1/tenants", `{"name":"boards"}`)
	s.do(s.operator, "POST", "/api/v1/tenants", `{"name":"others"}`)
	ann, eve := s.first("boards", "ann@boards.example", "admin"), s.first("others", "eve@others.example", "admin")
	vic := s.invited(ann.Token, "boards", "vic@boards.example", "viewer")
	s.mustPost("/v1/metrics", s.key("boards", "ingest"), requests("shop"))
	s.mustPost("/v1/metrics", s.key("others", "ingest"), requests("theirs"))
	s.flushed()

	made := send[control.Dashboard](s, ann.Token, "POST", "/api/v1/dashboards", `{"name":"Metrics","sharing":"tenant","start":"-5m","panels":[
		{"id":"now","language":"promql","instant":true,"query":"sum by (route, job) (requests_total{route=$route})"},
		{"id":"among","language":"promql","instant":true,"query":"sum by (route) (requests_total{route=~$routes}) > $least"},
		{"id":"lines","language":"promql","step":"30s","query":"max_over_time(requests_total{job!=$route}[$window])"},
		{"id":"rows","query":"metrics(\"requests\") | where value > $least"}],
		"variables":[{"name":"route","type":"string","default":"/cart"},{"name":"routes","type":"list","default":["/cart","/pay"]},
			{"name":"least","type":"float","default":0},{"name":"window","type":"duration","values":["5m","10m"],"default":"5m"}]}`)
	path := "/api/v1/dashboards/" + made.ID + "/panels/"
	for _, c := range []struct {
		panel, body string
		want        []string
		not         string
	}{
		{"now", `{}`, []string{`"resultType":"vector"`, `{"job":"shop","route":"/cart"}`, `"40"`}, "theirs"},
		{"now", `{"variables":{"route":"/pay"}}`, []string{`"7"`}, `"40"`},
		{"now", `{"variables":{"route":"/pay\"} or {job=~\".+"}}`, []string{`"result":[]`}, "route"},
		{"now", `{"instant":false,"step":"1m"}`, []string{`"resultType":"matrix"`, `"40"`}, "theirs"},
		{"among", `{}`, []string{`"40"`, `"7"`}, "theirs"},
		{"among", `{"variables":{"routes":["/p.y","/cart"],"least":8}}`, []string{`"40"`}, `"7"`},
		{"lines", `{"variables":{"window":"10m"}}`, []string{`"resultType":"matrix"`, `"40"`, `"shop"`}, "theirs"},
	} {
		status, text := s.ask(vic.Token, "POST", path+c.panel+"/run", c.body)
		for _, want := range c.want {
			if status != 200 || !strings.Contains(text, want) || strings.Contains(text, c.not) {
				t.Errorf("%s %s: %d %s, want %s", c.panel, c.body, status, text, want)
			}
		}
	}
	s.refuse(404, "not-found", eve.Token, "POST", path+"now/run", `{}`)
	s.refuse(404, "not-found", s.key("others", "query"), "POST", path+"now/run", `{}`)
	for _, bad := range []string{`{"variables":{"window":"7m"}}`, `{"variables":{"least":"x"}}`} {
		s.refuse(400, "invalid-argument", vic.Token, "POST", path+"lines/run", bad)
	}
	s.refuse(400, "invalid-argument", vic.Token, "POST", path+"rows/run", `{"step":"1m"}`)
	if status, text := s.ask(vic.Token, "POST", path+"lines/run", `{"format":"csv"}`); status != 400 || !strings.Contains(text, `"errorType":"bad_data"`) {
		t.Errorf("as CSV: %d %s", status, text)
	}

	// What cannot be bound or does not parse is not saved, and the answer says where.
	for _, c := range []struct{ query, want string }{
		{`sum by (route (requests_total)`, `"column"`},
		{`{__name__=$route}`, `"column":11`},
		{`rate(requests_total{job=\"$route\"}[5m])`, "without quotes"},
		{`requests_total > $most`, "unknown variable $most"},
	} {
		status, text := s.ask(ann.Token, "PATCH", "/api/v1/dashboards/"+made.ID, `{"panels":[{"id":"second","language":"promql","query":"`+c.query+`"}]}`)
		if status != 400 || !strings.Contains(text, `"code":"query-syntax"`) || !strings.Contains(text, c.want) || !strings.Contains(text, `"caret"`) || !strings.Contains(text, `"panel":"second"`) {
			t.Errorf("%s: %d %s", c.query, status, text)
		}
	}
	// A saved query changes its language with its text.
	q := send[control.SavedQuery](s, ann.Token, "POST", "/api/v1/saved-queries", `{"name":"q","language":"promql","query":"sum(requests_total)","step":"1m"}`)
	q = send[control.SavedQuery](s, ann.Token, "PATCH", "/api/v1/saved-queries/"+q.ID, `{"plan":{"from":"logs"},"step":""}`)
	if q.Language != "plan" || q.Query != "" {
		t.Errorf("with a plan it is %+v", q.Source)
	}
	q = send[control.SavedQuery](s, ann.Token, "PATCH", "/api/v1/saved-queries/"+q.ID, `{"query":"logs"}`)
	if q.Language != "oql" || q.Plan != nil {
		t.Errorf("with a text again it is %+v", q.Source)
	}
	s.refuse(400, "invalid-argument", ann.Token, "PATCH", "/api/v1/saved-queries/"+q.ID, `{"instant":true}`)
	s.refuse(400, "invalid-argument", ann.Token, "PATCH", "/api/v1/saved-queries/"+q.ID, `{"language":"sql"}`)
}
