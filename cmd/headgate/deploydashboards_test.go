package main

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.yaml.in/yaml/v3"
)

// target is what a panel of a dashboard asks a data source.
type target struct {
	Expr          string // Prometheus
	Service       string // Jaeger
	Limit         int
	URL           string // Infinity: JSON
	RootSelector  string `json:"root_selector"`
	Columns       []struct{ Selector string }
	panel, source string
}

// dashboard returns what the panels of a dashboard of deploy/grafana ask, with Grafana's variables replaced.
func dashboard(t *testing.T, file string) (targets []target) {
	t.Helper()
	raw := mustRead(t, filepath.Join(deployDir, "grafana", file))
	var board struct {
		UID, Title string
		Panels     []struct {
			ID                       int
			Type, Title, Description string
			Datasource               struct{ Type, UID string }
			GridPos                  struct{ H, W, X, Y int }
			Targets                  []target
		}
		Templating struct {
			List []struct {
				Name, Type string
				Query      any
			}
		}
	}
	if err := json.Unmarshal([]byte(raw), &board); err != nil {
		t.Fatalf("%s: %v", file, err)
	}
	sources := map[string]any{} // type by variable
	for _, v := range board.Templating.List {
		if v.Type == "datasource" {
			sources["${"+v.Name+"}"] = v.Query
		}
	}
	ids, taken := map[int]bool{}, map[[2]int]string{}
	for _, p := range board.Panels {
		if ids[p.ID] {
			t.Errorf("%s: two panels are %d", file, p.ID)
		}
		ids[p.ID] = true
		for x := p.GridPos.X; x < p.GridPos.X+p.GridPos.W; x++ {
			for y := p.GridPos.Y; y < p.GridPos.Y+p.GridPos.H; y++ {
				if other := taken[[2]int{x, y}]; other != "" || x >= 24 {
					t.Errorf("%s: %s lies on %q or beside the grid", file, p.Title, other)
				}
				taken[[2]int{x, y}] = p.Title
			}
		}
		if p.Type == "row" {
			continue
		}
		if sources[p.Datasource.UID] != p.Datasource.Type || len(p.Targets) == 0 || p.Description == "" {
			t.Errorf("%s: panel %s has data source %v, %d queries, description %q", file, p.Title, p.Datasource, len(p.Targets), p.Description)
		}
		for _, q := range p.Targets {
			now := time.Now().UTC()
			q.Expr = strings.NewReplacer("$__rate_interval", "5m", "$__range", "1h", "$instance", ".*", "$service", ".*").Replace(q.Expr)
			q.URL = strings.NewReplacer("${__from:date:iso}", now.Add(-time.Hour).Format("2006-01-02T15:04:05.000Z"), "${__to:date:iso}", now.Format("2006-01-02T15:04:05.000Z")).Replace(q.URL)
			if strings.Contains(q.Expr+q.URL, "$") {
				t.Errorf("%s: panel %s has a variable that is not known: %s%s", file, p.Title, q.Expr, q.URL)
			}
			q.panel, q.source = p.Title, p.Datasource.Type
			targets = append(targets, q)
		}
	}
	return targets
}

// conventional is telemetry by OpenTelemetry's semantic conventions, of the last minutes.
func conventional() string {
	now := time.Now()
	point := func(ago time.Duration, count int, attributes ...string) string {
		var list []string
		for i := 0; i < len(attributes); i += 2 {
			list = append(list, fmt.Sprintf(`{"key":%q,"value":{"stringValue":%q}}`, attributes[i], attributes[i+1]))
		}
		return fmt.Sprintf(`{"attributes":[%s],"startTimeUnixNano":"%d","timeUnixNano":"%d","count":"%d","sum":%d,"explicitBounds":[0.1,1],"bucketCounts":["%d","0","0"]}`,
			strings.Join(list, ","), now.Add(-time.Hour).UnixNano(), now.Add(-ago).UnixNano(), count, count, count)
	}
	var metrics []string
	for name, attributes := range map[string][][]string{
		"http.server.request.duration": {{"http.route", "/cart", "http.response.status_code", "200"}, {"http.route", "/cart", "http.response.status_code", "500"}},
		"http.client.request.duration": {{"server.address", "pay.example"}},
		"db.client.operation.duration": {{"db.system.name", "postgresql"}},
	} {
		var points []string
		for _, a := range attributes {
			for minute := range 4 {
				points = append(points, point(time.Duration(minute)*time.Minute, 100-10*minute, a...))
			}
		}
		metrics = append(metrics, fmt.Sprintf(`{"name":%q,"unit":"s","histogram":{"aggregationTemporality":2,"dataPoints":[%s]}}`, name, strings.Join(points, ",")))
	}
	return fmt.Sprintf(`{"resourceMetrics":[{"resource":{"attributes":[{"key":"service.name","value":{"stringValue":"shop"}},{"key":"service.instance.id","value":{"stringValue":"1"}},
		{"key":"service.version","value":{"stringValue":"1.2"}}]},
		"scopeMetrics":[{"metrics":[%s]}]}]}`, strings.Join(metrics, ","))
}

