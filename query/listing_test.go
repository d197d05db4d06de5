package query

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"testing"
	"testing/iotest"
	"time"

	"github.com/ClickHouse/clickhouse-go/v2"

	"github.com/headgate-io/headgate/internal/chtest"
	"github.com/headgate-io/headgate/storage/schema"
)

// wire is the transport of a reader's connection. It keeps the settings of each statement.
type wire struct {
	mu   sync.Mutex
	sent []url.Values      // guarded by mu
	pass func(n int) error // an error fails the n-th statement; nil passes all
}

// tapped returns a reader of s under limits, and what its statements go through.
func (s *store) tapped(limits Limits) (*Reader, *wire) {
	s.t.Helper()
	w := &wire{}
	opts := chtest.Start(s.t).ReaderOptions()
	opts.Auth.Database = s.name
	opts.TransportFunc = func(rt *http.Transport) (http.RoundTripper, error) {
		return roundTripper(func(r *http.Request) (*http.Response, error) {
			body, err := io.ReadAll(r.Body)
			if err != nil {
				return nil, err
			}
			r.Body = io.NopCloser(bytes.NewReader(body))
			q := r.URL.Query()
			if strings.Contains(string(body)+q.Get("query"), "displayName()") { // the driver's greeting
				return rt.RoundTrip(r)
			}
			w.mu.Lock()
			w.sent = append(w.sent, q)
			n := len(w.sent)
			w.mu.Unlock()
			if w.pass != nil {
				if err := w.pass(n); err != nil {
					return nil, err
				}
			}
			return rt.RoundTrip(r)
		}), nil
	}
	conn, err := clickhouse.Open(opts)
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() { _ = conn.Close() })
	limits.MaxThreads = 1
	return NewReader(conn, ReaderOptions{Limits: limits}), w
}

// take returns what was sent since it was called last.
func (w *wire) take() []url.Values {
	w.mu.Lock()
	defer w.mu.Unlock()
	out := w.sent
	w.sent = nil
	return out
}

// dayStart is where the rows of day begin; they end with the fixture's hour.
var dayStart = hourEnd.Add(-24 * time.Hour)

// day inserts rows of tenant a over a day: many share their times, most of these stand at or beside what windows end at. The
// attribute n and the service follow from the time, body and kind do not.
func (s *store) day(r *rand.Rand) {
	var rows []row
	add := func(when time.Time, n int) {
		for range n {
			k := when.UnixNano() / int64(time.Microsecond) % 1009
			rows = append(rows, row{
				"TenantId": "a", "Timestamp": when.Format("2006-01-02 15:04:05.000000000"), "ServiceName": services[k%3], "SeverityNumber": 9 + 4*r.IntN(3),
				"Body": fmt.Sprintf("text %d", r.IntN(3)), "LogAttributes": map[string]string{"n": fmt.Sprint(k), "kind": fmt.Sprint(r.IntN(40))},
			})
		}
	}
	for border := dayStart; border.Before(hourEnd); border = border.Add(windowStep) {
		add(border, r.IntN(4))
		add(border.Add(-1), r.IntN(3))
		add(border.Add(1), r.IntN(3))
		add(border.Add(time.Duration(r.Int64N(int64(windowStep)))), r.IntN(6))
	}
	add(hourEnd.Add(-15*time.Minute), 60)
	add(hourEnd.Add(-15*time.Minute-1), 60)
	s.insert(schema.Logs, rows...)
}

