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

	"github.com/headgate-io/headgate/control"
	"github.com/headgate-io/headgate/metering"
)

func newUsage() *cobra.Command {
	var f clientFlags
	var tenant, from, to, by, group, format string
	cmd := &cobra.Command{
		Use:   "usage",
		Short: "Print metered bytes, records and requests",
		Long: `Usage prints what was billed, per tenant and period of UTC time. Billed bytes are the size of the accepted
requests as uncompressed OTLP protobuf, less the records that were rejected, whatever the transport and encoding.`,
		Example: `  headgate usage
  headgate usage --tenant acme --from 2026-11-01 --by day --group signal,key
  headgate usage --by month --format csv > usage.csv`,
		Args: exactArgs(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if f.json {
				format = "json"
			}
			if !slices.Contains([]string{"table", "json", "csv"}, format) {
				return &usageError{fmt.Errorf("--format %q: want table, json or csv", format)}
			}
			c, err := f.open()
			if err != nil {
				return err
			}
			query := url.Values{}
			for name, value := range map[string]string{"tenant": tenant, "from": from, "to": to, "by": by, "group": group} {
				if value != "" {
					query.Set(name, value)
				}
			}
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
			printUsage(cmd.OutOrStdout(), usage, by, group)
			return nil
		},
	}
	f.register(cmd)
	cmd.Flags().StringVar(&tenant, "tenant", "", "this tenant only")
	cmd.Flags().StringVar(&from, "from", "", "first moment, RFC 3339 or a date (empty: the beginning)")
	cmd.Flags().StringVar(&to, "to", "", "end, exclusive (empty: now)")
	cmd.Flags().StringVar(&by, "by", "day", "length of a period: hour, day or month")
	cmd.Flags().StringVar(&group, "group", "", "one row per: signal, key, or signal,key")
	cmd.Flags().StringVar(&format, "format", "table", "table, json or csv")
	return cmd
}

// fetchUsage gathers all pages of the usage.
func fetchUsage(cmd *cobra.Command, c *client, query url.Values) (metering.Usage, error) {
	var all metering.Usage
	for {
		var page metering.Usage
		if err := c.do(cmd.Context(), http.MethodGet, "/api/v1/usage", query, nil, &page); err != nil {
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

func printUsage(w io.Writer, u metering.Usage, by, group string) {
	layout := map[string]string{"hour": "2006-01-02 15:04", "day": "2006-01-02", "month": "2006-01"}[by]
	header := []string{strings.ToUpper(by) + " (UTC)", "TENANT"}
	bySignal, byKey := strings.Contains(group, "signal"), strings.Contains(group, "key")
	if bySignal {
		header = append(header, "SIGNAL")
	}
	if byKey {
		header = append(header, "KEY")
	}
	numbers := []string{"BILLED BYTES", "RECORDS", "REQUESTS", "OVERAGE BYTES", "REFUSED REQUESTS"}
	t := newTable(append(header, numbers...)...).alignRight(numbers...)
	var billed, records, requests int64
	for _, r := range u.Rows {
		cells := []string{r.Start.UTC().Format(layout), r.Tenant}
		if bySignal {
			cells = append(cells, r.Signal)
		}
		if byKey {
			cells = append(cells, r.Key)
		}
		t.add(append(cells, count(r.BilledBytes), count(r.Records), count(r.Requests), count(r.OverageBytes), count(r.RefusedRequests))...)
		billed, records, requests = billed+r.BilledBytes, records+r.Records, requests+r.Requests
	}
	t.print(w)
	fmt.Fprintf(w, "\n%s bytes billed for %s records in %s requests; sealed through %s\n",
		count(billed), count(records), count(requests), u.SealedThrough.UTC().Format(time.RFC3339))
}

func newLimits() *cobra.Command {
	var f clientFlags
	var key string
	cmd := &cobra.Command{
		Use: "limits --key KEY", Short: "Print the limits that hold for a key and what is left of them", Args: exactArgs(),
		Example: `  headgate limits --key $KEY`,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if key == "" {
				return &usageError{fmt.Errorf("give an API key as --key or HEADGATE_KEY")}
			}
			f.token = key
			c, err := f.open()
			if err != nil {
				return err
			}
			var out control.Limits
			if err := c.do(cmd.Context(), http.MethodGet, "/api/v1/limits", nil, nil, &out); err != nil {
				return err
			}
			if f.json {
				return printJSON(cmd.OutOrStdout(), out)
			}
			t := newTable("LIMIT", "BYTES", "USED", "REMAINING", "RESETS (UTC)").alignRight("BYTES", "USED", "REMAINING")
			for _, l := range out.Limits {
				t.add(l.ID, count(l.Limit), count(l.Used), count(l.Remaining), day(&l.Reset))
			}
			t.print(cmd.OutOrStdout())
			return nil
		},
	}
	f.register(cmd)
	cmd.Flags().StringVar(&key, "key", "", "API key")
	return cmd
}
