package metering

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"strconv"
	"testing"
	"time"

	"github.com/headgate-io/headgate/internal/tenant"
)

// A world is several replicas, the database they lease from, and what a watcher who sees everything knows.
type world struct {
	rng       *rand.Rand
	now       time.Time
	leases    map[accountKey]map[string]int64 // the table
	away      bool                            // the database answers nobody
	doubt     bool                            // and its next commit is kept, but fails
	replicas  []*node
	daily     map[string]int64     // the limits in force, by owner
	spent     map[accountKey]int64 // acked, whatever became of who acked it
	overdrawn map[accountKey]bool  // used without a limit and without a lease
}

// node is one process: it may be dead, and then its log waits for it.
type node struct {
	name   string
	skew   time.Duration
	meter  *Meter
	leases *Leases
	log    []Receipt // acked
	flying []*Reservation
}

// memory is the table as a book.
type memory struct {
	w   *world
	log string
	put map[accountKey]int64
}

type memoryTx struct{ *memory }

func (b memoryTx) others(_ context.Context, k accountKey) (n int64, err error) {
	for log, bytes := range b.w.leases[k] {
		if log != b.log {
			n += bytes
		}
	}
	return n, nil
}

func (b memoryTx) put(_ context.Context, k accountKey, bytes int64) error {
	b.memory.put[k] = bytes
	return nil
}

func (w *world) start(r *node) {
	m := newMeter(dayOf(w.now)-1, nil)
	m.Replicas(len(w.replicas))
	m.parents = map[string]string{}
	r.meter, r.flying = m, nil
	r.leases = newLeases(m, r.name, func() time.Time { return w.now.Add(r.skew) })
	r.leases.await = func(x *exchange) error {
		_ = r.leases.round(context.Background())
		return x.err
	}
	r.leases.book = func(ctx context.Context, fn func(leaseBook) error) error {
		if w.away {
			return errors.New("away")
		}
		b := memoryTx{&memory{w, r.name, map[accountKey]int64{}}}
		if err := fn(b); err != nil {
			return err
		}
		for k, n := range b.memory.put {
			if w.leases[k] == nil {
				w.leases[k] = map[string]int64{}
			}
			w.leases[k][r.name] = n
		}
		if w.doubt {
			w.doubt = false
			return errors.New("connection lost in the commit")
		}
		return nil
	}
	for k, of := range w.leases {
		if of[r.name] > 0 && k.day >= m.floor {
			if err := r.leases.restoreLocked(k, of[r.name]); err != nil {
				panic(err)
			}
		}
	}
	if err := m.Restore(r.log...); err != nil {
		panic(err)
	}
}

// charge is one of two children's, by one of two keys, each with limits of its own and of the signal logs.
func (w *world) charge() Charge {
	child := strconv.Itoa(w.rng.IntN(2))
	key := "k" + child + strconv.Itoa(w.rng.IntN(2))
	link := func(o tenant.Owner, id string) tenant.Limit {
		l := tenant.Limit{Owner: o, ID: id, DailyBytes: tenant.Unlimited, AtLimit: tenant.Refuse}
		if n, ok := w.daily[id]; ok {
			l.DailyBytes = n
		}
		if n, ok := w.daily[id+"/logs"]; ok {
			l.Bounds = []tenant.Bound{{Kind: tenant.DailyBytes, Signal: "logs", Max: n}}
		}
		return l
	}
	return Charge{Tenant: id("t" + child), Key: key, Signal: []Signal{Logs, Traces}[w.rng.IntN(2)], AtLimit: tenant.Refuse,
		Limits: []tenant.Limit{link(tenant.OwnerKey, key), link(tenant.OwnerTenant, "t"+child), link(tenant.OwnerParent, "p")}}
}

