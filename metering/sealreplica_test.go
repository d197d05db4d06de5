package metering

import (
	"errors"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/headgate-io/headgate/internal/store"
	"github.com/headgate-io/headgate/internal/store/storetest"
	"github.com/headgate-io/headgate/internal/timetest"
)

// replica is a process on a shared database, with a log of its own.
type replica struct {
	*Ledger
	c       *timetest.Clock
	waiting *backlog
}

func newReplica(t *testing.T, db *store.DB, name string, now time.Time, inLog ...Receipt) *replica {
	t.Helper()
	r := &replica{c: timetest.NewClock(now), waiting: &backlog{}}
	r.waiting.Add(inLog...)
	r.Ledger = NewLedger(db, LedgerOptions{Now: r.c.Now, Pending: r.waiting.Oldest, Replica: ReplicaOptions{Log: name, Address: name + ":8080"}})
	r.say(t, false)
	return r
}

func (r *replica) forget(t *testing.T, log string) error {
	t.Helper()
	return r.db.Update(deadline(t), func(tx *store.Tx) error { return r.ForgetReplica(deadline(t), tx, log) })
}

func (r *replica) say(t *testing.T, last bool) {
	t.Helper()
	if err := r.sayPending(deadline(t), last); err != nil {
		t.Fatal(err)
	}
}

func TestReplicaThatIsGoneHoldsTheSealUntilItIsForgotten(t *testing.T) {
	storetest.Each(t, testReplicaThatIsGoneHoldsTheSealUntilItIsForgotten)
}

func testReplicaThatIsGoneHoldsTheSealUntilItIsForgotten(t *testing.T) {
	db := tempDB(t)
	a, b := newReplica(t, db, "a", noon), newReplica(t, db, "b", noon.Add(20*time.Minute))
	b.waiting.Add(logs("t", "k", 1, noon.Add(10*time.Minute)))
	b.say(t, false) // and is killed
	a.c.Set(noon.Add(9 * time.Hour))
	a.say(t, false)
	seal(t, a.Ledger)
	wantSealed(t, a.Ledger, noon)
	if got := testutil.ToFloat64(a.m.sealHeld); got != 9*3600-3600 {
		t.Errorf("held for %v s", got)
	}
	all, err := a.Replicas(deadline(t))
	if err != nil || len(all) != 2 || all[1].Log != "b" || !all[1].OldestPending.Equal(noon) || all[1].Address != "b:8080" ||
		!all[1].SeenAt.Equal(noon.Add(20*time.Minute)) || !all[1].Through.Equal(noon) {
		t.Errorf("replicas %+v, %v", all, err)
	}
	if err := a.forget(t, "c"); !errors.Is(err, ErrNoReplica) {
		t.Errorf("forgot a replica that is not there: %v", err)
	}
	if err := a.forget(t, "b"); err != nil {
		t.Fatal(err)
	}
	seal(t, a.Ledger)
	wantSealed(t, a.Ledger, noon.Add(8*time.Hour))
	if got := testutil.ToFloat64(a.m.sealHeld); got != 0 {
		t.Errorf("held for %v s", got)
	}
	// Its log comes back all the same: nothing is lost.
	apply(t, b.Ledger, "b", 1, true, logs("t", "k", 1, noon.Add(10*time.Minute)))
	if got := byHour(t, a.Ledger); got[noon.Add(8*time.Hour)] != 1 {
		t.Errorf("billed %v", got)
	}
}

// A replica that had nothing pending and was killed may have acknowledged requests since it was seen.
func TestReplicaThatIsGoneHoldsWhatItMayHaveAcknowledgedSince(t *testing.T) {
	storetest.Each(t, testReplicaThatIsGoneHoldsWhatItMayHaveAcknowledgedSince)
}

func testReplicaThatIsGoneHoldsWhatItMayHaveAcknowledgedSince(t *testing.T) {
	db := tempDB(t)
	a := newReplica(t, db, "a", noon)
	newReplica(t, db, "b", noon.Add(20*time.Minute))
	a.c.Set(noon.Add(9 * time.Hour))
	seal(t, a.Ledger)
	wantSealed(t, a.Ledger, noon)
}

// A process without a log seals as far as those let it that have one, and holds nobody up.
func TestProcessWithoutALogSealsAndHoldsNothing(t *testing.T) {
	storetest.Each(t, testProcessWithoutALogSealsAndHoldsNothing)
}

func testProcessWithoutALogSealsAndHoldsNothing(t *testing.T) {
	db := tempDB(t)
	a := newReplica(t, db, "a", noon, logs("t", "k", 1, noon.Add(-2*time.Hour)))
	clock := timetest.NewClock(noon.Add(3 * time.Hour))
	none := NewLedger(db, LedgerOptions{Now: clock.Now})
	if err := none.sayPending(deadline(t), false); err != nil {
		t.Fatal(err)
	}
	seal(t, none)
	wantSealed(t, none, noon.Add(-2*time.Hour))
	if all, err := none.Replicas(deadline(t)); err != nil || len(all) != 1 {
		t.Errorf("replicas %+v, %v", all, err)
	}
	a.waiting.Remove(logs("t", "k", 1, noon.Add(-2*time.Hour)))
	a.say(t, true)
	clock.Add(time.Hour)
	seal(t, none)
	wantSealed(t, none, noon.Add(3*time.Hour))
}

func TestReplicaThatEndsInGoodOrderHoldsNothing(t *testing.T) {
	storetest.Each(t, testReplicaThatEndsInGoodOrderHoldsNothing)
}

