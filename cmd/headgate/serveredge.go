package main

import (
	"cmp"
	"context"

	"github.com/headgate-io/headgate/ingest"
	"github.com/headgate-io/headgate/internal/tlsfiles"
)

// openEdge makes the runner of what takes requests.
func (s *server) openEdge(ctx context.Context) error {
	s.edge = s.until(ctx, func() { s.ready.set("stopping"); s.fail(nil) })
	return nil
}

// receive serves OTLP.
func (s *server) receive(context.Context) error {
	cfg := s.cfg
	var tenantBytes int64 // no bound of its own
	if b := cfg.TenantInFlight.bytes; b != nil {
		tenantBytes = *b
	}
	receiver, err := ingest.New(ingest.Options{
		MaxBodyBytes: *cfg.MaxBody.bytes, MaxInFlightBytes: *cfg.MaxInFlight.bytes,
		MaxTenantBytes: tenantBytes, MaxTenantCalls: cfg.TenantRequests, Grace: cfg.ShutdownGrace, Now: timeNow,
		MaxConnections: cfg.MaxConnections, MaxPeerConnections: cfg.MaxPeerConnections, MaxAuthFailures: cmp.Or(cfg.MaxAuthFailures, -1),
		TLS:         tlsfiles.Options{CertFile: cfg.TLSCert, KeyFile: cfg.TLSKey, ClientCAFile: cfg.TLSClientCA},
		CORSOrigins: cfg.CORSOrigins, Profiles: cfg.Profiles, PathPrefix: cfg.PathPrefix,
	}, ingest.Backend{Keys: s.directory, Meter: s.meter, Ledger: s.ledger, Log: s.wal}, s.log, s.reg)
	if err != nil {
		return err
	}
	s.edge("otlp", func(ctx context.Context) error { return receiver.Run(ctx, s.ls.grpc, s.ls.http) })
	return nil
}
