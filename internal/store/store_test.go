package store

import (
	"context"
	"database/sql"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/fstest"

	"github.com/headgate-io/headgate/internal/pgtest"
	"github.com/headgate-io/headgate/internal/store/storetest"
)

func TestMain(m *testing.M) { pgtest.Main(m) }

func openTest(t *testing.T, path string) *DB {
	t.Helper()
	d, err := Open(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { d.Close() })
	return d
}

func exec(query string, args ...any) func(tx *Tx) error {
	return func(tx *Tx) error {
		_, err := tx.ExecContext(context.Background(), query, args...)
		return err
	}
}

func counter(t *testing.T, d *DB) (n int) {
	t.Helper()
	err := d.View(t.Context(), func(tx *Tx) error { return tx.QueryRowContext(t.Context(), `SELECT n FROM changes`).Scan(&n) })
	if err != nil {
		t.Fatal(err)
	}
	return n
}

func TestUpdateIsKeptAndFailedUpdateIsNot(t *testing.T) {
	storetest.Each(t, testUpdateIsKeptAndFailedUpdateIsNot)
}

func testUpdateIsKeptAndFailedUpdateIsNot(t *testing.T) {
	path := storetest.Place(t)
	d := openTest(t, path)
	if err := d.Update(t.Context(), exec(`UPDATE changes SET n = 7`)); err != nil {
		t.Fatal(err)
	}
	boom := errors.New("boom")
	err := d.Update(t.Context(), func(tx *Tx) error {
		if err := exec(`UPDATE changes SET n = 8`)(tx); err != nil {
			t.Error(err)
		}
		return boom
	})
	if !errors.Is(err, boom) {
		t.Fatalf("Update = %v, want boom", err)
	}
	if n := counter(t, openTest(t, path)); n != 7 {
		t.Fatalf("n = %d, want 7", n)
	}
}

func TestDurabilitySettings(t *testing.T) {
	d := openTest(t, filepath.Join(t.TempDir(), "state.db"))
	for pragma, want := range map[string]string{
		"journal_mode": "wal", "synchronous": "2", "foreign_keys": "1", "busy_timeout": "5000",
	} {
		var got string
		if err := d.w.db.QueryRow("PRAGMA " + pragma).Scan(&got); err != nil || got != want {
			t.Errorf("writer %s = %q, %v, want %q", pragma, got, err, want)
		}
	}
	if got := d.w.db.Stats().MaxOpenConnections; got != 1 {
		t.Errorf("writer connections = %d, want 1", got)
	}
}

func TestViewCannotWrite(t *testing.T) { storetest.Each(t, testViewCannotWrite) }

func testViewCannotWrite(t *testing.T) {
	d := openTest(t, storetest.Place(t))
	if err := d.View(t.Context(), exec(`UPDATE changes SET n = 1`)); err == nil {
		t.Fatal("View wrote")
	}
}

func TestViewSeesOneState(t *testing.T) { storetest.Each(t, testViewSeesOneState) }

