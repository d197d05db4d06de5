package main

import (
	"fmt"
	"net/http"
	"net/url"
	"time"

	"github.com/spf13/cobra"

	"github.com/headgate-io/headgate/control"
)

func keyRotate(f *clientFlags) *cobra.Command {
	overlap := "24h"
	cmd := &cobra.Command{
		Use: "rotate ID", Short: "Give a key another secret and print it, once", Args: exactArgs("ID"),
		Long: `Rotate prints the key's new text once. The old one works until the overlap ends, up to 30d; with 0 it ends within a second. The
list of keys says when each was last used.`,
		Example: `  headgate key rotate 01J… --overlap 24h
  headgate key rotate 01J… --overlap 0`,
		RunE: func(cmd *cobra.Command, args []string) error {
			age := time.Duration(0)
			if overlap != "0" {
				var err error
				if age, err = parseAge(overlap); err != nil {
					return &usageError{fmt.Errorf("--overlap: %w", err)}
				}
			}
			c, err := f.open()
			if err != nil {
				return err
			}
			var key control.NewKey
			path := "/api/v1/keys/" + url.PathEscape(keyID(args[0])) + "/rotate"
			if err := c.do(cmd.Context(), http.MethodPost, path, nil, control.Rotation{Overlap: age.String()}, &key); err != nil {
				return err
			}
			if f.json {
				return printJSON(cmd.OutOrStdout(), key)
			}
			fmt.Fprintln(cmd.OutOrStdout(), key.Text)
			until := "no more"
			if key.OldSecret != nil {
				until = "until " + day(&key.OldSecret.ValidUntil) + " UTC"
			}
			fmt.Fprintf(cmd.ErrOrStderr(), "Key %s of tenant %s. It is shown only now; the one before works %s.\n", key.ID, key.Tenant, until)
			return nil
		},
	}
	cmd.Flags().StringVar(&overlap, "overlap", overlap, "how long the old text goes on working, e.g. 24h or 7d, up to 30d; 0 ends it")
	return cmd
}
