package main

import (
	"context"
	"fmt"
	"os"

	"github.com/headgate-io/headgate/auth"
	"github.com/headgate-io/headgate/control"
	"github.com/headgate-io/headgate/internal/fleet"
	"github.com/headgate-io/headgate/internal/store"
	"github.com/headgate-io/headgate/metering"
	"github.com/headgate-io/headgate/metering/alert"
)

// listen takes the data directory and the ports, and serves --telemetry.
func (s *server) listen(ctx context.Context) (err error) {
	if s.dir, err = openDataDir(s.cfg.DataDir); err != nil {
		return err
	}
	s.onStop(s.dir.close)
	if !s.role.receive {
		if err := s.dir.refuseLog(s.cfg.Role); err != nil {
			return err
		}
	}
	if s.ls, err = listenAll(s.cfg); err != nil {
		return err
	}
	s.onStop(func() error { s.ls.close(); return nil })
	s.ready.set("starting")
	run := s.until(ctx, func() { s.fail(nil) })
	run("telemetry", serveHTTP(s.ls.telemetry, telemetryHandler(s.reg, s.ready), s.cfg.ShutdownGrace))
	return nil
}

// openState opens the state database and who is in it.
func (s *server) openState(ctx context.Context) (err error) {
	if s.db, err = store.Open(s.cfg.database()); err != nil {
		return err
	}
	s.onStop(s.db.Close)
	if err := s.cfg.fixRegion(ctx, s.db); err != nil {
		return err
	}
	if err := os.MkdirAll(s.cfg.secrets(), 0o700); err != nil {
		return fmt.Errorf("secrets directory: %w", err)
	}
	s.directory, err = auth.Open(ctx, s.db, auth.Options{Now: timeNow, Dir: s.cfg.secrets(), Logger: s.log, Registry: s.reg, UserUse: control.AlertUsers})
	if err != nil {
		return err
	}
	s.name = walDir
	if s.cfg.replicated() {
		s.name, err = s.dir.replica()
	}
	return err
}

// keepState keeps memory and the state database together, until the edge and the log have ended.
func (s *server) keepState(ctx context.Context) error {
	s.backend = s.beyond(ctx)
	s.backend("directory", s.directory.Run)
	if !s.cfg.replicated() {
		return nil
	}
	host, _ := os.Hostname() // for information
	others := fleet.New(s.db, fleet.Options{ID: s.name, Role: s.cfg.Role, Host: host, Version: version, Now: timeNow, Logger: s.log, Registry: s.reg})
	s.ready.others.Store(others)
	s.backend("fleet", others.Run)
	return nil
}

// keepBooks writes refusals, seals hours, and leases.
func (s *server) keepBooks(context.Context) error {
	s.backend("ledger", s.ledger.Run)
	if s.leases != nil {
		s.backend("leases", s.leases.Run)
	}
	return nil
}

// keepPeople sends messages and webhooks, and opens what people are let in by and what exports are signed with.
func (s *server) keepPeople(ctx context.Context) (err error) {
	if s.signer, err = metering.OpenSigner(ctx, s.db, s.cfg.secrets(), timeNow()); err != nil {
		return err
	}
	if s.people, err = openPeople(s.cfg, s.directory, s.log, s.reg); err != nil {
		return err
	}
	s.backend("outbox", s.people.outbox.Run)
	s.alerts = alert.New(s.db, alert.Options{
		Now: timeNow, Key: s.directory.DeriveKey("webhook secrets"), AllowPrivate: s.cfg.WebhookPrivate, Audit: control.AuditAlert,
		Logger: s.log, Registry: s.reg,
	})
	s.backend("alerts", s.alerts.Run)
	return nil
}
