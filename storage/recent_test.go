package storage

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

func print(s string) Fingerprint { return Fingerprint([]byte((s + "                ")[:16])) }

func recall(t *testing.T, r *recent, s string) (int64, bool) {
	t.Helper()
	n, known, done, err := r.recall(t.Context(), print(s))
	if err != nil {
		t.Fatal(err)
	}
	if done != nil {
		done(false, 0)
	}
	return n, known
}

func TestAckedRequestIsKnownForItsWindow(t *testing.T) {
	now := time.Unix(1_700_000_000, 0)
	r := newRecent(time.Minute, 100, func() time.Time { return now })
	_, known, done, err := r.recall(t.Context(), print("a"))
	if known || err != nil {
		t.Fatalf("first recall: %v, %v", known, err)
	}
	done(true, 3)
	for step := range 2 {
		if n, known := recall(t, r, "a"); !known || n != 3 {
			t.Errorf("step %d: %d, %v, want 3 rejected and known", step, n, known)
		}
		now = now.Add(59 * time.Second)
	}
	now = now.Add(2 * time.Minute)
	if _, known := recall(t, r, "a"); known {
		t.Error("still known after three windows")
	}
	if _, known := recall(t, r, "b"); known {
		t.Error("what was never acked is known")
	}
}

func TestManyRequestsForgetTheOldest(t *testing.T) {
	r := newRecent(time.Hour, 2, time.Now)
	for _, s := range []string{"a", "b", "c", "d", "e"} {
		_, _, done, _ := r.recall(t.Context(), print(s))
		done(true, 0)
	}
	if len(r.young)+len(r.old) > 5 {
		t.Errorf("%d are remembered", len(r.young)+len(r.old))
	}
	if _, known := recall(t, r, "e"); !known {
		t.Error("the newest is forgotten")
	}
	if _, known := recall(t, r, "a"); known {
		t.Error("the oldest is remembered, beyond the bound")
	}
}

// Requests that are equal and at once: one is stored, the others learn of its outcome.
func TestEqualRequestsAtOnceWaitForTheFirst(t *testing.T) {
	r := newRecent(time.Minute, 100, time.Now)
	var stored atomic.Int64
	var wg sync.WaitGroup
	for i := range 20 {
		wg.Go(func() {
			_, known, done, err := r.recall(t.Context(), print("x"))
			switch {
			case err != nil:
				t.Error(err)
			case !known:
				stored.Add(1)
				done(i%3 != 0, 0) // some fail; then another has its turn
			}
		})
	}
	wg.Wait()
	if _, known := recall(t, r, "x"); !known {
		t.Error("not known after one was acked")
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, _, done, _ := r.recall(t.Context(), print("y"))
	if _, _, _, err := r.recall(ctx, print("y")); !errors.Is(err, context.Canceled) {
		t.Errorf("waiting with an ended context = %v", err)
	}
	done(false, 0)
}

func TestRecentRequestsSurviveInAFile(t *testing.T) {
	dir := t.TempDir()
	now := time.Unix(1_700_000_000, 0)
	clock := func() time.Time { return now }
	r := newRecent(time.Minute, 100, clock)
	r.add(print("a"), 7, now)
	r.add(print("ancient"), 0, now.Add(-time.Hour))
	if err := r.save(dir); err != nil {
		t.Fatal(err)
	}
	again := newRecent(time.Minute, 100, clock)
	if err := again.load(dir); err != nil {
		t.Fatal(err)
	}
	if n, known := recall(t, again, "a"); !known || n != 7 {
		t.Errorf("after a restart: %d, %v", n, known)
	}
	if _, known := recall(t, again, "ancient"); known {
		t.Error("a request from before the window is known")
	}
	b, err := os.ReadFile(filepath.Join(dir, recentFile))
	if err != nil {
		t.Fatal(err)
	}
	for i := range b {
		damaged := append([]byte(nil), b...)
		damaged[i] ^= 1
		if err := os.WriteFile(filepath.Join(dir, recentFile), damaged, 0o600); err != nil {
			t.Fatal(err)
		}
		if err := newRecent(time.Minute, 100, clock).load(dir); !errors.Is(err, errRecent) {
			t.Fatalf("byte %d changed: %v, want it refused", i, err)
		}
	}
	for n := range len(b) {
		if err := os.WriteFile(filepath.Join(dir, recentFile), b[:n], 0o600); err != nil {
			t.Fatal(err)
		}
		if err := newRecent(time.Minute, 100, clock).load(dir); !errors.Is(err, errRecent) {
			t.Fatalf("cut at %d: %v, want it refused", n, err)
		}
	}
}
