package metering

import (
	"errors"
	"fmt"
	"math"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/headgate-io/headgate/internal/tenant"
)

// ErrDayClosed says that a request's receive time lies before the days whose use is known, which takes a clock set back by
// days. It is not the tenant's doing and may be retried; a restart reads the ledger anew.
var ErrDayClosed = errors.New("receive time is before the days that are metered")

// Meter holds what keys and tenants have used and admits what fits. See the package comment for the life of a request.
type Meter struct {
	m     *meterMetrics
	share atomic.Int64 // how many replicas a rate is divided by

	mu      sync.Mutex // guards what follows and the state of all reservations; never held across I/O
	floor   int64      // the first day whose use is known
	owners  map[ownerKey]*owner
	plans   map[planKey]*chainPlan
	parents map[string]string // of each child, as OpenMeter read it, for Restore; nil from the first Hold on
	leases  *Leases           // nil: this meter alone admits
	checks  []check           // of the request at hand
	waits   []time.Duration

	pushedOut int // days that accounts have closed
}

func newMeter(floor int64, reg prometheus.Registerer) *Meter {
	m := &Meter{m: newMeterMetrics(reg), floor: floor, owners: map[ownerKey]*owner{}, plans: map[planKey]*chainPlan{}}
	m.share.Store(1)
	return m
}

// Hold holds bytes for a request received at at against every limit of c, or against none and returns a *LimitError.
// Other errors are ErrDayClosed, ErrNoLease and faults of the caller (no tenant, a size below 0 or above MaxRequestBytes).
// Follow it by deferring r.Release. The Reservation may have been used before. A meter with Leases may wait for them, for some
// seconds at most; others do not wait.
func (m *Meter) Hold(r *Reservation, c Charge, bytes int64, at time.Time) error {
	*r = Reservation{ended: true, receipt: r.receipt[:0]}
	if bytes < 0 || bytes > MaxRequestBytes {
		return fmt.Errorf("admit %d bytes: want 0 to %d", bytes, int64(MaxRequestBytes))
	}
	for range maxExchanges {
		x, err := m.hold(r, c, bytes, at)
		if x == nil || err != nil {
			return err
		}
		if err := m.leases.await(x); err != nil {
			return err
		}
	}
	return ErrNoLease // others were faster each time
}

// maxExchanges bounds how often a request waits for leases.
const maxExchanges = 16

// hold tries to hold bytes. An exchange is what to wait for before another try.
func (m *Meter) hold(r *Reservation, c Charge, bytes int64, at time.Time) (*exchange, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.parents = nil
	p, err := m.planLocked(c)
	if err != nil {
		return nil, err
	}
	debits, err := m.debitsLocked(p, at)
	if err != nil {
		return nil, err
	}
	own := p.owners[p.own]
	d := m.decideLocked(p, debits, bytes, bytes, c.AtLimit, beatDue(own.beat, at), at)
	if d.verdict == admitted && m.leases != nil {
		if x := m.leases.shortLocked(p, debits, bytes, at); x != nil {
			return x, nil
		}
	}
	*r = Reservation{meter: m, plan: p, charge: c, at: at, came: bytes, bytes: bytes, debits: debits, receipt: r.receipt}
	switch d.verdict {
	case admitted:
		r.debitLocked()
		m.m.admitted.Add(float64(bytes))
	case heartbeat:
		r.debits = nil
		r.heartbeat, r.lastBeat, own.beat = true, own.beat, at
		m.m.heartbeats.Inc()
	default:
		r.ended = true
		e := m.limitErrorLocked(p, debits, d, at)
		m.m.refusedBytes.WithLabelValues(e.LimitID).Add(float64(bytes))
		m.m.refusedRequests.WithLabelValues(e.LimitID).Inc()
		return nil, e
	}
	return nil, nil
}

// Exhausted returns a *LimitError if no request of any size would be admitted at at, so that a body need not be read. It
// holds nothing; nil is no promise that Hold will succeed. Other errors are those of Hold.
func (m *Meter) Exhausted(c Charge, at time.Time) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	p, err := m.planLocked(c)
	if err != nil {
		return err
	}
	debits, err := m.debitsLocked(p, at)
	if err != nil {
		return err
	}
	d := m.decideLocked(p, debits, 1, 1, c.AtLimit, beatDue(p.owners[p.own].beat, at), at)
	if d.verdict != refused {
		return nil
	}
	e := m.limitErrorLocked(p, debits, d, at)
	m.m.refusedRequests.WithLabelValues(e.LimitID).Inc()
	return e
}

// debitsLocked returns the accounts and days that a request is debited to, all by its one time.
func (m *Meter) debitsLocked(p *chainPlan, at time.Time) ([]debit, error) {
	now := at.Unix()
	if p.from <= now && now < p.until && p.pushedOut == m.pushedOut {
		return p.debits, nil
	}
	debits, from, until := make([]debit, 0, len(p.uses)), int64(math.MinInt64), int64(math.MaxInt64)
	for i := range p.uses {
		u := &p.uses[i]
		day := p.chain[u.link].Zone.Day(at)
		d, err := u.account.day(day.Number, &m.pushedOut)
		if err != nil {
			return nil, err
		}
		debits = append(debits, debit{u, d})
		from, until = max(from, day.Start), min(until, day.End)
	}
	p.debits, p.from, p.until, p.pushedOut = debits, from, until, m.pushedOut
	return debits, nil
}

