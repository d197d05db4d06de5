package metering

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/headgate-io/headgate/internal/store"
)

func TestRestartKnowsTheDaysUse(t *testing.T) {
	path := filepath.Join(t.TempDir(), "state.db")
	db := openDB(t, path)
	addTenant(t, db, "root", "")
	addTenant(t, db, "p", "ID-root")
	addTenant(t, db, "a", "ID-p")
	addTenant(t, db, "b", "ID-root")
	c := &clock{t: noon.AddDate(0, 0, -2)}
	l := NewLedger(db, LedgerOptions{Now: c.now})
	stop := run(t, l)
	rec := func(r Receipt) {
		t.Helper()
		c.set(r.ReceivedAt)
		if err := l.Record(deadline(t), r); err != nil {
			t.Fatal(err)
		}
	}
	midnight := noon.Truncate(24 * time.Hour)
	rec(logs("ID-a", "ka", 1_000_000, noon.AddDate(0, 0, -2))) // forgotten
	rec(logs("ID-a", "ka", 1, midnight.Add(-1)))
	rec(logs("ID-a", "ka", 10, midnight))
	rec(logs("ID-a", "ka", 20, noon))
	rec(logs("ID-a", "ka2", 40, noon))
	rec(Receipt{Tenant: id("ID-p"), Key: "kp", Signal: Metrics, ReceivedAt: noon, BilledBytes: 100})
	rec(Receipt{Tenant: id("ID-b"), Key: "kb", Signal: Traces, ReceivedAt: noon, BilledBytes: 500, OverageBytes: 7})
	rec(Receipt{Tenant: id("ID-b"), Key: "kb", Signal: Traces, ReceivedAt: noon, UnbilledBytes: 5000}) // not counted
	stop()
	db.Close()

	m := openMeter(t, openDB(t, path), noon)
	yesterday := midnight.Add(-1)
	wantUsed(t, m, true, "ka", noon, 30)
	wantUsed(t, m, true, "ka2", noon, 40)
	for owner, want := range map[string]int64{"ID-a": 70, "ID-p": 170, "ID-b": 500, "ID-root": 670} {
		wantUsed(t, m, false, owner, noon, want)
	}
	wantUsed(t, m, false, "ID-root", yesterday, 1)
	if _, err := m.Admit(charge("ID-a", "ka", Refuse, Unlimited, Unlimited), 1, noon.AddDate(0, 0, -2)); err == nil {
		t.Error("a day that was not read is admitted to")
	}
	// Overage goes on where it was.
	r, err := m.Admit(charge("ID-b", "kb", Bill, Unlimited, 493), 3, noon)
	if err != nil {
		t.Fatal(err)
	}
	if rc, err := r.Settle(Outcome{Signal: Logs, Bytes: 3}); err != nil || rc.OverageBytes != 3 {
		t.Errorf("overage %d, %v, want all 3", rc.OverageBytes, err)
	}
}

func TestDamagedTreeDoesNotHangTheStart(t *testing.T) {
	db := tempDB(t)
	addTenant(t, db, "a", "")
	addTenant(t, db, "b", "ID-a")
	l := startLedger(t, db, (&clock{t: noon}).now)
	if err := l.Record(deadline(t), logs("ID-b", "k", 1, noon)); err != nil {
		t.Fatal(err)
	}
	setParent(t, db, "ID-a", "ID-b")
	openMeter(t, db, noon)
}

// What a child of the kill test is told, and what it bills: every worker has a key of its own and waits for each receipt,
// so at most one receipt per key is in doubt when the child dies.
const (
	childEnv     = "HEADGATE_METERING_TEST_CHILD"
	childWorkers = 8
	childLimit   = 150_000
)

