package pgtest

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
)

func TestMain(m *testing.M) { Main(m) }

func TestEachTestHasItsOwnTables(t *testing.T) {
	a, b := New(t), New(t)
	for _, url := range []string{a, b} {
		Execute(t, url, `CREATE TABLE things (n BIGINT)`)
		Execute(t, url, `INSERT INTO things VALUES (1)`)
		if n := count(t, url); n != 1 {
			t.Errorf("%d rows, want 1", n)
		}
	}
}

func TestCommittedRowsOutliveKillsAndRestarts(t *testing.T) {
	s := Start(t)
	Execute(t, s.URL(), `CREATE TABLE things (n BIGINT)`)
	for i, again := range []func(){func() { s.Kill(); s.Start(t) }, func() { s.Restart(t) }} {
		Execute(t, s.URL(), `INSERT INTO things VALUES (1)`)
		again()
		if n := count(t, s.URL()); n != i+1 {
			t.Errorf("%d rows, want %d", n, i+1)
		}
	}
}

func TestServerSyncs(t *testing.T) {
	conn, err := pgx.Connect(t.Context(), New(t))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(context.Background())
	var on string
	if err := conn.QueryRow(t.Context(), `SHOW fsync`).Scan(&on); err != nil || on != "on" {
		t.Errorf("fsync = %q, %v", on, err)
	}
}

func count(t *testing.T, url string) (n int) {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), url)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(context.Background())
	if err := conn.QueryRow(t.Context(), `SELECT count(*) FROM things`).Scan(&n); err != nil {
		t.Fatal(err)
	}
	return n
}

func TestDirectoriesOfKilledTestsAreRemoved(t *testing.T) {
	t.Setenv("TMPDIR", t.TempDir())
	held, lock, err := makeDir()
	if err != nil {
		t.Fatal(err)
	}
	defer remove(held)
	defer lock.Close()
	left, lock, err := makeDir()
	if err != nil {
		t.Fatal(err)
	}
	lock.Close() // as the end of a process does
	third, lock, err := makeDir()
	if err != nil {
		t.Fatal(err)
	}
	defer remove(third)
	defer lock.Close()
	if _, err := os.Stat(left); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("%s is left: %v", left, err)
	}
	if _, err := os.Stat(held); err != nil {
		t.Errorf("the directory of a living process is gone: %v", err)
	}
}

func TestServerEndsWithItsTests(t *testing.T) {
	if os.Getenv("HEADGATE_PGTEST_CHILD") != "" {
		s := Start(t)
		fmt.Println(s.process.Pid, s.dir)
		select {} // until it is killed
	}
	cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestServerEndsWithItsTests$")
	cmd.Env = append(os.Environ(), "HEADGATE_PGTEST_CHILD=1")
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	var pid int
	var dir string
	if _, err := fmt.Fscan(out, &pid, &dir); err != nil {
		t.Fatal(err)
	}
	defer remove(dir)
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = cmd.Wait()
	for deadline := time.Now().Add(stopTimeout); alive(pid); {
		if time.Now().After(deadline) {
			t.Fatalf("server %d outlives its tests", pid)
		}
		<-time.After(pollPause)
	}
}

// alive reports whether the process runs; one that has ended and that nobody has waited for does not.
func alive(pid int) bool {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return false
	}
	_, state, _ := strings.Cut(string(stat), ") ")
	return !strings.HasPrefix(state, "Z")
}
