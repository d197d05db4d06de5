package metering

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/headgate-io/headgate/internal/store"
	"github.com/headgate-io/headgate/internal/tenant"
)

// ErrNoLease says that bytes of a limited account could not be had from the database in time. It is not the tenant's doing
// and may be retried.
var ErrNoLease = errors.New("no bytes of the limit could be leased from the database")

// Where several replicas admit for one database, each admits from leases: a row of day_leases for each account, day and
// replica says up to how many bytes that replica may use, and a row grows only while the sum over all replicas stays within
// the limit. Hence no limit is passed, whatever fails: a replica that has no lease left asks, and if nobody answers it refuses.
//
// A lease ends with its day. Until then the rows of a replica that was killed keep what it had, used or not: its log may hold
// requests that were acked, and nobody else can know. When it comes back it knows its use to the byte and returns the rest.
// So at most the unused leases of lost replicas stay unadmitted, and these are small: a replica gets an eighth of its part of
// what is left, so that chunks shrink with the remainder down to what a request needs; what lies idle is returned within
// seconds, and everything at an ordered stop.
//
// Which day a request is of is decided by the clock of the replica that has received it, and leases name their day. So clocks
// that differ let a day begin earlier here than there, and no day takes more than its limit.
//
// Accounts without a limit, and those whose owner is billed beyond it, lease too, so that a limit that is set at noon knows
// the morning. They do not wait, and go on while the database is away.

// lease is a replica's part of an account's day. The meter's lock guards it.
type lease struct {
	granted int64     // bytes that this replica may use, all told
	limit   int64     // it was granted under
	others  int64     // bytes that all others had when it was last asked
	low     int64     // more is asked for when fewer are left
	shut    time.Time // until then there are no more to be had
	used    time.Time // when it was last used
	asked   bool      // under a limit: limit means something
}

const (
	freeLease   = 16 << 20  // of accounts that need not wait
	maxLease    = 256 << 20 // at once
	shutFor     = time.Second
	idleAfter   = 2 * time.Second
	leaseTick   = 500 * time.Millisecond
	countTicks  = 10               // between counts of the replicas
	aliveFor    = 30 * time.Second // after a replica was seen
	leaseWait   = 3 * time.Second  // of a request
	leaseCommit = 5 * time.Second  // of a transaction
)

// portion returns how many of the bytes that are left a replica gets that needs some: pure arithmetic.
func portion(left, need, replicas int64) int64 {
	if left <= 0 {
		return 0
	}
	return min(left, max(need, min(left/(8*max(1, replicas)), maxLease)))
}

// want is what an exchange asks for one account.
type want struct {
	use  *dayUse
	keep bool  // or return what is unused
	need int64 // bytes beyond what is granted
	max  int64
	free bool // unlimited, or billed beyond max
}

// exchange is what is asked of the database in one transaction.
type exchange struct {
	wants map[accountKey]*want
	done  chan struct{}
	err   error
}

// Leases keeps the leases of one replica's meter.
type Leases struct {
	db    *store.DB
	log   string
	now   func() time.Time
	meter *Meter
	slog  *slog.Logger
	m     *prometheus.CounterVec // of exchanges, by outcome
	book  func(ctx context.Context, fn func(leaseBook) error) error
	await func(*exchange) error

	wake chan struct{}
	mu   sync.Mutex // guards next; taken inside the meter's lock, never around it
	next *exchange
}

