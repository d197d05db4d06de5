package main

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"slices"
	"sync"
	"time"

	"github.com/headgate-io/headgate/query"
)

// queryFormats are what a result can be printed as.
var queryFormats = []string{"table", "json", "ndjson", "csv", "parquet", "arrow"}

// asking is how queries are put and their results printed.
type asking struct {
	client      *client
	start, end  string
	format      string
	chart       bool
	stdout      io.Writer
	stderr      io.Writer
	interactive bool // stderr is a terminal: it may show how long a query has run
}

// checkQueryFormat returns an error for a format that is none.
func checkQueryFormat(format string) error {
	if slices.Contains(queryFormats, format) {
		return nil
	}
	return fmt.Errorf("format %q: want table, json, ndjson, csv, parquet or arrow", format)
}

// ask runs one query and prints its result.
func (a *asking) ask(ctx context.Context, text string) error {
	return a.run(ctx, "/api/v1/query", map[string]any{"query": text, "format": a.wire()}, nil)
}

// wire is the format in which a result is asked for.
func (a *asking) wire() string {
	if a.format == "table" {
		return "ndjson"
	}
	return a.format
}

// run sends the request of a query, completed by the time range, and prints the result. rows, unless nil, makes rows in NDJSON of an
// answer that has them in another form; for the format json the answer is printed as it is.
func (a *asking) run(ctx context.Context, path string, in map[string]any, rows func(io.Reader) (io.Reader, error)) error {
	for name, value := range map[string]string{"start": a.start, "end": a.end} {
		if value != "" {
			in[name] = value
		}
	}
	done := func() {}
	if a.interactive {
		done = showProgress(a.stderr, progressAfter)
	}
	resp, err := a.client.send(ctx, http.MethodPost, path, nil, in)
	done()
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	body := io.Reader(resp.Body)
	if rows != nil && a.format != "json" {
		if body, err = rows(body); err != nil {
			return err
		}
	}
	if a.format != "table" {
		if _, err := io.Copy(a.stdout, body); err != nil {
			return fmt.Errorf("the result was cut off: %w", err)
		}
	} else if err := a.table(body); err != nil {
		return err
	}
	if resp.Trailer.Get(query.TruncatedTrailer) == "true" {
		fmt.Fprintln(a.stderr, "there are more rows; end the query with | limit N, or narrow it")
	}
	return nil
}

func (a *asking) table(body io.Reader) error {
	t, err := printRows(a.stdout, a.stderr, body)
	if err != nil {
		return err
	}
	if s := seriesOf(t); s != nil && a.chart {
		s.print(a.stdout, terminalWidth(a.stdout), localeIsUTF8())
	}
	return nil
}

const (
	progressAfter = time.Second
	progressEvery = 250 * time.Millisecond
)

// showProgress says on a terminal how long something has run, once it has run for a while. The returned function takes the
// line away and must be called.
func showProgress(w io.Writer, after time.Duration) (done func()) {
	stop := make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() {
		began := time.Now()
		timer := time.NewTimer(after)
		defer timer.Stop()
		for shown := false; ; shown = true {
			select {
			case <-timer.C:
				fmt.Fprintf(w, "\r\x1b[K%.0f s, Ctrl-C stops the query", time.Since(began).Seconds())
				timer.Reset(progressEvery)
			case <-stop:
				if shown {
					fmt.Fprint(w, "\r\x1b[K")
				}
				return
			}
		}
	})
	return func() {
		close(stop)
		wg.Wait()
	}
}
