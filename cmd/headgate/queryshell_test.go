package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/peterh/liner"

	"github.com/headgate-io/headgate/query/oql"
)

// typed is what somebody types, line by line; "^C" is Ctrl-C.
type typed struct {
	lines   []string
	prompts []string
	history []string
}

func (t *typed) Prompt(prompt string) (string, error) {
	t.prompts = append(t.prompts, prompt)
	if len(t.lines) == 0 {
		return "", io.EOF
	}
	line := t.lines[0]
	if t.lines = t.lines[1:]; line == "^C" {
		return "", liner.ErrPromptAborted
	}
	return line, nil
}

func (t *typed) AppendHistory(line string) { t.history = append(t.history, line) }

// echo answers each query with one row that tells what was asked.
func echo(t *testing.T) *client {
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var in map[string]any
		if err := json.NewDecoder(r.Body).Decode(&in); err != nil {
			t.Error(err)
		}
		switch text := fmt.Sprint(in["query"]); {
		case strings.Contains(text, "| keys"):
			fmt.Fprint(w, `{"rows":[{"key":"http.route","count":2},{"key":"with blank","count":1}]}`)
		case strings.Contains(text, "slow"):
			<-r.Context().Done()
		case strings.Contains(text, "wrong"):
			w.WriteHeader(400)
			fmt.Fprint(w, `{"status":400,"code":"query-syntax","detail":"it is wrong"}`)
		case in["format"] == "csv":
			fmt.Fprintln(w, "a,b")
		default:
			_ = json.NewEncoder(w).Encode(map[string]any{"query": text, "start": in["start"], "end": in["end"]})
		}
	}))
	t.Cleanup(srv.Close)
	return &client{base: srv.URL, token: "k"}
}

func TestShellAnswersLineByLine(t *testing.T) {
	var stdout, stderr bytes.Buffer
	in := &typed{lines: []string{
		"logs | count", "", "logs |", "  where true \\", " | count", "half |", "^C", `\range -24h -1h`, "spans", `\range`, "wrong", `\format parquet`, `\format csv`, "logs", `\no`, `\fields metrics`, `\help`, `\quit`, "never",
	}}
	sh := &queryShell{asking: asking{client: echo(t), format: "table", stdout: &stdout, stderr: &stderr}}
	if err := sh.run(t.Context(), in); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"logs | count -", "logs | where true | count -", "spans -24h", "-1h", "a,b", "value_int"} {
		if out := strings.Join(strings.Fields(stdout.String()), " "); !strings.Contains(out, want) {
			t.Errorf("no %q in\n%s", want, stdout.String())
		}
	}
	for _, want := range []string{"it is wrong (query-syntax)", "want table, json, ndjson or csv", `no command \no`, "Tab completes"} {
		if !strings.Contains(stderr.String(), want) {
			t.Errorf("no %q in\n%s", want, stderr.String())
		}
	}
	if len(in.lines) != 1 || strings.Contains(stdout.String(), "half") {
		t.Errorf("%q is left, printed %s", in.lines, stdout.String())
	}
	if !slices.Contains(in.history, "logs | where true | count") || !slices.Contains(in.prompts, "...> ") {
		t.Errorf("history %q, prompts %q", in.history, in.prompts)
	}
}

// TestCompletionOffersWhatTheLanguageHas: in each place, and nothing that the language does not know.
func TestCompletionOffersWhatTheLanguageHas(t *testing.T) {
	c := newCompleter(echo(t))
	for text, want := range map[string][]string{
		"":                            {"logs", "metrics", "spans"},
		"sp":                          {"spans"},
		"logs | wh":                   {"where"},
		"logs | project-":             {"project-away"},
		"logs | where sev":            {"severity", "severity_number", "severity_text"},
		"spans | where dura":          {"duration"},
		"logs | where attr.http":      {"attr.http.route"},
		"logs | where x == resource.": {"resource.http.route"},
		"logs | summarize perc":       {"percentile("},
		"metrics(\"a\") | where val":  {"value", "value_int"},
		`\f`:                          {`\fields`, `\format`},
		`\fields me`:                  {"metrics"},
		"nothing | where dura":        nil,
	} {
		head, words, tail := c.at(t.Context(), text+" rest", len([]rune(text)))
		if !slices.Equal(words, want) || tail != " rest" || !strings.HasPrefix(text, head) {
			t.Errorf("%q: %q + %q + %q, want %q", text, head, words, tail, want)
		}
	}
	if n := len(c.keys); n != 2 {
		t.Errorf("attributes of %d maps are known, want 2", n)
	}
	for _, s := range oqlStages {
		if _, err := oql.Parse("logs | " + s + " "); err != nil && strings.Contains(err.Error(), "unknown stage") {
			t.Errorf("stage %s: %v", s, err)
		}
	}
	for _, f := range oqlFunctions {
		name, _, _ := strings.Cut(f, "(")
		_, one := oql.Parse("logs | extend x = " + name + "()")
		_, two := oql.Parse("logs | summarize x = " + name + "()")
		if one != nil && two != nil && strings.Contains(one.Error(), "unknown") && strings.Contains(two.Error(), "unknown") {
			t.Errorf("function %s: %v; %v", name, one, two)
		}
	}
}

