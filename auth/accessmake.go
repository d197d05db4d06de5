package auth

import (
	"context"
	"strings"
	"time"

	"github.com/headgate-io/headgate/auth/permission"
	"github.com/headgate-io/headgate/internal/store"
	"github.com/headgate-io/headgate/internal/tenant"
)

// Expiry says when access ends: after a preset's length, or at a time. Exactly one is given.
type Expiry struct {
	Preset string
	At     *time.Time
}

// NewAccess is what Request needs: Tenant, one of Role and Permissions, and Expiry.
type NewAccess struct {
	Tenant      string // name or id
	Note        string // why, up to 1000 bytes
	Role        string // name or id of a role of the requester's tenant: its permissions as they are now
	Permissions []string
	Expiry
}

// Request asks for access as the user whose session by is, who has access.request at home; the tenant is the home or below it.
// Errors: ErrNotFound for the tenant and the role, ErrForbidden, ErrInvalid, ErrState for a tenant that is being deleted, or if 100
// requests of the user are pending.
func (s *Access) Request(ctx context.Context, by Principal, n NewAccess) (AccessRequest, error) {
	return s.make(ctx, by, "access.request", n.Tenant, func(tx *store.Tx, home tenant.ID, at time.Time) (r AccessRequest, err error) {
		t, err := s.d.requestable(ctx, tx, home, n.Tenant)
		if err != nil {
			return r, err
		}
		r.Tenant, r.Note = t.ID, n.Note
		switch {
		case (n.Role == "") == (len(n.Permissions) == 0):
			return r, detail(ErrInvalid, "access: give either a role or permissions")
		case n.Role != "":
			role, err := roleIn(ctx, tx, home, n.Role)
			if err != nil {
				return r, err
			}
			r.Role, r.Permissions = role.Name, role.Permissions
		default:
			if r.Permissions, err = permission.ParseList(n.Permissions); err != nil {
				return r, detail(ErrInvalid, "access: %s", err)
			}
		}
		return r, r.ask(n.Expiry, at)
	})
}

// Clone asks for the same again, in the caller's name, whatever became of the first request. Without an expiry, that of the first
// counts, which is ErrInvalid if it was a time that has passed. Errors: as of Show and Request.
func (s *Access) Clone(ctx context.Context, by Principal, id string, e Expiry) (AccessRequest, error) {
	return s.make(ctx, by, "access.clone", id, func(tx *store.Tx, home tenant.ID, at time.Time) (AccessRequest, error) {
		first, err := unsafeAccess(ctx, tx, by, id, at)
		if err != nil {
			return AccessRequest{}, err
		}
		if _, err := s.d.requestable(ctx, tx, home, first.Tenant.String()); err != nil {
			return AccessRequest{}, err
		}
		r := AccessRequest{Tenant: first.Tenant, Note: first.Note, Permissions: first.Permissions, For: first.For, Until: first.Until}
		// The role is told as long as it still is what is asked for.
		if role, err := roleIn(ctx, tx, home, first.Role); err == nil && role.Permissions == first.Permissions {
			r.Role = role.Name
		}
		if e != (Expiry{}) {
			return r, r.ask(e, at)
		}
		return r, r.check(at)
	})
}

// make stores a new pending request of the caller, which fn fills in.
func (s *Access) make(ctx context.Context, by Principal, action, target string,
	fn func(tx *store.Tx, home tenant.ID, at time.Time) (AccessRequest, error)) (AccessRequest, error) {
	var r AccessRequest
	err := s.d.change(ctx, by, action, target, func(tx *store.Tx, rev int64, at time.Time) (Entry, error) {
		if err := by.Require(ScopeAdmin); err != nil {
			return Entry{}, err
		}
		if by.User() == "" {
			return Entry{}, detail(ErrForbidden, "access is for users: sign in as one")
		}
		home := by.Home()
		if err := by.Can(permission.AccessRequest, home); err != nil {
			return Entry{}, err
		}
		u, err := unsafePerson(ctx, tx, by, by.User())
		if err != nil {
			return Entry{}, err
		}
		if r, err = fn(tx, home, at); err != nil {
			return Entry{}, err
		}
		r.ID, r.User, r.Email, r.Status, r.RequestedAt = newID(at), u.ID, u.Email, AccessPending, at
		var pending int
		err = tx.QueryRowContext(ctx, `SELECT count(*) FROM access_requests WHERE user_id = ? AND status = 'pending'`, u.ID).Scan(&pending)
		if err != nil {
			return Entry{}, err
		}
		if pending >= maxPendingAccess {
			return Entry{}, detail(ErrState, "access: %d requests of yours are pending; withdraw some", pending)
		}
		_, err = tx.ExecContext(ctx, `INSERT INTO access_requests (id, user_id, user_email, tenant_id, note, role, permissions, seconds, until,
			status, requested_at, rev) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`, r.ID, r.User, r.Email, r.Tenant.String(), r.Note, r.Role,
			r.Permissions.String(), int64(r.For/time.Second), optionalMillis(r.Until), r.Status, at.UnixMilli(), rev)
		if err != nil {
			return Entry{}, err
		}
		return atHomeToo(ctx, tx, by, at, action, home, accessEntry(r))
	})
	if err != nil {
		return AccessRequest{}, err
	}
	s.d.nameAccess(&r)
	return r, nil
}

