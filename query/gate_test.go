package query

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// door is a gate in a test, whose clock is that of the bubble.
type door struct {
	*testing.T
	*gate
	l Limits
}

func newDoor(t *testing.T, all int, l Limits) *door {
	return &door{t, newGate(all), l.withDefaults()}
}

func (d *door) in(name string) *seat {
	d.Helper()
	s, err := d.enter(d.Context(), name, &d.l)
	if err != nil {
		d.Fatalf("enter(%s): %v", name, err)
	}
	return s
}

// light makes accounts known for short queries.
func (d *door) light(names ...string) {
	d.Helper()
	for _, name := range names {
		d.leave(d.in(name))
	}
}

// await enters in the background; the channel gets what came of it.
func (d *door) await(ctx context.Context, name string) <-chan error {
	got := make(chan error, 1)
	go func() {
		s, err := d.enter(ctx, name, &d.l)
		got <- err
		if err == nil {
			<-d.Context().Done()
			d.leave(s)
		}
	}()
	synctest.Wait()
	return got
}

func (d *door) empty() {
	d.Helper()
	seats := 0
	for _, a := range d.accounts {
		seats += len(a.seats)
	}
	if d.running != 0 || d.heavy != 0 || seats != 0 || len(d.line) != 0 {
		d.Errorf("gate is not empty: %d running, %d heavy, %d seats, %d in line", d.running, d.heavy, seats, len(d.line))
	}
}

func TestGateBoundsAccountsAndTheWhole(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDoor(t, 3, Limits{ConcurrentPerTenant: 2, WaitingPerTenant: 1, MaxWait: 100 * time.Millisecond})
		d.light("a", "b", "c")
		a1, a2 := d.in("a"), d.in("a")
		// a is full: one may wait, the next is refused at once.
		waited := d.await(t.Context(), "a")
		began := time.Now()
		if _, err := d.enter(t.Context(), "a", &d.l); !errors.Is(err, errBusy) || time.Since(began) != 0 {
			t.Errorf("second waiter: %v after %v, want busy at once", err, time.Since(began))
		}
		// Another account passes the line, until the whole is full.
		b := d.in("b")
		began = time.Now()
		if _, err := d.enter(t.Context(), "c", &d.l); !errors.Is(err, errBusy) || time.Since(began) != d.l.MaxWait {
			t.Errorf("full gate: %v after %v, want busy after the wait", err, time.Since(began))
		}
		if err := <-waited; !errors.Is(err, errBusy) { // its wait is over too by now
			t.Errorf("waiter: %v, want busy", err)
		}
		late := make(chan *seat, 1)
		go func() {
			s, err := d.enter(t.Context(), "a", &d.l)
			if err != nil {
				t.Errorf("waiter when a seat is free: %v", err)
			}
			late <- s
		}()
		synctest.Wait()
		d.leave(a1)
		for _, s := range []*seat{<-late, a2, b} {
			if s != nil {
				d.leave(s)
			}
		}
		d.empty()
	})
}

func TestGateLetsGoWhoLeaves(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDoor(t, 1, Limits{MaxWait: time.Hour})
		s := d.in("a")
		ctx, cancel := context.WithCancel(t.Context())
		left := d.await(ctx, "b")
		cancel()
		if err := <-left; !errors.Is(err, context.Canceled) {
			t.Errorf("enter after cancel: %v", err)
		}
		d.leave(s)
		d.empty()
	})
}

// TestFewestRunningComesFirst: who has many in line gets no seat before who has none.
func TestFewestRunningComesFirst(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDoor(t, 3, Limits{ConcurrentPerTenant: 3, MaxWait: time.Hour})
		d.light("a", "b", "c")
		running := []*seat{d.in("a"), d.in("a"), d.in("a")}
		var order []string
		for _, name := range []string{"a", "a", "a", "b", "c", "b"} {
			go func() {
				if _, err := d.enter(t.Context(), name, &d.l); err == nil {
					order = append(order, name) // one at a time: each leave lets one in
				}
			}()
			synctest.Wait()
		}
		for _, s := range running {
			d.leave(s)
			synctest.Wait()
		}
		if got := strings.Join(order, ""); got != "bca" {
			t.Errorf("order %s, want b and c before a", got)
		}
	})
}

