package main

import (
	"cmp"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/headgate-io/headgate/control"
	"github.com/headgate-io/headgate/internal/tenant"
	"github.com/headgate-io/headgate/metering"
)

func newLimits() *cobra.Command {
	var f clientFlags
	var key string
	cmd := &cobra.Command{
		Use: "limits --key KEY", Short: "Print the limits that hold for a key and what is left of them", Args: exactArgs(),
		Long: `Print the limits of a key and of its tenant, what is used of them and when they reset. USED UP AT is when a day's bytes
will be gone if they go on as in the last five minutes. Limits of tenants above hold too and are not shown.`,
		Example: `  headgate limits --key $KEY`,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if key == "" {
				return &usageError{fmt.Errorf("give an API key as --key or HEADGATE_KEY")}
			}
			f.token = key
			out, err := fetch[control.Limits](cmd, &f, "/api/v1/limits")
			if err != nil {
				return err
			}
			if f.json {
				return printJSON(cmd.OutOrStdout(), out)
			}
			if len(out.Limits) == 0 {
				fmt.Fprintln(cmd.OutOrStdout(), "no limits of the key or its tenant")
				return nil
			}
			stateTable(out.Limits, timeNow()).print(cmd.OutOrStdout())
			return nil
		},
	}
	f.register(cmd)
	cmd.Flags().StringVar(&key, "key", "", "API key")
	return cmd
}

// fetch reads one thing from the API.
func fetch[T any](cmd *cobra.Command, f *clientFlags, path string) (v T, err error) {
	c, err := f.open()
	if err != nil {
		return v, err
	}
	err = c.do(cmd.Context(), http.MethodGet, path, nil, nil, &v)
	return v, err
}

// stateTable shows limits and their use at a moment.
func stateTable(limits []metering.LimitState, now time.Time) *table {
	t := newTable("LIMIT", "OF", "SIGNAL", "MAX", "BURST", "USED", "%", "", "LEFT", "RESETS (UTC)", "USED UP AT (UTC)").
		alignRight("MAX", "BURST", "USED", "%", "LEFT")
	for _, l := range limits {
		kind, owner := strings.TrimPrefix(l.ID, "limit-"), "tenant"
		if k, ok := strings.CutSuffix(kind, "-key"); ok {
			kind, owner = k, "key"
		}
		burst, resets, end := "-", "-", "-"
		whole := l.Limit
		switch tenant.Kind(kind) {
		case tenant.BytesPerSecond, tenant.RequestsPerSecond:
			whole = l.Used + l.Remaining // of the burst
			burst = count(cmp.Or(l.Burst, l.Limit))
			if l.Reset.After(now) {
				resets = l.Reset.UTC().Format("2006-01-02 15:04:05")
			}
		case tenant.DailyBytes:
			resets = day(&l.Reset)
			if l.ExhaustedAt != nil {
				end = day(l.ExhaustedAt)
			}
		}
		used, percent, shown, left := count(l.Used), "-", "", count(l.Remaining)
		if tenant.Kind(kind) == tenant.RecordsPerRequest || l.UseUnknown { // is of each request, so nothing of it is used; or receivers know
			used, left, resets = "-", "-", "-"
		} else {
			part := 1.0
			if whole > 0 {
				part = float64(l.Used) / float64(whole)
			}
			percent, shown = fmt.Sprintf("%.0f", 100*part), gauge(part)
		}
		t.add(kind, owner, cmp.Or(l.Signal, "all"), count(l.Limit), burst, used, percent, shown, left, resets, end)
	}
	return t
}

// gauge draws a part of 1; what is beyond fills it, what is little shows.
func gauge(part float64) string {
	const width = 10
	n := min(width, int(part*width+0.5))
	if part > 0 {
		n = max(1, n)
	}
	return "[" + strings.Repeat("#", n) + strings.Repeat(".", width-n) + "]"
}

// printLimits prints the limits of a tenant and what holds in their place.
func printLimits(w io.Writer, t control.Tenant) {
	fmt.Fprintln(w)
	lower := t.LowerLimits
	if t.LimitedBy != "" {
		lower = append([]control.LowerLimit{{Limit: string(tenant.DailyBytes), LimitedBy: t.LimitedBy, Max: t.EffectiveDailyBytes.Value()}}, lower...)
	}
	printOwnLimits(w, t.DailyBytes, t.Limits, lower)
	fmt.Fprintf(w, "\na day begins at midnight in %s", t.TimeZone)
	if t.StorageBytes != nil {
		fmt.Fprintf(w, "; %s bytes are kept", count(*t.StorageBytes))
	}
	fmt.Fprintln(w)
}

// printOwnLimits prints the limits of a tenant or key.
func printOwnLimits(w io.Writer, daily *int64, limits []control.Limit, lower []control.LowerLimit) {
	t := newTable("LIMIT", "SIGNAL", "MAX", "BURST", "HELD LOWER BY").alignRight("MAX", "BURST")
	held := map[string]string{}
	for _, l := range lower {
		by := l.LimitedBy
		if l.Max != nil {
			by += ": " + amount(l.Limit, *l.Max)
		}
		held[limitName(l.Limit, l.Signal)] = by
	}
	all := "unlimited"
	if daily != nil {
		all = formatBytes(*daily)
	}
	t.add(string(tenant.DailyBytes), "all", all, "-", cmp.Or(held[string(tenant.DailyBytes)], "-"))
	for _, l := range limits {
		burst := "-"
		if l.Burst > 0 {
			burst = amount(l.Limit, l.Burst)
		}
		t.add(l.Limit, cmp.Or(l.Signal, "all"), amount(l.Limit, l.Max), burst, cmp.Or(held[limitName(l.Limit, l.Signal)], "-"))
	}
	t.print(w)
}

// amount prints a number in the unit of a kind.
func amount(kind string, n int64) string {
	if inBytes(kind) {
		return formatBytes(n)
	}
	return count(n)
}

// noteLower says where a limit that was just set changes nothing, for an ancestor's is lower.
func noteLower(w io.Writer, t control.Tenant) {
	note := func(name, own, by string, most *int64, kind string) {
		if most != nil {
			by += " (" + amount(kind, *most) + ")"
		}
		fmt.Fprintf(w, "note: %s of %s for %s is above that of %s, which holds\n", name, own, t.Name, by)
	}
	if t.LimitedBy != "" && t.DailyBytes != nil {
		note("the daily limit", formatBytes(*t.DailyBytes), t.LimitedBy, t.EffectiveDailyBytes.Value(), string(tenant.DailyBytes))
	}
	for _, low := range t.LowerLimits {
		for _, l := range t.Limits {
			if l.Limit == low.Limit && l.Signal == low.Signal {
				note(limitName(l.Limit, l.Signal), amount(l.Limit, l.Max), low.LimitedBy, low.Max, l.Limit)
			}
		}
	}
}
