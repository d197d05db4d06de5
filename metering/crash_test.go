package metering

import (
	"bytes"
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"reflect"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/headgate-io/headgate/internal/store"
	"github.com/headgate-io/headgate/internal/store/storetest"
	"github.com/headgate-io/headgate/internal/tenant"
)

// steps is a context that ends when it has been asked n times: database/sql asks before every statement, so the work stops
// at each of them in turn.
type steps struct {
	context.Context
	left atomic.Int64
	end  chan struct{}
	once sync.Once
}

func newSteps(n int64) *steps {
	s := &steps{Context: context.Background(), end: make(chan struct{})}
	s.left.Store(n)
	return s
}

func (s *steps) ask() bool {
	if s.left.Add(-1) >= 0 {
		return false
	}
	s.once.Do(func() { close(s.end) })
	return true
}

func (s *steps) Done() <-chan struct{} { s.ask(); return s.end }

func (s *steps) Err() error {
	if s.ask() {
		return context.Canceled
	}
	return nil
}

func TestApplyStoppedAnywhereIsAllOrNothing(t *testing.T) {
	storetest.Each(t, testApplyStoppedAnywhereIsAllOrNothing)
}

func testApplyStoppedAnywhereIsAllOrNothing(t *testing.T) {
	l := newTestLedger(tempDB(t))
	rs := []Receipt{logs("a", "k", 1, noon), logs("b", "k", 2, noon), logs("c", "k", 4, noon)}
	stopped, want := 0, int64(0)
	for n := int64(0); ; n++ {
		run := uint64(n)
		_, failed := l.Apply(newSteps(n), testLog, run, rs)
		// A server may still commit what its client has given up: writers wait for that, readers do not.
		if err := l.db.Update(deadline(t), func(*store.Tx) error { return nil }); err != nil {
			t.Fatal(err)
		}
		before, err := l.Applied(deadline(t), testLog, []uint64{run})
		if err != nil {
			t.Fatal(err)
		}
		if before[run] {
			want += 7
		} else if failed == nil {
			t.Fatalf("step %d: Apply = nil, but the run is not in the ledger", n)
		}
		if got := sum(all(t, l, Filter{})); got != want {
			t.Fatalf("step %d: ledger holds %d, want %d", n, got, want)
		}
		if failed == nil {
			break
		}
		stopped++
		apply(t, l, testLog, run, !before[run], rs...)
		if !before[run] {
			want += 7
		}
		if got := sum(all(t, l, Filter{})); got != want {
			t.Fatalf("step %d: ledger holds %d after the second try, want %d", n, got, want)
		}
	}
	if stopped < 5 {
		t.Errorf("stopped at %d steps only", stopped)
	}
}

func sum(m map[string]int64) (n int64) {
	for _, v := range m {
		n += v
	}
	return n
}

// Runs that are applied, broken off, repeated and forgotten in any order, by ledgers that come and go: the ledger is the
// sum of the receipts of the runs that Applied names.
func TestLedgerIsTheSumOfDistinctRuns(t *testing.T) {
	storetest.Each(t, testLedgerIsTheSumOfDistinctRuns)
}

