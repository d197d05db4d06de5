package ingest

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/headgate-io/headgate/auth"
	"github.com/headgate-io/headgate/ingest/otlp"
	"github.com/headgate-io/headgate/internal/tlsfiles"
	"github.com/headgate-io/headgate/metering"
	"github.com/headgate-io/headgate/storage"
)

// Options configures a Server. Now is required; other zero fields take the defaults.
type Options struct {
	Now              func() time.Time
	MaxBodyBytes     int64 // of a request, on the wire and uncompressed; default 64 MiB, as OTLP recommends
	MaxInFlightBytes int64 // of all requests being received or stored; default 512 MiB. One tenant gets what is free beside it, half at most
	MaxTenantBytes   int64 // of one tenant's requests, if that is less than what is free; default no less
	MaxTenantCalls   int   // of one tenant at a time; default 2,000
	MaxConnections   int   // of each port; default 10,000
	// MaxPeerConnections is how many of MaxConnections may come from one address; default half of them.
	MaxPeerConnections int
	// MaxAuthFailures is how many keys of one address may be refused per second, at each port, before its connections
	// are read more slowly; default 100, negative is any number. Who showed a good key lately is never slowed.
	MaxAuthFailures  int
	MaxConnectionAge time.Duration    // of gRPC, after which clients are asked to connect anew; default 30 min
	HeaderTimeout    time.Duration    // for the TLS handshake, and for the headers of a request; default 20 s
	BodyTimeout      time.Duration    // for a body to arrive, beyond one second per 32 KiB of it; default 30 s
	WriteTimeout     time.Duration    // for a client to take its answer; default 30 s
	Grace            time.Duration    // for requests in progress at shutdown; default 20 s
	TLS              tlsfiles.Options // of both ports; none without its CertFile
	CORSOrigins      []string         // that browsers may send from, beside those of keys: exact origins, or *; default none
	PathPrefix       string           // that paths of OTLP/HTTP may have before them, /otlp for example; default none
	Profiles         bool             // take profiles, whose protocol is in development; default no

	minPing time.Duration // gRPC clients that ping more often are sent away
}

func (o *Options) setDefaults() {
	o.MaxBodyBytes = cmp.Or(o.MaxBodyBytes, 64<<20)
	o.MaxInFlightBytes = cmp.Or(o.MaxInFlightBytes, 512<<20)
	o.MaxTenantBytes = cmp.Or(o.MaxTenantBytes, o.MaxInFlightBytes)
	o.MaxTenantCalls = cmp.Or(o.MaxTenantCalls, 2000)
	o.MaxConnections = cmp.Or(o.MaxConnections, 10_000)
	o.MaxPeerConnections = cmp.Or(o.MaxPeerConnections, max(1, o.MaxConnections/2))
	o.MaxAuthFailures = cmp.Or(o.MaxAuthFailures, 100)
	o.MaxConnectionAge = cmp.Or(o.MaxConnectionAge, 30*time.Minute)
	o.HeaderTimeout = cmp.Or(o.HeaderTimeout, 20*time.Second)
	o.BodyTimeout = cmp.Or(o.BodyTimeout, 30*time.Second)
	o.WriteTimeout = cmp.Or(o.WriteTimeout, 30*time.Second)
	o.Grace = cmp.Or(o.Grace, 20*time.Second)
	o.minPing = cmp.Or(o.minPing, 5*time.Second)
}

// Backend is what requests pass through. All fields are required.
type Backend struct {
	Keys   *auth.Directory
	Meter  *metering.Meter
	Ledger *metering.Ledger
	Log    *storage.Log
}

// Server receives OTLP.
type Server struct {
	receiver *receiver
	tls      *tlsfiles.Files // nil: plaintext
}

