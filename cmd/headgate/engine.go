package main

import (
	"github.com/spf13/cobra"

	"github.com/headgate-io/headgate/storage/engine"
)

func newEngine() *cobra.Command {
	return &cobra.Command{
		Use:   "engine",
		Short: "Run the embedded ClickHouse engine (started by serve)",
		Long: `Engine loads libchdb and serves the ClickHouse HTTP interface on a listener that it inherits. It reads its
configuration from standard input and ends when that ends. serve starts and supervises it; there is no use for it by hand.`,
		Args: exactArgs(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			return engine.Main(cmd.Context(), cmd.InOrStdin(), cmd.OutOrStdout(), cmd.ErrOrStderr())
		},
	}
}
