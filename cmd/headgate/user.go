package main

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"

	"github.com/spf13/cobra"

	"github.com/headgate-io/headgate/control"
)

func newUser() *cobra.Command {
	var f clientFlags
	cmd := &cobra.Command{
		Use:   "user",
		Short: "Invite, list, change and remove users of a tenant",
		Example: `  headgate user create --tenant acme --email ann@example.com --role root-admin --password-stdin < password
  headgate user invite --tenant acme --email bob@example.com --role editor
  headgate user list --tenant acme --status invited
  headgate user set bob@example.com --tenant acme --role admin
  headgate user deactivate 01J…`,
	}
	f.register(cmd)
	cmd.AddCommand(userInvite(&f), userCreate(&f), userList(&f), userSet(&f), userDelete(&f),
		userDo(&f, "show", http.MethodGet, "", "Show one user"),
		userDo(&f, "deactivate", http.MethodPost, "/deactivate", "End a user's sessions within a second and let the user sign in no more"),
		userDo(&f, "activate", http.MethodPost, "/activate", "Let a deactivated user sign in again"),
		userDo(&f, "reinvite", http.MethodPost, "/invitation", "Send another invitation in place of the one before"),
		userDo(&f, "revoke-invitation", http.MethodDelete, "/invitation", "Make a user's invitation worthless"),
		userDo(&f, "reset-second-factor", http.MethodDelete, "/second-factor", "Remove the second factor of a user who has lost it"),
	)
	return cmd
}

// userFlags are those of a user who is made.
type userFlags struct{ tenant, email, name, role string }

func (u *userFlags) register(cmd *cobra.Command) {
	cmd.Flags().StringVar(&u.tenant, "tenant", "", "tenant of the user (with a session: left out, where it acts)")
	cmd.Flags().StringVar(&u.email, "email", "", "e-mail address")
	cmd.Flags().StringVar(&u.name, "name", "", "name of the person")
	cmd.Flags().StringVar(&u.role, "role", "", "no-access, viewer, editor, admin, root-admin, or a role of the tenant")
}

func (u *userFlags) check() error {
	if u.email == "" || u.role == "" {
		return &usageError{errors.New("give the address with --email and a role with --role (no-access, viewer, editor, admin, root-admin, or one of the tenant's)")}
	}
	return nil
}

func (u *userFlags) request(password string) control.NewUser {
	return control.NewUser{Tenant: u.tenant, Email: u.email, Name: u.name, Role: u.role, Password: password}
}

func userInvite(f *clientFlags) *cobra.Command {
	var u userFlags
	cmd := &cobra.Command{
		Use: "invite", Short: "Invite a user by e-mail", Args: exactArgs(),
		Long: `Invite makes a user who is active once the invitation is accepted. It goes out by the mail server of --smtp-url of
serve; without one it is a line of outbox.ndjson in the server's data directory, and works for seven days.`,
		Example: `  headgate user invite --tenant acme --email bob@example.com --role editor`,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := u.check(); err != nil {
				return err
			}
			return userCall(cmd, f, http.MethodPost, "/api/v1/users", u.request(""))
		},
	}
	u.register(cmd)
	return cmd
}

func userCreate(f *clientFlags) *cobra.Command {
	var u userFlags
	var fromStdin bool
	cmd := &cobra.Command{
		Use: "create", Short: "Make an active user with a password: the first of a tenant (operator only)", Args: exactArgs(),
		Example: `  headgate user create --tenant acme --email ann@example.com --role root-admin --password-stdin < password`,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := u.check(); err != nil {
				return err
			}
			password, err := passwordOf(cmd.InOrStdin(), fromStdin)
			if err != nil {
				return err
			}
			return userCall(cmd, f, http.MethodPost, "/api/v1/users", u.request(password))
		},
	}
	u.register(cmd)
	cmd.Flags().BoolVar(&fromStdin, "password-stdin", false, "read the password from standard input, its first line")
	return cmd
}

// passwordOf reads a password from standard input: on the command line others would see it.
func passwordOf(in io.Reader, allowed bool) (string, error) {
	if !allowed {
		return "", &usageError{errors.New("give the password on standard input, with --password-stdin")}
	}
	line, err := bufio.NewReader(io.LimitReader(in, 4096)).ReadString('\n')
	if err != nil && !errors.Is(err, io.EOF) {
		return "", fmt.Errorf("read the password: %w", err)
	}
	if line = strings.TrimRight(line, "\r\n"); line == "" {
		return "", &usageError{errors.New("no password on standard input")}
	}
	return line, nil
}

// userRef is how commands name a user.
type userRef struct{ tenant string }

func (u *userRef) register(cmd *cobra.Command) {
	cmd.Flags().StringVar(&u.tenant, "tenant", "", "tenant of the user, where an address is given (with a session: left out, where it acts)")
}

