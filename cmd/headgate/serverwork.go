package main

import (
	"context"
	"errors"
	"time"

	"github.com/headgate-io/headgate/control"
	"github.com/headgate-io/headgate/metering"
	"github.com/headgate-io/headgate/storage"
)

// work runs what looks at ClickHouse and at the state database by itself.
func (s *server) work(context.Context) error {
	counter, err := storage.OpenCounter(s.ch.writer, s.wal)
	if err != nil {
		return err
	}
	if s.exporter, err = storage.OpenExporter(s.ch.writer); err != nil {
		return err
	}
	s.onStop(s.exporter.Close)
	s.verifier = metering.NewVerifier(s.ledger, counter, s.reg)
	s.backend("verifier", func(ctx context.Context) error { return errors.Join(s.verifier.Run(ctx), counter.Close()) })

	s.keeper = newKeeper(&keeper{measure: storage.NewMeasure(counter.Conn), directory: s.directory, meter: s.meter, db: s.db, now: time.Now, log: s.log}, s.reg)
	s.backend("keeper", func(ctx context.Context) error { return s.keeper.Run(ctx, s.prepared) })

	s.deleter = &control.Deleter{Directory: s.directory, Telemetry: control.StoredTelemetry{Log: s.wal, Conn: s.conns.writer}, Worker: s.logName, Now: time.Now, Logger: s.log, Reached: deletionReached}
	s.backend("deletions", s.deleter.Run)
	return nil
}
