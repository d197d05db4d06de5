package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"runtime/debug"

	"github.com/spf13/cobra"

	"github.com/headgate-io/headgate/query"
)

func newServe() *cobra.Command {
	cfg := DefaultConfig()
	cmd := &cobra.Command{
		Use:   "serve",
		Short: "Receive, store and answer",
		Example: `  headgate serve --data-dir ./data
  headgate serve --clickhouse http://headgate:secret@clickhouse:8123/telemetry
  HEADGATE_STORE=postgres://headgate:secret@postgres:5432/headgate headgate serve --secrets-dir /etc/headgate/secrets
  HEADGATE_OTLP_GRPC=0.0.0.0:4317 headgate serve`,
		Args: exactArgs(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := cfg.Validate(); err != nil {
				return err
			}
			level, err := parseLevel(cfg.LogLevel)
			if err != nil {
				return err
			}
			log := slog.New(slog.NewJSONHandler(cmd.ErrOrStderr(), &slog.HandlerOptions{Level: level}))
			return serve(cmd.Context(), cfg, cmd.OutOrStdout(), log)
		},
	}
	cfg.register(cmd.Flags())
	return cmd
}

func parseLevel(s string) (level slog.Level, err error) {
	err = level.UnmarshalText([]byte(s))
	return level, err
}

// serve runs headgate until ctx ends or a component fails.
//
// Start: data directory, ports, state, the log, edge. ClickHouse is waited for only briefly: what is acked meanwhile waits in
// the log.
// Shutdown: the edge stops accepting and finishes what it has received; the log takes to ClickHouse what it can within the
// grace, the rest waits for the next start; then the ledger stops, the engine last.
func serve(ctx context.Context, cfg Config, stdout io.Writer, log *slog.Logger) (err error) {
	defer log.Info("stopped")
	limitHeap(*cfg.MaxInFlight.bytes)
	ctx, fail := context.WithCancelCause(ctx)
	defer fail(nil)
	defer func() {
		if cause := context.Cause(ctx); err == nil && cause != nil && !errors.Is(cause, context.Canceled) {
			err = cause
		}
	}()
	s := &server{cfg: cfg, stdout: stdout, log: log, reg: newRegistry(), ready: &readiness{}, fail: fail}
	defer func() { err = errors.Join(err, s.stop()) }()
	for _, step := range s.steps() {
		if err := step(ctx); err != nil || ctx.Err() != nil {
			return err
		}
	}
	<-ctx.Done()
	log.Info("stopping", "grace", cfg.ShutdownGrace)
	return nil
}

// steps are what a start does, in order. What they open is closed in the opposite order.
func (s *server) steps() []func(context.Context) error {
	return []func(context.Context) error{
		s.readTiers, s.listen, s.openState, s.openLog, s.openClickHouse, s.keepState, s.flush, s.work, s.receive, s.answer, s.publish,
	}
}

// readTiers reads the limits of queries.
func (s *server) readTiers(context.Context) (err error) {
	s.limits = query.Limits{MaxExecution: s.cfg.QueryTimeout, MaxMemoryBytes: *s.cfg.QueryMaxMemory.bytes}
	if s.tiers, err = readTiers(s.cfg.Query.Tiers, s.limits); err != nil {
		return &usageError{err}
	}
	return nil
}

// publish tells the world that headgate is ready, and where.
func (s *server) publish(ctx context.Context) error {
	if s.cfg.Demo {
		if err := demoTenants(ctx, s.directory, s.cfg.secrets(), s.stdout); err != nil {
			return err
		}
	}
	a := s.ls.addresses()
	if s.cfg.APITLSCert != "" {
		var err error
		if a.APICert, err = filepath.Abs(s.cfg.APITLSCert); err != nil {
			return err
		}
	}
	if err := s.dir.publish(a); err != nil {
		return err
	}
	s.ready.set("")
	announce(s.stdout, a, s.dir.path, s.cfg.TLSCert != "")
	return nil
}

// limitHeap makes the collector work harder where large requests would otherwise let the heap double before they are
// freed. The bound is soft: bodies, the rows made of them, and what the process needs at rest. GOMEMLIMIT overrules it.
func limitHeap(maxInFlight int64) {
	if os.Getenv("GOMEMLIMIT") == "" {
		debug.SetMemoryLimit(2*maxInFlight + 256<<20)
	}
}

func announce(w io.Writer, a addresses, dir string, tls bool) {
	scheme := map[bool]string{false: "http", true: "https"}
	fmt.Fprintf(w, `headgate is ready
  OTLP/gRPC    %s
  OTLP/HTTP    %s://%s/v1/{logs,traces,metrics}
  API          %s://%s/api/v1
  telemetry    http://%s/metrics
  data         %s
`, a.OTLPGRPC, scheme[tls], a.OTLPHTTP, scheme[a.APICert != ""], a.API, a.Telemetry, dir)
}
