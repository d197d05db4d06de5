package metering

import (
	"math/bits"
	"time"

	"github.com/headgate-io/headgate/internal/tenant"
)

// Quota is a limit of daily bytes as the sender of a request sees it.
type Quota struct {
	ID                     string // LimitTenant or LimitKey
	Owner                  tenant.Owner
	Signal                 Signal // "" is all signals
	Limit, Used, Remaining int64  // bytes of the day, requests in flight included
	Reset                  time.Time
	// ExhaustedAt is when the limit will be used up at the pace of the last five minutes; zero if not before Reset, or if it
	// is already.
	ExhaustedAt time.Time
	Billed      bool // what comes beyond the limit is taken, as overage
}

// Quota returns of the limits of daily bytes that the request was held against the one of which the least part is left. It
// allocates nothing. There is none if neither the key nor the tenant has one.
//
// SECURITY: limits of ancestors are left out; their use would show what siblings do.
func (r *Reservation) Quota() (q Quota, ok bool) {
	if r.meter == nil {
		return Quota{}, false
	}
	r.meter.mu.Lock()
	defer r.meter.mu.Unlock()
	debits := r.debits
	if now := r.at.Unix(); r.heartbeat && r.plan.from <= now && now < r.plan.until {
		debits = r.plan.debits // it holds nothing, but was judged by these
	}
	var least *debit
	for i := range debits {
		d := &debits[i]
		if d.use.max == tenant.Unlimited || r.plan.chain[d.use.link].Owner == tenant.OwnerParent {
			continue
		}
		if least == nil || d.fuller(least) {
			least = d
		}
	}
	if least == nil {
		return Quota{}, false
	}
	l, used := &r.plan.chain[least.use.link], least.day.total()
	end := l.Zone.Day(r.at).End
	q = Quota{ID: limitID(tenant.DailyBytes, l.Owner), Owner: l.Owner, Signal: least.use.signal, Limit: least.use.max, Used: used,
		Remaining: max(0, least.use.max-used), Reset: time.Unix(end, 0).UTC(), Billed: l.AtLimit == tenant.Bill}
	q.ExhaustedAt = forecast(least.day.pace.perSecond(r.at), q.Remaining, r.at, end)
	return q, true
}

// fuller reports whether a greater part of d's limit is used than of e's, exactly.
func (d *debit) fuller(e *debit) bool {
	hi, lo := bits.Mul64(uint64(d.day.total()), uint64(e.use.max))
	hi2, lo2 := bits.Mul64(uint64(e.day.total()), uint64(d.use.max))
	return hi > hi2 || hi == hi2 && lo > lo2
}

// Percent returns how much of the limit is used, rounded down, at most 100.
func (q Quota) Percent() int {
	if q.Used >= q.Limit {
		return 100
	}
	hi, lo := bits.Mul64(uint64(q.Used), 100)
	p, _ := bits.Div64(hi, lo, uint64(q.Limit)) // hi is less than Limit, because Used is
	return int(p)
}

// forecast returns when what remains of a day that ends at end will be used up, to the second; zero if not before.
func forecast(perSecond float64, remaining int64, at time.Time, end int64) time.Time {
	left := float64(end - at.Unix())
	if perSecond <= 0 || remaining <= 0 || float64(remaining) >= perSecond*left {
		return time.Time{}
	}
	return at.Add(time.Duration(float64(remaining) / perSecond * float64(time.Second))).UTC().Truncate(time.Second)
}
