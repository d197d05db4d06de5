package store

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"net/url"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/headgate-io/headgate/internal/pgtest"
	"github.com/headgate-io/headgate/internal/store/storetest"
)

const patience = 20 * time.Second

var step = exec(`UPDATE changes SET n = n + 1`)

// What an Update reads is what the one before it wrote, whichever process that was in.
func TestUpdatesOfAllProcessesRunOneAfterAnother(t *testing.T) { storetest.Each(t, testUpdatesOfAll) }

func testUpdatesOfAll(t *testing.T) {
	place := storetest.Place(t)
	var wg sync.WaitGroup
	for range 3 {
		d := openTest(t, place)
		for range 3 {
			wg.Go(func() {
				for range 10 {
					err := d.Update(t.Context(), func(tx *Tx) error {
						var n int
						if err := tx.QueryRowContext(t.Context(), `SELECT n FROM changes`).Scan(&n); err != nil {
							return err
						}
						_, err := tx.ExecContext(t.Context(), `UPDATE changes SET n = ?`, n+1)
						return err
					})
					if err != nil {
						t.Error(err)
					}
				}
			})
		}
	}
	wg.Wait()
	if n := counter(t, openTest(t, place)); n != 90 {
		t.Errorf("n = %d, want 90", n)
	}
}

// The connections of the pool are all dead after it, and were used a moment before.
func TestRestartOfTheServerFailsNothingThatHasNotBegun(t *testing.T) {
	s := pgtest.Start(t)
	d := openTest(t, s.URL())
	for round, restart := range []func(){func() { s.Restart(t) }, func() { s.Kill(); s.Start(t) }} {
		views(t, d, readConns)
		if err := d.Update(t.Context(), step); err != nil {
			t.Fatal(err)
		}
		restart()
		if err := d.Update(t.Context(), step); err != nil {
			t.Errorf("round %d: Update = %v", round, err)
		}
		views(t, d, readConns)
		if n := counter(t, d); n != 2*round+2 {
			t.Errorf("round %d: n = %d", round, n)
		}
	}
}

// views runs n Views at the same time, so that there are as many connections.
func views(t *testing.T, d *DB, n int) {
	t.Helper()
	var all, wg sync.WaitGroup
	all.Add(n)
	for range n {
		wg.Go(func() {
			err := d.View(t.Context(), func(*Tx) error {
				all.Done()
				all.Wait()
				return nil
			})
			if err != nil {
				t.Error(err)
				all.Done() // if it was not begun; else it does not matter any more
			}
		})
	}
	wg.Wait()
}

func TestServerThatIsAwayIsAnErrorAtOnce(t *testing.T) {
	s := pgtest.Start(t)
	d := openTest(t, s.URL())
	s.Stop()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	for range 3 {
		if err := d.Update(ctx, step); err == nil || errors.Is(err, ErrInDoubt) || ctx.Err() != nil {
			t.Errorf("Update = %v", err)
		}
		if err := d.View(ctx, exec(`SELECT 1`)); err == nil || ctx.Err() != nil {
			t.Errorf("View = %v", err)
		}
	}
	s.Start(t)
	if err := d.Update(ctx, step); err != nil || counter(t, d) != 1 {
		t.Errorf("n = %d, %v", counter(t, d), err)
	}
}

// Whatever moment the server is killed at: what Update has answered is there after it, what it has refused is not, and what
// it is in doubt about is there or not.
func TestUpdatesOutliveKillsOfTheServer(t *testing.T) {
	s := pgtest.Start(t)
	d := openTest(t, s.URL())
	want := 0
	for round := range 5 {
		var saved atomic.Int64
		doubt := false
		ended := make(chan struct{})
		go func() {
			defer close(ended)
			for {
				err := d.Update(t.Context(), step)
				if err != nil {
					doubt = errors.Is(err, ErrInDoubt)
					return
				}
				saved.Add(1)
			}
		}()
		for enough := int64(5 + 7*round); saved.Load() < enough; {
			select {
			case <-ended:
				t.Fatalf("round %d: an Update failed before the server was killed", round)
			case <-time.After(time.Millisecond):
			}
		}
		s.Kill()
		<-ended
		s.Start(t)
		want += int(saved.Load())
		got := counter(t, d)
		if got != want && !(doubt && got == want+1) {
			t.Fatalf("round %d: n = %d, want %d, in doubt: %v", round, got, want, doubt)
		}
		want = got
	}
}