// randomList writes a query that is a list. Where the text itself has a limit, which rows of the last time come is the engine's
// to choose: such a query shows only what follows from the time.
func randomList(r *rand.Rand) string {
	var out []string
	for range r.IntN(3) {
		out = append(out, []string{
			`where service == "api"`, `where severity >= "warn"`, `where body ~ "TEXT 1"`, `where attr.kind == "7"`, `where attr.n == "3"`, `where attr.kind == "x"`,
			`where time < ago(3h)`, `extend m = strlen(body)`, `where attr.n > 500 and service != "db"`, `where attr.n == "3" or attr.kind == "5" and severity == "info"`,
		}[r.IntN(10)])
	}
	shows := "project time, service, n = attr.n"
	switch r.IntN(4) {
	case 0:
		out = append(out, shows, fmt.Sprintf("limit %d", 1+r.IntN(300)))
	case 1:
		out = append(out, fmt.Sprintf("sort by time asc | limit %d", 1+r.IntN(300)), shows)
	case 2:
		out = append(out, fmt.Sprintf("limit %d | limit %d", 1+r.IntN(300), 1+r.IntN(300)), shows)
	default:
		out = append(out, []string{"project time, service, body", "project time, body, attributes", "project body", "sort by time desc | project time"}[r.IntN(4)])
	}
	return strings.Join(append([]string{"logs"}, out...), " | ")
}

// TestWindowsAnswerAsOneStatement asks random lists of rows that share their times window by window and at once. The answers are
// the same to the byte, in every format, and so are all pages that follow.
func TestWindowsAnswerAsOneStatement(t *testing.T) {
	s := newStore(t)
	r := rand.New(rand.NewPCG(5, 6))
	s.day(r)
	scope := chtest.Scope(t, "a")
	whole, _ := s.tapped(Limits{})
	whole.small = math.MaxInt64
	parts, wire := s.tapped(Limits{})
	parts.small = 1
	serve := func(r *Reader) *httptest.Server {
		s.reader = r
		return s.serve(scope)
	}
	one, two := serve(whole), serve(parts)
	statements, pages, full := map[int]int{}, 0, 0
	for range 100 {
		text := randomList(r)
		ask := ranged(text, map[string]any{
			"start": dayStart.Add(time.Duration(r.Int64N(int64(20 * time.Hour)))), "end": hourEnd.Add(-time.Duration(r.IntN(5)) * 7 * time.Minute),
			"format": []Format{FormatJSON, FormatNDJSON, FormatCSV, FormatCSV, FormatParquet, FormatArrow}[r.IntN(6)],
		})
		if r.IntN(3) > 0 {
			ask["limit"] = 1 + r.IntN(200)
		}
		for page := 0; page < 4; page++ {
			want, got := post(t, one, ask), post(t, two, ask)
			if want.status != 200 || got != want {
				t.Fatalf("%v\n window by window: %d %s\n%s\nat once: %d %s\n%s", ask, got.status, got.header, got.body, want.status, want.header, want.body)
			}
			statements[len(wire.take())]++
			if strings.Count(want.body, "\n") > 3 {
				full++
			}
			_, cursor, _ := strings.Cut(want.header, NextCursorTrailer+":[")
			if cursor, _, _ = strings.Cut(cursor, "]"); cursor == "" {
				break
			}
			ask["cursor"] = cursor
			pages++
		}
	}
	// Besides its windows a list takes the statement that was refused, and one more for the last moment of a page.
	for n := range statements {
		if n > mostWindows+2 {
			t.Errorf("an answer took %d statements", n)
		}
	}
	if statements[2] < 5 || statements[3] < 5 || statements[4] < 5 || pages < 10 || full < 50 {
		t.Errorf("%d answers with rows, %d pages followed, answers by number of statements: %v", full, pages, statements)
	}
}

