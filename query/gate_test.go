package query

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"
)

func TestGateBoundsKeysAndTheWhole(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGate(3, 2, 1, time.Second)
		enter := func(key string) func() {
			t.Helper()
			release, err := g.enter(t.Context(), key)
			if err != nil {
				t.Fatalf("enter(%s): %v", key, err)
			}
			return release
		}
		a1, a2 := enter("a"), enter("a")
		// a is full: one may wait, the next is refused at once.
		waited := make(chan error, 1)
		var late func()
		go func() {
			var err error
			late, err = g.enter(t.Context(), "a")
			waited <- err
		}()
		synctest.Wait()
		began := time.Now()
		if _, err := g.enter(t.Context(), "a"); !errors.Is(err, errBusy) || time.Since(began) != 0 {
			t.Errorf("second waiter: %v after %v, want busy at once", err, time.Since(began))
		}
		// Another key passes the line, until the whole is full.
		b := enter("b")
		began = time.Now()
		if _, err := g.enter(t.Context(), "c"); !errors.Is(err, errBusy) || time.Since(began) != time.Second {
			t.Errorf("full gate: %v after %v, want busy after a second", err, time.Since(began))
		}
		// The waiter's second is over too by now.
		if err := <-waited; !errors.Is(err, errBusy) {
			t.Errorf("waiter: %v, want busy", err)
		}
		// A place that comes back goes to who waits.
		go func() {
			var err error
			late, err = g.enter(t.Context(), "a")
			waited <- err
		}()
		synctest.Wait()
		a1()
		if err := <-waited; err != nil {
			t.Errorf("waiter after release: %v", err)
		}
		late()
		a2()
		b()
		if g.running != 0 || len(g.perKey) != 0 || len(g.line) != 0 {
			t.Errorf("gate is not empty: %d running, %v, %d in line", g.running, g.perKey, len(g.line))
		}
	})
}

func TestGateLetsGoWhoLeaves(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGate(1, 1, 5, time.Hour)
		release, err := g.enter(t.Context(), "a")
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		left := make(chan error, 1)
		go func() {
			_, err := g.enter(ctx, "b")
			left <- err
		}()
		synctest.Wait()
		cancel()
		if err := <-left; !errors.Is(err, context.Canceled) {
			t.Errorf("enter after cancel: %v", err)
		}
		release()
		if g.running != 0 || len(g.line) != 0 {
			t.Errorf("gate is not empty: %d running, %d in line", g.running, len(g.line))
		}
	})
}
