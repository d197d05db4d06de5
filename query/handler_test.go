package query

import (
	"bytes"
	"context"
	"encoding/csv"
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/headgate-io/headgate/internal/chtest"
	"github.com/headgate-io/headgate/internal/httpapi"
	"github.com/headgate-io/headgate/internal/timetest"
	"github.com/headgate-io/headgate/storage/schema"
)

// ranged is a request for the fixture's hour.
func ranged(query string, more map[string]any) map[string]any {
	body := map[string]any{"query": query, "start": hourStart, "end": hourEnd}
	for k, v := range more {
		body[k] = v
	}
	return body
}

func TestFormatsCarryTheSameRows(t *testing.T) {
	s := newStore(t)
	s.insert(schema.Logs,
		row{"TenantId": "a", "Timestamp": at(1), "Body": "say \"hi\",\n<you> é", "SeverityNumber": 17, "LogAttributes": map[string]string{"k": "v"}},
		row{"TenantId": "a", "Timestamp": at(2), "Body": "", "LogAttributes": map[string]string{"http.status_code": "200"}})
	srv := s.serve(chtest.Scope(t, "a"))
	const text = `logs | sort by time | project time, severity, 1 + 1, body, code = status_code, attributes, ok = status_code == 200`

	got := post(t, srv, ranged(text, nil))
	want := `{"columns":[{"name":"time","type":"time"},{"name":"severity","type":"severity"},{"name":"1 + 1","type":"int"},{"name":"body","type":"string"},{"name":"code","type":"int"},{"name":"attributes","type":"map"},{"name":"ok","type":"bool"}],"rows":[
{"time":"2025-03-04T10:00:01.000000000Z","severity":"error","1 + 1":2,"body":"say \"hi\",\n<you> é","code":null,"attributes":{"k":"v"},"ok":false},
{"time":"2025-03-04T10:00:02.000000000Z","severity":"unspecified","1 + 1":2,"body":"","code":200,"attributes":{"http.status_code":"200"},"ok":true}
],"row_count":2,"truncated":false}
`
	if got.status != 200 || got.body != want || !json.Valid([]byte(got.body)) {
		t.Errorf("json: %d\n%s\nwant\n%s", got.status, got.body, want)
	}
	got = post(t, srv, ranged(text, map[string]any{"format": "ndjson"}))
	lines := strings.SplitAfter(want, "\n")
	if ndjson := strings.TrimSuffix(lines[1], ",\n") + "\n" + lines[2]; got.status != 200 || got.body != ndjson {
		t.Errorf("ndjson: %d\n%s\nwant\n%s", got.status, got.body, ndjson)
	}
	got = post(t, srv, ranged(text, map[string]any{"format": "csv"}))
	records, err := csv.NewReader(strings.NewReader(got.body)).ReadAll()
	if err != nil || len(records) != 3 || !slices.Equal(records[1], []string{"2025-03-04T10:00:01.000000000Z", "error", "2", "say \"hi\",\n<you> é", "", `{"k":"v"}`, "false"}) {
		t.Errorf("csv: %v, %q", err, records)
	}
	got = post(t, srv, ranged(text, map[string]any{"format": "parquet"}))
	if b := got.body; got.status != 200 || !strings.HasPrefix(b, "PAR1") || !strings.HasSuffix(b, "PAR1") || !strings.Contains(b, "severity") || !strings.Contains(b, "1___1") {
		t.Errorf("parquet: %d %.200q", got.status, b)
	}
	got = post(t, srv, ranged(text, map[string]any{"format": "arrow"}))
	if b := got.body; got.status != 200 || !strings.HasPrefix(b, "\xff\xff\xff\xff") || !strings.Contains(b, "severity") {
		t.Errorf("arrow: %d %.200q", got.status, b)
	}
	for _, source := range []string{"logs", "spans", "metrics"} {
		for _, f := range []string{"parquet", "arrow"} {
			if got := post(t, srv, ranged(source, map[string]any{"format": f})); got.status != 200 {
				t.Errorf("%s as %s: %d %.300s", source, f, got.status, got.body)
			}
		}
	}
}

