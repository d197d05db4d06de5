package query

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/ClickHouse/clickhouse-go/v2"

	"github.com/headgate-io/headgate/internal/chtest"
	"github.com/headgate-io/headgate/internal/tenant"
)

// TestSettingsGoWithEveryStatement listens to what reaches the engine: rows in each format, further statements of a page that
// ends within one moment, windows of a list, and answers that are kept, all carry the settings that protect tenants and the capability.
func TestSettingsGoWithEveryStatement(t *testing.T) {
	s := newStore(t)
	s.crowd("x ")
	opts := chtest.Start(t).ReaderOptions()
	opts.Auth.Database = s.name
	var mu sync.Mutex
	var sent []url.Values
	opts.TransportFunc = func(rt *http.Transport) (http.RoundTripper, error) {
		return roundTripper(func(r *http.Request) (*http.Response, error) {
			mu.Lock()
			defer mu.Unlock()
			body, err := io.ReadAll(r.Body)
			if err != nil {
				return nil, err
			}
			r.Body = io.NopCloser(bytes.NewReader(body))
			if q := r.URL.Query(); !strings.Contains(string(body)+q.Get("query"), "displayName()") { // the driver's greeting
				sent = append(sent, q)
			}
			return rt.RoundTrip(r)
		}), nil
	}
	conn, err := clickhouse.Open(opts)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	s.reader = NewReader(conn, ReaderOptions{CacheBytes: 1 << 20, Settings: func(scope tenant.Scope) map[string]any {
		return map[string]any{"log_comment": "capability of " + strings.Join(scope.Strings(), ",")}
	}})
	srv := s.serve(chtest.Scope(t, "a"))
	for _, format := range []Format{FormatJSON, FormatNDJSON, FormatCSV, FormatParquet, FormatArrow} {
		if got := post(t, srv, ranged("logs | project time, body", map[string]any{"format": string(format), "limit": 3})); got.status != 200 {
			t.Errorf("%s: %d %s", format, got.status, got.body)
		}
	}
	cursor := ""
	for page := 0; page == 0 || cursor != "" && page < 40; page++ {
		status, p := askPage(t, srv, ranged("logs | project time, body", map[string]any{"limit": 2, "cursor": cursor}))
		if status != 200 {
			t.Fatalf("page %d: %d %s", page, status, p.Detail)
		}
		cursor = p.Next
	}
	post(t, srv, ranged("logs | count", map[string]any{"max_age": "1m"}))
	s.reader.small = 1
	atOnce := len(sent)
	post(t, srv, ranged("logs | project time, body", nil))
	if n := len(sent) - atOnce; n < 3 {
		t.Errorf("a list was asked in %d statements, want one that is refused and windows", n)
	}
	want := (Limits{}).withDefaults().settings()
	further := 0
	for _, q := range sent {
		for name, value := range want {
			got := q.Get(name)
			switch name {
			case "max_execution_time", "max_rows_to_read", "max_bytes_to_read": // some are given less
				most, err := strconv.ParseFloat(fmt.Sprint(value), 64)
				if n, errGot := strconv.ParseFloat(got, 64); err != nil || errGot != nil || n <= 0 || n > most {
					t.Errorf("statement %s has %s = %q, want %v at most", q.Get("query_id"), name, got, value)
				}
			default:
				if got != fmt.Sprint(value) {
					t.Errorf("statement %s has %s = %q, want %v", q.Get("query_id"), name, got, value)
				}
			}
		}
		if got := q["log_comment"]; len(got) != 1 || got[0] != "capability of a" {
			t.Errorf("statement %s has the capabilities %q, want one, of a", q.Get("query_id"), got)
		}
		if strings.Contains(q.Get("query_id"), "-") {
			further++
		}
	}
	if len(sent) < 20 || further < 5 {
		t.Errorf("%d statements, %d of them further ones of a request: too few to tell", len(sent), further)
	}
}

type roundTripper func(*http.Request) (*http.Response, error)

func (f roundTripper) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }
