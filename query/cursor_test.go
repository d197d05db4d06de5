package query

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"maps"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/headgate-io/headgate/internal/chtest"
	"github.com/headgate-io/headgate/storage/schema"
)

// onePage is an answer in JSON.
type onePage struct {
	Rows      []json.RawMessage `json:"rows"`
	Truncated bool              `json:"truncated"`
	Next      string            `json:"next_cursor"`
	Code      string            `json:"code"`
	Detail    string            `json:"detail"`
}

func askPage(t testing.TB, srv *httptest.Server, body map[string]any) (int, onePage) {
	t.Helper()
	got := post(t, srv, body)
	var p onePage
	if err := json.Unmarshal([]byte(got.body), &p); err != nil {
		t.Fatalf("%v: %v\n%s", body, err, got.body)
	}
	return got.status, p
}

// crowd inserts rows of tenant a many of which share their times, and some everything: at second i of twenty, i%7+1
// rows with the texts i%3 differ by.
func (s *store) crowd(bodyPrefix string) (n int) {
	var rows []row
	for i := range 20 {
		for j := range i%7 + 1 {
			rows = append(rows, row{"TenantId": "a", "Timestamp": at(float64(i)), "Body": fmt.Sprint(bodyPrefix, i, ".", j%3)})
		}
	}
	s.insert(schema.Logs, rows...)
	return len(rows)
}

// TestPagesGiveEachRowOnce reads rows of equal times page by page while others arrive: what was there at the first page
// comes exactly once, what arrives at most once, whatever the size of the pages.
func TestPagesGiveEachRowOnce(t *testing.T) {
	for query, sizes := range map[string][]int{
		"logs | project time, body": {1, 3, 8, 50}, "logs | where body != \"x\" | project body": {2, 5}, "logs | extend n = strlen(body) | project n": {7},
	} {
		for _, size := range sizes {
			s := newStore(t)
			n := s.crowd("old ")
			srv := s.serve(chtest.Scope(t, "a"))
			want := map[string]int{}
			_, all := askPage(t, srv, ranged(query, nil))
			if len(all.Rows) != n || all.Truncated || all.Next != "" {
				t.Fatalf("%s: %d rows of %d, %q", query, len(all.Rows), n, all.Next)
			}
			for _, r := range all.Rows {
				want[string(r)]++
			}
			got, cursor := map[string]int{}, ""
			for pages := 0; ; pages++ {
				status, p := askPage(t, srv, ranged(query, map[string]any{"limit": size, "cursor": cursor}))
				if status != 200 || len(p.Rows) > size || p.Truncated != (p.Next != "") {
					t.Fatalf("%s by %d: %d, %d rows, truncated %v, cursor %q", query, size, status, len(p.Rows), p.Truncated, p.Next)
				}
				for _, r := range p.Rows {
					got[string(r)]++
				}
				if cursor = p.Next; cursor == "" {
					break
				}
				if pages > 3*n {
					t.Fatalf("%s by %d: no end after %d pages", query, size, pages)
				}
				if pages < 3 && !strings.Contains(query, "strlen") {
					s.crowd("new ") // among the same times, before and after the cursor
				}
			}
			for r := range got {
				if strings.Contains(r, "new ") {
					if got[r] > 3*3 { // three rounds of at most three equal rows
						t.Errorf("%s by %d: %s came %d times", query, size, r, got[r])
					}
					delete(got, r)
				}
			}
			if !maps.Equal(got, want) {
				t.Errorf("%s by %d: rows and counts %v, want %v", query, size, got, want)
			}
		}
	}
}

// TestPagesOfEveryRowFormatAndSource: the cursor is in the trailer where a format has no place for it, and any row format
// goes on where another stopped.
func TestPagesOfEveryRowFormatAndSource(t *testing.T) {
	s := newStore(t)
	s.fill(true)
	srv := s.serve(chtest.Scope(t, "a"))
	for _, source := range []string{"logs", "spans", "metrics"} {
		_, all := askPage(t, srv, ranged(source+" | project time", nil))
		var got []string
		cursor := ""
		for i := 0; i == 0 || cursor != ""; i++ {
			f := []Format{FormatNDJSON, FormatCSV, FormatJSON}[i%3]
			a := post(t, srv, ranged(source+" | project time", map[string]any{"limit": 7, "cursor": cursor, "format": f}))
			if a.status != 200 {
				t.Fatalf("%s page %d as %s: %d %s", source, i, f, a.status, a.body)
			}
			for line := range strings.SplitSeq(a.body, "\n") {
				if _, when, ok := strings.Cut(line, "2025-"); ok {
					got = append(got, "2025-"+strings.Trim(when, "\"},\r"))
				}
			}
			_, cursor, _ = strings.Cut(a.header, NextCursorTrailer+":[")
			cursor, _, _ = strings.Cut(cursor, "]")
		}
		var want []string
		for _, r := range all.Rows {
			want = append(want, strings.TrimSuffix(strings.TrimPrefix(string(r), `{"time":"`), `"}`))
		}
		if !slices.Equal(got, want) || len(want) == 0 {
			t.Errorf("%s: %d times %v, want %d %v", source, len(got), got, len(want), want)
		}
	}
}

// TestCursorHoldsForItsQueryAlone: a cursor is refused with anybody else's scope, another query or range, altered in any
// byte, or when it is old; and it holds on every replica.
func TestCursorHoldsForItsQueryAlone(t *testing.T) {
	s := newStore(t)
	s.fill(true)
	srv := s.serve(chtest.Scope(t, "a"))
	ask := func(body map[string]any) (int, onePage) {
		t.Helper()
		return askPage(t, srv, body)
	}
	const text = "logs | where severity >= \"debug\""
	_, first := ask(ranged(text, map[string]any{"limit": 5}))
	if first.Next == "" {
		t.Fatal("no cursor")
	}
	with := func(query string, more map[string]any) map[string]any {
		m := ranged(query, more)
		if m["cursor"] == nil {
			m["cursor"] = first.Next
		}
		return m
	}
	const altered = "the cursor does not hold: it was altered, or was not given to you: ask for the first page again"
	const other = "the cursor does not hold: " + otherQuery
	for _, c := range []struct {
		name   string
		srv    *httptest.Server
		body   map[string]any
		code   string
		detail string
	}{
		{"own", srv, with(text, nil), "", ""},
		{"other limit and format", srv, with(text, map[string]any{"limit": 2, "format": "json"}), "", ""},
		{"another replica", s.serve(chtest.Scope(t, "a")), with(text, nil), "", ""},
		{"foreign scope", s.serve(chtest.Scope(t, "b")), with(text, nil), CodeCursor, altered},
		{"wider scope", s.serve(chtest.Scope(t, "a", "b")), with(text, nil), CodeCursor, altered},
		{"other query", srv, with("logs", nil), CodeCursor, other},
		{"other literal", srv, with(strings.Replace(text, "debug", "info", 1), nil), CodeCursor, other},
		{"query without pages", srv, with("logs | count", nil), CodeCursor, other},
		{"other range", srv, with(text, map[string]any{"start": hourStart.Add(time.Second)}), CodeCursor, other},
		{"parquet", srv, with(text, map[string]any{"format": "parquet"}), CodeInvalid, "cursor: parquet results have no pages"},
		{"another spelling", srv, with(text, map[string]any{"cursor": first.Next[:8] + "\n" + first.Next[8:]}), CodeCursor, altered},
		{"no cursor at all", srv, with(text, map[string]any{"cursor": "x"}), CodeCursor, altered},
	} {
		status, p := askPage(t, c.srv, c.body)
		if c.code == "" && (status != 200 || len(p.Rows) == 0) || c.code != "" && (status != 400 || p.Code != c.code || p.Detail != c.detail) {
			t.Errorf("%s: %d %s %q, %d rows, want %q %q", c.name, status, p.Code, p.Detail, len(p.Rows), c.code, c.detail)
		}
	}
	raw, err := base64.RawURLEncoding.DecodeString(first.Next)
	if err != nil {
		t.Fatal(err)
	}
	for i := range raw {
		raw[i] ^= 1
		if status, p := ask(with(text, map[string]any{"cursor": base64.RawURLEncoding.EncodeToString(raw)})); status != 400 || p.Detail != altered {
			t.Errorf("byte %d altered: %d %q", i, status, p.Detail)
		}
		raw[i] ^= 1
	}
	c := newCursors([32]byte{1})
	for _, late := range []time.Duration{cursorLife, cursorLife + 1} {
		_, err := c.read(first.Next, chtest.Scope(t, "a"), hourEnd.Add(late))
		if expired := err != nil && strings.Contains(err.Error(), "it expired"); expired != (late > cursorLife) {
			t.Errorf("after %v: %v", late, err)
		}
	}
}

