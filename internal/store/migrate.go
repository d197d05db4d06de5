package store

import (
	"context"
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"strconv"
	"strings"
)

//go:embed migrations/sqlite/*.sql migrations/postgres/*.sql
var embedded embed.FS

var errForeign = errors.New("tables of another program are in it: choose another file or, of PostgreSQL, another database or schema")

// migration is one file migrations/<dialect>/NNNN_name.sql. The dialects have the same files.
type migration struct {
	version int
	name    string
	sql     string
}

// dialect is what migrate needs to know of a database.
type dialect struct {
	name   string // of the directory of its migrations
	tables string // counts all tables, and those that are the table of applied migrations
	create string // makes that table
}

// migrate applies what is missing, each file in a transaction of its own: dying between two leaves a valid older schema.
// Versions above the newest known one belong to a newer binary and are left alone.
func migrate(ctx context.Context, w *pool, d dialect) error {
	all, err := migrations(embedded, d.name)
	if err != nil {
		return err
	}
	var missing []migration
	err = w.inTx(ctx, func(tx *Tx) error {
		if err := prepare(ctx, tx, d); err != nil {
			return err
		}
		missing, err = without(ctx, tx, all)
		return err
	})
	if err != nil {
		return err
	}
	for _, m := range missing {
		if err := w.inTx(ctx, func(tx *Tx) error { return apply(ctx, tx, m) }); err != nil {
			return fmt.Errorf("migration %s: %w", m.name, err)
		}
	}
	return nil
}

// prepare makes the table of applied migrations, and refuses a database that holds tables but not this one.
func prepare(ctx context.Context, tx *Tx, d dialect) error {
	var tables, ours int
	if err := tx.QueryRowContext(ctx, d.tables).Scan(&tables, &ours); err != nil {
		return err
	}
	if ours == 1 {
		return nil
	}
	if tables > 0 {
		return errForeign
	}
	_, err := tx.ExecContext(ctx, d.create)
	return err
}

// without returns those of all that are not recorded.
func without(ctx context.Context, tx *Tx, all []migration) (missing []migration, err error) {
	rows, err := tx.QueryContext(ctx, `SELECT version, name FROM schema_migrations`)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	recorded := map[int]string{}
	for rows.Next() {
		var version int
		var name string
		if err := rows.Scan(&version, &name); err != nil {
			return nil, err
		}
		recorded[version] = name
	}
	for _, m := range all {
		switch name, ok := recorded[m.version]; {
		case !ok:
			missing = append(missing, m)
		case name != m.name:
			return nil, fmt.Errorf("migration %s: recorded as %s: the file comes from another build", m.name, name)
		}
	}
	return missing, rows.Err()
}

// apply runs m unless it is recorded. The check is inside the transaction, which holds the write lock: a second process
// starting now waits and then finds it recorded.
func apply(ctx context.Context, tx *Tx, m migration) error {
	if missing, err := without(ctx, tx, []migration{m}); err != nil || len(missing) == 0 {
		return err
	}
	if _, err := tx.ExecContext(ctx, m.sql); err != nil {
		return err
	}
	_, err := tx.ExecContext(ctx, `INSERT INTO schema_migrations (version, name) VALUES (?, ?)`, m.version, m.name)
	return err
}

// migrations lists the files of a dialect in order and refuses gaps, doubles and odd names.
func migrations(fsys fs.FS, dialect string) ([]migration, error) {
	dir := "migrations/" + dialect + "/"
	paths, err := fs.Glob(fsys, dir+"*.sql") // sorted
	if err != nil {
		return nil, err
	}
	var out []migration
	for _, p := range paths {
		name := strings.TrimPrefix(p, dir)
		number, _, _ := strings.Cut(name, "_")
		v, err := strconv.Atoi(number)
		if err != nil || len(number) != 4 || v != len(out)+1 {
			return nil, fmt.Errorf("migration file %s: want number %04d", name, len(out)+1)
		}
		text, err := fs.ReadFile(fsys, p)
		if err != nil {
			return nil, err
		}
		out = append(out, migration{version: v, name: name, sql: string(text)})
	}
	return out, nil
}