// dataSources are those of deploy/grafana/provisioning, at a process in place of where headgate is by default.
func dataSources(t *testing.T, p *process) map[string]string {
	t.Helper()
	var file struct {
		Datasources []struct {
			UID, Type, URL string
			BasicAuth      bool           `yaml:"basicAuth"`
			Secrets        map[string]any `yaml:"secureJsonData"`
		}
	}
	if err := yaml.Unmarshal([]byte(mustRead(t, filepath.Join(deployDir, "grafana", "provisioning", "datasources.yaml"))), &file); err != nil {
		t.Fatal(err)
	}
	urls := map[string]string{}
	for _, d := range file.Datasources {
		if !strings.HasPrefix(d.UID, "headgate-") || d.UID == "headgate-operations" {
			continue
		}
		if !d.BasicAuth || d.Secrets["basicAuthPassword"] != "$HEADGATE_KEY" {
			t.Errorf("%s is not asked with the key", d.UID)
		}
		urls[d.Type] = strings.Replace(d.URL, DefaultConfig().API, p.addr.API, 1)
	}
	return urls
}

// TestTenantsDashboardIsAnswered: every panel of deploy/grafana/tenant.json, asked at the data sources that are provisioned, has
// something to show for a tenant that sends by the conventions, and nothing for a neighbour.
func TestTenantsDashboardIsAnswered(t *testing.T) {
	p := serveOn(t, t.TempDir())
	p.cli("tenant", "create", "acme", "--daily-bytes", "1GiB")
	p.cli("tenant", "create", "globex")
	acme, globex := p.key("acme", "ingest", "query", "usage"), p.key("globex", "query", "usage")
	p.mustPost("/v1/metrics", acme, conventional())
	p.mustPost("/v1/traces", acme, spanOf("0af7651916cd43dd8448eb211c80319c", "checkout"))
	p.flushed()
	urls := dataSources(t, p)
	ask := func(key, url string) []byte {
		t.Helper()
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, nil)
		if err != nil {
			t.Fatal(err)
		}
		req.SetBasicAuth("key", key)
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		body, err := io.ReadAll(resp.Body)
		if err != nil || resp.StatusCode != 200 {
			t.Fatalf("%s: %d %s %v", url, resp.StatusCode, body, err)
		}
		return body
	}
	// rows is what a target shows.
	rows := func(key string, q target) (out []map[string]any) {
		t.Helper()
		base := urls[q.source]
		switch q.source {
		case "prometheus":
			out = unmarshal[struct {
				Data struct{ Result []map[string]any }
			}](t, string(ask(key, base+"/api/v1/query?query="+url.QueryEscape(q.Expr)))).Data.Result
		case "jaeger":
			out = unmarshal[struct{ Data []map[string]any }](t, string(ask(key, fmt.Sprintf("%s/api/traces?service=%s&limit=%d&lookback=1h", base, strings.ReplaceAll(q.Service, "$service", "shop"), q.Limit)))).Data
		case "yesoreyeram-infinity-datasource":
			raw := unmarshal[map[string]json.RawMessage](t, string(ask(key, base+q.URL)))[q.RootSelector]
			out = unmarshal[[]map[string]any](t, string(raw))
			for _, c := range q.Columns {
				if len(out) > 0 && out[0][c.Selector] == nil {
					t.Errorf("%s: no %s in %v", q.panel, c.Selector, out[0])
				}
			}
		default:
			t.Fatalf("panel %s asks %q", q.panel, q.source)
		}
		return out
	}
	for _, q := range dashboard(t, "tenant.json") {
		if got := rows(acme, q); len(got) == 0 {
			t.Errorf("%s shows nothing: %s", q.panel, q.Expr+q.Service+q.URL)
		}
		if got := rows(globex, q); len(got) != 0 {
			t.Errorf("%s shows a neighbour %v", q.panel, got)
		}
	}
}
