package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net/url"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"github.com/headgate-io/headgate/auth"
	"github.com/headgate-io/headgate/internal/store"
	"github.com/headgate-io/headgate/metering"
)

// secretFiles belong to a state database and are in no backup of it.
var secretFiles = []string{auth.PepperFile, auth.OperatorFile, metering.SignerFile}

func newBackup() *cobra.Command {
	var dataDir, secretsDir, where, out string
	cmd := &cobra.Command{
		Use: "backup --out FILE", Short: "Copy the state database to a file, also while headgate runs", Args: exactArgs(),
		Long: `Backup writes tenants, users, keys, limits, audit and the usage ledger, as they are at one moment, to FILE, and checks the
copy. headgate may run meanwhile. The secret files are not in it: without ` + auth.PepperFile + ` no key and no password of the backup opens
anything. Telemetry, in ClickHouse, and the log of acked requests are not in it either. A state database in PostgreSQL is
backed up by pg_dump.`,
		Example: `  headgate backup --data-dir ./data --out headgate-2026-11-22.backup
  headgate restore --data-dir ./restored --in headgate-2026-11-22.backup`,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if out == "" {
				return &usageError{errors.New("name the file to write: --out FILE")}
			}
			if where != "" {
				return fmt.Errorf("the state is in PostgreSQL, whose own tool copies it: %s", dumpCommand(where, out))
			}
			if err := store.Backup(cmd.Context(), filepath.Join(dataDir, stateFile), out); err != nil {
				return explainBackup(err, out)
			}
			fmt.Fprintf(cmd.OutOrStdout(), "%s: the state database, checked\n", out)
			tellSecrets(cmd.ErrOrStderr(), cmp.Or(secretsDir, dataDir))
			return nil
		},
	}
	cmd.Flags().StringVar(&dataDir, "data-dir", "./data", "data directory of the server")
	cmd.Flags().StringVar(&secretsDir, "secrets-dir", "", "directory of the secret files (empty: the data directory)")
	cmd.Flags().StringVar(&where, "store", "", "state database, as serve has it (empty: SQLite in the data directory)")
	cmd.Flags().StringVar(&out, "out", "", "file to write; there must be none yet")
	return cmd
}

// stateFile is the SQLite database in the data directory.
const stateFile = "headgate.db"

func explainBackup(err error, path string) error {
	if errors.Is(err, os.ErrExist) {
		return fmt.Errorf("%s is there already, and is never written over: name another file", path)
	}
	return err
}

func tellSecrets(w io.Writer, dir string) {
	fmt.Fprintln(w, "KEEP THESE SECRET FILES TOO, elsewhere than the backup. Without them it opens nothing:")
	for _, name := range secretFiles {
		fmt.Fprintln(w, "  "+filepath.Join(dir, name))
	}
}

// dumpCommand is what backs up a PostgreSQL database. SECURITY: it has no password: what is printed is logged.
func dumpCommand(where, out string) string {
	u, err := url.Parse(where)
	if err != nil || u.Host == "" {
		return "pg_dump --format=custom --file=" + quoteShell(out) + " 'postgres://…'"
	}
	if u.User != nil {
		u.User = url.User(u.User.Username())
	}
	q := u.Query()
	q.Del("password")
	q.Del("sslpassword") // of the key file
	u.RawQuery = q.Encode()
	return "pg_dump --format=custom --file=" + quoteShell(out) + " " + quoteShell(u.String())
}

func quoteShell(s string) string { return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'" }

func newRestore() *cobra.Command {
	var dataDir, in string
	cmd := &cobra.Command{
		Use: "restore --in FILE", Short: "Put a backup of the state database into a new data directory", Args: exactArgs(),
		Long: `Restore checks a backup and puts it into a data directory that has no state database yet; it never replaces one. Put the
secret files that belong to it into the directory as well, before headgate serve.

What was changed after the backup is gone: keys that were revoked since then work again, and usage of requests whose log is lost is
in no bill. See "Backup and restore" in docs/administration.md.`,
		Example: `  headgate restore --data-dir ./restored --in headgate-2026-11-22.backup
  cp /safe/key.pepper /safe/admin.token /safe/usage-export.key ./restored/`,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if in == "" {
				return &usageError{errors.New("name the backup: --in FILE")}
			}
			return restore(cmd.Context(), in, dataDir, cmd.OutOrStdout(), cmd.ErrOrStderr())
		},
	}
	cmd.Flags().StringVar(&dataDir, "data-dir", "./data", "data directory to make")
	cmd.Flags().StringVar(&in, "in", "", "backup to restore")
	return cmd
}

func restore(ctx context.Context, in, dataDir string, out, notes io.Writer) (err error) {
	dir, err := openDataDir(dataDir) // refused while a headgate runs in it
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, dir.close()) }()
	for _, name := range []string{stateFile, stateFile + "-wal", stateFile + "-shm", stateFile + "-journal"} {
		if _, err := os.Lstat(dir.file(name)); err == nil {
			return fmt.Errorf("%s is there already, and is never replaced: restore into another directory", dir.file(name))
		}
	}
	if err := store.Restore(ctx, in, dir.file(stateFile)); err != nil {
		return explainBackup(err, dir.file(stateFile))
	}
	fmt.Fprintf(out, "%s: restored and checked\n", dir.file(stateFile))
	fmt.Fprintln(notes, "PUT THE SECRET FILES THAT BELONG TO IT THERE before headgate serve:")
	for _, name := range secretFiles {
		if _, err := os.Stat(dir.file(name)); err != nil {
			fmt.Fprintln(notes, "  missing: "+dir.file(name))
		}
	}
	return nil
}
