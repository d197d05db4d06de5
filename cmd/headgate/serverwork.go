package main

import (
	"context"
	"errors"

	"github.com/headgate-io/headgate/control"
	"github.com/headgate-io/headgate/metering"
	"github.com/headgate-io/headgate/storage"
)

// measure tells the meter and the API what tenants keep.
func (s *server) measure(context.Context) (err error) {
	if s.counter, err = storage.OpenCounter(s.ch.writer, s.wal); err != nil {
		return err
	}
	s.keeper = newKeeper(&keeper{measure: storage.NewMeasure(s.counter.Conn), directory: s.directory, meter: s.meter, db: s.db, now: timeNow, log: s.log}, s.reg)
	s.backend("keeper", func(ctx context.Context) error { return s.keeper.Run(ctx, s.prepared) })
	return nil
}

// verify compares the ledger with ClickHouse once a day; in a process that leaves this to others it tells them what its log has set aside.
func (s *server) verify(context.Context) error {
	run := (*metering.Verifier).Run
	if s.role.control {
		s.verifier = metering.NewVerifier(s.ledger, s.counter, s.reg)
	} else {
		s.verifier, run = metering.NewVerifier(s.ledger, s.counter, nil), (*metering.Verifier).RunAside // metrics are of who compares
	}
	s.backend("verifier", func(ctx context.Context) error { return errors.Join(run(s.verifier, ctx), s.counter.Close()) })
	return nil
}

// delete carries out deletions of tenants, as far as they are this process's to carry out.
func (s *server) delete(context.Context) error {
	s.deleter = &control.Deleter{Directory: s.directory, Telemetry: control.StoredTelemetry{Log: s.wal, Conn: s.conns.writer}, Now: timeNow, Logger: s.log, Reached: deletionReached}
	if s.role.receive {
		s.deleter.Log = s.name
	}
	if s.role.control {
		s.deleter.Worker = s.name
	}
	s.backend("deletions", s.deleter.Run)
	return nil
}

// openExporter opens the way of exports out of ClickHouse.
func (s *server) openExporter(context.Context) (err error) {
	if s.exporter, err = storage.OpenExporter(s.ch.writer); err != nil {
		return err
	}
	s.onStop(s.exporter.Close)
	return nil
}