// ask sets what the requester chose, and checks it.
func (r *AccessRequest) ask(e Expiry, at time.Time) error {
	var err error
	if r.For, r.Until, err = e.read(); err != nil {
		return err
	}
	return r.check(at)
}

// check returns the first rule that a request breaks.
func (r *AccessRequest) check(at time.Time) error {
	if r.Permissions == 0 {
		return detail(ErrInvalid, "access: no permission")
	}
	if len(r.Note) > maxNoteBytes || r.Note != plainText(r.Note) {
		return detail(ErrInvalid, "access note: want up to %d bytes of text", maxNoteBytes)
	}
	_, err := r.end(at)
	return err
}

// end returns when access ends that begins at a moment. Errors: ErrInvalid for a time that has passed or is too far ahead.
func (r *AccessRequest) end(from time.Time) (time.Time, error) {
	end := from.Add(r.For)
	if r.Until != nil {
		end = *r.Until
	}
	return end, checkEnd(end, from)
}

func checkEnd(end, now time.Time) error {
	switch {
	case !end.After(now):
		return detail(ErrInvalid, "access until %s: is not in the future", end.Format(time.RFC3339))
	case end.Sub(now) > MaxAccess:
		return detail(ErrInvalid, "access until %s: want at most %d days", end.Format(time.RFC3339), int(MaxAccess/(24*time.Hour)))
	}
	return nil
}

// read returns the length or the time that e says.
func (e Expiry) read() (time.Duration, *time.Time, error) {
	if (e.Preset == "") == (e.At == nil) {
		return 0, nil, detail(ErrInvalid, "access: give either a length or a time for its end")
	}
	if e.At != nil {
		until := e.At.UTC().Truncate(time.Millisecond)
		return 0, &until, nil
	}
	names := make([]string, len(AccessPresets))
	for i, p := range AccessPresets {
		if names[i] = p.Name; p.Name == e.Preset {
			return p.For, nil, nil
		}
	}
	return 0, nil, detail(ErrInvalid, "access for %q: want one of %s, or a time", clip(e.Preset), strings.Join(names, ", "))
}

// requestable finds a tenant that users of home may ask for: home itself, and all below.
//
// SECURITY: it need not be in the requester's reach; that it is there is told to the staff of its ancestors. Of all other tenants
// the answer is that of names that do not exist, after the same look-up.
func (d *Directory) requestable(ctx context.Context, tx *store.Tx, home tenant.ID, ref string) (Tenant, error) {
	where, arg := `WHERE deleted_at IS NULL AND id = ?`, plainText(ref)
	if name, err := normalName(ref); err == nil {
		where, arg = `WHERE deleted_at IS NULL AND name = ?`, name
	}
	rows, err := queryTenants(ctx, tx, where, arg)
	if err != nil {
		return Tenant{}, err
	}
	d.mu.RLock()
	found := len(rows) > 0 && (rows[0].ID == home || d.belowLocked(rows[0].ID, home))
	d.mu.RUnlock()
	if !found {
		return Tenant{}, detail(ErrNotFound, "no tenant %q", clip(ref))
	}
	if rows[0].Status == Deleting {
		return Tenant{}, detail(ErrState, "tenant %s: is being deleted", rows[0].Name)
	}
	return rows[0].Tenant, nil
}

func optionalMillis(t *time.Time) any {
	if t == nil {
		return nil
	}
	return t.UnixMilli()
}
