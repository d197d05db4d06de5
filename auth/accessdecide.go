package auth

import (
	"context"
	"time"

	"github.com/headgate-io/headgate/auth/permission"
	"github.com/headgate-io/headgate/internal/store"
	"github.com/headgate-io/headgate/internal/tenant"
)

// Approve gives the user what a pending request asks for, from now on. Whoever approves is not the requester, is a user or the
// operator, and has access.approve and all that is asked for in the tenant, for good. Errors: ErrNotFound, ErrForbidden, ErrState
// unless it is pending, its end still ahead, the user active and the tenant not being deleted.
func (s *Access) Approve(ctx context.Context, by Principal, id string) (AccessRequest, error) {
	return s.decide(ctx, by, "access.approve", id, func(tx *store.Tx, r *AccessRequest, at time.Time) error {
		if err := r.approvable(by); err != nil {
			return err
		}
		if err := r.from(AccessPending); err != nil {
			return err
		}
		if err := r.stillWanted(ctx, tx); err != nil {
			return err
		}
		end, err := r.end(at)
		if err != nil {
			return detail(ErrState, "access request: the end that was asked for has passed")
		}
		r.Status, r.ExpiresAt = AccessActive, &end
		return nil
	})
}

// Extend moves the end of active access: by a preset's length, or to a later time, at most MaxAccess from now. It is checked like
// an approval. Errors: as of Approve, but ErrState unless it is active, and ErrInvalid.
func (s *Access) Extend(ctx context.Context, by Principal, id string, e Expiry) (AccessRequest, error) {
	return s.decide(ctx, by, "access.extend", id, func(tx *store.Tx, r *AccessRequest, at time.Time) error {
		if err := r.approvable(by); err != nil {
			return err
		}
		if err := r.from(AccessActive); err != nil {
			return err
		}
		if err := r.stillWanted(ctx, tx); err != nil {
			return err
		}
		length, until, err := e.read()
		if err != nil {
			return err
		}
		end := r.ExpiresAt.Add(length)
		if until != nil {
			end = *until
		}
		if !end.After(*r.ExpiresAt) {
			return detail(ErrInvalid, "access until %s: it ends later already; to end it earlier, revoke it", end.Format(time.RFC3339))
		}
		if err := checkEnd(end, at); err != nil {
			return err
		}
		r.ExpiresAt = &end
		return nil
	})
}

// Reject refuses a pending request. It needs access.approve in the tenant. Errors: ErrNotFound, ErrForbidden, ErrState unless it is
// pending.
func (s *Access) Reject(ctx context.Context, by Principal, id string) (AccessRequest, error) {
	return s.decide(ctx, by, "access.reject", id, func(_ *store.Tx, r *AccessRequest, _ time.Time) error {
		if by.Can(permission.AccessApprove, r.Tenant) != nil { // the requester, who sees it wherever it leads
			return detail(ErrForbidden, "access: who rejects has access.approve in the tenant; to take your own request back, revoke it")
		}
		if err := r.from(AccessPending); err != nil {
			return err
		}
		r.Status = AccessRejected
		return nil
	})
}

// Revoke ends access, or takes a pending request back: the requester does, and whoever has access.approve in the tenant. Errors:
// ErrNotFound, ErrForbidden, ErrState unless it is pending or active.
func (s *Access) Revoke(ctx context.Context, by Principal, id string) (AccessRequest, error) {
	return s.decide(ctx, by, "access.revoke", id, func(_ *store.Tx, r *AccessRequest, _ time.Time) error {
		if err := r.from(AccessPending, AccessActive); err != nil {
			return err
		}
		r.Status = AccessRevoked
		return nil
	})
}

// decide loads a request, lets fn change it and stores it, all in one transaction: of two who decide at once the second finds what
// the first has made of it. The request is as it is at the time of the change, so access that has ended is expired.
func (s *Access) decide(ctx context.Context, by Principal, action, id string, fn func(tx *store.Tx, r *AccessRequest, at time.Time) error) (AccessRequest, error) {
	var r AccessRequest
	err := s.d.change(ctx, by, action, id, func(tx *store.Tx, rev int64, at time.Time) (Entry, error) {
		var err error
		if r, err = unsafeAccess(ctx, tx, by, id, at); err != nil {
			return Entry{}, err
		}
		if err := fn(tx, &r, at); err != nil {
			return Entry{}, err
		}
		r.DecidedBy, r.DecidedAt = by.actor(), &at
		_, err = tx.ExecContext(ctx, `UPDATE access_requests SET status = ?, expires_at = ?, decided_by = ?, decided_at = ?, rev = ?
			WHERE id = ? AND tenant_id = ?`, r.Status, optionalMillis(r.ExpiresAt), r.DecidedBy, at.UnixMilli(), rev, r.ID, r.Tenant.String())
		if err != nil {
			return Entry{}, err
		}
		home, err := unsafeHomeOf(ctx, tx, r.User)
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

// approvable returns nil if by may give what the request asks for.
//
// SECURITY: it takes two people, so no API key approves: the requester may have made it. What the approver may do for a time only
// does not count, for the access would outlive it. The operator reads no telemetry, and gives none to read here either.
func (r *AccessRequest) approvable(by Principal) error {
	switch {
	case r.of(by):
		return detail(ErrForbidden, "access: somebody else has to approve your own request")
	case by.KeyID() != "":
		return detail(ErrForbidden, "access: is approved by users, not by API keys")
	}
	own, reached := by.standing(r.Tenant)
	switch {
	case !reached || !own.Has(permission.AccessApprove):
		return detail(ErrForbidden, "access: who approves has access.approve in the tenant for good")
	case !own.Covers(r.Permissions):
		return detail(ErrForbidden, "access: your own permissions there lack %s", r.Permissions&^own)
	}
	return nil
}

// from returns ErrState unless the request is in one of the states.
func (r *AccessRequest) from(states ...AccessStatus) error {
	for _, s := range states {
		if r.Status == s {
			return nil
		}
	}
	return detail(ErrState, "access request: is %s", r.Status)
}

// stillWanted returns ErrState if the user or the tenant cannot make use of access any more.
func (r *AccessRequest) stillWanted(ctx context.Context, tx *store.Tx) error {
	home, err := unsafeHomeOf(ctx, tx, r.User)
	if err != nil {
		return err
	}
	users, err := queryUsers(ctx, tx, `WHERE tenant_id = ? AND id = ? AND status = 'active' AND deleted_at IS NULL`, home.String(), r.User)
	if err != nil {
		return err
	}
	if len(users) == 0 {
		return detail(ErrState, "access: the user is not active")
	}
	tenants, err := queryTenants(ctx, tx, `WHERE id = ?`, r.Tenant.String())
	if err != nil {
		return err
	}
	if len(tenants) == 0 || tenants[0].gone || tenants[0].Status == Deleting {
		return detail(ErrState, "access: the tenant is being deleted")
	}
	below, err := isBelow(ctx, tx, tenants[0].Tenant, home)
	if err == nil && !below && r.Tenant != home {
		return detail(ErrState, "access: the tenant is no more below the user's")
	}
	return err
}

// unsafeHomeOf returns the tenant of a user, of one that was removed too.
//
// SECURITY: it looks by the id alone, which is that of a request; the tenant is where an entry goes, and is told to nobody.
func unsafeHomeOf(ctx context.Context, tx *store.Tx, user string) (tenant.ID, error) {
	var id string
	if err := tx.QueryRowContext(ctx, `SELECT tenant_id FROM users WHERE id = ?`, user).Scan(&id); err != nil {
		return tenant.ID{}, err
	}
	return tenant.ParseID(id)
}
