package main

import (
	"context"
	"fmt"
	"log/slog"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/headgate-io/headgate/auth"
	"github.com/headgate-io/headgate/internal/store"
	"github.com/headgate-io/headgate/internal/tenant"
	"github.com/headgate-io/headgate/metering"
	"github.com/headgate-io/headgate/metering/alert"
	"github.com/headgate-io/headgate/storage"
)

const (
	// keptInterval is how often what tenants keep is measured while one has a limit of it, and keptIdle while none has.
	keptInterval = time.Minute
	keptIdle     = 10 * time.Minute
	// storageLimitID names the limit in events, as in errors.
	storageLimitID = "limit-storage-bytes"
)

// keeper holds tenants to their limits of stored bytes: it measures what they keep, tells the meter, and makes events of what
// nears its limit. Each process measures for itself.
type keeper struct {
	measure   *storage.Measure
	directory *auth.Directory
	meter     *metering.Meter // nil: nothing is admitted here
	db        *store.DB
	now       func() time.Time
	log       *slog.Logger
	measured  prometheus.Gauge
	failures  prometheus.Counter

	last    atomic.Pointer[map[string]int64] // as measured, with descendants; nil before that
	at      time.Time                        // of it
	reached map[tenant.ID]int                // highest threshold at the last measurement, percent
}

// newKeeper makes k ready, whose fields up to log are set.
func newKeeper(k *keeper, reg prometheus.Registerer) *keeper {
	k.reached = map[tenant.ID]int{}
	k.measured = prometheus.NewGauge(prometheus.GaugeOpts{
		Name: "headgate_storage_measured_timestamp_seconds", Help: "When what tenants keep in ClickHouse was last measured.",
	})
	k.failures = prometheus.NewCounter(prometheus.CounterOpts{
		Name: "headgate_storage_measure_failures_total", Help: "Measurements of what tenants keep that failed; the numbers before stay in force.",
	})
	reg.MustRegister(k.measured, k.failures)
	return k
}

// Kept returns the bytes that a tenant and its descendants keep, and whether that was measured.
func (k *keeper) Kept(id tenant.ID) (int64, bool) {
	m := k.last.Load()
	if m == nil {
		return 0, false
	}
	return (*m)[id.String()], true
}

// Run measures until ctx ends, from when ready is closed. What fails is tried again at the next turn; the numbers before stay
// in force.
func (k *keeper) Run(ctx context.Context, ready <-chan struct{}) error {
	select {
	case <-ctx.Done():
		return nil
	case <-ready:
	}
	tick := time.NewTicker(keptInterval)
	defer tick.Stop()
	failing := false
	for {
		err := k.turn(ctx)
		if ctx.Err() != nil {
			return nil
		}
		if err != nil && !failing {
			k.log.Warn("stored bytes cannot be measured or told of, the last numbers stay in force", "err", err)
		}
		if err == nil && failing {
			k.log.Info("stored bytes are measured again")
		}
		failing = err != nil
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
	}
}

// turn measures if that is due.
func (k *keeper) turn(ctx context.Context) error {
	limits := k.directory.UnsafeStorageLimits()
	if len(limits) == 0 && !k.at.IsZero() && k.now().Sub(k.at).Abs() < keptIdle {
		return nil
	}
	own, err := k.measure.UnsafeKept(ctx)
	if err != nil {
		k.failures.Inc()
		return err
	}
	kept := k.directory.UnsafeWithDescendants(own)
	if k.meter != nil {
		k.meter.SetStorage(kept)
	}
	k.last.Store(&kept)
	k.at = k.now()
	k.measured.Set(float64(k.at.Unix()))
	return k.alert(ctx, limits, kept)
}

// alert makes an event of each threshold that a tenant has reached since the last measurement, once a day. At the first one
// of a process, which knows of none before, it is the highest alone.
func (k *keeper) alert(ctx context.Context, limits []auth.StorageLimit, kept map[string]int64) error {
	reached := map[tenant.ID]int{}
	var events []alert.Event
	for _, l := range limits {
		used := kept[l.Tenant.String()]
		all := alert.Crossed(-1, used, l.Max)
		before, known := k.reached[l.Tenant]
		if len(all) > 0 {
			reached[l.Tenant] = all[len(all)-1]
		} else {
			reached[l.Tenant] = 0
		}
		if !known && len(all) > 0 {
			all = all[len(all)-1:]
		}
		for _, threshold := range all {
			if threshold > before {
				events = append(events, alert.Event{Tenant: l.Tenant.String(), Kind: alert.Storage, Owner: alert.OwnerTenant,
					OwnerID: l.Tenant.String(), LimitID: storageLimitID, Day: l.Zone.Day(k.now()).Number, Threshold: threshold,
					Used: used, Max: l.Max, At: k.now()})
			}
		}
	}
	if len(events) > 0 {
		err := k.db.Update(ctx, func(tx *store.Tx) error {
			for _, e := range events {
				if err := alert.Record(ctx, tx, e); err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil {
			return fmt.Errorf("record alerts of stored bytes: %w", err)
		}
	}
	k.reached = reached
	return nil
}
