package ingest

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/headgate-io/headgate/internal/tenant"
	"github.com/headgate-io/headgate/internal/timetest"
)

func tenantNamed(t testing.TB, name string) tenant.ID {
	t.Helper()
	id, err := tenant.ParseID(name)
	if err != nil {
		t.Fatal(err)
	}
	return id
}

func (q *turns) waiting(t tenant.ID) int {
	q.mu.Lock()
	defer q.mu.Unlock()
	if l := q.lines[t]; l != nil {
		return l.waiting.Len()
	}
	return 0
}

// A tenant with a hundred requests waits for its own: another's single one is next.
func TestX10TenantsTakeTurns(t *testing.T) {
	q := newTurns(1, 1)
	greedy, other := tenantNamed(t, "greedy"), tenantNamed(t, "other")
	if err := q.take(t.Context(), greedy, time.Minute); err != nil {
		t.Fatal(err)
	}
	order := make(chan tenant.ID, 101)
	var wg sync.WaitGroup
	enqueue := func(id tenant.ID, n int) {
		for range n {
			wg.Go(func() {
				if err := q.take(t.Context(), id, time.Minute); err != nil {
					t.Errorf("take: %v", err)
					return
				}
				order <- id
				q.give(id)
			})
		}
		timetest.Eventually(t, "they wait", func() bool { return q.waiting(id) == n })
	}
	enqueue(greedy, 100)
	enqueue(other, 1)
	q.give(greedy)
	wg.Wait()
	if first, second := <-order, <-order; first != other && second != other {
		t.Error("the other tenant waited for more than one of the greedy one's requests")
	}
	if q.free != 1 || len(q.lines) != 0 || q.order.Len() != 0 {
		t.Errorf("at the end %d turns are free, %d lines are left", q.free, len(q.lines))
	}
}

func TestTurnsEndWithPatienceOrTheCaller(t *testing.T) {
	q := newTurns(2, 1)
	id := tenantNamed(t, "some")
	if err := q.take(t.Context(), id, time.Minute); err != nil {
		t.Fatal(err)
	}
	if err := q.take(t.Context(), id, time.Millisecond); !errors.Is(err, errNoTurn) {
		t.Errorf("a second turn of one: %v, want errNoTurn", err)
	}
	gone, cancel := context.WithCancel(t.Context())
	cancel()
	if err := q.take(gone, id, time.Minute); !errors.Is(err, errClientGone) {
		t.Errorf("a turn of a client that left: %v, want errClientGone", err)
	}
	if err := q.take(t.Context(), tenantNamed(t, "other"), time.Minute); err != nil {
		t.Errorf("another tenant's turn: %v", err)
	}
	q.give(id)
	q.give(tenantNamed(t, "other"))
	if q.free != 2 || len(q.lines) != 0 || q.order.Len() != 0 {
		t.Errorf("at the end %d turns are free, %d lines are left", q.free, len(q.lines))
	}
}

// Under any mix of tenants, patience and departures no more turns are had than there are, and all come back.
func TestTurnsAreBoundedAndComeBack(t *testing.T) {
	const all, each = 3, 2
	q := newTurns(all, each)
	var total atomic.Int32
	var mine [4]atomic.Int32
	var wg sync.WaitGroup
	for g := range 32 {
		wg.Go(func() {
			rnd := rand.New(rand.NewPCG(uint64(g), 1))
			who := g % len(mine)
			id := tenantNamed(t, fmt.Sprint("t", who))
			for range 300 {
				ctx, cancel := context.WithTimeout(t.Context(), time.Duration(rnd.IntN(2000))*time.Microsecond)
				if err := q.take(ctx, id, time.Duration(rnd.IntN(1000))*time.Microsecond); err == nil {
					if total.Add(1) > all || mine[who].Add(1) > each {
						t.Error("more turns than there are")
					}
					for range rnd.IntN(1000) {
						_ = rnd.Uint64()
					}
					mine[who].Add(-1)
					total.Add(-1)
					q.give(id)
				}
				cancel()
			}
		})
	}
	wg.Wait()
	if q.free != all || len(q.lines) != 0 || q.order.Len() != 0 {
		t.Errorf("at the end %d turns are free, %d lines are left, %d in order", q.free, len(q.lines), q.order.Len())
	}
}
