package alert

import (
	"context"
	"fmt"
	"time"

	"github.com/headgate-io/headgate/internal/store"
)

// TestResult is what became of a message that was sent on request.
type TestResult struct {
	Delivered  bool   `json:"delivered"`
	Status     int    `json:"status,omitempty"` // of the answer
	Error      string `json:"error,omitempty"`
	DurationMS int64  `json:"duration_ms"`
}

// Test sends a message of the kind webhook.test to a webhook, once and at once, also to a disabled one. Errors: ErrNotFound,
// ErrBusy while the webhook or too many others are spoken to.
func (s *Service) Test(ctx context.Context, r Reach, id string) (TestResult, error) {
	var t target
	err := s.db.View(ctx, func(tx *store.Tx) error {
		w, err := find(ctx, tx, r, id)
		if err != nil {
			return err
		}
		t = target{id: w.ID, tenant: w.Tenant, url: w.URL}
		return tx.QueryRowContext(ctx, `SELECT secret FROM webhooks WHERE id = ?`, id).Scan(&t.secret)
	})
	if err != nil {
		return TestResult{}, err
	}
	// SECURITY: it takes one of the places, those of failing targets, so that nobody sends tests faster than events.
	if !s.take(t.id, t.tenant, true) {
		return TestResult{}, ErrBusy
	}
	defer s.leave(t.id)
	at := s.now()
	m, err := s.message(t, newID(at), payload{testKind, at.UTC().Truncate(time.Millisecond), map[string]string{"webhook_id": t.id}})
	if err != nil {
		return TestResult{}, fmt.Errorf("test webhook: %w", err)
	}
	o := send(ctx, s.client, m)
	s.m.attempts.WithLabelValues(o.result).Inc()
	return TestResult{Delivered: o.result == resultDelivered, Status: o.status, Error: o.text,
		DurationMS: s.now().Sub(at).Milliseconds()}, nil
}
