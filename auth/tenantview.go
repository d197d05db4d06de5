package auth

import (
	"context"

	"github.com/headgate-io/headgate/auth/permission"
	"github.com/headgate-io/headgate/internal/store"
	"github.com/headgate-io/headgate/internal/tenant"
)

// NameOf returns the name of a tenant in the principal's reach, "" of others. It reads memory alone.
func (s *Tenants) NameOf(by Principal, id tenant.ID) string {
	if id.IsZero() {
		return ""
	}
	if _, reached := by.Permissions(id); !reached {
		return ""
	}
	s.d.mu.RLock()
	defer s.d.mu.RUnlock()
	if t := s.d.tenants[id]; t != nil {
		return t.Name
	}
	return ""
}

// Below returns the tenants of the tree from id down in which by may do what; whole says that these are all of the tree, deleted
// ones not counted. For a key it is its tenant's whole tree. The caller has checked what by may in id itself.
func (s *Tenants) Below(by Principal, what permission.Permission, id tenant.ID) (ids []tenant.ID, whole bool) {
	tree := s.unsafeTree([]tenant.ID{id})[id]
	if by.IsOperator() || by.User() == "" {
		return tree, true
	}
	for _, t := range tree {
		if by.Can(what, t) == nil {
			ids = append(ids, t)
		}
	}
	return ids, len(ids) == len(tree)
}

// Trees returns the tenants of the trees from each of ids down, for sums over them. Ids in which by may not do what are left out.
func (s *Tenants) Trees(by Principal, what permission.Permission, ids []tenant.ID) map[tenant.ID][]tenant.ID {
	var may []tenant.ID
	for _, id := range ids {
		if by.Can(what, id) == nil {
			may = append(may, id)
		}
	}
	return s.unsafeTree(may)
}

// unsafeTree walks all tenants once.
//
// SECURITY: it names tenants that nobody may reach; for sums that count against the limits of the tenants asked for.
func (s *Tenants) unsafeTree(of []tenant.ID) map[tenant.ID][]tenant.ID {
	out := make(map[tenant.ID][]tenant.ID, len(of))
	for _, id := range of {
		out[id] = nil
	}
	s.d.mu.RLock()
	defer s.d.mu.RUnlock()
	for id, t := range s.d.tenants {
		for depth := 0; t != nil && depth < maxDepth; depth++ {
			if _, asked := out[t.ID]; asked {
				out[t.ID] = append(out[t.ID], id)
			}
			t = s.d.tenants[t.Parent]
		}
	}
	return out
}

// Count is how many users and keys count against a tenant's limits, its own and its descendants'.
type Count struct{ Users, Keys int64 }

// Count takes tenants.read. Errors: ErrNotFound, ErrForbidden.
func (s *Tenants) Count(ctx context.Context, by Principal, ref string) (n Count, err error) {
	err = s.d.db.View(ctx, func(tx *store.Tx) error {
		t, err := permitted(ctx, tx, by, permission.TenantsRead, ref)
		if err != nil {
			return err
		}
		if n.Users, err = unsafeUsersBelow(ctx, tx, t.ID); err != nil {
			return err
		}
		n.Keys, err = unsafeKeysBelow(ctx, tx, t.ID, s.d.now())
		return err
	})
	return n, err
}

// Zone returns whose days the tenant's are, nil for UTC.
func (t Tenant) Zone() *tenant.Zone { return t.zone }