// TestRelativeRangeStandsStillOverPages: "the last hour" is that of the first page on all pages.
func TestRelativeRangeStandsStillOverPages(t *testing.T) {
	s := newStore(t)
	s.fill(false)
	now := hourEnd
	h := NewHandler(s.reader, HandlerOptions{Authenticate: as(chtest.Scope(t, "a")), Now: func() time.Time { return now }})
	srv := httptest.NewServer(h)
	defer srv.Close()
	body := map[string]any{"query": "logs | where time > ago(2h) | project body", "start": "-1h", "limit": 7}
	rows := 0
	for i := 0; i == 0 || body["cursor"] != ""; i++ {
		status, p := askPage(t, srv, body)
		if status != 200 || i > 60 {
			t.Fatalf("page %d: %d %s", i, status, p.Detail)
		}
		rows += len(p.Rows)
		body["cursor"] = p.Next
		now = now.Add(5 * time.Minute)
	}
	if rows != 60 {
		t.Errorf("%d rows on all pages, want 60", rows)
	}
}

// TestCrowdedMomentHasNoNextPage: where one time has more rows than are held, the result says that it was cut and gives no
// cursor, rather than one that would lose rows.
func TestCrowdedMomentHasNoNextPage(t *testing.T) {
	defer func(n int) { maxMomentBytes = n }(maxMomentBytes)
	s := newStore(t)
	s.crowd("x")
	srv := s.serve(chtest.Scope(t, "a"))
	_, first := askPage(t, srv, ranged("logs", map[string]any{"limit": 3}))
	maxMomentBytes = 500
	if _, p := askPage(t, srv, ranged("logs", map[string]any{"limit": 3})); len(p.Rows) != 3 || !p.Truncated || p.Next != "" {
		t.Errorf("%d rows, truncated %v, cursor %q, want 3, true and none", len(p.Rows), p.Truncated, p.Next)
	}
	if status, p := askPage(t, srv, ranged("logs", map[string]any{"limit": 3, "cursor": first.Next})); status != 422 || p.Code != CodeTooMuchData {
		t.Errorf("next page: %d %s", status, p.Code)
	}
}

// FuzzCursor: no text but that of a cursor is one.
func FuzzCursor(f *testing.F) {
	c, scope := newCursors([32]byte{1}), chtest.Scope(f, "a")
	in := cursor{now: hourEnd, place: place{at: hourStart.UnixNano(), same: 2, skip: 3}}
	good := c.text(in, scope)
	f.Add(good)
	f.Add("")
	f.Fuzz(func(t *testing.T, text string) {
		out, err := c.read(text, scope, hourEnd)
		if (err == nil) != (text == good) || err == nil && out != in {
			t.Errorf("%q: %v, %v", text, out, err)
		}
	})
}
