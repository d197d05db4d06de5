package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"time"

	"github.com/spf13/cobra"

	"github.com/headgate-io/headgate/control"
)

// deletionReached is control.Deleter's Reached; tests set it.
var deletionReached func(point string)

func tenantDelete(f *clientFlags) *cobra.Command {
	var confirm string
	var yes, wait bool
	cmd := &cobra.Command{
		Use: "delete NAME", Short: "Delete a disabled tenant with all its data, for ever", Args: exactArgs("NAME"),
		Long: `Delete removes a tenant's telemetry, keys, users and settings for ever, and returns when a count over every table has
found no row left. It goes on without this command, and through restarts of headgate and ClickHouse: run it again, or
tenant deletion, to see how far it is. The usage ledger is kept, for invoices, and so is the audit, in which the certificate of
the deletion is the last entry. The tenant must be disabled and have no active children.`,
		Example: `  headgate tenant disable acme
  headgate tenant delete acme --confirm acme
  headgate tenant delete acme --yes --wait=false && headgate tenant deletion acme`,
		RunE: func(cmd *cobra.Command, args []string) error {
			if yes && confirm == "" {
				confirm = args[0]
			}
			if confirm == "" {
				return &usageError{fmt.Errorf("deleting cannot be undone: repeat the name as --confirm %s, or give --yes", args[0])}
			}
			return deleteTenant(cmd, f, args[0], confirm, wait)
		},
	}
	cmd.Flags().StringVar(&confirm, "confirm", "", "the tenant's name, to confirm")
	cmd.Flags().BoolVar(&yes, "yes", false, "confirm: the name on the command line is the tenant's to delete")
	cmd.Flags().BoolVar(&wait, "wait", true, "return when nothing is left; otherwise as soon as the deletion has begun")
	return cmd
}

func deleteTenant(cmd *cobra.Command, f *clientFlags, name, confirm string, wait bool) error {
	c, err := f.open()
	if err != nil {
		return err
	}
	// The answer does not wait, so that nothing is told of a deletion that is refused.
	resp, err := c.send(cmd.Context(), http.MethodDelete, tenantPath(name), url.Values{"wait": {"false"}}, map[string]any{"confirm": confirm})
	if err != nil {
		return err
	}
	resp.Body.Close()
	fmt.Fprintf(cmd.ErrOrStderr(), "deleting the data of %s …\n", name)
	if resp.StatusCode == http.StatusAccepted {
		place := resp.Header.Get("Location")
		if !wait {
			fmt.Fprintf(cmd.ErrOrStderr(), "It goes on by itself: headgate tenant deletion %s\n", name)
			return nil
		}
		if err := awaitDeletion(cmd.Context(), c, place, cmd.ErrOrStderr()); err != nil {
			return err
		}
	}
	if f.json {
		return printJSON(cmd.OutOrStdout(), map[string]any{"deleted": name})
	}
	fmt.Fprintf(cmd.OutOrStdout(), "deleted %s: no row of it is left\n", name)
	return nil
}

// awaitDeletion asks until the deletion has ended, and tells of its progress: on a terminal in one line. A server that does not
// answer for a while is asked again.
func awaitDeletion(ctx context.Context, c *client, path string, out io.Writer) error {
	const patience = 2 * time.Minute
	line := progressLine{out: out}
	defer line.end()
	tick := time.NewTicker(200 * time.Millisecond)
	defer tick.Stop()
	answered := time.Now()
	for {
		var d control.Deletion
		err := c.do(ctx, http.MethodGet, path, nil, nil, &d)
		var refused *apiError
		switch {
		case err == nil:
			answered = time.Now()
			if d.EndedAt != nil {
				return nil
			}
			line.say(describeDeletion(d))
		case errors.As(err, &refused) && refused.Status < 500, time.Since(answered) > patience:
			return fmt.Errorf("%w; the deletion goes on by itself", err)
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return fmt.Errorf("%w; the deletion goes on by itself", ctx.Err())
		}
	}
}

var deletionSteps = map[string]string{"logs": "1 of 4, waiting for what was sent before", "rows": "2 of 4, removing rows",
	"state": "3 of 4, removing keys and people", "verify": "4 of 4, counting what is left", "done": "done"}

func describeDeletion(d control.Deletion) string {
	text := "step " + deletionSteps[d.Step]
	if d.Doing != "" {
		text += ": " + d.Doing
	}
	if d.Problem != "" {
		text += "; tried again: " + d.Problem
	}
	return text
}

// progressLine overwrites one line of a terminal; anywhere else it writes a line for each change.
type progressLine struct {
	out   io.Writer
	said  string
	drawn bool
}

func (l *progressLine) say(text string) {
	if text == l.said {
		return
	}
	l.said = text
	if file, ok := l.out.(*os.File); ok {
		if info, err := file.Stat(); err == nil && info.Mode()&os.ModeCharDevice != 0 {
			l.drawn = true
			fmt.Fprintf(l.out, "\r\x1b[K%s", text)
			return
		}
	}
	fmt.Fprintln(l.out, text)
}

func (l *progressLine) end() {
	if l.drawn {
		fmt.Fprint(l.out, "\r\x1b[K")
	}
}

func tenantDeletion(f *clientFlags) *cobra.Command {
	return &cobra.Command{
		Use: "deletion NAME-OR-ID", Short: "Show how far the deletion of a tenant is, or its certificate", Args: exactArgs("NAME-OR-ID"),
		Example: `  headgate tenant deletion acme
  headgate tenant deletion acme --json > certificate.json`,
		RunE: func(cmd *cobra.Command, args []string) error {
			d, err := fetch[control.Deletion](cmd, f, tenantPath(args[0], "deletion"))
			if err != nil {
				return err
			}
			out := cmd.OutOrStdout()
			if f.json {
				return printJSON(out, d)
			}
			fmt.Fprintf(out, "tenant %s (%s), asked for by %s at %s\n", d.Tenant, d.TenantID, d.AskedBy, d.AskedAt.Format(time.RFC3339))
			fmt.Fprintln(out, describeDeletion(d))
			removed := newTable("STORE", "TABLE", "ROWS REMOVED").alignRight("ROWS REMOVED")
			for _, r := range d.Removed {
				removed.add(r.Store, r.Table, count(r.Rows))
			}
			removed.print(out)
			for _, log := range d.Away {
				fmt.Fprintf(out, "log %s was away: it drops what it has when it comes back\n", log)
			}
			if c := d.Certificate; c != nil {
				fmt.Fprintf(out, "ended at %s; %d queries found nothing left; certificate SHA-256 %s\n", c.EndedAt.Format(time.RFC3339), len(c.Checks), c.SHA256)
			}
			return nil
		},
	}
}
