package main

import (
	"cmp"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/headgate-io/headgate/control"
)

const accessPath = "/api/v1/access-requests"

func newAccess() *cobra.Command {
	var f clientFlags
	cmd := &cobra.Command{
		Use:   "access",
		Short: "Ask for time-limited permissions in a tenant, and decide what others ask for",
		Example: `  headgate access request acme-dev --role viewer --for 8h --note "ticket 4711" --token "$SESSION"
  headgate access list --status pending
  headgate access approve 01J…`,
	}
	f.register(cmd)
	cmd.AddCommand(accessRequest(&f), accessList(&f), accessShow(&f),
		accessDecide(&f, "approve", "Give what somebody else asks for"),
		accessDecide(&f, "reject", "Refuse a pending request"),
		accessDecide(&f, "revoke", "End access, or take back a pending request"),
		accessExpire(&f, "extend", "Let active access end later"),
		accessExpire(&f, "clone", "Ask for the same again, in your own name"))
	return cmd
}

// accessEnd is the end of access as flags.
type accessEnd struct{ length, until string }

func (e *accessEnd) register(cmd *cobra.Command) {
	cmd.Flags().StringVar(&e.length, "for", "", "how long: 1h, 8h, 1d, 7d or 30d")
	cmd.Flags().StringVar(&e.until, "until", "", "until when instead, e.g. 2026-01-31T18:00:00Z; at most 90 days ahead")
}

func (e *accessEnd) read() (out control.AccessExpiry, err error) {
	out.Expiry = e.length
	if e.until != "" {
		at, err := time.Parse(time.RFC3339, e.until)
		if err != nil {
			return out, &usageError{fmt.Errorf("--until %q: want a time such as 2026-01-31T18:00:00Z", e.until)}
		}
		out.Until = &at
	}
	return out, nil
}

func accessRequest(f *clientFlags) *cobra.Command {
	var in control.NewAccessRequest
	var end accessEnd
	cmd := &cobra.Command{
		Use: "request TENANT", Short: "Ask for permissions in your own tenant or one below it", Args: exactArgs("TENANT"),
		Example: `  headgate access request acme-dev --role viewer --for 8h --note "ticket 4711"
  headgate access request acme-dev --permission audit.read --permission usage.read --until 2026-01-31T18:00:00Z`,
		RunE: func(cmd *cobra.Command, args []string) error {
			var err error
			if in.AccessExpiry, err = end.read(); err != nil {
				return err
			}
			in.Tenant = args[0]
			var r control.AccessRequest
			return f.change(cmd, http.MethodPost, accessPath, in, &r, func() string {
				return fmt.Sprintf("request %s for %d permissions in %s is %s", r.ID, r.PermissionCount, r.Tenant, r.Status)
			})
		},
	}
	end.register(cmd)
	cmd.Flags().StringVar(&in.Note, "note", "", "why")
	cmd.Flags().StringVar(&in.Role, "role", "", "role of your own tenant whose permissions you ask for")
	cmd.Flags().StringArrayVar(&in.Permissions, "permission", nil, "permission that you ask for, instead of a role; may be given more than once")
	return cmd
}

func accessList(f *clientFlags) *cobra.Command {
	var tenant, status, search string
	var mine bool
	cmd := &cobra.Command{
		Use: "list", Short: "List your own requests, and those that you may decide", Args: exactArgs(),
		Example: `  headgate access list --status pending
  headgate access list --tenant acme-dev --search ann@`,
		RunE: func(cmd *cobra.Command, _ []string) error {
			query := tenantQuery(tenant)
			for name, v := range map[string]string{"status": status, "search": search} {
				if v != "" {
					query.Set(name, v)
				}
			}
			if mine {
				query.Set("mine", "true")
			}
			return showList(cmd, f, accessPath, "access_requests", query,
				newTable("ID", "USER", "TENANT", "ROLE", "PERMISSIONS", "STATUS", "END", "DECIDED BY", "AT").alignRight("PERMISSIONS"), func(r control.AccessRequest) []string {
					return []string{r.ID, oneLine(r.Email), cmp.Or(r.Tenant, r.TenantID), orDash(r.Role), fmt.Sprint(r.PermissionCount), r.Status, accessEndOf(r),
						orDash(r.DecidedBy), day(r.DecidedAt)}
				})
		},
	}
	cmd.Flags().StringVar(&tenant, "tenant", "", "of this tenant only")
	cmd.Flags().StringVar(&status, "status", "", "pending, active, expired, rejected or revoked only")
	cmd.Flags().StringVar(&search, "search", "", "of users with this in their address only")
	cmd.Flags().BoolVar(&mine, "mine", false, "your own only")
	return cmd
}

// accessEndOf tells how long access lasts still, when it ended, or how long it is asked for.
func accessEndOf(r control.AccessRequest) string {
	switch {
	case r.LeftSeconds != nil:
		return "in " + (time.Duration(*r.LeftSeconds) * time.Second).String()
	case r.ExpiresAt != nil:
		return day(r.ExpiresAt)
	case r.Until != nil:
		return day(r.Until)
	}
	return orDash(r.Expiry)
}

func accessShow(f *clientFlags) *cobra.Command {
	return &cobra.Command{
		Use: "show ID", Short: "Show a request", Args: exactArgs("ID"),
		Example: `  headgate access show 01J…`,
		RunE: func(cmd *cobra.Command, args []string) error {
			var r control.AccessRequest
			return f.change(cmd, http.MethodGet, accessPath+"/"+url.PathEscape(args[0]), nil, &r, func() string {
				return fmt.Sprintf("%s by %s in %s: %s, %s, end %s\n%s\n%s", r.ID, oneLine(r.Email), cmp.Or(r.Tenant, r.TenantID), r.Status,
					"decided by "+orDash(r.DecidedBy), accessEndOf(r), strings.Join(r.Permissions, " "), orDash(r.Note))
			})
		},
	}
}

func accessDecide(f *clientFlags, use, short string) *cobra.Command {
	return &cobra.Command{
		Use: use + " ID", Short: short, Args: exactArgs("ID"),
		Example: "  headgate access " + use + " 01J…",
		RunE: func(cmd *cobra.Command, args []string) error {
			var r control.AccessRequest
			return f.change(cmd, http.MethodPost, accessPath+"/"+url.PathEscape(args[0])+"/"+use, nil, &r, func() string { return accessSaid(r) })
		},
	}
}

func accessExpire(f *clientFlags, use, short string) *cobra.Command {
	var end accessEnd
	cmd := &cobra.Command{
		Use: use + " ID", Short: short, Args: exactArgs("ID"),
		Example: "  headgate access " + use + " 01J… --for 8h",
		RunE: func(cmd *cobra.Command, args []string) error {
			in, err := end.read()
			if err != nil {
				return err
			}
			var r control.AccessRequest
			return f.change(cmd, http.MethodPost, accessPath+"/"+url.PathEscape(args[0])+"/"+use, in, &r, func() string { return accessSaid(r) })
		},
	}
	end.register(cmd)
	return cmd
}

func accessSaid(r control.AccessRequest) string {
	return fmt.Sprintf("request %s of %s in %s is %s, end %s", r.ID, oneLine(r.Email), cmp.Or(r.Tenant, r.TenantID), r.Status, accessEndOf(r))
}
