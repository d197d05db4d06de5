package auth

import (
	"context"
	"errors"
	"strings"

	"github.com/headgate-io/headgate/auth/permission"
	"github.com/headgate-io/headgate/internal/store"
	"github.com/headgate-io/headgate/internal/tenant"
)

// ListAccess selects access requests for List.
type ListAccess struct {
	Tenant string       // name or id; "" is any
	Search string       // part of the user's email, in any case
	Status AccessStatus // "" is any
	Mine   bool         // the caller's own alone
	After  string       // the next of the page before
	Limit  int          // 0 is 100, at most 1000
}

// List returns the requests that the caller sees, newest first, and what goes into After for the next page, "" at the end: the
// caller's own, and those into tenants in which the caller has access.approve. Errors: ErrNotFound for the tenant, ErrInvalid.
func (s *Access) List(ctx context.Context, by Principal, l ListAccess) (out []AccessRequest, next string, err error) {
	if err := by.Require(ScopeAdmin); err != nil {
		return nil, "", err
	}
	limit, now := pageSize(l.Limit), s.d.now()
	where, args := `WHERE lower(user_email) LIKE ? ESCAPE '!'`, []any{contains(strings.ToLower(l.Search))}
	and := func(cond string, more ...any) { where, args = where+` AND `+cond, append(args, more...) }
	switch l.Status {
	case "":
	case AccessActive:
		and(`status = 'active' AND expires_at > ?`, now.UnixMilli())
	case AccessExpired:
		and(`(status = 'expired' OR status = 'active' AND expires_at <= ?)`, now.UnixMilli())
	case AccessPending, AccessRejected, AccessRevoked:
		and(`status = ?`, string(l.Status))
	default:
		return nil, "", detail(ErrInvalid, "access status %q: want pending, active, expired, rejected or revoked", clip(string(l.Status)))
	}
	if l.After != "" {
		and(`id < ?`, plainText(l.After))
	}
	if l.Mine {
		and(`user_id = ?`, by.User())
	}
	var whose tenant.ID // that is named, if requests of others are looked at there
	err = s.d.db.View(ctx, func(tx *store.Tx) error {
		if l.Tenant != "" {
			t, err := resolve(ctx, tx, by, l.Tenant)
			if errors.Is(err, ErrNotFound) && by.User() != "" && by.Can(permission.AccessRequest, by.Home()) == nil {
				t, err = s.d.requestable(ctx, tx, by.Home(), l.Tenant)
			}
			if err != nil {
				return err
			}
			and(`tenant_id = ?`, t.ID.String())
			if !l.Mine && by.Can(permission.AccessApprove, t.ID) == nil {
				whose = t.ID
			}
		}
		visible, who := s.visible(by)
		and(visible, who...)
		out, err = accessRows(ctx, tx, now, where+` ORDER BY id DESC LIMIT ?`, append(args, limit+1)...)
		return err
	})
	if err == nil && !whose.IsZero() {
		err = s.d.auditVisit(ctx, by, whose, "access.list", whose.String())
	}
	if err != nil {
		return nil, "", err
	}
	out, next = page(out, limit, func(r *AccessRequest) string { return r.ID })
	for i := range out {
		s.d.nameAccess(&out[i])
	}
	return out, next, nil
}

// visible returns the condition of the requests that by sees, and its arguments.
//
// SECURITY: it is part of every list. The operator's has no condition: it reaches all tenants.
func (s *Access) visible(by Principal) (string, []any) {
	if by.IsOperator() {
		return `1 = 1`, nil
	}
	ids, below := s.approvers(by)
	cond, args := `user_id = ?`, []any{by.User()}
	if below {
		cond += ` OR tenant_id IN (WITH RECURSIVE below (id) AS (SELECT id FROM tenants WHERE id = ? UNION
			SELECT t.id FROM tenants t JOIN below b ON t.parent_id = b.id) SELECT id FROM below)`
		args = append(args, by.Home().String())
	}
	if len(ids) > 0 {
		cond += ` OR tenant_id IN (?` + strings.Repeat(`, ?`, len(ids)-1) + `)`
		args = append(args, ids...)
	}
	return `(` + cond + `)`, args
}

// approvers returns the tenants in which by has access.approve, one by one, and whether also in all below the home.
func (s *Access) approvers(by Principal) (ids []any, below bool) {
	home := by.Home()
	if by.User() == "" {
		if by.Can(permission.AccessApprove, home) == nil {
			ids = append(ids, home.String())
		}
		return ids, false
	}
	d := s.d
	d.mu.RLock()
	defer d.mu.RUnlock()
	u := d.people.users[by.User()]
	if u == nil || u.Status != UserActive {
		return nil, false
	}
	reach := []tenant.ID{home}
	for id := range d.people.grants[u.ID] {
		reach = append(reach, id)
	}
	for _, a := range d.people.access[u.ID] {
		reach = append(reach, a.tenant)
	}
	for _, id := range reach {
		if may, _ := d.permissionsInLocked(u.ID, id); may.Has(permission.AccessApprove) {
			ids = append(ids, id.String())
		}
	}
	return ids, d.people.permissionsOf(&u.User) == permission.Everything
}
