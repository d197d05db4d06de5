package metering

import (
	"math/rand/v2"
	"testing"
	"time"

	"github.com/headgate-io/headgate/internal/store"
	"github.com/headgate-io/headgate/internal/store/storetest"
	"github.com/headgate-io/headgate/internal/tenant"
	"github.com/headgate-io/headgate/internal/timetest"
)

// storedPace is the pace of a tenant's account of all signals that a log has billed.
func storedPace(t *testing.T, db *store.DB, log string) (p pace) {
	t.Helper()
	err := db.View(t.Context(), func(tx *store.Tx) error {
		return tx.QueryRowContext(t.Context(), `SELECT pace_slot, pace_now, pace_before FROM day_use WHERE owner_id = ? AND is_key = 0 AND signal = '' AND log_id = ?`,
			id("a").String(), log).Scan(&p.slot, &p.now, &p.before)
	})
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// However requests are divided among runs and logs, and in whatever order runs come, what is stored of an account's pace is what one meter
// would measure that had received all of them: the bytes of the newest slot and of the one before it.
func TestPaceIsOneOfAllRuns(t *testing.T) {
	storetest.Each(t, func(t *testing.T) {
		random := rand.New(rand.NewPCG(1, 2))
		for range 5 {
			db := tempDB(t)
			ledger := newTestLedger(db)
			sums := map[int64]int64{}
			runs := map[string]uint64{}
			for range 30 {
				log := []string{"x", "y"}[random.IntN(2)]
				var receipts []Receipt
				for range random.IntN(4) {
					n, at := 1+random.Int64N(100), noon.Add(time.Duration(random.IntN(5*paceSeconds))*time.Second)
					receipts = append(receipts, logs("a", "k", n, at))
					sums[floorDiv(at.Unix(), paceSeconds)] += n
				}
				runs[log]++
				apply(t, ledger, log, runs[log], true, receipts...)
			}
			newest := int64(0)
			for slot := range sums {
				newest = max(newest, slot)
			}
			got := storedPace(t, db, "x")
			got.merge(storedPace(t, db, "y"))
			if want := (pace{newest, sums[newest], sums[newest-1]}); got != want {
				t.Errorf("stored is %+v, want %+v", got, want)
			}
		}
	})
}

// A process that admits nothing tells when a day will be used up as one would that had admitted all; so does each of several replicas, which
// has admitted some. Of rates it says that it does not know.
func TestStoredLimitsTellWhenADayIsUsedUp(t *testing.T) {
	storetest.Each(t, func(t *testing.T) {
		db := tempDB(t)
		at := noon.Add(time.Minute)
		c := charge("a", "k", tenant.Refuse, tenant.Unlimited, 100_000)
		c.Signal = Logs
		c.Limits[1].Bounds = []tenant.Bound{{Kind: tenant.RequestsPerSecond, Max: 100}, {Kind: tenant.InFlightRequests, Max: 0}}
		whole, ledger := newMeter(dayOf(noon)-1, nil), newTestLedger(db)
		part := newMeter(dayOf(noon)-1, nil)
		for i, log := range []string{"x", "y", "x"} {
			for _, m := range []*Meter{whole, part} {
				r, err := m.Admit(c, 10_000, noon)
				if err != nil {
					t.Fatal(err)
				}
				settled, err := r.Settle(Outcome{Signal: Logs, Bytes: 10_000, Records: 1})
				if err != nil {
					t.Fatal(err)
				}
				if r.Commit(); m == whole {
					apply(t, ledger, log, uint64(i), true, settled)
				}
				if i > 0 {
					break
				}
			}
		}
		want, err := whole.Limits(c, at)
		if err != nil || want[0].ExhaustedAt == nil || want[0].PerSecond != 100 {
			t.Fatalf("one meter says %+v, %v", want, err)
		}
		got, err := StoredLimits(deadline(t), db, c, func(tenant.ID) (int64, bool) { return 0, false }, at)
		if err != nil || got[0].ExhaustedAt == nil || !got[0].ExhaustedAt.Equal(*want[0].ExhaustedAt) || got[0].PerSecond != want[0].PerSecond || got[0].Used != want[0].Used {
			t.Errorf("stored is %+v, %v, want %+v", got, err, want)
		}
		if got[0].UseUnknown || !got[1].UseUnknown || got[2].UseUnknown {
			t.Errorf("not known is the use of %+v", got)
		}
		among, err := part.LimitsAmong(deadline(t), db, c, at)
		if err != nil || among[0].PerSecond != 100 || among[0].ExhaustedAt == nil || among[0].UseUnknown || among[1].UseUnknown {
			t.Errorf("a replica says %+v, %v", among, err)
		}
		later, err := StoredLimits(deadline(t), db, c, func(tenant.ID) (int64, bool) { return 0, false }, timetest.NewClock(at.Add(time.Hour)).Now())
		if err != nil || later[0].PerSecond != 0 || later[0].ExhaustedAt != nil {
			t.Errorf("an hour later stored is %+v, %v", later, err)
		}
	})
}
