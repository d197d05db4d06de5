package main

import (
	"errors"
	"fmt"
	"net/http"

	"github.com/spf13/cobra"

	"github.com/headgate-io/headgate/control"
)

// newAcceptInvitation and newResetPassword use tokens that messages bring, for those without a browser.
func newAcceptInvitation() *cobra.Command {
	return acceptCommand("accept-invitation", "Accept an invitation: set a password and become active", "/api/v1/invitations/accept", true)
}

func newResetPassword() *cobra.Command {
	return acceptCommand("reset-password", "Set a new password by the token of a message", "/api/v1/password-reset/accept", false)
}

func acceptCommand(use, short, path string, named bool) *cobra.Command {
	var f clientFlags
	var in control.TokenRequest
	var fromStdin bool
	cmd := &cobra.Command{
		Use: use + " TOKEN", Short: short, Args: exactArgs("TOKEN"),
		Example: `  headgate ` + use + ` hg…_01J… --password-stdin < password`,
		RunE: func(cmd *cobra.Command, args []string) (err error) {
			if args[0] == "" {
				return &usageError{errors.New("give the token of the message")}
			}
			in.Token = args[0]
			if in.Password, err = passwordOf(cmd.InOrStdin(), fromStdin); err != nil {
				return err
			}
			f.token = "none" // the token of the message is all it takes
			c, err := f.open()
			if err != nil {
				return err
			}
			var out control.Accepted
			if err := c.do(cmd.Context(), http.MethodPost, path, nil, in, &out); err != nil {
				return err
			}
			if f.json {
				return printJSON(cmd.OutOrStdout(), out)
			}
			fmt.Fprintf(cmd.OutOrStdout(), "%s may sign in to %s\n", out.Email, out.Slug)
			return nil
		},
	}
	f.register(cmd)
	if named {
		cmd.Flags().StringVar(&in.Name, "name", "", "name of the person (empty: that of the invitation)")
	}
	cmd.Flags().BoolVar(&fromStdin, "password-stdin", false, "read the password from standard input, its first line")
	return cmd
}