func TestAcceptChoosesTheFormat(t *testing.T) {
	for accept, want := range map[string]Format{
		"": FormatJSON, "*/*": FormatJSON, "text/csv": FormatCSV, "text/html, application/x-ndjson;q=0.5": FormatNDJSON, "application/jsonl": FormatNDJSON,
		"application/vnd.apache.parquet": FormatParquet, "application/vnd.apache.arrow.stream": FormatArrow, "image/png": FormatJSON, ";;,": FormatJSON,
	} {
		r := httptest.NewRequestWithContext(t.Context(), http.MethodPost, "/", nil)
		r.Header.Set("Accept", accept)
		if got, err := (request{}).format(r); got != want || err != nil {
			t.Errorf("Accept %q: %v, %v, want %v", accept, got, err, want)
		}
	}
}

func TestLimitsCutAndSaySo(t *testing.T) {
	s := newStore(t)
	s.fill(false)
	s.reader.limits.DefaultRows, s.reader.limits.DefaultGroups, s.reader.limits.MaxRows = 10, 20, 50
	srv := s.serve(chtest.Scope(t, "a"))
	for _, c := range []struct {
		query string
		limit int
		rows  int
		cut   bool
	}{
		{"logs", 0, 10, true}, {"logs", 5, 5, true}, {"logs", 50, 50, true}, {"logs | limit 3", 0, 3, false}, {"logs | limit 60", 0, 50, true}, {"logs | limit 60", 7, 7, true},
		{"logs | distinct body", 0, 20, true}, {"logs | distinct service", 0, 3, false}, {"logs | top 30 by time | summarize count() by body", 0, 20, true}, {"logs | where severity == \"warn\"", 0, 7, false},
	} {
		got := post(t, srv, ranged(c.query, map[string]any{"limit": c.limit}))
		var doc struct {
			Rows     []json.RawMessage `json:"rows"`
			RowCount int               `json:"row_count"`
			Cut      bool              `json:"truncated"`
		}
		if err := json.Unmarshal([]byte(got.body), &doc); err != nil || len(doc.Rows) != c.rows || doc.RowCount != c.rows || doc.Cut != c.cut {
			t.Errorf("%s limit %d: %d rows, row_count %d, truncated %v, %v, want %d, %v", c.query, c.limit, len(doc.Rows), doc.RowCount, doc.Cut, err, c.rows, c.cut)
		}
		got = post(t, srv, ranged(c.query, map[string]any{"limit": c.limit, "format": "ndjson"}))
		if n := strings.Count(got.body, "\n"); n != c.rows || strings.Contains(got.header, "Truncated:[true]") != c.cut {
			t.Errorf("%s limit %d: %d lines, %s, want %d, %v", c.query, c.limit, n, got.header, c.rows, c.cut)
		}
	}
}

