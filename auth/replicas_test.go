package auth

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/headgate-io/headgate/internal/pgtest"
	"github.com/headgate-io/headgate/internal/store"
	"github.com/headgate-io/headgate/internal/store/storetest"
)

// patience is a bound on what takes milliseconds.
const patience = 20 * time.Second

// replica is a directory on the database at place, of which the secrets lie in dir.
func replica(t *testing.T, place, dir string) (*Directory, error) {
	t.Helper()
	db, err := store.Open(place)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close() })
	return Open(t.Context(), db, Options{Now: time.Now, Dir: dir})
}

func mustReplica(t *testing.T, place, dir string) *Directory {
	t.Helper()
	d, err := replica(t, place, dir)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// background runs d until the test ends.
func background(t *testing.T, d *Directory) {
	t.Helper()
	ctx, stop := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- d.Run(ctx) }()
	t.Cleanup(func() {
		stop()
		if err := <-done; err != nil {
			t.Errorf("Run = %v", err)
		}
	})
}

// soon waits until d answers the key with want, and returns how long that took.
func soon(t *testing.T, d *Directory, text string, want error) time.Duration {
	t.Helper()
	begin := time.Now()
	for {
		_, err := d.Authenticate(text)
		if errors.Is(err, want) && (err == nil) == (want == nil) {
			return time.Since(begin)
		}
		if time.Since(begin) > patience {
			t.Fatalf("Authenticate = %v, want %v", err, want)
		}
		<-time.After(time.Millisecond)
	}
}

// Of the two ways that a replica hears of a change, each alone is enough.
func TestReplicasHearOfChangesByNewsAndByThePoll(t *testing.T) {
	for _, c := range []struct {
		name  string
		poll  time.Duration
		quiet bool // the database tells nothing
	}{
		{name: "news alone", poll: time.Hour},
		{name: "the poll alone", poll: PollInterval, quiet: true},
	} {
		t.Run(c.name, func(t *testing.T) {
			place, dir := pgtest.New(t), t.TempDir()
			there, here := mustReplica(t, place, dir), mustReplica(t, place, dir)
			if c.quiet {
				pgtest.Execute(t, place, `DROP TRIGGER changes_notify ON changes`)
			}
			here.poll = c.poll
			background(t, here)
			op := operatorOf(t, there, dir)
			if _, err := there.Tenants().Create(t.Context(), op, NewTenant{Name: "acme"}); err != nil {
				t.Fatal(err)
			}
			for range 3 {
				k, text, err := there.Keys().Create(t.Context(), op, NewKey{Tenant: "acme", Scopes: []KeyScope{ScopeIngest}})
				if err != nil {
					t.Fatal(err)
				}
				made := soon(t, here, text, nil)
				if _, err := there.Keys().Revoke(t.Context(), op, k.ID); err != nil {
					t.Fatal(err)
				}
				t.Logf("made after %v, revoked after %v", made, soon(t, here, text, ErrUnknownKey))
			}
		})
	}
}

// While PostgreSQL is away nothing changes for whom memory knows; once it is back, so are the changes of others.
func TestKnownKeysWorkWhilePostgresIsAway(t *testing.T) {
	s, dir := pgtest.Start(t), t.TempDir()
	here, there := mustReplica(t, s.URL(), dir), mustReplica(t, s.URL(), dir)
	background(t, here)
	op := operatorOf(t, there, dir)
	if _, err := there.Tenants().Create(t.Context(), op, NewTenant{Name: "acme"}); err != nil {
		t.Fatal(err)
	}
	k, text, err := there.Keys().Create(t.Context(), op, NewKey{Tenant: "acme", Scopes: []KeyScope{ScopeIngest}})
	if err != nil {
		t.Fatal(err)
	}
	soon(t, here, text, nil)
	for _, away := range []func(){s.Stop, s.Kill} {
		away()
		for range 50 {
			if _, err := here.Authenticate(text); err != nil {
				t.Errorf("refused while PostgreSQL is away: %v", err)
			}
			<-time.After(10 * time.Millisecond)
		}
		var known *Error
		if _, _, err := here.Keys().Create(t.Context(), op, NewKey{Tenant: "acme", Scopes: []KeyScope{ScopeIngest}}); err == nil || errors.As(err, &known) {
			t.Errorf("Create while PostgreSQL is away = %v, want the plain error of an outage", err)
		}
		s.Start(t)
	}
	if _, err := there.Keys().Revoke(t.Context(), op, k.ID); err != nil {
		t.Fatal(err)
	}
	soon(t, here, text, ErrUnknownKey)
}

// A replica must not make keys that the others cannot check, not even the first one.
func TestReplicaWithItsOwnPepperIsRefused(t *testing.T) {
	place, first, second := pgtest.New(t), t.TempDir(), t.TempDir()
	mustReplica(t, place, first)
	_, err := replica(t, place, second)
	if !errors.Is(err, ErrPepperMissing) {
		t.Errorf("Open without a pepper = %v, want ErrPepperMissing", err)
	}
	for _, name := range []string{PepperFile, OperatorFile} {
		if err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("Open = %v, want the advice to copy %s", err, name)
		}
		if _, err := os.Stat(filepath.Join(second, name)); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("%s was made", name)
		}
	}
	own := t.TempDir()
	mustReplica(t, filepath.Join(own, "state.db"), own)
	if _, err := replica(t, place, own); !errors.Is(err, ErrPepperChanged) {
		t.Errorf("Open with another pepper = %v, want ErrPepperChanged", err)
	}
	if err := os.CopyFS(second, os.DirFS(first)); err != nil {
		t.Fatal(err)
	}
	mustReplica(t, place, second)
}

