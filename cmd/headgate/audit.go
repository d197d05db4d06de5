package main

import (
	"cmp"
	"fmt"
	"io"
	"net/http"
	"os"

	"github.com/spf13/cobra"

	"github.com/headgate-io/headgate/control"
)

func newAudit() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "audit",
		Short: "Read, export and verify the audit: who did what, where and when",
		Long: `The audit of each tenant only grows. Each entry holds a hash over itself and the one before, so that a verification finds
what was changed, removed, reordered or added in the database.`,
		Example: `  headgate audit list --tenant acme --action key.
  headgate audit export --tenant acme --from 2026-11-01 --out acme.ndjson
  headgate audit verify`,
	}
	cmd.AddCommand(newAuditList(), newAuditExport(), newAuditVerify())
	return cmd
}

// auditFlags select entries.
type auditFlags struct{ tenant, actor, action, target, outcome, from, to string }

func (f *auditFlags) register(cmd *cobra.Command) {
	p := cmd.Flags()
	p.StringVar(&f.tenant, "tenant", "", "this tenant only, by name or id")
	p.StringVar(&f.actor, "actor", "", "by this actor only: operator, key:ID, user:ID or system")
	p.StringVar(&f.action, "action", "", "this action only, e.g. key.create, or all that begin with it: key.")
	p.StringVar(&f.target, "target", "", "on this only: the id of a tenant, key, user …")
	p.StringVar(&f.outcome, "outcome", "", "ok or refused")
	p.StringVar(&f.from, "from", "", "first moment, RFC 3339 or a date")
	p.StringVar(&f.to, "to", "", "end, exclusive (empty: now)")
}

func (f *auditFlags) values() map[string]string {
	return map[string]string{"tenant": f.tenant, "actor": f.actor, "action": f.action, "target": f.target, "outcome": f.outcome, "from": f.from, "to": f.to}
}

func newAuditList() *cobra.Command {
	var f clientFlags
	var filter auditFlags
	cmd := &cobra.Command{
		Use:   "list",
		Short: "Print entries, newest first",
		Example: `  headgate audit list --tenant acme
  headgate audit list --actor operator --action tenant. --outcome refused --json`,
		Args: exactArgs(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			return showList(cmd, &f, "/api/v1/audit", "entries", given(filter.values()),
				newTable("AT (UTC)", "TENANT", "ACTOR", "FROM", "ACTION", "TARGET", "OUTCOME"), func(e control.AuditEntry) []string {
					return []string{e.At.UTC().Format("2006-01-02 15:04:05"), cmp.Or(e.Tenant, "-"), oneLine(e.Actor), oneLine(cmp.Or(e.Address, "-")), e.Action,
						oneLine(cmp.Or(e.Target, "-")), e.Outcome}
				})
		},
	}
	f.register(cmd)
	filter.register(cmd)
	return cmd
}

func newAuditExport() *cobra.Command {
	var f clientFlags
	var filter auditFlags
	var out string
	cmd := &cobra.Command{
		Use:   "export",
		Short: "Write entries as NDJSON, oldest first",
		Long: `Export writes one JSON object per line. That it was done is an entry of its own, and the last line. A file appears
whole or not at all.`,
		Example: `  headgate audit export --tenant acme > acme.ndjson
  headgate audit export --from 2026-11-01 --to 2026-12-01 --out november.ndjson`,
		Args: exactArgs(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if _, err := os.Lstat(out); err == nil {
				return fmt.Errorf("%s is there already, and is never written over: name another file", out)
			}
			c, err := f.open()
			if err != nil {
				return err
			}
			resp, err := c.send(cmd.Context(), http.MethodGet, "/api/v1/audit/export", given(filter.values()), nil)
			if err != nil {
				return err
			}
			defer resp.Body.Close()
			export := func(w io.Writer) error {
				if _, err := io.Copy(w, resp.Body); err != nil {
					return fmt.Errorf("the export is not complete: %w", err)
				}
				return nil
			}
			if out == "" {
				return export(cmd.OutOrStdout())
			}
			return writeWhole(out, export)
		},
	}
	f.register(cmd)
	filter.register(cmd)
	cmd.Flags().StringVar(&out, "out", "", "file to write, which must not exist (empty: standard output)")
	return cmd
}

func newAuditVerify() *cobra.Command {
	var f clientFlags
	var in control.AuditVerify
	cmd := &cobra.Command{
		Use:   "verify",
		Short: "Prove that the audit is what was written",
		Long: `Verify reads the chains from their beginning and names every entry that was changed, removed, reordered or added; it ends with
an error if there is one. Whoever can write the whole database can also write a whole chain again: against that, keep the
anchor that is printed somewhere else and give it to a later verification.`,
		Example: `  headgate audit verify
  headgate audit verify --tenant acme --anchor 120:9f86d081884c7d65…`,
		Args: exactArgs(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := f.open()
			if err != nil {
				return err
			}
			var got control.AuditVerified
			if err := c.do(cmd.Context(), http.MethodPost, "/api/v1/audit/verify", nil, in, &got); err != nil {
				return err
			}
			w := cmd.OutOrStdout()
			if f.json {
				err = printJSON(w, got)
			} else {
				printVerified(w, got)
			}
			if err == nil && !got.OK {
				err = fmt.Errorf("%d of %d chains of the audit are not what was written", len(got.Broken), got.Chains)
			}
			return err
		},
	}
	f.register(cmd)
	cmd.Flags().StringVar(&in.Tenant, "tenant", "", "this tenant only, by name or id")
	cmd.Flags().StringVar(&in.Anchor, "anchor", "", "what an earlier verification of the tenant printed as its anchor")
	return cmd
}

func printVerified(w io.Writer, got control.AuditVerified) {
	if len(got.Broken) > 0 {
		t := newTable("TENANT", "ENTRY", "FOUND", "WHAT")
		for _, c := range got.Broken {
			for _, f := range c.Findings {
				t.add(cmp.Or(c.Tenant, "-"), fmt.Sprint(f.Seq), f.Kind, oneLine(f.Detail))
			}
			if c.More > 0 {
				t.add(cmp.Or(c.Tenant, "-"), "", "", fmt.Sprintf("and %d more", c.More))
			}
		}
		t.print(w)
	}
	fmt.Fprintf(w, "%d entries in %d chains read, %d chains broken\n", got.Entries, got.Chains, len(got.Broken))
	if got.Chain != nil && got.Chain.Anchor != "" {
		fmt.Fprintf(w, "anchor %s\n", got.Chain.Anchor)
	}
}
