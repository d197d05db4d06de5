package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
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
	writer, reader *clickhouse.Options // no writer: the process only reads
	key            policy.Key
	carrier        policy.Carrier
	problem        policy.Finding // why queries cannot be answered, if its Check is set
}

// walls checks what the policies and the identities of conns are worth. stored is policy.Posture's.
func (b backend) walls(conns connections, stored func(context.Context) []string) func(context.Context) ([]policy.Finding, error) {
	if b.problem.Check != "" {
		return func(context.Context) ([]policy.Finding, error) { return []policy.Finding{b.problem}, nil }
	}
	return policy.Posture{
		Writer: conns.writer, Reader: conns.reader, Database: b.reader.Auth.Database, Key: b.key, Carrier: b.carrier, Stored: stored,
	}.Check
}

// capability is what query.ReaderOptions asks for: the setting with which the row policies show the rows of scope.
func (b backend) capability(scope tenant.Scope) map[string]any {
	if b.key.IsZero() {
		return nil
	}
	return map[string]any{string(b.carrier): b.key.Tenants(scope)}
}

// openClickHouse tells how to reach the given server, or the embedded engine, which run runs.
func openClickHouse(cfg Config, run runner, log *slog.Logger, reg prometheus.Registerer) (backend, error) {
	if cfg.servers() {
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
	run("engine", supervisor.Run)
	b := backend{writer: supervisor.WriterOptions(), reader: supervisor.ReaderOptions(), key: key, carrier: policy.EngineCarrier}
	b.writer.Auth.Database, b.reader.Auth.Database = storage.DefaultDatabase, storage.DefaultDatabase
	return b, nil
}

// serverBackend is that of a server. What it lacks for queries is in the backend's problem: data are taken without.
//
// SECURITY: a process that only reads has no writer, also where it was told of one: what it does not open, nobody can get out of it.
func serverBackend(cfg Config) (b backend, err error) {
	b.carrier = policy.Carrier(cfg.Server.Capability)
	if cfg.role().writes() {
		if b.writer, err = storage.ParseURL(cfg.ClickHouse); err != nil {
			return backend{}, err
		}
		b.reader = b.writer
	}
	if cfg.Server.Reader == "" {
		b.problem = policy.Finding{Check: "reader", Status: policy.Fail, Detail: "there is no account that only reads",
			Advice: "make one by headgate clickhouse-setup, and name it with --clickhouse-reader"}
		return b, nil
	}
	if b.reader, err = storage.ParseURL(cfg.Server.Reader); err != nil {
		return backend{}, err
	}
	b.key, err = policy.ReadKey(cfg.policyKey())
	if errors.Is(err, fs.ErrNotExist) {
		b.problem = policy.Finding{Check: "key", Status: policy.Fail, Detail: "there is no key of the row policies at " + cfg.policyKey(),
			Advice: "make it by headgate clickhouse-setup, or copy it from where that ran"}
		return b, nil
	}
	return b, err
}

type connections struct {
	writer driver.Conn // nil: the process only reads
	reader driver.Conn
}

func (c connections) close() {
	for _, conn := range []driver.Conn{c.writer, c.reader} {
		if conn != nil {
			_ = conn.Close()
		}
	}
}

// connect makes the pools; nothing is dialled yet.
func (b backend) connect() (c connections, err error) {
	if b.writer != nil {
		if c.writer, err = storage.Open(b.writer); err != nil {
			return connections{}, err
		}
	}
	if c.reader, err = storage.Open(b.reader); err != nil {
		c.close()
		return connections{}, err
	}
	return c, nil
}
