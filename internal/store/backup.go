package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
)

// ErrNewer says that a database is of a later version of headgate.
var ErrNewer = errors.New("it is of a newer headgate: run that one")

// Backup copies the SQLite database at from, which may be in use, into a new file. The copy is of one moment, checked, and of mode
// 0600; it appears whole and durable, or not at all. The database at from is not migrated.
func Backup(ctx context.Context, from, to string) error {
	if _, err := os.Stat(from); err != nil {
		return fmt.Errorf("back up %s: %w", from, err)
	}
	return copyTo(to, func(tmp string) error {
		db, err := connectSQLite(from, false)
		if err != nil {
			return fmt.Errorf("back up %s: %w", from, explain(err))
		}
		defer db.Close()
		if _, err := db.ExecContext(ctx, `VACUUM INTO ?`, tmp); err != nil {
			return fmt.Errorf("back up %s: %w", from, explain(err))
		}
		return Check(ctx, tmp)
	})
}

// Restore puts a backup where there is no database. It is checked first: a file that is damaged, of another program or of a later
// headgate is refused. It appears whole and durable, or not at all.
func Restore(ctx context.Context, from, to string) error {
	if err := Check(ctx, from); err != nil {
		return err
	}
	return copyTo(to, func(tmp string) error {
		db, err := openCopy(from)
		if err != nil {
			return err
		}
		defer db.Close()
		if _, err := db.ExecContext(ctx, `VACUUM INTO ?`, tmp); err != nil {
			return fmt.Errorf("restore %s: %w", from, explain(err))
		}
		return Check(ctx, tmp)
	})
}

// openCopy opens a file that nobody else has open, and never writes to it.
func openCopy(path string) (*sql.DB, error) {
	abs, err := filepath.Abs(path)
	if err != nil {
		return nil, err
	}
	if _, err := os.Stat(abs); err != nil {
		return nil, err
	}
	return sql.Open("sqlite", (&url.URL{Scheme: "file", Path: abs, RawQuery: "mode=ro&immutable=1"}).String())
}

// Check returns what is wrong with a copy of a SQLite database: damage, rows that refer to none, another program's tables, or
// migrations that this headgate does not know.
func Check(ctx context.Context, path string) error {
	db, err := openCopy(path)
	if err != nil {
		return fmt.Errorf("check %s: %w", path, err)
	}
	defer db.Close()
	if err := check(ctx, db); err != nil {
		return fmt.Errorf("check %s: %w", path, explain(err))
	}
	return nil
}

func check(ctx context.Context, db *sql.DB) error {
	var said string
	if err := db.QueryRowContext(ctx, `PRAGMA integrity_check(1)`).Scan(&said); err != nil {
		return err
	}
	if said != "ok" {
		return fmt.Errorf("%w: %s", ErrDamaged, said)
	}
	var dangling int
	if err := db.QueryRowContext(ctx, `SELECT count(*) FROM pragma_foreign_key_check`).Scan(&dangling); err != nil {
		return err
	}
	if dangling > 0 {
		return fmt.Errorf("%w: %d rows refer to none", ErrDamaged, dangling)
	}
	tx, err := db.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	defer tx.Rollback()
	var tables, ours int
	if err := tx.QueryRowContext(ctx, sqliteDialect.tables).Scan(&tables, &ours); err != nil {
		return err
	}
	if ours != 1 {
		return errForeign
	}
	all, err := migrations(embedded, sqliteDialect.name)
	if err != nil {
		return err
	}
	if _, err := without(ctx, &Tx{tx: tx}, all); err != nil {
		return err
	}
	var newest int
	if err := tx.QueryRowContext(ctx, `SELECT max(version) FROM schema_migrations`).Scan(&newest); err != nil {
		return err
	}
	if newest > len(all) {
		return ErrNewer
	}
	return nil
}

// copyTo lets write make a file, and puts it at path, where none may be.
func copyTo(path string, write func(tmp string) error) (err error) {
	if _, err := os.Lstat(path); err == nil {
		return fmt.Errorf("%s: %w", path, os.ErrExist)
	}
	dir := filepath.Dir(path)
	work, err := os.MkdirTemp(dir, ".headgate-") // of mode 0700: the copy holds hashes of keys and passwords
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(work)) }()
	tmp := filepath.Join(work, "state")
	if err := write(tmp); err != nil {
		return err
	}
	f, err := os.OpenFile(tmp, os.O_RDWR, 0)
	if err != nil {
		return err
	}
	if err := errors.Join(f.Chmod(0o600), f.Sync(), f.Close()); err != nil {
		return err
	}
	if err := os.Link(tmp, path); err != nil { // other than a rename it replaces nothing
		return err
	}
	return SyncDir(dir)
}
