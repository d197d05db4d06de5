package query

import (
	"encoding/json"
	"fmt"
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/headgate-io/headgate/internal/chtest"
	"github.com/headgate-io/headgate/query/oql"
	"github.com/headgate-io/headgate/query/plan"
	"github.com/headgate-io/headgate/storage/schema"
)

// A block of an example holds no fence.
const block = "((?:[^`]|`{1,2}[^`])*?)"

var (
	exampleRe = regexp.MustCompile("```(oql|json)\n" + block + "\n```\n```(ndjson|error)\n" + block + "```")
	planRe    = regexp.MustCompile("```json\n" + block + "\n```\n```oql\n" + block + "\n```")
	columnsRe = regexp.MustCompile(`(?s)<!-- columns -->.*?(\nAn attribute of a record)`)
)

// TestGuidesAreTrue runs the examples of the guides and compares their output; with -update it writes it, the text that a JSON
// form equals, and the table of columns. A json example is a request.
func TestGuidesAreTrue(t *testing.T) {
	s := newStore(t)
	s.fillShop()
	srv := s.serve(chtest.Scope(t, "a"))
	for path, least := range map[string]int{"../docs/query.md": 2, "../docs/oql.md": 17} {
		b, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		examples := 0
		guide := columnsRe.ReplaceAllString(string(b), "<!-- columns -->\n"+strings.ReplaceAll(columnTables(), "$", "$$")+"$1")
		guide = planRe.ReplaceAllStringFunc(guide, func(example string) string {
			m := planRe.FindStringSubmatch(example)
			text, err := oql.JSONText([]byte(m[1]))
			if err != nil {
				t.Errorf("%s: %v", m[1], err)
				return example
			}
			return "```json\n" + m[1] + "\n```\n```oql\n" + text + "\n```"
		})
		guide = exampleRe.ReplaceAllStringFunc(guide, func(example string) string {
			m := exampleRe.FindStringSubmatch(example)
			examples++
			request := map[string]any{"query": m[2]}
			if m[1] == "json" {
				request = nil
				if err := json.Unmarshal([]byte(m[2]), &request); err != nil {
					t.Errorf("%s: %v", m[2], err)
					return example
				}
			}
			request["start"], request["end"], request["format"] = hourStart, hourEnd, "ndjson"
			got := post(t, srv, request)
			out := got.body
			if m[3] == "error" {
				_, err := s.ask(chtest.Scope(t, "a"), hour(), m[2])
				if err == nil || got.status != 400 {
					t.Errorf("%s: no error", m[2])
					return example
				}
				out = fmt.Sprintf("%v\n%s\n", err, caretOf(err))
			} else if got.status != 200 || out == "" {
				t.Errorf("%s: %d %s", m[2], got.status, out)
			}
			return "```" + m[1] + "\n" + m[2] + "\n```\n```" + m[3] + "\n" + out + "```"
		})
		if examples < least {
			t.Errorf("%s: only %d examples found", path, examples)
		}
		if guide == string(b) {
			continue
		}
		if !*update {
			t.Errorf("%s is out of date: run the test with -update and read the diff", path)
			continue
		}
		if err := os.WriteFile(path, []byte(guide), 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

func caretOf(err error) string {
	e, ok := err.(interface{ Caret() string })
	if !ok {
		return ""
	}
	return e.Caret()
}

// columnTables is the list of columns, a table per source.
func columnTables() string {
	var b strings.Builder
	for _, src := range plan.Sources() {
		fmt.Fprintf(&b, "\n| `%s` | type | |\n| --- | --- | --- |\n", src)
		for _, f := range plan.Fields(src) {
			also := ""
			if f.Also != nil {
				also = " (`" + strings.Join(f.Also, "`, `") + "`)"
			}
			null := ""
			if f.Nullable {
				null = ", or null"
			}
			fmt.Fprintf(&b, "| `%s`%s | %s%s | %s |\n", f.Name, also, f.Type, null, f.Doc)
		}
	}
	return b.String()
}

// fillShop inserts the telemetry that the guide talks about.
func (s *store) fillShop() {
	resource := func(service, host string) map[string]string {
		return map[string]string{"service.name": service, "host.name": host}
	}
	for i, l := range []struct {
		service, host, body string
		severity            int
		attrs               map[string]string
	}{
		{"checkout", "node-1", "payment accepted", 9, map[string]string{"http.route": "/pay", "http.response.status_code": "200"}},
		{"checkout", "node-1", "payment provider timed out", 17, map[string]string{"http.route": "/pay", "http.response.status_code": "504"}},
		{"cart", "node-2", "cart is empty", 13, map[string]string{"http.route": "/cart"}},
		{"checkout", "node-2", "payment provider timed out", 17, map[string]string{"http.route": "/pay", "http.response.status_code": "504"}},
		{"cart", "node-2", "lost the connection to redis", 21, map[string]string{"http.response.status_code": "500"}},
		{"cart", "node-2", "connected to redis", 9, nil},
	} {
		s.insert(schema.Logs, row{
			"TenantId": "a", "Timestamp": at(float64(i * 400)), "ServiceName": l.service, "Body": l.body, "SeverityNumber": l.severity,
			"LogAttributes": l.attrs, "ResourceAttributes": resource(l.service, l.host),
		})
	}
	for i, sp := range []struct {
		service, name, kind, status string
		ms                          int
	}{
		{"checkout", "POST /pay", "Server", "Ok", 120}, {"checkout", "POST /pay", "Server", "Error", 5000}, {"cart", "GET /cart", "Server", "Unset", 12},
		{"cart", "HGETALL", "Client", "Unset", 3}, {"checkout", "POST /pay", "Server", "Ok", 180}, {"checkout", "charge", "Client", "Error", 4990},
	} {
		s.insert(schema.Traces, row{
			"TenantId": "a", "Timestamp": at(float64(i * 300)), "EndTimestamp": at(float64(i*300) + float64(sp.ms)/1000), "Duration": sp.ms * 1_000_000,
			"ServiceName": sp.service, "SpanName": sp.name, "SpanKind": sp.kind, "StatusCode": sp.status,
		})
	}
	for i, v := range []float64{3, 5, 40, 2} {
		s.insert(schema.MetricsGauge, row{"TenantId": "a", "TimeUnix": at(float64(i * 900)), "MetricName": "queue.depth", "ServiceName": "checkout", "Value": v})
	}
}
