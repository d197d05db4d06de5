package auth

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"time"

	"github.com/headgate-io/headgate/internal/store"
	"github.com/headgate-io/headgate/internal/tenant"
)

// ErrSignIn answers unknown organizations and addresses, wrong passwords and inactive users alike.
var ErrSignIn = &Error{"sign-in-failed", "the organization, the e-mail address or the password is wrong, or the account is not active"}

// door is what lets people in: hashes of passwords, counts of failures, and what is to be done later.
type door struct {
	*hasher
	attempts attempts
	resets   chan resetRequest
}

func newDoor() *door {
	return &door{hasher: newHasher(), attempts: attempts{by: map[attemptKey]*tally{}}, resets: make(chan resetRequest, maxResets)}
}

// SignIn is what somebody shows to be let in.
type SignIn struct {
	Slug     string // of the tenant
	Email    string
	Password string
	Code     string // of the authenticator, or a recovery code; "" for none
	Address  string // IP address that the request is from
	Agent    string // program, as it calls itself
}

// SignedIn is a new session.
type SignedIn struct {
	Token     string // shown once
	Principal Principal
	ExpiresAt time.Time // unless it is unused for SessionIdle before
}

// candidate is who a sign-in may be about; without found nobody.
type candidate struct {
	tenant   tenant.ID // zero if there is none of that slug
	found    bool
	user     changedUser
	password string
}

// SignIn begins a session. Errors: ErrSignIn, ErrCodeNeeded, ErrCode, *TooManyError, ErrBusy.
//
// SECURITY: the answer and the work are the same for an unknown slug, an unknown address, a wrong password and an inactive
// user: one look, one hash, one write. Only who has given the right password learns that a code is needed.
func (d *Directory) SignIn(ctx context.Context, in SignIn) (SignedIn, error) {
	ctx, now := WithOrigin(ctx, in.Address), d.now()
	account := d.accountKey(in.Slug, in.Email)
	limits := map[attemptKey]int{account: failuresPerAccount, addressKey(in.Address): failuresPerAddress}
	if err := d.door.attempts.take(now, limits); err != nil {
		return SignedIn{}, err
	}
	out, err := d.trySignIn(ctx, in, account, now)
	switch {
	case errors.Is(err, ErrSignIn), errors.Is(err, ErrCode):
	case err == nil:
		d.door.attempts.refund(limits)
		d.door.attempts.forget(account)
	default:
		d.door.attempts.refund(limits)
	}
	return out, err
}

func (d *Directory) trySignIn(ctx context.Context, in SignIn, account attemptKey, now time.Time) (SignedIn, error) {
	var c candidate
	err := d.db.View(ctx, func(tx *store.Tx) (err error) {
		if err := dbFailures(ctx, tx, account, now); err != nil {
			return err
		}
		c, err = unsafeCandidate(ctx, tx, in.Slug, in.Email)
		return err
	})
	if err != nil {
		return SignedIn{}, err
	}
	mayEnter := c.found && c.user.Status == UserActive && d.tenantActive(c.tenant)
	stored := c.password
	if !mayEnter {
		stored = ""
	}
	same, stale, err := d.door.verify(ctx, stored, in.Password)
	if err != nil {
		return SignedIn{}, err
	}
	if !same {
		return SignedIn{}, d.signInFailed(ctx, in, account, c, now, ErrSignIn)
	}
	if c.user.SecondFactor && d.factorPolicy(c.tenant) != FactorDisabled && in.Code == "" {
		return SignedIn{}, ErrCodeNeeded
	}
	var fresh string
	if stale {
		if fresh, err = d.door.hash(ctx, in.Password); err != nil {
			return SignedIn{}, err
		}
	}
	out, err := d.enter(ctx, c.user, entrance{password: c.password, fresh: fresh, code: in.Code, account: account, address: in.Address, agent: in.Agent})
	if errors.Is(err, ErrCode) {
		return SignedIn{}, d.signInFailed(ctx, in, account, c, now, ErrCode)
	}
	return out, err
}