func testViewSeesOneState(t *testing.T) {
	d := openTest(t, storetest.Place(t))
	err := d.View(t.Context(), func(tx *Tx) error {
		var a, b int
		if err := tx.QueryRowContext(t.Context(), `SELECT n FROM changes`).Scan(&a); err != nil {
			return err
		}
		if err := d.Update(t.Context(), exec(`UPDATE changes SET n = n + 1`)); err != nil {
			return err
		}
		if err := tx.QueryRowContext(t.Context(), `SELECT n FROM changes`).Scan(&b); err != nil {
			return err
		}
		if a != b {
			t.Errorf("n changed from %d to %d within a View", a, b)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

func TestFilesAreForTheOwnerOnly(t *testing.T) {
	// The name holds every character that means something in a database URI.
	path := filepath.Join(t.TempDir(), "st?te #1%20&x=.db")
	d := openTest(t, path)
	if err := d.Update(t.Context(), exec(`UPDATE changes SET n = 1`)); err != nil {
		t.Fatal(err)
	}
	for _, p := range []string{path, path + "-wal", path + "-shm"} {
		fi, err := os.Stat(p)
		if err != nil {
			t.Fatal(err)
		}
		if fi.Mode().Perm() != 0o600 {
			t.Errorf("%s has mode %o, want 600", p, fi.Mode().Perm())
		}
	}
}

func TestWideModeIsNarrowed(t *testing.T) {
	path := filepath.Join(t.TempDir(), "state.db")
	openTest(t, path).Close()
	if err := os.Chmod(path, 0o644); err != nil {
		t.Fatal(err)
	}
	openTest(t, path)
	if fi, err := os.Stat(path); err != nil || fi.Mode().Perm() != 0o600 {
		t.Fatalf("mode %v, %v, want 600", fi.Mode(), err)
	}
}

func TestDamagedFileIsRefusedAndNamed(t *testing.T) {
	whole := filepath.Join(t.TempDir(), "whole.db")
	openTest(t, whole).Close()
	good, err := os.ReadFile(whole)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name  string
		bytes []byte
	}{
		{"text", []byte(strings.Repeat("not a database\n", 400))},
		{"broken header", append([]byte("SQLite format 4\x00"), good[16:]...)},
		{"cut short", good[:len(good)/2]},
		{"broken schema page", append(append([]byte{}, good[:100]...), make([]byte, len(good)-100)...)},
	} {
		path := filepath.Join(t.TempDir(), "state.db")
		if err := os.WriteFile(path, c.bytes, 0o600); err != nil {
			t.Fatal(err)
		}
		d, err := Open(path)
		if err == nil {
			d.Close()
			t.Errorf("%s: opened", c.name)
			continue
		}
		if !errors.Is(err, ErrDamaged) || !strings.Contains(err.Error(), path) {
			t.Errorf("%s: %v, want ErrDamaged naming %s", c.name, err, path)
		}
		if after, err := os.ReadFile(path); err != nil || string(after) != string(c.bytes) {
			t.Errorf("%s: the damaged file was changed", c.name)
		}
	}
}

func TestForeignDatabaseIsRefused(t *testing.T) {
	path := filepath.Join(t.TempDir(), "state.db")
	other, err := sql.Open("sqlite", path)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := other.Exec(`CREATE TABLE songs (title TEXT)`); err != nil {
		t.Fatal(err)
	}
	other.Close()
	if _, err := Open(path); !errors.Is(err, errForeign) {
		t.Fatalf("Open = %v, want errForeign", err)
	}
}

func TestMissingDirectoryIsNamed(t *testing.T) {
	path := filepath.Join(t.TempDir(), "none", "state.db")
	if _, err := Open(path); !errors.Is(err, os.ErrNotExist) || !strings.Contains(err.Error(), path) {
		t.Fatalf("Open = %v, want not-exist naming %s", err, path)
	}
}

func TestOlderBinaryRunsOnNewerSchema(t *testing.T) {
	storetest.Each(t, testOlderBinaryRunsOnNewerSchema)
}

func testOlderBinaryRunsOnNewerSchema(t *testing.T) {
	path := storetest.Place(t)
	d := openTest(t, path)
	err := d.Update(t.Context(), exec(`ALTER TABLE changes ADD COLUMN later TEXT;
		INSERT INTO schema_migrations (version, name) VALUES (9000, '9000_later.sql')`))
	if err != nil {
		t.Fatal(err)
	}
	d.Close()
	d = openTest(t, path)
	if err := d.Update(t.Context(), exec(`UPDATE changes SET n = 3`)); err != nil || counter(t, d) != 3 {
		t.Fatalf("n = %d, %v", counter(t, d), err)
	}
}

func TestMigrationOfAnotherBuildIsRefused(t *testing.T) {
	storetest.Each(t, testMigrationOfAnotherBuildIsRefused)
}

func testMigrationOfAnotherBuildIsRefused(t *testing.T) {
	path := storetest.Place(t)
	d := openTest(t, path)
	if err := d.Update(t.Context(), exec(`UPDATE schema_migrations SET name = '0001_other.sql' WHERE version = 1`)); err != nil {
		t.Fatal(err)
	}
	d.Close()
	if _, err := Open(path); err == nil || !strings.Contains(err.Error(), "0001_other.sql") {
		t.Fatalf("Open = %v, want an error naming 0001_other.sql", err)
	}
}

func TestManyOpenANewDatabaseTogether(t *testing.T) {
	storetest.Each(t, testManyOpenANewDatabaseTogether)
}

func testManyOpenANewDatabaseTogether(t *testing.T) {
	path := storetest.Place(t)
	var wg sync.WaitGroup
	for range 6 {
		wg.Go(func() {
			d, err := Open(path)
			if err != nil {
				t.Error(err)
				return
			}
			defer d.Close()
			if err := d.Update(t.Context(), exec(`UPDATE changes SET n = n + 1`)); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if n := counter(t, openTest(t, path)); n != 6 {
		t.Fatalf("n = %d, want 6", n)
	}
}

func TestConflictIsTold(t *testing.T) { storetest.Each(t, testConflictIsTold) }

func testConflictIsTold(t *testing.T) {
	d := openTest(t, storetest.Place(t))
	err := d.Update(t.Context(), exec(`INSERT INTO changes (id, n) VALUES (1, 0)`))
	if !IsConflict(err) {
		t.Errorf("IsConflict(%v) = false", err)
	}
	if err := d.Update(t.Context(), exec(`INSERT INTO changes (id, n) VALUES (2, 0)`)); err == nil || IsConflict(err) {
		t.Errorf("IsConflict(%v) = true for a failed check", err)
	}
}

func TestMigrationNames(t *testing.T) {
	file := &fstest.MapFile{Data: []byte("SELECT 1")}
	for _, c := range []struct {
		names []string
		ok    bool
	}{
		{[]string{"0001_a.sql", "0002_b.sql"}, true},
		{[]string{"0001_a.sql", "0003_b.sql"}, false},
		{[]string{"0001_a.sql", "0001_b.sql"}, false},
		{[]string{"1_a.sql"}, false},
		{[]string{"x.sql"}, false},
	} {
		fsys := fstest.MapFS{}
		for _, n := range c.names {
			fsys["migrations/sqlite/"+n] = file
		}
		if _, err := migrations(fsys, "sqlite"); (err == nil) != c.ok {
			t.Errorf("migrations(%v) = %v, want ok %v", c.names, err, c.ok)
		}
	}
}

func TestDialectsHaveTheSameMigrations(t *testing.T) {
	var names [2][]string
	for i, dialect := range []string{"sqlite", "postgres"} {
		all, err := migrations(embedded, dialect)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range all {
			names[i] = append(names[i], m.name)
		}
	}
	if !slices.Equal(names[0], names[1]) {
		t.Fatalf("sqlite has %v, postgres has %v", names[0], names[1])
	}
}
