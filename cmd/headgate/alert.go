package main

import (
	"cmp"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/headgate-io/headgate/metering/alert"
)

func newAlerts() *cobra.Command {
	var f clientFlags
	var tenant, kind, from, to string
	cmd := &cobra.Command{
		Use:     "alerts",
		Aliases: []string{"alert"},
		Short:   "Print events such as limits that are nearly spent, and how far they were delivered",
		Long: `Alerts prints events, newest first. Each crossing of 50, 80, 90 and 100 % of a limit is one event per day. DELIVERED says
how many of its webhooks have it; --json tells of each attempt's outcome.`,
		Example: `  headgate alerts
  headgate alerts --tenant acme --kind limit.daily_bytes --from 2026-11-01`,
		Args: exactArgs(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			return showList(cmd, &f, "/api/v1/alerts", "alerts", given(map[string]string{"tenant": tenant, "kind": kind, "from": from, "to": to}),
				newTable("AT (UTC)", "TENANT", "KIND", "LIMIT", "OF", "SIGNAL", "DAY", "PERCENT", "USED", "MAX", "DELIVERED").
					alignRight("PERCENT", "USED", "MAX"), func(a alert.Alert) []string {
					return []string{day(&a.At), oneLine(cmp.Or(a.Tenant, a.TenantID)), string(a.Kind), cmp.Or(a.LimitID, "-"), strings.TrimSpace(a.Owner + " " + a.OwnerID),
						cmp.Or(a.Signal, "all"), a.Day, fmt.Sprint(a.Threshold), count(a.Used), count(a.Max), delivered(a.Deliveries)}
				})
		},
	}
	f.register(cmd)
	cmd.Flags().StringVar(&tenant, "tenant", "", "this tenant only")
	cmd.Flags().StringVar(&kind, "kind", "", "this kind only, e.g. limit.daily_bytes")
	cmd.Flags().StringVar(&from, "from", "", "first moment, RFC 3339 or a date")
	cmd.Flags().StringVar(&to, "to", "", "end, exclusive (empty: now)")
	return cmd
}

// delivered sums an event's deliveries up: 2 of 3, 1 failed.
func delivered(all []alert.Delivery) string {
	if len(all) == 0 {
		return "-"
	}
	n, failed := 0, 0
	for _, d := range all {
		switch d.State {
		case alert.StateDelivered:
			n++
		case alert.StateFailed:
			failed++
		}
	}
	out := fmt.Sprintf("%d of %d", n, len(all))
	if failed > 0 {
		out += fmt.Sprintf(", %d failed", failed)
	}
	return out
}