// TestListsOfFewRowsAreAskedAtOnce: one statement for what has little to read, and for what is no list; for others one that is
// refused before it reads, and as many windows as it takes.
func TestListsOfFewRowsAreAskedAtOnce(t *testing.T) {
	s := newStore(t)
	s.day(rand.New(rand.NewPCG(5, 6)))
	reader, wire := s.tapped(Limits{})
	s.reader = reader
	srv := s.serve(chtest.Scope(t, "a"))
	for _, c := range []struct {
		query string
		more  map[string]any
		small int64
		want  int
	}{
		{"logs | limit 5", nil, 0, 1},
		{"logs | limit 5", nil, 1, 2},
		{"logs | where severity >= \"info\" | sort by time asc | limit 5", nil, 1, 2},
		{"logs | limit 50", nil, 1, 2},
		{"logs | limit 500", nil, 1, 4},
		{"logs | where body ~ \"absent\"", nil, 1, 3},
		{"logs | where body ~ \"absent\" | limit 1", nil, 1, 1 + mostWindows},
		{"spans | limit 5", nil, 1, 1}, // there is nothing to read
		{"logs | limit 5", map[string]any{"start": hourEnd.Add(-2 * firstWindow)}, 1, 1},
		{"logs | limit 5", map[string]any{"format": "parquet"}, 1, 1},
		{"logs | top 5 by severity", nil, 1, 1},
		{"logs | limit 50 | where severity >= \"warn\"", nil, 1, 1},
		{"logs | limit 50 | sort by body", nil, 1, 1},
		{"logs | sort by time asc | limit 50 | sort by time desc", nil, 1, 1},
		{"logs | count", nil, 1, 1},
		{"logs | distinct service", nil, 1, 1},
		{"logs | union (spans) | limit 5", nil, 1, 1},
		{"logs | project time, service | join (spans | distinct service) on service | limit 5", nil, 1, 1},
		{"metrics | limit 5", nil, 1, 1},
	} {
		reader.small = c.small
		ask := ranged(c.query, map[string]any{"start": dayStart})
		for k, v := range c.more {
			ask[k] = v
		}
		got := post(t, srv, ask)
		sent := wire.take()
		if got.status != 200 || len(sent) != c.want {
			t.Errorf("%s %v: %d, %d statements, want %d", c.query, c.more, got.status, len(sent), c.want)
		}
	}
}

// TestWindowsShareOneSeatAndOneTime: all statements of a list run in one place, each within what is left of the time of one, and
// as statements of one request.
func TestWindowsShareOneSeatAndOneTime(t *testing.T) {
	s := newStore(t)
	s.day(rand.New(rand.NewPCG(5, 6)))
	reader, wire := s.tapped(Limits{Concurrent: 1, ConcurrentPerTenant: 1, MaxExecution: 20 * time.Second})
	reader.small, s.reader = 1, reader
	if got := post(t, s.serve(chtest.Scope(t, "a")), ranged("logs | where body ~ \"absent\"", map[string]any{"start": dayStart})); got.status != 200 {
		t.Fatalf("%d %s", got.status, got.body)
	}
	sent := wire.take()
	if len(sent) != 3 {
		t.Fatalf("%d statements, want 3", len(sent))
	}
	id, last := sent[0].Get("query_id"), 20.0
	for i, q := range sent {
		var left float64
		if _, err := fmt.Sscan(q.Get("max_execution_time"), &left); err != nil || left > last || i > 0 && left == 20 || left < 1 {
			t.Errorf("statement %d may take %q s after %v", i+1, q.Get("max_execution_time"), last)
		}
		last = left
		if want := id; i > 0 && q.Get("query_id") != want+fmt.Sprint("-", i+1) {
			t.Errorf("statement %d is %s, want one of %s", i+1, q.Get("query_id"), want)
		}
	}
}

// TestNoWindowIsAskedAfterTheTimeIsUp: what the windows before took counts.
func TestNoWindowIsAskedAfterTheTimeIsUp(t *testing.T) {
	s := newStore(t)
	s.day(rand.New(rand.NewPCG(5, 6)))
	const most = time.Second
	reader, wire := s.tapped(Limits{MaxExecution: most})
	reader.small, s.reader = 1, reader
	wire.pass = func(n int) error {
		if n == 2 { // a slow network
			<-time.After(most + 100*time.Millisecond)
		}
		return nil
	}
	got := post(t, s.serve(chtest.Scope(t, "a")), ranged("logs | where body ~ \"absent\"", map[string]any{"start": dayStart}))
	if n := len(wire.take()); got.status != 504 || !strings.Contains(got.body, CodeTimeout) || n != 2 {
		t.Errorf("%d %s after %d statements, want 504 after 2", got.status, got.body, n)
	}
}

