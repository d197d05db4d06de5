package main

import (
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/oklog/ulid/v2"
	"github.com/spf13/cobra"

	"github.com/headgate-io/headgate/control"
	"github.com/headgate-io/headgate/metering"
)

func usageCorrect(f *clientFlags) *cobra.Command {
	var in control.CorrectionRequest
	var hour, signal, bytes string
	cmd := &cobra.Command{
		Use:   "correct --tenant NAME --hour HOUR --signal SIGNAL --bytes N --reason TEXT",
		Short: "Add to what is billed for an hour, or take away from it",
		Long: `Correct records a correction of an hour. A sealed hour stays as it is: the correction is a row of its own, dated in the
first hour that is still open, and invoiced with that. It never changes either; a mistake is corrected by another one. No
correction takes an hour below zero. The audit keeps who made it and why.

If no answer comes, repeat the command with the --id that it told: it is then recorded once.`,
		Example: `  headgate usage correct --tenant acme --hour 2026-10-03T14:00Z --signal logs --key 01J… --bytes -2GiB --records -4000 --reason "sent twice by our gateway"`,
		Args:    exactArgs(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			var err error
			in.Signal = metering.Signal(signal)
			if in.Tenant == "" || hour == "" || signal == "" || in.Reason == "" {
				return &usageError{errors.New("give --tenant, --hour, --signal and --reason, and --bytes or --records")}
			}
			if in.Hour, err = parseHour(hour); err != nil {
				return &usageError{err}
			}
			if in.BilledBytes, err = parseSignedBytes(bytes); err != nil {
				return &usageError{fmt.Errorf("--bytes: %w", err)}
			}
			c, err := f.open()
			if err != nil {
				return err
			}
			if in.ID == "" {
				in.ID = ulid.Make().String()
			}
			var made metering.Correction
			if err := c.do(cmd.Context(), http.MethodPost, usagePath+"/corrections", nil, in, &made); err != nil {
				var answer *apiError
				if !errors.As(err, &answer) || answer.Status >= 500 {
					return fmt.Errorf("%w; to try again and record it once, add --id %s", err, in.ID)
				}
				return err
			}
			if f.json {
				return printJSON(cmd.OutOrStdout(), made)
			}
			fmt.Fprintf(cmd.OutOrStdout(), "Correction %s of %s: %s bytes, %s records for %s, invoiced with %s.\n", made.ID, made.Tenant,
				count(made.BilledBytes), count(made.Records), day(&made.Corrects), day(&made.Hour))
			return nil
		},
	}
	cmd.Flags().StringVar(&in.Tenant, "tenant", "", "tenant, by name or id")
	cmd.Flags().StringVar(&hour, "hour", "", "first moment of the hour that is corrected, e.g. 2026-10-03T14:00Z")
	cmd.Flags().StringVar(&signal, "signal", "", "logs, traces, metrics or profiles")
	cmd.Flags().StringVar(&in.Key, "key", "", "id of the key (empty: no key's)")
	cmd.Flags().StringVar(&bytes, "bytes", "0", "billed bytes to add, or with a minus to take away, e.g. -2GiB")
	cmd.Flags().Int64Var(&in.Records, "records", 0, "records to add, or with a minus to take away")
	cmd.Flags().StringVar(&in.Reason, "reason", "", "why; the tenant reads it")
	cmd.Flags().StringVar(&in.ID, "id", "", "id of the correction, of which one is recorded (empty: a new one)")
	return cmd
}

func parseHour(s string) (time.Time, error) {
	for _, layout := range []string{time.RFC3339, "2006-01-02T15:04Z07:00", "2006-01-02T15Z07:00"} {
		if t, err := time.Parse(layout, s); err == nil {
			return t.UTC(), nil
		}
	}
	return time.Time{}, fmt.Errorf("--hour %q: want the first moment of an hour, e.g. 2026-10-03T14:00Z", s)
}

func parseSignedBytes(s string) (int64, error) {
	rest, minus := strings.CutPrefix(s, "-")
	n, err := parseBytes(rest)
	if minus {
		n = -n
	}
	return n, err
}

func usageReplicas(f *clientFlags) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "replicas",
		Short: "List the processes whose logs the seal of the usage waits for",
		Long: `Replicas lists every process that may hold receipts which are not in the ledger, with the hour up to which it lets usage be
sealed. One that was killed holds the seal until it runs again with its log. If its log is lost, forget it: what it had
acknowledged and not stored is lost with the log, and hours are sealed without it.`,
		Example: `  headgate usage replicas
  headgate usage replicas forget 01J…`,
		Args: exactArgs(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := f.open()
			if err != nil {
				return err
			}
			var list control.Replicas
			if err := c.do(cmd.Context(), http.MethodGet, usagePath+"/replicas", nil, nil, &list); err != nil {
				return err
			}
			if f.json {
				return printJSON(cmd.OutOrStdout(), list)
			}
			t := newTable("LOG", "ADDRESS", "STARTED (UTC)", "SEEN (UTC)", "OLDEST PENDING (UTC)", "SEAL UP TO (UTC)")
			for _, r := range list.Replicas {
				oldest := "-"
				if !r.OldestPending.IsZero() {
					oldest = day(&r.OldestPending)
				}
				t.add(oneLine(r.Log), oneLine(r.Address), day(&r.StartedAt), day(&r.SeenAt), oldest, day(&r.Through))
			}
			t.print(cmd.OutOrStdout())
			return nil
		},
	}
	cmd.AddCommand(&cobra.Command{
		Use: "forget LOG", Short: "Seal hours without a process whose log is lost", Args: exactArgs("LOG"),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := f.open()
			if err != nil {
				return err
			}
			if err := c.do(cmd.Context(), http.MethodDelete, usagePath+"/replicas/"+url.PathEscape(args[0]), nil, nil, nil); err != nil {
				return err
			}
			fmt.Fprintf(cmd.ErrOrStderr(), "Forgot %s. If it is alive, it is back within seconds.\n", oneLine(args[0]))
			return nil
		},
	})
	return cmd
}
