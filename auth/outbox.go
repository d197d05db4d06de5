package auth

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/headgate-io/headgate/internal/store"
	"github.com/headgate-io/headgate/internal/tenant"
)

// Message is what an invitation or a new password is sent by.
type Message struct {
	ID      string    `json:"id"`
	Kind    string    `json:"kind"`   // invitation or reset
	Tenant  string    `json:"tenant"` // name
	To      string    `json:"to"`     // an address as emailKey takes it
	Token   string    `json:"token"`
	Expires time.Time `json:"expires_at"`
}

// Sender sends a message. It returns nil once the message is in other hands for good; after an error, and after a crash, the
// same message is sent again. It is called by one goroutine at a time.
type Sender interface {
	Send(ctx context.Context, m Message) error
}

const (
	outboxPoll    = time.Second
	outboxLease   = 2 * time.Minute // of one attempt: no other replica tries meanwhile
	outboxTimeout = time.Minute     // of one attempt
	outboxFirst   = 10 * time.Second
	outboxMost    = 30 * time.Minute
	outboxKept    = 30 * 24 * time.Hour // of what was sent
	maxResets     = 256                 // that wait to be looked at
)

// never is when a message is due that was given up.
const never = 1 << 62

// OutboxOptions configures NewOutbox. Sender is required.
type OutboxOptions struct {
	Sender   Sender
	Logger   *slog.Logger // nil discards
	Registry prometheus.Registerer
}

// Outbox sends the messages that wait in the database. Several processes may run one on the same database: each message is
// tried by one of them at a time. It is safe for concurrent use.
type Outbox struct {
	d      *Directory
	sender Sender
	log    *slog.Logger
	sent   *prometheus.CounterVec
}

// NewOutbox makes an outbox; call Run.
func (d *Directory) NewOutbox(o OutboxOptions) *Outbox {
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	b := &Outbox{d: d, sender: o.Sender, log: o.Logger, sent: prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "headgate_auth_outbox_attempts_total",
		Help: "Attempts to send an invitation or a password reset, by result: sent, failed (tried again) or dropped (too late).",
	}, []string{"result"})}
	for _, result := range []string{"sent", "failed", "dropped"} {
		b.sent.WithLabelValues(result)
	}
	if o.Registry != nil {
		o.Registry.MustRegister(b.sent)
	}
	return b
}

// enqueue puts a message into the outbox within tx.
//
// SECURITY: it holds a token, so it is sealed, and removed once it is sent.
func (d *Directory) enqueue(ctx context.Context, tx *store.Tx, owner tenant.ID, m Message, at time.Time) error {
	raw, err := json.Marshal(m)
	if err != nil {
		return err
	}
	_, err = tx.ExecContext(ctx, `INSERT INTO outbox (id, tenant_id, kind, recipient, body, created_at, next_at) VALUES (?, ?, ?, ?, ?, ?, ?)`,
		m.ID, owner.String(), m.Kind, m.To, seal(d.DeriveKey("outbox"), m.ID, raw), at.UnixMilli(), at.UnixMilli())
	return err
}

// Run sends until ctx ends, and handles what RequestReset was asked for. It looks for messages each second.
func (b *Outbox) Run(ctx context.Context) error {
	tick := time.NewTicker(outboxPoll)
	defer tick.Stop()
	swept := time.Time{}
	for {
		select {
		case <-ctx.Done():
			return nil
		case r := <-b.d.door.resets:
			if err := b.d.reset(ctx, r); err != nil && ctx.Err() == nil {
				b.log.Warn("a password reset could not be prepared", "err", err)
			}
			continue
		case <-tick.C:
		}
		for {
			found, err := b.step(ctx)
			if err != nil && ctx.Err() == nil {
				b.log.Warn("messages cannot be read", "err", err)
			}
			if !found || err != nil {
				break
			}
		}
		if now := b.d.now(); now.Sub(swept) >= time.Minute {
			swept = now
			if err := b.sweep(ctx, now); err != nil && ctx.Err() == nil {
				b.log.Warn("what is over cannot be removed", "err", err)
			}
		}
	}
}

// unsafeDue is a message that this process has for itself, until outboxLease is over.
type unsafeDue struct {
	Message
	attempts int
}

