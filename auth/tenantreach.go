package auth

import (
	"context"
	"strings"

	"github.com/headgate-io/headgate/auth/permission"
	"github.com/headgate-io/headgate/internal/store"
	"github.com/headgate-io/headgate/internal/tenant"
)

// passes reports whether a policy lets bytes pass that do not fit the limit.
func passes(p tenant.Policy) bool { return p == tenant.Bill }

// permitted resolves a tenant in which by may do what. Errors: ErrNotFound out of reach, ErrForbidden within.
func permitted(ctx context.Context, tx *store.Tx, by Principal, what permission.Permission, ref string) (Tenant, error) {
	t, err := resolve(ctx, tx, by, ref)
	if err != nil {
		return Tenant{}, err
	}
	return t, by.Can(what, t.ID)
}

// canFromAbove is Can for what a tenant does not decide itself: by has to have the permission in the tenant and, for good, in
// one above it too. The operator is above all.
//
// SECURITY: whoever is at home in the tenant has nothing above it, whatever role they have; nor has access for a time that the
// tenant itself has approved.
func (d *Directory) canFromAbove(by Principal, what permission.Permission, t Tenant) error {
	if err := by.Can(what, t.ID); err != nil || by.IsOperator() {
		return err
	}
	for _, id := range d.ancestors(t.Parent) {
		if s, reached := by.standing(id); reached && s.Has(what) {
			return nil
		}
	}
	return detail(ErrForbidden, "tenant %s: that is decided above it", t.Name)
}

// ancestors returns the tenant and those above it, from the tenant up.
func (d *Directory) ancestors(id tenant.ID) (out []tenant.ID) {
	d.mu.RLock()
	defer d.mu.RUnlock()
	for t := d.tenants[id]; t != nil && len(out) < maxDepth; t = d.tenants[t.Parent] {
		out = append(out, t.ID)
	}
	return out
}

// Within returns the tenants in which the principal may do it, in no order; all means every tenant there is. ErrForbidden if
// there is none.
func (p Principal) Within(what permission.Permission) (ids []tenant.ID, all bool, err error) {
	if p.g == nil {
		return nil, false, ErrNoCredential
	}
	reach, limited := p.Reach()
	if !limited {
		if !operatorPermissions.Has(what) {
			return nil, false, ErrForbidden
		}
		return nil, true, nil
	}
	for _, id := range reach {
		if s, _ := p.Permissions(id); s.Has(what) {
			ids = append(ids, id)
		}
	}
	if len(ids) == 0 {
		return nil, false, ErrForbidden
	}
	return ids, false, nil
}

// fewTenants is how many are named in a statement; of more, rows are read in order and left out one by one, which few are.
const fewTenants = 200

// pageWithin returns up to limit+1 rows that belong to the tenants in which by may do what, in the order of query, which reads
// rows after a cursor that a condition holds for.
func pageWithin[T any](by Principal, what permission.Permission, column string, limit int, after string,
	query func(and string, args []any, after string, n int) ([]T, error), owner func(T) tenant.ID, cursor func(T) string) ([]T, error) {
	ids, all, err := by.Within(what)
	if err != nil {
		return nil, err
	}
	if all {
		return query("", nil, after, limit+1)
	}
	if len(ids) <= fewTenants {
		and, args := inTenants(column, ids)
		return query(and, args, after, limit+1)
	}
	in := make(map[tenant.ID]bool, len(ids))
	for _, id := range ids {
		in[id] = true
	}
	var out []T
	for {
		rows, err := query("", nil, after, maxPage)
		if err != nil {
			return nil, err
		}
		for _, r := range rows {
			after = cursor(r)
			if in[owner(r)] {
				if out = append(out, r); len(out) > limit {
					return out, nil
				}
			}
		}
		if len(rows) < maxPage {
			return out, nil
		}
	}
}

// inTenants returns a condition that a column is one of ids, which are not none, and its arguments.
func inTenants(column string, ids []tenant.ID) (and string, args []any) {
	for _, id := range ids {
		args = append(args, id.String())
	}
	return ` AND ` + column + ` IN (?` + strings.Repeat(`, ?`, len(ids)-1) + `)`, args
}

// auditVisit records that a user reads something of one tenant that is not the home. Lists over all that a user reaches, and what
// the operator looks at, are not recorded.
func (d *Directory) auditVisit(ctx context.Context, by Principal, t tenant.ID, action, target string) error {
	if by.User() == "" || by.Home() == t {
		return nil
	}
	return d.AuditCrossTenant(ctx, by, t, action, target)
}

// maxNamedTenants bounds the arguments of one statement.
const maxNamedTenants = 30_000

// auditReach returns the condition on tenant_id for what by may read of the audit: of one tenant, or of all in which by has
// audit.read.
func auditReach(ctx context.Context, tx *store.Tx, by Principal, ref string) (and string, args []any, err error) {
	if ref != "" {
		t, err := permitted(ctx, tx, by, permission.AuditRead, ref)
		if err != nil {
			return "", nil, err
		}
		and, args = inTenants("tenant_id", []tenant.ID{t.ID})
		return and, args, nil
	}
	ids, all, err := by.Within(permission.AuditRead)
	switch {
	case err != nil || all:
		return "", nil, err
	case len(ids) > maxNamedTenants:
		return "", nil, detail(ErrInvalid, "you reach %d tenants: name one", len(ids))
	}
	and, args = inTenants("tenant_id", ids)
	return and, args, nil
}