func testLedgerIsTheSumOfDistinctRuns(t *testing.T) {
	rng := rand.New(rand.NewPCG(71, 72))
	db := tempDB(t)
	l := newTestLedger(db)
	runs := make([][]Receipt, 60)
	var ids []uint64
	for i := range runs {
		ids = append(ids, uint64(i))
		for range rng.IntN(40) {
			runs[i] = append(runs[i], logs(fmt.Sprint("t", rng.IntN(4)), fmt.Sprint("k", rng.IntN(3)), rng.Int64N(1e9),
				noon.Add(time.Duration(rng.IntN(3))*time.Hour)))
		}
	}
	check := func() map[uint64]bool {
		t.Helper()
		done, err := l.Applied(deadline(t), testLog, ids)
		if err != nil {
			t.Fatal(err)
		}
		want := map[string]int64{}
		for run := range done {
			for _, r := range runs[run] {
				want[fmt.Sprintf("%s/%s/%s", r.Tenant, r.Signal, r.Key)] += r.BilledBytes
			}
		}
		if got := all(t, l, Filter{}); !reflect.DeepEqual(got, want) {
			t.Fatalf("ledger %v, want %v", got, want)
		}
		return done
	}
	before := uint64(0)
	for i := range 500 {
		run := min(rng.IntN(len(runs)), i/6) // more or less in order, as a log's
		switch rng.IntN(8) {
		case 0:
			l = newTestLedger(db)
		case 1:
			done := check()
			for done[before] {
				before++
			}
			if err := l.ForgetRuns(deadline(t), testLog, before); err != nil {
				t.Fatal(err)
			}
		case 2, 3:
			_, _ = l.Apply(newSteps(rng.Int64N(60)), testLog, uint64(run), runs[run])
		default:
			if _, err := l.Apply(deadline(t), testLog, uint64(run), runs[run]); err != nil {
				t.Fatal(err)
			}
		}
		if i%25 == 0 {
			check()
		}
	}
	for _, i := range rng.Perm(len(runs)) {
		if _, err := l.Apply(deadline(t), testLog, uint64(i), runs[i]); err != nil {
			t.Fatal(err)
		}
	}
	if done := check(); len(done) != len(runs) {
		t.Errorf("%d of %d runs are applied", len(done), len(runs))
	}
}

// fileLog stands for the log: receipts, which of them are a run, which runs are done; each line is synced. A last line
// that is torn never was.
type fileLog struct {
	mu      sync.Mutex // guards what follows
	f       *os.File
	entries []Receipt
	runs    [][2]int // entries of each run, from and behind
	done    map[int]bool
}

func openFileLog(path string) (*fileLog, error) {
	b, err := os.ReadFile(path)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, err
	}
	whole := bytes.LastIndexByte(b, '\n') + 1
	g := &fileLog{done: map[int]bool{}}
	for line := range bytes.Lines(b[:whole]) {
		if err := g.replay(string(line)); err != nil {
			return nil, fmt.Errorf("%q: %w", line, err)
		}
	}
	if g.f, err = os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o600); err != nil {
		return nil, err
	}
	_, err = g.f.Seek(int64(whole), io.SeekStart)
	return g, errors.Join(g.f.Truncate(int64(whole)), err)
}

func (g *fileLog) replay(line string) error {
	var from, behind int
	var text string
	if _, err := fmt.Sscanf(line, "entry %s\n", &text); err == nil {
		b, err := hex.DecodeString(text)
		if err != nil {
			return err
		}
		r, rest, err := ReadReceipt(b)
		if err != nil || len(rest) > 0 {
			return fmt.Errorf("%d bytes behind, %w", len(rest), err)
		}
		g.entries = append(g.entries, r)
		return nil
	}
	if _, err := fmt.Sscanf(line, "run %d %d\n", &from, &behind); err == nil {
		g.runs = append(g.runs, [2]int{from, behind})
		return nil
	}
	_, err := fmt.Sscanf(line, "done %d\n", &from)
	g.done[from] = true
	return err
}

func (g *fileLog) write(line string) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	if _, err := g.f.WriteString(line); err != nil {
		return err
	}
	if err := g.f.Sync(); err != nil {
		return err
	}
	return g.replay(line)
}

func (g *fileLog) append(r Receipt) error {
	b, err := r.AppendBinary(nil)
	if err != nil {
		return err
	}
	return g.write(fmt.Sprintf("entry %x\n", b))
}

// unapplied returns what a start must tell the meter: the receipts that are not in the ledger.
func (g *fileLog) unapplied(ctx context.Context, l *Ledger) ([]Receipt, error) {
	var ids []uint64
	for i := range g.runs {
		ids = append(ids, uint64(i))
	}
	applied, err := l.Applied(ctx, testLog, ids)
	if err != nil {
		return nil, err
	}
	var out []Receipt
	from := 0
	for i, run := range g.runs {
		if !applied[uint64(i)] {
			out = append(out, g.entries[run[0]:run[1]]...)
		}
		from = run[1]
	}
	return append(out, g.entries[from:]...), nil
}

