// Package storetest runs tests on every database that the store knows. A package that uses it has pgtest.Main as its TestMain,
// or calls pgtest.Stop.
package storetest

import (
	"path/filepath"
	"strings"
	"testing"

	"github.com/headgate-io/headgate/internal/pgtest"
)

const (
	onSQLite   = "sqlite"
	onPostgres = "postgres"
)

// Each runs test once per database, as a subtest in which Place names an empty one.
func Each(t *testing.T, test func(t *testing.T)) {
	t.Helper()
	for _, name := range []string{onSQLite, onPostgres} {
		t.Run(name, test)
	}
}

// Place returns where to open a new database: of PostgreSQL in the subtests of Each that are for it, else of SQLite.
func Place(t testing.TB) string {
	t.Helper()
	if IsPostgres(t) {
		return pgtest.New(t)
	}
	return filepath.Join(t.TempDir(), "state.db")
}

// IsPostgres reports whether Place names a PostgreSQL database.
func IsPostgres(t testing.TB) bool {
	_, rest, _ := strings.Cut(t.Name(), "/")
	name, _, _ := strings.Cut(rest, "/")
	return name == onPostgres
}
