package tenant

// Policy is what happens to a request that would pass a limit. The texts are the ones tenants configure.
type Policy string

// The policies: refuse the request; answer success and discard it; take it and bill the part beyond as overage; refuse it but
// let a heartbeat pass now and then, stored and not billed.
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

// Unlimited is the DailyBytes of an owner without a limit.
const Unlimited int64 = -1

// Limit is one link of the chain of owners that a request's bytes count against. The zero value lets nothing pass.
type Limit struct {
	Owner Owner
	ID    string // the key's or the tenant's
	// DailyBytes is the most that is billed per UTC day: Unlimited, or 0 or more. 0 shuts the owner: nothing passes, under any
	// policy, not even a heartbeat. Unlimited owners are counted too, so that a limit set at noon knows the morning.
	DailyBytes int64
	// AtLimit is the policy of the tenant that the limit belongs to; a key has its tenant's. Only with Bill may this limit be
	// passed: a child that is billed for overage does not thereby pass its parent's limit.
	AtLimit Policy
}