// TestFailureOfALaterWindowComesBeforeTheRows: as where one statement fails, the answer is an error and not a part of the rows.
func TestFailureOfALaterWindowComesBeforeTheRows(t *testing.T) {
	s := newStore(t)
	s.day(rand.New(rand.NewPCG(5, 6)))
	reader, wire := s.tapped(Limits{})
	reader.small, s.reader = 1, reader
	wire.pass = func(n int) error {
		if n >= 3 {
			return io.ErrClosedPipe
		}
		return nil
	}
	got := post(t, s.serve(chtest.Scope(t, "a")), ranged("logs | where attr.n > 1", map[string]any{"start": dayStart, "format": "ndjson"}))
	if n := len(wire.take()); got.status != 503 || !strings.Contains(got.body, CodeUnavailable) || n < 3 {
		t.Errorf("%d %s after %d statements, want 503", got.status, got.body, n)
	}
}

// TestWindowTooLargeLeavesTheRestToOneStatement: what a query may read is no less for its windows.
func TestWindowTooLargeLeavesTheRestToOneStatement(t *testing.T) {
	s := newStore(t)
	s.day(rand.New(rand.NewPCG(5, 6)))
	reader, wire := s.tapped(Limits{MaxBytesToRead: 1 << 30})
	reader.small, s.reader = 1, reader
	srv := s.serve(chtest.Scope(t, "a"))
	ask := ranged("logs | where body ~ \"text\" | project time, n = attr.n | limit 500", map[string]any{"start": dayStart})
	want := post(t, srv, ask)
	wire.take()
	const most = 1 << 19
	reader.limits.MaxBytesToRead = most // of which an early window may read a part
	got := post(t, srv, ask)
	sent := wire.take()
	if got.status != 200 || got != want || len(sent) < 3 {
		t.Fatalf("%d, %d statements; the same answer: %v", got.status, len(sent), got == want)
	}
	// One that was refused, and one from where it began.
	window, rest := sent[len(sent)-2], sent[len(sent)-1]
	if window.Get("param_p4") != rest.Get("param_p4") || window.Get("max_bytes_to_read") != fmt.Sprint(most/earlyShare) || rest.Get("max_bytes_to_read") != fmt.Sprint(most) {
		t.Errorf("the last statements of %d were %v, %v", len(sent), window, rest)
	}
	reader.limits.MaxBytesToRead = 16
	if got := post(t, srv, ask); got.status != 422 || !strings.Contains(got.body, CodeTooMuchData) {
		t.Errorf("under a limit of 16 bytes: %d %s", got.status, got.body)
	}
}

// TestListerPassesOnWholeRows: streams that come in any pieces are passed on as one; one that breaks off within a row is not
// taken for whole.
func TestListerPassesOnWholeRows(t *testing.T) {
	for name, c := range map[string]struct {
		parts []string
		rows  int
		want  string
		err   error
	}{
		"all":          {[]string{"1\n2\n", "3\n"}, 9, "1\n2\n3\n", nil},
		"enough":       {[]string{"1\n2\n", "3\n", "4\n"}, 3, "1\n2\n3\n", nil},
		"nothing":      {[]string{"", ""}, 30, "", nil},
		"within a row": {[]string{"1\n2", "3\n"}, 9, "1\n2", io.ErrUnexpectedEOF},
	} {
		for _, held := range []bool{false, true} {
			var asked []int
			l := &listing{from: hourStart, until: hourEnd, rows: c.rows, window: func(_, _ time.Time, rows int) (Stmt, error) {
				asked = append(asked, rows)
				return Stmt{}, nil
			}}
			left := c.parts
			lines := newLister(l, func(Stmt, bool) (io.ReadCloser, error) {
				part := left[0]
				left = left[1:]
				return io.NopCloser(iotest.OneByteReader(strings.NewReader(part))), nil
			})
			var err error
			if held {
				err = lines.hold()
			}
			var got []byte
			if err == nil {
				got, err = io.ReadAll(lines)
			} else {
				got = lines.held.Bytes()
			}
			if string(got) != c.want || !errors.Is(err, c.err) || asked[0] != c.rows {
				t.Errorf("%s, held %v: %q, %v, asked for %v rows, want %q, %v", name, held, got, err, asked, c.want, c.err)
			}
		}
	}
}
