package metering

import (
	"fmt"
	"time"
)

// Reservation is a request's hold on its limits, made by Admit. It ends by Commit or Release, whichever is first; what
// comes after has no effect, so that Release can be deferred.
type Reservation struct {
	meter  *Meter
	charge Charge
	at     time.Time
	bytes  int64 // held in each counter

	counters  []*counter // empty for a heartbeat
	heartbeat bool
	lastBeat  time.Time // of the tenant before this one
	settled   bool
	ended     bool
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

// Settle fixes what the request is billed, gives back the rest of the hold and returns the receipt for the log. It is called
// once, before Commit.
func (r *Reservation) Settle(o Outcome) (Receipt, error) {
	r.meter.mu.Lock()
	defer r.meter.mu.Unlock()
	if r.ended || r.settled {
		return Receipt{}, fmt.Errorf("settle a reservation twice or after its end")
	}
	if o.Bytes < 0 || o.Bytes > r.bytes {
		return Receipt{}, fmt.Errorf("settle %d of %d admitted bytes", o.Bytes, r.bytes)
	}
	rc := Receipt{Tenant: r.charge.Tenant, Key: r.charge.Key, Signal: o.Signal, ReceivedAt: r.at,
		Records: o.Records, Rejected: o.Rejected}
	if r.heartbeat {
		rc.UnbilledBytes = o.Bytes
	} else {
		rc.BilledBytes = o.Bytes
		rc.OverageBytes = r.settleLocked(o.Bytes)
	}
	return rc, rc.check()
}

// settleLocked moves n of the held bytes to settled in every counter, frees the rest, and returns the part of n that is
// beyond a limit, the greatest over all limits.
func (r *Reservation) settleLocked(n int64) (over int64) {
	for i, c := range r.counters {
		over = max(over, overage(r.charge.Limits[i].DailyBytes, c.settled, n))
		c.held -= r.bytes - n
		c.settled += n
	}
	r.bytes, r.settled = n, true
	return over
}

// Commit makes the hold final. Without Settle all admitted bytes stay counted.
func (r *Reservation) Commit() {
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

// Release gives everything back, as if Admit had not been called.
func (r *Reservation) Release() {
	r.meter.mu.Lock()
	defer r.meter.mu.Unlock()
	if r.ended {
		return
	}
	r.ended = true
	for _, c := range r.counters {
		c.held -= r.bytes
		if r.settled {
			c.settled -= r.bytes
		}
	}
	if id := r.charge.Tenant; r.heartbeat && r.meter.beats[id].Equal(r.at) {
		r.meter.beats[id] = r.lastBeat
	}
}
