package metering

import (
	"fmt"
	"time"

	"github.com/headgate-io/headgate/internal/tenant"
)

// Stable ids of limits of daily bytes, in errors and in Limits. They are never renamed. Those of other kinds are made the same
// way: "limit-", the kind, and "-key" or "-parent" where it is not the tenant's own.
const (
	LimitTenant = "limit-daily-bytes"
	LimitKey    = "limit-daily-bytes-key"
	LimitParent = "limit-daily-bytes-parent"
)

// limitID returns the id of an owner's limit in messages.
func limitID(k tenant.Kind, o tenant.Owner) string {
	switch o {
	case tenant.OwnerKey:
		return limitIDs[k][1]
	case tenant.OwnerTenant:
		return limitIDs[k][0]
	}
	return limitIDs[k][2]
}

// limitIDs are all of them, per kind those of a tenant, a key and a parent.
var limitIDs = func() map[tenant.Kind][3]string {
	m := map[tenant.Kind][3]string{}
	for _, k := range []tenant.Kind{tenant.DailyBytes, tenant.BytesPerSecond, tenant.RequestsPerSecond, tenant.RecordsPerRequest,
		tenant.InFlightRequests, tenant.StorageBytes} {
		m[k] = [3]string{"limit-" + string(k), "limit-" + string(k) + "-key", "limit-" + string(k) + "-parent"}
	}
	return m
}()

// Charge is who pays for a request: the key, its tenant and its ancestors, with the limits in force for it. Limits holds
// the whole chain, key first, then the tenant, then the parent and so on.
//
// The Meter keeps what it has worked out for a chain by the address of its first link: a chain is never changed, and a
// caller with many requests uses the same one.
type Charge struct {
	Tenant  tenant.ID
	Key     string
	Signal  Signal        // "" leaves the limits of signals out
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
	LimitID string // LimitTenant, LimitKey, LimitParent or another of the kind
	Kind    tenant.Kind
	Owner   tenant.Owner
	Signal  Signal    // "" is all signals together
	Limit   int64     // of bytes per day, or as the kind says; 0 for OwnerParent
	Used    int64     // of it, requests in flight included; 0 for OwnerParent and rates
	Reset   time.Time // the end of the day in the limit's zone, or when it may be tried again
	Wait    time.Duration
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
	what := map[tenant.Kind]string{
		tenant.DailyBytes: "daily byte limit", tenant.BytesPerSecond: "limit of bytes per second",
		tenant.RequestsPerSecond: "limit of requests per second", tenant.RecordsPerRequest: "limit of records per request",
		tenant.InFlightRequests: "limit of requests in flight", tenant.StorageBytes: "limit of stored bytes",
	}[e.Kind]
	if e.Signal != "" {
		what += " for " + string(e.Signal)
	}
	parent := e.Owner == tenant.OwnerParent
	if parent {
		what += " of a parent organization"
	}
	switch {
	case e.Kind == tenant.DailyBytes && parent:
		return fmt.Sprintf("%s reached: resets %s (%s)", what, e.Reset.Format(time.RFC3339), e.LimitID)
	case e.Kind == tenant.DailyBytes:
		return fmt.Sprintf("%s reached: used %d of %d, resets %s (%s)", what, e.Used, e.Limit, e.Reset.Format(time.RFC3339), e.LimitID)
	case e.Kind == tenant.RecordsPerRequest && parent:
		return fmt.Sprintf("%s: send smaller batches (%s)", what, e.LimitID)
	case e.Kind == tenant.RecordsPerRequest:
		return fmt.Sprintf("%s: %d records, at most %d are accepted; send smaller batches (%s)", what, e.Used, e.Limit, e.LimitID)
	case e.Kind == tenant.StorageBytes && parent:
		return fmt.Sprintf("%s reached: delete data or wait for it to expire (%s)", what, e.LimitID)
	case e.Kind == tenant.StorageBytes:
		return fmt.Sprintf("%s reached: %d of %d are kept; delete data or wait for it to expire (%s)", what, e.Used, e.Limit, e.LimitID)
	case parent:
		return fmt.Sprintf("%s reached: try again in %s (%s)", what, e.RetryAfter(e.Reset.Add(-e.Wait)), e.LimitID)
	case e.Kind == tenant.InFlightRequests:
		return fmt.Sprintf("%s reached: %d of %d, try again in %s (%s)", what, e.Used, e.Limit, e.RetryAfter(e.Reset.Add(-e.Wait)), e.LimitID)
	}
	return fmt.Sprintf("%s reached: at most %d, try again in %s (%s)", what, e.Limit, e.RetryAfter(e.Reset.Add(-e.Wait)), e.LimitID)
}