func TestRequestsThatAreWrongSayWhy(t *testing.T) {
	s := newStore(t)
	srv := s.serve(chtest.Scope(t, "a"))
	for _, c := range []struct {
		body map[string]any
		code string
		text string
	}{
		{map[string]any{}, CodeSyntax, "expected a source"},
		{map[string]any{"query": "logs | wher true"}, CodeSyntax, `unknown stage \"wher\", did you mean \"where\"`},
		{map[string]any{"query": "logs", "start": "tomorrow"}, CodeInvalid, "is not a time"},
		{map[string]any{"query": "logs", "start": "-1h", "end": "-2h"}, CodeInvalid, "start is not before end"},
		{map[string]any{"query": "logs", "start": "1969-12-31"}, CodeInvalid, "1970"},
		{map[string]any{"query": "logs", "start": -5}, CodeInvalid, "1970"},
		{map[string]any{"query": "logs", "start": "-500d"}, CodeInvalid, "longer than 400 days"},
		{map[string]any{"query": "logs", "limit": -1}, CodeInvalid, "limit -1"},
		{map[string]any{"query": "logs", "limit": 100001}, CodeInvalid, "limit 100001"},
		{map[string]any{"query": "logs", "format": "xml"}, CodeInvalid, "want json"},
		{map[string]any{"query": "logs", "tenant": "b"}, "body-invalid", "tenant"},
	} {
		got := post(t, srv, c.body)
		if got.status != 400 || !strings.Contains(got.body, `"code":"`+c.code+`"`) || !strings.Contains(got.body, c.text) || !strings.Contains(got.header, "application/problem+json") {
			t.Errorf("%v: %d %s %s, want %s with %q", c.body, got.status, got.header, got.body, c.code, c.text)
		}
	}
	got := post(t, srv, map[string]any{"query": "logs |\n  where sevice == 1"})
	var doc map[string]any
	if err := json.Unmarshal([]byte(got.body), &doc); err != nil || doc["line"] != 2.0 || doc["column"] != 9.0 || doc["caret"] != "  where sevice == 1\n        ^" {
		t.Errorf("syntax error: %v %v", doc, err)
	}
	resp, err := srv.Client().Get(srv.URL)
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	if resp.StatusCode != 405 || resp.Header.Get("Allow") != "POST" {
		t.Errorf("GET: %d, Allow %q", resp.StatusCode, resp.Header.Get("Allow"))
	}
}

func TestMomentsAreReadInEveryForm(t *testing.T) {
	now := time.Date(2025, 3, 4, 12, 0, 0, 0, time.UTC)
	for text, want := range map[string]time.Time{
		`"2025-03-04T10:00:00Z"`: hourStart, `"2025-03-04T11:00:00.000000001+01:00"`: hourStart.Add(1), `"2025-03-04 10:00"`: hourStart, `"2025-03-04"`: hourStart.Add(-10 * time.Hour),
		`1741082400`: hourStart, `"1741082400"`: hourStart, `1741082400.5`: hourStart.Add(time.Second / 2), `1741082400000`: hourStart, `1741082400000000`: hourStart, `1741082400000000001`: hourStart.Add(1),
		`"-2h"`: hourStart, `"now-2h"`: hourStart, `"now"`: now, `""`: now.Add(time.Second), `null`: now.Add(time.Second), `"-1h30m"`: now.Add(-90 * time.Minute), `"-1d"`: now.Add(-24 * time.Hour),
	} {
		var m moment
		if err := json.Unmarshal([]byte(text), &m); err != nil {
			t.Errorf("%s: %v", text, err)
			continue
		}
		if got, err := m.in(now, now.Add(time.Second)); err != nil || !got.Equal(want) {
			t.Errorf("%s: %v, %v, want %v", text, got, err, want)
		}
	}
	for _, text := range []string{`"x"`, `"-"`, `"-5"`, `"1h"`, `true`, `[]`, `{}`, `1e300`, `"2025-13-01"`, `"now+1h"`} {
		var m moment
		if err := json.Unmarshal([]byte(text), &m); err != nil {
			continue
		}
		if got, err := m.in(now, now); err == nil && got.Year() < 2262 && got.Year() > 1970 {
			t.Errorf("%s: %v, want an error", text, got)
		}
	}
}

