package alert

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/headgate-io/headgate/internal/store"
	"github.com/headgate-io/headgate/internal/tenant"
)

const (
	// pollInterval is how soon an event is noticed by Run.
	pollInterval = time.Second
	// storeTimeout bounds a transaction.
	storeTimeout = 10 * time.Second
	// keepAlerts is how long events are kept.
	keepAlerts = 400 * 24 * time.Hour
	// maxNoted bounds the events that one round takes to the audit.
	maxNoted = 100
)

// Options configures New. Now and Key are required.
type Options struct {
	Now func() time.Time
	Key [KeyBytes]byte // encrypts the secrets of webhooks; the same on all processes of a database
	// AllowPrivate lets webhooks speak to private and reserved addresses.
	AllowPrivate bool
	// Audit writes the audit's entry of an event in the transaction; nil: there is none.
	Audit    func(context.Context, *store.Tx, Alert) error
	Logger   *slog.Logger // nil discards
	Registry prometheus.Registerer
}

// Service keeps webhooks and delivers events to them. Several processes may run one each on the same database.
type Service struct {
	db           *store.DB
	now          func() time.Time
	vault        vault
	allowPrivate bool
	audit        func(context.Context, *store.Tx, Alert) error
	log          *slog.Logger
	m            *metrics
	client       *http.Client
	lease        string // names this process in webhooks.lease

	wake chan struct{} // of one: a delivery ended
	wg   sync.WaitGroup

	mu      sync.Mutex        // guards what follows
	sending map[string]string // webhook id → tenant id of what is spoken to
	failing map[string]bool   // of them, those that failed last time
	cleaned time.Time         // when clean last ran
}

// New makes the service of db. It starts nothing; deliveries wait for Run.
func New(db *store.DB, o Options) *Service {
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	return &Service{
		db: db, now: o.Now, vault: newVault(o.Key), allowPrivate: o.AllowPrivate, audit: o.Audit, log: o.Logger,
		m: newMetrics(o.Registry), client: newClient(o.AllowPrivate, attemptTimeout), lease: newID(o.Now()),
		wake: make(chan struct{}, 1), sending: map[string]string{}, failing: map[string]bool{},
	}
}

// Run delivers events and takes them to the audit until ctx ends. An attempt that ctx ends is made again by the next Run.
func (s *Service) Run(ctx context.Context) error {
	defer s.wg.Wait()
	tick := time.NewTicker(pollInterval)
	defer tick.Stop()
	broken := false
	for {
		err := s.round(ctx)
		if ctx.Err() != nil {
			return nil
		}
		if err != nil && !broken {
			s.log.Warn("alerts are not all noted and delivered", "err", err)
		}
		broken = err != nil
		select {
		case <-ctx.Done():
			return nil
		case <-s.wake:
		case <-tick.C:
		}
	}
}

// round does what is due. What fails is due again, and hinders nothing else.
func (s *Service) round(ctx context.Context) (err error) {
	for _, step := range []func(context.Context) error{s.note, s.clean} {
		short, cancel := context.WithTimeout(ctx, storeTimeout)
		err = errors.Join(err, step(short))
		cancel()
	}
	return errors.Join(err, s.start(ctx))
}

// note takes new events to the audit, the log and the metrics. The mark that it is done is set in the audit entry's
// transaction, so there is one entry for each event.
func (s *Service) note(ctx context.Context) error {
	var fresh []Alert
	unnoted := func(tx *store.Tx) (err error) {
		fresh, err = queryAlerts(ctx, tx, `WHERE a.noted = 0 ORDER BY a.id LIMIT ?`, maxNoted)
		return err
	}
	if err := s.db.View(ctx, unnoted); err != nil || len(fresh) == 0 {
		return err
	}
	err := s.db.Update(ctx, func(tx *store.Tx) error {
		if err := unnoted(tx); err != nil { // another process may have been quicker
			return err
		}
		for _, a := range fresh {
			if _, err := tx.ExecContext(ctx, `UPDATE alerts SET noted = 1 WHERE id = ?`, a.ID); err != nil {
				return err
			}
			if s.audit == nil {
				continue
			}
			if err := s.audit(ctx, tx, a); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("note alerts: %w", err)
	}
	for _, a := range fresh {
		s.m.event(a)
		s.log.Info("alert", "tenant", a.TenantID, "kind", a.Kind, "limit", a.LimitID, "threshold", a.Threshold)
	}
	return nil
}

// clean ends deliveries that nobody can make and removes old events, once an hour.
func (s *Service) clean(ctx context.Context) error {
	now := s.now()
	s.mu.Lock()
	due := now.Sub(s.cleaned).Abs() >= time.Hour
	s.mu.Unlock()
	if !due {
		return nil
	}
	old := now.Add(-keepAlerts).UnixMilli()
	err := s.db.Update(ctx, func(tx *store.Tx) error {
		_, err := tx.ExecContext(ctx, `UPDATE webhook_deliveries SET state = 'failed',
			last_error = CASE WHEN last_error = '' THEN 'not tried in two days' ELSE last_error END
			WHERE state = 'pending' AND created_at < ?`, now.Add(-2*giveUpAfter).UnixMilli())
		if err != nil {
			return err
		}
		_, err = tx.ExecContext(ctx, `DELETE FROM webhook_deliveries WHERE alert_id IN (SELECT id FROM alerts WHERE at < ?)`, old)
		if err != nil {
			return err
		}
		_, err = tx.ExecContext(ctx, `DELETE FROM alerts WHERE at < ?`, old)
		return err
	})
	if err != nil {
		return fmt.Errorf("remove old alerts: %w", err)
	}
	s.mu.Lock()
	s.cleaned = now
	s.mu.Unlock()
	return nil
}

// DeleteTenant removes a tenant's events and webhooks. Calling it again is fine.
func (s *Service) DeleteTenant(ctx context.Context, id tenant.ID) error {
	err := s.db.Update(ctx, func(tx *store.Tx) error {
		for _, q := range []string{
			`DELETE FROM webhook_deliveries WHERE webhook_id IN (SELECT id FROM webhooks WHERE tenant_id = ?)`,
			`DELETE FROM webhook_deliveries WHERE alert_id IN (SELECT id FROM alerts WHERE tenant_id = ?)`,
			`DELETE FROM webhooks WHERE tenant_id = ?`,
			`DELETE FROM alerts WHERE tenant_id = ?`,
		} {
			if _, err := tx.ExecContext(ctx, q, id.String()); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("delete alerts of tenant %s: %w", id, err)
	}
	return nil
}
