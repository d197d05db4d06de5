package store

import (
	"context"
	"database/sql"
)

// Tx is a transaction. Statements are written once, with ? for each argument, and mean the same to every database. It is used
// by one goroutine, and within the function that it is handed to alone.
//
// Text that is stored or compared is valid UTF-8 without NUL: PostgreSQL takes no other.
type Tx struct {
	tx     *sql.Tx
	rebind func(query string) string // nil: the database takes ? itself
}

// ExecContext runs a statement that returns no rows. Without arguments it may be several statements.
func (t *Tx) ExecContext(ctx context.Context, query string, args ...any) (sql.Result, error) {
	return t.tx.ExecContext(ctx, t.text(ctx, query), args...)
}

// QueryContext runs a statement that returns rows, which the caller closes.
func (t *Tx) QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error) {
	return t.tx.QueryContext(ctx, t.text(ctx, query), args...)
}

// QueryRowContext runs a statement that returns one row at most.
func (t *Tx) QueryRowContext(ctx context.Context, query string, args ...any) *sql.Row {
	return t.tx.QueryRowContext(ctx, t.text(ctx, query), args...)
}

// PrepareContext prepares a statement to run more than once. The caller closes it.
func (t *Tx) PrepareContext(ctx context.Context, query string) (*sql.Stmt, error) {
	return t.tx.PrepareContext(ctx, t.text(ctx, query))
}

func (t *Tx) text(ctx context.Context, query string) string {
	if fn, ok := ctx.Value(traceKey{}).(func(string)); ok {
		fn(query)
	}
	if t.rebind == nil {
		return query
	}
	return t.rebind(query)
}

type traceKey struct{}

// WithTrace returns a context whose statements fn is told of, as written and before each is run or prepared: what a request asks the
// database tells how long it takes better than a clock does.
func WithTrace(ctx context.Context, fn func(query string)) context.Context {
	return context.WithValue(ctx, traceKey{}, fn)
}
