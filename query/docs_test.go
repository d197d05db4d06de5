package query

import (
	"fmt"
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/headgate-io/headgate/query/plan"
	"github.com/headgate-io/headgate/storage/schema"
)

var (
	exampleRe = regexp.MustCompile("(?s)```oql\n(.*?)\n```\n```(ndjson|error)\n(.*?)```")
	columnsRe = regexp.MustCompile(`(?s)<!-- columns -->.*?(\nAn attribute of a record)`)
)

// TestGuideIsTrue runs the examples of the guide and compares their output; with -update it writes it, and the table of
// columns.
func TestGuideIsTrue(t *testing.T) {
	const path = "../docs/query.md"
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	s := newStore(t)
	s.fillShop()
	srv := s.serve(scopeOf(t, "a"))
	guide := columnsRe.ReplaceAllString(string(b), "<!-- columns -->\n"+strings.ReplaceAll(columnTables(), "$", "$$")+"$1")
	examples := 0
	guide = exampleRe.ReplaceAllStringFunc(guide, func(example string) string {
		m := exampleRe.FindStringSubmatch(example)
		examples++
		got := post(t, srv, ranged(m[1], map[string]any{"format": "ndjson"}))
		out := got.body
		if m[2] == "error" {
			_, err := s.ask(scopeOf(t, "a"), hour(), m[1])
			if err == nil || got.status != 400 {
				t.Errorf("%s: no error", m[1])
				return example
			}
			out = fmt.Sprintf("%v\n%s\n", err, caretOf(err))
		} else if got.status != 200 || out == "" {
			t.Errorf("%s: %d %s", m[1], got.status, out)
		}
		return "```oql\n" + m[1] + "\n```\n```" + m[2] + "\n" + out + "```"
	})
	if examples < 8 {
		t.Errorf("only %d examples found", examples)
	}
	if guide == string(b) {
		return
	}
	if !*update {
		t.Errorf("the guide is out of date: run the test with -update and read the diff")
		return
	}
	if err := os.WriteFile(path, []byte(guide), 0o600); err != nil {
		t.Fatal(err)
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
