package main

import (
	"cmp"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/headgate-io/headgate/control"
)

// tenantDetailFlags are those of the settings that telemetry does not pass through.
type tenantDetailFlags struct {
	slug, owner, plan, edition, subscription, tier string
	maxUsers, maxKeys                              string
}

func (d *tenantDetailFlags) register(cmd *cobra.Command) {
	f := cmd.Flags()
	f.StringVar(&d.slug, "slug", "", "what sign-in names the tenant by (default: the name)")
	f.StringVar(&d.owner, "owner", "", "e-mail address of the owner")
	f.StringVar(&d.plan, "plan-id", "", "id of the plan, of your billing")
	f.StringVar(&d.edition, "edition-id", "", "id of the edition, of your billing")
	f.StringVar(&d.subscription, "subscription-id", "", "id of the subscription, of your billing")
	f.StringVar(&d.tier, "query-tier", "", "set of limits for queries, of those in --query-tiers of the server (empty: the parent's, or the default)")
	f.StringVar(&d.maxUsers, "max-users", "", "users who are not inactive, own and descendants'; none = unlimited")
	f.StringVar(&d.maxKeys, "max-keys", "", "live API keys, own and descendants'; none = unlimited")
}

func (d *tenantDetailFlags) settings(cmd *cobra.Command, out map[string]any) {
	for flag, value := range map[string]string{"slug": d.slug, "owner": d.owner, "plan-id": d.plan, "edition-id": d.edition, "subscription-id": d.subscription, "query-tier": d.tier} {
		if cmd.Flags().Changed(flag) {
			out[strings.ReplaceAll(flag, "-", "_")] = value
		}
	}
	for flag, value := range map[string]string{"max-users": d.maxUsers, "max-keys": d.maxKeys} {
		if !cmd.Flags().Changed(flag) {
			continue
		}
		name := strings.ReplaceAll(flag, "-", "_")
		if n, err := strconv.ParseInt(value, 10, 64); err == nil {
			out[name] = n
		} else if value == "none" {
			out[name] = nil
		} else {
			out[name] = value // the API says what is wrong with it
		}
	}
}

func tenantList(f *clientFlags) *cobra.Command {
	var search, status string
	cmd := &cobra.Command{
		Use: "list", Short: "List tenants with what they send on average", Args: exactArgs(),
		Long: "List tenants. AVERAGE is what was billed per day over the last thirty days (UTC) that are sealed, descendants' with it, and % that of the daily limit.",
		Example: `  headgate tenant list --search acme --status active
  headgate tenant list --json`,
		RunE: func(cmd *cobra.Command, _ []string) error {
			q := url.Values{"usage": {"true"}}
			for name, v := range map[string]string{"search": search, "status": status} {
				if v != "" {
					q.Set(name, v)
				}
			}
			return showList(cmd, f, "/api/v1/tenants", "tenants", q,
				newTable("NAME", "ID", "PARENT", "OWNER", "STATUS", "DAILY LIMIT", "AVERAGE", "%", "AT LIMIT", "RETENTION").
					alignRight("DAILY LIMIT", "AVERAGE", "%", "RETENTION"), func(t control.Tenant) []string {
					limit, average, percent := "unlimited", "-", "-"
					if t.DailyBytes != nil {
						limit = formatBytes(*t.DailyBytes)
					}
					if t.AverageDailyBytes != nil {
						average = formatBytes(*t.AverageDailyBytes)
					}
					if t.AveragePercent != nil {
						percent = fmt.Sprintf("%.0f", *t.AveragePercent)
					}
					return []string{t.Name, t.ID, t.Parent, cmp.Or(t.Owner, "-"), t.Status, limit, average, percent, t.AtLimit, strconv.Itoa(t.RetentionDays) + " d"}
				})
		},
	}
	cmd.Flags().StringVar(&search, "search", "", "part of the name or of the owner's address")
	cmd.Flags().StringVar(&status, "status", "", "active, inactive or deleting")
	return cmd
}

