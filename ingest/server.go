package ingest

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/headgate-io/headgate/auth"
	"github.com/headgate-io/headgate/ingest/otlp"
	"github.com/headgate-io/headgate/metering"
	"github.com/headgate-io/headgate/storage"
)

// Options configures a Server. Now is required; other zero fields take the defaults.
type Options struct {
	Now          func() time.Time
	MaxBodyBytes int64         // of a request, on the wire and uncompressed; default 64 MiB, as OTLP recommends
	Grace        time.Duration // for requests in progress at shutdown; default 20 s
	ReadTimeout  time.Duration // for one HTTP request to arrive; default 1 min
}

// Backend is what requests pass through. All fields are required.
type Backend struct {
	Keys   *auth.Directory
	Meter  *metering.Meter
	Ledger *metering.Ledger
	Writer *storage.Writer
}

// Server receives OTLP.
type Server struct{ receiver *receiver }

// New makes a Server; it serves nothing before Run.
func New(opt Options, b Backend, log *slog.Logger, reg prometheus.Registerer) *Server {
	if opt.MaxBodyBytes == 0 {
		opt.MaxBodyBytes = 64 << 20
	}
	if opt.Grace == 0 {
		opt.Grace = 20 * time.Second
	}
	if opt.ReadTimeout == 0 {
		opt.ReadTimeout = time.Minute
	}
	return &Server{&receiver{
		Backend: b, opt: opt, log: log, metrics: newMetrics(reg),
		decoders: sync.Pool{New: func() any { return otlp.NewDecoder(otlp.Limits{}) }},
	}}
}

// Run serves OTLP/gRPC and OTLP/HTTP until ctx ends; then it accepts nothing new, lets requests finish within the grace
// period, and returns. It closes the listeners.
func (s *Server) Run(ctx context.Context, grpcListener, httpListener net.Listener) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	errs := make(chan error, 2)
	go func() { errs <- s.serveGRPC(ctx, grpcListener) }()
	go func() { errs <- s.serveHTTP(ctx, httpListener) }()
	first := <-errs // one that fails takes the other along
	cancel()
	return errors.Join(first, <-errs)
}