// RetryAfter returns the time from at to the reset, rounded up to seconds, at least one.
func (e *LimitError) RetryAfter(at time.Time) time.Duration {
	d := e.Reset.Sub(at)
	return max((d + time.Second - 1).Truncate(time.Second), time.Second)
}

// Delay returns after what time from at the request may be sent again, to the millisecond for limits that last for moments.
func (e *LimitError) Delay(at time.Time) time.Duration {
	if e.Wait > 0 {
		return max(e.Wait, time.Millisecond)
	}
	return e.RetryAfter(at)
}

// Permanent reports whether the same request will not fit later either.
func (e *LimitError) Permanent() bool { return e.Kind == tenant.RecordsPerRequest }

// LimitState is one limit as its tenant sees it.
type LimitState struct {
	ID        string    `json:"id"`
	Signal    string    `json:"signal"` // "" is all signals
	Limit     int64     `json:"limit"`
	Used      int64     `json:"used"` // of daily bytes: today's, requests in flight included; of rates: spent of the burst
	Remaining int64     `json:"remaining"`
	Reset     time.Time `json:"reset"`
	Burst     int64     `json:"burst,omitempty"`
	// PerSecond is how fast the limit is used, over the last five minutes, and ExhaustedAt when that will have used it up,
	// if before Reset. Both are of daily bytes.
	PerSecond   float64    `json:"bytes_per_second,omitempty"`
	ExhaustedAt *time.Time `json:"exhausted_at,omitempty"`
	Policy      string     `json:"at_limit,omitempty"`
	// UseUnknown says that Used, Remaining and Reset are those of a limit of which nothing is used, because the process that answers does not
	// know: each receiver counts its share of rates and of requests in flight for itself.
	UseUnknown bool `json:"use_unknown,omitempty"`
}

// Limits returns the limits set on the key and the tenant of c, of all signals, and how much of them is used at at.
//
// SECURITY: limits of ancestors are left out; their use would show what siblings do.
func (m *Meter) Limits(c Charge, at time.Time) ([]LimitState, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if err := c.check(); err != nil {
		return nil, err
	}
	out := []LimitState{}
	for _, l := range c.Limits {
		if l.Owner == tenant.OwnerParent {
			continue
		}
		o := m.ownerLocked(ownerKey{l.Owner == tenant.OwnerKey, l.ID})
		if l.DailyBytes != tenant.Unlimited {
			s, err := m.dayStateLocked(o, &l, "", l.DailyBytes, at)
			if err != nil {
				return nil, err
			}
			out = append(out, s)
		}
		for _, b := range l.Bounds {
			s, err := m.boundStateLocked(o, &l, b, at)
			if err != nil {
				return nil, err
			}
			out = append(out, s)
		}
	}
	return out, nil
}

// dayStateLocked is the state of a limit of daily bytes.
func (m *Meter) dayStateLocked(o *owner, l *tenant.Limit, of Signal, most int64, at time.Time) (LimitState, error) {
	a, day := o.account(of, m.floor), l.Zone.Day(at)
	use, err := a.day(day.Number, &m.pushedOut)
	if err != nil {
		return LimitState{}, err
	}
	used := use.total()
	s := LimitState{ID: limitID(tenant.DailyBytes, l.Owner), Signal: string(of), Limit: most, Used: used,
		Remaining: max(0, most-used), Reset: time.Unix(day.End, 0).UTC(), PerSecond: use.pace.perSecond(at)}
	if end := forecast(s.PerSecond, s.Remaining, at, day.End); !end.IsZero() {
		s.ExhaustedAt = &end
	}
	return s, nil
}

// boundStateLocked is the state of any other limit.
func (m *Meter) boundStateLocked(o *owner, l *tenant.Limit, b tenant.Bound, at time.Time) (LimitState, error) {
	s := LimitState{ID: limitID(b.Kind, l.Owner), Signal: b.Signal, Limit: b.Max, Burst: b.Burst, Remaining: b.Max, Reset: at.UTC()}
	a := o.account(Signal(b.Signal), m.floor)
	switch b.Kind {
	case tenant.DailyBytes:
		return m.dayStateLocked(o, l, Signal(b.Signal), b.Max, at)
	case tenant.InFlightRequests:
		s.Used = a.flying
	case tenant.StorageBytes:
		s.Used = o.storage
	case tenant.BytesPerSecond, tenant.RequestsPerSecond:
		if b.Max == 0 {
			return s, nil
		}
		made := bound{Bound: b, account: a}
		tokens, _, rate, burst := made.rate(0, m.share.Load())
		spent := max(0, tokens.full-at.UnixNano())
		s.Used = min(burst, int64(float64(spent)*float64(rate)/float64(time.Second)))
		s.Remaining, s.Reset = burst-s.Used, at.Add(time.Duration(spent)).UTC()
		return s, nil
	}
	s.Remaining = max(0, s.Limit-s.Used)
	return s, nil
}
