package query

import (
	"errors"
	"testing"
	"testing/synctest"
	"time"
)

// run lets an account ask n queries that take so long, with a pause after each.
func (d *door) run(name string, n int, took, pause time.Duration) {
	d.Helper()
	for range n {
		s := d.in(name)
		time.Sleep(took)
		d.leave(s)
		time.Sleep(pause)
	}
}

// TestAccountsAreKnownByTheirLastQueries: whose short queries become long is heavy after a few of them, and whose long ones become short
// is not, pauses between them or not.
func TestAccountsAreKnownByTheirLastQueries(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDoor(t, 4, Limits{})
		weight := func() time.Duration { return d.accounts["a"].weight(time.Now()) }
		d.run("a", 10, 5*time.Millisecond, time.Minute)
		if w := weight(); w > 6*time.Millisecond {
			t.Errorf("weight %v of short queries", w)
		}
		d.run("a", 3, 2*time.Second, time.Minute)
		if w := weight(); w < heavy {
			t.Errorf("weight %v after three long queries", w)
		}
		d.run("a", 10, 5*time.Millisecond, time.Minute)
		if w := weight(); w >= heavy/2 {
			t.Errorf("weight %v after ten short queries", w)
		}
	})
}

// TestDebtIsPaidInTenMinutes: however much an account asked, after ten minutes of little it is as any other.
func TestDebtIsPaidInTenMinutes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDoor(t, 4, Limits{})
		d.run("a", 100, 30*time.Second, 0)
		d.run("a", 20, 5*time.Millisecond, time.Second)
		if w := d.accounts["a"].weight(time.Now()); w < heavy {
			t.Errorf("weight %v after an hour of queries", w)
		}
		d.run("a", 100, 5*time.Millisecond, 6*time.Second)
		if w := d.accounts["a"].weight(time.Now()); w >= heavy {
			t.Errorf("weight %v after ten minutes of little", w)
		}
	})
}

// TestRunningQueryShowsItsAccount: an account that was light is not while a query of it runs long.
func TestRunningQueryShowsItsAccount(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDoor(t, 8, Limits{HeavyPerTenant: 1, MaxWait: 100 * time.Millisecond})
		d.light("a", "b")
		b, a := d.in("b"), d.in("a")
		time.Sleep(heavy + time.Millisecond)
		if s, err := d.enter(t.Context(), "a", &d.l); !errors.Is(err, errBusy) {
			t.Errorf("second query beside one that runs long: %+v, %v", s, err)
		}
		d.leave(a)
		d.leave(b)
		d.empty()
	})
}

// TestWhoRunsIsThere: others are there while their queries run, also when they came long ago; without them all who wait come in at once.
func TestWhoRunsIsThere(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDoor(t, 8, Limits{HeavyPerTenant: 1, MaxWait: time.Hour})
		d.light("b")
		d.run("a", 5, 2*heavy, 0)
		b := d.in("b")
		time.Sleep(10 * lately)
		a := d.in("a")
		if !a.heavy {
			t.Errorf("beside a query that came long ago: %+v", a)
		}
		waiting := []<-chan error{d.await(t.Context(), "a"), d.await(t.Context(), "a"), d.await(t.Context(), "a")}
		d.leave(b)
		synctest.Wait()
		for i, w := range waiting {
			select {
			case err := <-w:
				if err != nil {
					t.Errorf("waiter %d: %v", i, err)
				}
			default:
				t.Errorf("waiter %d still waits, alone at the gate", i)
			}
		}
		d.leave(a)
	})
}

// TestWhoIsAtTheGateIsNotForgotten: accounts are forgotten after a while, but not while they run a query or wait for a seat.
func TestWhoIsAtTheGateIsNotForgotten(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDoor(t, 2, Limits{ConcurrentPerTenant: 1, MaxWait: 2 * remembered})
		runs, other := d.in("runs"), d.in("other")
		waits := d.await(t.Context(), "waits")
		time.Sleep(remembered + 2*time.Minute)
		swept := d.await(t.Context(), "late")
		d.leave(runs)
		d.leave(other)
		for _, got := range []<-chan error{waits, swept} {
			if err := <-got; err != nil {
				t.Error(err)
			}
		}
	})
}