// TestEngineFailuresAreOurs drives the engine into its limits: callers get our codes and none of its text.
func TestEngineFailuresAreOurs(t *testing.T) {
	s := newStore(t)
	s.fill(false)
	for _, c := range []struct {
		limits Limits
		query  string
		status int
		code   string
	}{
		{Limits{MaxRowsToRead: 10}, "logs | summarize dcount(body)", 422, CodeTooMuchData},
		{Limits{MaxBytesToRead: 10}, "logs", 422, CodeTooMuchData},
		{Limits{MaxMemoryBytes: 1000}, "logs | summarize count() by body", 422, CodeMemory},
		{Limits{}, "logs | where body =~ `" + strings.Repeat("(x{1,100}|[a-zé]{1,100})", 40) + "`", 0, ""},
	} {
		s.reader = NewReader(chtest.Start(t).OpenReader(t, s.name), ReaderOptions{Limits: c.limits})
		got := post(t, s.serve(chtest.Scope(t, "a")), ranged(c.query, nil))
		if c.code != "" && (got.status != c.status || !strings.Contains(got.body, `"code":"`+c.code+`"`)) {
			t.Errorf("%s with %+v: %d %s, want %s", c.query, c.limits, got.status, got.body, c.code)
		}
		for _, leak := range []string{"DB::", "Exception", "otel_", "Code:", "PREWHERE", "TenantId"} {
			if strings.Contains(got.body, leak) {
				t.Errorf("%s: %q in %s", c.query, leak, got.body)
			}
		}
	}
	// No table: an error that has no code of its own.
	s.exec("DROP TABLE otel_traces SYNC")
	got := post(t, s.serve(chtest.Scope(t, "a")), ranged("spans", nil))
	if got.status != 500 || !strings.Contains(got.body, CodeFailed) || !strings.Contains(got.body, `"request_id"`) || strings.Contains(got.body, "otel") {
		t.Errorf("missing table: %d %s", got.status, got.body)
	}
	// No engine: an outage.
	opts := chtest.Start(t).ReaderOptions()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	opts.Addr = []string{ln.Addr().String()}
	ln.Close()
	s.reader = newTestReader(t, opts)
	got = post(t, s.serve(chtest.Scope(t, "a")), ranged("logs", nil))
	if got.status != 503 || !strings.Contains(got.body, CodeUnavailable) || !strings.Contains(got.header, "Retry-After") {
		t.Errorf("no engine: %d %s %s", got.status, got.header, got.body)
	}
}

// many inserts n rows of tenant a, all within the hour.
func (s *store) many(n int) {
	s.t.Helper()
	s.exec("INSERT INTO otel_logs (TenantId, Timestamp, Body) SELECT 'a', fromUnixTimestamp64Nano(1741082400000000000 + number * 1000), repeat(toString(number), 10) FROM numbers(" + itoa(n) + ")")
}

// TestTimeoutIsOurs: a query that takes too long ends with our code.
func TestTimeoutIsOurs(t *testing.T) {
	s := newStore(t)
	s.many(300_000)
	s.reader = NewReader(chtest.Start(t).OpenReader(t, s.name), ReaderOptions{Limits: Limits{MaxExecution: 20 * time.Millisecond, MaxThreads: 1}})
	got := post(t, s.serve(chtest.Scope(t, "a")), ranged(slow, nil))
	if got.status != 504 || !strings.Contains(got.body, CodeTimeout) {
		t.Errorf("slow query: %d %s", got.status, got.body)
	}
}

// slow takes seconds on some hundred thousand rows.
var slow = func() string {
	var aggs []string
	for i := range 60 {
		aggs = append(aggs, "dcount(replace(body, \""+itoa(i)+"\", \"xx\"))")
	}
	return "logs | summarize " + strings.Join(aggs, ", ")
}()