// TestChartsShowBins: one row per time makes a chart, missing bins are empty, anything else makes none.
func TestChartsShowBins(t *testing.T) {
	rows := func(lines ...string) *table {
		t.Helper()
		got, err := printRows(io.Discard, io.Discard, strings.NewReader(strings.Join(lines, "\n")))
		if err != nil {
			t.Fatal(err)
		}
		return got
	}
	at := func(minute int, n string) string {
		return fmt.Sprintf(`{"time":"2025-03-04T10:%02d:00.000000000Z","count":%s}`, minute, n)
	}
	var out bytes.Buffer
	s := seriesOf(rows(at(0, "3"), at(5, "6"), at(20, "1.5"), at(25, "null")))
	if s == nil {
		t.Fatal("no chart")
	}
	s.print(&out, 60, true)
	if text := out.String(); !strings.Contains(text, "10:00 10:05 10:10 10:15 10:20 10:25") || !strings.HasPrefix(text, "\ncount\n") || !strings.Contains(text, "8 │") {
		t.Errorf("chart:\n%s", text)
	}
	for _, width := range []int{30, 80} {
		out.Reset()
		var many []string
		for i := range 60 {
			many = append(many, at(i, fmt.Sprint(i)))
		}
		seriesOf(rows(many...)).print(&out, width, false)
		for line := range strings.SplitSeq(out.String(), "\n") {
			if len(line) > width {
				t.Errorf("%d wide, want %d:\n%s", len(line), width, out.String())
			}
		}
		if width == 80 && !strings.Contains(out.String(), "10:00") {
			t.Errorf("not all bars:\n%s", out.String())
		}
	}
	for name, lines := range map[string][]string{
		"one row": {at(0, "1")}, "no time": {`{"a":1}`, `{"a":2}`}, "no number": {`{"t":"2025-03-04T10:00:00Z"}`, `{"t":"2025-03-04T10:01:00Z"}`},
		"groups": {at(0, "1"), at(0, "2"), at(5, "1")},
	} {
		if seriesOf(rows(lines...)) != nil {
			t.Errorf("%s: a chart", name)
		}
	}
}

// TestProgressComesLateAndGoes: short queries show none, and nothing of it stays.
func TestProgressComesLateAndGoes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var out bytes.Buffer
		showProgress(&out, time.Second)()
		if out.Len() != 0 {
			t.Errorf("at once: %q", out.String())
		}
		done := showProgress(&out, time.Second)
		time.Sleep(3*time.Second + time.Millisecond)
		done()
		if s := out.String(); !strings.Contains(s, "3 s, Ctrl-C") || !strings.HasSuffix(s, "\r\x1b[K") {
			t.Errorf("%q", s)
		}
	})
}

// TestHistoryIsTheOwners: kept under XDG_STATE_HOME, for nobody else to read, and there again.
func TestHistoryIsTheOwners(t *testing.T) {
	dir := t.TempDir()
	t.Setenv("XDG_STATE_HOME", dir)
	line := liner.NewLiner()
	defer line.Close()
	line.AppendHistory("logs | count")
	path := historyPath()
	if err := writeHistory(line, path); err != nil {
		t.Fatal(err)
	}
	info, err := os.Stat(path)
	if err != nil || info.Mode().Perm() != 0o600 || path != filepath.Join(dir, "headgate", "query_history") {
		t.Errorf("%s: %v, %v", path, info.Mode(), err)
	}
	again := liner.NewLiner()
	defer again.Close()
	var text bytes.Buffer
	if err := readHistory(again, path); err != nil {
		t.Error(err)
	}
	if _, err := again.WriteHistory(&text); err != nil || text.String() != "logs | count\n" {
		t.Errorf("%q, %v", text.String(), err)
	}
	if err := readHistory(again, filepath.Join(dir, "none")); err != nil {
		t.Errorf("no history: %v", err)
	}
}

// TestShellWantsATerminal: a script that forgot its query is told so, and does not hang.
func TestShellWantsATerminal(t *testing.T) {
	var stdout, stderr bytes.Buffer
	err := run(context.Background(), []string{"query", "--key", "k"}, strings.NewReader("logs\n"), &stdout, &stderr)
	var usage *usageError
	if !errors.As(err, &usage) || !strings.Contains(stderr.String(), "QUERY") {
		t.Errorf("%v: %s", err, stderr.String())
	}
}
