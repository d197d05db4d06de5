package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"os"
	"path/filepath"

	"github.com/ClickHouse/clickhouse-go/v2"
	"github.com/ClickHouse/clickhouse-go/v2/lib/driver"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/headgate-io/headgate/internal/tenant"
	"github.com/headgate-io/headgate/storage"
	"github.com/headgate-io/headgate/storage/engine"
	"github.com/headgate-io/headgate/storage/policy"
)

// backend is how the process reaches ClickHouse: as the writing and as the reading identity, and what its row policies ask
// of readers.
type backend struct {
	writer, reader *clickhouse.Options
	key            policy.Key
	carrier        policy.Carrier
}

// capability is what query.ReaderOptions asks for: the setting with which the row policies show the rows of scope.
func (b backend) capability(scope tenant.Scope) map[string]any {
	if b.key.IsZero() {
		return nil
	}
	return map[string]any{string(b.carrier): b.key.Tenants(scope)}
}

// openClickHouse tells how to reach the given server, or the embedded engine, which is started for it.
func openClickHouse(ctx context.Context, cfg Config, engines *group, log *slog.Logger, reg prometheus.Registerer) (backend, error) {
	if cfg.ClickHouse != "" {
		return serverBackend(cfg)
	}
	// Looked for here too, so that what is missing is said at once and without a child's detour.
	library, err := engine.FindLibrary(cfg.EngineLib)
	if err != nil {
		return backend{}, err
	}
	self, err := os.Executable()
	if err != nil {
		return backend{}, fmt.Errorf("find own executable: %w", err)
	}
	// SECURITY: a key of this process alone. A child that the supervisor starts again reads the same file.
	key := policy.NewKey()
	users := filepath.Join(cfg.path("clickhouse"), "users.xml")
	if err := policy.WriteUsers(users, storage.DefaultDatabase, key); err != nil {
		return backend{}, err
	}
	supervisor, err := engine.NewSupervisor(engine.Options{
		DataDir: cfg.path("clickhouse"), Library: library, MemoryBytes: *cfg.EngineMemory.bytes, Threads: cfg.EngineThreads,
		UsersFile: users, OwnComment: key.Internal(),
		Nice: cfg.EngineNice, Command: []string{self, "engine"},
	}, log, reg)
	if err != nil {
		return backend{}, err
	}
	engines.run(ctx, "engine", supervisor.Run)
	b := backend{supervisor.WriterOptions(), supervisor.ReaderOptions(), key, policy.EngineCarrier}
	b.writer.Auth.Database, b.reader.Auth.Database = storage.DefaultDatabase, storage.DefaultDatabase
	return b, nil
}

func serverBackend(cfg Config) (backend, error) {
	opt, err := storage.ParseURL(cfg.ClickHouse)
	if err != nil {
		return backend{}, err
	}
	// SECURITY: one account does both, so that reading is at least declared to the server as reading.
	read := *opt
	read.Settings = maps.Clone(opt.Settings)
	if read.Settings == nil {
		read.Settings = clickhouse.Settings{}
	}
	read.Settings["readonly"] = 2 // not 1, under which the limits of a query could not be set either
	return backend{writer: opt, reader: &read}, nil
}

type connections struct{ writer, reader driver.Conn }

func (c connections) close() { _ = errors.Join(c.writer.Close(), c.reader.Close()) }

// connect makes both pools; nothing is dialled yet.
func (b backend) connect() (connections, error) {
	writer, err := storage.Open(b.writer)
	if err != nil {
		return connections{}, err
	}
	reader, err := storage.Open(b.reader)
	if err != nil {
		return connections{}, errors.Join(err, writer.Close())
	}
	return connections{writer, reader}, nil
}
