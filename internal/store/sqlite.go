package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"time"

	"modernc.org/sqlite"
	sqlite3 "modernc.org/sqlite/lib"
)

const (
	// busyTimeout bounds how long a statement waits for another process's write lock.
	busyTimeout = 5 * time.Second
	// walSwitchTries bounds the retries of the first switch to WAL, which fails at once while another process does it.
	walSwitchTries = 50
)

// ErrDamaged says that the file is not a database or its content is inconsistent.
var ErrDamaged = errors.New("file is damaged or not a database: restore it from a backup")

// createFile makes an empty file of mode 0600 if there is none: SQLite would create it with the umask's mode, and its
// journal files take the mode of the database. A wider mode of an existing file is narrowed.
func createFile(path string) error {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600)
	if errors.Is(err, os.ErrExist) {
		// SECURITY: the file holds key hashes and every tenant's usage; nobody else on the machine may read it.
		return os.Chmod(path, 0o600)
	}
	if err != nil {
		return err
	}
	if err := errors.Join(f.Sync(), f.Close()); err != nil {
		return err
	}
	return SyncDir(filepath.Dir(path))
}

// SyncDir makes the creation, renaming or removal of files in dir durable.
func SyncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// openSQLite opens the database file at path.
func openSQLite(ctx context.Context, path string) (*DB, error) {
	if err := createFile(path); err != nil {
		return nil, err
	}
	w, err := connectSQLite(path, false)
	if err != nil {
		return nil, err
	}
	d := &DB{w: &pool{db: w, tries: 1}}
	if err := migrate(ctx, d.w, sqliteDialect); err != nil {
		return nil, errors.Join(err, w.Close())
	}
	r, err := connectSQLite(path, true)
	if err != nil {
		return nil, errors.Join(err, w.Close())
	}
	r.SetMaxOpenConns(readConns)
	r.SetMaxIdleConns(readConns)
	d.r = &pool{db: r, tries: 1}
	return d, nil
}

var sqliteDialect = dialect{
	name:   "sqlite",
	tables: `SELECT count(*), count(CASE WHEN name = 'schema_migrations' THEN 1 END) FROM sqlite_schema WHERE type = 'table'`,
	create: `CREATE TABLE schema_migrations (version INTEGER PRIMARY KEY, name TEXT NOT NULL) STRICT`,
}

// connectSQLite opens a pool on path and proves with one query that it works. The writer pool has one connection and begins
// its transactions with the write lock, so that a transaction never fails half-way for want of it.
func connectSQLite(path string, readOnly bool) (*sql.DB, error) {
	abs, err := filepath.Abs(path)
	if err != nil {
		return nil, err
	}
	q := url.Values{}
	q.Set("_busy_timeout", fmt.Sprint(busyTimeout.Milliseconds()))
	q.Set("_foreign_keys", "on")
	q.Set("_defensive", "1")
	q.Set("_dqs", "0")
	if readOnly {
		q.Set("_query_only", "on")
	} else {
		q.Set("_journal_mode", "WAL")
		q.Set("_synchronous", "FULL") // a commit returns after its fsync
		q.Set("_txlock", "immediate")
	}
	dsn := (&url.URL{Scheme: "file", Path: abs, RawQuery: q.Encode()}).String()
	for try := 1; ; try++ {
		db, err := sql.Open("sqlite", dsn)
		if err != nil {
			return nil, err
		}
		db.SetMaxOpenConns(1)
		var n int
		err = db.QueryRow("SELECT count(*) FROM sqlite_schema").Scan(&n)
		if err == nil {
			return db, nil
		}
		if err = errors.Join(err, db.Close()); !isBusy(err) || try == walSwitchTries {
			return nil, err
		}
		time.Sleep(20 * time.Millisecond)
	}
}

func isSQLiteConflict(err error) bool {
	c := code(err)
	return c == sqlite3.SQLITE_CONSTRAINT_UNIQUE || c == sqlite3.SQLITE_CONSTRAINT_PRIMARYKEY
}

func isBusy(err error) bool { return code(err)&0xff == sqlite3.SQLITE_BUSY }

// code returns SQLite's extended result code, 0 if err is not SQLite's.
func code(err error) int {
	var e *sqlite.Error
	if errors.As(err, &e) {
		return e.Code()
	}
	return 0
}

// explain marks errors that mean a damaged file with ErrDamaged.
func explain(err error) error {
	switch code(err) & 0xff {
	case sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_CORRUPT:
		return fmt.Errorf("%w: %w", ErrDamaged, err)
	}
	return err
}
