package store

import (
	"context"
	"time"

	"github.com/jackc/pgx/v5"
)

const (
	// changesChannel is what the trigger on changes notifies; its payload is the schema.
	changesChannel = "headgate_changes"
	watchCheck     = 30 * time.Second // without news, the connection is asked whether it lives
	watchPause     = time.Second      // between connections
)

// Watch sends to wake when changes.n may have grown, by whatever process, until ctx ends. It never waits for the receiver:
// with room for one in the channel no news is lost. It is an addition to polling, which alone is sure: there is no news while
// the connection is down, through a pooler, or from SQLite, for which Watch returns at once.
func (d *DB) Watch(ctx context.Context, wake chan<- struct{}) {
	if d.pg == nil {
		return
	}
	for ctx.Err() == nil {
		_ = d.pg.listen(ctx, wake) // why the connection ended does not matter: the poll tells of an outage
		select {
		case <-ctx.Done():
		case <-time.After(watchPause):
		}
	}
}

func (pg *postgres) listen(ctx context.Context, wake chan<- struct{}) error {
	conn, err := pgx.ConnectConfig(ctx, pg.config.Copy())
	if err != nil {
		return err
	}
	defer conn.Close(context.WithoutCancel(ctx))
	if _, err := conn.Exec(ctx, `LISTEN `+changesChannel); err != nil {
		return err
	}
	send(wake) // for what was missed
	for {
		n, err := waitFor(ctx, conn)
		if err != nil {
			return err
		}
		if n == pg.schema {
			send(wake)
		}
	}
}

// waitFor returns the schema of the next notification, or "" where there was none for a while and the connection lives.
func waitFor(ctx context.Context, conn *pgx.Conn) (schema string, err error) {
	patience, cancel := context.WithTimeout(ctx, watchCheck)
	defer cancel()
	n, err := conn.WaitForNotification(patience)
	if err == nil {
		return n.Payload, nil
	}
	if ctx.Err() != nil || patience.Err() == nil {
		return "", err
	}
	check, cancel := context.WithTimeout(ctx, connectTimeout)
	defer cancel()
	return "", conn.Ping(check)
}

func send(wake chan<- struct{}) {
	select {
	case wake <- struct{}{}:
	default:
	}
}
