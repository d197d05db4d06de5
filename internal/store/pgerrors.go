package store

import (
	"database/sql"
	"errors"
	"strings"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

const uniqueViolation = "23505"

func isPostgresConflict(err error) bool {
	var e *pgconn.PgError
	return errors.As(err, &e) && e.Code == uniqueViolation
}

// isClosed reports that a transaction could not begin because its connection is no more. That a new one cannot be made is
// something else.
func isClosed(err error) bool {
	if refused := (*pgconn.ConnectError)(nil); errors.As(err, &refused) {
		return false
	}
	if answer := (*pgconn.PgError)(nil); errors.As(err, &answer) {
		return ends(answer)
	}
	return !pgconn.Timeout(err)
}

// inDoubt reports that a commit that failed with err may have been done: unless the server answered, and went on. The driver's
// SafeToRetry is no help: it also says so of a connection that broke while the answer was awaited.
func inDoubt(err error) bool {
	if answer := (*pgconn.PgError)(nil); errors.As(err, &answer) {
		return ends(answer)
	}
	return !errors.Is(err, pgx.ErrTxCommitRollback) && !errors.Is(err, sql.ErrTxDone)
}

// ends reports that the server has closed the connection with this answer, such as when it is shut down.
func ends(e *pgconn.PgError) bool {
	return e.SeverityUnlocalized == "FATAL" || e.SeverityUnlocalized == "PANIC"
}

// clean brings errors into one line. They name host, database and user; the driver puts the password in none.
func (pg *postgres) clean(err error) error {
	if refused := (*pgconn.ConnectError)(nil); errors.As(err, &refused) {
		return oneLine{err}
	}
	return err
}

type oneLine struct{ error }

func (e oneLine) Error() string {
	return strings.ReplaceAll(strings.ReplaceAll(e.error.Error(), ":\n\t", ": "), "\n\t", "; ")
}

func (e oneLine) Unwrap() error { return e.error }
