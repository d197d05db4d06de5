// Package store opens headgate's state database: tenants, keys, audit, limits and the usage ledger. Telemetry is never in
// it. It is SQLite for one machine, PostgreSQL for many.
//
// It promises, of both: Update is atomic and durable when it returns nil (SQLite: WAL journal, synchronous=FULL; PostgreSQL:
// synchronous_commit), and Updates run one after another, over all processes that have the database open. View sees one
// consistent state. Every migration is applied once, in order, each in a transaction of its own, also when several processes
// open a new database together. Migrations only add, so a binary runs on the schema of a newer one; every SELECT and INSERT
// therefore names its columns.
//
// It assumes, of SQLite, a local file system with working locks, no network file system; of PostgreSQL, a server of version
// 13 or later that was not told to forgo fsync. The packages auth and metering keep their own SQL, their tables are in
// migrations/. What differs between databases stays here.
package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"strings"
	"time"
)

// readConns bounds concurrent readers; they never wait for the writer, nor it for them.
const readConns = 4

// ErrInDoubt says that the connection broke, or time was up, while a transaction was being committed: it may or may not have
// been. Whoever is told it asks again, or does again what is the same done twice.
var ErrInDoubt = errors.New("it is not known whether the change was saved")

// DB is an open state database. It is safe for concurrent use.
type DB struct {
	w  *pool     // one connection: writers queue here instead of in the database
	r  *pool     // connections that only read
	pg *postgres // nil: SQLite
}

// Open opens the state database at where and applies missing migrations: of a postgres:// or postgresql:// URL the database on
// that server, in the schema that comes first in its search_path; else the file of that path, which is created with mode 0600
// if there is none, in a directory that must exist. Errors name the database, without password; one that is damaged or not
// headgate's is refused and left as it is.
func Open(where string) (*DB, error) {
	ctx := context.Background()
	if IsURL(where) {
		pg, err := parsePostgres(where)
		if err != nil {
			return nil, fmt.Errorf("state database: %w", err)
		}
		d, err := pg.open(ctx)
		if err != nil {
			return nil, fmt.Errorf("open state database %s: %w", pg.name, pg.clean(err))
		}
		return d, nil
	}
	d, err := openSQLite(ctx, where)
	if err != nil {
		return nil, fmt.Errorf("open state database %s: %w", where, explain(err))
	}
	return d, nil
}

// IsURL reports whether Open takes where for the URL of a PostgreSQL server.
func IsURL(where string) bool {
	return strings.HasPrefix(where, "postgres://") || strings.HasPrefix(where, "postgresql://")
}

// CheckURL returns what is wrong with the URL of a PostgreSQL server, without connecting.
func CheckURL(url string) error {
	_, err := parsePostgres(url)
	return err
}

// Shared reports whether processes of other machines may have the database open.
func (d *DB) Shared() bool { return d.pg != nil }

// Update runs fn in a write transaction. It returns nil only after the commit is durable; on any error but ErrInDoubt nothing
// of fn's work is kept. Updates of all processes run one after another, so fn must be short and must not call Update. In
// PostgreSQL each ends within 30 seconds.
func (d *DB) Update(ctx context.Context, fn func(tx *Tx) error) error { return d.w.inTx(ctx, fn) }

// View runs fn in a read transaction: all its queries see one state, the newest committed one when the first of them
// runs. Writing in it is an error. In PostgreSQL it ends within a minute.
func (d *DB) View(ctx context.Context, fn func(tx *Tx) error) error { return d.r.inTx(ctx, fn) }

// Close closes all connections. Calls in progress end first or fail.
func (d *DB) Close() error { return errors.Join(d.r.db.Close(), d.w.db.Close()) }

// IsConflict reports whether err is the violation of a unique index or primary key.
func IsConflict(err error) bool { return isSQLiteConflict(err) || isPostgresConflict(err) }

// pool is a pool of connections, and how transactions begin and end on them.
type pool struct {
	db     *sql.DB
	tx     sql.TxOptions
	first  string                    // statements that begin each transaction; "" is none
	limit  time.Duration             // of a transaction; 0 is none
	tries  int                       // to begin, where a connection turns out to be closed
	rebind func(query string) string // nil: the database takes ? itself
	pg     *postgres                 // nil: SQLite
}

func (p *pool) inTx(ctx context.Context, fn func(tx *Tx) error) error {
	if p.limit > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, p.limit)
		defer cancel()
	}
	tx, err := p.begin(ctx)
	if err != nil {
		return fmt.Errorf("begin: %w", p.explain(err))
	}
	defer tx.Rollback() // after Commit it does nothing
	if err := fn(&Tx{tx, p.rebind}); err != nil {
		return p.explain(err)
	}
	if err := ctx.Err(); err != nil { // so that what is told of a commit that never began is no doubt
		return fmt.Errorf("commit: %w", err)
	}
	if err := tx.Commit(); err != nil {
		if p.pg != nil && inDoubt(err) {
			err = fmt.Errorf("%w: %w", ErrInDoubt, err)
		}
		return fmt.Errorf("commit: %w", p.explain(err))
	}
	return nil
}

// begin begins a transaction. It tries again where it was handed a connection that the server has closed meanwhile: nothing
// has been asked of the server yet.
func (p *pool) begin(ctx context.Context) (tx *sql.Tx, err error) {
	for range p.tries {
		if tx, err = p.db.BeginTx(ctx, &p.tx); err == nil && p.first != "" {
			if _, err = tx.ExecContext(ctx, p.first); err != nil {
				tx.Rollback()
			}
		}
		if err == nil || ctx.Err() != nil || !isClosed(err) {
			return tx, err
		}
	}
	return nil, err
}

func (p *pool) explain(err error) error {
	if p.pg != nil {
		return p.pg.clean(err)
	}
	return explain(err)
}
