package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/headgate-io/headgate/control"
	"github.com/headgate-io/headgate/metering"
)

// errDrift ends the command with the exit status 1 after the differences were printed.
var errDrift = errors.New("usage drifts")

func newUsageVerify() *cobra.Command {
	var f clientFlags
	var in control.VerifyRequest
	var last bool
	cmd := &cobra.Command{
		Use:   "verify",
		Short: "Compare the ledger with the rows in ClickHouse and with the runs that brought them",
		Long: `Verify compares, for every sealed hour of receipt, the records of each tenant in the ledger with the rows in
ClickHouse, the runs in ClickHouse with those that the ledger knows, and the ledger's sums with what the runs have added.
It prints the differences and exits with status 1 if there are any. Rows that are gone for a reason (retention, a deleted
tenant, requests that ClickHouse refuses) are no difference, and are told. docs/reconciliation.md says more.

The server does the same by itself once a day; --last prints what it found.`,
		Example: `  headgate usage verify
  headgate usage verify --from 2026-11-01 --to 2026-11-08
  headgate usage verify --tenant acme --json
  headgate usage verify --last`,
		Args: exactArgs(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if last && in != (control.VerifyRequest{}) {
				return &usageError{errors.New("--last is of all tenants and its own time: give it without --from, --to and --tenant")}
			}
			c, err := f.open()
			if err != nil {
				return err
			}
			var report metering.Report
			if last {
				err = c.do(cmd.Context(), http.MethodGet, verifyPath, nil, nil, &report)
			} else {
				report, err = verifyUsage(cmd, c, in, f.json)
			}
			if err != nil {
				return err
			}
			if f.json {
				if err := printJSON(cmd.OutOrStdout(), report); err != nil {
					return err
				}
			} else {
				printReport(cmd.OutOrStdout(), report)
			}
			if n := report.Drifts(); n > 0 {
				return fmt.Errorf("%w: %d differences", errDrift, n)
			}
			return nil
		},
	}
	f.register(cmd)
	cmd.Flags().StringVar(&in.From, "from", "", "first moment, RFC 3339 or a date (empty: the beginning)")
	cmd.Flags().StringVar(&in.To, "to", "", "end, exclusive (empty: what is sealed)")
	cmd.Flags().StringVar(&in.Tenant, "tenant", "", "this tenant only; its rows alone are compared then")
	cmd.Flags().BoolVar(&last, "last", false, "print the last comparison, compare nothing")
	return cmd
}

const verifyPath = "/api/v1/usage/verify"

// verifyUsage reads the lines of a comparison; progress goes to standard error unless the output is for scripts.
func verifyUsage(cmd *cobra.Command, c *client, in control.VerifyRequest, quiet bool) (metering.Report, error) {
	resp, err := c.send(cmd.Context(), http.MethodPost, verifyPath, nil, in)
	if err != nil {
		return metering.Report{}, err
	}
	defer resp.Body.Close()
	lines := json.NewDecoder(resp.Body)
	for {
		var l control.VerifyLine
		if err := lines.Decode(&l); err != nil {
			return metering.Report{}, fmt.Errorf("the answer of %s ended before the comparison: %w", c.base, err)
		}
		switch {
		case l.Problem != nil:
			return metering.Report{}, &apiError{Code: l.Problem.Code, Detail: l.Problem.Detail}
		case l.Report != nil:
			return *l.Report, nil
		case l.Progress != nil && !quiet:
			p := l.Progress
			fmt.Fprintf(cmd.ErrOrStderr(), "%s %s before %s: %s compared, %d differences\n", p.Step, p.Signal, hourText(p.Hour), count(p.Cells), p.Drift)
		}
	}
}

func hourText(t time.Time) string { return t.UTC().Format("2006-01-02 15:04") }

func printReport(w io.Writer, r metering.Report) {
	if len(r.Drift) > 0 {
		t := newTable("KIND", "HOUR (UTC)", "TENANT", "SIGNAL", "TABLE OR RUN", "FIELD", "WANT", "HAVE", "").alignRight("WANT", "HAVE")
		for _, d := range r.Drift {
			tenant := d.Tenant
			if tenant == "" {
				tenant = d.TenantID
			}
			where := d.Run
			if where == "" {
				where = tablesText(d.Tables)
			}
			t.add(d.Kind, hourText(d.Hour), oneLine(tenant), string(d.Signal), where, d.Field, count(d.Want), count(d.Have), d.Note)
		}
		t.print(w)
		if n := r.Drifts(); n > len(r.Drift) {
			fmt.Fprintf(w, "… and %s more\n", count(int64(n-len(r.Drift))))
		}
		fmt.Fprintln(w)
	}
	if len(r.Skipped) > 0 {
		t := newTable("NOT COMPARED", "TENANT", "SIGNAL", "COUNT", "RECORDS").alignRight("COUNT", "RECORDS")
		for _, s := range r.Skipped {
			tenant := s.Tenant
			if tenant == "" {
				tenant = s.TenantID
			}
			t.add(s.Reason, oneLine(tenant), string(s.Signal), count(s.Count), count(s.Records))
		}
		t.print(w)
		fmt.Fprintln(w)
	}
	fmt.Fprintf(w, "%s to %s: %s records in %s hours of tenants, %s parts of runs, %s sums: %s\n", hourText(r.From), hourText(r.To),
		count(r.Records), count(r.Cells), count(r.Runs), count(r.Hours), verdict(r))
}

func verdict(r metering.Report) string {
	if r.Drifts() == 0 {
		return "no difference"
	}
	return fmt.Sprintf("%d differences", r.Drifts())
}

// tablesText names the tables of a signal, with what each has where there are several.
func tablesText(tables map[string]int64) string {
	names := slices.Sorted(maps.Keys(tables))
	if len(names) == 1 {
		return names[0]
	}
	for i, n := range names {
		names[i] = fmt.Sprintf("%s %d", strings.TrimPrefix(n, "otel_metrics_"), tables[n])
	}
	return strings.Join(names, ", ")
}
