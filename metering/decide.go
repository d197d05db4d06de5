package metering

import (
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

// account is a limit and the bytes that count against it so far, those in flight included.
type account struct {
	tenant.Limit
	used int64
}

// fits reports whether n more bytes stay within the limit. It cannot overflow: used and n are not negative.
func (a account) fits(n int64) bool {
	return a.DailyBytes == tenant.Unlimited || a.DailyBytes > 0 && n <= a.DailyBytes-a.used
}

// spent reports whether not a byte is left.
func (a account) spent() bool { return !a.fits(1) }

// passable reports whether the owner has agreed to be billed beyond the limit. A limit of 0 is never passed.
func (a account) passable() bool { return a.AtLimit == tenant.Bill && a.DailyBytes > 0 }

// verdict is the outcome of decide.
type verdict uint8

const (
	refused   verdict = iota // by accounts[blocking]; the zero value lets nothing pass
	admitted                 // debit all accounts
	heartbeat                // pass without debit
)

// decision is the verdict on one request.
type decision struct {
	verdict  verdict
	blocking int           // index of the first account that refuses; only for refused
	policy   tenant.Policy // how to answer; only for refused
}

// decide judges a request of n bytes against all accounts at once: either every account is debited or none. policy is the
// requesting tenant's; beat says whether a heartbeat is due to it.
func decide(accounts []account, n int64, policy tenant.Policy, beat bool) decision {
	return judge(accounts, policy, beat, func(a account) bool { return !a.fits(n) })
}

// decideUnread judges a request of unknown size: it is refused only if no size would pass.
func decideUnread(accounts []account, policy tenant.Policy, beat bool) decision {
	return judge(accounts, policy, beat, account.spent)
}

func judge(accounts []account, policy tenant.Policy, beat bool, over func(account) bool) decision {
	blocking, shut := -1, false
	for i, a := range accounts {
		if !over(a) || a.passable() {
			continue
		}
		if blocking < 0 {
			blocking = i
		}
		shut = shut || a.DailyBytes == 0
	}
	switch {
	case blocking < 0:
		return decision{verdict: admitted}
	case policy == tenant.Sample && beat && !shut:
		return decision{verdict: heartbeat}
	}
	return decision{refused, blocking, answer(policy, accounts[blocking].AtLimit)}
}

// answer chooses how a refusal is answered: as the requesting tenant wants, or, if that is to be billed, which the limit in
// the way does not allow, as the limit's owner wants. What is left is a refusal.
func answer(own, owner tenant.Policy) tenant.Policy {
	for _, p := range []tenant.Policy{own, owner} {
		if p == tenant.Refuse || p == tenant.Drop || p == tenant.Sample {
			return p
		}
	}
	return tenant.Refuse
}

// overage returns how many of n bytes lie beyond the limit when before bytes are settled already. Over a day these parts
// add up to exactly what the day's sum is beyond the limit.
func overage(limit, before, n int64) int64 {
	if limit == tenant.Unlimited {
		return 0
	}
	return max(0, before+n-limit) - max(0, before-limit)
}

// dayOf returns the number of the UTC day that t lies on.
func dayOf(t time.Time) int64 { return floorDiv(t.Unix(), daySeconds) }

// resetOf returns the first moment after t's UTC day.
func resetOf(t time.Time) time.Time { return time.Unix((dayOf(t)+1)*daySeconds, 0).UTC() }

func floorDiv(a, b int64) int64 {
	q := a / b
	if a%b < 0 {
		q--
	}
	return q
}

// beatDue reports whether a heartbeat may pass at t when the last one passed at last. A clock that was set back by more
// than the interval does not silence the tenant.
func beatDue(last, t time.Time) bool {
	return last.IsZero() || t.Sub(last).Abs() >= HeartbeatInterval
}
