package main

import (
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/headgate-io/headgate/control"
)

func newTenant() *cobra.Command {
	var f clientFlags
	cmd := &cobra.Command{
		Use:   "tenant",
		Short: "Create, list, change and delete tenants",
		Example: `  headgate tenant create acme --daily-bytes 10GiB --retention-days 30
  headgate tenant create acme-dev --parent acme --at-limit drop
  headgate tenant list
  headgate tenant set acme --daily-bytes none
  headgate tenant set acme --limit bytes-per-second=5MiB/20MiB --limit daily-bytes:logs=10GiB
  headgate tenant show acme
  headgate tenant disable acme && headgate tenant delete acme --confirm acme`,
	}
	f.register(cmd)
	cmd.AddCommand(
		tenantCreate(&f), tenantSet(&f), tenantList(&f), tenantShow(&f), tenantOverview(&f), tenantMove(&f), tenantSecurity(&f), tenantDomain(&f),
		tenantSwitch(&f, "disable", "Refuse all keys of a tenant within a second; its data is kept"),
		tenantSwitch(&f, "enable", "Let a disabled tenant's keys work again"),
		tenantDelete(&f), tenantDeletion(&f), tenantExport(&f), tenantVerifyExport(&f),
	)
	return cmd
}

// tenantFlags are the settings that create and set share.
type tenantFlags struct {
	daily     byteSize
	limits    limitFlags
	zone      string
	retention int
	atLimit   string
	placement string
	resends   bool
	details   tenantDetailFlags
}

func (t *tenantFlags) register(cmd *cobra.Command) {
	cmd.Flags().Var(&t.daily, "daily-bytes", "billed bytes per day, e.g. 10GiB; none = unlimited")
	t.limits.register(cmd)
	cmd.Flags().StringVar(&t.zone, "time-zone", "UTC", "whose midnight begins a day, e.g. Europe/Berlin or +05:30")
	cmd.Flags().IntVar(&t.retention, "retention-days", 30, "days that rows are kept after they were received, 1 to 3650")
	cmd.Flags().StringVar(&t.atLimit, "at-limit", "refuse", "what a request gets that does not fit the limit: refuse, drop, bill or sample")
	cmd.Flags().StringVar(&t.placement, "placement", "shared", "partitions of the rows: shared with other tenants, or own")
	t.details.register(cmd)
	cmd.Flags().BoolVar(&t.resends, "keep-resends", false, "store a request again when it is sent again (for this tenant alone: those below it have their own setting)")
}

// settings returns the flags that the command line sets; only those are sent.
func (t *tenantFlags) settings(cmd *cobra.Command) map[string]any {
	out := map[string]any{}
	for flag, value := range map[string]any{
		"daily-bytes": t.daily.bytes, "retention-days": t.retention, "at-limit": t.atLimit, "placement": t.placement,
		"keep-resends": t.resends, "time-zone": t.zone,
	} {
		if cmd.Flags().Changed(flag) {
			out[strings.ReplaceAll(flag, "-", "_")] = value
		}
	}
	t.details.settings(cmd, out)
	return out
}

func tenantCreate(f *clientFlags) *cobra.Command {
	var t tenantFlags
	var parent, region string
	cmd := &cobra.Command{
		Use: "create NAME", Short: "Create a tenant", Args: exactArgs("NAME"),
		Long: "Create a tenant.\n\n" + aboutLimits,
		Example: `  headgate tenant create acme --daily-bytes 10GiB --retention-days 30 --at-limit refuse
  headgate tenant create acme --limit requests-per-second=100 --limit storage-bytes=1TiB --time-zone Europe/Berlin`,
		RunE: func(cmd *cobra.Command, args []string) error {
			in := t.settings(cmd)
			in["name"] = args[0]
			if limits := t.limits.change(nil); len(limits) > 0 {
				in["limits"] = limits
			}
			if parent != "" {
				in["parent"] = parent
			}
			if region != "" {
				in["region"] = region
			}
			return tenantCall(cmd, f, http.MethodPost, "/api/v1/tenants", in)
		},
	}
	t.register(cmd)
	cmd.Flags().StringVar(&region, "region", "", "refuse unless the deployment is of this region")
	cmd.Flags().StringVar(&parent, "parent", "", "tenant above this one; its limits hold for this one too")
	return cmd
}

