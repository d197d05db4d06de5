package main

import (
	"cmp"
	"net/http"
	"net/url"

	"github.com/spf13/cobra"

	"github.com/headgate-io/headgate/control"
)

func newGrant() *cobra.Command {
	var f clientFlags
	cmd := &cobra.Command{
		Use:   "grant",
		Short: "Grant tenants below a user's own to the user, list and withdraw grants",
		Example: `  headgate grant add ann@acme.example acme-dev --tenant acme
  headgate grant list ann@acme.example --tenant acme
  headgate grant withdraw ann@acme.example acme-dev --tenant acme`,
	}
	f.register(cmd)
	cmd.AddCommand(grantList(&f),
		grantChange(&f, "add", "Let a user reach a tenant, with the permissions that the user has at home", http.MethodPut),
		grantChange(&f, "withdraw", "End a grant within a second", http.MethodDelete))
	return cmd
}

// homeFlag adds --tenant to a command about a user.
func homeFlag(cmd *cobra.Command, name *string) {
	cmd.Flags().StringVar(name, "tenant", "", "the user's own tenant, to find the user by address (empty: where the caller is)")
}

func grantList(f *clientFlags) *cobra.Command {
	var home string
	cmd := &cobra.Command{
		Use: "list USER", Short: "List the tenants that were granted to a user, as far as you reach them", Args: exactArgs("USER"),
		Example: `  headgate grant list ann@acme.example --tenant acme`,
		RunE: func(cmd *cobra.Command, args []string) error {
			user, err := f.userID(cmd.Context(), home, args[0])
			if err != nil {
				return err
			}
			c, err := f.open()
			if err != nil {
				return err
			}
			var got control.Grants
			if err := c.do(cmd.Context(), http.MethodGet, "/api/v1/users/"+url.PathEscape(user)+"/grants", nil, nil, &got); err != nil {
				return err
			}
			if f.json {
				return printJSON(cmd.OutOrStdout(), got)
			}
			out := newTable("TENANT", "TENANT ID", "GRANTED", "BY")
			for _, g := range got.Grants {
				out.add(cmp.Or(oneLine(g.Tenant), "-"), g.TenantID, day(&g.GrantedAt), oneLine(g.GrantedBy))
			}
			out.print(cmd.OutOrStdout())
			return nil
		},
	}
	homeFlag(cmd, &home)
	return cmd
}

func grantChange(f *clientFlags, use, short, method string) *cobra.Command {
	var home string
	cmd := &cobra.Command{
		Use: use + " USER TENANT", Short: short, Args: exactArgs("USER", "TENANT"),
		Example: "  headgate grant " + use + " ann@acme.example acme-dev --tenant acme",
		RunE: func(cmd *cobra.Command, args []string) error {
			user, err := f.userID(cmd.Context(), home, args[0])
			if err != nil {
				return err
			}
			var out any
			if method == http.MethodPut {
				out = &control.Grant{}
			}
			return f.change(cmd, method, "/api/v1/users/"+url.PathEscape(user)+"/grants/"+url.PathEscape(args[1]), nil, out, func() string {
				if method == http.MethodPut {
					return "granted " + oneLine(args[1]) + " to " + oneLine(args[0])
				}
				return "withdrew " + oneLine(args[1]) + " from " + oneLine(args[0])
			})
		},
	}
	homeFlag(cmd, &home)
	return cmd
}