// entrance is how somebody has been let in.
type entrance struct {
	password       string // hash that was right
	fresh          string // hash in its place; "" keeps it
	code           string
	strong         bool // a second factor was given elsewhere
	subject        string
	issuer         string // with subject: links the user to who vouches for it
	account        attemptKey
	address, agent string
}

// enter begins a session of a user who has been checked. It is checked again that nothing of the user has changed meanwhile.
func (d *Directory) enter(ctx context.Context, u changedUser, e entrance) (SignedIn, error) {
	var out SignedIn
	err := d.change(ctx, d.actsAs(u.ID, u.Tenant), "sign-in", u.ID, func(tx *store.Tx, rev int64, at time.Time) (Entry, error) {
		strong := e.strong
		if u.SecondFactor && e.code != "" {
			if err := d.useCode(ctx, tx, u.User, e.code, at); err != nil {
				return Entry{}, err
			}
			strong = true
		}
		password := e.password
		if e.fresh != "" {
			password = e.fresh
		}
		// SECURITY: the password may have been changed, or the user deactivated, while the hash was computed.
		n, err := affected(tx.ExecContext(ctx, `UPDATE users SET signed_in_at = ?, password = ?, rev = ?,
				issuer = CASE WHEN ? <> '' THEN ? ELSE issuer END, subject = CASE WHEN ? <> '' THEN ? ELSE subject END, status = 'active'
			WHERE id = ? AND tenant_id = ? AND password = ? AND generation = ? AND deleted_at IS NULL AND status = ?
				AND (? = '' OR subject = '' OR (issuer = ? AND subject = ?))`,
			at.UnixMilli(), password, rev, e.issuer, e.issuer, e.subject, e.subject, u.ID, u.Tenant.String(), e.password, u.generation, u.Status,
			e.subject, e.issuer, e.subject))
		if err != nil {
			return Entry{}, err
		}
		if n != 1 {
			return Entry{}, ErrSignIn
		}
		if u.Status == UserInvited {
			if err := revokeTokens(ctx, tx, u.User, "", at); err != nil {
				return Entry{}, err
			}
		}
		if _, err := tx.ExecContext(ctx, `DELETE FROM sign_in_failures WHERE account = ?`, e.account[:]); err != nil {
			return Entry{}, err
		}
		// SECURITY: each sign-in makes a session of its own; none that was there before is taken over.
		if out.Token, err = d.beginSession(ctx, tx, &u.userRow, u.Tenant, e.address, e.agent, rev, at); err != nil {
			return Entry{}, err
		}
		out.ExpiresAt = at.Add(SessionLife)
		if strong {
			id, _, _ := parseSession(out.Token)
			if _, err := tx.ExecContext(ctx, `UPDATE sessions SET second_factor = 1 WHERE id = ?`, id); err != nil {
				return Entry{}, err
			}
		}
		return Entry{Tenant: u.Tenant, Target: u.ID, Detail: signInDetail{plainText(clip(e.agent)), strong, e.issuer, ""}.json()}, nil
	})
	if err != nil {
		return SignedIn{}, err
	}
	if out.Principal, err = d.Session(out.Token); err != nil {
		return SignedIn{}, err
	}
	return out, nil
}

// signInDetail is what the audit tells of a sign-in.
type signInDetail struct {
	Agent        string `json:"agent,omitempty"`
	SecondFactor bool   `json:"second_factor,omitempty"`
	Issuer       string `json:"issuer,omitempty"`
	Email        string `json:"email,omitempty"`
}

func (s signInDetail) json() json.RawMessage { return jsonOf(s) }

