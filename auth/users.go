package auth

import (
	"context"
	"encoding/json"
	"time"

	"github.com/headgate-io/headgate/auth/permission"
	"github.com/headgate-io/headgate/internal/store"
	"github.com/headgate-io/headgate/internal/tenant"
)

// What a change of users can be refused for, beside the errors of all changes.
var (
	ErrEmailTaken = &Error{"email-taken", "the organization has a user with this e-mail address"}
	ErrLastAdmin  = &Error{"last-admin", "the organization's last active user who manages users cannot be removed, deactivated or given another role"}
	ErrLimitUsers = &Error{"limit-users", "the organization has as many users as it may have"}
	// ErrEmailDomain refuses an address outside of the domains that the tenant is restricted to.
	ErrEmailDomain = &Error{"email-domain", "the organization does not invite addresses of this domain"}
)

// Users is the control of users. To see those of a tenant takes users.read there, to change them users.manage. Users out of
// the caller's reach are ErrNotFound, like ids that do not exist. Nobody gives, takes or touches a role that has permissions
// which they lack themselves: ErrForbidden; the operator may, and it is audited under the tenant.
type Users struct{ d *Directory }

// Users returns the control of users.
func (d *Directory) Users() *Users { return &Users{d} }

// NewUser is what Invite and Create need.
type NewUser struct {
	Tenant   string // name or id; "" is where the caller acts
	Email    string
	Name     string
	Role     string // as User.Role, or the name of a custom role
	Password string // of Create alone
}

// Invite makes an invited user and puts an invitation into the outbox. Errors: ErrNotFound for the tenant or the role, ErrForbidden,
// ErrInvalid, ErrEmailDomain, ErrEmailTaken, ErrLimitUsers, ErrState for a tenant that is being deleted.
func (s *Users) Invite(ctx context.Context, by Principal, n NewUser) (User, error) {
	return s.create(ctx, by, "user.invite", n, "")
}

// Create makes an active user with a password, without an invitation: the first of a tenant, whom nobody could invite. Only
// the operator may. Errors as of Invite.
func (s *Users) Create(ctx context.Context, by Principal, n NewUser) (User, error) {
	if !by.IsOperator() {
		return User{}, s.d.auditRefusal(ctx, by, "user.create", n.Email, s.d.now().UTC(), ErrForbidden)
	}
	if err := checkPassword(n.Password, n.Email, n.Tenant); err != nil {
		return User{}, err
	}
	hash, err := s.d.door.hash(ctx, n.Password)
	if err != nil {
		return User{}, err
	}
	return s.create(ctx, by, "user.create", n, hash)
}

func (s *Users) create(ctx context.Context, by Principal, action string, n NewUser, password string) (User, error) {
	var u User
	err := s.d.change(ctx, by, action, n.Email, func(tx *store.Tx, rev int64, at time.Time) (Entry, error) {
		t, err := changeable(ctx, tx, by, n.Tenant, permission.UsersManage)
		if err != nil {
			return Entry{}, err
		}
		u = User{ID: newID(at), Tenant: t.ID, Email: n.Email, Status: UserInvited, CreatedAt: at, ChangedAt: at}
		key, err := emailKey(n.Email)
		if err != nil {
			return Entry{}, err
		}
		if u.Name, err = personName(n.Name); err != nil {
			return Entry{}, err
		}
		role, err := roleIn(ctx, tx, t.ID, n.Role)
		if err != nil {
			return Entry{}, err
		}
		if err := by.coversStanding(t.ID, role.Permissions); err != nil {
			return Entry{}, err
		}
		u.Role = role.ID
		if err := checkDomain(ctx, tx, t.ID, domainOf(key)); err != nil {
			return Entry{}, err
		}
		if err := s.d.unsafeUserLimit(ctx, tx, t, at); err != nil {
			return Entry{}, err
		}
		if password != "" {
			u.Status, u.HasPassword = UserActive, true
		}
		_, err = tx.ExecContext(ctx, `INSERT INTO users (id, tenant_id, email, email_key, name, status, role, password, created_at, changed_at, rev)
			VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`, u.ID, t.ID.String(), u.Email, key, u.Name, u.Status, u.Role, password,
			at.UnixMilli(), at.UnixMilli(), rev)
		if store.IsConflict(err) {
			return Entry{}, ErrEmailTaken
		}
		if err == nil && u.Status == UserInvited {
			err = s.d.issue(ctx, tx, invitation, u, t.Name, at)
		}
		return userEntry(nil, &u), err
	})
	if err != nil {
		return User{}, err
	}
	return u, nil
}

