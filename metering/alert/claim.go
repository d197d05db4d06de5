package alert

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/headgate-io/headgate/internal/store"
)

// A target that hangs holds one place for ten seconds, and then waits longer each time. So that its neighbours do not wait
// with it, targets that failed last time have few places of their own, and a tenant has few of either.
const (
	maxSending = 64 // targets at a time
	maxFailing = 16 // of them, that failed last time
	maxTenant  = 4  // of them, one tenant's
)

const (
	firstBackoff = 5 * time.Second
	maxBackoff   = time.Hour
)

// backoff returns how long to wait after the n-th failure in a row: 5 s, 10 s, 20 s … one hour, less up to half of it by
// chance, so that targets of one host do not come back together.
func backoff(n int64) time.Duration {
	d := maxBackoff
	if n < 11 {
		d = min(d, firstBackoff<<max(n-1, 0))
	}
	return d - rand.N(d/2)
}

// start claims targets that are due, as many as there are places, and lets each be served by a goroutine of its own.
func (s *Service) start(ctx context.Context) error {
	for _, failing := range []bool{false, true} {
		due, err := s.due(ctx, failing)
		if err != nil {
			return fmt.Errorf("look for deliveries: %w", err)
		}
		for _, w := range due {
			if !s.take(w.id, w.tenant, failing) {
				continue
			}
			t, claimed, err := s.claim(ctx, w.id)
			if err != nil || !claimed {
				s.leave(w.id)
				if err != nil {
					return fmt.Errorf("claim webhook: %w", err)
				}
				continue
			}
			s.wg.Go(func() { s.run(ctx, t) })
		}
	}
	return nil
}

func (s *Service) run(ctx context.Context, t target) {
	defer func() {
		s.leave(t.id)
		select {
		case s.wake <- struct{}{}: // a place is free
		default:
		}
	}()
	if err := s.serve(ctx, t); err != nil {
		s.log.Warn("webhook is given up for now", "webhook", t.id, "err", err)
	}
}

// take reserves a place, if there is one.
func (s *Service) take(webhook, tenant string, failing bool) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	same := 0
	for _, owner := range s.sending {
		if owner == tenant {
			same++
		}
	}
	if _, busy := s.sending[webhook]; busy || len(s.sending) >= maxSending || same >= maxTenant || failing && len(s.failing) >= maxFailing {
		return false
	}
	s.sending[webhook] = tenant
	if failing {
		s.failing[webhook] = true
	}
	s.m.busy.Set(float64(len(s.sending)))
	return true
}

func (s *Service) leave(webhook string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.sending, webhook)
	delete(s.failing, webhook)
	s.m.busy.Set(float64(len(s.sending)))
}

// maxDue bounds the targets that are looked at together.
const maxDue = 4 * maxSending

// due returns targets that have something to be sent and that nobody speaks to.
func (s *Service) due(ctx context.Context, failing bool) (out []target, err error) {
	ctx, cancel := context.WithTimeout(ctx, storeTimeout)
	defer cancel()
	failures := `= 0`
	if failing {
		failures = `> 0`
	}
	now := s.now().UnixMilli()
	err = s.db.View(ctx, func(tx *store.Tx) error {
		rows, err := tx.QueryContext(ctx, `SELECT w.id, w.tenant_id FROM webhooks w
			WHERE w.disabled_at IS NULL AND w.failures `+failures+` AND w.retry_at <= ? AND w.leased_until <= ?
				AND w.id IN (SELECT d.webhook_id FROM webhook_deliveries d WHERE d.state = 'pending' AND d.next_at <= ?)
			ORDER BY w.retry_at, w.id LIMIT ?`, now, now, now, maxDue)
		if err != nil {
			return err
		}
		defer rows.Close()
		for rows.Next() {
			var t target
			if err := rows.Scan(&t.id, &t.tenant); err != nil {
				return err
			}
			out = append(out, t)
		}
		return rows.Err()
	})
	return out, err
}

// claim takes the lease of a webhook unless somebody has it, in this process or another.
func (s *Service) claim(ctx context.Context, id string) (t target, claimed bool, err error) {
	ctx, cancel := context.WithTimeout(ctx, storeTimeout)
	defer cancel()
	now := s.now()
	err = s.db.Update(ctx, func(tx *store.Tx) error {
		err := tx.QueryRowContext(ctx, `UPDATE webhooks SET lease = ?, leased_until = ?
			WHERE id = ? AND leased_until <= ? AND disabled_at IS NULL RETURNING id, tenant_id, url, secret, failures`,
			s.lease, now.Add(leaseTime).UnixMilli(), id, now.UnixMilli()).Scan(&t.id, &t.tenant, &t.url, &t.secret, &t.failures)
		if errors.Is(err, sql.ErrNoRows) {
			return nil
		}
		claimed = err == nil
		return err
	})
	return t, claimed && err == nil, err
}
