package main

import (
	"cmp"
	"context"
	"fmt"
	"net/http"
	"net/url"
	"strings"

	"github.com/spf13/cobra"

	"github.com/headgate-io/headgate/control"
)

func newTeam() *cobra.Command {
	var f clientFlags
	cmd := &cobra.Command{
		Use:   "team",
		Short: "List, create, change and delete teams and their members",
		Example: `  headgate team create ops --tenant acme --role editor
  headgate team add ops ann@acme.example --tenant acme
  headgate team members ops --tenant acme`,
	}
	f.register(cmd)
	cmd.AddCommand(teamList(&f), teamCreate(&f), teamSet(&f), teamDelete(&f), teamMembers(&f),
		teamMember(&f, "add", http.MethodPut, "Put a user of the tenant into a team"),
		teamMember(&f, "remove", http.MethodDelete, "Take a user out of a team"))
	return cmd
}

func (f *clientFlags) teamID(ctx context.Context, tenant, ref string) (string, error) {
	return f.idByName(ctx, "/api/v1/teams", "teams", tenant, ref)
}

// userID finds the id of a user by the e-mail address; what is no address is taken for an id.
func (f *clientFlags) userID(ctx context.Context, tenant, ref string) (string, error) {
	if !strings.Contains(ref, "@") {
		return ref, nil
	}
	c, err := f.open()
	if err != nil {
		return "", err
	}
	query := tenantQuery(tenant)
	query.Set("search", ref)
	found, err := listAll[struct{ ID, Email string }](ctx, c, "/api/v1/users", "users", query)
	if err != nil {
		return "", err
	}
	for _, u := range found {
		if strings.EqualFold(u.Email, ref) {
			return u.ID, nil
		}
	}
	return "", fmt.Errorf("no user %s in the tenant", oneLine(ref))
}

func rolesCell(roles []control.RoleName) string {
	names := make([]string, len(roles))
	for i, r := range roles {
		names[i] = cmp.Or(r.Name, r.ID)
	}
	return orDash(strings.Join(names, " "))
}

func teamList(f *clientFlags) *cobra.Command {
	var tenant string
	cmd := &cobra.Command{
		Use: "list", Short: "List the teams of a tenant", Args: exactArgs(),
		Example: `  headgate team list --tenant acme`,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return showList(cmd, f, "/api/v1/teams", "teams", tenantQuery(tenant),
				newTable("NAME", "ID", "MEMBERS", "ROLES").alignRight("MEMBERS"), func(t control.Team) []string {
					return []string{oneLine(t.Name), t.ID, fmt.Sprint(t.Members), rolesCell(t.Roles)}
				})
		},
	}
	tenantFlag(cmd, &tenant)
	return cmd
}

func teamCreate(f *clientFlags) *cobra.Command {
	var in control.NewTeam
	cmd := &cobra.Command{
		Use: "create NAME", Short: "Create a team", Args: exactArgs("NAME"),
		Example: `  headgate team create ops --tenant acme --role editor`,
		RunE: func(cmd *cobra.Command, args []string) error {
			in.Name = args[0]
			var team control.Team
			return f.change(cmd, http.MethodPost, "/api/v1/teams", in, &team, func() string {
				return fmt.Sprintf("created team %s (%s)", team.Name, team.ID)
			})
		},
	}
	tenantFlag(cmd, &in.Tenant)
	cmd.Flags().StringArrayVar(&in.Roles, "role", nil, "role that members have; may be given more than once")
	return cmd
}

func teamSet(f *clientFlags) *cobra.Command {
	var tenant, name string
	var roles []string
	cmd := &cobra.Command{
		Use: "set TEAM", Short: "Rename a team or change its roles", Args: exactArgs("TEAM"),
		Example: `  headgate team set ops --tenant acme --role editor --role support
  headgate team set ops --tenant acme --role ""`,
		RunE: func(cmd *cobra.Command, args []string) error {
			var in control.TeamPatch
			if cmd.Flags().Changed("name") {
				in.Name = &name
			}
			if cmd.Flags().Changed("role") {
				if len(roles) == 1 && roles[0] == "" {
					roles = []string{}
				}
				in.Roles = &roles
			}
			if in == (control.TeamPatch{}) {
				return &usageError{fmt.Errorf("give --name or --role: there is nothing to change")}
			}
			id, err := f.teamID(cmd.Context(), tenant, args[0])
			if err != nil {
				return err
			}
			var team control.Team
			return f.change(cmd, http.MethodPatch, "/api/v1/teams/"+url.PathEscape(id), in, &team, func() string {
				return fmt.Sprintf("team %s has the roles: %s", team.Name, rolesCell(team.Roles))
			})
		},
	}
	tenantFlag(cmd, &tenant)
	cmd.Flags().StringVar(&name, "name", "", "new name")
	cmd.Flags().StringArrayVar(&roles, "role", nil, `role that members have from now on, instead of those they had; may be given more than once ("": none)`)
	return cmd
}

func teamDelete(f *clientFlags) *cobra.Command {
	var tenant string
	cmd := &cobra.Command{
		Use: "delete TEAM", Short: "Delete a team; its members lose its roles", Args: exactArgs("TEAM"),
		Example: `  headgate team delete ops --tenant acme`,
		RunE: func(cmd *cobra.Command, args []string) error {
			id, err := f.teamID(cmd.Context(), tenant, args[0])
			if err != nil {
				return err
			}
			return f.change(cmd, http.MethodDelete, "/api/v1/teams/"+url.PathEscape(id), nil, nil, func() string { return "deleted team " + oneLine(args[0]) })
		},
	}
	tenantFlag(cmd, &tenant)
	return cmd
}

func teamMembers(f *clientFlags) *cobra.Command {
	var tenant string
	cmd := &cobra.Command{
		Use: "members TEAM", Short: "List the members of a team", Args: exactArgs("TEAM"),
		Example: `  headgate team members ops --tenant acme`,
		RunE: func(cmd *cobra.Command, args []string) error {
			id, err := f.teamID(cmd.Context(), tenant, args[0])
			if err != nil {
				return err
			}
			return showList(cmd, f, "/api/v1/teams/"+url.PathEscape(id)+"/members", "members", nil,
				newTable("EMAIL", "NAME", "STATUS", "ID"), func(m control.Member) []string {
					return []string{oneLine(m.Email), orDash(m.Name), m.Status, m.ID}
				})
		},
	}
	tenantFlag(cmd, &tenant)
	return cmd
}

func teamMember(f *clientFlags, use, method, short string) *cobra.Command {
	var tenant string
	cmd := &cobra.Command{
		Use: use + " TEAM USER", Short: short, Args: exactArgs("TEAM", "USER"),
		Example: "  headgate team " + use + " ops ann@acme.example --tenant acme",
		RunE: func(cmd *cobra.Command, args []string) error {
			id, err := f.teamID(cmd.Context(), tenant, args[0])
			if err != nil {
				return err
			}
			user, err := f.userID(cmd.Context(), tenant, args[1])
			if err != nil {
				return err
			}
			var team control.Team
			path := "/api/v1/teams/" + url.PathEscape(id) + "/members/" + url.PathEscape(user)
			return f.change(cmd, method, path, nil, &team, func() string {
				return fmt.Sprintf("members of team %s: %d", team.Name, team.Members)
			})
		},
	}
	tenantFlag(cmd, &tenant)
	return cmd
}
