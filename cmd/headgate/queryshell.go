package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"sync"
	"syscall"

	"github.com/peterh/liner"

	"github.com/headgate-io/headgate/query/plan"
)

// queryShell reads queries from a terminal, one after another, until its end.
type queryShell struct {
	asking
	complete *completer
}

// lineEditor is what the shell reads lines with: a terminal's editor.
type lineEditor interface {
	Prompt(prompt string) (string, error)
	AppendHistory(line string)
}

const shellHelp = `A query is one line, or several of which all but the last end with | or \. docs/oql.md describes the language. Tab completes.
  \range [START [END]]  time range of the queries that follow: RFC 3339, or relative as -24h; nothing: the last hour
  \format FORMAT        table, json, ndjson or csv
  \chart on|off         bars below a table with one row per time, as summarize … by bin(…) gives
  \fields SOURCE        the columns of logs, spans or metrics
  \help, \quit          also Ctrl-D
Ctrl-C stops a query that runs.
`

// runShell runs a shell on the terminal of this process.
func runShell(ctx context.Context, a asking) error {
	line := liner.NewLiner()
	defer line.Close()
	sh := &queryShell{asking: a, complete: newCompleter(a.client)}
	line.SetCtrlCAborts(true)
	line.SetMultiLineMode(true)
	line.SetTabCompletionStyle(liner.TabPrints)
	line.SetWordCompleter(func(text string, pos int) (string, []string, string) { return sh.complete.at(ctx, text, pos) })
	path := historyPath()
	if err := readHistory(line, path); err != nil {
		fmt.Fprintf(a.stderr, "history: %v\n", err)
	}
	defer endOnTerm(line)()
	// Ctrl-C, which ends ctx, stops a query here and not the shell.
	err := sh.run(context.WithoutCancel(ctx), line)
	if saveErr := writeHistory(line, path); saveErr != nil {
		fmt.Fprintf(a.stderr, "history: %v\n", saveErr)
	}
	return err
}

// endOnTerm gives the terminal back and ends the process when it is told to end while it waits for a line.
func endOnTerm(line *liner.State) (stop func()) {
	term := make(chan os.Signal, 1)
	signal.Notify(term, syscall.SIGTERM)
	var wg sync.WaitGroup
	wg.Go(func() {
		if _, ok := <-term; ok {
			_ = line.Close()
			signal.Reset(syscall.SIGTERM)
			_ = syscall.Kill(os.Getpid(), syscall.SIGTERM)
		}
	})
	return func() {
		signal.Stop(term)
		close(term)
		wg.Wait()
	}
}

// run reads and answers until the input ends. What goes wrong with one query is printed and ends nothing.
func (s *queryShell) run(ctx context.Context, in lineEditor) error {
	fmt.Fprintln(s.stderr, `\help for help, Ctrl-D to leave`)
	var text strings.Builder
	for ctx.Err() == nil {
		prompt := "oql> "
		if text.Len() > 0 {
			prompt = "...> "
		}
		line, err := in.Prompt(prompt)
		switch {
		case errors.Is(err, liner.ErrPromptAborted): // Ctrl-C drops what is typed
			text.Reset()
			continue
		case errors.Is(err, io.EOF):
			fmt.Fprintln(s.stderr)
			return nil
		case err != nil:
			return err
		}
		trimmed := strings.TrimSpace(line)
		if text.Len() == 0 && strings.HasPrefix(trimmed, `\`) {
			in.AppendHistory(trimmed)
			if s.command(strings.Fields(trimmed[1:])) {
				return nil
			}
			continue
		}
		part, goesOn := strings.CutSuffix(trimmed, `\`)
		text.WriteString(part + "\n")
		if goesOn || strings.HasSuffix(trimmed, "|") {
			continue
		}
		query := strings.TrimSpace(text.String())
		text.Reset()
		if query == "" {
			continue
		}
		in.AppendHistory(strings.Join(strings.Fields(strings.ReplaceAll(query, "\n", " ")), " "))
		s.answer(ctx, query)
	}
	return nil
}

// answer runs a query that Ctrl-C stops.
func (s *queryShell) answer(ctx context.Context, query string) {
	ctx, stop := signal.NotifyContext(ctx, os.Interrupt)
	defer stop()
	if err := s.ask(ctx, query); err != nil {
		if ctx.Err() != nil {
			err = errors.New("stopped")
		}
		fmt.Fprintln(s.stderr, err)
	}
}

// command runs a line that begins with a backslash, and reports whether it ends the shell.
func (s *queryShell) command(words []string) (quit bool) {
	words = append(words, "", "", "")
	switch name, arg := words[0], words[1]; name {
	case "q", "quit", "exit":
		return true
	case "range":
		s.start, s.end = arg, words[2]
	case "format":
		if err := checkQueryFormat(arg); err != nil || arg == "parquet" || arg == "arrow" {
			fmt.Fprintln(s.stderr, "want table, json, ndjson or csv")
			break
		}
		s.format = arg
	case "chart":
		s.chart = arg != "off"
	case "fields":
		s.fields(arg)
	case "help", "h", "?":
		fmt.Fprint(s.stderr, shellHelp)
	default:
		fmt.Fprintf(s.stderr, "no command \\%s: \\help lists them\n", oneLine(name))
	}
	return false
}

func (s *queryShell) fields(source string) {
	fields := plan.Fields(plan.Source(source))
	if fields == nil {
		fmt.Fprintln(s.stderr, "want logs, spans or metrics")
		return
	}
	t := newTable("COLUMN", "TYPE", "")
	for _, f := range fields {
		t.add(f.Name, f.Type.String(), f.Doc)
	}
	t.print(s.stdout)
}

// historyPath is where the lines of earlier shells are kept: $XDG_STATE_HOME/headgate/query_history. "" is nowhere.
func historyPath() string {
	dir := os.Getenv("XDG_STATE_HOME")
	if dir == "" || !filepath.IsAbs(dir) {
		home, err := os.UserHomeDir()
		if err != nil {
			return ""
		}
		dir = filepath.Join(home, ".local", "state")
	}
	return filepath.Join(dir, "headgate", "query_history")
}

func readHistory(line *liner.State, path string) error {
	f, err := os.Open(path)
	if errors.Is(err, os.ErrNotExist) || path == "" {
		return nil
	}
	if err != nil {
		return err
	}
	defer f.Close()
	_, err = line.ReadHistory(f)
	return err
}

// writeHistory replaces the file, which only its owner reads: queries can hold what others should not see.
func writeHistory(line *liner.State, path string) error {
	if path == "" {
		return nil
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return err
	}
	f, err := os.CreateTemp(filepath.Dir(path), "query_history-") // mode 0600
	if err != nil {
		return err
	}
	_, err = line.WriteHistory(f)
	if err = errors.Join(err, f.Close()); err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		_ = os.Remove(f.Name())
	}
	return err
}