// New makes a Server; it serves nothing before Run. It fails if the TLS files cannot be used.
func New(opt Options, b Backend, log *slog.Logger, reg prometheus.Registerer) (*Server, error) {
	opt.setDefaults()
	budget := newBudget(opt.MaxInFlightBytes, opt.MaxTenantBytes, opt.MaxTenantCalls)
	s := &Server{receiver: &receiver{
		Backend: b, opt: opt, log: log, metrics: newMetrics(reg, func() float64 { return float64(budget.inUse()) }),
		decoders: sync.Pool{New: func() any { return otlp.NewDecoder(otlp.Limits{}) }},
		holds:    sync.Pool{New: func() any { return new(metering.Reservation) }},
		codecs:   newCodecs(), budget: budget, small: smallTurns(opt), large: largeTurns(opt), slow: slowTurns(opt),
		gates: newGates(time.Now, budget.waste.suspect), cors: cors{opt.CORSOrigins, b.Keys},
		acks: newAcks(b.Log.Window(), opt.Now()), notices: newNotices(),
	}}
	if opt.TLS.CertFile != "" {
		var err error
		if s.tls, err = tlsfiles.Open("otlp", opt.TLS, log, reg); err != nil {
			return nil, fmt.Errorf("otlp tls: %w", err)
		}
	}
	return s, nil
}

// Run serves OTLP/gRPC and OTLP/HTTP until ctx ends; then it accepts nothing new, lets requests finish within the grace
// period, and returns. It closes the listeners.
func (s *Server) Run(ctx context.Context, grpcListener, httpListener net.Listener) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var watching sync.WaitGroup
	defer watching.Wait()
	defer cancel()
	if s.tls != nil {
		watching.Go(func() { s.tls.Watch(ctx) })
	}
	errs := make(chan error, 2)
	go func() { errs <- s.serveGRPC(ctx, grpcListener) }()
	go func() { errs <- s.serveHTTP(ctx, httpListener) }()
	first := <-errs // one that fails takes the other along
	cancel()
	return errors.Join(first, <-errs)
}

// serveGRPC serves until ctx ends, then lets calls finish within the grace period.
func (s *Server) serveGRPC(ctx context.Context, l net.Listener) error {
	r := s.receiver
	srv, front := newGRPCServer(r), newFront(r, transportGRPC, l, s.tls)
	return s.serve(ctx, front, backing{
		name: "grpc", serve: srv.Serve, queue: front.http2,
		shutdown: func(grace context.Context) error {
			stop := context.AfterFunc(grace, srv.Stop)
			defer stop()
			srv.GracefulStop()
			return nil
		},
	})
}

// serveHTTP serves until ctx ends, then lets requests finish within the grace period.
func (s *Server) serveHTTP(ctx context.Context, l net.Listener) error {
	r := s.receiver
	front := newFront(r, transportHTTP, l, s.tls)
	front.http1 = newQueue(l.Addr())
	one, two := newHTTP1Server(r), newHTTP2Server(r)
	return s.serve(ctx, front,
		backing{name: "http/1.1", serve: one.Serve, queue: front.http1, shutdown: one.ShutdownWithContext},
		backing{name: "http/2", serve: two.Serve, queue: front.http2, shutdown: two.Shutdown},
	)
}

// backing is a server behind a front.
type backing struct {
	name     string
	serve    func(net.Listener) error
	queue    *queue
	shutdown func(context.Context) error
}

// serve runs a front and the servers behind it until ctx ends or one of them fails. Then the front stops first, so that
// nothing is accepted that no server takes.
func (s *Server) serve(ctx context.Context, f *front, servers ...backing) error {
	ctx, fail := context.WithCancelCause(ctx)
	defer fail(nil)
	var serving sync.WaitGroup
	for _, b := range servers {
		serving.Go(func() {
			if err := b.serve(b.queue); ctx.Err() == nil {
				fail(fmt.Errorf("serve otlp %s: %w", b.name, err))
			}
		})
	}
	accepted := make(chan error, 1)
	go func() { accepted <- f.run(ctx) }()
	var err error
	select {
	case err = <-accepted:
		fail(err)
	case <-ctx.Done():
		err = <-accepted
	}
	grace, cancel := context.WithTimeout(context.WithoutCancel(ctx), s.receiver.opt.Grace)
	defer cancel()
	var stopping sync.WaitGroup
	for _, b := range servers {
		stopping.Go(func() {
			if err := b.shutdown(grace); err != nil {
				s.receiver.log.Warn("requests were cut off at shutdown", "server", b.name, "err", err)
			}
			_ = b.queue.Close()
		})
	}
	stopping.Wait()
	serving.Wait()
	if cause := context.Cause(ctx); err == nil && !errors.Is(cause, context.Canceled) {
		err = cause
	}
	return err
}