// path is that of the user of an id or an address.
func (u *userRef) path(cmd *cobra.Command, f *clientFlags, ref, more string) (string, error) {
	id, err := f.userID(cmd.Context(), u.tenant, ref)
	return "/api/v1/users/" + url.PathEscape(id) + more, err
}

// userCall sends a request whose answer is one user and prints that.
func userCall(cmd *cobra.Command, f *clientFlags, method, path string, in any) error {
	c, err := f.open()
	if err != nil {
		return err
	}
	var u control.User
	if err := c.do(cmd.Context(), method, path, nil, in, &u); err != nil {
		return err
	}
	if f.json {
		return printJSON(cmd.OutOrStdout(), u)
	}
	t := userTable()
	t.add(userRow(u)...)
	t.print(cmd.OutOrStdout())
	return nil
}

func userTable() *table {
	return newTable("ID", "TENANT", "EMAIL", "NAME", "ROLE", "STATUS", "SECOND FACTOR", "SIGNED IN")
}

func userRow(u control.User) []string {
	factor := "no"
	if u.SecondFactor {
		factor = "yes"
	}
	return []string{u.ID, u.Tenant, u.Email, oneLine(u.Name), u.RoleName, u.Status, factor, day(u.SignedInAt)}
}

func userList(f *clientFlags) *cobra.Command {
	filters := map[string]*string{}
	cmd := &cobra.Command{
		Use: "list", Short: "List users of a tenant", Args: exactArgs(),
		Example: `  headgate user list --tenant acme --search @example.com --status active`,
		RunE: func(cmd *cobra.Command, _ []string) error {
			query := url.Values{}
			for name, value := range filters {
				if *value != "" {
					query.Set(name, *value)
				}
			}
			return showList(cmd, f, "/api/v1/users", "users", query, userTable(), userRow)
		},
	}
	for name, help := range map[string]string{
		"tenant": "tenant of the users (with a session: left out, where it acts)", "search": "part of the address",
		"status": "invited, active or inactive", "role": "id of a role, or the name of a built-in one", "team": "id of a team",
	} {
		filters[name] = cmd.Flags().String(name, "", help)
	}
	return cmd
}

func userSet(f *clientFlags) *cobra.Command {
	var name, role string
	var who userRef
	cmd := &cobra.Command{
		Use: "set USER", Short: "Change a user's name or role", Args: exactArgs("USER"),
		Example: `  headgate user set 01J… --role admin
  headgate user set bob@example.com --tenant acme --role admin`,
		RunE: func(cmd *cobra.Command, args []string) error {
			var in control.UserPatch
			if cmd.Flags().Changed("name") {
				in.Name = &name
			}
			if cmd.Flags().Changed("role") {
				in.Role = &role
			}
			if in == (control.UserPatch{}) {
				return &usageError{errors.New("nothing to set: give --name or --role")}
			}
			path, err := who.path(cmd, f, args[0], "")
			if err != nil {
				return err
			}
			return userCall(cmd, f, http.MethodPatch, path, in)
		},
	}
	who.register(cmd)
	cmd.Flags().StringVar(&name, "name", "", "name of the person")
	cmd.Flags().StringVar(&role, "role", "", "role, by name or id")
	return cmd
}

func userDo(f *clientFlags, verb, method, path, short string) *cobra.Command {
	var who userRef
	cmd := &cobra.Command{
		Use: verb + " USER", Short: short, Args: exactArgs("USER"),
		Example: "  headgate user " + verb + " bob@example.com --tenant acme",
		RunE: func(cmd *cobra.Command, args []string) error {
			path, err := who.path(cmd, f, args[0], path)
			if err != nil {
				return err
			}
			return userCall(cmd, f, method, path, nil)
		},
	}
	who.register(cmd)
	return cmd
}

func userDelete(f *clientFlags) *cobra.Command {
	var who userRef
	cmd := &cobra.Command{
		Use: "delete USER", Short: "Remove a user for good", Args: exactArgs("USER"),
		Example: "  headgate user delete bob@example.com --tenant acme",
		RunE: func(cmd *cobra.Command, args []string) error {
			path, err := who.path(cmd, f, args[0], "")
			if err != nil {
				return err
			}
			c, err := f.open()
			if err != nil {
				return err
			}
			if err := c.do(cmd.Context(), http.MethodDelete, path, nil, nil, nil); err != nil {
				return err
			}
			if f.json {
				return printJSON(cmd.OutOrStdout(), map[string]any{"deleted": args[0]})
			}
			fmt.Fprintf(cmd.OutOrStdout(), "deleted %s\n", args[0])
			return nil
		},
	}
	who.register(cmd)
	return cmd
}
