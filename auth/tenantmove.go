package auth

import (
	"context"
	"time"

	"github.com/headgate-io/headgate/auth/permission"
	"github.com/headgate-io/headgate/internal/store"
	"github.com/headgate-io/headgate/internal/tenant"
)

// treeOf are the tenants from the one of its argument down, with their depth below it, from 1.
const treeOf = `WITH RECURSIVE tree (id, depth) AS (SELECT id, 1 FROM tenants WHERE id = ?
	UNION ALL SELECT t.id, tree.depth + 1 FROM tenants t JOIN tree ON t.parent_id = tree.id WHERE t.deleted_at IS NULL AND tree.depth <= 8) `

// Move puts a tenant, with all below it, under another parent; "" makes it a root. It takes the operator, or somebody who has all
// permissions for good in the tenant, in the parent it leaves and in the one it goes to.
//
// Status and limits of the new ancestors hold within a second, and from then on what the tenant sends counts against them; what
// it has sent today stays with those it was counted against. What grants and access gave people of tenants that are no more
// above ends. Errors: ErrNotFound, ErrForbidden, ErrState for a parent that is not active, is the tenant itself or below it, or
// would nest tenants too deep.
func (s *Tenants) Move(ctx context.Context, by Principal, ref, parent string) (Tenant, error) {
	return s.modifyRow(ctx, by, "tenant.move", ref, func(tx *store.Tx, t *Tenant, rev int64, at time.Time) error {
		var to Tenant
		if parent != "" {
			var err error
			if to, err = resolve(ctx, tx, by, parent); err != nil {
				return err
			}
		}
		if !by.ownsForGood(t.ID, t.Parent, to.ID) {
			return detail(ErrForbidden, "tenant %s: only who has all permissions in it, in its parent and in the new one moves it", t.Name)
		}
		if t.Status == Deleting {
			return detail(ErrState, "tenant %s: is being deleted", t.Name)
		}
		if to.ID == t.Parent {
			return nil
		}
		above, err := checkMove(ctx, tx, *t, to)
		if err != nil {
			return err
		}
		t.Parent = to.ID
		return unsafeEndForeignReach(ctx, tx, t.ID, above, rev, at)
	})
}

// ownsForGood reports whether p is the operator, or has all permissions in each of the tenants beyond any access for a time.
// The zero ID, which is above all roots, is the operator's.
func (p Principal) ownsForGood(ids ...tenant.ID) bool {
	if p.IsOperator() {
		return true
	}
	for _, id := range ids {
		if s, reached := p.standing(id); id.IsZero() || !reached || s != permission.Everything {
			return false
		}
	}
	return true
}

// checkMove returns the tenants that will be above t, or ErrState.
func checkMove(ctx context.Context, tx *store.Tx, t, to Tenant) (above []tenant.ID, err error) {
	if to.ID.IsZero() {
		return nil, nil
	}
	for at := to; ; {
		if at.ID == t.ID {
			return nil, detail(ErrState, "tenant %s: cannot go below itself", t.Name)
		}
		above = append(above, at.ID)
		if at.Parent.IsZero() || len(above) > maxDepth {
			break
		}
		rows, err := queryTenants(ctx, tx, `WHERE id = ?`, at.Parent.String())
		if err != nil {
			return nil, err
		}
		if len(rows) == 0 {
			break
		}
		at = rows[0].Tenant
	}
	depth, err := checkParent(ctx, tx, to)
	if err != nil {
		return nil, err
	}
	var height int
	if err := tx.QueryRowContext(ctx, treeOf+`SELECT max(depth) FROM tree`, t.ID.String()).Scan(&height); err != nil {
		return nil, err
	}
	if depth+height > maxDepth {
		return nil, detail(ErrState, "parent %s: with %s below it tenants would be nested %d deep, at most %d are", to.Name, t.Name, depth+height, maxDepth)
	}
	return above, nil
}

// unsafeEndForeignReach withdraws grants, and ends access, to a moved tenant and all below it of people whose home is neither
// there nor above.
//
// SECURITY: it crosses tenants, for people of the old ancestors would go on reaching what is no more theirs.
func unsafeEndForeignReach(ctx context.Context, tx *store.Tx, moved tenant.ID, above []tenant.ID, rev int64, at time.Time) error {
	homes, ids := ``, []any(nil)
	if len(above) > 0 {
		homes, ids = inTenants("u.tenant_id", above)
		homes = ` AND NOT (1 = 1` + homes + `)`
	}
	foreign := `tenant_id IN (SELECT id FROM tree) AND user_id IN (SELECT u.id FROM users u WHERE u.tenant_id NOT IN (SELECT id FROM tree)` + homes + `)`
	return unsafeEndReach(ctx, tx, treeOf, []any{moved.String()}, foreign, ids, rev, at)
}