// TestHeavyAccountStandsBack: an account whose queries take long has one seat while others are there, and all of its own
// once they are gone, behind all that are lighter; after a rest it is as any other.
func TestHeavyAccountStandsBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDoor(t, 4, Limits{ConcurrentPerTenant: 3, HeavyPerTenant: 1, MaxWait: time.Second})
		long, short := []*seat{d.in("a"), d.in("a")}, d.in("b")
		time.Sleep(50 * time.Millisecond)
		d.leave(short)
		time.Sleep(20 * time.Second)
		for _, s := range long {
			if s.heavy || s.priority() != 5 {
				t.Errorf("unknown: %+v, priority %d", s, s.priority())
			}
			d.leave(s)
		}
		b := d.in("b")
		if b.heavy || b.priority() != 1 {
			t.Errorf("short queries: %+v, priority %d", b, b.priority())
		}
		first := d.in("a")
		if !first.heavy || first.priority() != 9 {
			t.Errorf("after long queries: %+v, priority %d", first, first.priority())
		}
		if _, err := d.enter(t.Context(), "a", &d.l); !errors.Is(err, errBusy) {
			t.Errorf("second heavy query: %v", err)
		}
		d.leave(b)
		time.Sleep(lately)
		// Alone it has all its seats, but still stands back if someone comes.
		second := d.in("a")
		if second.heavy || second.priority() != 9 {
			t.Errorf("alone: %+v, priority %d", second, second.priority())
		}
		d.leave(first)
		d.leave(second)
		time.Sleep(remembered + time.Minute)
		d.leave(d.in("c"))
		if again := d.in("a"); again.priority() != 5 {
			t.Errorf("after a rest: %+v", again)
		} else {
			d.leave(again)
		}
		d.empty()
		if names := len(d.accounts); names > 2 {
			t.Errorf("%d accounts are remembered", names)
		}
	})
}

// TestLongQueriesBetweenShortOnesAreSeen: a mean alone would forget them.
func TestLongQueriesBetweenShortOnesAreSeen(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDoor(t, 8, Limits{HeavyPerTenant: 6, MaxWait: time.Second})
		var long []*seat
		for range 6 {
			long = append(long, d.in("a"))
		}
		time.Sleep(25 * time.Second)
		for _, s := range long {
			d.leave(s)
		}
		for range 30 {
			s := d.in("a")
			time.Sleep(5 * time.Millisecond)
			d.leave(s)
		}
		if s := d.in("a"); s.priority() < 5 {
			t.Errorf("priority %d after 150 s of queries", s.priority())
		} else {
			d.leave(s)
		}
		d.empty()
	})
}

// TestHeavyAccountsLeaveSeatsToOthers: all heavy accounts together have half of the seats.
func TestHeavyAccountsLeaveSeatsToOthers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDoor(t, 4, Limits{ConcurrentPerTenant: 2, HeavyPerTenant: 2, MaxWait: time.Second})
		for _, name := range []string{"a", "b", "c"} {
			s := d.in(name)
			time.Sleep(15 * time.Second)
			d.leave(s)
		}
		x := d.in("x")
		heavy := []*seat{d.in("c"), d.in("b")}
		if slices.ContainsFunc(heavy, func(s *seat) bool { return !s.heavy }) {
			t.Errorf("not heavy: %+v %+v", heavy[0], heavy[1])
		}
		if _, err := d.enter(t.Context(), "c", &d.l); !errors.Is(err, errBusy) {
			t.Errorf("third heavy query: %v", err)
		}
		for _, s := range append(heavy, x, d.in("y")) {
			d.leave(s)
		}
		d.empty()
	})
}