func TestMain(m *testing.M) {
	var err error
	switch {
	case os.Getenv(childEnv) != "":
		err = child(os.Getenv(childEnv), os.Stdout)
	case os.Getenv(applyChildEnv) != "":
		var round int
		if round, err = strconv.Atoi(os.Getenv(applyChildRound)); err == nil {
			err = applyChild(os.Getenv(applyChildEnv), round, os.Stdout)
		}
	default:
		os.Exit(m.Run())
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func childCharge(w int) Charge {
	return charge("ID-a", fmt.Sprint("k", w), Refuse, Unlimited, Unlimited, Limit{OwnerParent, "ID-p", childLimit, Refuse})
}

// child bills until it is killed or the limit is reached. It says "try KEY BYTES" before and "ack KEY BYTES" after each
// receipt.
func child(path string, out io.Writer) error {
	db, err := store.Open(path)
	if err != nil {
		return err
	}
	now := func() time.Time { return noon }
	m, err := OpenMeter(context.Background(), db, noon, nil)
	if err != nil {
		return err
	}
	l := NewLedger(db, LedgerOptions{Now: now})
	go l.Run(context.Background())
	var mu sync.Mutex
	say := func(what string, c Charge, n int64) {
		mu.Lock()
		defer mu.Unlock()
		fmt.Fprintln(out, what, c.Key, n) // one write, unbuffered
	}
	var wg sync.WaitGroup
	for w := range childWorkers {
		wg.Go(func() {
			c := childCharge(w)
			for i := 0; ; i++ {
				r, err := m.Admit(c, int64(50+(i*7+w)%100), noon)
				if err != nil {
					return
				}
				rc, err := r.Settle(Outcome{Signal: Logs, Bytes: r.bytes - int64(i%5), Records: 1})
				if err != nil {
					panic(err)
				}
				say("try", c, rc.BilledBytes)
				if err := l.Record(context.Background(), rc); err != nil {
					r.Release()
					continue
				}
				r.Commit()
				say("ack", c, rc.BilledBytes)
			}
		})
	}
	wg.Wait()
	return nil
}

// outcome is what a killed child said of one key.
type outcome struct{ acked, inDoubt int64 }

func TestKilledProcessLosesNoAcknowledgedByte(t *testing.T) {
	path := filepath.Join(t.TempDir(), "state.db")
	db := openDB(t, path)
	addTenant(t, db, "p", "")
	addTenant(t, db, "a", "ID-p")
	db.Close()
	before := map[string]int64{}
	full := false
	for round := 0; round < 40 && !full; round++ {
		said, ended := killChild(t, 100+round*40, childEnv+"="+path)
		db := openDB(t, path)
		l := NewLedger(db, LedgerOptions{Now: func() time.Time { return noon }})
		m := openMeter(t, db, noon)
		sum := int64(0)
		for w := range childWorkers {
			key := childCharge(w).Key
			got := all(t, l, Filter{})["ID-a/logs/"+key]
			sum += got
			new, s := got-before[key], said[key]
			if new != s.acked && new != s.acked+s.inDoubt {
				t.Errorf("round %d: %s: ledger grew by %d, acknowledged %d, in doubt %d", round, key, new, s.acked, s.inDoubt)
			}
			before[key] = got
			wantUsed(t, m, true, key, noon, got)
		}
		wantUsed(t, m, false, "ID-a", noon, sum)
		wantUsed(t, m, false, "ID-p", noon, sum)
		if sum > childLimit {
			t.Fatalf("round %d: %d bytes billed under a limit of %d", round, sum, childLimit)
		}
		full = ended
		db.Close()
	}
	if !full {
		t.Error("the limit was never reached")
	}
}

// killChild starts a child with env, kills it -9 after so many lines, and returns what it said and whether it ended by
// itself first.
func killChild(t *testing.T, lines int, env ...string) (map[string]outcome, bool) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, os.Args[0])
	cmd.Env = append(os.Environ(), env...)
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	said := map[string]outcome{}
	killed := false
	scan := bufio.NewScanner(out)
	for n := 1; scan.Scan(); n++ {
		if n == lines {
			killed = true
			if err := cmd.Process.Kill(); err != nil {
				t.Error(err)
			}
		}
		f := strings.Fields(scan.Text())
		if len(f) != 3 {
			continue // cut off by the kill
		}
		bytes, err := strconv.ParseInt(f[2], 10, 64)
		if err != nil {
			t.Fatal(err)
		}
		s := said[f[1]]
		if f[0] == "ack" {
			s = outcome{acked: s.acked + bytes}
		} else {
			s.inDoubt = bytes
		}
		said[f[1]] = s
	}
	if err := cmd.Wait(); err != nil && !killed {
		t.Fatalf("child: %v", err)
	}
	return said, !killed
}