func testReplicaThatEndsInGoodOrderHoldsNothing(t *testing.T) {
	db := tempDB(t)
	a, b, c := newReplica(t, db, "a", noon), newReplica(t, db, "b", noon), newReplica(t, db, "c", noon)
	c.waiting.Add(logs("t", "k", 1, noon))
	b.say(t, true)
	c.say(t, true) // ClickHouse is away: c's log keeps a receipt
	all, err := a.Replicas(deadline(t))
	if err != nil || len(all) != 2 || all[0].Log != "a" || all[1].Log != "c" || !all[1].OldestPending.Equal(noon) {
		t.Errorf("replicas %+v, %v", all, err)
	}
}

func TestRunTellsAndTakesBackWhatIsPending(t *testing.T) {
	storetest.Each(t, testRunTellsAndTakesBackWhatIsPending)
}

func testRunTellsAndTakesBackWhatIsPending(t *testing.T) {
	db := tempDB(t)
	c := timetest.NewClock(noon)
	l := NewLedger(db, LedgerOptions{Now: c.Now, Replica: ReplicaOptions{Log: "a"}})
	stop := run(t, l)
	defer stop()
	there := func() int {
		all, err := l.Replicas(deadline(t))
		if err != nil {
			t.Fatal(err)
		}
		return len(all)
	}
	timetest.Eventually(t, "the replica is told", func() bool { return there() == 1 })
	c.Set(noon.Add(time.Hour + sealGrace))
	timetest.Eventually(t, "the seal moves", func() bool { return sealedNow(t, l).Equal(noon.Add(time.Hour)) })
	stop()
	if n := there(); n != 0 {
		t.Errorf("%d replicas after a good end", n)
	}
}

// Replicas with clocks that differ by minutes, which say what is pending late and are killed at times: whatever they
// acknowledged finds its hour open.
func TestReplicasNeverSealAnothersReceipts(t *testing.T) {
	storetest.Each(t, testReplicasNeverSealAnothersReceipts)
}

func testReplicasNeverSealAnothersReceipts(t *testing.T) {
	for seed := range uint64(3) {
		rng := rand.New(rand.NewPCG(seed, 77))
		db := tempDB(t)
		names := []string{"a", "b", "c"}
		now, run := noon, uint64(0)
		skew := map[string]time.Duration{"a": 0, "b": 3 * time.Minute, "c": -4 * time.Minute}
		rs, inLog := map[string]*replica{}, map[string][]Receipt{}
		for _, n := range names {
			rs[n] = newReplica(t, db, n, now.Add(skew[n]))
		}
		late := 0.0
		for range 300 {
			n := names[rng.IntN(3)]
			r := rs[n]
			now = now.Add(time.Duration(rng.IntN(90)) * time.Second)
			if edge := now.Truncate(time.Hour).Add(time.Hour + 4*time.Minute); rng.IntN(8) == 0 && edge.Sub(now) > 8*time.Minute {
				now = edge // where it matters
			}
			r.c.Set(now.Add(skew[n]))
			switch rng.IntN(7) {
			case 0, 1: // received up to five minutes ago, acknowledged now
				x := logs("t", n, 1, r.c.Now().Add(-time.Duration(rng.Int64N(int64(sealGrace)))))
				r.waiting.Add(x)
				inLog[n] = append(inLog[n], x)
			case 2:
				r.say(t, false)
			case 3, 4:
				seal(t, r.Ledger)
			case 5:
				run++
				apply(t, r.Ledger, n, run, true, inLog[n]...)
				r.waiting.Remove(inLog[n]...)
				inLog[n] = nil
			default: // killed, and started again at some time
				late += testutil.ToFloat64(r.m.lateReceipts)
				rs[n] = newReplica(t, db, n, r.c.Now(), inLog[n]...)
			}
		}
		for _, n := range names {
			run++
			apply(t, rs[n].Ledger, n, run, true, inLog[n]...)
			late += testutil.ToFloat64(rs[n].m.lateReceipts)
		}
		if late != 0 {
			t.Errorf("seed %d: %v receipts were late", seed, late)
		}
		if got := sealedNow(t, rs["a"].Ledger); !got.After(noon) {
			t.Errorf("seed %d: sealed through %v only", seed, got)
		}
	}
}

// A request of an hour's last minute, known to its replica after the replica has last spoken in the new hour, and then a kill:
// what was acknowledged finds its hour open.
func TestReplicaThatSpokeInTheNewHourHoldsTheOneBefore(t *testing.T) {
	storetest.Each(t, func(t *testing.T) {
		db, end := tempDB(t), noon.Add(time.Hour)
		a := newReplica(t, db, "a", end)
		newReplica(t, db, "b", end.Add(2*time.Minute))
		acked := logs("t", "k", 1, end.Add(-time.Minute)) // and b is killed
		a.c.Set(end.Add(3 * time.Hour))
		seal(t, a.Ledger)
		wantSealed(t, a.Ledger, noon)
		b := newReplica(t, db, "b", end.Add(3*time.Hour), acked)
		seal(t, a.Ledger)
		wantSealed(t, a.Ledger, noon)
		apply(t, b.Ledger, "b", 1, true, acked)
		b.waiting.Remove(acked)
		b.c.Set(end.Add(3*time.Hour + seenInterval))
		b.say(t, false)
		seal(t, a.Ledger)
		wantSealed(t, a.Ledger, end.Add(2*time.Hour))
		if got := testutil.ToFloat64(b.m.lateReceipts); got != 0 {
			t.Errorf("%v late receipts", got)
		}
	})
}