func tenantOverview(f *clientFlags) *cobra.Command {
	return &cobra.Command{
		Use: "overview NAME", Short: "Show what a tenant uses of its plan, and what happened in it", Args: exactArgs("NAME"),
		Example: `  headgate tenant overview acme`,
		RunE: func(cmd *cobra.Command, args []string) error {
			o, err := fetch[control.Overview](cmd, f, tenantPath(args[0], "overview"))
			if err != nil {
				return err
			}
			w := cmd.OutOrStdout()
			if f.json {
				return printJSON(w, o)
			}
			tenantTable(o.Tenant).print(w)
			if u := o.Usage; u != nil {
				fmt.Fprintf(w, "\ntoday %s; %d users, %d keys", formatBytes(u.TodayBytes), u.Users, u.Keys)
				if u.AverageDailyBytes != nil {
					fmt.Fprintf(w, "; %s a day on average", formatBytes(*u.AverageDailyBytes))
				}
				fmt.Fprintln(w)
			}
			acts := newTable("AT", "ACTOR", "ACTION", "TARGET", "OUTCOME")
			for _, e := range o.Activity {
				acts.add(day(&e.At), oneLine(e.Actor), e.Action, oneLine(cmp.Or(e.Target, "-")), e.Outcome)
			}
			fmt.Fprintln(w)
			acts.print(w)
			return nil
		},
	}
}

func tenantMove(f *clientFlags) *cobra.Command {
	var parent string
	var root bool
	cmd := &cobra.Command{
		Use: "move NAME", Short: "Put a tenant, with all below it, under another parent", Args: exactArgs("NAME"),
		Long: `Move a tenant. Limits and status of the new parents hold within a second, and what is sent from then on counts against them;
what was sent today stays with the old ones. Grants and access of people of the old parents end.`,
		Example: `  headgate tenant move acme-dev --parent globex
  headgate tenant move acme-dev --root`,
		RunE: func(cmd *cobra.Command, args []string) error {
			if (parent == "") != root {
				return &usageError{fmt.Errorf("give one of --parent and --root")}
			}
			return tenantCall(cmd, f, http.MethodPost, tenantPath(args[0], "move"), map[string]any{"parent": parent})
		},
	}
	cmd.Flags().StringVar(&parent, "parent", "", "the new parent")
	cmd.Flags().BoolVar(&root, "root", false, "no parent")
	return cmd
}

func tenantSecurity(f *clientFlags) *cobra.Command {
	var factor string
	cmd := &cobra.Command{
		Use: "security NAME", Short: "Show or set whom a tenant asks for a second factor", Args: exactArgs("NAME"),
		Example: `  headgate tenant security acme --second-factor admins`,
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := f.open()
			if err != nil {
				return err
			}
			method, in := http.MethodGet, any(nil)
			if factor != "" {
				method, in = http.MethodPatch, control.Security{SecondFactor: factor}
			}
			var out control.Security
			if err := c.do(cmd.Context(), method, tenantPath(args[0], "security"), nil, in, &out); err != nil {
				return err
			}
			if f.json {
				return printJSON(cmd.OutOrStdout(), out)
			}
			fmt.Fprintf(cmd.OutOrStdout(), "second factor: %s\n", out.SecondFactor)
			return nil
		},
	}
	cmd.Flags().StringVar(&factor, "second-factor", "", "disabled, optional, admins or required")
	return cmd
}

func tenantDomain(f *clientFlags) *cobra.Command {
	var add, remove string
	cmd := &cobra.Command{
		Use: "domains NAME", Short: "List, add or remove the domains that a tenant invites people of", Args: exactArgs("NAME"),
		Example: `  headgate tenant domains acme --add acme.example
  headgate tenant domains acme`,
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := f.open()
			if err != nil {
				return err
			}
			// SECURITY: added first, since a tenant that lists none invites people of any.
			for _, change := range []struct{ method, domain string }{{http.MethodPut, add}, {http.MethodDelete, remove}} {
				if change.domain == "" {
					continue
				}
				if err := c.do(cmd.Context(), change.method, tenantPath(args[0], "email-domains", url.PathEscape(change.domain)), nil, nil, nil); err != nil {
					return err
				}
			}
			out, err := fetch[control.EmailDomains](cmd, f, tenantPath(args[0], "email-domains"))
			if err != nil {
				return err
			}
			if f.json {
				return printJSON(cmd.OutOrStdout(), out)
			}
			t := newTable("DOMAIN", "ACTIVE USERS", "ADDED").alignRight("ACTIVE USERS")
			for _, d := range out.Domains {
				t.add(d.Domain, count(d.ActiveUsers), day(&d.AddedAt))
			}
			t.print(cmd.OutOrStdout())
			return nil
		},
	}
	cmd.Flags().StringVar(&add, "add", "", "domain to list")
	cmd.Flags().StringVar(&remove, "remove", "", "domain to list no more")
	return cmd
}