// undone returns what the backlog must know at a start: all receipts that are not of a run that is done.
func (g *fileLog) undone() (out []Receipt) {
	from := 0
	for i, run := range g.runs {
		if !g.done[i] {
			out = append(out, g.entries[run[0]:run[1]]...)
		}
		from = run[1]
	}
	return append(out, g.entries[from:]...)
}

// flush resolves what is recorded and not done, then makes a run of the rest. A run is done once it is in the ledger.
func (g *fileLog) flush(ctx context.Context, l *Ledger, waiting *backlog) error {
	g.mu.Lock()
	from := 0
	if n := len(g.runs); n > 0 {
		from = g.runs[n-1][1]
	}
	behind, runs := len(g.entries), len(g.runs)
	g.mu.Unlock()
	if behind > from {
		if err := g.write(fmt.Sprintf("run %d %d\n", from, behind)); err != nil {
			return err
		}
		runs++
	}
	for i := range runs {
		if g.done[i] {
			continue
		}
		g.mu.Lock()
		rs := g.entries[g.runs[i][0]:g.runs[i][1]]
		g.mu.Unlock()
		if _, err := l.Apply(ctx, testLog, uint64(i), rs); err != nil {
			return err
		}
		waiting.Remove(rs...)
		if err := g.write(fmt.Sprintf("done %d\n", i)); err != nil {
			return err
		}
	}
	return l.ForgetRuns(ctx, testLog, uint64(max(runs-3, 0)))
}

const (
	applyChildEnv   = "HEADGATE_METERING_TEST_APPLY_CHILD"
	applyChildRound = "HEADGATE_METERING_TEST_ROUND"
	applyChildStore = "HEADGATE_METERING_TEST_STORE"
)

func roundClock(round int) time.Time { return noon.Add(time.Duration(round) * 17 * time.Minute) }

// applyChild lives as a process does: it starts on what the last one left, admits, appends and acknowledges, and flushes
// behind, until it is killed or the limit is reached. It says what child says.
func applyChild(dir string, round int, out io.Writer) error {
	ctx := context.Background()
	at := roundClock(round)
	now := func() time.Time { return at }
	db, err := store.Open(os.Getenv(applyChildStore))
	if err != nil {
		return err
	}
	m, err := OpenMeter(ctx, db, at, nil)
	if err != nil {
		return err
	}
	g, err := openFileLog(filepath.Join(dir, "log"))
	if err != nil {
		return err
	}
	var waiting backlog
	l := NewLedger(db, LedgerOptions{Now: now, Pending: waiting.Oldest})
	left, err := g.unapplied(ctx, l)
	if err != nil {
		return err
	}
	waiting.Add(g.undone()...)
	if err := m.Restore(left...); err != nil {
		return err
	}
	go l.Run(ctx)
	var flusher sync.WaitGroup
	stop := make(chan struct{})
	flusher.Go(func() {
		for {
			if err := g.flush(ctx, l, &waiting); err != nil {
				panic(err)
			}
			select {
			case <-stop:
				return
			default:
			}
		}
	})
	var mu sync.Mutex
	say := func(what string, r Receipt) {
		mu.Lock()
		defer mu.Unlock()
		fmt.Fprintln(out, what, r.Key, r.BilledBytes)
	}
	var wg sync.WaitGroup
	for w := range childWorkers {
		wg.Go(func() {
			for i := 0; ; i++ {
				hold, err := m.Admit(childCharge(w), int64(50+(i*7+w)%100), at)
				if err != nil {
					return
				}
				r, err := hold.Settle(Outcome{Signal: Logs, Bytes: hold.bytes - int64(i%5), Records: 1})
				if err != nil {
					panic(err)
				}
				waiting.Add(r)
				say("try", r)
				if err := g.append(r); err != nil {
					panic(err)
				}
				hold.Commit()
				say("ack", r)
			}
		})
	}
	wg.Wait()
	close(stop)
	flusher.Wait()
	return nil
}

func TestKilledProcessBillsEachAcknowledgedByteOnce(t *testing.T) {
	storetest.Each(t, testKilledProcessBillsEachAcknowledgedByteOnce)
}

