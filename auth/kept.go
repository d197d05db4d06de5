package auth

import "github.com/headgate-io/headgate/internal/tenant"

// StorageLimit is how much a tenant may keep, with its descendants.
type StorageLimit struct {
	Tenant tenant.ID
	Zone   *tenant.Zone
	Max    int64
}

// UnsafeStorageLimits returns the limits of stored bytes of all tenants that have one.
//
// SECURITY: it crosses tenants; for the loop that measures what is kept.
func (d *Directory) UnsafeStorageLimits() []StorageLimit {
	d.mu.RLock()
	defer d.mu.RUnlock()
	var out []StorageLimit
	for _, t := range d.tenants {
		if n := t.limit(tenant.StorageBytes, ""); n != tenant.Unlimited && t.Status != Deleting {
			out = append(out, StorageLimit{t.ID, t.zone, n})
		}
	}
	return out
}

// UnsafeWithDescendants adds what each tenant has, by id, to what its ancestors have. Ids that are no tenant's stay.
//
// SECURITY: it crosses tenants; for the loop that measures what is kept.
func (d *Directory) UnsafeWithDescendants(own map[string]int64) map[string]int64 {
	d.mu.RLock()
	defer d.mu.RUnlock()
	byID := make(map[string]*Tenant, len(d.tenants))
	for id, t := range d.tenants {
		byID[id.String()] = t
	}
	sum := make(map[string]int64, len(own))
	for id, n := range own {
		sum[id] += n
		t := byID[id]
		for depth := 0; t != nil && !t.Parent.IsZero() && depth < maxDepth; depth++ {
			sum[t.Parent.String()] += n
			t = d.tenants[t.Parent]
		}
	}
	return sum
}