// step tries the message that is due longest, and reports whether there was one.
func (b *Outbox) step(ctx context.Context) (found bool, err error) {
	m, err := b.unsafeClaim(ctx)
	if err != nil || m == nil {
		return false, err
	}
	if now := b.d.now(); !now.Before(m.Expires) {
		b.sent.WithLabelValues("dropped").Inc()
		b.log.Error("a message could not be sent in time", "message", m.ID, "kind", m.Kind, "attempts", m.attempts)
		return true, b.unsafeSettle(ctx, m, never, "expired")
	}
	attempt, cancel := context.WithTimeout(ctx, outboxTimeout)
	err = b.sender.Send(attempt, m.Message)
	cancel()
	ctx = context.WithoutCancel(ctx) // a message that was sent is not sent again because of a shutdown
	if err == nil {
		b.sent.WithLabelValues("sent").Inc()
		return true, b.unsafeSettle(ctx, m, 0, "")
	}
	b.sent.WithLabelValues("failed").Inc()
	wait := min(outboxFirst<<min(m.attempts-1, 10), outboxMost)
	b.log.Warn("a message is not sent yet", "message", m.ID, "kind", m.Kind, "attempts", m.attempts, "err", err)
	return true, b.unsafeSettle(ctx, m, b.d.now().Add(wait).UnixMilli(), clip(strings.ReplaceAll(err.Error(), m.Token, "…")))
}

// unsafeClaim takes the message that is due longest, nil if none is. A body that cannot be opened is given up.
//
// SECURITY: it crosses tenants; it is for the loop that sends.
func (b *Outbox) unsafeClaim(ctx context.Context) (*unsafeDue, error) {
	var id string
	var body []byte
	var m *unsafeDue
	now := b.d.now()
	err := b.d.db.View(ctx, func(tx *store.Tx) error { // most looks find nothing, and do not wait for writers
		return orNone(tx.QueryRowContext(ctx, `SELECT id FROM outbox WHERE sent_at IS NULL AND next_at <= ? ORDER BY next_at LIMIT 1`, now.UnixMilli()).Scan(&id))
	})
	if err != nil || id == "" {
		return nil, err
	}
	err = b.d.db.Update(ctx, func(tx *store.Tx) error {
		m = &unsafeDue{}
		err := tx.QueryRowContext(ctx, `UPDATE outbox SET next_at = ?, attempts = attempts + 1 WHERE id = ? AND sent_at IS NULL AND next_at <= ?
			RETURNING body, attempts`, now.Add(outboxLease).UnixMilli(), id, now.UnixMilli()).Scan(&body, &m.attempts)
		if body == nil {
			m = nil // another process was quicker
		}
		return orNone(err)
	})
	if err != nil || m == nil {
		return nil, err
	}
	raw, err := unseal(b.d.DeriveKey("outbox"), id, body)
	if err == nil {
		err = json.Unmarshal(raw, &m.Message)
	}
	if err != nil {
		m.ID = id
		b.sent.WithLabelValues("dropped").Inc()
		return nil, errors.Join(fmt.Errorf("message %s cannot be opened", id), b.unsafeSettle(ctx, m, never, "cannot be opened"))
	}
	return m, nil
}

// unsafeSettle writes how an attempt ended: sent with next 0, else when the next one is due.
//
// SECURITY: it crosses tenants; it is for the loop that sends. A message that is over keeps no token.
func (b *Outbox) unsafeSettle(ctx context.Context, m *unsafeDue, next int64, problem string) error {
	return b.d.db.Update(ctx, func(tx *store.Tx) error {
		var err error
		switch next {
		case 0:
			_, err = tx.ExecContext(ctx, `UPDATE outbox SET sent_at = ?, body = ?, last_error = '' WHERE id = ?`, b.d.now().UnixMilli(), []byte{}, m.ID)
		case never:
			_, err = tx.ExecContext(ctx, `UPDATE outbox SET next_at = ?, body = ?, last_error = ? WHERE id = ?`, next, []byte{}, problem, m.ID)
		default:
			_, err = tx.ExecContext(ctx, `UPDATE outbox SET next_at = ?, last_error = ? WHERE id = ?`, next, plainText(problem), m.ID)
		}
		return err
	})
}

// sweep removes what is over: old messages, tokens, sessions and counts of failed sign-ins.
func (b *Outbox) sweep(ctx context.Context, now time.Time) error {
	b.d.door.attempts.sweep(now)
	return b.d.db.Update(ctx, func(tx *store.Tx) error {
		old := now.Add(-outboxKept).UnixMilli()
		for _, st := range []struct {
			sql  string
			args []any
		}{
			{`DELETE FROM outbox WHERE created_at < ? AND (sent_at IS NOT NULL OR next_at = ?)`, []any{old, int64(never)}},
			{`DELETE FROM tokens WHERE expires_at < ?`, []any{old}},
			{`DELETE FROM sessions WHERE expires_at < ?`, []any{old}},
			{`DELETE FROM sign_in_failures WHERE until <= ?`, []any{now.UnixMilli()}},
		} {
			if _, err := tx.ExecContext(ctx, st.sql, st.args...); err != nil {
				return err
			}
		}
		return nil
	})
}
