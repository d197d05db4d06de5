package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"syscall"
	"time"
)

// listeners are bound before anything else starts, so that a taken port is the first thing one hears of. Those that the role has no use
// for are nil.
type listeners struct{ grpc, http, api, telemetry net.Listener }

func listenAll(cfg Config) (*listeners, error) {
	ls := &listeners{}
	var errs []error
	for _, l := range cfg.listens() {
		into := map[string]*net.Listener{"--otlp-grpc": &ls.grpc, "--otlp-http": &ls.http, "--api": &ls.api, "--telemetry": &ls.telemetry}[l.flag]
		var err error
		if *into, err = net.Listen("tcp", l.addr); err != nil {
			hint := "name another address with " + l.flag
			if errors.Is(err, syscall.EADDRINUSE) {
				hint = "another process has this port: stop it, or name another with " + l.flag
			}
			errs = append(errs, fmt.Errorf("%s %s: %w (%s)", l.flag, l.addr, errors.Unwrap(err), hint))
		}
	}
	if err := errors.Join(errs...); err != nil {
		ls.close()
		return nil, err
	}
	return ls, nil
}

func (ls *listeners) close() {
	for _, l := range []net.Listener{ls.grpc, ls.http, ls.api, ls.telemetry} {
		if l != nil {
			_ = l.Close() // most are closed by their servers already
		}
	}
}

func (ls *listeners) addresses() addresses {
	of := func(l net.Listener) string {
		if l == nil {
			return ""
		}
		return l.Addr().String()
	}
	return addresses{OTLPGRPC: of(ls.grpc), OTLPHTTP: of(ls.http), API: of(ls.api), Telemetry: of(ls.telemetry)}
}

// serveHTTP returns a component that serves h on l until its context ends, then lets requests finish within grace.
func serveHTTP(l net.Listener, h http.Handler, grace time.Duration) func(context.Context) error {
	return func(ctx context.Context) error {
		srv := &http.Server{
			Handler: h, ReadHeaderTimeout: 10 * time.Second, ReadTimeout: time.Minute, IdleTimeout: 2 * time.Minute,
			MaxHeaderBytes: 64 << 10,
		}
		served := make(chan error, 1)
		go func() { served <- srv.Serve(l) }()
		select {
		case err := <-served:
			return err
		case <-ctx.Done():
		}
		end, cancel := context.WithTimeout(context.WithoutCancel(ctx), grace)
		defer cancel()
		if err := srv.Shutdown(end); err != nil {
			_ = srv.Close() // what has not finished within the grace period is cut off
		}
		<-served
		return nil
	}
}
