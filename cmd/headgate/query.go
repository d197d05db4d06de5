package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/spf13/cobra"
)

// maxTableRows bounds what a table gathers before it can align its columns.
const maxTableRows = 10_000

func newQuery() *cobra.Command {
	var f clientFlags
	var key string
	var a asking
	cmd := &cobra.Command{
		Use:   "query --key KEY [QUERY]",
		Short: "Run a query and print the rows",
		Long: `Query runs one query with a key's rights and prints the rows as an aligned table, or streams them in another
format. Without a query, on a terminal, it reads queries line by line, with history and completion. The language is
described in docs/oql.md.`,
		Example: `  headgate query --key $KEY 'logs | where severity >= "error" | summarize count() by service'
  headgate query --key $KEY --start -24h 'spans | summarize p95=percentile(duration, 95) by service, bin(1h)'
  headgate query --key $KEY --start -6h --chart 'logs | summarize count() by bin(5m)'
  headgate query --key $KEY --format csv 'metrics("http.server.duration") | limit 100' > rows.csv
  headgate query --key $KEY`,
		Args: queryArgs,
		RunE: func(cmd *cobra.Command, args []string) error {
			if key == "" {
				return &usageError{fmt.Errorf("give an API key with scope query as --key or HEADGATE_KEY")}
			}
			if f.json {
				a.format = "json"
			}
			if err := checkQueryFormat(a.format); err != nil {
				return &usageError{fmt.Errorf("--%w", err)}
			}
			f.token = key
			c, err := f.open()
			if err != nil {
				return err
			}
			a.client, a.stdout, a.stderr = c, cmd.OutOrStdout(), cmd.ErrOrStderr()
			a.interactive = isTerminal(a.stderr)
			if !cmd.Flags().Changed("chart") {
				a.chart = isTerminal(a.stdout)
			}
			if len(args) == 0 {
				return runShell(cmd.Context(), a)
			}
			return a.ask(cmd.Context(), args[0])
		},
	}
	f.register(cmd)
	cmd.Flags().StringVar(&key, "key", "", "API key with scope query")
	cmd.Flags().StringVar(&a.start, "start", "", "start of the time range: RFC 3339, or relative as -1h (empty: one hour before the end)")
	cmd.Flags().StringVar(&a.end, "end", "", "end of the time range, exclusive (empty: now)")
	cmd.Flags().StringVar(&a.format, "format", "table", "table, json, ndjson, csv, parquet or arrow")
	cmd.Flags().BoolVar(&a.chart, "chart", false, "bars below a table with one row per time (default: on a terminal)")
	return cmd
}

// queryArgs wants one query, or a terminal to read queries from.
func queryArgs(cmd *cobra.Command, args []string) error {
	if in, ok := cmd.InOrStdin().(io.Writer); len(args) == 0 && ok && isTerminal(in) && isTerminal(cmd.OutOrStdout()) {
		return nil
	}
	return exactArgs("QUERY")(cmd, args)
}

// printRows prints newline-delimited JSON objects as a table whose columns are in the order of the first object, and returns
// it, nil for no rows.
func printRows(stdout, stderr io.Writer, body io.Reader) (*table, error) {
	var t *table
	dec := json.NewDecoder(body)
	for {
		var raw json.RawMessage
		if err := dec.Decode(&raw); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			return nil, fmt.Errorf("the result was cut off: %w", err)
		}
		names, cells, numeric, err := fields(raw)
		if err != nil {
			return nil, err
		}
		if len(names) == 1 && names[0] == "error" && t != nil && !slices.Equal(t.header, names) {
			return nil, fmt.Errorf("the query failed half way: %s", cells[0])
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
		return nil, nil
	}
	t.print(stdout)
	return t, nil
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
