// Command headgate is a multi-tenant OTLP gateway in front of ClickHouse. See the README, or run headgate --help.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"
	"time"
	_ "time/tzdata" // tenants' time zones, where the machine has none

	"github.com/spf13/cobra"
)

// version is set at build time by -ldflags -X main.version=….
var version = "dev"

// timeNow is the clock of all that is decided or counted by the time of day. Tests of the process put one here whose hour does not end.
var timeNow = time.Now

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx, os.Args[1:], os.Stdin, os.Stdout, os.Stderr)
	stop()
	if err != nil {
		os.Exit(1)
	}
}

// run executes one command line. It prints the error itself, so that tests see what a user sees.
func run(ctx context.Context, args []string, stdin io.Reader, stdout, stderr io.Writer) error {
	root := newRoot()
	root.SetArgs(args)
	root.SetIn(stdin)
	root.SetOut(stdout)
	root.SetErr(stderr)
	cmd, err := root.ExecuteContextC(ctx)
	if err != nil {
		fmt.Fprintf(stderr, "headgate: %v\n", err)
		var usage *usageError
		if errors.As(err, &usage) {
			fmt.Fprintf(stderr, "Run '%s --help' for its flags and examples.\n", cmd.CommandPath())
		}
	}
	return err
}

// usageError is a command line that cannot be run as it stands.
type usageError struct{ error }

func newRoot() *cobra.Command {
	root := &cobra.Command{
		Use:   "headgate",
		Short: "A multi-tenant OTLP gateway in front of ClickHouse",
		Long: `headgate receives OpenTelemetry logs, traces and metrics from many tenants, authenticates and meters them,
enforces each tenant's daily byte limit, stores the data in ClickHouse and answers each tenant's queries with
that tenant's rows alone.

Start a server with an embedded ClickHouse engine and try it:

  headgate serve --data-dir ./data
  headgate tenant create acme --daily-bytes 10GiB
  headgate key create --tenant acme --scope ingest --scope query
  headgate query --key hg_… 'logs | where severity >= "error" | summarize count() by service'
  headgate usage --tenant acme

Every flag can be set by an environment variable: --data-dir by HEADGATE_DATA_DIR, and so on.`,
		Version:       version,
		SilenceErrors: true,
		SilenceUsage:  true,
		PersistentPreRunE: func(cmd *cobra.Command, _ []string) error {
			return fromEnvironment(cmd)
		},
	}
	root.SetFlagErrorFunc(func(_ *cobra.Command, err error) error { return &usageError{err} })
	root.CompletionOptions.HiddenDefaultCmd = true
	usage := newUsage()
	usage.AddCommand(newUsageVerify())
	root.AddCommand(newServe(), newEngine(), newTenant(), newKey(), newQuery(), newKeeping(savedQueries), newKeeping(dashboards), usage, newLimits(), newDecisions(),
		newUser(), newSignIn(), newSignOut(), newAcceptInvitation(), newResetPassword(),
		newAlerts(), newWebhook(), newWAL(), newBackup(), newRestore(), newRole(), newTeam(), newGrant(), newAccess(), newAudit(),
		newDoctor(), newClickHouseSetup())
	return root
}