// UserPatch is a partial update: nil fields stay.
type UserPatch struct {
	Name *string
	Role *string // as NewUser.Role
}

// Set changes a user's name or role. Errors: ErrNotFound, ErrForbidden, ErrInvalid, ErrLastAdmin.
func (s *Users) Set(ctx context.Context, by Principal, id string, p UserPatch) (User, error) {
	return s.modify(ctx, by, "user.set", id, func(tx *store.Tx, u *changedUser, _ int64, _ time.Time) (err error) {
		if p.Name != nil {
			if u.Name, err = personName(*p.Name); err != nil {
				return err
			}
		}
		if p.Role == nil {
			return nil
		}
		role, err := roleIn(ctx, tx, u.Tenant, *p.Role)
		if err != nil {
			return err
		}
		u.Role = role.ID
		return by.coversStanding(u.Tenant, role.Permissions)
	})
}

// Deactivate ends a user's sessions within a second and lets the user sign in no more. Doing it twice is fine. Errors:
// ErrNotFound, ErrForbidden, ErrLastAdmin, ErrState for a user who was only invited.
func (s *Users) Deactivate(ctx context.Context, by Principal, id string) (User, error) {
	return s.modify(ctx, by, "user.deactivate", id, func(tx *store.Tx, u *changedUser, rev int64, at time.Time) error {
		if u.Status == UserInvited {
			return detail(ErrState, "user: is only invited; revoke the invitation, or delete the user")
		}
		if u.Status == UserActive {
			u.Status = UserInactive
			u.generation++
		}
		return revokeTokens(ctx, tx, u.User, "", at)
	})
}

// Activate undoes Deactivate. Errors: ErrNotFound, ErrForbidden, ErrLimitUsers, ErrState for a user who was only invited.
func (s *Users) Activate(ctx context.Context, by Principal, id string) (User, error) {
	return s.modify(ctx, by, "user.activate", id, func(tx *store.Tx, u *changedUser, _ int64, at time.Time) error {
		switch u.Status {
		case UserActive:
			return nil
		case UserInvited:
			return detail(ErrState, "user: has not accepted the invitation")
		}
		t, err := resolve(ctx, tx, by, u.Tenant.String())
		if err != nil {
			return err
		}
		u.Status = UserActive
		return s.d.unsafeUserLimit(ctx, tx, t, at)
	})
}

// modify loads the user, lets fn change name, role, status and generation, and stores them, in one transaction. The caller
// covers the role that the user has.
func (s *Users) modify(ctx context.Context, by Principal, action, id string, fn func(tx *store.Tx, u *changedUser, rev int64, at time.Time) error) (User, error) {
	var u changedUser
	err := s.d.change(ctx, by, action, id, func(tx *store.Tx, rev int64, at time.Time) (Entry, error) {
		var err error
		if u, err = unsafeUser(ctx, tx, by, id, permission.UsersManage); err != nil {
			return Entry{}, err
		}
		if err := mayTouch(ctx, tx, by, u.User); err != nil {
			return Entry{}, err
		}
		before := u.User
		err = keepAdmin(ctx, tx, u.Tenant, func() error {
			if err := fn(tx, &u, rev, at); err != nil {
				return err
			}
			u.ChangedAt = at
			_, err := tx.ExecContext(ctx, `UPDATE users SET name = ?, role = ?, status = ?, generation = ?, changed_at = ?, rev = ?
				WHERE id = ? AND tenant_id = ?`, u.Name, u.Role, u.Status, u.generation, at.UnixMilli(), rev, u.ID, u.Tenant.String())
			return err
		})
		return userEntry(&before, &u.User), err
	})
	if err != nil {
		return User{}, err
	}
	return u.User, nil
}

