package main

import (
	"errors"
	"fmt"
	"net/http"

	"github.com/spf13/cobra"

	"github.com/headgate-io/headgate/control"
)

func newSignIn() *cobra.Command {
	var f clientFlags
	var in control.SignInRequest
	var fromStdin bool
	cmd := &cobra.Command{
		Use: "sign-in", Short: "Begin a session and print its token, once", Args: exactArgs(),
		Long: `Sign-in prints the token of a new session, which --token and HEADGATE_TOKEN take in all other commands. It ends
after twelve hours without use, after fourteen days in any case, and by headgate sign-out.`,
		Example: `  export HEADGATE_TOKEN=$(headgate sign-in --slug acme --email ann@example.com --password-stdin < password)
  headgate user list && headgate sign-out`,
		RunE: func(cmd *cobra.Command, _ []string) (err error) {
			if in.Slug == "" || in.Email == "" {
				return &usageError{errors.New("give the organization with --slug and the address with --email")}
			}
			if in.Password, err = passwordOf(cmd.InOrStdin(), fromStdin); err != nil {
				return err
			}
			f.token = "none" // signing in takes no credential
			c, err := f.open()
			if err != nil {
				return err
			}
			var out control.SignedIn
			if err := c.do(cmd.Context(), http.MethodPost, "/api/v1/sign-in", nil, in, &out); err != nil {
				return err
			}
			if f.json {
				return printJSON(cmd.OutOrStdout(), out)
			}
			fmt.Fprintln(cmd.OutOrStdout(), out.Token)
			if out.MustEnrol {
				fmt.Fprintln(cmd.ErrOrStderr(), "The organization asks for a second factor: enrol one in the browser, the session does nothing else.")
			}
			return nil
		},
	}
	f.register(cmd)
	cmd.Flags().StringVar(&in.Slug, "slug", "", "organization")
	cmd.Flags().StringVar(&in.Email, "email", "", "e-mail address")
	cmd.Flags().StringVar(&in.Code, "code", "", "code of the authenticator, or a recovery code")
	cmd.Flags().BoolVar(&fromStdin, "password-stdin", false, "read the password from standard input, its first line")
	return cmd
}

func newSignOut() *cobra.Command {
	var f clientFlags
	var everywhere bool
	cmd := &cobra.Command{
		Use: "sign-out", Short: "End the session of --token, or all of its user", Args: exactArgs(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := f.open()
			if err != nil {
				return err
			}
			path := "/api/v1/sign-out"
			if everywhere {
				path = "/api/v1/sign-out-everywhere"
			}
			return c.do(cmd.Context(), http.MethodPost, path, nil, nil, nil)
		},
	}
	f.register(cmd)
	cmd.Flags().BoolVar(&everywhere, "everywhere", false, "end all sessions of the user")
	return cmd
}