// OpenLeases makes a meter of one of several replicas. log is the name of its log: what the replica had leased before, and what
// its receipts took from it, is known by that. Run has to run before anything is admitted. See OpenMeter.
func OpenLeases(ctx context.Context, db *store.DB, log string, o LedgerOptions) (*Meter, *Leases, error) {
	m, err := readMeter(ctx, db, log, o.Now(), o.Registry)
	if err != nil {
		return nil, nil, err
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	l := newLeases(m, log, o.Now)
	l.db, l.slog, l.m = db, o.Logger, newLeaseMetrics(o.Registry)
	l.book = func(ctx context.Context, fn func(leaseBook) error) error {
		return db.Update(ctx, func(tx *store.Tx) error { return fn(&leaseRows{tx, log}) })
	}
	if err := db.View(ctx, func(tx *store.Tx) error { return l.restore(ctx, tx) }); err != nil {
		return nil, nil, fmt.Errorf("read the leases of log %s: %w", log, err)
	}
	return m, l, nil
}

func newLeases(m *Meter, log string, now func() time.Time) *Leases {
	l := &Leases{log: log, now: now, meter: m, slog: slog.New(slog.DiscardHandler), wake: make(chan struct{}, 1)}
	l.m = newLeaseMetrics(nil)
	l.await = l.wait
	m.leases = l
	return l
}

// restore reads what this replica has leased, before anything is admitted.
func (l *Leases) restore(ctx context.Context, tx *store.Tx) error {
	rows, err := tx.QueryContext(ctx, `SELECT is_key, owner_id, signal, day, bytes FROM day_leases WHERE log_id = ? AND day >= ?
		ORDER BY day`, l.log, l.meter.floor)
	if err != nil {
		return err
	}
	defer rows.Close()
	for rows.Next() {
		var isKey int
		var k accountKey
		var bytes int64
		if err := rows.Scan(&isKey, &k.id, &k.signal, &k.day, &bytes); err != nil {
			return err
		}
		k.key = isKey == 1
		if err := l.restoreLocked(k, bytes); err != nil {
			return err
		}
	}
	return rows.Err()
}

func (l *Leases) restoreLocked(k accountKey, bytes int64) error {
	m := l.meter
	use, err := m.ownerLocked(ownerKey{k.key, k.id}).account(k.signal, m.floor).day(k.day, &m.pushedOut)
	if err != nil {
		return err
	}
	use.lease.granted = bytes
	return nil
}

// free reports whether an account need not wait for a lease.
func (c check) free(limit int64) bool { return limit == tenant.Unlimited || c.passable() }

// leasedOver judges a day's limit by what the replica has of it. An account that must ask first is not over.
func (d *debit) leasedOver(c check, n int64, at time.Time) bool {
	e := &d.day.lease
	switch {
	case c.shut:
		return true
	case c.free(d.use.max):
		return false
	case e.asked && e.limit == d.use.max:
		return n > e.granted-d.day.used && at.Before(e.shut)
	}
	return false
}

// total is what all replicas have used, as far as this one knows.
func (d *dayUse) total() int64 { return d.used + d.lease.others }

// shortLocked asks for what a request of n bytes lacks, and returns the exchange to wait for, or nil if it may go on.
func (l *Leases) shortLocked(p *chainPlan, debits []debit, n int64, at time.Time) (wait *exchange) {
	for i := range debits {
		d := &debits[i]
		e := &d.day.lease
		e.used = at
		need := max(0, d.day.used+n-e.granted)
		c := sumCheck(d.use.max, 0, 0, p.chain[d.use.link].AtLimit)
		switch free := c.free(d.use.max); {
		case free && need > 0:
			l.ask(d, need, true, p)
		case free:
		case need > 0 || !e.asked || e.limit != d.use.max:
			wait = l.ask(d, need, false, p)
		case e.granted-d.day.used-n < e.low && !at.Before(e.shut):
			l.ask(d, 0, false, p)
		}
	}
	return wait
}

// ask adds to the next exchange.
func (l *Leases) ask(d *debit, need int64, free bool, p *chainPlan) *exchange {
	link := &p.chain[d.use.link]
	k := accountKey{link.Owner == tenant.OwnerKey, link.ID, d.use.signal, d.day.number}
	l.mu.Lock()
	defer l.mu.Unlock()
	x := l.nextLocked()
	w := x.wants[k]
	if w == nil {
		w = &want{use: d.day}
		x.wants[k] = w
	}
	w.need, w.max, w.free, w.keep = max(w.need, need), d.use.max, free, true
	select {
	case l.wake <- struct{}{}:
	default:
	}
	return x
}

func (l *Leases) nextLocked() *exchange {
	if l.next == nil {
		l.next = &exchange{wants: map[accountKey]*want{}, done: make(chan struct{})}
	}
	return l.next
}

// wait waits for an exchange to end.
func (l *Leases) wait(x *exchange) error {
	timer := time.NewTimer(leaseWait)
	defer timer.Stop()
	select {
	case <-x.done:
		return x.err
	case <-timer.C:
		return ErrNoLease
	}
}

// Run exchanges leases until ctx ends; then it returns what is unused, and ends.
func (l *Leases) Run(ctx context.Context) error {
	tick := time.NewTicker(leaseTick)
	defer tick.Stop()
	failing, ticks := false, 0
	for {
		select {
		case <-l.wake:
		case <-tick.C:
			l.idle(l.now().Add(-idleAfter))
			if ticks++; ticks%countTicks == 1 {
				l.count(ctx)
			}
		case <-ctx.Done():
			l.idle(l.now().Add(time.Hour))
			if err := l.round(context.WithoutCancel(ctx)); err != nil {
				l.slog.Warn("unused bytes of limits could not be returned; they stay leased until this replica is back or their day ends", "err", err)
			}
			return nil
		}
		err := l.round(context.WithoutCancel(ctx))
		if err != nil && !failing {
			l.slog.Warn("bytes of limits cannot be leased; requests that need more are refused for now", "err", err)
		}
		if err == nil && failing {
			l.slog.Info("bytes of limits are leased again")
		}
		failing = err != nil
	}
}

// count tells the meter how many replicas there are. While that cannot be known, it is what it was.
func (l *Leases) count(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, leaseCommit)
	defer cancel()
	n := 0
	err := l.db.View(ctx, func(tx *store.Tx) error {
		return tx.QueryRowContext(ctx, `SELECT COUNT(*) FROM replicas WHERE seen_at >= ?`, l.now().Add(-aliveFor).UnixMilli()).Scan(&n)
	})
	if err == nil {
		l.meter.Replicas(n)
	}
}

