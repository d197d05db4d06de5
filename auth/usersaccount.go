package auth

import (
	"context"
	"time"

	"github.com/headgate-io/headgate/internal/store"
)

// ErrPassword answers a wrong present password of who has signed in.
var ErrPassword = &Error{"password-wrong", "the present password is wrong"}

// Account returns the user who asks, or ErrForbidden for who is none.
func (d *Directory) Account(by Principal) (User, error) {
	d.mu.RLock()
	defer d.mu.RUnlock()
	if u := d.people.users[by.User()]; u != nil {
		return u.User, nil
	}
	return User{}, notUser
}

// SetOwnName changes the name of the user who asks. Errors: ErrForbidden for who is no user, ErrInvalid.
func (d *Directory) SetOwnName(ctx context.Context, by Principal, name string) (User, error) {
	name, err := personName(name)
	if err != nil {
		return User{}, err
	}
	var out User
	err = d.changeOwn(ctx, by, "user.set", func(tx *store.Tx, u *changedUser, rev int64, at time.Time) error {
		u.Name, u.ChangedAt = name, at
		out = u.User
		_, err := tx.ExecContext(ctx, `UPDATE users SET name = ?, changed_at = ?, rev = ? WHERE id = ? AND tenant_id = ?`,
			name, at.UnixMilli(), rev, u.ID, u.Tenant.String())
		return err
	})
	if err != nil {
		return User{}, err
	}
	return out, nil
}

// SetOwnPassword changes the password of the user who asks, who gives the present one, and ends the user's other sessions
// within a second. Errors: ErrForbidden for who is no user, ErrInvalid, ErrPassword for a wrong present one, ErrState for
// who has none, *TooManyError, ErrBusy.
func (d *Directory) SetOwnPassword(ctx context.Context, by Principal, present, wanted string) error {
	return d.guarded(ctx, by, func() error {
		u, err := d.Account(by)
		if err != nil {
			return err
		}
		if !u.HasPassword {
			return detail(ErrState, "password: you have none; ask for a new one where you sign in")
		}
		if err := checkPassword(wanted, u.Email, d.Slug(u.Tenant)); err != nil {
			return err
		}
		var stored string
		err = d.db.View(ctx, func(tx *store.Tx) error {
			return tx.QueryRowContext(ctx, `SELECT password FROM users WHERE id = ? AND tenant_id = ?`, u.ID, u.Tenant.String()).Scan(&stored)
		})
		if err != nil {
			return err
		}
		same, _, err := d.door.verify(ctx, stored, present)
		if err != nil {
			return err
		}
		if !same {
			return ErrPassword
		}
		hash, err := d.door.hash(ctx, wanted)
		if err != nil {
			return err
		}
		return d.changeOwn(ctx, by, "user.set-password", func(tx *store.Tx, u *changedUser, rev int64, at time.Time) error {
			u.generation++
			n, err := affected(tx.ExecContext(ctx, `UPDATE users SET password = ?, generation = ?, changed_at = ?, rev = ?
				WHERE id = ? AND tenant_id = ? AND password = ?`, hash, u.generation, at.UnixMilli(), rev, u.ID, u.Tenant.String(), stored))
			if err != nil {
				return err
			}
			if n != 1 {
				return detail(ErrState, "password: was changed meanwhile")
			}
			if err := revokeTokens(ctx, tx, u.User, reset.name, at); err != nil {
				return err
			}
			return keepSession(ctx, tx, by, u.generation, nil, rev)
		})
	})
}
