package auth

import (
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"database/sql"
	"strings"
	"time"

	"github.com/headgate-io/headgate/auth/permission"
	"github.com/headgate-io/headgate/internal/store"
	"github.com/headgate-io/headgate/internal/tenant"
)

// tokenKind is what a token lets its holder do, once.
type tokenKind struct {
	name   string // in the database, and of the message
	prefix string
	life   time.Duration
}

var (
	invitation = tokenKind{"invitation", "hgi", 7 * 24 * time.Hour}
	reset      = tokenKind{"reset", "hgr", time.Hour}
)

// ErrToken answers tokens that are unknown, misspelt, used, replaced, revoked or expired alike.
var ErrToken = &Error{"token-invalid", "the link is not valid any more: it works once, and for a limited time; ask for another"}

// issue makes a token for a user, in place of those of its kind before, and puts it into the outbox: it is nowhere else.
func (d *Directory) issue(ctx context.Context, tx *store.Tx, k tokenKind, u User, tenantName string, at time.Time) error {
	if err := revokeTokens(ctx, tx, u, k.name, at); err != nil {
		return err
	}
	id, secret, until := newID(at), newSecret(), at.Add(k.life)
	mac := d.tokenMAC(k, id, secret)
	_, err := tx.ExecContext(ctx, `INSERT INTO tokens (id, kind, tenant_id, user_id, mac, created_at, expires_at) VALUES (?, ?, ?, ?, ?, ?, ?)`,
		id, k.name, u.Tenant.String(), u.ID, mac[:], at.UnixMilli(), until.UnixMilli())
	if err != nil {
		return err
	}
	return d.enqueue(ctx, tx, u.Tenant, Message{ID: id, Kind: k.name, Tenant: tenantName, To: u.Email,
		Token: k.prefix + "_" + id + "_" + secret, Expires: until}, at)
}

// SECURITY: the kind is part of the hash, so that a row of one kind opens nothing as another.
func (d *Directory) tokenMAC(k tokenKind, id, secret string) [sha256.Size]byte {
	return d.mac(k.name+" "+id, secret)
}

// revokeTokens ends the unused tokens of a user, of one kind or, with "", of all.
func revokeTokens(ctx context.Context, tx *store.Tx, u User, kind string, at time.Time) error {
	_, err := tx.ExecContext(ctx, `UPDATE tokens SET revoked_at = ? WHERE user_id = ? AND tenant_id = ? AND (? = '' OR kind = ?)
		AND used_at IS NULL AND revoked_at IS NULL`, at.UnixMilli(), u.ID, u.Tenant.String(), kind, kind)
	return err
}

// Reinvite sends another invitation, in place of the one before. Errors: ErrNotFound, ErrForbidden, ErrEmailDomain, ErrState
// for a user who is not invited.
func (s *Users) Reinvite(ctx context.Context, by Principal, id string) (User, error) {
	return s.invited(ctx, by, "user.reinvite", id, func(tx *store.Tx, u User, at time.Time) error {
		if err := checkDomain(ctx, tx, u.Tenant, domainOf(lowerASCII(u.Email))); err != nil {
			return err
		}
		t, err := resolve(ctx, tx, by, u.Tenant.String())
		if err != nil {
			return err
		}
		return s.d.issue(ctx, tx, invitation, u, t.Name, at)
	})
}

// RevokeInvitation makes the invitation of a user worthless. The user stays invited, until invited again or deleted. Errors
// as of Reinvite.
func (s *Users) RevokeInvitation(ctx context.Context, by Principal, id string) (User, error) {
	return s.invited(ctx, by, "user.revoke-invitation", id, func(tx *store.Tx, u User, at time.Time) error {
		return revokeTokens(ctx, tx, u, invitation.name, at)
	})
}

func (s *Users) invited(ctx context.Context, by Principal, action, id string, fn func(*store.Tx, User, time.Time) error) (User, error) {
	var u User
	err := s.d.change(ctx, by, action, id, func(tx *store.Tx, _ int64, at time.Time) (Entry, error) {
		row, err := unsafeUser(ctx, tx, by, id, permission.UsersManage)
		if err != nil {
			return Entry{}, err
		}
		if err := mayTouch(ctx, tx, by, row.User); err != nil {
			return Entry{}, err
		}
		if u = row.User; u.Status != UserInvited {
			return Entry{}, detail(ErrState, "user: is %s, not invited", u.Status)
		}
		return userEntry(nil, &u), fn(tx, u, at)
	})
	if err != nil {
		return User{}, err
	}
	return u, nil
}

// Accept sets the name and password of the user whom an invitation is for, and makes the user active. name "" keeps that of
// the invitation. Errors: ErrToken, ErrInvalid, ErrBusy.
func (s *Users) Accept(ctx context.Context, token, name, password string) (User, error) {
	name, err := personName(name)
	if err != nil {
		return User{}, err
	}
	return s.redeem(ctx, invitation, "user.accept", token, password, func(u *changedUser) bool {
		ok := u.Status == UserInvited
		u.Status = UserActive
		if name != "" {
			u.Name = name
		}
		return ok
	})
}

