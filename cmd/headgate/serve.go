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
  HEADGATE_OTLP_GRPC=0.0.0.0:4317 headgate serve
  headgate serve --role ingest --data-dir /var/lib/headgate-1 --secrets-dir /etc/headgate/secrets \
    --store postgres://headgate@postgres:5432/headgate --clickhouse http://headgate:secret@clickhouse:8123/telemetry`,
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
	ctx, fail := context.WithCancelCause(ctx)
	defer fail(nil)
	defer func() {
		if cause := context.Cause(ctx); err == nil && cause != nil && !errors.Is(cause, context.Canceled) {
			err = cause
		}
	}()
	s := &server{cfg: cfg, role: cfg.role(), stdout: stdout, log: log, reg: newRegistry(), ready: &readiness{name: cfg.Role, role: cfg.role()}, fail: fail}
	defer func() { err = errors.Join(err, s.stop()) }()
	for _, step := range s.steps() {
		if !s.role.with(step.of) {
			continue
		}
		if err := step.do(ctx); err != nil || ctx.Err() != nil {
			return err
		}
	}
	<-ctx.Done()
	log.Info("stopping", "grace", cfg.ShutdownGrace)
	return nil
}

// step is one of a start, for processes that do any of it.
type step struct {
	of role
	do func(context.Context) error
}

// steps are what a start does, in order. What they open is closed in the opposite order.
//
// In every process run who knows tenants, keys and people (directory) and who knows the other processes (fleet). With the log go leases and
// the ledger; control has the ledger too, so that hours are sealed where nobody receives. The keeper measures where limits hold and where
// they are shown. Of deletions each log's process sees to its log, and one of control to the rest. Work that any process of a role could
// do (messages, webhooks, comparisons, deletions) is shared out by the state database.
func (s *server) steps() []step {
	every := role{receive: true, query: true, control: true}
	receive, control := role{receive: true}, role{control: true}
	api, books := role{query: true, control: true}, role{receive: true, control: true}
	return []step{
		{receive, s.boundHeap}, {api, s.readTiers}, {every, s.listen}, {every, s.openState},
		{receive, s.openMeter}, {books, s.openLedger}, {receive, s.openLog},
		{every, s.openClickHouse}, {api, s.watchWalls},
		{every, s.keepState}, {books, s.keepBooks}, {control, s.keepPeople}, {every, s.prepare},
		{books, s.measure}, {books, s.verify}, {books, s.delete}, {control, s.openExporter},
		{every, s.openEdge}, {receive, s.receive}, {api, s.answer}, {every, s.publish},
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

// boundHeap makes the collector work harder where large requests would otherwise let the heap double before they are
// freed. The bound is soft: bodies, the rows made of them, and what the process needs at rest. GOMEMLIMIT overrules it.
func (s *server) boundHeap(context.Context) error {
	if os.Getenv("GOMEMLIMIT") == "" {
		debug.SetMemoryLimit(2**s.cfg.MaxInFlight.bytes + 256<<20)
	}
	return nil
}

// announce prints what is open.
func announce(w io.Writer, a addresses, dir string, tls bool) {
	scheme := map[bool]string{false: "http", true: "https"}
	fmt.Fprintln(w, "headgate is ready")
	if a.OTLPGRPC != "" {
		fmt.Fprintf(w, "  OTLP/gRPC    %s\n  OTLP/HTTP    %s://%s/v1/{logs,traces,metrics}\n", a.OTLPGRPC, scheme[tls], a.OTLPHTTP)
	}
	if a.API != "" {
		fmt.Fprintf(w, "  API          %s://%s/api/v1\n", scheme[a.APICert != ""], a.API)
	}
	fmt.Fprintf(w, "  telemetry    http://%s/metrics\n  data         %s\n", a.Telemetry, dir)
}