func testKilledProcessBillsEachAcknowledgedByteOnce(t *testing.T) {
	dir := t.TempDir()
	path := storetest.Place(t)
	db := openDB(t, path)
	addTenant(t, db, "p", "")
	addTenant(t, db, "a", "ID-p")
	db.Close()
	before := map[string]int64{} // what the log had of each key
	full, undone, cut := false, 0, 0
	for round := 0; round < 30 && !full; round++ {
		said, ended := killChild(t, 40+round*7%60, applyChildEnv+"="+dir, applyChildStore+"="+path, fmt.Sprint(applyChildRound, "=", round))
		full = ended
		db := openDB(t, path)
		g, err := openFileLog(filepath.Join(dir, "log"))
		if err != nil {
			t.Fatal(err)
		}
		l := NewLedger(db, LedgerOptions{Now: func() time.Time { return roundClock(round) }})
		m := openMeter(t, db, roundClock(round))
		left, err := g.unapplied(t.Context(), l)
		if err != nil {
			t.Fatal(err)
		}
		if err := m.Restore(left...); err != nil {
			t.Fatal(err)
		}
		inLog := map[string]int64{}
		for _, r := range g.entries {
			inLog[r.Key] += r.BilledBytes
		}
		for key, n := range inLog {
			if s, new := said[key], n-before[key]; new != s.acked && new != s.acked+s.inDoubt {
				t.Errorf("round %d: the log of %s grew by %d, acknowledged %d, in doubt %d", round, key, new, s.acked, s.inDoubt)
			}
			wantUsed(t, m, true, key, noon, n)
		}
		wantUsed(t, m, false, "ID-a", noon, sum(inLog))
		wantUsed(t, m, false, "ID-p", noon, sum(inLog))
		if n := sum(inLog); n > childLimit {
			t.Fatalf("round %d: %d bytes under a limit of %d", round, n, childLimit)
		}
		if got := sum(all(t, l, Filter{})); got+sumOf(left) != sum(inLog) {
			t.Errorf("round %d: %d in the ledger and %d waiting, want %d together", round, got, sumOf(left), sum(inLog))
		}
		before = inLog
		if len(g.runs) > len(g.done) {
			undone++
			if len(left) == 0 || sumOf(left) < sumOf(g.entries[g.runs[len(g.runs)-1][0]:]) {
				cut++ // between Apply and done
			}
		}
		db.Close()
		g.f.Close()
	}
	t.Logf("killed with a run not done %d times, %d of them after its Apply", undone, cut)
	if undone == 0 {
		t.Error("no run was ever caught on its way")
	}
	db = openDB(t, path)
	g, err := openFileLog(filepath.Join(dir, "log"))
	if err != nil {
		t.Fatal(err)
	}
	defer g.f.Close()
	l := newTestLedger(db)
	var waiting backlog
	waiting.Add(g.undone()...)
	if err := g.flush(t.Context(), l, &waiting); err != nil {
		t.Fatal(err)
	}
	if oldest, ok := waiting.Oldest(); ok {
		t.Errorf("receipts of %v are still waited for", oldest)
	}
	want, hours := map[string]int64{}, map[time.Time]int64{}
	for _, r := range g.entries {
		want["ID-a/logs/"+r.Key] += r.BilledBytes
		hours[r.ReceivedAt.Truncate(time.Hour)] += r.BilledBytes
	}
	for range 2 {
		if got := all(t, l, Filter{}); !reflect.DeepEqual(got, want) {
			t.Errorf("ledger %v, want %v", got, want)
		}
		if got := byHour(t, l); !reflect.DeepEqual(got, hours) {
			t.Errorf("ledger %v, want each receipt in its own hour %v", got, hours)
		}
		for i, run := range g.runs { // resolved once more, those that are forgotten too
			apply(t, l, testLog, uint64(i), false, g.entries[run[0]:run[1]]...)
		}
	}
}

func sumOf(rs []Receipt) (n int64) {
	for _, r := range rs {
		n += r.BilledBytes
	}
	return n
}

// One receipt, and a death between any two steps on its way into the ledger, by hand.
func TestDeathAnywhereLeavesTheDaysUse(t *testing.T) {
	storetest.Each(t, testDeathAnywhereLeavesTheDaysUse)
}

