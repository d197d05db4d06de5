package main

import (
	"cmp"
	"context"
	"maps"
	"net/http"
	"slices"
	"time"

	"github.com/headgate-io/headgate/auth/saved"
	"github.com/headgate-io/headgate/control"
	"github.com/headgate-io/headgate/ingest"
	"github.com/headgate-io/headgate/internal/httpapi"
	"github.com/headgate-io/headgate/internal/tlsfiles"
	"github.com/headgate-io/headgate/query"
	"github.com/headgate-io/headgate/query/jaeger"
	"github.com/headgate-io/headgate/query/prom"
)

// receive serves OTLP.
func (s *server) receive(ctx context.Context) error {
	s.edge = s.until(ctx, func() { s.ready.set("stopping"); s.fail(nil) })
	cfg := s.cfg
	var tenantBytes int64 // no bound of its own
	if b := cfg.TenantInFlight.bytes; b != nil {
		tenantBytes = *b
	}
	receiver, err := ingest.New(ingest.Options{
		MaxBodyBytes: *cfg.MaxBody.bytes, MaxInFlightBytes: *cfg.MaxInFlight.bytes,
		MaxTenantBytes: tenantBytes, MaxTenantCalls: cfg.TenantRequests, Grace: cfg.ShutdownGrace, Now: time.Now,
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

// answer serves --api.
func (s *server) answer(context.Context) error {
	api := &control.API{
		Directory: s.directory, Meter: s.meter, Ledger: s.ledger, Alerts: s.alerts, Verifier: s.verifier, Signer: s.signer, Now: time.Now, Log: s.log, Version: version,
		OIDC:    s.people.oidc,
		Kept:    s.keeper.Kept,
		Deleter: s.deleter, Exporter: s.exporter,
		QueryTiers: slices.Sorted(maps.Keys(s.tiers)),
		Saved:      saved.New(s.directory, s.db, languages()),
	}
	reader := query.NewReader(s.conns.reader, query.ReaderOptions{
		Limits: s.limits, Tiers: s.tiers, Tier: s.directory.QueryTier, Slow: s.cfg.Query.Slow,
		Settings: s.ch.capability, Refuse: s.walls.refuse, CacheBytes: s.cfg.Query.cacheBytes(), Log: s.log, Metrics: s.reg,
	})
	proxies, err := httpapi.ParseProxies(s.cfg.TrustedProxies)
	if err != nil {
		return err
	}
	l, err := s.secured(s.ls.api)
	if err != nil {
		return err
	}
	s.edge("api", serveHTTP(l, proxies.Handler(s.apiHandler(api, reader)), s.cfg.ShutdownGrace))
	return nil
}

// apiHandler serves everything on --api.
func (s *server) apiHandler(api *control.API, reader *query.Reader) http.Handler {
	mux := http.NewServeMux()
	opts := query.HandlerOptions{
		Authenticate: queryCaller(api.Directory),
		CursorKey:    api.Directory.DeriveKey("query cursors"),
		MaxAge:       s.cfg.Query.MaxAge,
		Log:          s.log,
	}
	mux.Handle("/api/v1/query", query.NewHandler(reader, opts))
	metrics := prom.NewHandler(reader, prom.Options{Authenticate: queryReader(api.Directory), MaxAge: s.cfg.Query.MaxAge, Log: s.log})
	api.Queries = queriesAs(reader, opts, metrics)
	api.Register(mux)
	mux.Handle(jaeger.Prefix, jaeger.New(reader, jaeger.Options{Authenticate: queryReader(api.Directory), Log: s.log}))
	mux.Handle(prom.Prefix+"/", metrics)
	return mux
}