// decideLocked judges a request that takes day bytes of each day, and rate bytes of each rate.
func (m *Meter) decideLocked(p *chainPlan, debits []debit, day, rate int64, policy tenant.Policy, beat bool, at time.Time) decision {
	m.checks, m.waits = m.checks[:0], m.waits[:0]
	for i := range debits {
		d := &debits[i]
		c := sumCheck(d.use.max, d.day.used, day, p.chain[d.use.link].AtLimit)
		if m.leases != nil {
			c.over = d.leasedOver(c, day, at)
		}
		m.checks, m.waits = append(m.checks, c), append(m.waits, 0)
	}
	for i := range p.bounds {
		b := &p.bounds[i]
		c, wait := b.check(p.owners[b.link], rate, at, p.chain[b.link].AtLimit, m.share.Load())
		m.checks, m.waits = append(m.checks, c), append(m.waits, wait)
	}
	return decide(m.checks, policy, beat)
}

// limitErrorLocked names the limit that decided.
func (m *Meter) limitErrorLocked(p *chainPlan, debits []debit, d decision, at time.Time) *LimitError {
	if d.blocking >= len(debits) {
		b := &p.bounds[d.blocking-len(debits)]
		return b.limitError(p, d.policy, m.waits[d.blocking], at)
	}
	on := &debits[d.blocking]
	l := &p.chain[on.use.link]
	e := &LimitError{Kind: tenant.DailyBytes, Owner: l.Owner, Signal: on.use.signal, Policy: d.policy,
		LimitID: limitID(tenant.DailyBytes, l.Owner), Reset: time.Unix(l.Zone.Day(at).End, 0).UTC()}
	e.owner = limitState{l.ID, on.day.number, on.use.max, on.day.total()}
	if l.Owner != tenant.OwnerParent {
		e.Limit, e.Used = on.use.max, on.day.total()
	}
	return e
}

// limitError says that a request did not fit the bound, and may come again after wait.
func (b *bound) limitError(p *chainPlan, policy tenant.Policy, wait time.Duration, at time.Time) *LimitError {
	l := &p.chain[b.link]
	e := &LimitError{Kind: b.Kind, Owner: l.Owner, Signal: Signal(b.Signal), Policy: policy, Wait: wait,
		LimitID: limitID(b.Kind, l.Owner), Reset: at.Add(wait).UTC()}
	if b.Kind == tenant.StorageBytes {
		e.Wait, e.Reset = storageDelay, at.Add(storageDelay).UTC()
	}
	if l.Owner != tenant.OwnerParent {
		e.Limit = b.Max
		switch b.Kind {
		case tenant.StorageBytes:
			e.Used = p.owners[b.link].storage
		case tenant.InFlightRequests:
			e.Used = b.account.flying
		}
	}
	return e
}

// storageDelay is after what time a tenant that keeps too much is asked to come again: what it keeps is measured anew within
// that time.
const storageDelay = 10 * time.Minute

// A Place is a request's among those in flight. The zero Place is none.
type Place struct {
	meter *Meter
	plan  *chainPlan
}

// Enter counts a request in among those in flight, from its head on, or returns a *LimitError. Other errors are those of
// Hold. Leave ends it.
func (m *Meter) Enter(c Charge, at time.Time) (Place, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	p, err := m.planLocked(c)
	if err != nil || len(p.flying) == 0 {
		return Place{}, err
	}
	share := m.share.Load()
	for i := range p.flying {
		if b := &p.flying[i]; b.account.flying >= max(min(b.Max, 1), b.Max/share) {
			e := b.limitError(p, tenant.Refuse, inFlightDelay, at)
			m.m.refusedRequests.WithLabelValues(e.LimitID).Inc()
			return Place{}, e
		}
	}
	for i := range p.flying {
		p.flying[i].account.flying++
	}
	return Place{m, p}, nil
}

// Leave counts the request out. It may be called more than once.
func (p *Place) Leave() {
	if p.meter == nil {
		return
	}
	p.meter.mu.Lock()
	defer p.meter.mu.Unlock()
	for i := range p.plan.flying {
		p.plan.flying[i].account.flying--
	}
	p.meter = nil
}

// SetStorage tells how many bytes tenants keep, descendants included. Those that are not named keep none.
func (m *Meter) SetStorage(bytes map[string]int64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for k, o := range m.owners {
		if !k.key {
			o.storage = bytes[k.id]
		}
	}
	for id, n := range bytes {
		m.ownerLocked(ownerKey{id: id}).storage = n
	}
}

// Replicas tells by how many replicas requests come in. Rates and numbers of requests in flight are divided by it.
func (m *Meter) Replicas(n int) { m.share.Store(int64(max(1, n))) }
