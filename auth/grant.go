package auth

import (
	"crypto/sha256"
	"slices"
	"sync/atomic"

	"github.com/headgate-io/headgate/internal/tenant"
)

// keyEntry is a live key in memory.
type keyEntry struct {
	key   Key
	mac   [sha256.Size]byte
	old   *[sha256.Size]byte // of the secret before, until key.OldUntil; nil for none
	built atomic.Pointer[versioned]

	used    uses // by any secret
	usedOld uses // by the secret before
}

// versioned is a grant and the directory's version it was built from.
type versioned struct {
	version uint64
	grant   *grant
}

// grantLocked returns the key's grant for the present state, built again only after a change. Readers that hold the lock
// together may build it twice; both are the same.
func (d *Directory) grantLocked(e *keyEntry) *grant {
	if b := e.built.Load(); b != nil && b.version == d.version {
		return b.grant
	}
	b := &versioned{d.version, d.buildLocked(e)}
	e.built.Store(b)
	return b.grant
}

func (d *Directory) buildLocked(e *keyEntry) *grant {
	t := d.tenants[e.key.Tenant]
	if t == nil {
		return &grant{err: ErrTenantInactive}
	}
	g := &grant{
		tenant: t.ID, name: t.Name, scope: d.keyScopeLocked(e.key), keyID: e.key.ID, scopes: e.key.Scopes, origins: e.key.CORSOrigins,
		partition: t.Partition, retention: t.RetentionDays, atLimit: t.AtLimit,
		keepResends: t.KeepResends,
	}
	if e.key.unread != "" {
		return &grant{err: ErrKeysUnavailable}
	}
	g.limits = []tenant.Limit{{Owner: tenant.OwnerKey, ID: e.key.ID, DailyBytes: limitOf(e.key.DailyBytes), AtLimit: t.AtLimit,
		Zone: t.zone, Bounds: e.key.Bounds}}
	owner := tenant.OwnerTenant
	for depth := 0; t != nil; depth++ {
		// SECURITY: a child is never more active than its ancestors. A chain that does not end (a damaged table) or that
		// leads to a missing tenant counts as inactive; a deleted one has the status deleting for ever.
		if t.Status != Active || depth == maxDepth {
			return &grant{err: ErrTenantInactive}
		}
		if !t.readable() {
			return &grant{err: ErrKeysUnavailable}
		}
		g.limits = append(g.limits, tenant.Limit{Owner: owner, ID: t.ID.String(), DailyBytes: limitOf(t.DailyBytes), AtLimit: t.AtLimit,
			Zone: t.zone, Bounds: t.Bounds})
		if t.Parent.IsZero() {
			return g
		}
		t, owner = d.tenants[t.Parent], tenant.OwnerParent
	}
	return &grant{err: ErrTenantInactive}
}

// keyScopeLocked returns the tenants that a key may read, if it is let in at all.
//
// SECURITY: it is built anew after any change of tenants, so who is moved away, disabled or deleted is read no more.
func (d *Directory) keyScopeLocked(k Key) tenant.Scope {
	ids := []tenant.ID{k.Tenant}
	if slices.Contains(k.Scopes, ScopeDescendants) {
		for _, id := range d.descendantsLocked(k.Tenant) {
			if d.activeLocked(id) {
				ids = append(ids, id)
			}
		}
	}
	return scopeOf(ids)
}

func limitOf(n *int64) int64 {
	if n == nil {
		return tenant.Unlimited
	}
	return *n
}
