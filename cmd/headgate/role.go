package main

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"strings"

	"github.com/spf13/cobra"

	"github.com/headgate-io/headgate/control"
)

func newRole() *cobra.Command {
	var f clientFlags
	cmd := &cobra.Command{
		Use:   "role",
		Short: "List, create, change and delete roles",
		Example: `  headgate role list --tenant acme
  headgate role create support --tenant acme --permission audit.read --permission users.read
  headgate role set support --tenant acme --name first-line
  headgate role delete first-line --tenant acme`,
	}
	f.register(cmd)
	cmd.AddCommand(roleList(&f), roleCreate(&f), roleSet(&f), roleDelete(&f))
	return cmd
}

// tenantFlag adds --tenant to a command about things of one tenant.
func tenantFlag(cmd *cobra.Command, name *string) {
	cmd.Flags().StringVar(name, "tenant", "", "tenant, by name or id (empty: the own one; with the operator token it has to be given)")
}

func tenantQuery(name string) url.Values {
	if name == "" {
		return url.Values{}
	}
	return url.Values{"tenant": {name}}
}

func roleList(f *clientFlags) *cobra.Command {
	var tenant string
	cmd := &cobra.Command{
		Use: "list", Short: "List the roles of a tenant, the built-in ones first", Args: exactArgs(),
		Example: `  headgate role list --tenant acme
  headgate role list --tenant acme --json`,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return showList(cmd, f, "/api/v1/roles", "roles", tenantQuery(tenant),
				newTable("NAME", "ID", "PERMISSIONS"), func(r control.Role) []string {
					id := r.ID
					if r.Builtin {
						id = "built-in"
					}
					return []string{oneLine(r.Name), id, orDash(strings.Join(r.Permissions, " "))}
				})
		},
	}
	tenantFlag(cmd, &tenant)
	return cmd
}

func orDash(s string) string {
	if s == "" {
		return "-"
	}
	return oneLine(s)
}

func roleCreate(f *clientFlags) *cobra.Command {
	var in control.NewRole
	cmd := &cobra.Command{
		Use: "create NAME", Short: "Create a custom role", Args: exactArgs("NAME"),
		Long:    "Create makes a custom role of permissions, of which the caller has all. docs/administration.md lists the permissions.",
		Example: `  headgate role create support --tenant acme --permission audit.read --permission users.read`,
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(in.Permissions) == 0 {
				return &usageError{fmt.Errorf("give at least one --permission, e.g. audit.read")}
			}
			in.Name = args[0]
			var role control.Role
			return f.change(cmd, http.MethodPost, "/api/v1/roles", in, &role, func() string {
				return fmt.Sprintf("created role %s (%s)", role.Name, role.ID)
			})
		},
	}
	tenantFlag(cmd, &in.Tenant)
	cmd.Flags().StringArrayVar(&in.Permissions, "permission", nil, "what the role allows; may be given more than once")
	return cmd
}

func roleSet(f *clientFlags) *cobra.Command {
	var tenant, name string
	var permissions []string
	cmd := &cobra.Command{
		Use: "set ROLE", Short: "Rename a custom role or change its permissions", Args: exactArgs("ROLE"),
		Example: `  headgate role set support --tenant acme --permission audit.read --permission users.read
  headgate role set 01J… --name first-line`,
		RunE: func(cmd *cobra.Command, args []string) error {
			var in control.RolePatch
			if cmd.Flags().Changed("name") {
				in.Name = &name
			}
			if cmd.Flags().Changed("permission") {
				in.Permissions = &permissions
			}
			if in == (control.RolePatch{}) {
				return &usageError{fmt.Errorf("give --name or --permission: there is nothing to change")}
			}
			id, err := f.roleID(cmd.Context(), tenant, args[0])
			if err != nil {
				return err
			}
			var role control.Role
			return f.change(cmd, http.MethodPatch, "/api/v1/roles/"+url.PathEscape(id), in, &role, func() string {
				return fmt.Sprintf("role %s allows %s", role.Name, strings.Join(role.Permissions, " "))
			})
		},
	}
	tenantFlag(cmd, &tenant)
	cmd.Flags().StringVar(&name, "name", "", "new name")
	cmd.Flags().StringArrayVar(&permissions, "permission", nil, "what the role allows from now on, instead of what it did; may be given more than once")
	return cmd
}

func roleDelete(f *clientFlags) *cobra.Command {
	var tenant string
	cmd := &cobra.Command{
		Use: "delete ROLE", Short: "Delete a custom role that no user and no team has", Args: exactArgs("ROLE"),
		Example: `  headgate role delete support --tenant acme`,
		RunE: func(cmd *cobra.Command, args []string) error {
			id, err := f.roleID(cmd.Context(), tenant, args[0])
			if err != nil {
				return err
			}
			return f.change(cmd, http.MethodDelete, "/api/v1/roles/"+url.PathEscape(id), nil, nil, func() string { return "deleted role " + oneLine(args[0]) })
		},
	}
	tenantFlag(cmd, &tenant)
	return cmd
}

// change sends a change, and prints its answer as JSON or what say says of it. out is nil where there is no answer.
func (f *clientFlags) change(cmd *cobra.Command, method, path string, in, out any, say func() string) error {
	c, err := f.open()
	if err != nil {
		return err
	}
	if err := c.do(cmd.Context(), method, path, nil, in, out); err != nil {
		return err
	}
	if f.json {
		if out == nil {
			out = map[string]any{}
		}
		return printJSON(cmd.OutOrStdout(), out)
	}
	fmt.Fprintln(cmd.OutOrStdout(), say())
	return nil
}

// roleID finds the id of a role by its name; what is no name of the tenant's is taken for an id.
func (f *clientFlags) roleID(ctx context.Context, tenant, ref string) (string, error) {
	return f.idByName(ctx, "/api/v1/roles", "roles", tenant, ref)
}

// idByName finds the id of a thing of a tenant in a list of the API that can be searched by name.
func (f *clientFlags) idByName(ctx context.Context, path, member, tenant, ref string) (string, error) {
	if len(ref) == 26 && strings.ToUpper(ref) == ref {
		return ref, nil
	}
	c, err := f.open()
	if err != nil {
		return "", err
	}
	query := tenantQuery(tenant)
	query.Set("search", ref)
	found, err := listAll[struct{ ID, Name string }](ctx, c, path, member, query)
	if err != nil {
		return "", err
	}
	for _, v := range found {
		if strings.EqualFold(v.Name, ref) {
			return v.ID, nil
		}
	}
	return ref, nil
}