// Delete removes a user for good: the address becomes free, and sessions end within a second. Errors: ErrNotFound,
// ErrForbidden, ErrLastAdmin.
func (s *Users) Delete(ctx context.Context, by Principal, id string) error {
	return s.d.change(ctx, by, "user.delete", id, func(tx *store.Tx, rev int64, at time.Time) (Entry, error) {
		u, err := unsafeUser(ctx, tx, by, id, permission.UsersManage)
		if err != nil {
			return Entry{}, err
		}
		if err := mayTouch(ctx, tx, by, u.User); err != nil {
			return Entry{}, err
		}
		err = keepAdmin(ctx, tx, u.Tenant, func() error { return unsafeRemoveUser(ctx, tx, u.User, rev, at) })
		return userEntry(&u.User, nil), err
	})
}

// unsafeRemoveUser removes a user and all that belongs to the user.
//
// SECURITY: it is by the user's id alone, whatever the tenant, for grants and access requests are in other tenants' names. The
// caller has found the user in its reach.
func unsafeRemoveUser(ctx context.Context, tx *store.Tx, u User, rev int64, at time.Time) error {
	ms := at.UnixMilli()
	if err := revokeTokens(ctx, tx, u, "", at); err != nil {
		return err
	}
	if err := unsafeEndReach(ctx, tx, "", nil, `user_id = ?`, []any{u.ID}, rev, at); err != nil {
		return err
	}
	for _, st := range []struct {
		sql  string
		args []any
	}{
		{`UPDATE teams SET changed_at = ?, rev = ? WHERE id IN (SELECT team_id FROM team_members WHERE user_id = ?)`, []any{ms, rev, u.ID}},
		{`DELETE FROM team_members WHERE user_id = ?`, []any{u.ID}},
		{`UPDATE sessions SET ended_at = ?, rev = ? WHERE user_id = ? AND ended_at IS NULL`, []any{ms, rev, u.ID}},
		{`DELETE FROM recovery_codes WHERE user_id = ?`, []any{u.ID}},
		{`UPDATE users SET deleted_at = ?, changed_at = ?, rev = ?, status = 'inactive', password = '', totp = NULL, totp_at = NULL,
			generation = generation + 1 WHERE id = ? AND tenant_id = ?`, []any{ms, ms, rev, u.ID, u.Tenant.String()}},
	} {
		if _, err := tx.ExecContext(ctx, st.sql, st.args...); err != nil {
			return err
		}
	}
	return nil
}

// userDetail is what the audit tells of a user.
type userDetail struct {
	Email        string     `json:"email"`
	Name         string     `json:"name,omitempty"`
	Role         string     `json:"role"`
	Status       UserStatus `json:"status"`
	SecondFactor bool       `json:"second_factor,omitempty"`
}

// userEntry is the entry of a change of a user; either side may be nil.
func userEntry(before, after *User) Entry {
	var e Entry
	d := map[string]*userDetail{}
	for side, u := range map[string]*User{"user_before": before, "user": after} {
		if u != nil {
			e.Tenant, e.Target = u.Tenant, u.ID
			d[side] = &userDetail{u.Email, u.Name, u.Role, u.Status, u.SecondFactor}
		}
	}
	e.Detail = jsonOf(d)
	return e
}

func jsonOf(v any) json.RawMessage {
	b, err := json.Marshal(v)
	if err != nil {
		panic("BUG: audit detail: " + err.Error())
	}
	return b
}

// actsAs is the principal of a user in the user's home, for the audit of what the user does without a session.
func (d *Directory) actsAs(userID string, home tenant.ID) Principal {
	return Principal{&grant{directory: d, user: userID, home: home, tenant: home}}
}
