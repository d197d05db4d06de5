package main

import (
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/headgate-io/headgate/metering"
)

const usagePath = "/api/v1/usage"

// usageFlags say whose usage of which period is asked for.
type usageFlags struct {
	tenant, from, to, month, zone, asOf string
	descendants                         bool
}

func (u *usageFlags) register(cmd *cobra.Command) {
	p := cmd.Flags()
	p.StringVar(&u.tenant, "tenant", "", "this tenant only")
	p.BoolVar(&u.descendants, "descendants", false, "with --tenant, or a key: the tenants below it too")
	p.StringVar(&u.from, "from", "", "first moment, RFC 3339 or a date (empty: the beginning)")
	p.StringVar(&u.to, "to", "", "end, exclusive (empty: now)")
	p.StringVar(&u.month, "month", "", "a calendar month instead of --from and --to, e.g. 2026-10")
	p.StringVar(&u.zone, "zone", "", "IANA time zone whose days and months are meant, e.g. Europe/Berlin (empty: UTC)")
	p.StringVar(&u.asOf, "as-of", "", "the sealed ledger as it stood at this moment, RFC 3339 (empty: now)")
}

// query returns the flags that are set as parameters of the API.
func (u *usageFlags) query() url.Values {
	q := url.Values{}
	set(q, "tenant", u.tenant)
	set(q, "from", u.from)
	set(q, "to", u.to)
	set(q, "month", u.month)
	set(q, "zone", u.zone)
	set(q, "as_of", u.asOf)
	if u.descendants {
		q.Set("descendants", "true")
	}
	return q
}

func set(q url.Values, name, value string) {
	if value != "" {
		q.Set(name, value)
	}
}

func newUsage() *cobra.Command {
	var f clientFlags
	var u usageFlags
	var by, group, format string
	var plot bool
	cmd := &cobra.Command{
		Use:   "usage",
		Short: "Print metered bytes, records and requests; export, correct and verify them",
		Long: `Usage prints what was billed, per tenant and period. Billed bytes are the size of the accepted requests as
uncompressed OTLP protobuf, less the records that were rejected, whatever the transport and encoding. Hours are sealed
five minutes after their end, and never change from then on; corrections are dated in the hour that was open when they
were made. docs/billing.md says more.

In a terminal, or with --plot, bars show the last two weeks. The format focus writes charges as FOCUS 1.2 has them; for
files that a bill is made of, take 'headgate usage export'.`,
		Example: `  headgate usage
  headgate usage --tenant acme --from 2026-11-01 --by day --group signal,key
  headgate usage --tenant acme --descendants --month 2026-10 --zone Europe/Berlin --by month
  headgate usage --as-of 2026-11-02T08:00:00Z --month 2026-10 --by month
  headgate usage --by month --format csv > usage.csv`,
		Args: exactArgs(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if f.json {
				format = "json"
			}
			if !slices.Contains([]string{"table", "json", "csv", "focus"}, format) {
				return &usageError{fmt.Errorf("--format %q: want table, json, csv or focus", format)}
			}
			c, err := f.open()
			if err != nil {
				return err
			}
			query := u.query()
			if format == "focus" {
				return printFOCUS(cmd, c, query)
			}
			set(query, "by", by)
			set(query, "group", group)
			usage, err := fetchUsage(cmd, c, query)
			if err != nil {
				return err
			}
			switch format {
			case "json":
				return printJSON(cmd.OutOrStdout(), usage)
			case "csv":
				return usage.Write(cmd.OutOrStdout(), metering.FormatCSV)
			}
			printUsage(cmd.OutOrStdout(), usage, by, group, u.zone)
			if plot || isTerminal(cmd.OutOrStdout()) {
				return plotUsage(cmd, c, u)
			}
			return nil
		},
	}
	f.register(cmd)
	u.register(cmd)
	cmd.Flags().StringVar(&by, "by", "day", "length of a period: hour, day or month")
	cmd.Flags().StringVar(&group, "group", "", "one row per: signal, key, or signal,key")
	cmd.Flags().StringVar(&format, "format", "table", "table, json, csv or focus")
	cmd.Flags().BoolVar(&plot, "plot", false, "bars of the last days below the table, also where stdout is no terminal")
	cmd.AddCommand(usageExport(&f), usageCorrect(&f), usageReplicas(&f))
	return cmd
}

// printFOCUS writes what there is, open hours included unless the question is as of a moment.
func printFOCUS(cmd *cobra.Command, c *client, query url.Values) error {
	query.Set("format", "focus")
	if !query.Has("as_of") {
		query.Set("open", "true")
	}
	resp, err := c.send(cmd.Context(), http.MethodGet, usagePath+"/export", query, nil)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	_, err = io.Copy(cmd.OutOrStdout(), resp.Body)
	return err
}

// fetchUsage gathers all pages of the usage.
func fetchUsage(cmd *cobra.Command, c *client, query url.Values) (metering.Usage, error) {
	var all metering.Usage
	for {
		var page metering.Usage
		if err := c.do(cmd.Context(), http.MethodGet, usagePath, query, nil, &page); err != nil {
			return metering.Usage{}, err
		}
		page.Rows = append(all.Rows, page.Rows...)
		all = page
		if all.Next == "" {
			return all, nil
		}
		query.Set("cursor", all.Next)
	}
}

func printUsage(w io.Writer, u metering.Usage, by, group, zone string) {
	layout := map[string]string{"hour": "2006-01-02 15:04", "day": "2006-01-02", "month": "2006-01"}[by]
	if zone == "" {
		zone = "UTC"
	}
	header := []string{strings.ToUpper(by) + " (" + zone + ")", "TENANT"}
	bySignal, byKey := strings.Contains(group, "signal"), strings.Contains(group, "key")
	if bySignal {
		header = append(header, "SIGNAL")
	}
	if byKey {
		header = append(header, "KEY")
	}
	numbers := []string{"BILLED BYTES", "RECORDS", "REQUESTS", "OVERAGE BYTES", "REFUSED REQUESTS"}
	t := newTable(append(append(header, numbers...), "STATE")...).alignRight(numbers...)
	var billed, records, requests int64
	for _, r := range u.Rows {
		cells := []string{r.Start.Format(layout), r.Tenant}
		if bySignal {
			cells = append(cells, r.Signal)
		}
		if byKey {
			cells = append(cells, r.Key)
		}
		t.add(append(cells, count(r.BilledBytes), count(r.Records), count(r.Requests), count(r.OverageBytes), count(r.RefusedRequests),
			string(r.State))...)
		billed, records, requests = billed+r.BilledBytes, records+r.Records, requests+r.Requests
	}
	t.print(w)
	fmt.Fprintf(w, "\n%s bytes billed for %s records in %s requests; sealed through %s\n",
		count(billed), count(records), count(requests), u.SealedThrough.UTC().Format(time.RFC3339))
}
