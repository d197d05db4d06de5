package auth

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"database/sql"
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"sync"
	"time"

	"github.com/headgate-io/headgate/internal/store"
)

const (
	// failuresPerAccount and failuresPerAddress are how many sign-ins may fail within failureWindow of the first.
	failuresPerAccount = 10
	failuresPerAddress = 100
	failureWindow      = 15 * time.Minute

	maxAttempts = 100_000 // accounts and addresses that one process remembers
)

// TooManyError says that too many sign-ins of an account or from an address have failed.
type TooManyError struct{ RetryAfter time.Duration }

// Error implements error.
func (e *TooManyError) Error() string {
	return fmt.Sprintf("too many sign-ins have failed: try again in %s (sign-in-limited)", e.RetryAfter.Round(time.Second))
}

type attemptKey [sha256.Size]byte

// tally counts from its first failure to until.
type tally struct {
	n     int
	until time.Time
}

// attempts counts failed sign-ins of one process, those under way among them, so that many at once are not more than one
// after another. It is safe for concurrent use.
type attempts struct {
	mu sync.Mutex
	by map[attemptKey]*tally
}

// take counts an attempt for each key, or returns *TooManyError and counts none.
func (a *attempts) take(now time.Time, limits map[attemptKey]int) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	for k, limit := range limits {
		if t := a.by[k]; t != nil && now.Before(t.until) && t.n >= limit {
			return &TooManyError{t.until.Sub(now)}
		}
	}
	for k := range limits {
		t := a.by[k]
		if t == nil || !now.Before(t.until) {
			a.makeRoomLocked(now)
			t = &tally{until: now.Add(failureWindow)}
			a.by[k] = t
		}
		t.n++
	}
	return nil
}

// makeRoomLocked keeps the map bounded. When nothing is over, any one is forgotten: the database remembers the accounts.
func (a *attempts) makeRoomLocked(now time.Time) {
	if len(a.by) < maxAttempts {
		return
	}
	a.sweepLocked(now)
	for k := range a.by {
		if len(a.by) < maxAttempts {
			return
		}
		delete(a.by, k)
	}
}

// refund takes back an attempt that did not fail.
func (a *attempts) refund(limits map[attemptKey]int) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for k := range limits {
		if t := a.by[k]; t != nil && t.n > 0 {
			t.n--
		}
	}
}

// forget drops an account whose owner has signed in.
func (a *attempts) forget(k attemptKey) {
	a.mu.Lock()
	defer a.mu.Unlock()
	delete(a.by, k)
}

func (a *attempts) sweep(now time.Time) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.sweepLocked(now)
}

func (a *attempts) sweepLocked(now time.Time) {
	for k, t := range a.by {
		if !now.Before(t.until) {
			delete(a.by, k)
		}
	}
}

// accountKey names an account, whether there is one or not, in memory and in the database.
//
// SECURITY: it is keyed, so the table tells nobody which addresses were tried.
func (d *Directory) accountKey(slug, email string) attemptKey {
	key := d.DeriveKey("sign-in accounts")
	h := hmac.New(sha256.New, key[:])
	fmt.Fprintf(h, "%s\n%s", strings.ToLower(slug), strings.ToLower(email))
	return attemptKey(h.Sum(nil))
}

// addressKey names where a request is from: of IPv6 the /64, which is what one customer of a provider has.
func addressKey(address string) attemptKey {
	if ip, err := netip.ParseAddr(address); err == nil {
		ip = ip.Unmap().WithZone("")
		bits := 32
		if ip.Is6() {
			bits = 64
		}
		if p, err := ip.Prefix(bits); err == nil {
			address = p.String()
		}
	}
	return sha256.Sum256([]byte("address " + address))
}

// dbFailures returns *TooManyError if too many sign-ins of the account failed, on whatever replica.
func dbFailures(ctx context.Context, tx *store.Tx, account attemptKey, now time.Time) error {
	var n int
	var until int64
	err := orNone(tx.QueryRowContext(ctx, `SELECT failures, until FROM sign_in_failures WHERE account = ?`, account[:]).Scan(&n, &until))
	if left := time.UnixMilli(until).Sub(now); err == nil && n >= failuresPerAccount && left > 0 {
		return &TooManyError{left}
	}
	return err
}

// addFailure counts a failure of the account.
func addFailure(ctx context.Context, tx *store.Tx, account attemptKey, now time.Time) error {
	ms := now.UnixMilli()
	_, err := tx.ExecContext(ctx, `INSERT INTO sign_in_failures (account, failures, until) VALUES (?, 1, ?)
		ON CONFLICT (account) DO UPDATE SET failures = CASE WHEN sign_in_failures.until <= ? THEN 1 ELSE sign_in_failures.failures + 1 END,
			until = CASE WHEN sign_in_failures.until <= ? THEN excluded.until ELSE sign_in_failures.until END`,
		account[:], now.Add(failureWindow).UnixMilli(), ms, ms)
	return err
}

// guarded runs something that the user who asks proves by a password or a code, which may be guessed as seldom as at
// sign-in.
func (d *Directory) guarded(ctx context.Context, by Principal, prove func() error) error {
	if by.User() == "" {
		return notUser
	}
	account := d.accountKey("", by.User())
	limits := map[attemptKey]int{account: failuresPerAccount}
	now := d.now()
	if err := d.door.attempts.take(now, limits); err != nil {
		return err
	}
	if err := d.db.View(ctx, func(tx *store.Tx) error { return dbFailures(ctx, tx, account, now) }); err != nil {
		d.door.attempts.refund(limits)
		return err
	}
	err := prove()
	switch {
	case errors.Is(err, ErrCode), errors.Is(err, ErrPassword):
		if err := d.db.Update(ctx, func(tx *store.Tx) error { return addFailure(ctx, tx, account, now) }); err != nil {
			d.log.Warn("a wrong password or code could not be counted", "err", err)
		}
	default:
		d.door.attempts.refund(limits)
	}
	return err
}

func orNone(err error) error {
	if errors.Is(err, sql.ErrNoRows) {
		return nil
	}
	return err
}

func affected(r sql.Result, err error) (int64, error) {
	if err != nil {
		return 0, err
	}
	return r.RowsAffected()
}
