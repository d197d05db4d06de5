package metering

import (
	"fmt"
	"time"

	"github.com/headgate-io/headgate/internal/tenant"
)

// Stable ids of limits, in errors and in Limits. They are never renamed.
const (
	LimitTenant = "limit-daily-bytes"
	LimitKey    = "limit-daily-bytes-key"
	LimitParent = "limit-daily-bytes-parent"
)

// stableID returns the id of an owner's limit in messages.
func stableID(o tenant.Owner) string {
	switch o {
	case tenant.OwnerKey:
		return LimitKey
	case tenant.OwnerTenant:
		return LimitTenant
	}
	return LimitParent
}

// Charge is who pays for a request: the key, its tenant and its ancestors, with the limits in force for it. Limits holds
// the whole chain, key first, then the tenant, then the parent and so on.
type Charge struct {
	Tenant  tenant.ID
	Key     string
	AtLimit tenant.Policy // the tenant's
	Limits  []tenant.Limit
}

// check refuses a charge whose tenant would not be counted.
func (c Charge) check() error {
	if c.Tenant.IsZero() {
		return fmt.Errorf("charge: no tenant")
	}
	for _, l := range c.Limits {
		if l.Owner == tenant.OwnerTenant && l.ID == c.Tenant.String() {
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
	Owner   tenant.Owner
	Limit   int64     // bytes per day; 0 for OwnerParent
	Used    int64     // bytes today, requests in flight included; 0 for OwnerParent
	Reset   time.Time // the next UTC midnight
	// Policy is how to answer: Refuse, Drop or Sample (a refusal, the heartbeat being spent).
	Policy tenant.Policy

	owner limitState // for the owner's own events alone
}

// limitState is what a limit's owner may know of it.
type limitState struct {
	id        string
	day       int64
	max, used int64
}

// Error names the limit, the use, the reset and the stable id.
func (e *LimitError) Error() string {
	reset := e.Reset.Format(time.RFC3339)
	if e.Owner == tenant.OwnerParent {
		return fmt.Sprintf("daily byte limit of a parent organization reached: resets %s (%s)", reset, e.LimitID)
	}
	return fmt.Sprintf("daily byte limit reached: used %d of %d, resets %s (%s)", e.Used, e.Limit, reset, e.LimitID)
}

// RetryAfter returns the time from at to the reset, rounded up to seconds, at least one.
func (e *LimitError) RetryAfter(at time.Time) time.Duration {
	d := e.Reset.Sub(at)
	return max((d + time.Second - 1).Truncate(time.Second), time.Second)
}
