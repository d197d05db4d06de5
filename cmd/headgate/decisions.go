package main

import (
	"cmp"
	"net/url"

	"github.com/spf13/cobra"

	"github.com/headgate-io/headgate/metering"
)

func newDecisions() *cobra.Command {
	var f clientFlags
	var tenant, key, from, to, reason string
	cmd := &cobra.Command{
		Use:   "decisions",
		Short: "Print what was refused or discarded, and why",
		Long: `Decisions prints what was not accepted per hour, signal, key and reason, the newest hour first: how many requests and
records, when first and last, and the answer that the last one got. Reasons are stable ids: those of limits, and
dropped-at-limit for what a tenant's policy drop has discarded, and unknown-fields for fields newer than this headgate, which
RECORDS counts then.

With --key it asks as the owner of an API key: a key with the scope usage sees its tenant's, one with the scope ingest its own.`,
		Example: `  headgate decisions
  headgate decisions --tenant acme --from 2026-11-01 --reason dropped-at-limit
  headgate decisions --key $KEY`,
		Args: exactArgs(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if key != "" {
				f.token = key
			}
			return showList(cmd, &f, "/api/v1/decisions", "decisions", given(map[string]string{"tenant": tenant, "from": from, "to": to, "reason": reason}),
				newTable("HOUR (UTC)", "TENANT", "SIGNAL", "KEY", "REASON", "REQUESTS", "RECORDS", "BYTES", "FIRST", "LAST", "LAST ANSWER").
					alignRight("REQUESTS", "RECORDS", "BYTES"), func(r metering.RefusalCount) []string {
					return []string{day(&r.Hour), oneLine(cmp.Or(r.Tenant, r.TenantID)), r.Signal, oneLine(r.Key), string(r.Reason), count(r.Requests), count(r.Records),
						count(r.Bytes), r.FirstAt.UTC().Format("15:04:05"), r.LastAt.UTC().Format("15:04:05"), oneLine(cmp.Or(r.Text, "-"))}
				})
		},
	}
	f.register(cmd)
	cmd.Flags().StringVar(&tenant, "tenant", "", "this tenant only")
	cmd.Flags().StringVar(&key, "key", "", "API key to ask with")
	cmd.Flags().StringVar(&from, "from", "", "first hour, RFC 3339 or a date (empty: all that is kept, 90 days)")
	cmd.Flags().StringVar(&to, "to", "", "end, exclusive (empty: now)")
	cmd.Flags().StringVar(&reason, "reason", "", "this reason only")
	return cmd
}

// given returns the query parameters that are set.
func given(values map[string]string) url.Values {
	out := url.Values{}
	for name, v := range values {
		if v != "" {
			out.Set(name, v)
		}
	}
	return out
}