// step does one thing that may happen.
func (w *world) step() error {
	r := w.replicas[w.rng.IntN(len(w.replicas))]
	switch n := w.rng.IntN(100); {
	case n < 3 && r.meter != nil: // killed: what was not acked is as if it had never been
		r.meter = nil
	case n < 5:
		w.away = !w.away
	case n < 6:
		w.doubt = true
	case n < 10:
		w.now = w.now.Add(time.Duration(w.rng.Int64N(int64(3 * time.Hour))))
	case n < 12:
		w.daily[[]string{"k00", "k10", "t0", "t1", "p", "t0/logs", "p/logs"}[w.rng.IntN(7)]] = w.rng.Int64N(3000)
	case r.meter == nil:
		if n < 60 {
			w.start(r)
		}
	case n < 20:
		r.leases.idle(w.now.Add(r.skew))
		_ = r.leases.round(context.Background())
	case n < 35 && len(r.flying) > 0:
		f := r.flying[len(r.flying)-1]
		r.flying = r.flying[:len(r.flying)-1]
		if w.rng.IntN(4) == 0 {
			f.Release()
			break
		}
		rc, err := f.Settle(Outcome{Signal: f.charge.Signal, Bytes: w.rng.Int64N(f.bytes + 1)})
		if err != nil {
			return err
		}
		f.Commit()
		rc.Debits = append([]Debit(nil), rc.Debits...)
		r.log = append(r.log, rc)
		for _, d := range rc.Debits {
			w.spent[d.account()] += rc.BilledBytes
		}
	default:
		at := w.now.Add(r.skew + time.Duration(w.rng.Int64N(int64(time.Second))))
		c := w.charge()
		f := &Reservation{}
		err := r.meter.Hold(f, c, w.rng.Int64N(400), at)
		var refused *LimitError
		if err == nil {
			r.flying = append(r.flying, f)
			return w.check(f)
		} else if !errors.As(err, &refused) && !errors.Is(err, ErrNoLease) && !errors.Is(err, ErrDayClosed) {
			return err
		}
	}
	return nil
}

// held is what is acked of an account, and what waits for its ack.
func (w *world) held(k accountKey) int64 {
	n := w.spent[k]
	for _, r := range w.replicas {
		for _, f := range r.flying {
			for _, d := range f.debits {
				l := &f.plan.chain[d.use.link]
				if k == (accountKey{l.Owner == tenant.OwnerKey, l.ID, d.use.signal, d.day.number}) {
					n += f.bytes
				}
			}
		}
	}
	return n
}

// check holds the promise for a request that was admitted: with it each account is within the limit that is in force. Only
// what an account has used without a limit while the database was away is not known to others.
func (w *world) check(f *Reservation) error {
	for _, d := range f.debits {
		l := &f.plan.chain[d.use.link]
		k := accountKey{l.Owner == tenant.OwnerKey, l.ID, d.use.signal, d.day.number}
		if d.use.max == tenant.Unlimited {
			for _, r := range w.replicas {
				if r.meter != nil && uses(r.meter)[k] > w.leases[k][r.name] {
					w.overdrawn[k] = true
				}
			}
			continue
		}
		if held := w.held(k); f.bytes > 0 && held > d.use.max && !w.overdrawn[k] {
			return fmt.Errorf("%+v: %d held of %d", k, held, d.use.max)
		}
	}
	return nil
}

func newWorld(seed uint64) *world {
	rng := rand.New(rand.NewPCG(seed, 77))
	w := &world{rng: rng, now: noon, leases: map[accountKey]map[string]int64{}, spent: map[accountKey]int64{},
		overdrawn: map[accountKey]bool{}, daily: map[string]int64{}}
	for _, id := range []string{"k00", "t0", "t1", "p", "t0/logs", "p/logs"} {
		w.daily[id] = 1 + rng.Int64N(3000)
	}
	for i := range 2 + rng.IntN(3) {
		w.replicas = append(w.replicas, &node{name: fmt.Sprint("log", i), skew: time.Duration(rng.Int64N(int64(20*time.Hour))) - 10*time.Hour})
	}
	for _, r := range w.replicas {
		w.start(r)
	}
	return w
}

// Whatever is killed, cut off, set or skewed, in whatever order, the sum over all replicas stays within each limit. 100,000
// schedules are run by HEADGATE_TEST_SCHEDULES=100000 (make schedules), fewer otherwise.
func TestNoScheduleOfReplicasPassesALimit(t *testing.T) {
	schedules := 3000
	if s := os.Getenv("HEADGATE_TEST_SCHEDULES"); s != "" {
		var err error
		if schedules, err = strconv.Atoi(s); err != nil {
			t.Fatal(err)
		}
	}
	acked := 0
	for seed := range uint64(schedules) {
		w := newWorld(seed)
		for i := range 60 {
			if err := w.step(); err != nil {
				t.Fatalf("seed %d, step %d: %v", seed, i, err)
			}
		}
		for _, r := range w.replicas {
			acked += len(r.log)
		}
	}
	t.Logf("%d schedules, %d requests acked", schedules, acked)
	if acked < schedules {
		t.Errorf("only %d requests were acked: the schedules show nothing", acked)
	}
}
