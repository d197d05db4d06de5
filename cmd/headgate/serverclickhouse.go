package main

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"github.com/ClickHouse/clickhouse-go/v2"
	"github.com/ClickHouse/clickhouse-go/v2/lib/driver"

	"github.com/headgate-io/headgate/storage"
	"github.com/headgate-io/headgate/storage/schema"
)

// openClickHouse makes the connections, to the server that is given or to the engine that it starts. It waits for no answer.
func (s *server) openClickHouse(ctx context.Context) (err error) {
	if !s.role.query {
		s.cfg.Server.Reader = "" // what the role has no use for cannot be wrong
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

// watchWalls makes what watches over the walls between tenants. It first looks once ClickHouse has the tables.
func (s *server) watchWalls(context.Context) error {
	s.walls = newWalls(s.ch.walls(s.conns), s.log, s.reg)
	s.ready.walls.Store(s.walls)
	return nil
}

// prepare brings ClickHouse's tables up to date once that answers, and then takes the log there, if there is one. A start waits a
// while for this.
func (s *server) prepare(ctx context.Context) error {
	s.prepared = make(chan struct{})
	name, wait := "clickhouse", "clickhouse does not answer yet"
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
	if err := prepare(ctx, s.ch.writer, s.conns.writer, s.log); err != nil || ctx.Err() != nil {
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

// prepare waits for ClickHouse, however long that takes, and brings the schema up to date.
func prepare(ctx context.Context, opt *clickhouse.Options, conn driver.Conn, log *slog.Logger) error {
	for {
		attempt, cancel := context.WithTimeout(ctx, 5*time.Minute)
		err := storage.CreateDatabase(attempt, opt)
		if err == nil {
			err = storage.Migrate(attempt, conn, schema.Migrations, log)
		}
		cancel()
		if err == nil || ctx.Err() != nil {
			return nil
		}
		// An answer of ClickHouse will be the same next time; only silence is worth waiting for.
		var answer *clickhouse.Exception
		if errors.As(err, &answer) || errors.Is(err, storage.ErrSchema) {
			return err
		}
		log.Warn("clickhouse does not answer yet", "err", err)
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(time.Second):
		}
	}
}
