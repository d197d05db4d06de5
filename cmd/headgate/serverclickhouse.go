package main

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"github.com/ClickHouse/clickhouse-go/v2"

	"github.com/headgate-io/headgate/metering"
	"github.com/headgate-io/headgate/storage"
	"github.com/headgate-io/headgate/storage/schema"
)

// openClickHouse makes the connections, to the server that is given or to the engine that it starts. It waits for no answer.
func (s *server) openClickHouse(ctx context.Context) (err error) {
	if !s.role.query && !s.role.control {
		s.cfg.Server.Reader = "" // what the role has no use for cannot be wrong
	}
	if s.cfg.ClickHouse != "" && !s.role.writes() {
		s.log.Warn("this process is told of an account that may write to clickhouse, and has no use for it: give it --clickhouse-reader alone")
	}
	if s.ch, err = openClickHouse(s.cfg, s.beyond(ctx), s.log, s.reg); err != nil {
		return err
	}
	if s.conns, err = s.ch.connect(); err != nil {
		return err
	}
	s.onStop(func() error { s.conns.close(); return nil })
	return nil
}

// watchWalls makes what watches over the walls between tenants. It first looks once ClickHouse has the tables. Where queries are answered
// it refuses them; control looks at the text of the policies too, which those cannot who only read.
func (s *server) watchWalls(context.Context) error {
	if !s.role.query && s.cfg.Server.Reader == "" {
		return nil
	}
	s.walls = newWalls(s.ch.walls(s.conns, s.stored), s.role.query, s.log, s.reg)
	s.ready.walls.Store(s.walls)
	return nil
}

// stored is policy.Posture.Stored. What is not known is not looked for.
func (s *server) stored(ctx context.Context) []string {
	ids, err := metering.UnsafeStoredLately(ctx, s.db, time.Now())
	if err != nil {
		s.log.Warn("the walls are checked without rows to look for", "err", err)
	}
	return ids
}

// prepare brings ClickHouse's tables up to date once that answers, and then takes the log there, if there is one. A start waits a
// while for this.
func (s *server) prepare(ctx context.Context) error {
	s.prepared = make(chan struct{})
	name, wait := "clickhouse", "clickhouse is not ready yet"
	if s.wal != nil {
		name, wait = "log", wait+"; what is sent meanwhile waits in the log"
	}
	run := s.beyond(ctx)
	run(name, s.useClickHouse)
	if s.walls != nil {
		s.backend("walls", func(ctx context.Context) error { return s.walls.run(ctx, s.prepared) })
	}
	s.ready.set("waiting for clickhouse")
	select {
	case <-s.prepared:
	case <-time.After(startPatience):
		s.log.Warn(wait)
	case <-ctx.Done():
	}
	return nil
}

func (s *server) useClickHouse(ctx context.Context) error {
	err := retry(ctx, s.log, func(ctx context.Context) error {
		if s.conns.writer == nil {
			return s.checkSchema(ctx)
		}
		if err := storage.CreateDatabase(ctx, s.ch.writer); err != nil {
			return err
		}
		return storage.Migrate(ctx, s.conns.writer, schema.Migrations, s.log)
	})
	if err != nil || ctx.Err() != nil {
		return err
	}
	if s.walls != nil {
		s.walls.look(ctx)
	}
	close(s.prepared)
	if s.wal == nil {
		return nil
	}
	return s.wal.Run(ctx, s.conns.writer, s.cfg.ShutdownGrace)
}

// startPatience is how long a start waits for ClickHouse before it takes requests without.
const startPatience = 10 * time.Second

// checkSchema looks whether the tables are those that this headgate reads. An account that clickhouse-setup of an older headgate has made
// may not ask: then the check of the walls tells if there are none.
func (s *server) checkSchema(ctx context.Context) error {
	err := storage.CheckSchema(ctx, s.conns.reader, schema.Migrations)
	var answer *clickhouse.Exception
	if errors.As(err, &answer) && answer.Code == codeAccessDenied {
		s.log.Warn("the version of clickhouse's tables is not known: run headgate clickhouse-setup and its setup.sql again", "err", err)
		return nil
	}
	return err
}

// codeAccessDenied is ClickHouse's answer to an account without the grant.
const codeAccessDenied = 497

// tellAgain is after what time the log tells again of what has not changed.
const tellAgain = 30 * time.Second

// retry does what a start needs of ClickHouse, however long it takes until that answers, and until another headgate has made the tables.
func retry(ctx context.Context, log *slog.Logger, do func(context.Context) error) error {
	told, since := "", time.Now()
	for {
		attempt, cancel := context.WithTimeout(ctx, 5*time.Minute)
		err := do(attempt)
		cancel()
		if err == nil || ctx.Err() != nil {
			return nil
		}
		// An answer of ClickHouse will be the same next time; only silence is worth waiting for, and other processes.
		var answer *clickhouse.Exception
		if errors.As(err, &answer) || errors.Is(err, storage.ErrSchema) {
			return err
		}
		says := "clickhouse does not answer yet"
		if errors.Is(err, storage.ErrNotYet) {
			says = "clickhouse waits for a headgate of this version with --role control, ingest or all, which makes its tables"
		}
		if says != told || time.Since(since) > tellAgain {
			log.Warn(says, "err", err)
			told, since = says, time.Now()
		}
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(time.Second):
		}
	}
}
