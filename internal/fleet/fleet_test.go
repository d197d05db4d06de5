package fleet

import (
	"bytes"
	"context"
	"log/slog"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/headgate-io/headgate/internal/pgtest"
	"github.com/headgate-io/headgate/internal/store"
	"github.com/headgate-io/headgate/internal/store/storetest"
	"github.com/headgate-io/headgate/internal/timetest"
)

func TestMain(m *testing.M) { pgtest.Main(m) }

// A role is missing while nobody has it, from the moment at which its last process ends, or 20 seconds after its last word; and is told
// once.
func TestAMissingRoleIsTold(t *testing.T) { storetest.Each(t, testAMissingRoleIsTold) }

func testAMissingRoleIsTold(t *testing.T) {
	db, err := store.Open(storetest.Place(t))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	clock := timetest.NewClock(time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC))
	var said bytes.Buffer
	join := func(id, role string, log *slog.Logger) *Member {
		return New(db, Options{ID: id, Role: role, Host: "host-" + id, Version: "v1", Now: clock.Now, Logger: log})
	}
	watcher := join("a", "query", slog.New(slog.NewTextHandler(&said, nil)))
	look := func(m *Member) {
		t.Helper()
		if err := m.look(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	want := func(missing ...string) {
		t.Helper()
		look(watcher)
		if got := watcher.Missing(); !slices.Equal(got, missing) {
			t.Errorf("missing are %q, want %q", got, missing)
		}
	}
	if len(watcher.Missing()) != 0 {
		t.Error("something is missing before the first look")
	}
	want("ingest", "control")
	ingest, control := join("b", "ingest", nil), join("c", "control", nil)
	look(ingest)
	want("control")
	look(control)
	want()
	second := join("d", "ingest", nil)
	look(second)
	ingest.leave(t.Context())
	want() // there is the second
	clock.Add(seenFor)
	want()
	clock.Add(time.Millisecond)
	look(control)
	want("ingest")
	all := join("e", All, nil)
	look(all)
	want()
	all.leave(t.Context())
	control.leave(t.Context())
	want("ingest", "control")
	if n := strings.Count(said.String(), "roles are missing"); n != 4 {
		t.Errorf("%d times it is said that roles are missing, want 4:\n%s", n, said.String())
	}
	if p := watcher.Processes(); len(p) != 2 || p[0].ID != "d" || p[0].Host != "host-d" || p[1].Role != "query" {
		t.Errorf("processes %+v, want the one that is silent and the watcher", p)
	}
	clock.Add(keptFor)
	look(watcher)
	if p := watcher.Processes(); len(p) != 1 {
		t.Errorf("a day later %+v", p)
	}
}

// Run says at once who is there, and at the end that it is gone.
func TestRunComesAndGoes(t *testing.T) {
	db, err := store.Open(storetest.Place(t))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	m := New(db, Options{ID: "a", Role: All, Now: time.Now})
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- m.Run(ctx) }()
	timetest.Eventually(t, "the first look", func() bool { return len(m.Processes()) == 1 })
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
	other := New(db, Options{ID: "b", Role: All, Now: time.Now})
	if err := other.look(t.Context()); err != nil || len(other.Processes()) != 1 {
		t.Errorf("after the end: %v %+v", err, other.Processes())
	}
}
