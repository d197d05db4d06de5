package ingest

import (
	"bytes"
	"context"
	"errors"
	"net/http"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/headgate-io/headgate/auth"
	"github.com/headgate-io/headgate/internal/timetest"
)

// crowd lets n requests of a key through gs that each take a millisecond inside, and returns the most that were inside at a
// time and how many were let in.
func crowd(gs *gates, key string, n int) (most, let int) {
	var inside atomic.Int32
	var mu sync.Mutex
	var wg sync.WaitGroup
	for range n {
		wg.Go(func() {
			if gs.pass(context.Background(), key) != nil {
				return
			}
			mu.Lock()
			most, let = max(most, int(inside.Add(1))), let+1
			mu.Unlock()
			time.Sleep(time.Millisecond)
			inside.Add(-1)
			gs.leave(key, time.Millisecond)
		})
	}
	wg.Wait()
	return most, let
}

func TestX10ACrowdIsLetInByDegrees(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		gs := newGates(time.Now, func(string) bool { return false })
		if most, let := crowd(gs, "k", 100); most != newcomerPlaces() || let != 100 {
			t.Errorf("%d of 100 requests of a new key were let in, %d at a time, want %d", let, most, newcomerPlaces())
		}
		for range 50 {
			gs.earn("k", newcomerPlaces()+30)
		}
		if most, _ := crowd(gs, "k", 100); most != newcomerPlaces()+30 {
			t.Errorf("%d at a time after 50 that were stored, want %d", most, newcomerPlaces()+30)
		}
		if most, _ := crowd(gs, "another", 100); most != newcomerPlaces() {
			t.Errorf("%d at a time of another key, want %d", most, newcomerPlaces())
		}
	})
}

func TestX10ASuspectKeyHasOnePlace(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		gs := newGates(time.Now, func(key string) bool { return key == "bad" })
		for range 50 {
			gs.earn("bad", 1000)
		}
		if most, let := crowd(gs, "bad", 100); most != suspectPlaces() || let != 100 {
			t.Errorf("%d of 100 were let in, %d at a time, want %d", let, most, suspectPlaces())
		}
		for range suspectPlaces() {
			if err := gs.pass(t.Context(), "bad"); err != nil {
				t.Fatal(err)
			}
		}
		begin := time.Now()
		if err := gs.pass(t.Context(), "bad"); !errors.Is(err, errWasted) || time.Since(begin) < suspectPatience/4 || time.Since(begin) > 2*suspectPatience {
			t.Errorf("one more: %v after %v, want errWasted after about %v", err, time.Since(begin), suspectPatience)
		}
		if err := gs.pass(t.Context(), "good"); err != nil {
			t.Errorf("another key beside it: %v", err)
		}
		if g := gs.keys["bad"]; g.inside != suspectPlaces() || g.waiting.Len() != 0 {
			t.Errorf("%d inside and %d waiting at the end", g.inside, g.waiting.Len())
		}
	})
}

// TestSlowSendersKeepNobodyOut: requests that stay, as of agents behind slow links, delay others of their key by a moment.
func TestSlowSendersKeepNobodyOut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		gs := newGates(time.Now, func(string) bool { return false })
		for range newcomerPlaces() {
			if err := gs.pass(t.Context(), "k"); err != nil {
				t.Fatal(err)
			}
		}
		begin := time.Now()
		if err := gs.pass(t.Context(), "k"); err != nil || time.Since(begin) > 2*newcomerPatience {
			t.Errorf("one more: %v after %v, want it in after %v", err, time.Since(begin), newcomerPatience)
		}
		gone, cancel := context.WithCancel(t.Context())
		cancel()
		if err := gs.pass(gone, "k"); !errors.Is(err, errClientGone) {
			t.Errorf("one whose client left: %v, want errClientGone", err)
		}
		for range newcomerPlaces() + 1 {
			gs.leave("k", 0)
		}
		if g := gs.keys["k"]; g.inside != 0 || g.waiting.Len() != 0 {
			t.Errorf("%d inside and %d waiting at the end", g.inside, g.waiting.Len())
		}
		time.Sleep(2 * gateMemory)
		if err := gs.pass(t.Context(), "other"); err != nil || len(gs.keys) != 1 {
			t.Errorf("%d keys are remembered that were not used for long: %v", len(gs.keys)-1, err)
		}
	})
}

// TestX10BombsAreHandledOneAtATime: of a key that has wasted work no two requests are inflated together, and no place is
// held at the end.
func TestX10BombsAreHandledOneAtATime(t *testing.T) {
	g := start(t, Options{})
	_, key := g.tenant("acme", auth.NewTenant{})
	bomb := zipped(t, wrapped(bytes.Repeat([]byte{0x12, 0}, 4<<20), 2, 1))
	r, moment := g.server.receiver, time.Now()
	r.budget.waste.now = func() time.Time { return moment } // nothing is forgiven
	post := func() {
		a := g.post("/v1/logs", bytes.NewReader(bomb), "key", key, "Content-Type", protoType, "Content-Encoding", "gzip")
		if a.status != http.StatusRequestEntityTooLarge && a.status != http.StatusServiceUnavailable {
			t.Errorf("a bomb: %d %s", a.status, a.body)
		}
	}
	post()
	for id := range r.gates.keys {
		r.budget.waste.add(id, wasteSuspect)
	}
	var crowd, watch sync.WaitGroup
	stop, most := make(chan struct{}), 0
	watch.Go(func() {
		for tick := time.NewTicker(100 * time.Microsecond); ; {
			select {
			case <-stop:
				tick.Stop()
				return
			case <-tick.C:
			}
			r.gates.mu.Lock()
			for _, gate := range r.gates.keys {
				most = max(most, gate.inside)
			}
			r.gates.mu.Unlock()
		}
	})
	for range 16 {
		crowd.Go(post)
	}
	crowd.Wait()
	close(stop)
	watch.Wait()
	if most == 0 || most > suspectPlaces() {
		t.Errorf("%d bombs were handled at a time, want at most %d", most, suspectPlaces())
	}
	timetest.Eventually(t, "no place is held", func() bool {
		r.gates.mu.Lock()
		defer r.gates.mu.Unlock()
		for _, gate := range r.gates.keys {
			if gate.inside != 0 || gate.waiting.Len() != 0 {
				return false
			}
		}
		return true
	})
}

// TestX10SuspectsTakeTheirTurnsApart: small bodies of a key that has wasted work wait for one another, whatever turns are free
// for other keys, and one that has grown large does not go back.
func TestX10SuspectsTakeTheirTurnsApart(t *testing.T) {
	r := bareReceiver(Options{})
	enter := func(key string) *work {
		w, f := r.enter(t.Context(), someTenant(t), key)
		if f != nil {
			t.Fatal(f)
		}
		t.Cleanup(w.leave)
		return w
	}
	r.budget.waste.add("bad", wasteFree/2)
	bad, good := enter("bad"), enter("good")
	for _, step := range []struct {
		w    *work
		size int64
		want *turns
	}{
		{good, 1, r.small}, {bad, 1, r.slow}, {bad, smallBody, r.slow},
		{bad, smallBody + 1, r.large}, {bad, 1, r.large}, {good, smallBody, r.small},
	} {
		if err := step.w.turn(t.Context(), step.size); err != nil || step.w.lane != step.want {
			t.Errorf("%s, %d bytes: another lane than wanted, or %v", step.w.key, step.size, err)
		}
	}
}