// TestFailureAfterTheFirstByteIsTold: each format ends a result that breaks off so that no reader takes it for whole.
func TestFailureAfterTheFirstByteIsTold(t *testing.T) {
	s := newStore(t)
	s.many(300_000)
	s.reader.limits.MaxRows = 1_000_000
	// The engine's stream breaks off between two rows, as when the engine dies.
	broken := func(f Format, after int) (string, error) {
		h := httpapi.Handle(s.reader.log, func(w http.ResponseWriter, r *http.Request) error {
			b := hour()
			b.Limit = 200_000
			p := mustParse(t, "logs | project body")
			st, err := Print(p, chtest.Scope(t, "a"), b)
			if err != nil {
				return err
			}
			res, err := s.reader.Run(r.Context(), st, Rows)
			if err != nil {
				return err
			}
			defer res.Close()
			res.lines.r.Reset(io.MultiReader(io.LimitReader(res.stream, int64(after)), errReader{errors.New("secret engine text")}))
			return respond(w, res, f)
		})
		srv := httptest.NewServer(h)
		defer srv.Close()
		resp, err := srv.Client().Post(srv.URL, "application/json", nil)
		if err != nil {
			return "", err
		}
		defer resp.Body.Close()
		body, err := io.ReadAll(resp.Body)
		return string(body), err
	}
	body, err := broken(FormatNDJSON, 500_000)
	lines := strings.Split(strings.TrimSuffix(body, "\n"), "\n")
	last := lines[len(lines)-1]
	if err != nil || len(lines) < 1000 || !strings.HasPrefix(last, `{"error":{`) || !strings.Contains(last, CodeUnavailable) || !strings.Contains(last, "request_id") {
		t.Errorf("ndjson: %v, %d lines, last %s", err, len(lines), last)
	}
	body, err = broken(FormatJSON, 500_000)
	var doc struct {
		Rows  []json.RawMessage
		Error struct{ Code string }
	}
	if jsonErr := json.Unmarshal([]byte(body), &doc); err != nil || jsonErr != nil || len(doc.Rows) < 1000 || doc.Error.Code != CodeUnavailable || strings.Contains(body, "row_count") {
		t.Errorf("json: %v, %v, %d rows, %v", err, jsonErr, len(doc.Rows), doc.Error)
	}
	body, err = broken(FormatCSV, 500_000)
	if err == nil || strings.Contains(body, "secret") {
		t.Errorf("csv: ended as if whole after %d bytes", len(body))
	}
	// Before the first row it is a problem document.
	if body, err = broken(FormatNDJSON, 0); err != nil || !strings.Contains(body, `"status":503`) {
		t.Errorf("at once: %v %s", err, body)
	}
}

type errReader struct{ err error }

func (r errReader) Read([]byte) (int, error) { return 0, r.err }

// TestQueryEndsWithItsClient: when the client goes, the engine stops and the place is free again.
func TestQueryEndsWithItsClient(t *testing.T) {
	s := newStore(t)
	s.many(300_000)
	s.reader = NewReader(chtest.Start(t).OpenReader(t, s.name), ReaderOptions{Limits: Limits{Concurrent: 1, ConcurrentPerTenant: 1, WaitingPerTenant: 1, MaxWait: time.Millisecond, MaxThreads: 1, MaxExecution: 5 * time.Minute}})
	srv := s.serve(chtest.Scope(t, "a"))
	ctx, cancel := context.WithCancel(t.Context())
	body, err := json.Marshal(ranged(slow, nil))
	if err != nil {
		t.Fatal(err)
	}
	gone := make(chan error, 1)
	go func() {
		req, err := http.NewRequestWithContext(ctx, http.MethodPost, srv.URL, bytes.NewReader(body))
		if err == nil {
			var resp *http.Response
			if resp, err = srv.Client().Do(req); err == nil {
				resp.Body.Close()
			}
		}
		gone <- err
	}()
	running := func() string {
		var n uint64
		if err := s.writer.QueryRow(t.Context(), "SELECT count() FROM system.processes WHERE current_database = '"+s.name+"' AND query LIKE '%uniq(%PREWHERE%' AND query NOT LIKE '%system.processes%'").Scan(&n); err != nil {
			t.Fatal(err)
		}
		return itoa(int(n))
	}
	timetest.Eventually(t, "the query runs", func() bool { return running() != "0" })
	if got := post(t, srv, ranged("logs | count", nil)); got.status != 429 || !strings.Contains(got.body, CodeBusy) || !strings.Contains(got.header, "Retry-After:[1]") {
		t.Errorf("beside it: %d %s %s", got.status, got.header, got.body)
	}
	cancel()
	if err := <-gone; !errors.Is(err, context.Canceled) {
		t.Errorf("client: %v", err)
	}
	timetest.Eventually(t, "the query has ended", func() bool { return running() == "0" })
	timetest.Eventually(t, "the place is free", func() bool { return post(t, srv, ranged("logs | count", nil)).status == 200 })
}