// Reset sets a new password by a token that RequestReset sent, and ends all sessions of the user. Errors as of Accept.
func (s *Users) Reset(ctx context.Context, token, password string) (User, error) {
	return s.redeem(ctx, reset, "user.reset-password", token, password, func(u *changedUser) bool { return u.Status == UserActive })
}

// redeem checks a token, and stores what fn changes of its user with the new password. fn reports whether the user is in the
// state for it.
func (s *Users) redeem(ctx context.Context, k tokenKind, action, token, password string, fn func(u *changedUser) bool) (User, error) {
	var u changedUser
	err := s.d.db.View(ctx, func(tx *store.Tx) (err error) {
		u, _, err = s.unsafeTokenUser(ctx, tx, k, token)
		return err
	})
	if err != nil {
		return User{}, err
	}
	if err := checkPassword(password, u.Email, s.d.Slug(u.Tenant)); err != nil {
		return User{}, err
	}
	// Hashed outside of the transaction, whose others would wait; what was checked above is checked again within it.
	hash, err := s.d.door.hash(ctx, password)
	if err != nil {
		return User{}, err
	}
	err = s.d.change(ctx, s.d.actsAs(u.ID, u.Tenant), action, u.ID, func(tx *store.Tx, rev int64, at time.Time) (Entry, error) {
		var id string
		var err error
		if u, id, err = s.unsafeTokenUser(ctx, tx, k, token); err != nil {
			return Entry{}, err
		}
		before := u.User
		if !fn(&u) {
			return Entry{}, ErrToken
		}
		u.HasPassword, u.ChangedAt = true, at
		u.generation++
		// SECURITY: the token is used up in the transaction that sets the password, so it works once whoever races.
		if _, err := tx.ExecContext(ctx, `UPDATE tokens SET used_at = ? WHERE id = ? AND tenant_id = ?`, at.UnixMilli(), id, u.Tenant.String()); err != nil {
			return Entry{}, err
		}
		if err := revokeTokens(ctx, tx, u.User, "", at); err != nil {
			return Entry{}, err
		}
		_, err = tx.ExecContext(ctx, `UPDATE users SET name = ?, status = ?, password = ?, generation = ?, changed_at = ?, rev = ? WHERE id = ? AND tenant_id = ?`,
			u.Name, u.Status, hash, u.generation, at.UnixMilli(), rev, u.ID, u.Tenant.String())
		return userEntry(&before, &u.User), err
	})
	if err != nil {
		return User{}, err
	}
	return u.User, nil
}

// unsafeTokenUser returns the user of a live token, and the token's id, or ErrToken.
//
// SECURITY: it looks by the token's id alone: who holds the secret is let in. Unknown ids go through the same comparison.
func (s *Users) unsafeTokenUser(ctx context.Context, tx *store.Tx, k tokenKind, token string) (u changedUser, id string, err error) {
	rest, ok := strings.CutPrefix(token, k.prefix+"_")
	id, secret, ok2 := strings.Cut(rest, "_")
	if !ok || !ok2 || len(token) > 200 {
		return u, "", ErrToken
	}
	var mac []byte
	var userID, owner string
	var expires int64
	var used, revoked sql.NullInt64
	err = tx.QueryRowContext(ctx, `SELECT mac, user_id, tenant_id, expires_at, used_at, revoked_at FROM tokens WHERE id = ? AND kind = ?`,
		plainText(id), k.name).Scan(&mac, &userID, &owner, &expires, &used, &revoked)
	if err != nil && err != sql.ErrNoRows {
		return u, "", err
	}
	want := s.d.tokenMAC(k, id, secret)
	if subtle.ConstantTimeCompare(mac, want[:]) != 1 || used.Valid || revoked.Valid || s.d.now().UnixMilli() >= expires {
		return u, "", ErrToken
	}
	rows, err := queryUsers(ctx, tx, `WHERE id = ? AND tenant_id = ? AND deleted_at IS NULL`, userID, owner)
	if err != nil {
		return u, "", err
	}
	if len(rows) == 0 || !s.d.tenantActive(rows[0].Tenant) {
		return u, "", ErrToken
	}
	return rows[0], id, nil
}

// tenantActive reports whether a tenant and all above it are active.
func (d *Directory) tenantActive(id tenant.ID) bool {
	d.mu.RLock()
	defer d.mu.RUnlock()
	return d.activeLocked(id)
}

// Slug returns what sign-in names a tenant by, "" if there is none.
func (d *Directory) Slug(id tenant.ID) string {
	d.mu.RLock()
	defer d.mu.RUnlock()
	return d.people.doors[id].slug
}

// TenantName returns the name of a tenant, "" if there is none.
func (d *Directory) TenantName(id tenant.ID) string {
	d.mu.RLock()
	defer d.mu.RUnlock()
	if t := d.tenants[id]; t != nil {
		return t.Name
	}
	return ""
}
