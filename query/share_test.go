package query

import (
	"context"
	"maps"
	"runtime"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// TestSeatsFallAsQueriesTakeLonger: while others are there an account's work in seats is bounded, whether it is in few long queries or
// in many middling ones; without others only queries that more of them would not speed up are.
func TestSeatsFallAsQueriesTakeLonger(t *testing.T) {
	for _, c := range []struct {
		weight        time.Duration
		heavyPer      int
		beside, alone int
	}{
		{0, 1, 6, 6},
		{80 * time.Millisecond, 1, 6, 6},
		{125 * time.Millisecond, 1, 4, 6},
		{200 * time.Millisecond, 1, 2, 6},
		{251 * time.Millisecond, 1, 1, 6},
		{999 * time.Millisecond, 1, 1, 6},
		{time.Second, 1, 1, min(6, runtime.NumCPU())},
		{time.Hour, 1, 1, min(6, runtime.NumCPU())},
		{200 * time.Millisecond, 3, 6, 6},
		{time.Hour, 3, 3, min(6, max(3, runtime.NumCPU()))},
		{time.Hour, 100, 6, 6}, // never more than queries that take no time
	} {
		l := Limits{HeavyPerTenant: c.heavyPer, ConcurrentPerTenant: 6}.withDefaults()
		if beside, alone := l.seats(c.weight, true), l.seats(c.weight, false); beside != c.beside || alone != c.alone {
			t.Errorf("weight %v, %d heavy: %d seats beside others and %d alone, want %d and %d", c.weight, c.heavyPer, beside, alone, c.beside, c.alone)
		}
	}
}

// TestLoopOfDearQueriesHoldsOneSeat: a tenant asks questions in a loop, sixteen at a time, whose work is so much, on a machine that
// is shared by what runs. From the first of them on its neighbour finds one of them before it at most, whose statement stands
// back, and waits for no seat.
func TestLoopOfDearQueriesHoldsOneSeat(t *testing.T) {
	for _, work := range []time.Duration{300 * time.Millisecond, time.Second, 20 * time.Second} {
		t.Run(work.String(), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				d := newDoor(t, 16, Limits{HeavyPerTenant: 1})
				d.light("neighbour")
				ctx, stop := context.WithCancel(t.Context())
				var wg sync.WaitGroup
				answered := 0
				for range 16 {
					wg.Go(func() {
						for ctx.Err() == nil {
							s, err := d.enter(ctx, "hostile", &d.l)
							if err != nil {
								continue
							}
							d.mu.Lock()
							took := work * time.Duration(d.running)
							answered++
							d.mu.Unlock()
							time.Sleep(took)
							d.leave(s)
						}
					})
				}
				synctest.Wait()
				for i := 0; i < 300 && !t.Failed(); i++ {
					began := time.Now()
					s := d.in("neighbour")
					if waited := time.Since(began); waited > 0 {
						t.Errorf("the neighbour waited %v", waited)
					}
					d.mu.Lock()
					before := slices.Collect(maps.Keys(d.accounts["hostile"].seats))
					d.mu.Unlock()
					if len(before) > 1 {
						t.Errorf("%d queries before the neighbour's", len(before))
					}
					for _, h := range before {
						if !h.heavy || h.priority() <= s.priority() || s.heavy {
							t.Errorf("the heavy statement is %+v of priority %d beside %+v of priority %d", h, h.priority(), s, s.priority())
						}
					}
					time.Sleep(50 * time.Millisecond)
					d.leave(s)
					time.Sleep(150 * time.Millisecond)
				}
				stop()
				wg.Wait()
				if answered == 0 {
					t.Error("the loop got no answer")
				}
				d.empty()
			})
		})
	}
}

// TestHeavyStatementsStandBack: a heavy seat's statement has half of the threads, of those that its tier has too, and small blocks;
// one that is not heavy has what its tier says.
func TestHeavyStatementsStandBack(t *testing.T) {
	half := max(1, runtime.NumCPU()/2)
	for _, c := range []struct {
		seat    seat
		tier    int
		threads any
		blocks  any
	}{
		{seat{weight: time.Second, heavy: true}, 0, half, heavyBlockRows},
		{seat{weight: time.Second, heavy: true}, 64, half, heavyBlockRows},
		{seat{weight: time.Second, heavy: true}, 1, 1, heavyBlockRows},
		{seat{weight: time.Second}, 0, nil, nil},
		{seat{weight: time.Second}, 64, 64, nil},
	} {
		settings := Limits{MaxThreads: c.tier}.settings()
		c.seat.yield(settings)
		if settings["max_threads"] != c.threads || settings["max_block_size"] != c.blocks || settings["priority"] != 5 {
			t.Errorf("%+v of %d threads: threads %v, blocks %v, priority %v", c.seat, c.tier, settings["max_threads"], settings["max_block_size"], settings["priority"])
		}
	}
}
