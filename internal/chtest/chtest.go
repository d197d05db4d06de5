// Package chtest gives tests a real ClickHouse: the embedded engine, in a child process that is the test binary itself.
//
// A package that uses it has
//
//	func TestMain(m *testing.M) { chtest.Main(m) }
//
// and its tests call Start and Database. The first Start of a process starts the engine (about 0.3 s); it stops with the
// process. A missing engine library fails the test: what is not run is not tested.
package chtest

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/ClickHouse/clickhouse-go/v2"
	"github.com/ClickHouse/clickhouse-go/v2/lib/driver"

	"github.com/headgate-io/headgate/internal/chhttp"
	"github.com/headgate-io/headgate/storage/engine"
	"github.com/headgate-io/headgate/storage/policy"
)

// childArg makes the test binary an engine.
const childArg = "headgate-chtest-engine"

const startTimeout = 60 * time.Second

// Main runs the tests of m, or the engine if this process was started as one. It exits.
func Main(m *testing.M) {
	if IsChild() {
		os.Exit(RunChild())
	}
	code := m.Run()
	shared.stop()
	os.Exit(code)
}

// IsChild reports whether this process was started with Command.
func IsChild() bool { return len(os.Args) == 2 && os.Args[1] == childArg }

// RunChild is the engine process; it returns the exit status.
func RunChild() int {
	if err := engine.Main(context.Background(), os.Stdin, os.Stdout, os.Stderr); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return 0
}

// Command starts this test binary as an engine; for engine.Options.
func Command() []string { return []string{os.Args[0], childArg} }

// Options are sized for a test beside other tests.
func Options(dataDir string) engine.Options {
	return engine.Options{DataDir: dataDir, MemoryBytes: 2 << 30, Threads: 2, StopTimeout: 2 * time.Second, Command: Command()}
}

// Engine is a running engine.
type Engine struct {
	*engine.Supervisor
	// DataDir is the engine's data directory.
	DataDir string
	stop    func()
}

var shared struct {
	sync.Mutex
	engine *Engine
	err    error
	stop   func()
}

func init() { shared.stop = func() {} }

// Start returns the engine of this test process, started at the first call.
func Start(t testing.TB) *Engine {
	t.Helper()
	shared.Lock()
	defer shared.Unlock()
	if shared.engine == nil && shared.err == nil {
		dir, err := os.MkdirTemp("", "headgate-chtest-")
		if err != nil {
			t.Fatalf("engine directory: %v", err)
		}
		shared.engine, shared.err = launch(Options(dir))
		shared.stop = func() {
			if shared.engine != nil {
				shared.engine.stop()
			}
			_ = os.RemoveAll(dir)
		}
	}
	if shared.err != nil {
		t.Fatalf("ClickHouse for tests: %v\nrun `make engine-lib` to fetch the engine library", shared.err)
	}
	return shared.engine
}

// StartOwn returns an engine of the test's own, which stops at its end: for tests that kill it or need other options.
func StartOwn(t testing.TB, opts engine.Options) *Engine {
	t.Helper()
	if opts.DataDir == "" {
		opts.DataDir = t.TempDir()
	}
	e, err := launch(opts)
	if err != nil {
		t.Fatalf("ClickHouse for tests: %v\nrun `make engine-lib` to fetch the engine library", err)
	}
	t.Cleanup(e.stop)
	return e
}

// StartGuarded is StartOwn with row policies of key on the telemetry tables of database, in the file users.xml of DataDir.
func StartGuarded(t testing.TB, database string, key policy.Key) *Engine {
	t.Helper()
	opts := Options(t.TempDir())
	opts.UsersFile, opts.OwnComment = filepath.Join(opts.DataDir, "users.xml"), key.Internal()
	if err := policy.WriteUsers(opts.UsersFile, database, key); err != nil {
		t.Fatal(err)
	}
	return StartOwn(t, opts)
}

func launch(opts engine.Options) (*Engine, error) {
	if _, err := engine.FindLibrary(opts.Library); err != nil {
		return nil, err
	}
	log := slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelWarn}))
	sup, err := engine.NewSupervisor(opts, log, nil)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- sup.Run(ctx) }()
	e := &Engine{Supervisor: sup, DataDir: opts.DataDir, stop: sync.OnceFunc(func() { cancel(); <-ended })}
	select {
	case <-sup.Ready():
		return e, nil
	case err := <-ended:
		cancel()
		return nil, err
	case <-time.After(startTimeout):
		e.stop()
		return nil, fmt.Errorf("engine did not start within %v", startTimeout)
	}
}

// Stop stops the engine in order and waits for its end.
func (e *Engine) Stop() { e.stop() }

// Open connects to database as the identity that may do everything; "" is "default". The connection closes with the test.
func (e *Engine) Open(t testing.TB, database string) driver.Conn {
	t.Helper()
	return open(t, e.WriterOptions(), database)
}

// OpenAt is Open through another address, a Proxy's.
func (e *Engine) OpenAt(t testing.TB, addr, database string) driver.Conn {
	t.Helper()
	opts := e.WriterOptions()
	opts.Addr = []string{addr}
	return open(t, opts, database)
}

// OpenReader connects to database as the read-only identity.
func (e *Engine) OpenReader(t testing.TB, database string) driver.Conn {
	t.Helper()
	return open(t, e.ReaderOptions(), database)
}

func open(t testing.TB, opts *clickhouse.Options, database string) driver.Conn {
	t.Helper()
	if database != "" {
		opts.Auth.Database = database
	}
	return OpenOptions(t, opts)
}

// OpenOptions connects as opts say. The connection closes with the test.
func OpenOptions(t testing.TB, opts *clickhouse.Options) driver.Conn {
	t.Helper()
	opts.TransportFunc = chhttp.Transport
	conn, err := clickhouse.Open(opts)
	if err != nil {
		t.Fatalf("connect to %s: %v", opts.Auth.Database, err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	return conn
}

// Insert inserts blocks, what native.Block.AppendTo makes, into table.
func Insert(t testing.TB, conn driver.Conn, table string, blocks []byte) {
	t.Helper()
	ctx := clickhouse.Context(t.Context(), clickhouse.WithSettings(clickhouse.Settings{"decompress": 1}))
	if err := conn.InsertFormat(ctx, "Native", "INSERT INTO "+table, bytes.NewReader(blocks)); err != nil {
		t.Fatalf("insert into %s: %v", table, err)
	}
}

var databases struct {
	sync.Mutex
	n int
}

// Database makes an empty database of the shared engine for the test and drops it at the end.
func Database(t testing.TB) string {
	t.Helper()
	databases.Lock()
	databases.n++
	name := fmt.Sprintf("t%d_%s", databases.n, plain(t.Name()))
	databases.Unlock()

	conn := Start(t).Open(t, "")
	if err := conn.Exec(t.Context(), "CREATE DATABASE `"+name+"`"); err != nil {
		t.Fatalf("create database: %v", err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), startTimeout)
		defer cancel()
		if err := conn.Exec(ctx, "DROP DATABASE IF EXISTS `"+name+"` SYNC"); err != nil {
			t.Errorf("drop database: %v", err)
		}
	})
	return name
}

func plain(name string) string {
	if len(name) > 60 {
		name = name[:60]
	}
	return strings.Map(func(r rune) rune {
		if r < 128 && (r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9') {
			return r
		}
		return '_'
	}, name)
}