// idle asks to return what was not used since a time.
func (l *Leases) idle(since time.Time) {
	m := l.meter
	m.mu.Lock()
	defer m.mu.Unlock()
	l.mu.Lock()
	defer l.mu.Unlock()
	for k, o := range m.owners {
		for code, a := range o.accounts {
			if a == nil {
				continue
			}
			for _, d := range a.days {
				if d == nil || d.lease.granted <= d.used || d.lease.used.After(since) {
					continue
				}
				x := l.nextLocked()
				if at := (accountKey{k.key, k.id, signalCodes[code], d.number}); x.wants[at] == nil {
					x.wants[at] = &want{use: d}
				}
			}
		}
	}
}

// round does what is asked for.
func (l *Leases) round(ctx context.Context) error {
	l.mu.Lock()
	x := l.next
	l.next = nil
	l.mu.Unlock()
	if x == nil {
		return nil
	}
	defer close(x.done)
	ctx, cancel := context.WithTimeout(ctx, leaseCommit)
	defer cancel()
	keys := slices.SortedFunc(maps.Keys(x.wants), accountKey.compare)
	has := l.shrink(x)
	gives := map[accountKey]grant{}
	err := l.book(ctx, func(b leaseBook) error {
		clear(gives)
		for _, k := range keys {
			g, err := trade(ctx, b, k, x.wants[k], has[k], l.meter.share.Load())
			if err != nil {
				return err
			}
			gives[k] = g
		}
		return nil
	})
	if err != nil {
		l.m.WithLabelValues("failed").Inc()
		x.err = fmt.Errorf("%w: %w", ErrNoLease, err)
		return x.err
	}
	l.m.WithLabelValues("ok").Inc()
	l.grow(x, has, gives)
	return nil
}

// shrink takes back what is returned before anybody is told, and tells what the replica has of each account from then on.
// What a request needs is kept, as is what is used.
func (l *Leases) shrink(x *exchange) map[accountKey]int64 {
	m := l.meter
	m.mu.Lock()
	defer m.mu.Unlock()
	has := map[accountKey]int64{}
	for k, w := range x.wants {
		e := &w.use.lease
		if !w.keep {
			e.granted = min(e.granted, w.use.used)
		}
		has[k] = max(e.granted, w.use.used) // what is used is had, also after a limit was lowered
	}
	return has
}

// grow makes what was granted the replica's.
func (l *Leases) grow(x *exchange, has map[accountKey]int64, gives map[accountKey]grant) {
	m := l.meter
	m.mu.Lock()
	defer m.mu.Unlock()
	for k, w := range x.wants {
		e, g := &w.use.lease, gives[k]
		e.granted, e.others = has[k]+g.bytes, g.others
		if !w.keep {
			continue
		}
		e.limit, e.asked, e.low = w.max, true, g.bytes/4
		if !w.free { // what was granted under a higher limit, or is given back under a lower one, is not used again
			e.granted = min(e.granted, max(0, w.max-g.others))
		}
		if g.spent {
			e.shut = l.now().Add(shutFor)
		}
	}
}

// grant is what a want has brought.
type grant struct {
	bytes  int64
	others int64 // that all others have
	spent  bool  // it is less than was needed
}

// leaseBook is where leases are written.
type leaseBook interface {
	// others returns what all other replicas have of an account.
	others(ctx context.Context, k accountKey) (int64, error)
	// put sets what this replica has.
	put(ctx context.Context, k accountKey, bytes int64) error
}

// trade is an exchange of one account: has is what the replica has, and may use already.
func trade(ctx context.Context, b leaseBook, k accountKey, w *want, has, replicas int64) (grant, error) {
	others, err := b.others(ctx, k)
	if err != nil {
		return grant{}, err
	}
	g := grant{others: others}
	switch {
	case !w.keep:
	case w.free:
		g.bytes = w.need + freeLease
	default:
		g.bytes = portion(w.max-others-has, w.need, replicas)
		g.spent = g.bytes < w.need
	}
	return g, b.put(ctx, k, has+g.bytes)
}

// leaseRows is the book in the database.
type leaseRows struct {
	tx  *store.Tx
	log string
}

func (b *leaseRows) others(ctx context.Context, k accountKey) (n int64, err error) {
	err = b.tx.QueryRowContext(ctx, `SELECT CAST(COALESCE(SUM(bytes), 0) AS BIGINT) FROM day_leases
		WHERE owner_id = ? AND is_key = ? AND signal = ? AND day = ? AND log_id <> ?`,
		k.id, number(k.key), string(k.signal), k.day, b.log).Scan(&n)
	return n, err
}

func (b *leaseRows) put(ctx context.Context, k accountKey, bytes int64) error {
	_, err := b.tx.ExecContext(ctx, `INSERT INTO day_leases (owner_id, is_key, signal, day, log_id, bytes) VALUES (?, ?, ?, ?, ?, ?)
		ON CONFLICT (owner_id, is_key, signal, day, log_id) DO UPDATE SET bytes = excluded.bytes`,
		k.id, number(k.key), string(k.signal), k.day, b.log, bytes)
	return err
}
