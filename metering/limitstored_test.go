package metering

import (
	"context"
	"testing"
	"time"

	"github.com/headgate-io/headgate/internal/store"
	"github.com/headgate-io/headgate/internal/store/storetest"
	"github.com/headgate-io/headgate/internal/tenant"
	"github.com/headgate-io/headgate/internal/timetest"
)

// A process that admits nothing tells the limits as those tell them that do, for all of them together: what is billed and what is only in a
// log count once, of all signals and of one, of the tenant and of the key.
func TestStoredLimitsAreThoseOfAllReplicas(t *testing.T) {
	storetest.Each(t, testStoredLimitsAreThoseOfAllReplicas)
}

func testStoredLimitsAreThoseOfAllReplicas(t *testing.T) {
	db := tempDB(t)
	clock := timetest.NewClock(noon)
	a, stopA := leasing(t, db, "a", clock)
	b, stopB := leasing(t, db, "b", clock)
	defer stopB()
	// SECURITY: the parent's use, which siblings share, is not told.
	c := charge("a", "k", tenant.Refuse, 100_000, 1_000_000, limit(tenant.OwnerParent, "p", 2_000_000, tenant.Refuse))
	c.Signal = Logs
	c.Limits[1].Bounds = []tenant.Bound{{Kind: tenant.DailyBytes, Signal: "logs", Max: 500_000}, {Kind: tenant.StorageBytes, Max: 50},
		{Kind: tenant.RequestsPerSecond, Max: 100}}
	other := charge("a", "other", tenant.Refuse, tenant.Unlimited, 1_000_000)
	var receipt Receipt
	for i, n := range []int64{1000, 2000, 3000} {
		r, err := []*Meter{a, b, a}[i].Admit(c, n, noon)
		if err != nil {
			t.Fatal(err)
		}
		settled, err := r.Settle(Outcome{Signal: Logs, Bytes: n, Records: 1})
		if err != nil {
			t.Fatal(err)
		}
		r.Commit()
		if i == 0 {
			receipt = settled
		}
	}
	spend(t, b, other, 500, noon)
	kept := func(of tenant.ID) (int64, bool) { return 7, of == c.Tenant }
	stored := func() []LimitState {
		t.Helper()
		got, err := StoredLimits(deadline(t), db, c, kept, clock.Now())
		if err != nil {
			t.Fatal(err)
		}
		return got
	}
	used := func() (out [5]int64) {
		t.Helper()
		got := stored()
		if len(got) != len(out) {
			t.Fatalf("limits %+v", got)
		}
		for i, l := range got {
			if out[i] = l.Used; l.Remaining != l.Limit-l.Used {
				t.Errorf("%d of %d used, %d remain", l.Used, l.Limit, l.Remaining)
			}
		}
		return out
	}
	want := [5]int64{6000, 6500, 6000, 7, 0} // of the key; the tenant's of all, of logs, kept, per second
	if now := used(); now[0] < want[0] || now[1] < want[1] {
		t.Errorf("while all send: used %v, want %v at least", now, want)
	}
	clock.Add(idleAfter + time.Second)
	timetest.Eventually(t, "unused leases to be returned", func() bool { return used() == want })
	if limits, err := a.Limits(c, clock.Now()); err != nil || stored()[1].Reset != limits[1].Reset || stored()[1].ID != limits[1].ID {
		t.Errorf("a replica says %+v, %v, stored are %+v", limits, err, stored())
	}
	apply(t, NewLedger(db, LedgerOptions{Now: clock.Now}), "a", 1, true, receipt)
	stopA()
	if got := used(); got != want {
		t.Errorf("when some is billed: used %v, want %v", got, want)
	}
	// A log that was restored has billed what no lease is written of.
	execute(t, db, `DELETE FROM day_leases WHERE log_id = 'a'`)
	if got := used(); got[0] != 1000+2000 || got[1] != 1000+2000+500 {
		t.Errorf("of billed bytes alone: used %v", got)
	}
	clock.Add(24 * time.Hour)
	if got := used(); got != [5]int64{0, 0, 0, 7, 0} {
		t.Errorf("on the day after: used %v", got)
	}
}

// leasing runs a meter that leases until stop.
func leasing(t *testing.T, db *store.DB, log string, clock *timetest.Clock) (m *Meter, stop func()) {
	t.Helper()
	m, l, err := OpenLeases(t.Context(), db, log, LedgerOptions{Now: clock.Now})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- l.Run(ctx) }()
	ended := false
	stop = func() {
		if cancel(); !ended {
			<-done
			ended = true
		}
	}
	t.Cleanup(stop)
	return m, stop
}
