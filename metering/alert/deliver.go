package alert

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/headgate-io/headgate/internal/store"
)

const (
	// leaseTime is how long a process may be silent until another may speak to its target. It is renewed after each attempt.
	leaseTime = 3 * attemptTimeout
	// giveUpAfter is how long a delivery is tried.
	giveUpAfter = 24 * time.Hour
	// maxBurst bounds the deliveries to one target in a row, so that its turn ends.
	maxBurst = 100
)

// target is a webhook that this process holds the lease of.
type target struct {
	id, tenant, url string
	secret          []byte // sealed
	failures        int64
}

// delivery is one that is due.
type delivery struct {
	alert    Alert
	attempts int64
	created  time.Time
}

// payload is the body of a message: the names that Standard Webhooks recommends.
type payload struct {
	Type      Kind      `json:"type"`
	Timestamp time.Time `json:"timestamp"`
	Data      any       `json:"data"`
}

func (s *Service) message(t target, id string, p payload) (message, error) {
	secret, err := s.vault.open(t.id, t.secret)
	if err != nil {
		return message{}, err
	}
	body, err := json.Marshal(p)
	if err != nil {
		return message{}, err
	}
	return message{id: id, url: t.url, secret: secret, body: body, at: s.now()}, nil
}

// serve speaks to a target until nothing is due, an attempt fails, or its turn ends, and then gives the lease back.
func (s *Service) serve(ctx context.Context, t target) error {
	for range maxBurst {
		d, due, err := s.next(ctx, t)
		if err != nil || !due {
			return errors.Join(err, s.release(ctx, t))
		}
		o := s.attempt(ctx, t, d)
		s.m.attempts.WithLabelValues(o.result).Inc()
		if o.result == resultCanceled {
			break
		}
		if held, err := s.finish(ctx, t, d, o); err != nil || !held || o.result != resultDelivered {
			return err
		}
		t.failures = 0
	}
	return s.release(ctx, t)
}

func (s *Service) attempt(ctx context.Context, t target, d delivery) outcome {
	a := d.alert
	m, err := s.message(t, a.ID, payload{a.Kind, a.At, a})
	if err != nil {
		return outcome{result: resultNetwork, text: err.Error()}
	}
	return send(ctx, s.client, m)
}

// next returns the delivery that is due for longest; none once the lease is lost.
func (s *Service) next(ctx context.Context, t target) (d delivery, due bool, err error) {
	ctx, cancel := context.WithTimeout(ctx, storeTimeout)
	defer cancel()
	err = s.db.View(ctx, func(tx *store.Tx) error {
		var id string
		var created int64
		err := tx.QueryRowContext(ctx, `SELECT alert_id, attempts, created_at FROM webhook_deliveries
			WHERE webhook_id = ? AND state = 'pending' AND next_at <= ? AND EXISTS (SELECT 1 FROM webhooks WHERE id = ? AND lease = ?)
			ORDER BY next_at, alert_id LIMIT 1`, t.id, s.now().UnixMilli(), t.id, s.lease).Scan(&id, &d.attempts, &created)
		if errors.Is(err, sql.ErrNoRows) {
			return nil
		}
		if err != nil {
			return err
		}
		found, err := queryAlerts(ctx, tx, `WHERE a.id = ?`, id)
		if err != nil || len(found) == 0 {
			return err
		}
		d.alert, d.created, due = found[0], millis(created), true
		return nil
	})
	if err != nil {
		return delivery{}, false, fmt.Errorf("read delivery: %w", err)
	}
	return d, due, nil
}

// finish records what became of an attempt, and renews the lease after a success or gives it back after a failure. held is
// false if the lease was lost before: then somebody else goes on, and records the same or more.
//
// What was sent before a crash that came before finish is sent again: at least once.
func (s *Service) finish(ctx context.Context, t target, d delivery, o outcome) (held bool, err error) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), storeTimeout)
	defer cancel()
	now := s.now()
	state, retry, failures := StateDelivered, int64(0), int64(0)
	lease, until := s.lease, now.Add(leaseTime).UnixMilli()
	next := now.Add(max(backoff(d.attempts+1), o.retryAfter))
	if o.result != resultDelivered {
		failures = t.failures + 1
		wait := now.Add(max(backoff(failures), o.retryAfter)) // of the target's other deliveries too
		if wait.After(next) {
			next = wait
		}
		retry, state, lease, until = wait.UnixMilli(), StatePending, "", 0
	}
	if state == StatePending && next.Sub(d.created) > giveUpAfter {
		state = StateFailed
	}
	var disabled any
	if o.result == resultGone {
		disabled = now.UnixMilli()
	}
	err = s.db.Update(ctx, func(tx *store.Tx) error {
		res, err := tx.ExecContext(ctx, `UPDATE webhooks SET failures = ?, retry_at = ?, lease = ?, leased_until = ?,
			disabled_at = COALESCE(disabled_at, CAST(? AS BIGINT)) WHERE id = ? AND lease = ?`,
			failures, retry, lease, until, disabled, t.id, s.lease)
		if err != nil {
			return err
		}
		n, err := res.RowsAffected()
		if held = n == 1; err != nil || !held {
			return err
		}
		_, err = tx.ExecContext(ctx, `UPDATE webhook_deliveries SET state = ?, attempts = attempts + 1, next_at = ?, last_at = ?,
			last_status = ?, last_error = ? WHERE webhook_id = ? AND alert_id = ?`,
			state, next.UnixMilli(), now.UnixMilli(), o.status, o.text, t.id, d.alert.ID)
		return err
	})
	if err != nil {
		return false, fmt.Errorf("record delivery: %w", err)
	}
	if held && state != StatePending {
		s.m.ended.WithLabelValues(state).Inc()
	}
	if o.result != resultDelivered {
		s.log.Warn("webhook delivery failed", "webhook", t.id, "tenant", t.tenant, "alert", d.alert.ID,
			"attempts", d.attempts+1, "result", o.result, "status", o.status, "state", state)
	}
	return held, nil
}

// release gives the lease back, if it is still ours.
func (s *Service) release(ctx context.Context, t target) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), storeTimeout)
	defer cancel()
	err := s.db.Update(ctx, func(tx *store.Tx) error {
		_, err := tx.ExecContext(ctx, `UPDATE webhooks SET lease = '', leased_until = 0 WHERE id = ? AND lease = ?`, t.id, s.lease)
		return err
	})
	if err != nil {
		return fmt.Errorf("release webhook: %w", err)
	}
	return nil
}