func tenantSet(f *clientFlags) *cobra.Command {
	var t tenantFlags
	cmd := &cobra.Command{
		Use: "set NAME", Short: "Change settings of a tenant", Args: exactArgs("NAME"),
		Long: "Change settings of a tenant; what is not named stays as it is.\n\n" + aboutLimits,
		Example: `  headgate tenant set acme --daily-bytes 20GiB --at-limit bill
  headgate tenant set acme --limit requests-per-second=none --limit in-flight-requests=20`,
		RunE: func(cmd *cobra.Command, args []string) error {
			in := t.settings(cmd)
			if len(in) == 0 && !t.limits.given() {
				return &usageError{fmt.Errorf("nothing to set: give at least one of --daily-bytes, --limit, --time-zone, --retention-days, --at-limit, --placement, --keep-resends, --slug, --owner, --max-users, --max-keys, --plan-id, --edition-id, --subscription-id, --query-tier")}
			}
			if !t.limits.given() {
				return tenantCall(cmd, f, http.MethodPatch, tenantPath(args[0]), in)
			}
			c, err := f.open()
			if err != nil {
				return err
			}
			changed, err := edit(cmd.Context(), c, tenantPath(args[0]), func(now control.Tenant) any {
				in["limits"] = t.limits.change(now.Limits)
				return in
			})
			if err != nil {
				return err
			}
			return printTenant(cmd, f, http.MethodPatch, changed)
		},
	}
	t.register(cmd)
	return cmd
}

func tenantPath(name string, more ...string) string {
	return "/api/v1/tenants/" + strings.Join(append([]string{url.PathEscape(name)}, more...), "/")
}

// tenantCall sends a request whose answer is one tenant and prints that.
func tenantCall(cmd *cobra.Command, f *clientFlags, method, path string, in any) error {
	c, err := f.open()
	if err != nil {
		return err
	}
	var t control.Tenant
	if err := c.do(cmd.Context(), method, path, nil, in, &t); err != nil {
		return err
	}
	return printTenant(cmd, f, method, t)
}

// printTenant prints what a request with the method has answered.
func printTenant(cmd *cobra.Command, f *clientFlags, method string, t control.Tenant) error {
	if f.json {
		return printJSON(cmd.OutOrStdout(), t)
	}
	tenantTable(t).print(cmd.OutOrStdout())
	if method == http.MethodGet {
		printLimits(cmd.OutOrStdout(), t)
	} else {
		noteLower(cmd.ErrOrStderr(), t)
	}
	return nil
}

func tenantTable(tenants ...control.Tenant) *table {
	out := newTable("NAME", "ID", "PARENT", "STATUS", "DAILY LIMIT", "AT LIMIT", "RETENTION", "PARTITION", "RESENDS").alignRight("DAILY LIMIT", "RETENTION")
	for _, t := range tenants {
		limit := "unlimited"
		if t.DailyBytes != nil {
			limit = formatBytes(*t.DailyBytes)
		}
		resends := "known"
		if t.KeepResends {
			resends = "kept"
		}
		out.add(t.Name, t.ID, t.Parent, t.Status, limit, t.AtLimit, strconv.Itoa(t.RetentionDays)+" d", t.Partition, resends)
	}
	return out
}

func tenantShow(f *clientFlags) *cobra.Command {
	return &cobra.Command{
		Use: "show NAME", Short: "Show one tenant", Args: exactArgs("NAME"),
		RunE: func(cmd *cobra.Command, args []string) error {
			return tenantCall(cmd, f, http.MethodGet, tenantPath(args[0]), nil)
		},
	}
}

func tenantSwitch(f *clientFlags, verb, short string) *cobra.Command {
	return &cobra.Command{
		Use: verb + " NAME", Short: short, Args: exactArgs("NAME"),
		RunE: func(cmd *cobra.Command, args []string) error {
			return tenantCall(cmd, f, http.MethodPost, tenantPath(args[0], verb), nil)
		},
	}
}

// exactArgs wants exactly the named arguments.
func exactArgs(names ...string) cobra.PositionalArgs {
	return func(_ *cobra.Command, args []string) error {
		if len(args) == len(names) {
			return nil
		}
		if len(names) == 0 {
			return &usageError{fmt.Errorf("takes no arguments, got %q", args)}
		}
		return &usageError{fmt.Errorf("want exactly %s, got %q", strings.Join(names, " "), args)}
	}
}
