package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"net/http"
	"os"
	"runtime/debug"
	"slices"
	"sync"
	"time"

	"github.com/ClickHouse/clickhouse-go/v2"
	"github.com/ClickHouse/clickhouse-go/v2/lib/driver"
	"github.com/spf13/cobra"

	"github.com/headgate-io/headgate/auth"
	"github.com/headgate-io/headgate/auth/saved"
	"github.com/headgate-io/headgate/control"
	"github.com/headgate-io/headgate/ingest"
	"github.com/headgate-io/headgate/internal/httpapi"
	"github.com/headgate-io/headgate/internal/store"
	"github.com/headgate-io/headgate/internal/tlsfiles"
	"github.com/headgate-io/headgate/metering"
	"github.com/headgate-io/headgate/metering/alert"
	"github.com/headgate-io/headgate/query"
	"github.com/headgate-io/headgate/query/jaeger"
	"github.com/headgate-io/headgate/query/prom"
	"github.com/headgate-io/headgate/storage"
	"github.com/headgate-io/headgate/storage/schema"
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

// group runs components until the first fails or its context ends, and waits for all of them.
type group struct {
	wg   sync.WaitGroup
	fail func(error)
}

func (g *group) run(ctx context.Context, name string, f func(context.Context) error) {
	g.wg.Go(func() {
		if err := f(ctx); err != nil {
			g.fail(fmt.Errorf("%s: %w", name, err))
		}
	})
}

