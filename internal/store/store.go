// Package store opens headgate's state database: tenants, keys, audit, limits and the usage ledger. Telemetry is never in
// it.
//
// It promises: Update is atomic and durable when it returns nil (WAL journal, synchronous=FULL, so the commit was synced);
// View sees one consistent state. Every migration is applied once, in order, each in a transaction of its own, also when
// several processes open a new file together. Migrations only add, so a binary runs on the schema of a newer one; every
// SELECT and INSERT therefore names its columns.
//
// It assumes a local file system with working locks; no network file system. The packages auth and metering keep their
// own SQL, their tables are in migrations/. What differs between databases stays in dialect.go.
package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
)

// readConns bounds concurrent readers; they never wait for the writer, nor it for them.
const readConns = 4

// DB is an open state database. It is safe for concurrent use.
type DB struct {
	path string
	w    *sql.DB // one connection: writers queue here instead of meeting SQLITE_BUSY
	r    *sql.DB // query-only connections
}

// Open opens the database file at path, creates it with mode 0600 if there is none, and applies missing migrations. The
// directory must exist. Errors name the file; a file that is damaged or not headgate's is refused and left as it is.
func Open(path string) (*DB, error) {
	d, err := open(path)
	if err != nil {
		return nil, fmt.Errorf("open state database %s: %w", path, explain(err))
	}
	return d, nil
}

func open(path string) (*DB, error) {
	if err := createFile(path); err != nil {
		return nil, err
	}
	w, err := connect(path, false)
	if err != nil {
		return nil, err
	}
	if err := migrate(context.Background(), w); err != nil {
		return nil, errors.Join(err, w.Close())
	}
	r, err := connect(path, true)
	if err != nil {
		return nil, errors.Join(err, w.Close())
	}
	r.SetMaxOpenConns(readConns)
	r.SetMaxIdleConns(readConns)
	return &DB{path: path, w: w, r: r}, nil
}

// Path returns the file the database was opened from.
func (d *DB) Path() string { return d.path }

// Update runs fn in a write transaction. It returns nil only after the commit is synced to disk; on any error nothing of
// fn's work is kept. Writers run one after another, so fn must be short and must not call Update.
func (d *DB) Update(ctx context.Context, fn func(tx *Tx) error) error {
	return inTx(ctx, d.w, fn)
}

// View runs fn in a read transaction: all its queries see one state, the newest committed one when the first of them
// runs. Writing in it is an error.
func (d *DB) View(ctx context.Context, fn func(tx *Tx) error) error {
	return inTx(ctx, d.r, fn)
}

// Close closes all connections. Calls in progress end first or fail.
func (d *DB) Close() error { return errors.Join(d.r.Close(), d.w.Close()) }

func inTx(ctx context.Context, db *sql.DB, fn func(tx *Tx) error) error {
	tx, err := db.BeginTx(ctx, nil)
	if err != nil {
		return fmt.Errorf("begin: %w", explain(err))
	}
	defer tx.Rollback() // after Commit it does nothing
	if err := fn(&Tx{tx}); err != nil {
		return explain(err)
	}
	if err := tx.Commit(); err != nil {
		return fmt.Errorf("commit: %w", explain(err))
	}
	return nil
}
