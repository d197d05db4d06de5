package main

import (
	"cmp"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/headgate-io/headgate/control"
)

func newKey() *cobra.Command {
	var f clientFlags
	cmd := &cobra.Command{
		Use:   "key",
		Short: "Create, list and revoke API keys",
		Example: `  headgate key create --tenant acme --scope ingest
  headgate key create --tenant acme --scope query --expires 90d
  headgate key list --tenant acme
  headgate key revoke 01J…`,
	}
	f.register(cmd)
	cmd.AddCommand(keyCreate(&f), keyList(&f), keyRevoke(&f))
	return cmd
}

func keyCreate(f *clientFlags) *cobra.Command {
	var tenant, expires string
	var scopes, origins []string
	var daily byteSize
	cmd := &cobra.Command{
		Use: "create", Short: "Create a key and print it, once", Args: exactArgs(),
		Long: `Create prints the key once; headgate keeps only a keyed hash of it and cannot show it again.

Scopes: ingest (send OTLP), query (read the tenant's telemetry), usage (read its metered bytes), admin (manage its keys).`,
		Example: `  headgate key create --tenant acme --scope ingest --daily-bytes 1GiB
  headgate key create --tenant acme --scope ingest --cors-origin https://app.example
  headgate key create --tenant acme --scope query --scope usage --expires 90d --json`,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if tenant == "" || len(scopes) == 0 {
				return &usageError{fmt.Errorf("give the tenant with --tenant and at least one --scope (ingest, query, usage, admin)")}
			}
			in := map[string]any{"tenant": tenant, "scopes": scopes}
			if len(origins) > 0 {
				in["cors_origins"] = origins
			}
			if daily.bytes != nil {
				in["daily_bytes"] = *daily.bytes
			}
			if expires != "" {
				age, err := parseAge(expires)
				if err != nil {
					return &usageError{fmt.Errorf("--expires: %w", err)}
				}
				in["expires_at"] = time.Now().Add(age).UTC().Truncate(time.Second)
			}
			c, err := f.open()
			if err != nil {
				return err
			}
			var key control.NewKey
			if err := c.do(cmd.Context(), http.MethodPost, "/api/v1/keys", nil, in, &key); err != nil {
				return err
			}
			if f.json {
				return printJSON(cmd.OutOrStdout(), key)
			}
			fmt.Fprintln(cmd.OutOrStdout(), key.Text)
			fmt.Fprintf(cmd.ErrOrStderr(), "Key %s of tenant %s (%s). It is shown only now: keep it where its user finds it.\n",
				key.ID, key.Tenant, strings.Join(key.Scopes, ", "))
			return nil
		},
	}
	cmd.Flags().StringVar(&tenant, "tenant", "", "tenant that the key belongs to")
	cmd.Flags().StringArrayVar(&scopes, "scope", nil, "what the key may do: ingest, query, usage or admin; may be given more than once")
	cmd.Flags().StringVar(&expires, "expires", "", "how long the key works, e.g. 90d (empty: until it is revoked)")
	cmd.Flags().StringArrayVar(&origins, "cors-origin", nil, "origin that browsers may send from with the key, https://host[:port], or * for any; may be given more than once")
	cmd.Flags().Var(&daily, "daily-bytes", "billed bytes per UTC day through this key, besides the tenant's own limit")
	return cmd
}

func keyList(f *clientFlags) *cobra.Command {
	var tenant string
	cmd := &cobra.Command{
		Use: "list", Short: "List keys, without their secrets", Args: exactArgs(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := f.open()
			if err != nil {
				return err
			}
			query := url.Values{}
			if tenant != "" {
				query.Set("tenant", tenant)
			}
			keys, err := listAll[control.Key](cmd.Context(), c, "/api/v1/keys", "keys", query)
			if err != nil {
				return err
			}
			if f.json {
				return printJSON(cmd.OutOrStdout(), map[string]any{"keys": keys})
			}
			out := newTable("ID", "TENANT", "SCOPES", "DAILY LIMIT", "ORIGINS", "CREATED", "EXPIRES", "STATUS").alignRight("DAILY LIMIT")
			for _, k := range keys {
				limit := "-"
				if k.DailyBytes != nil {
					limit = formatBytes(*k.DailyBytes)
				}
				out.add(k.ID, k.Tenant, strings.Join(k.Scopes, ","), limit, cmp.Or(strings.Join(k.CORSOrigins, ","), "-"), day(&k.CreatedAt), day(k.ExpiresAt), k.Status)
			}
			out.print(cmd.OutOrStdout())
			return nil
		},
	}
	cmd.Flags().StringVar(&tenant, "tenant", "", "list this tenant's keys only")
	return cmd
}

func day(t *time.Time) string {
	if t == nil {
		return "-"
	}
	return t.UTC().Format("2006-01-02 15:04")
}

func keyRevoke(f *clientFlags) *cobra.Command {
	return &cobra.Command{
		Use: "revoke ID", Short: "Refuse a key within a second, for ever", Args: exactArgs("ID"),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := f.open()
			if err != nil {
				return err
			}
			// A whole key is taken too: it is what people have at hand when one has leaked.
			id := args[0]
			if parts := strings.Split(id, "_"); len(parts) == 4 && parts[0] == "hg" {
				id = parts[1]
			}
			if err := c.do(cmd.Context(), http.MethodDelete, "/api/v1/keys/"+url.PathEscape(id), nil, nil, nil); err != nil {
				return err
			}
			if f.json {
				return printJSON(cmd.OutOrStdout(), map[string]any{"revoked": id})
			}
			fmt.Fprintf(cmd.OutOrStdout(), "revoked %s\n", id)
			return nil
		},
	}
}