// end stops the components and waits for them.
func (g *group) end(stop func()) {
	stop()
	g.wg.Wait()
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
	limits := query.Limits{MaxExecution: cfg.QueryTimeout, MaxMemoryBytes: *cfg.QueryMaxMemory.bytes}
	tiers, err := readTiers(cfg.Query.Tiers, limits)
	if err != nil {
		return &usageError{err}
	}
	dir, err := openDataDir(cfg.DataDir)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, dir.close()) }()
	ls, err := listenAll(cfg)
	if err != nil {
		return err
	}
	defer ls.close()

	reg := newRegistry()
	ready := &readiness{}
	ready.set("starting")
	watched := &group{fail: fail}
	watched.run(ctx, "telemetry", serveHTTP(ls.telemetry, telemetryHandler(reg, ready), cfg.ShutdownGrace))
	defer watched.end(func() { fail(nil) })

	db, err := store.Open(cfg.database())
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	if err := cfg.fixRegion(ctx, db); err != nil {
		return err
	}
	if err := os.MkdirAll(cfg.secrets(), 0o700); err != nil {
		return fmt.Errorf("secrets directory: %w", err)
	}
	directory, err := auth.Open(ctx, db, auth.Options{Now: time.Now, Dir: cfg.secrets(), Logger: log, Registry: reg, UserUse: control.AlertUsers})
	if err != nil {
		return err
	}
	signer, err := metering.OpenSigner(ctx, db, cfg.secrets(), time.Now())
	if err != nil {
		return err
	}
	meter, leases, logName, err := openMeter(ctx, cfg, dir, db, log, reg)
	if err != nil {
		return err
	}
	var wal *storage.Log
	ledger := metering.NewLedger(db, metering.LedgerOptions{Now: time.Now, Logger: log, Registry: reg, Replica: cfg.replica(logName, ls.addresses()),
		Pending: func() (time.Time, bool) { return wal.Oldest() }})
	if wal, err = openLog(ctx, cfg, dir, logName, ledger, meter, directory.Deleting, log, reg); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, wal.Close()) }()

	// What the edge needs outlives ctx, and is stopped by the deferred calls below: each only after what was started later.
	engineCtx, stopEngine := context.WithCancel(context.WithoutCancel(ctx))
	engines := &group{fail: fail}
	defer engines.end(stopEngine)
	ch, err := openClickHouse(engineCtx, cfg, engines, log, reg)
	if err != nil {
		return err
	}
	conns, err := ch.connect()
	if err != nil {
		return err
	}
	defer conns.close()
	walls := newWalls(ch.walls(conns), log, reg)
	ready.walls.Store(walls)
	backendCtx, stopBackend := context.WithCancel(context.WithoutCancel(ctx))
	backend := &group{fail: fail}
	defer backend.end(stopBackend)
	backend.run(backendCtx, "directory", directory.Run)
	people, err := openPeople(cfg, directory, log, reg)
	if err != nil {
		return err
	}
	backend.run(backendCtx, "outbox", people.outbox.Run)
	backend.run(backendCtx, "ledger", ledger.Run)
	alerts := alert.New(db, alert.Options{
		Now: time.Now, Key: directory.DeriveKey("webhook secrets"), AllowPrivate: cfg.WebhookPrivate, Audit: control.AuditAlert,
		Logger: log, Registry: reg,
	})
	backend.run(backendCtx, "alerts", alerts.Run)
	if leases != nil {
		backend.run(backendCtx, "leases", leases.Run)
	}
	prepared := make(chan struct{})
	flushCtx, stopFlush := context.WithCancel(context.WithoutCancel(ctx))
	flush := &group{fail: fail}
	defer flush.end(stopFlush)
	flush.run(flushCtx, "log", func(ctx context.Context) error {
		if err := prepare(ctx, ch.writer, conns.writer, log); err != nil || ctx.Err() != nil {
			return err
		}
		walls.look(ctx)
		close(prepared)
		return wal.Run(ctx, conns.writer, cfg.ShutdownGrace)
	})
	backend.run(backendCtx, "walls", func(ctx context.Context) error { return walls.run(ctx, prepared) })
	ready.set("waiting for clickhouse")
	select {
	case <-prepared:
	case <-time.After(startPatience):
		log.Warn("clickhouse does not answer yet; what is sent meanwhile waits in the log")
	case <-ctx.Done():
		return nil
	}

	counter, err := storage.OpenCounter(ch.writer, wal)
	if err != nil {
		return err
	}
	exporter, err := storage.OpenExporter(ch.writer)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, exporter.Close()) }()
	verifier := metering.NewVerifier(ledger, counter, reg)
	backend.run(backendCtx, "verifier", func(ctx context.Context) error { return errors.Join(verifier.Run(ctx), counter.Close()) })

	keeper := newKeeper(&keeper{measure: storage.NewMeasure(counter.Conn), directory: directory, meter: meter, db: db, now: time.Now, log: log}, reg)
	backend.run(backendCtx, "keeper", func(ctx context.Context) error { return keeper.Run(ctx, prepared) })

	deleter := &control.Deleter{Directory: directory, Telemetry: control.StoredTelemetry{Log: wal, Conn: conns.writer}, Worker: logName, Now: time.Now, Logger: log, Reached: deletionReached}
	backend.run(backendCtx, "deletions", deleter.Run)

	edge := &group{fail: fail}
	defer edge.end(func() { ready.set("stopping"); fail(nil) })
	var tenantBytes int64 // no bound of its own
	if b := cfg.TenantInFlight.bytes; b != nil {
		tenantBytes = *b
	}
	receiver, err := ingest.New(ingest.Options{
		MaxBodyBytes: *cfg.MaxBody.bytes, MaxInFlightBytes: *cfg.MaxInFlight.bytes,
		MaxTenantBytes: tenantBytes, MaxTenantCalls: cfg.TenantRequests, Grace: cfg.ShutdownGrace, Now: time.Now,
		MaxConnections: cfg.MaxConnections, MaxPeerConnections: cfg.MaxPeerConnections, MaxAuthFailures: cmp.Or(cfg.MaxAuthFailures, -1),
		TLS:         tlsfiles.Options{CertFile: cfg.TLSCert, KeyFile: cfg.TLSKey, ClientCAFile: cfg.TLSClientCA},
		CORSOrigins: cfg.CORSOrigins, Profiles: cfg.Profiles, PathPrefix: cfg.PathPrefix,
	}, ingest.Backend{Keys: directory, Meter: meter, Ledger: ledger, Log: wal}, log, reg)
	if err != nil {
		return err
	}
	edge.run(ctx, "otlp", func(ctx context.Context) error { return receiver.Run(ctx, ls.grpc, ls.http) })

	api := &control.API{
		Directory: directory, Meter: meter, Ledger: ledger, Alerts: alerts, Verifier: verifier, Signer: signer, Now: time.Now, Log: log, Version: version,
		OIDC:    people.oidc,
		Kept:    keeper.Kept,
		Deleter: deleter, Exporter: exporter,
		QueryTiers: slices.Sorted(maps.Keys(tiers)),
		Saved:      saved.New(directory, db, languages()),
	}
	reader := query.NewReader(conns.reader, query.ReaderOptions{
		Limits: limits, Tiers: tiers, Tier: directory.QueryTier, Slow: cfg.Query.Slow,
		Settings: ch.capability, Refuse: walls.refuse, CacheBytes: cfg.Query.cacheBytes(), Log: log, Metrics: reg,
	})
	proxies, err := httpapi.ParseProxies(cfg.TrustedProxies)
	if err != nil {
		return err
	}
	edge.run(ctx, "api", serveHTTP(ls.api, proxies.Handler(apiHandler(api, reader, cfg.Query, log)), cfg.ShutdownGrace))

	if cfg.Demo {
		if err := demoTenants(ctx, directory, cfg.secrets(), stdout); err != nil {
			return err
		}
	}
	if err := dir.publish(ls.addresses()); err != nil {
		return err
	}
	ready.set("")
	announce(stdout, ls.addresses(), dir.path, cfg.TLSCert != "")
	<-ctx.Done()
	log.Info("stopping", "grace", cfg.ShutdownGrace)
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
	scheme := "http"
	if tls {
		scheme = "https"
	}
	fmt.Fprintf(w, `headgate is ready
  OTLP/gRPC    %s
  OTLP/HTTP    %s://%s/v1/{logs,traces,metrics}
  API          http://%s/api/v1
  telemetry    http://%s/metrics
  data         %s
`, a.OTLPGRPC, scheme, a.OTLPHTTP, a.API, a.Telemetry, dir)
}

