package tenant

import (
	"fmt"
	"slices"
)

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
	// DailyBytes is the most that is billed per day: Unlimited, or 0 or more. 0 shuts the owner: nothing passes, under any
	// policy, not even a heartbeat. Unlimited owners are counted too, so that a limit set at noon knows the morning.
	DailyBytes int64
	// AtLimit is the policy of the tenant that the limit belongs to; a key has its tenant's. Only with Bill may a limit of bytes
	// be passed: a child that is billed for overage does not thereby pass its parent's limit.
	AtLimit Policy
	Zone    *Zone   // whose days; nil is UTC
	Bounds  []Bound // all other limits of the owner
}

// Kind is what a limit bounds. The texts are configured and shown, and never renamed.
type Kind string

// The kinds.
const (
	DailyBytes        Kind = "daily-bytes"         // billed per day of the owner's zone
	BytesPerSecond    Kind = "bytes-per-second"    // of requests, uncompressed
	RequestsPerSecond Kind = "requests-per-second" //
	RecordsPerRequest Kind = "records-per-request" // accepted and rejected
	InFlightRequests  Kind = "in-flight-requests"  // between a request's head and its answer
	StorageBytes      Kind = "storage-bytes"       // kept, as last measured
)

// Bound is one limit beside the one of all daily bytes.
type Bound struct {
	Kind   Kind   `json:"limit"`
	Signal string `json:"signal,omitempty"` // logs, traces, metrics or profiles; "" is all together
	Max    int64  `json:"max"`              // 0: nothing passes
	Burst  int64  `json:"burst,omitempty"`  // of rates: what may come at once after a pause; 0 is one second's worth
}

// Signals are those that limits may be of, in the order of their accounts.
var Signals = []string{"logs", "traces", "metrics", "profiles"}

// MaxBound is the greatest Max and Burst: sums of four cannot overflow.
const MaxBound = 1 << 60

// CheckBounds returns what is wrong with an owner's bounds: an unknown kind or signal, a number out of range, or two for the
// same thing.
func CheckBounds(bounds []Bound) error {
	seen := map[[2]string]bool{}
	for _, b := range bounds {
		name := string(b.Kind)
		if b.Signal != "" {
			name += ":" + b.Signal
		}
		rate := b.Kind == BytesPerSecond || b.Kind == RequestsPerSecond
		switch {
		case !slices.Contains([]Kind{DailyBytes, BytesPerSecond, RequestsPerSecond, RecordsPerRequest, InFlightRequests, StorageBytes}, b.Kind):
			return fmt.Errorf("limit %.40q: want daily-bytes, bytes-per-second, requests-per-second, records-per-request, in-flight-requests or storage-bytes", string(b.Kind))
		case b.Signal != "" && !slices.Contains(Signals, b.Signal):
			return fmt.Errorf("limit %s of signal %.40q: want logs, traces, metrics or profiles", b.Kind, b.Signal)
		case b.Kind == StorageBytes && b.Signal != "":
			return fmt.Errorf("limit %s: it is of all signals together", name)
		case b.Kind == DailyBytes && b.Signal == "":
			return fmt.Errorf("limit daily-bytes of all signals: it is the tenant's or key's daily_bytes")
		case b.Max < 0 || b.Max > MaxBound:
			return fmt.Errorf("limit %s of %d: want 0 to %d", name, b.Max, int64(MaxBound))
		case b.Burst < 0 || b.Burst > MaxBound:
			return fmt.Errorf("limit %s with a burst of %d: want 0 to %d", name, b.Burst, int64(MaxBound))
		case b.Burst > 0 && !rate:
			return fmt.Errorf("limit %s: only rates have a burst", name)
		case seen[[2]string{string(b.Kind), b.Signal}]:
			return fmt.Errorf("limit %s is there twice", name)
		}
		seen[[2]string{string(b.Kind), b.Signal}] = true
	}
	return nil
}
