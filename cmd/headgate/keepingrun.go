package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/headgate-io/headgate/auth/saved"
	"github.com/headgate-io/headgate/internal/httpapi"
)

// running is a run of a saved query or of panels.
type running struct {
	asking
	vars    []string // name=value
	step    string
	instant *bool
}

func (k keeping) run(f *clientFlags) *cobra.Command {
	var tenant string
	var r running
	var instant bool
	use, args := "run NAME", exactArgs("NAME")
	examples := []string{"run Errors", "run Errors --var service=checkout --var services=cart,pay --start -24h --chart", "run Errors --format csv > rows.csv"}
	if k == dashboards {
		use, args = "run NAME [PANEL]", boardArgs
		examples = []string{"run Checkout", "run Checkout errors --var service=cart --start -24h --chart", "run Checkout errors --format csv > rows.csv"}
	}
	cmd := &cobra.Command{
		Use: use, Short: "Run it and print the rows", Args: args,
		Long: `Run reads what you may read, whoever saved it, and prints it as 'headgate query' does. Values of a list are separated by commas, or a
JSON array.`,
		Example: k.examples(examples...),
		RunE: func(cmd *cobra.Command, args []string) error {
			if f.json {
				r.format = "json"
			}
			if err := checkQueryFormat(r.format); err != nil {
				return &usageError{fmt.Errorf("--%w", err)}
			}
			if cmd.Flags().Changed("instant") {
				r.instant = &instant
			}
			c, path, err := k.at(cmd.Context(), f, tenant, args[0])
			if err != nil {
				return err
			}
			r.client, r.stdout, r.stderr = c, cmd.OutOrStdout(), cmd.ErrOrStderr()
			r.interactive = isTerminal(r.stderr)
			if !cmd.Flags().Changed("chart") {
				r.chart = isTerminal(r.stdout)
			}
			var v kept
			if err := c.do(cmd.Context(), http.MethodGet, path, nil, nil, &v); err != nil {
				return err
			}
			values, err := valuesOf(v.Variables, r.vars)
			if err != nil {
				return &usageError{err}
			}
			if k == savedQueries {
				return r.one(cmd, path+"/run", v.Source, values)
			}
			return r.panels(cmd, path, v.Panels, args[1:], values)
		},
	}
	tenantFlag(cmd, &tenant)
	cmd.Flags().StringArrayVar(&r.vars, "var", nil, "value of a variable, as name=value; may be given more than once")
	cmd.Flags().StringVar(&r.start, "start", "", "start of the time range: RFC 3339, or relative as -1h (empty: as saved, else one hour before the end)")
	cmd.Flags().StringVar(&r.end, "end", "", "end of the time range, exclusive (empty: as saved, else now)")
	cmd.Flags().StringVar(&r.format, "format", "table", "table, json, ndjson, csv, parquet or arrow; of PromQL the first three")
	cmd.Flags().StringVar(&r.step, "step", "", "of PromQL over a range: time between values, e.g. 1m (empty: as saved, else as the range is)")
	cmd.Flags().BoolVar(&instant, "instant", false, "of PromQL: the values at the end of the time range alone (default: as saved)")
	cmd.Flags().BoolVar(&r.chart, "chart", false, "bars below a table with one row per time (default: on a terminal)")
	return cmd
}

func boardArgs(cmd *cobra.Command, args []string) error {
	if len(args) == 2 {
		return nil
	}
	return exactArgs("NAME")(cmd, args)
}

// panels runs one panel, or all of them with a line about each.
func (r *running) panels(cmd *cobra.Command, path string, all []saved.Panel, only []string, values map[string]json.RawMessage) error {
	for i, p := range all {
		if len(only) > 0 {
			if p.ID != only[0] {
				continue
			}
			return r.one(cmd, path+"/panels/"+url.PathEscape(p.ID)+"/run", p.Source, values)
		}
		if r.format == "table" {
			if i > 0 {
				fmt.Fprintln(r.stdout)
			}
			fmt.Fprintf(r.stdout, "%s: %s\n", p.ID, orDash(p.Title))
		}
		if err := r.one(cmd, path+"/panels/"+url.PathEscape(p.ID)+"/run", p.Source, values); err != nil {
			return fmt.Errorf("panel %s: %w", p.ID, err)
		}
	}
	if len(only) == 0 {
		return nil
	}
	var ids []string
	for _, p := range all {
		ids = append(ids, p.ID)
	}
	return &usageError{fmt.Errorf("no panel %q: there are %s", oneLine(only[0]), strings.Join(ids, ", "))}
}

// one runs one query.
func (r *running) one(cmd *cobra.Command, path string, s saved.Source, values map[string]json.RawMessage) error {
	in := map[string]any{"variables": values}
	if s.Language != saved.PromQL {
		in["format"] = r.wire()
		if r.step != "" || r.instant != nil {
			return &usageError{errors.New("--step and --instant are for PromQL")}
		}
		return r.run(cmd.Context(), path, in, nil)
	}
	if !slices.Contains([]string{"table", "json", "ndjson"}, r.format) {
		return &usageError{fmt.Errorf("--format %s: answers to PromQL are printed as table, json or ndjson", r.format)}
	}
	if r.step != "" {
		in["step"] = r.step
	}
	if r.instant != nil {
		in["instant"] = *r.instant
	}
	return r.run(cmd.Context(), path, in, func(body io.Reader) (io.Reader, error) { return promRows(body, r.stderr) })
}

// valuesOf makes JSON of name=value by the types of variables. What is no value of its type, the server refuses.
func valuesOf(variables []saved.Variable, given []string) (map[string]json.RawMessage, error) {
	out := map[string]json.RawMessage{}
	for _, text := range given {
		name, value, ok := strings.Cut(text, "=")
		if !ok {
			return nil, fmt.Errorf("--var %s: want name=value", oneLine(text))
		}
		i := slices.IndexFunc(variables, func(v saved.Variable) bool { return v.Name == name })
		if i < 0 {
			var names []string
			for _, v := range variables {
				names = append(names, v.Name)
			}
			return nil, fmt.Errorf("--var %s: there is no such variable, of %q", oneLine(name), names)
		}
		raw := []byte(value)
		switch typ := variables[i].Type; {
		case typ == "string" || typ == "duration" || typ == "datetime":
			raw = []byte(quotedJSON(value))
		case typ == "list" && !strings.HasPrefix(value, "["):
			raw = httpapi.JSON(strings.Split(value, ","))
		}
		if !json.Valid(raw) {
			return nil, fmt.Errorf("--var %s: %q is not of the type %s", name, oneLine(value), variables[i].Type)
		}
		out[name] = raw
	}
	return out, nil
}
