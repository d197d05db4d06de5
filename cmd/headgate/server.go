package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"sync"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/headgate-io/headgate/auth"
	"github.com/headgate-io/headgate/control"
	"github.com/headgate-io/headgate/internal/store"
	"github.com/headgate-io/headgate/metering"
	"github.com/headgate-io/headgate/metering/alert"
	"github.com/headgate-io/headgate/query"
	"github.com/headgate-io/headgate/storage"
)

// server is a headgate that runs: what each step of its start has opened for the later ones. Steps run one after the other.
type server struct {
	cfg    Config
	role   role
	stdout io.Writer
	log    *slog.Logger
	reg    *prometheus.Registry
	ready  *readiness
	fail   func(error) // ends the process; nil for no error

	limits query.Limits
	tiers  map[string]query.Limits

	dir *dataDir
	ls  *listeners

	name      string // of this process among those of its database, and of its log in the ledger
	db        *store.DB
	directory *auth.Directory
	people    people
	signer    *metering.Signer
	alerts    *alert.Service

	meter  *metering.Meter
	leases *metering.Leases // nil: no other process admits
	ledger *metering.Ledger
	wal    *storage.Log // nil: the role has none

	ch    backend
	conns connections
	walls *walls // nil: the role does not watch over them

	backend runner // of what the edge and the log need: ends after them
	edge    runner // of what takes requests: ends first

	prepared chan struct{}   // closed once ClickHouse has the tables
	counter  storage.Counter // of the keeper and the verifier
	verifier *metering.Verifier
	keeper   *keeper
	deleter  *control.Deleter
	exporter *storage.Exporter

	stops []func() error
}

// onStop has f called when the server stops: after what was opened later, before what was opened earlier.
func (s *server) onStop(f func() error) { s.stops = append(s.stops, f) }

// stop closes what was opened.
func (s *server) stop() error {
	var errs []error
	for i := len(s.stops) - 1; i >= 0; i-- {
		errs = append(errs, s.stops[i]())
	}
	return errors.Join(errs...)
}

// runner runs a component beside others until the context of all of them ends. One that fails ends the process.
type runner func(name string, f func(context.Context) error)

// until makes a runner whose components run until ctx ends. At its turn in the stop end is called, and they are waited for.
func (s *server) until(ctx context.Context, end func()) runner {
	var wg sync.WaitGroup
	s.onStop(func() error {
		end()
		wg.Wait()
		return nil
	})
	return func(name string, f func(context.Context) error) {
		wg.Go(func() {
			if err := f(ctx); err != nil {
				s.fail(fmt.Errorf("%s: %w", name, err))
			}
		})
	}
}

// beyond makes a runner whose components outlive ctx, until their turn in the stop.
func (s *server) beyond(ctx context.Context) runner {
	ctx, end := context.WithCancel(context.WithoutCancel(ctx))
	return s.until(ctx, end)
}
