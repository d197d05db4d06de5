package metering

import (
	"fmt"
	"time"

	"github.com/headgate-io/headgate/internal/tenant"
)

// keptDays bounds the days in memory: today, yesterday for requests that came in before midnight, and some for a clock that
// jumps ahead and is put right again.
const keptDays = 4

// ownerKey names who is counted. A tenant is one owner, whether it is charged itself or as somebody's parent.
type ownerKey struct {
	key bool
	id  string
}

// owner is a key or a tenant as the meter counts it. The meter's lock guards it.
type owner struct {
	accounts [1 + len(signalCodes)]*account // of all signals, then by Signal.code
	storage  int64                          // bytes kept, with those of descendants
	beat     time.Time                      // when a heartbeat last passed
}

// account returns the owner's account of a signal, "" for all signals.
func (o *owner) account(s Signal, floor int64) *account {
	a := &o.accounts[s.code()]
	if *a == nil {
		*a = &account{floor: floor}
	}
	return *a
}

// account is an owner's use, of one signal or of all.
type account struct {
	days            [keptDays]*dayUse // the newest first, nil at the end
	floor           int64             // the first day whose use is known
	bytes, requests bucket
	flying          int64 // requests between Enter and Leave
}

// dayUse is what an account has used on one day of its owner's zone.
type dayUse struct {
	number int64
	used   int64 // bytes that are held or final
	pace   pace
	lease  lease // of a meter among several
}

// day returns the use of a day, or ErrDayClosed. A new day may push out the oldest, which is closed from then on: counting it
// from nothing again would break its limits. Plans that know it look again.
func (a *account) day(number int64, pushedOut *int) (*dayUse, error) {
	i := 0
	for ; i < keptDays && a.days[i] != nil && a.days[i].number >= number; i++ {
		if a.days[i].number == number {
			return a.days[i], nil
		}
	}
	if number < a.floor || i == keptDays {
		return nil, fmt.Errorf("%w: day %s", ErrDayClosed, time.Unix(number*daySeconds, 0).UTC().Format(time.DateOnly))
	}
	if last := a.days[keptDays-1]; last != nil {
		a.floor = last.number + 1
		*pushedOut++
	}
	copy(a.days[i+1:], a.days[i:])
	a.days[i] = &dayUse{number: number}
	return a.days[i], nil
}

// chainPlan is what a chain of limits means for requests of one signal, worked out once: grants are built seldom, and requests
// come often.
type chainPlan struct {
	// debits are those of the moments from up to until, unless a day was pushed out since. They are made anew, not changed.
	debits      []debit
	from, until int64 // unix seconds
	pushedOut   int

	chain  []tenant.Limit
	own    int // the tenant's link
	owners []*owner
	uses   []use
	bounds []bound // rates and stored bytes
	flying []bound
	counts []bound // of records
}

// use is an account that bytes are debited to.
type use struct {
	account *account
	link    int    // in chain
	signal  Signal // "" is all signals
	max     int64
}

// bound is any other limit that a request meets.
type bound struct {
	tenant.Bound
	account *account
	link    int
}

// planKey names a plan: chains are built once for a state of the directory and never changed, so their address is enough.
type planKey struct {
	chain  *tenant.Limit
	signal byte
}

// planLocked returns the plan of a charge.
func (m *Meter) planLocked(c Charge) (*chainPlan, error) {
	if len(c.Limits) == 0 {
		return nil, c.check()
	}
	k := planKey{&c.Limits[0], c.Signal.code()}
	if p := m.plans[k]; p != nil && len(p.chain) == len(c.Limits) {
		return p, nil
	}
	if err := c.check(); err != nil {
		return nil, err
	}
	if len(m.plans) > 1024+8*len(m.owners) { // most are of chains that nobody has any more
		clear(m.plans)
	}
	p := &chainPlan{chain: c.Limits}
	for i, l := range c.Limits {
		o := m.ownerLocked(ownerKey{l.Owner == tenant.OwnerKey, l.ID})
		p.owners = append(p.owners, o)
		if l.Owner == tenant.OwnerTenant {
			p.own = i
		}
		p.uses = append(p.uses, use{o.account("", m.floor), i, "", l.DailyBytes})
		of := use{max: tenant.Unlimited}
		if c.Signal != "" {
			of = use{o.account(c.Signal, m.floor), i, c.Signal, tenant.Unlimited}
		}
		for _, b := range l.Bounds {
			if b.Signal != "" && b.Signal != string(c.Signal) {
				continue
			}
			made := bound{b, o.account(Signal(b.Signal), m.floor), i}
			switch b.Kind {
			case tenant.DailyBytes:
				of.max = b.Max
			case tenant.InFlightRequests:
				p.flying = append(p.flying, made)
			case tenant.RecordsPerRequest:
				p.counts = append(p.counts, made)
			default:
				p.bounds = append(p.bounds, made)
			}
		}
		if of.account != nil {
			p.uses = append(p.uses, of)
		}
	}
	m.plans[k] = p
	return p, nil
}

func (m *Meter) ownerLocked(k ownerKey) *owner {
	o := m.owners[k]
	if o == nil {
		o = &owner{}
		m.owners[k] = o
	}
	return o
}

// check judges the bound for a request of n bytes: nothing is debited yet.
func (b *bound) check(o *owner, n int64, at time.Time, policy tenant.Policy, share int64) (check, time.Duration) {
	switch b.Kind {
	case tenant.StorageBytes:
		return check{over: b.Max == 0 || o.storage >= b.Max, shut: b.Max == 0, policy: policy}, 0
	case tenant.BytesPerSecond, tenant.RequestsPerSecond:
		if b.Max == 0 {
			return check{over: true, shut: true, firm: true}, rateShutDelay
		}
		tokens, n, rate, burst := b.rate(n, share)
		wait := tokens.wait(at.UnixNano(), n, rate, burst)
		return check{over: wait > 0, firm: true}, wait
	}
	panic("BUG: bound " + string(b.Kind))
}

// rateShutDelay is after what time the sender of a rate of 0 may ask again.
const rateShutDelay = time.Minute

// rate returns the bucket of a rate, what a request of n bytes takes from it, and this replica's share of the rate and burst.
func (b *bound) rate(n, share int64) (at *bucket, take, rate, burst int64) {
	rate, burst = max(1, b.Max/share), b.Burst
	if burst == 0 {
		burst = b.Max
	}
	burst = max(1, burst/share)
	if b.Kind == tenant.RequestsPerSecond {
		return &b.account.requests, 1, rate, burst
	}
	return &b.account.bytes, n, rate, burst
}
