package auth

import (
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"database/sql"
	"errors"
	"time"

	"github.com/headgate-io/headgate/internal/store"
)

const (
	// IdempotencyLife is how long the answer to a request with an idempotency key is kept.
	IdempotencyLife = 24 * time.Hour
	// claimLife is after what time a request that has neither changed anything nor ended is taken for dead.
	claimLife = time.Minute
)

// What a request with an idempotency key can be refused for.
var (
	ErrIdempotencyConflict = &Error{"idempotency-conflict", "the idempotency key was used for another request: take a new key"}
	ErrIdempotencyRunning  = &Error{"idempotency-running", "a request with this idempotency key is running: ask again in a moment"}
	// ErrIdempotencyLost says that the change was made and its answer was not kept, as when the process died in between.
	ErrIdempotencyLost = &Error{"idempotency-lost", "the request with this idempotency key was carried out but its answer was lost: look at what is there"}
)

// States of a row of idempotency, beside the HTTP status of an answer.
const (
	claimed = 0
	applied = 1
)

// Claim is one request that carries an idempotency key. It is used by one goroutine.
type Claim struct {
	d            *Directory
	caller, name string
	at           int64 // tells this claim from one that took it over
}

// Claim takes the idempotency key name for a request of by. If the same request has been answered, it returns that answer instead.
// The caller runs the request in the context of Context and ends the claim with Keep or Release. Keys are each caller's own.
// Errors: ErrIdempotencyConflict, ErrIdempotencyRunning, ErrIdempotencyLost.
func (d *Directory) Claim(ctx context.Context, by Principal, name string, request [sha256.Size]byte) (c *Claim, status int, answer []byte, err error) {
	now := d.now()
	c = &Claim{d, by.actor(), name, now.UnixMilli()}
	err = d.db.Update(ctx, func(tx *store.Tx) error {
		var asked, sealed []byte
		var at int64
		err := tx.QueryRowContext(ctx, `SELECT request, status, answer, created_at FROM idempotency WHERE caller = ? AND name = ?`, c.caller, c.name).
			Scan(&asked, &status, &sealed, &at)
		age := now.Sub(time.UnixMilli(at))
		switch {
		case errors.Is(err, sql.ErrNoRows), err == nil && age >= IdempotencyLife, err == nil && status == claimed && age >= claimLife:
			status = 0
			_, err := tx.ExecContext(ctx, `INSERT INTO idempotency (caller, name, request, status, answer, created_at) VALUES (?, ?, ?, ?, ?, ?)
				ON CONFLICT (caller, name) DO UPDATE SET request = excluded.request, status = excluded.status, answer = excluded.answer, created_at = excluded.created_at`,
				c.caller, c.name, request[:], claimed, []byte{}, c.at)
			return err
		case err != nil:
			return err
		case subtle.ConstantTimeCompare(asked, request[:]) != 1:
			return ErrIdempotencyConflict
		case status == claimed, status == applied && age < claimLife:
			return ErrIdempotencyRunning
		case status == applied:
			return ErrIdempotencyLost
		}
		answer, err = unseal(d.answersKey(), c.about(), sealed)
		return err
	})
	if err != nil {
		return nil, 0, nil, err
	}
	return c, status, answer, nil
}

// Context returns a context in which each change notes, in its own transaction, that it was made for this claim: a request that is
// sent again after a crash is never carried out twice. A claim that was taken over changes nothing.
func (c *Claim) Context(ctx context.Context) context.Context {
	return WithHold(ctx, func(ctx context.Context, tx *store.Tx) error {
		n, err := affected(tx.ExecContext(ctx, `UPDATE idempotency SET status = ? WHERE caller = ? AND name = ? AND created_at = ? AND status IN (?, ?)`,
			applied, c.caller, c.name, c.at, claimed, applied))
		if err == nil && n != 1 {
			err = ErrIdempotencyRunning
		}
		return err
	})
}

// Keep stores the answer for IdempotencyLife.
//
// SECURITY: answers may hold a key's secret, so they are stored sealed.
func (c *Claim) Keep(ctx context.Context, status int, answer []byte) error {
	return c.d.db.Update(ctx, func(tx *store.Tx) error {
		_, err := tx.ExecContext(ctx, `UPDATE idempotency SET status = ?, answer = ? WHERE caller = ? AND name = ? AND created_at = ?`,
			status, seal(c.d.answersKey(), c.about(), answer), c.caller, c.name, c.at)
		return err
	})
}

// Release gives the key back after a request that was refused, unless it has changed something.
func (c *Claim) Release(ctx context.Context) error {
	return c.d.db.Update(ctx, func(tx *store.Tx) error {
		_, err := tx.ExecContext(ctx, `DELETE FROM idempotency WHERE caller = ? AND name = ? AND created_at = ? AND status = ?`, c.caller, c.name, c.at, claimed)
		return err
	})
}

func (c *Claim) about() string { return c.caller + "\x00" + c.name }

func (d *Directory) answersKey() [sha256.Size]byte { return d.DeriveKey("idempotency answers") }

// sweepIdempotency removes answers that have been kept long enough.
func (d *Directory) sweepIdempotency(ctx context.Context) error {
	return d.db.Update(ctx, func(tx *store.Tx) error {
		_, err := tx.ExecContext(ctx, `DELETE FROM idempotency WHERE created_at < ?`, d.now().Add(-IdempotencyLife).UnixMilli())
		return err
	})
}
