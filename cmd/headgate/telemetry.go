package main

import (
	"fmt"
	"net/http"
	"net/http/pprof"
	"sync/atomic"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

func newRegistry() *prometheus.Registry {
	reg := prometheus.NewRegistry()
	reg.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}),
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Name: "headgate_build_info", Help: "Always 1; the label names the build.",
			ConstLabels: prometheus.Labels{"version": version},
		}, func() float64 { return 1 }))
	return reg
}

// readiness says why headgate is not ready, "" once it is.
type readiness struct {
	reason atomic.Pointer[string]
	walls  atomic.Pointer[walls] // nil until ClickHouse is known
}

func (r *readiness) set(reason string) { r.reason.Store(&reason) }

// telemetryHandler serves what operators watch. It needs no credential: keep its address private.
func telemetryHandler(reg *prometheus.Registry, ready *readiness) http.Handler {
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", promhttp.HandlerFor(reg, promhttp.HandlerOpts{Registry: reg}))
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprintln(w, "ok") })
	mux.HandleFunc("GET /readyz", func(w http.ResponseWriter, _ *http.Request) {
		if reason := *ready.reason.Load(); reason != "" {
			http.Error(w, reason, http.StatusServiceUnavailable)
			return
		}
		// Data are taken while queries are refused, so that this process is ready for those who send.
		if walls := ready.walls.Load(); walls != nil {
			if _, unsafe := walls.state(); unsafe != "" {
				fmt.Fprintln(w, "ready, but queries are refused: "+unsafe)
				return
			}
		}
		fmt.Fprintln(w, "ready")
	})
	mux.HandleFunc("GET /readyz/query", func(w http.ResponseWriter, _ *http.Request) {
		reason := *ready.reason.Load()
		if walls := ready.walls.Load(); reason == "" && walls != nil {
			known, unsafe := walls.state()
			if reason = unsafe; !known {
				reason = "the walls between tenants are not checked yet"
			}
		}
		if reason != "" {
			http.Error(w, reason, http.StatusServiceUnavailable)
			return
		}
		fmt.Fprintln(w, "ready")
	})
	mux.HandleFunc("/debug/walls", func(w http.ResponseWriter, r *http.Request) {
		walls := ready.walls.Load()
		if walls == nil {
			http.Error(w, *ready.reason.Load(), http.StatusServiceUnavailable)
			return
		}
		walls.serveReport(w, r)
	})
	mux.HandleFunc("GET /debug/pprof/", pprof.Index)
	mux.HandleFunc("GET /debug/pprof/cmdline", pprof.Cmdline)
	mux.HandleFunc("GET /debug/pprof/profile", pprof.Profile)
	mux.HandleFunc("GET /debug/pprof/symbol", pprof.Symbol)
	mux.HandleFunc("GET /debug/pprof/trace", pprof.Trace)
	return mux
}
