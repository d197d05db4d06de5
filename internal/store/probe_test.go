package store_test

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/headgate-io/headgate/internal/pgtest"
	"github.com/headgate-io/headgate/internal/store"
)

// TestProbeChangesNothing on either database: what it finds missing stays missing.
func TestProbeChangesNothing(t *testing.T) {
	path := filepath.Join(t.TempDir(), "state.db")
	if err := store.Probe(t.Context(), path); err == nil {
		t.Error("a file that is not there passed")
	}
	if _, err := os.Stat(path); err == nil {
		t.Error("probe made a file")
	}
	if err := os.WriteFile(path, []byte("this is no database, whatever its name says"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := store.Probe(t.Context(), path); err == nil {
		t.Error("a file that is no database passed")
	}
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	for _, where := range []string{path, pgtest.New(t)} {
		db, err := store.Open(where)
		if err != nil {
			t.Fatal(err)
		}
		if err := store.Probe(t.Context(), where); err != nil {
			t.Errorf("beside an open database: %v", err)
		}
		if err := db.Close(); err != nil {
			t.Fatal(err)
		}
		if err := store.Probe(t.Context(), where); err != nil {
			t.Errorf("%v", err)
		}
	}
	if err := store.Probe(t.Context(), "postgres://nobody:x@127.0.0.1:1/none"); err == nil {
		t.Error("a server that is not there passed")
	}
}
