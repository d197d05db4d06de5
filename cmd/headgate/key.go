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
		Short: "Create, list, change, rotate and revoke API keys",
		Example: `  headgate key create --tenant acme --scope ingest
  headgate key create --tenant acme --scope query --expires 90d
  headgate key set 01J… --limit requests-per-second=50
  headgate key list --tenant acme
  headgate key rotate 01J… --overlap 24h
  headgate key revoke 01J…`,
	}
	f.register(cmd)
	cmd.AddCommand(keyCreate(&f), keySet(&f), keyList(&f), keyRotate(&f), keyRevoke(&f))
	return cmd
}

func keyCreate(f *clientFlags) *cobra.Command {
	var tenant, expires, name, owner string
	var scopes, origins, certs []string
	var daily byteSize
	var limits limitFlags
	cmd := &cobra.Command{
		Use: "create", Short: "Create a key and print it, once", Args: exactArgs(),
		Long: `Create prints the key once; headgate keeps only a keyed hash of it and cannot show it again.

Scopes: ingest (send OTLP), query (read the tenant's telemetry), usage (read its metered bytes), admin (manage its keys).

` + aboutLimits,
		Example: `  headgate key create --tenant acme --scope ingest --daily-bytes 1GiB
  headgate key create --tenant acme --scope ingest --cors-origin https://app.example
  headgate key create --tenant acme --scope ingest --client-cert spiffe://acme.example/agent
  headgate key create --tenant acme --scope query --scope usage --expires 90d --json`,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if tenant == "" || len(scopes) == 0 {
				return &usageError{fmt.Errorf("give the tenant with --tenant and at least one --scope (ingest, query, usage, admin, descendants)")}
			}
			in := map[string]any{"tenant": tenant, "scopes": scopes}
			if name != "" {
				in["name"] = name
			}
			if owner != "" {
				in["owner_user"] = owner
			}
			if len(origins) > 0 {
				in["cors_origins"] = origins
			}
			if len(certs) > 0 {
				in["client_certificates"] = certs
			}
			if daily.bytes != nil {
				in["daily_bytes"] = *daily.bytes
			}
			if now := limits.change(nil); len(now) > 0 {
				in["limits"] = now
			}
			if expires != "" {
				age, err := parseAge(expires)
				if err != nil {
					return &usageError{fmt.Errorf("--expires: %w", err)}
				}
				in["expires_at"] = timeNow().Add(age).UTC().Truncate(time.Second)
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
	cmd.Flags().StringVar(&name, "name", "", "name of the key, for people")
	cmd.Flags().StringVar(&owner, "owner-user", "", "id of the user of the tenant who answers for the key")
	cmd.Flags().StringArrayVar(&scopes, "scope", nil, "what the key may do: ingest, query, usage, admin, or with query: descendants; may be given more than once")
	cmd.Flags().StringVar(&expires, "expires", "", "how long the key works, e.g. 90d (empty: until it is revoked)")
	cmd.Flags().StringArrayVar(&origins, "cors-origin", nil, "origin that browsers may send from with the key, https://host[:port], or * for any; may be given more than once")
	cmd.Flags().StringArrayVar(&certs, "client-cert", nil, "client certificate without which the key is not taken (see serve --tls-client-ca): a URI that it names, dns:NAME or sha256:HASH; may be given more than once")
	cmd.Flags().Var(&daily, "daily-bytes", "billed bytes per day through this key, besides the tenant's own limit")
	limits.register(cmd)
	return cmd
}

func keyList(f *clientFlags) *cobra.Command {
	var tenant string
	cmd := &cobra.Command{
		Use: "list", Short: "List keys, without their secrets", Args: exactArgs(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			query := url.Values{}
			if tenant != "" {
				query.Set("tenant", tenant)
			}
			return showList(cmd, f, "/api/v1/keys", "keys", query,
				newTable("ID", "TENANT", "NAME", "SCOPES", "DAILY LIMIT", "ORIGINS", "CERTIFICATES", "CREATED", "EXPIRES", "LAST USED", "STATUS").alignRight("DAILY LIMIT"), func(k control.Key) []string {
					limit := "-"
					if k.DailyBytes != nil {
						limit = formatBytes(*k.DailyBytes)
					}
					return []string{k.ID, k.Tenant, cmp.Or(k.Name, "-"), strings.Join(k.Scopes, ","), limit, cmp.Or(strings.Join(k.CORSOrigins, ","), "-"), cmp.Or(strings.Join(k.ClientCertificates, ","), "-"), day(&k.CreatedAt), day(k.ExpiresAt), day(k.LastUsedAt), k.Status}
				})
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

func keySet(f *clientFlags) *cobra.Command {
	var daily byteSize
	var limits limitFlags
	cmd := &cobra.Command{
		Use: "set ID", Short: "Change the limits of a key", Args: exactArgs("ID"),
		Long: "Change the limits of a key within a second; what is not named stays as it is.\n\n" + aboutLimits,
		Example: `  headgate key set 01J… --daily-bytes 1GiB --limit requests-per-second=50
  headgate key set 01J… --limit none`,
		RunE: func(cmd *cobra.Command, args []string) error {
			in := map[string]any{}
			if cmd.Flags().Changed("daily-bytes") {
				in["daily_bytes"] = daily.bytes
			}
			if len(in) == 0 && !limits.given() {
				return &usageError{fmt.Errorf("nothing to set: give at least one of --daily-bytes, --limit")}
			}
			c, err := f.open()
			if err != nil {
				return err
			}
			key, err := edit(cmd.Context(), c, "/api/v1/keys/"+url.PathEscape(keyID(args[0])), func(now control.Key) any {
				if limits.given() {
					in["limits"] = limits.change(now.Limits)
				}
				return in
			})
			if err != nil {
				return err
			}
			if f.json {
				return printJSON(cmd.OutOrStdout(), key)
			}
			printOwnLimits(cmd.OutOrStdout(), key.DailyBytes, key.Limits, nil)
			return nil
		},
	}
	cmd.Flags().Var(&daily, "daily-bytes", "billed bytes per day through this key, besides the tenant's own limit; none = no limit of its own")
	limits.register(cmd)
	return cmd
}

// keyID returns the id of a key. A whole key is taken too: it is what people have at hand when one has leaked.
func keyID(arg string) string {
	if parts := strings.Split(arg, "_"); len(parts) == 4 && parts[0] == "hg" {
		return parts[1]
	}
	return arg
}

func keyRevoke(f *clientFlags) *cobra.Command {
	return &cobra.Command{
		Use: "revoke ID", Short: "Refuse a key within a second, for ever", Args: exactArgs("ID"),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := f.open()
			if err != nil {
				return err
			}
			id := keyID(args[0])
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
