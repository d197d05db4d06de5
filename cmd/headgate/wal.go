package main

import (
	"encoding/json"
	"fmt"
	"io"
	"path/filepath"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/headgate-io/headgate/storage"
)

func newWAL() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "wal",
		Short: "Look into the log of acked requests",
		Long: `The log in <data-dir>/wal holds every acked request until ClickHouse and the usage ledger have it. These commands
read it; they may run beside headgate serve. docs/durability.md describes what is promised.`,
	}
	cmd.AddCommand(newWALInspect(), newWALVerify(), newWALRejected(), newWALReplay())
	return cmd
}

// walFlags are the flags of all wal commands.
type walFlags struct {
	dataDir string
	json    bool
}

func (f *walFlags) register(cmd *cobra.Command) {
	cmd.Flags().StringVar(&f.dataDir, "data-dir", "./data", "data directory of the server")
	cmd.Flags().BoolVar(&f.json, "json", false, "print JSON, for scripts")
}

func (f *walFlags) dir() string { return filepath.Join(f.dataDir, walDir) }

func newWALRejected() *cobra.Command {
	var f walFlags
	cmd := &cobra.Command{
		Use:   "rejected",
		Short: "List acked requests that ClickHouse refuses",
		Example: `  headgate wal rejected
  headgate wal rejected --json | jq -r .reason`,
		Args: exactArgs(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			list, err := storage.ListRejected(f.dir())
			if err != nil {
				return err
			}
			return printRejected(cmd.OutOrStdout(), list, f.json)
		},
	}
	f.register(cmd)
	return cmd
}

func printRejected(out io.Writer, list []storage.Rejected, asJSON bool) error {
	if asJSON {
		enc := json.NewEncoder(out)
		for _, r := range list {
			if err := enc.Encode(r); err != nil {
				return err
			}
		}
		return nil
	}
	if len(list) == 0 {
		_, err := fmt.Fprintln(out, "No request was set aside.")
		return err
	}
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "NAME\tTENANT ID\tSIGNAL\tROWS\tRECEIVED\tREPLAY\tREASON")
	for _, r := range list {
		replay := ""
		if r.Waiting {
			replay = "asked for"
		}
		fmt.Fprintf(w, "%s\t%s\t%s\t%d\t%s\t%s\t%.100s\n", r.Name, r.Tenant, r.Signal, r.Rows, r.At.Format(time.RFC3339), replay, r.Reason)
	}
	return w.Flush()
}

func newWALReplay() *cobra.Command {
	var f walFlags
	var all bool
	cmd := &cobra.Command{
		Use:   "replay NAME...",
		Short: "Try requests again that ClickHouse has refused",
		Long: `Replay has requests that were set aside tried again, once what they were refused for is mended. A running
headgate serve does so within seconds, another one when it starts. They are not billed again.`,
		Example: `  headgate wal replay 0000000300001000
  headgate wal replay --all`,
		Args: cobra.ArbitraryArgs,
		RunE: func(cmd *cobra.Command, names []string) error {
			if all == (len(names) > 0) {
				return &usageError{fmt.Errorf("name the requests to replay, or --all; 'headgate wal rejected' lists them")}
			}
			if all {
				list, err := storage.ListRejected(f.dir())
				if err != nil {
					return err
				}
				for _, r := range list {
					if !r.Waiting {
						names = append(names, r.Name)
					}
				}
			}
			for _, name := range names {
				if err := storage.Replay(f.dir(), name); err != nil {
					return err
				}
				fmt.Fprintf(cmd.OutOrStdout(), "%s will be tried again\n", name)
			}
			return nil
		},
	}
	f.register(cmd)
	cmd.Flags().BoolVar(&all, "all", false, "replay every request that was set aside")
	return cmd
}
