// Package pgtest gives tests a real PostgreSQL: the pinned one that fetch.sh puts into the cache directory, started once per
// test binary, with fsync. It listens on a Unix socket in a directory of its own, nowhere else.
//
// A package that uses it has
//
//	func TestMain(m *testing.M) { pgtest.Main(m) }
//
// and its tests call New. A PostgreSQL that is not there fails the test: what is not run is not tested.
// HEADGATE_TEST_POSTGRES, the URL of a database in which schemas can be created, takes its place for New.
package pgtest

import (
	"context"
	"fmt"
	"net/url"
	"os"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
)

// serverEnv names a server to use instead.
const serverEnv = "HEADGATE_TEST_POSTGRES"

// statementTimeout bounds what New does on the server.
const statementTimeout = 30 * time.Second

var shared struct {
	sync.Mutex
	server *Server
	err    error
	n      int // schemas that were made
}

// Main runs the tests of m, stops the server if one was started, and exits.
func Main(m *testing.M) {
	code := m.Run()
	Stop()
	os.Exit(code)
}

// Stop stops the server of this process; for a TestMain that does other things too.
func Stop() {
	shared.Lock()
	defer shared.Unlock()
	if shared.server != nil {
		shared.server.end()
		shared.server = nil
	}
}

// New returns the URL of an empty schema for the test, on the server of this process. It is gone after the test.
func New(t testing.TB) string {
	t.Helper()
	base, n := server(t)
	schema := fmt.Sprintf("t%d_%d", os.Getpid(), n)
	Execute(t, base, `CREATE SCHEMA `+schema)
	t.Cleanup(func() { Execute(t, base, `DROP SCHEMA `+schema+` CASCADE`) })
	return Schema(t, base, schema)
}

// Schema returns url with this schema in place of public.
func Schema(t testing.TB, base, schema string) string {
	t.Helper()
	u, err := url.Parse(base)
	if err != nil {
		t.Fatalf("%s: not a URL", serverEnv)
	}
	q := u.Query()
	q.Set("search_path", schema)
	u.RawQuery = q.Encode()
	return u.String()
}

func server(t testing.TB) (base string, n int) {
	t.Helper()
	shared.Lock()
	defer shared.Unlock()
	shared.n++
	if base = os.Getenv(serverEnv); base != "" {
		return base, shared.n
	}
	if shared.server == nil && shared.err == nil {
		shared.server, shared.err = newServer()
	}
	if shared.err != nil {
		t.Fatalf("PostgreSQL for tests: %v", shared.err)
	}
	return shared.server.URL(), shared.n
}

// Execute runs a statement on a connection of its own.
func Execute(t testing.TB, url, statement string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), statementTimeout)
	defer cancel()
	conn, err := pgx.Connect(ctx, url)
	if err != nil {
		t.Fatalf("PostgreSQL for tests: %v", err)
	}
	defer conn.Close(ctx)
	if _, err := conn.Exec(ctx, statement); err != nil {
		t.Fatalf("PostgreSQL for tests: %s: %v", statement, err)
	}
}
