package main

import (
	"cmp"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"

	"github.com/spf13/cobra"

	"github.com/headgate-io/headgate/control"
	"github.com/headgate-io/headgate/metering/alert"
)

const webhooksPath = "/api/v1/webhooks"

func newWebhook() *cobra.Command {
	var f clientFlags
	cmd := &cobra.Command{
		Use:   "webhook",
		Short: "Create, list, test and delete targets of alerts",
		Long: `Webhooks are told of alerts by signed POST requests (Standard Webhooks). One of a tenant is told of that tenant's; one without a
tenant is the operator's and is told of all.`,
		Example: `  headgate webhook create --tenant acme --url https://hooks.example.com/headgate
  headgate webhook create --url https://ops.example.com/headgate --kind limit.daily_bytes
  headgate webhook test 01J…
  headgate webhook list`,
	}
	f.register(cmd)
	cmd.AddCommand(webhookCreate(&f), webhookList(&f), webhookDelete(&f), webhookTest(&f),
		webhookSwitch(&f, "enable", "Send to a webhook again, what waits first", true),
		webhookSwitch(&f, "disable", "Send nothing more to a webhook; what waits is kept for two days", false))
	return cmd
}

func webhookCreate(f *clientFlags) *cobra.Command {
	var tenant, target string
	var kinds []string
	cmd := &cobra.Command{
		Use: "create", Short: "Create a webhook and print its secret, once", Args: exactArgs(),
		Long: `Create prints the secret that messages are signed with, once; headgate keeps it encrypted and does not show it again.

Kinds: ` + strings.Join(kindNames(), ", ") + `.`,
		Example: `  headgate webhook create --tenant acme --url https://hooks.example.com/headgate --kind limit.daily_bytes`,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if target == "" {
				return &usageError{errors.New("give the target with --url")}
			}
			in := control.WebhookRequest{Tenant: tenant, URL: target}
			for _, k := range kinds {
				in.Kinds = append(in.Kinds, alert.Kind(k))
			}
			c, err := f.open()
			if err != nil {
				return err
			}
			var made control.NewWebhook
			if err := c.do(cmd.Context(), http.MethodPost, webhooksPath, nil, in, &made); err != nil {
				return err
			}
			if f.json {
				return printJSON(cmd.OutOrStdout(), made)
			}
			fmt.Fprintln(cmd.OutOrStdout(), made.Secret)
			fmt.Fprintf(cmd.ErrOrStderr(), "Webhook %s. Its secret is shown only now; try it with 'headgate webhook test %s'.\n", made.ID, made.ID)
			return nil
		},
	}
	cmd.Flags().StringVar(&tenant, "tenant", "", "tenant whose alerts it is told of (empty: with the operator token, of all tenants; with a key, its own)")
	cmd.Flags().StringVar(&target, "url", "", "where to POST to, https://…")
	cmd.Flags().StringArrayVar(&kinds, "kind", nil, "kind of alert; may be given more than once (empty: all)")
	return cmd
}

func kindNames() []string {
	out := make([]string, len(alert.Kinds))
	for i, k := range alert.Kinds {
		out[i] = string(k)
	}
	return out
}

func webhookList(f *clientFlags) *cobra.Command {
	var tenant string
	cmd := &cobra.Command{
		Use: "list", Short: "List webhooks, without their secrets", Args: exactArgs(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			return showList(cmd, f, webhooksPath, "webhooks", given(map[string]string{"tenant": tenant}),
				newTable("ID", "TENANT", "URL", "KINDS", "CREATED", "STATUS", "FAILURES", "NEXT TRY").alignRight("FAILURES"), func(w control.Webhook) []string {
					kinds := []string{}
					for _, k := range w.Kinds {
						kinds = append(kinds, string(k))
					}
					return []string{w.ID, oneLine(cmp.Or(w.Tenant, w.TenantID, "(operator)")), w.URL, cmp.Or(strings.Join(kinds, ","), "all"), day(&w.CreatedAt), w.Status,
						fmt.Sprint(w.Failures), day(w.RetryAt)}
				})
		},
	}
	cmd.Flags().StringVar(&tenant, "tenant", "", "list this tenant's webhooks only")
	return cmd
}

func webhookDelete(f *clientFlags) *cobra.Command {
	return &cobra.Command{
		Use: "delete ID", Short: "Delete a webhook and what waits for it", Args: exactArgs("ID"),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := f.open()
			if err != nil {
				return err
			}
			if err := c.do(cmd.Context(), http.MethodDelete, webhooksPath+"/"+url.PathEscape(args[0]), nil, nil, nil); err != nil {
				return err
			}
			if f.json {
				return printJSON(cmd.OutOrStdout(), map[string]any{"deleted": args[0]})
			}
			fmt.Fprintf(cmd.OutOrStdout(), "deleted %s\n", args[0])
			return nil
		},
	}
}

func webhookTest(f *clientFlags) *cobra.Command {
	return &cobra.Command{
		Use: "test ID", Short: "Send a test message now and tell how it went", Args: exactArgs("ID"),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := f.open()
			if err != nil {
				return err
			}
			var r alert.TestResult
			if err := c.do(cmd.Context(), http.MethodPost, webhooksPath+"/"+url.PathEscape(args[0])+"/test", nil, nil, &r); err != nil {
				return err
			}
			if f.json {
				if err := printJSON(cmd.OutOrStdout(), r); err != nil {
					return err
				}
			}
			if !r.Delivered {
				return fmt.Errorf("the test message was not delivered: %s", oneLine(r.Error))
			}
			if !f.json {
				fmt.Fprintf(cmd.OutOrStdout(), "delivered: the target answered %d after %d ms\n", r.Status, r.DurationMS)
			}
			return nil
		},
	}
}

func webhookSwitch(f *clientFlags, verb, short string, enabled bool) *cobra.Command {
	return &cobra.Command{
		Use: verb + " ID", Short: short, Args: exactArgs("ID"),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := f.open()
			if err != nil {
				return err
			}
			var w control.Webhook
			err = c.do(cmd.Context(), http.MethodPatch, webhooksPath+"/"+url.PathEscape(args[0]), nil, control.WebhookPatch{Enabled: &enabled}, &w)
			if err != nil {
				return err
			}
			if f.json {
				return printJSON(cmd.OutOrStdout(), w)
			}
			fmt.Fprintf(cmd.OutOrStdout(), "%s is %s\n", w.ID, w.Status)
			return nil
		},
	}
}
