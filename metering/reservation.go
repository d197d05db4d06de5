package metering

import (
	"fmt"
	"time"

	"github.com/headgate-io/headgate/internal/tenant"
)

// Reservation is a request's hold on its limits, made by Meter.Hold. It ends by Commit or Release, whichever is first; what
// comes after has no effect, so that Release can be deferred. The zero Reservation holds nothing.
type Reservation struct {
	meter  *Meter
	plan   *chainPlan
	charge Charge
	at     time.Time
	came   int64 // bytes of the request, which rates are charged
	bytes  int64 // of it, held in each account

	debits    []debit // the plan's; none for a heartbeat
	receipt   []Debit // memory of the receipt's
	heartbeat bool
	lastBeat  time.Time // of the tenant before this one
	settled   bool
	ended     bool
}

// debit is an account that a reservation holds bytes of, and the day.
type debit struct {
	use *use
	day *dayUse
}

// Outcome is what became of a request once it was decoded.
type Outcome struct {
	Signal   Signal
	Bytes    int64 // to be billed: at most what was admitted
	Records  int64 // accepted
	Rejected int64 // records not accepted
}

// Heartbeat reports whether the request passes as the policy sample's heartbeat: to be stored, not billed.
func (r *Reservation) Heartbeat() bool { return r.heartbeat }

// debitLocked takes the request's bytes from every account and rate.
func (r *Reservation) debitLocked() {
	for _, d := range r.debits {
		d.day.used += r.bytes
	}
	now, share := r.at.UnixNano(), r.meter.share.Load()
	for i := range r.plan.bounds {
		if b := &r.plan.bounds[i]; b.Kind != tenant.StorageBytes && b.Max > 0 {
			tokens, n, rate, burst := b.rate(r.came, share)
			*tokens = bucket{tokens.at(now, rate, burst)}.take(now, n, rate)
		}
	}
}

// Settle fixes what the request is billed, gives back the rest of the hold and returns the receipt for the log. It is called
// once, before Commit. A *LimitError says that the request has too many records; then it is to be released. The receipt is
// good until the reservation is used for the next request.
func (r *Reservation) Settle(o Outcome) (Receipt, error) {
	if r.meter == nil {
		return Receipt{}, fmt.Errorf("settle a reservation that holds nothing")
	}
	r.meter.mu.Lock()
	defer r.meter.mu.Unlock()
	if r.ended || r.settled {
		return Receipt{}, fmt.Errorf("settle a reservation twice or after its end")
	}
	if o.Bytes < 0 || o.Bytes > r.bytes {
		return Receipt{}, fmt.Errorf("settle %d of %d admitted bytes", o.Bytes, r.bytes)
	}
	if err := r.countLocked(o.Records + o.Rejected); err != nil {
		return Receipt{}, err
	}
	rc := Receipt{Tenant: r.charge.Tenant, Key: r.charge.Key, Signal: o.Signal, ReceivedAt: r.at,
		Records: o.Records, Rejected: o.Rejected}
	if r.heartbeat {
		rc.UnbilledBytes = o.Bytes
		return rc, rc.check()
	}
	r.settleLocked(o.Bytes)
	rc.BilledBytes = o.Bytes
	r.receipt = r.receipt[:0]
	for _, d := range r.debits {
		l := &r.plan.chain[d.use.link]
		r.receipt = append(r.receipt, Debit{Key: l.Owner == tenant.OwnerKey, ID: l.ID, Signal: d.use.signal, Day: d.day.number,
			Limit: d.use.max, Billed: l.AtLimit == tenant.Bill})
	}
	rc.Debits = r.receipt
	return rc, rc.check()
}

// countLocked refuses a request of too many records.
func (r *Reservation) countLocked(records int64) error {
	for i := range r.plan.counts {
		if b := &r.plan.counts[i]; records > b.Max {
			e := b.limitError(r.plan, tenant.Refuse, 0, r.at)
			if e.Owner != tenant.OwnerParent {
				e.Used = records
			}
			r.meter.m.refusedRequests.WithLabelValues(e.LimitID).Inc()
			return e
		}
	}
	return nil
}

// settleLocked frees what of the held bytes is beyond n.
func (r *Reservation) settleLocked(n int64) {
	for _, d := range r.debits {
		d.day.used -= r.bytes - n
		d.day.pace.add(r.at, n)
	}
	r.bytes, r.settled = n, true
}

// Commit makes the hold final. Without Settle all admitted bytes stay counted.
func (r *Reservation) Commit() {
	if r.meter == nil {
		return
	}
	r.meter.mu.Lock()
	defer r.meter.mu.Unlock()
	if r.ended {
		return
	}
	if !r.settled {
		r.settleLocked(r.bytes)
	}
	r.ended = true
}

// Release gives everything back, as if Hold had not been called: of rates too.
func (r *Reservation) Release() {
	if r.meter == nil {
		return
	}
	r.meter.mu.Lock()
	defer r.meter.mu.Unlock()
	if r.ended {
		return
	}
	r.ended = true
	for _, d := range r.debits {
		d.day.used -= r.bytes
	}
	if r.heartbeat {
		if own := r.plan.owners[r.plan.own]; own.beat.Equal(r.at) {
			own.beat = r.lastBeat
		}
		return
	}
	share := r.meter.share.Load()
	for i := range r.plan.bounds {
		if b := &r.plan.bounds[i]; b.Kind != tenant.StorageBytes && b.Max > 0 {
			tokens, n, rate, _ := b.rate(r.came, share)
			*tokens = tokens.untake(n, rate)
		}
	}
}