func testDeathAnywhereLeavesTheDaysUse(t *testing.T) {
	dir := t.TempDir()
	db := tempDB(t)
	addTenant(t, db, "p", "")
	addTenant(t, db, "a", "ID-p")
	l := newTestLedger(db)
	apply(t, l, "earlier", 1, true, logs("ID-a", "k", 1000, noon))
	g, err := openFileLog(filepath.Join(dir, "log"))
	if err != nil {
		t.Fatal(err)
	}
	rs := []Receipt{logs("ID-a", "k", 10, noon), logs("ID-a", "k2", 20, noon)}
	for i, step := range []func() error{
		func() error { return g.append(rs[0]) },
		func() error { return g.append(rs[1]) },
		func() error { return g.write("run 0 2\n") },
		func() error {
			if _, err := l.Apply(newSteps(12), testLog, 0, rs); err == nil {
				t.Error("this Apply was to break off")
			}
			return nil
		},
		func() error { _, err := l.Apply(deadline(t), testLog, 0, rs); return err },
		func() error { return g.write("done 0\n") },
		func() error { return l.ForgetRuns(deadline(t), testLog, 1) },
	} {
		if err := step(); err != nil {
			t.Fatal(err)
		}
		m := openMeter(t, db, noon)
		left, err := g.unapplied(t.Context(), l)
		if err != nil {
			t.Fatal(err)
		}
		if err := m.Restore(left...); err != nil {
			t.Fatal(err)
		}
		k2 := int64(20)
		if i == 0 {
			k2 = 0
		}
		wantUsed(t, m, true, "k", noon, 1010)
		wantUsed(t, m, true, "k2", noon, k2)
		wantUsed(t, m, false, "ID-a", noon, 1010+k2)
		wantUsed(t, m, false, "ID-p", noon, 1010+k2)
	}
}

// A meter that is told of receipts by Restore is the same as one that finds them in the ledger.
func TestRestoreCountsLikeTheLedger(t *testing.T) { storetest.Each(t, testRestoreCountsLikeTheLedger) }

func testRestoreCountsLikeTheLedger(t *testing.T) {
	rng := rand.New(rand.NewPCG(81, 82))
	for range 8 {
		db := tempDB(t)
		addTenant(t, db, "root", "")
		addTenant(t, db, "p", "ID-root")
		addTenant(t, db, "a", "ID-p")
		execute(t, db, `UPDATE tenants SET status = 'deleting', deleted_at = 1 WHERE id = 'ID-a'`)
		l := newTestLedger(db)
		var applied, waiting []Receipt
		for range 60 {
			r := logs([]string{"ID-root", "ID-p", "ID-a", "ID-unknown"}[rng.IntN(4)], fmt.Sprint("k", rng.IntN(3)), rng.Int64N(1000),
				noon.Add(-time.Duration(rng.IntN(72))*time.Hour))
			if r.UnbilledBytes = rng.Int64N(100); rng.IntN(2) == 0 {
				applied = append(applied, r)
			} else {
				waiting = append(waiting, r)
			}
		}
		apply(t, l, testLog, 1, true, applied...)
		m := openMeter(t, db, noon)
		for _, r := range waiting {
			if err := m.Restore(r); err != nil {
				t.Fatal(err)
			}
		}
		apply(t, l, testLog, 2, true, waiting...)
		want := openMeter(t, db, noon)
		if !reflect.DeepEqual(uses(m), uses(want)) || m.floor != want.floor {
			t.Fatalf("restored %v, want %v", uses(m), uses(want))
		}
	}
}

func TestRestoreIsRefusedOnceRequestsAreAdmitted(t *testing.T) {
	storetest.Each(t, testRestoreIsRefusedOnceRequestsAreAdmitted)
}

func testRestoreIsRefusedOnceRequestsAreAdmitted(t *testing.T) {
	m := openMeter(t, tempDB(t), noon)
	if err := m.Restore(logs("a", "k", 10, noon)); err != nil {
		t.Fatal(err)
	}
	refusal(t, m, charge("a", "k", tenant.Refuse, tenant.Unlimited, 10), 1, noon)
	if err := m.Restore(logs("a", "k", 10, noon)); err == nil {
		t.Error("restored behind an admission")
	}
	wantUsed(t, m, false, "a", noon, 10)
}
