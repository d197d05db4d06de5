package main

import (
	"context"
	"maps"
	"net/http"
	"slices"
	"time"

	"github.com/headgate-io/headgate/auth/saved"
	"github.com/headgate-io/headgate/control"
	"github.com/headgate-io/headgate/internal/httpapi"
	"github.com/headgate-io/headgate/metering"
	"github.com/headgate-io/headgate/query"
	"github.com/headgate-io/headgate/query/jaeger"
	"github.com/headgate-io/headgate/query/prom"
)

const queryPath = "/api/v1/query"

// answer serves --api.
func (s *server) answer(context.Context) error {
	proxies, err := httpapi.ParseProxies(s.cfg.TrustedProxies)
	if err != nil {
		return err
	}
	mux := http.NewServeMux()
	api := &control.API{Part: s.role.part(), Directory: s.directory, Now: timeNow, Log: s.log, Version: version}
	if s.role.control {
		s.governs(api)
	}
	if s.role.query {
		s.reads(mux, api)
	} else {
		for _, path := range []string{queryPath, jaeger.Prefix, prom.Prefix + "/"} {
			mux.Handle(path, control.Elsewhere(control.PartQuery, s.log))
		}
	}
	api.Register(mux)
	l, err := s.secured(s.ls.api)
	if err != nil {
		return err
	}
	s.edge("api", serveHTTP(l, proxies.Handler(mux), s.cfg.ShutdownGrace))
	return nil
}

// governs gives api what the control plane needs.
func (s *server) governs(api *control.API) {
	api.Ledger, api.Alerts, api.Verifier, api.Signer = s.ledger, s.alerts, s.verifier, s.signer
	api.Deleter, api.Exporter, api.OIDC, api.Kept = s.deleter, s.exporter, s.people.oidc, s.keeper.Kept
	api.QueryTiers = slices.Sorted(maps.Keys(s.tiers))
	api.Limits = func(ctx context.Context, c metering.Charge, at time.Time) ([]metering.LimitState, error) {
		switch {
		case s.meter == nil:
			return metering.StoredLimits(ctx, s.db, c, s.keeper.Kept, at)
		case s.leases != nil:
			return s.meter.LimitsAmong(ctx, s.db, c, at)
		}
		return s.meter.Limits(c, at)
	}
}

// reads serves what reads telemetry, and gives api what saved queries need.
func (s *server) reads(mux *http.ServeMux, api *control.API) {
	reader := query.NewReader(s.conns.reader, query.ReaderOptions{
		Limits: s.limits, Tiers: s.tiers, Tier: s.directory.QueryTier, Slow: s.cfg.Query.Slow,
		Settings: s.ch.capability, Refuse: s.walls.refuse, CacheBytes: s.cfg.Query.cacheBytes(), Log: s.log, Metrics: s.reg,
	})
	opts := query.HandlerOptions{
		Authenticate: queryCaller(s.directory),
		CursorKey:    s.directory.DeriveKey("query cursors"),
		MaxAge:       s.cfg.Query.MaxAge,
		Log:          s.log,
	}
	metrics := prom.NewHandler(reader, prom.Options{Authenticate: queryReader(s.directory), MaxAge: s.cfg.Query.MaxAge, Log: s.log})
	mux.Handle(queryPath, query.NewHandler(reader, opts))
	mux.Handle(jaeger.Prefix, jaeger.New(reader, jaeger.Options{Authenticate: queryReader(s.directory), Log: s.log}))
	mux.Handle(prom.Prefix+"/", metrics)
	api.Queries = queriesAs(reader, opts, metrics)
	api.Saved = saved.New(s.directory, s.db, languages())
}