// cut stands between d and the server, and cuts the connection once a COMMIT comes: before the server has it, or after.
func cutAtCommit(t *testing.T, server string, after *atomic.Bool, armed *atomic.Bool) (place string) {
	t.Helper()
	u, err := url.Parse(server)
	if err != nil {
		t.Fatal(err)
	}
	socket := filepath.Join(u.Query().Get("host"), ".s.PGSQL.5432")
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			in, err := l.Accept()
			if err != nil {
				return
			}
			go relay(in, socket, after, armed)
		}
	}()
	q := u.Query()
	q.Set("host", "127.0.0.1")
	_, port, _ := net.SplitHostPort(l.Addr().String())
	q.Set("port", port)
	u.RawQuery = q.Encode()
	return u.String()
}

func relay(in net.Conn, socket string, after, armed *atomic.Bool) {
	defer in.Close()
	out, err := net.Dial("unix", socket)
	if err != nil {
		return
	}
	defer out.Close()
	var deaf atomic.Bool
	go func() {
		defer in.Close()
		b := make([]byte, 1<<12)
		for {
			n, err := out.Read(b)
			if deaf.Load() || err != nil {
				return
			}
			if _, err := in.Write(b[:n]); err != nil {
				return
			}
		}
	}()
	b := make([]byte, 1<<12)
	for {
		n, err := in.Read(b)
		if err != nil {
			return
		}
		if armed.Load() && bytes.Contains(b[:n], []byte("commit\x00")) {
			if !after.Load() {
				return
			}
			deaf.Store(true)
			_, _ = out.Write(b[:n])
			_, _ = io.Copy(io.Discard, in) // the answer's arrival closes it
			return
		}
		if _, err := out.Write(b[:n]); err != nil {
			return
		}
	}
}

func TestCommitThatBreaksOnItsWayIsInDoubt(t *testing.T) {
	s := pgtest.Start(t)
	var after, armed atomic.Bool
	d := openTest(t, cutAtCommit(t, s.URL(), &after, &armed))
	straight := openTest(t, s.URL())
	for _, made := range []bool{false, true} {
		after.Store(made)
		armed.Store(true)
		before := counter(t, straight)
		ctx, cancel := context.WithTimeout(t.Context(), patience)
		err := d.Update(ctx, step)
		cancel()
		armed.Store(false)
		if !errors.Is(err, ErrInDoubt) {
			t.Errorf("Update = %v, want ErrInDoubt", err)
		}
		// The next Update waits for the end of the one in doubt.
		if err := d.Update(t.Context(), step); err != nil {
			t.Error(err)
		}
		want := before + 1
		if made {
			want++
		}
		if got := counter(t, straight); got != want {
			t.Errorf("n = %d, want %d", got, want)
		}
	}
}

func TestFailedCommitIsNoDoubtWhereTheServerSaysSo(t *testing.T) {
	d := openTest(t, pgtest.New(t))
	err := d.Update(t.Context(), exec(`CREATE TABLE one (n BIGINT UNIQUE DEFERRABLE INITIALLY DEFERRED); INSERT INTO one VALUES (1), (1)`))
	if err == nil || errors.Is(err, ErrInDoubt) || !IsConflict(err) {
		t.Errorf("Update = %v, want a conflict", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	err = d.Update(ctx, func(tx *Tx) error {
		cancel()
		return nil
	})
	if !errors.Is(err, context.Canceled) || errors.Is(err, ErrInDoubt) {
		t.Errorf("Update of an ended context = %v", err)
	}
}

func TestWatchTellsOfChangesOfItsSchema(t *testing.T) {
	s := pgtest.Start(t)
	pgtest.Execute(t, s.URL(), `CREATE SCHEMA other`)
	here, there, other := openTest(t, s.URL()), openTest(t, s.URL()), openTest(t, pgtest.Schema(t, s.URL(), "other"))
	wake := make(chan struct{}, 100) // so that nothing is left out
	ctx, stop := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	wg.Go(func() { here.Watch(ctx, wake) })
	told := func(what string) {
		t.Helper()
		select {
		case <-wake:
		case <-time.After(patience):
			t.Fatalf("nothing was told of %s", what)
		}
	}
	change := func(d *DB) {
		t.Helper()
		if err := d.Update(t.Context(), step); err != nil {
			t.Fatal(err)
		}
	}
	told("the start")
	change(there)
	told("a change")
	if err := there.Update(t.Context(), func(tx *Tx) error { return errors.Join(step(tx), errors.New("no")) }); err == nil {
		t.Fatal("saved")
	}
	for range 5 {
		change(other)
	}
	change(there) // its news comes after any of those before
	told("a change")
	if n := len(wake); n > 0 {
		t.Errorf("told of one change and of %d others, of another schema or undone", n)
	}
	s.Restart(t)
	told("the connection's return")
	change(there)
	told("a change after it")
	stop()
	wg.Wait()
}

func TestWatchOfSQLiteEndsAtOnce(t *testing.T) {
	openTest(t, filepath.Join(t.TempDir(), "state.db")).Watch(t.Context(), nil)
}
