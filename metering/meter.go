package metering

import (
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/headgate-io/headgate/internal/tenant"
)

// keptDays bounds the days in memory: today, yesterday for requests that came in before midnight, and some for a clock that
// jumps ahead and is put right again.
const keptDays = 4

// ErrDayClosed says that a request's receive time lies before the days whose use is known, which takes a clock set back by
// days. It is not the tenant's doing and may be retried; a restart reads the ledger anew.
var ErrDayClosed = errors.New("receive time is before the days that are metered")

// Meter holds the bytes of the day per key and tenant and admits what fits. See the package comment for the life of a
// request.
type Meter struct {
	m *meterMetrics

	mu      sync.Mutex // guards what follows and the state of all reservations; never held across I/O
	floor   int64      // the first day whose use is known
	days    map[int64]map[counterKey]*counter
	beats   map[tenant.ID]time.Time // when a heartbeat last passed
	parents map[string]string       // of each child, as OpenMeter read it, for Restore; nil from the first Admit on
}

// counterKey names who is counted. A tenant is one counter, whether it is charged itself or as somebody's parent.
type counterKey struct {
	key bool
	id  string
}

// counter is an owner's bytes on one day.
type counter struct {
	held    int64 // admitted and not released: what limits are checked against
	settled int64 // of it, settled: what overage is measured by
}

func newMeter(floor int64, reg prometheus.Registerer) *Meter {
	return &Meter{
		m: newMeterMetrics(reg), floor: floor,
		days: map[int64]map[counterKey]*counter{}, beats: map[tenant.ID]time.Time{},
	}
}

// Admit holds bytes for a request received at at against every limit of c, or against none and returns a *LimitError.
// Other errors are ErrDayClosed and faults of the caller (no tenant, a size below 0 or above MaxRequestBytes). Follow it by
// deferring Release.
func (m *Meter) Admit(c Charge, bytes int64, at time.Time) (*Reservation, error) {
	if bytes < 0 || bytes > MaxRequestBytes {
		return nil, fmt.Errorf("admit %d bytes: want 0 to %d", bytes, int64(MaxRequestBytes))
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.parents = nil
	counters, accounts, err := m.accountsLocked(c, at)
	if err != nil {
		return nil, err
	}
	last := m.beats[c.Tenant]
	d := decide(accounts, bytes, c.AtLimit, beatDue(last, at))
	r := &Reservation{meter: m, charge: c, at: at, bytes: bytes}
	switch d.verdict {
	case admitted:
		r.counters = counters
		for _, k := range counters {
			k.held += bytes
		}
		m.m.admitted.Add(float64(bytes))
	case heartbeat:
		r.heartbeat, r.lastBeat = true, last
		m.beats[c.Tenant] = at
		m.m.heartbeats.Inc()
	default:
		e := limitError(accounts[d.blocking], d.policy, at)
		m.m.refusedBytes.WithLabelValues(e.LimitID).Add(float64(bytes))
		m.m.refusedRequests.WithLabelValues(e.LimitID).Inc()
		return nil, e
	}
	return r, nil
}

// Exhausted returns a *LimitError if no request of any size would be admitted at at, so that a body need not be read. It
// holds nothing; nil is no promise that Admit will succeed. Other errors are those of Admit.
func (m *Meter) Exhausted(c Charge, at time.Time) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	_, accounts, err := m.accountsLocked(c, at)
	if err != nil {
		return err
	}
	d := decideUnread(accounts, c.AtLimit, beatDue(m.beats[c.Tenant], at))
	if d.verdict != refused {
		return nil
	}
	e := limitError(accounts[d.blocking], d.policy, at)
	m.m.refusedRequests.WithLabelValues(e.LimitID).Inc()
	return e
}

// LimitState is one limit as its tenant sees it.
type LimitState struct {
	ID        string    `json:"id"`
	Signal    string    `json:"signal"` // "" is all signals
	Limit     int64     `json:"limit"`
	Used      int64     `json:"used"` // bytes today, requests in flight included
	Remaining int64     `json:"remaining"`
	Reset     time.Time `json:"reset"`
}

// Limits returns the limits set on the key and the tenant of c, and how much of them is used at at.
//
// SECURITY: limits of ancestors are left out; their use would show what siblings do.
func (m *Meter) Limits(c Charge, at time.Time) ([]LimitState, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	_, accounts, err := m.accountsLocked(c, at)
	if err != nil {
		return nil, err
	}
	out := []LimitState{}
	for _, a := range accounts {
		if a.Owner != tenant.OwnerParent && a.DailyBytes != tenant.Unlimited {
			out = append(out, LimitState{ID: stableID(a.Owner), Limit: a.DailyBytes, Used: a.used,
				Remaining: max(0, a.DailyBytes-a.used), Reset: resetOf(at)})
		}
	}
	return out, nil
}

// accountsLocked finds the counters of c's chain on the day of at, and their state.
func (m *Meter) accountsLocked(c Charge, at time.Time) ([]*counter, []account, error) {
	if err := c.check(); err != nil {
		return nil, nil, err
	}
	day := dayOf(at)
	if day < m.floor {
		return nil, nil, fmt.Errorf("%w: %s", ErrDayClosed, at.UTC().Format(time.RFC3339))
	}
	counters := make([]*counter, len(c.Limits))
	accounts := make([]account, len(c.Limits))
	for i, l := range c.Limits {
		k := m.counterLocked(day, counterKey{key: l.Owner == tenant.OwnerKey, id: l.ID})
		counters[i], accounts[i] = k, account{l, k.held}
	}
	return counters, accounts, nil
}

// counterLocked returns the counter of k on day, which is at or after the floor. A new day may push out the oldest one.
func (m *Meter) counterLocked(day int64, k counterKey) *counter {
	owners := m.days[day]
	if owners == nil {
		owners = map[counterKey]*counter{}
		m.days[day] = owners
		for len(m.days) > keptDays {
			m.dropOldestLocked()
		}
	}
	c := owners[k]
	if c == nil {
		c = &counter{}
		owners[k] = c
	}
	return c
}

// dropOldestLocked forgets the oldest day and refuses it from now on: counting it from nothing again would break its
// limits.
func (m *Meter) dropOldestLocked() {
	oldest := int64(0)
	first := true
	for d := range m.days {
		if first || d < oldest {
			oldest, first = d, false
		}
	}
	delete(m.days, oldest)
	m.floor = oldest + 1
}

func limitError(a account, policy tenant.Policy, at time.Time) *LimitError {
	e := &LimitError{LimitID: stableID(a.Owner), Owner: a.Owner, Reset: resetOf(at), Policy: policy,
		owner: limitState{a.ID, dayOf(at), a.DailyBytes, a.used}}
	if a.Owner != tenant.OwnerParent {
		e.Limit, e.Used = a.DailyBytes, a.used
	}
	return e
}