// signInFailed counts a failure and audits it, of an unknown slug among what belongs to no tenant; it returns cause.
//
// SECURITY: an address that cannot be one is not kept, nor is an unknown slug: people type passwords into the wrong field.
func (d *Directory) signInFailed(ctx context.Context, in SignIn, account attemptKey, c candidate, now time.Time, cause error) error {
	err := d.db.Update(ctx, func(tx *store.Tx) error {
		if err := addFailure(ctx, tx, account, now); err != nil {
			return err
		}
		e := Entry{At: now.UTC().Truncate(time.Millisecond), Actor: "nobody", Tenant: c.tenant, Action: "sign-in", Outcome: OutcomeRefused}
		detail := signInDetail{Agent: plainText(clip(in.Agent))}
		if c.found {
			e.Target = c.user.ID
		} else if key, err := emailKey(in.Email); err == nil && !c.tenant.IsZero() {
			detail.Email = key
		}
		e.Detail = detail.json()
		return writeEntry(ctx, tx, e)
	})
	if err != nil {
		return err // without its count and its entry a failure is not answered
	}
	return cause
}

// unsafeCandidate finds who a sign-in is about.
//
// SECURITY: nobody has been let in yet; the tenant is the one of the slug, and the user is of that tenant.
func unsafeCandidate(ctx context.Context, tx *store.Tx, slug, email string) (c candidate, err error) {
	var id, owner, slugID sql.NullString
	var password sql.NullString
	key, bad := emailKey(email)
	if bad != nil {
		key = ""
	}
	err = tx.QueryRowContext(ctx, `SELECT t.id, u.id, u.tenant_id, u.password FROM tenants t
		LEFT JOIN users u ON u.tenant_id = t.id AND u.email_key = ? AND u.deleted_at IS NULL
		WHERE t.slug = ? AND t.deleted_at IS NULL AND t.slug <> ''`, key, plainText(lowerASCII(slug))).Scan(&slugID, &id, &owner, &password)
	if err := orNone(err); err != nil {
		return c, err
	}
	if slugID.Valid {
		if c.tenant, err = tenant.ParseID(slugID.String); err != nil {
			return c, err
		}
	}
	// SECURITY: asked for nobody too, so that the time does not tell whom there is.
	rows, err := queryUsers(ctx, tx, `WHERE id = ? AND tenant_id = ? AND deleted_at IS NULL`, id.String, owner.String)
	if err != nil || len(rows) == 0 {
		return c, err
	}
	c.found, c.user, c.password = true, rows[0], password.String
	return c, nil
}

// resetRequest is what RequestReset leaves to be done.
type resetRequest struct{ slug, email string }

// RequestReset asks for a message that lets a user set a new password. It returns at once, whoever exists, and sends nothing
// to who is not active or was sent many of late. Errors: *TooManyError, by the address alone.
//
// SECURITY: nothing is looked up before it returns, so neither the answer nor its time tells which accounts there are. Beyond
// 256 that wait, requests are dropped.
func (d *Directory) RequestReset(slug, email, address string) error {
	now := d.now()
	if err := d.door.attempts.take(now, map[attemptKey]int{addressKey("reset " + address): failuresPerAddress}); err != nil {
		return err
	}
	// Asked for often, an account is sent little, and nobody is told.
	if d.door.attempts.take(now, map[attemptKey]int{d.accountKey("reset "+slug, email): failuresPerAccount}) != nil {
		return nil
	}
	select {
	case d.door.resets <- resetRequest{slug, email}:
	default:
		d.log.Warn("too many password resets wait; one is dropped")
	}
	return nil
}

// reset sends a token to the user whom a request names, if there is one who may use it.
func (d *Directory) reset(ctx context.Context, r resetRequest) error {
	var c candidate
	err := d.db.View(ctx, func(tx *store.Tx) (err error) {
		c, err = unsafeCandidate(ctx, tx, r.slug, r.email)
		return err
	})
	if err != nil || !c.found || c.user.Status != UserActive || !d.tenantActive(c.tenant) {
		return err
	}
	return d.change(ctx, d.actsAs(c.user.ID, c.tenant), "user.request-reset", c.user.ID, func(tx *store.Tx, _ int64, at time.Time) (Entry, error) {
		return Entry{Tenant: c.tenant, Target: c.user.ID}, d.issue(ctx, tx, reset, c.user.User, d.TenantName(c.tenant), at)
	})
}
