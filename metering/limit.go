package metering

import (
	"fmt"
	"time"

	"github.com/headgate-io/headgate/internal/tenant"
)

// Policy is what happens to a request that would pass a limit. The texts are the ones tenants configure.
type Policy string

// The policies: refuse the request; answer success and discard it; take it and mark the part beyond as overage; refuse it
// but let one request per HeartbeatInterval and tenant pass, stored and not billed.
const (
	Refuse Policy = "refuse"
	Drop   Policy = "drop"
	Bill   Policy = "bill"
	Sample Policy = "sample"
)

// Owner says whose a limit is, seen from the request.
type Owner string

// The owners of limits.
const (
	OwnerKey    Owner = "key"
	OwnerTenant Owner = "tenant"
	OwnerParent Owner = "parent"
)

// Unlimited is the Daily of an owner without a limit.
const Unlimited int64 = -1

// Stable ids of limits, in errors and in Limits. They are never renamed.
const (
	LimitTenant = "limit-daily-bytes"
	LimitKey    = "limit-daily-bytes-key"
	LimitParent = "limit-daily-bytes-parent"
)

// Limit is one owner that a request's bytes count against. The zero value lets nothing pass.
type Limit struct {
	Owner Owner
	ID    string // the key's or the tenant's
	// Daily is the most that is billed per UTC day: Unlimited, or 0 or more. 0 shuts the owner: nothing passes, under any
	// policy, not even a heartbeat. Unlimited owners are counted too, so that a limit set at noon knows the morning.
	Daily int64
	// AtLimit is the policy of the tenant that the limit belongs to. Only with Bill may this limit be passed: a child that
	// is billed for overage does not thereby pass its parent's limit.
	AtLimit Policy
}

// stableID returns the id of the limit in messages.
func (l Limit) stableID() string {
	switch l.Owner {
	case OwnerKey:
		return LimitKey
	case OwnerTenant:
		return LimitTenant
	}
	return LimitParent
}

// Charge is who pays for a request: the key, its tenant and its ancestors, with the limits in force for it. Limits holds
// the whole chain, key first, then the tenant, then the parent and so on.
type Charge struct {
	Tenant  tenant.ID
	Key     string
	AtLimit Policy // the tenant's
	Limits  []Limit
}

// check refuses a charge whose tenant would not be counted.
func (c Charge) check() error {
	if c.Tenant.IsZero() {
		return fmt.Errorf("charge: no tenant")
	}
	for _, l := range c.Limits {
		if l.Owner == OwnerTenant && l.ID == c.Tenant.String() {
			return nil
		}
	}
	return fmt.Errorf("charge of tenant %s: the tenant is not in its chain", c.Tenant)
}

// LimitError says that a request does not fit.
//
// SECURITY: a parent's numbers are the sum over siblings, so they stay 0 here and out of the text; a tenant learns only
// that something above it is used up.
type LimitError struct {
	LimitID string // LimitTenant, LimitKey or LimitParent
	Owner   Owner
	Limit   int64     // bytes per day; 0 for OwnerParent
	Used    int64     // bytes today, requests in flight included; 0 for OwnerParent
	Reset   time.Time // the next UTC midnight
	// Policy is how to answer: Refuse, Drop or Sample (a refusal, the heartbeat being spent).
	Policy Policy
}

// Error names the limit, the use, the reset and the stable id.
func (e *LimitError) Error() string {
	reset := e.Reset.Format(time.RFC3339)
	if e.Owner == OwnerParent {
		return fmt.Sprintf("daily byte limit of a parent organization reached: resets %s (%s)", reset, e.LimitID)
	}
	return fmt.Sprintf("daily byte limit reached: used %d of %d, resets %s (%s)", e.Used, e.Limit, reset, e.LimitID)
}

// RetryAfter returns the time from at to the reset, rounded up to seconds, at least one.
func (e *LimitError) RetryAfter(at time.Time) time.Duration {
	d := e.Reset.Sub(at)
	return max((d + time.Second - 1).Truncate(time.Second), time.Second)
}
