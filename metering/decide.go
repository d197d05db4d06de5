package metering

import (
	"math"
	"math/bits"
	"time"

	"github.com/headgate-io/headgate/internal/tenant"
)

// This file is arithmetic alone: no lock, no clock, no I/O.

const (
	daySeconds = 24 * 60 * 60
	// HeartbeatInterval is how often one request per tenant passes under the policy sample once the limit is reached.
	HeartbeatInterval = 2 * time.Minute
	// MaxRequestBytes bounds what one request may be charged, so that sums cannot overflow: 2^63 bytes are eight million
	// such requests on one day.
	MaxRequestBytes = 1 << 40
)

// check is one limit as a request meets it.
type check struct {
	over   bool          // the request does not fit
	shut   bool          // a limit of 0: nothing passes, under any policy
	firm   bool          // of a rate or a number of requests: neither billed beyond nor passed by a heartbeat
	policy tenant.Policy // of the limit's owner
}

// fits reports whether n more fit a limit of max of which used are taken. It cannot overflow: used and n are not negative.
func fits(max, used, n int64) bool {
	return max == tenant.Unlimited || max > 0 && n <= max-used
}

// sumCheck judges a limit of a sum, such as a day's bytes.
func sumCheck(max, used, n int64, policy tenant.Policy) check {
	return check{over: !fits(max, used, n), shut: max == 0, policy: policy}
}

// passable reports whether the owner has agreed to be billed beyond the limit. A limit of 0 is never passed.
func (c check) passable() bool { return c.policy == tenant.Bill && !c.shut && !c.firm }

// verdict is the outcome of decide.
type verdict uint8

const (
	refused   verdict = iota // by checks[blocking]; the zero value lets nothing pass
	admitted                 // debit all
	heartbeat                // pass without debit
)

// decision is the verdict on one request.
type decision struct {
	verdict  verdict
	blocking int           // index of the first check that refuses; only for refused
	policy   tenant.Policy // how to answer; only for refused
}

// decide judges a request by all its limits at once: either every one is debited or none. policy is the requesting tenant's;
// beat says whether a heartbeat is due to it.
func decide(checks []check, policy tenant.Policy, beat bool) decision {
	blocking, silent := -1, false
	for i := range checks {
		c := &checks[i]
		if !c.over || c.passable() {
			continue
		}
		if blocking < 0 {
			blocking = i
		}
		silent = silent || c.shut || c.firm
	}
	switch {
	case blocking < 0:
		return decision{verdict: admitted}
	case policy == tenant.Sample && beat && !silent:
		return decision{verdict: heartbeat}
	case checks[blocking].firm:
		return decision{refused, blocking, tenant.Refuse}
	}
	return decision{refused, blocking, answer(policy, checks[blocking].policy)}
}

// answer chooses how a refusal is answered: as the requesting tenant wants, or, if that is to be billed, which the limit in
// the way does not allow, as the limit's owner wants. What is left is a refusal.
func answer(own, owner tenant.Policy) tenant.Policy {
	for _, p := range [...]tenant.Policy{own, owner} {
		if p == tenant.Refuse || p == tenant.Drop || p == tenant.Sample {
			return p
		}
	}
	return tenant.Refuse
}

// overage returns how many of n bytes lie beyond the limit when before bytes are counted already. Over a day these parts
// add up to exactly what the day's sum is beyond the limit.
func overage(limit, before, n int64) int64 {
	if limit == tenant.Unlimited {
		return 0
	}
	return max(0, before+n-limit) - max(0, before-limit)
}

// beatDue reports whether a heartbeat may pass at t when the last one passed at last. A clock that was set back by more
// than the interval does not silence the tenant.
func beatDue(last, t time.Time) bool {
	return last.IsZero() || t.Sub(last).Abs() >= HeartbeatInterval
}

// bucket is a token bucket: the moment, in unix nanoseconds, at which it will be full (the generic cell rate algorithm of
// ITU-T I.371, whose theoretical arrival time this is). The zero bucket is full.
//
// What is more than the burst passes when the bucket is full, and what follows waits until that is paid: otherwise such a
// request would never pass. So over any time t not more than rate*t + max(burst, the largest request) pass.
type bucket struct{ full int64 }

// cost is how long a rate per second takes to make up for n, rounded up, in nanoseconds.
func cost(n, rate int64) int64 {
	hi, lo := bits.Mul64(uint64(n), uint64(time.Second))
	lo, carry := bits.Add64(lo, uint64(rate-1), 0)
	if hi += carry; hi >= uint64(rate) {
		return math.MaxInt64 / 4 // centuries
	}
	q, _ := bits.Div64(hi, lo, uint64(rate))
	return int64(min(q, math.MaxInt64/4))
}

// wait returns how long n has to wait for a rate per second with a burst, 0 if it may pass now. rate and burst are
// positive.
func (b bucket) wait(now, n, rate, burst int64) time.Duration {
	full := b.at(now, rate, burst)
	if full <= now {
		return 0
	}
	// It passes when the bucket will be full within the burst's time, or at once when it is more than the burst.
	return time.Duration(max(0, full-now-max(0, cost(burst, rate)-cost(n, rate))))
}

// at is full, brought into what is possible: after the clock was set back or the rate was raised, a tenant does not wait for
// longer than an empty bucket takes, and the largest request.
func (b bucket) at(now, rate, burst int64) int64 {
	return min(b.full, now+max(cost(burst, rate), cost(MaxRequestBytes, rate)))
}

// take is the bucket after n passed.
func (b bucket) take(now, n, rate int64) bucket {
	return bucket{max(b.full, now) + cost(n, rate)}
}

// untake gives n back.
func (b bucket) untake(n, rate int64) bucket { return bucket{b.full - cost(n, rate)} }

// inFlightDelay is after what time a request that is one too many in flight may come again: nobody knows when one ends.
const inFlightDelay = time.Second

func floorDiv(a, b int64) int64 {
	q := a / b
	if a%b < 0 {
		q--
	}
	return q
}

// dayOf returns the number of the UTC day that t lies on.
func dayOf(t time.Time) int64 { return floorDiv(t.Unix(), daySeconds) }
