package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/headgate-io/headgate/query"
)

// maxTableRows bounds what a table gathers before it can align its columns.
const maxTableRows = 10_000

func newQuery() *cobra.Command {
	var f clientFlags
	var key, start, end, format string
	cmd := &cobra.Command{
		Use:   "query --key KEY QUERY",
		Short: "Run a query and print the rows",
		Long: `Query runs one query with a key's rights and prints the rows as an aligned table, or streams them in another
format. The language is described in docs/query.md.`,
		Example: `  headgate query --key $KEY 'logs | where severity >= "error" | summarize count() by service'
  headgate query --key $KEY --start -24h 'spans | summarize p95=percentile(duration, 95) by service, bin(1h)'
  headgate query --key $KEY --format csv 'metrics("http.server.duration") | limit 100' > rows.csv`,
		Args: exactArgs("QUERY"),
		RunE: func(cmd *cobra.Command, args []string) error {
			if key == "" {
				return &usageError{fmt.Errorf("give an API key with scope query as --key or HEADGATE_KEY")}
			}
			if f.json {
				format = "json"
			}
			if !slices.Contains([]string{"table", "json", "ndjson", "csv", "parquet", "arrow"}, format) {
				return &usageError{fmt.Errorf("--format %q: want table, json, ndjson, csv, parquet or arrow", format)}
			}
			f.token = key
			c, err := f.open()
			if err != nil {
				return err
			}
			in := map[string]any{"query": args[0], "format": format}
			if format == "table" {
				in["format"] = "ndjson"
			}
			for name, value := range map[string]string{"start": start, "end": end} {
				if value != "" {
					in[name] = value
				}
			}
			resp, err := c.send(cmd.Context(), http.MethodPost, "/api/v1/query", nil, in)
			if err != nil {
				return err
			}
			defer resp.Body.Close()
			if format == "table" {
				err = printRows(cmd.OutOrStdout(), cmd.ErrOrStderr(), resp.Body)
			} else if _, err = io.Copy(cmd.OutOrStdout(), resp.Body); err != nil {
				err = fmt.Errorf("the result was cut off: %w", err)
			}
			if resp.Trailer.Get(query.TruncatedTrailer) == "true" {
				fmt.Fprintln(cmd.ErrOrStderr(), "there are more rows; end the query with | limit N, or narrow it")
			}
			return err
		},
	}
	f.register(cmd)
	cmd.Flags().StringVar(&key, "key", "", "API key with scope query")
	cmd.Flags().StringVar(&start, "start", "", "start of the time range: RFC 3339, or relative as -1h (empty: one hour before the end)")
	cmd.Flags().StringVar(&end, "end", "", "end of the time range, exclusive (empty: now)")
	cmd.Flags().StringVar(&format, "format", "table", "table, json, ndjson, csv, parquet or arrow")
	return cmd
}

// printRows prints newline-delimited JSON objects as a table whose columns are in the order of the first object.
func printRows(stdout, stderr io.Writer, body io.Reader) error {
	var t *table
	dec := json.NewDecoder(body)
	for {
		var raw json.RawMessage
		if err := dec.Decode(&raw); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			return fmt.Errorf("the result was cut off: %w", err)
		}
		names, cells, numeric, err := fields(raw)
		if err != nil {
			return err
		}
		if len(names) == 1 && names[0] == "error" && t != nil && !slices.Equal(t.header, names) {
			return fmt.Errorf("the query failed half way: %s", cells[0])
		}
		if t == nil {
			t = newTable(names...)
			t.right = numeric
		}
		if len(t.rows) == maxTableRows {
			fmt.Fprintf(stderr, "only the first %d rows are shown; use --format ndjson for all\n", maxTableRows)
			break
		}
		t.add(cells...)
	}
	if t == nil {
		fmt.Fprintln(stderr, "no rows")
		return nil
	}
	t.print(stdout)
	return nil
}

// fields returns the members of a JSON object in order: strings as they are, everything else as JSON.
func fields(raw []byte) (names, cells []string, numeric []bool, err error) {
	dec := json.NewDecoder(bytes.NewReader(raw))
	if tok, err := dec.Token(); err != nil || tok != json.Delim('{') {
		return nil, nil, nil, fmt.Errorf("the result is not rows: %.80s", raw)
	}
	for dec.More() {
		name, err := dec.Token()
		if err != nil {
			return nil, nil, nil, err
		}
		var value json.RawMessage
		if err := dec.Decode(&value); err != nil {
			return nil, nil, nil, err
		}
		cell := string(value)
		var text string
		if json.Unmarshal(value, &text) == nil && cell != "null" {
			cell = text
		} else if cell == "null" {
			cell = "-"
		}
		names = append(names, fmt.Sprint(name))
		cells = append(cells, oneLine(cell))
		numeric = append(numeric, strings.IndexAny(string(value), "-0123456789") == 0)
	}
	return names, cells, numeric, nil
}