// startPatience is how long a start waits for ClickHouse before it takes requests without.
const startPatience = 10 * time.Second

// prepare waits for ClickHouse, however long that takes, and brings the schema up to date.
func prepare(ctx context.Context, opt *clickhouse.Options, conn driver.Conn, log *slog.Logger) error {
	for {
		attempt, cancel := context.WithTimeout(ctx, 5*time.Minute)
		err := storage.CreateDatabase(attempt, opt)
		if err == nil {
			err = storage.Migrate(attempt, conn, schema.Migrations, log)
		}
		cancel()
		if err == nil || ctx.Err() != nil {
			return nil
		}
		// An answer of ClickHouse will be the same next time; only silence is worth waiting for.
		var answer *clickhouse.Exception
		if errors.As(err, &answer) || errors.Is(err, storage.ErrSchema) {
			return err
		}
		log.Warn("clickhouse does not answer yet", "err", err)
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(time.Second):
		}
	}
}

// apiHandler serves everything on --api.
func apiHandler(api *control.API, reader *query.Reader, cfg queryConfig, log *slog.Logger) http.Handler {
	mux := http.NewServeMux()
	opts := query.HandlerOptions{
		Authenticate: queryCaller(api.Directory),
		CursorKey:    api.Directory.DeriveKey("query cursors"),
		MaxAge:       cfg.MaxAge,
		Log:          log,
	}
	mux.Handle("/api/v1/query", query.NewHandler(reader, opts))
	metrics := prom.NewHandler(reader, prom.Options{Authenticate: queryReader(api.Directory), MaxAge: cfg.MaxAge, Log: log})
	api.Queries = queriesAs(reader, opts, metrics)
	api.Register(mux)
	mux.Handle(jaeger.Prefix, jaeger.New(reader, jaeger.Options{Authenticate: queryReader(api.Directory), Log: log}))
	mux.Handle(prom.Prefix+"/", metrics)
	return mux
}
