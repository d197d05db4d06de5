package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"os"
)

// Probe reports why a state database cannot be used, nil if it answers. Unlike Open it changes nothing: it migrates nothing,
// and makes no file where there is none.
func Probe(ctx context.Context, where string) error {
	if IsURL(where) {
		pg, err := parsePostgres(where)
		if err != nil {
			return fmt.Errorf("state database: %w", err)
		}
		d := &DB{pg: pg, w: pg.pool(1, updateLimit, sql.TxOptions{ReadOnly: true}), r: pg.pool(1, viewLimit, sql.TxOptions{ReadOnly: true})}
		if err := errors.Join(d.View(ctx, pg.check), d.Close()); err != nil {
			return fmt.Errorf("state database %s: %w", pg.name, pg.clean(err))
		}
		return nil
	}
	if _, err := os.Stat(where); err != nil { // SQLite would make the file
		return fmt.Errorf("state database: %w", err)
	}
	r, err := connectSQLite(where, true)
	if err != nil {
		return fmt.Errorf("state database %s: %w", where, explain(err))
	}
	defer r.Close()
	var version int64
	if err := r.QueryRowContext(ctx, `SELECT COALESCE(MAX(version), 0) FROM schema_migrations`).Scan(&version); err != nil {
		return fmt.Errorf("state database %s: %w", where, explain(err))
	}
	return nil
}