func TestTextThatNoDatabaseTakesIsNotFoundOnEither(t *testing.T) {
	for _, w := range []*world{newWorld(t), openWorld(t, pgtest.New(t), t.TempDir(), newClock())} {
		w.tenant(NewTenant{Name: "acme"})
		_, text := w.key(NewKey{Tenant: "acme"})
		for _, bad := range []string{"a\x00b", "\xff", "%", "_", "'; --", "!"} {
			_, err := w.Keys().Show(t.Context(), w.op, bad)
			wantErr(t, "Show", err, ErrNotFound)
			_, err = w.Keys().Revoke(t.Context(), w.op, bad)
			wantErr(t, "Revoke", err, ErrNotFound)
			_, err = w.Tenants().Show(t.Context(), w.op, bad)
			wantErr(t, "Show", err, ErrNotFound)
			if _, _, err := w.Keys().List(t.Context(), w.op, "", bad, 0); err != nil {
				t.Errorf("List of keys after %q = %v", bad, err)
			}
			if _, _, err := w.Tenants().List(t.Context(), w.op, ListTenants{After: bad}); err != nil {
				t.Errorf("List after %q = %v", bad, err)
			}
			found, _, err := w.Tenants().List(t.Context(), w.op, ListTenants{Search: bad})
			if err != nil || len(found) > 0 {
				t.Errorf("List of names with %q = %v, %v", bad, found, err)
			}
			if _, _, err := w.Tenants().List(t.Context(), w.op, ListTenants{Status: Status(bad)}); err != nil {
				t.Errorf("List of status %q = %v", bad, err)
			}
			// What is refused is audited under the name it was given.
			p, err := w.Authenticate(text)
			if err != nil {
				t.Fatal(err)
			}
			_, err = w.Tenants().Create(t.Context(), p, NewTenant{Name: bad})
			wantErr(t, "Create", err, ErrForbidden)
		}
		entries, _, err := w.Audit(t.Context(), w.op, AuditFilter{})
		if err != nil || len(entries) != 2+6 {
			t.Errorf("%d entries, %v", len(entries), err)
		}
	}
}

// Only the key that another replica may have made since is answered otherwise than a wrong one, and only in the outage.
func TestKeyOfTheOutageIsNotRefusedForGood(t *testing.T) { storetest.Each(t, testKeyOfTheOutage) }

func testKeyOfTheOutage(t *testing.T) {
	w := newWorld(t)
	w.tenant(NewTenant{Name: "acme"})
	revoked, text := w.key(NewKey{Tenant: "acme"})
	if _, err := w.Keys().Revoke(t.Context(), w.op, revoked.ID); err != nil {
		t.Fatal(err)
	}
	_, known := w.key(NewKey{Tenant: "acme"})
	made := func(d time.Duration) string { return keyText(newID(w.clock.Now().Add(d)), newSecret()) }
	w.clock.Add(10 * time.Minute)
	if err := w.sync(t.Context()); err != nil {
		t.Fatal(err)
	}
	w.expect(made(0), ErrUnknownKey)
	if err := w.db.Update(t.Context(), execute(`ALTER TABLE changes RENAME TO away`)); err != nil {
		t.Fatal(err)
	}
	if err := w.sync(t.Context()); err == nil {
		t.Fatal("read without its table")
	}
	w.clock.Add(5 * time.Minute)
	w.expect(made(0), ErrKeysUnavailable)
	w.expect(made(-5*time.Minute), ErrKeysUnavailable) // made when memory was last current
	w.expect(made(-6*time.Minute-time.Second), ErrUnknownKey)
	w.expect(made(2*time.Minute), ErrUnknownKey)
	w.expect(text, ErrUnknownKey)
	w.expect(known, nil)
	id, _, _ := parseKeyText(known)
	w.expect(keyText(id, newSecret()), ErrUnknownKey)
	if err := w.db.Update(t.Context(), execute(`ALTER TABLE away RENAME TO changes`)); err != nil {
		t.Fatal(err)
	}
	if err := w.sync(t.Context()); err != nil {
		t.Fatal(err)
	}
	w.expect(made(0), ErrUnknownKey)
}

// A look that hangs counts as an outage after a second; one that is under way does not.
func TestMemoryIsOldWhenALookHangs(t *testing.T) {
	var f freshness
	begin := time.Date(2025, 3, 1, 12, 0, 0, 0, time.UTC)
	f.begin(begin)
	f.succeed()
	f.begin(begin.Add(time.Minute))
	for wait, want := range map[time.Duration]bool{0: false, lookPatience - time.Millisecond: false, lookPatience: true, time.Hour: true} {
		now := begin.Add(time.Minute + wait)
		if got := f.misses(newID(now), now); got != want {
			t.Errorf("misses after %v = %v, want %v", wait, got, want)
		}
	}
	f.succeed()
	if now := begin.Add(time.Hour); f.misses(newID(now), now) {
		t.Error("misses although the look succeeded")
	}
}
