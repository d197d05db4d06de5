package metering

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/headgate-io/headgate/internal/store"
	"github.com/headgate-io/headgate/internal/store/storetest"
	"github.com/headgate-io/headgate/internal/timetest"
)

// seal does by hand what Run does every second.
func seal(t *testing.T, l *Ledger) {
	t.Helper()
	if err := l.seal(deadline(t)); err != nil {
		t.Fatal(err)
	}
}

func sealedNow(t *testing.T, l *Ledger) time.Time {
	t.Helper()
	u, err := l.UnsafeUsageOfAll(t.Context(), Filter{Limit: 1})
	if err != nil {
		t.Fatal(err)
	}
	return u.SealedThrough
}

func wantSealed(t *testing.T, l *Ledger, want time.Time) {
	t.Helper()
	if got := sealedNow(t, l); !got.Equal(want) || got.Location() != time.UTC {
		t.Errorf("sealed through %v, want %v", got, want)
	}
}

// byHour returns the billed bytes of each hour.
func byHour(t *testing.T, l *Ledger) map[time.Time]int64 {
	t.Helper()
	u, err := l.UnsafeUsageOfAll(t.Context(), Filter{By: ByHour, Limit: maxRows})
	if err != nil {
		t.Fatal(err)
	}
	out := map[time.Time]int64{}
	for _, r := range u.Rows {
		if r.BilledBytes > 0 {
			out[r.Start] += r.BilledBytes
		}
	}
	return out
}

func TestHoursAreSealedFiveMinutesAfterTheirEnd(t *testing.T) {
	storetest.Each(t, testHoursAreSealedFiveMinutesAfterTheirEnd)
}

func testHoursAreSealedFiveMinutesAfterTheirEnd(t *testing.T) {
	c := timetest.NewClock(noon.Add(sealGrace - 1))
	l := NewLedger(tempDB(t), LedgerOptions{Now: c.Now})
	wantSealed(t, l, time.Unix(0, 0))
	for at, want := range map[time.Time]time.Time{
		noon.Add(sealGrace - 1):                               noon.Add(-time.Hour),
		noon.Add(sealGrace):                                   noon,
		noon.Add(time.Hour).In(time.FixedZone("", 5400)):      noon,
		noon.Add(10 * time.Hour).In(time.FixedZone("", -900)): noon.Add(9 * time.Hour),
	} {
		c.Set(at)
		l := NewLedger(tempDB(t), LedgerOptions{Now: c.Now})
		seal(t, l)
		wantSealed(t, l, want)
	}
}

func TestRunSealsAsTimePasses(t *testing.T) { storetest.Each(t, testRunSealsAsTimePasses) }

func testRunSealsAsTimePasses(t *testing.T) {
	c := timetest.NewClock(noon)
	l := startLedger(t, tempDB(t), c.Now)
	for _, want := range []time.Time{noon.Add(-time.Hour), noon, noon.Add(time.Hour)} {
		c.Set(want.Add(time.Hour + 2*time.Minute))
		timetest.Eventually(t, "the hour is sealed", func() bool { return sealedNow(t, l).Equal(want) })
		c.Set(want.Add(time.Hour + sealGrace))
	}
}

// ClickHouse is away for a day: receipts that were acknowledged wait, and with them all seals from the first one's hour on.
func TestReceiptsInTheLogKeepTheirHourOpen(t *testing.T) {
	storetest.Each(t, testReceiptsInTheLogKeepTheirHourOpen)
}

func testReceiptsInTheLogKeepTheirHourOpen(t *testing.T) {
	c := timetest.NewClock(noon)
	var waiting backlog
	l := NewLedger(tempDB(t), LedgerOptions{Now: c.Now, Pending: waiting.Oldest})
	early, late := logs("a", "k", 1, noon.Add(59*time.Minute)), logs("a", "k", 2, noon.Add(3*time.Hour))
	waiting.Add(early, late)
	c.Set(noon.Add(25 * time.Hour))
	seal(t, l)
	wantSealed(t, l, noon)
	apply(t, l, testLog, 1, true, early)
	waiting.Remove(early)
	seal(t, l)
	wantSealed(t, l, noon.Add(3*time.Hour))
	apply(t, l, testLog, 2, true, late)
	waiting.Remove(late)
	seal(t, l)
	wantSealed(t, l, noon.Add(24*time.Hour))
	if got := byHour(t, l); len(got) != 2 || got[noon] != 1 || got[noon.Add(3*time.Hour)] != 2 {
		t.Errorf("billed %v", got)
	}
	if got := testutil.ToFloat64(l.m.lateReceipts); got != 0 {
		t.Errorf("%v late receipts, want none", got)
	}
}

// A request of the hour's last moment, known after anything up to the grace, and the ledger asking at any time, pausing
// before and after Pending has looked: at no moment may the request's hour be sealed.
func TestNoMomentSealsTheHourOfARequestOnItsWay(t *testing.T) {
	storetest.Each(t, testNoMomentSealsTheHourOfARequestOnItsWay)
}

func testNoMomentSealsTheHourOfARequestOnItsWay(t *testing.T) {
	received := noon.Add(-1)
	db := tempDB(t)
	pauses := []time.Duration{0, time.Minute, 4 * time.Minute, 10 * time.Minute}
	sealed := 0
	for known := received; !known.After(received.Add(sealGrace)); known = known.Add(30 * time.Second) {
		moments := []time.Time{known.Add(-1), known}
		for at := received; at.Before(noon.Add(8 * time.Minute)); at = at.Add(10 * time.Second) {
			moments = append(moments, at)
		}
		for _, asked := range moments {
			for i := range len(pauses) * len(pauses) {
				before, after := pauses[i%len(pauses)], pauses[i/len(pauses)]
				c := timetest.NewClock(asked)
				l := NewLedger(db, LedgerOptions{Now: c.Now, Pending: func() (time.Time, bool) {
					c.Set(c.Now().Add(before))
					looked := c.Now()
					c.Set(looked.Add(after))
					return received, !looked.Before(known)
				}})
				if _, through := l.sealable(); through > hourOf(received) {
					t.Fatalf("known after %v, asked after %v, pauses of %v and %v: sealed through %v", known.Sub(received),
						asked.Sub(received), before, after, time.Unix(through, 0).UTC())
				} else if through == hourOf(received) {
					sealed++
				}
			}
		}
	}
	if sealed == 0 {
		t.Error("the hour before is never sealed either")
	}
}

// life is a request on its way: received, known to the backlog within the grace, applied whenever ClickHouse is there.
type life struct {
	receipt Receipt
	known   time.Time // when the backlog is told
}

// Random lives of requests, with time passing everywhere: between requests, and while the ledger asks for Pending, both
// before and after the backlog has answered. Every receipt must find its own hour open.
func TestAcknowledgedReceiptAlwaysFindsItsHourOpen(t *testing.T) {
	storetest.Each(t, testAcknowledgedReceiptAlwaysFindsItsHourOpen)
}

func testAcknowledgedReceiptAlwaysFindsItsHourOpen(t *testing.T) {
	for seed := range uint64(5) {
		rng := rand.New(rand.NewPCG(seed, 51))
		c := timetest.NewClock(noon)
		var waiting backlog
		var unknown []life
		var inLog []Receipt
		// pass lets time go on, and tells the backlog of each request when its time has come.
		pass := func(d time.Duration) {
			c.Set(c.Now().Add(d))
			keep := unknown[:0]
			for _, r := range unknown {
				if r.known.After(c.Now()) {
					keep = append(keep, r)
					continue
				}
				waiting.Add(r.receipt)
				inLog = append(inLog, r.receipt)
			}
			unknown = keep
		}
		minutes := func(n int) time.Duration { return time.Duration(rng.Int64N(int64(n) * int64(time.Minute))) }
		db := tempDB(t)
		open := func() *Ledger {
			return NewLedger(db, LedgerOptions{Now: c.Now, Pending: func() (time.Time, bool) {
				pass(minutes(10))
				oldest, ok := waiting.Oldest()
				pass(minutes(10))
				return oldest, ok
			}})
		}
		l := open()
		want := map[time.Time]int64{}
		run := uint64(0)
		for range 400 {
			switch rng.IntN(8) {
			case 0, 1:
				r := logs("a", "k", 1+rng.Int64N(100), c.Now())
				want[r.ReceivedAt.Truncate(time.Hour)] += r.BilledBytes
				unknown = append(unknown, life{r, c.Now().Add(minutes(5))})
			case 2: // to the last minutes of the hour, where it matters
				pass(max(0, c.Now().Truncate(time.Hour).Add(time.Hour).Sub(c.Now())-minutes(4)))
			case 3:
				pass(minutes(3))
			case 4, 5, 6:
				seal(t, l)
			default:
				rng.Shuffle(len(inLog), func(i, j int) { inLog[i], inLog[j] = inLog[j], inLog[i] })
				n := rng.IntN(len(inLog) + 1)
				run++
				apply(t, l, testLog, run, true, inLog[:n]...)
				waiting.Remove(inLog[:n]...)
				inLog = append([]Receipt(nil), inLog[n:]...)
				if rng.IntN(3) == 0 { // a restart: what the backlog does not know was never acknowledged, the rest is in the log
					for _, r := range unknown {
						want[r.receipt.ReceivedAt.Truncate(time.Hour)] -= r.receipt.BilledBytes
					}
					unknown, waiting = nil, backlog{}
					waiting.Add(inLog...)
					l = open()
				}
			}
			if late := testutil.ToFloat64(l.m.lateReceipts); late != 0 {
				t.Fatalf("seed %d: %v receipts were late", seed, late)
			}
		}
		pass(sealGrace)
		apply(t, l, testLog, run+1, true, inLog...)
		got := byHour(t, l)
		for h, n := range want {
			if got[h] != n {
				t.Errorf("seed %d: %d billed at %v, want %d", seed, got[h], h, n)
			}
		}
		if got := sealedNow(t, l); !got.After(noon) {
			t.Errorf("seed %d: sealed through %v only", seed, got)
		}
	}
}

func TestLateReceiptsAreBilledInTheFirstOpenHour(t *testing.T) {
	storetest.Each(t, testLateReceiptsAreBilledInTheFirstOpenHour)
}

func testLateReceiptsAreBilledInTheFirstOpenHour(t *testing.T) {
	c := timetest.NewClock(noon.Add(30 * time.Minute))
	var waiting backlog
	l := NewLedger(tempDB(t), LedgerOptions{Now: c.Now, Pending: waiting.Oldest})
	apply(t, l, testLog, 1, true, logs("a", "k", 1, noon.Add(-2*time.Hour)))
	seal(t, l)
	wantSealed(t, l, noon)
	// An operator restores a log of this morning: its receipts wait for Apply now, but their hours are sealed.
	old := []Receipt{logs("a", "k", 10, noon.Add(-2*time.Hour)), logs("a", "k", 5, noon.Add(-1)),
		logs("a", "k", 15, noon.Add(-1)), logs("b", "k", 40, noon)}
	waiting.Add(old...)
	seal(t, l)
	wantSealed(t, l, noon)
	apply(t, l, "restored", 1, true, old...)
	if got := byHour(t, l); len(got) != 2 || got[noon.Add(-2*time.Hour)] != 1 || got[noon] != 70 {
		t.Errorf("billed %v", got)
	}
	if got := testutil.ToFloat64(l.m.lateReceipts); got != 3 {
		t.Errorf("%v late receipts counted, want 3", got)
	}
	apply(t, l, "restored", 1, false, old...)
	if got := testutil.ToFloat64(l.m.lateReceipts); got != 3 {
		t.Errorf("%v late receipts counted after a second Apply, want 3", got)
	}
}

func TestSealHoldsForEveryProcess(t *testing.T) { storetest.Each(t, testSealHoldsForEveryProcess) }

func testSealHoldsForEveryProcess(t *testing.T) {
	db := tempDB(t)
	ahead, behind := timetest.NewClock(noon.Add(time.Hour)), timetest.NewClock(noon.Add(2*time.Minute))
	a, b := NewLedger(db, LedgerOptions{Now: ahead.Now}), startLedger(t, db, behind.Now)
	seal(t, a)
	wantSealed(t, b, noon)
	apply(t, b, testLog, 2, true, logs("a", "k", 2, noon))
	b.CountRefused(Refusal{Tenant: id("a"), Key: "k", Signal: Logs, At: noon.Add(-1), Bytes: 3})
	apply(t, b, testLog, 1, true, logs("a", "k", 4, noon.Add(-1)))
	timetest.Eventually(t, "refusals are written", func() bool {
		u, err := a.Usage(t.Context(), Filter{Tenants: ids("a"), By: ByHour})
		if err != nil || len(u.Rows) != 1 || u.Rows[0].BilledBytes != 6 || !u.Rows[0].Start.Equal(noon) {
			t.Fatal(u, err)
		}
		return u.Rows[0].RefusedBytes == 3
	})
}

func TestWrongClocksDoNotBrickTheLedger(t *testing.T) {
	storetest.Each(t, testWrongClocksDoNotBrickTheLedger)
}

func testWrongClocksDoNotBrickTheLedger(t *testing.T) {
	c := timetest.NewClock(noon.AddDate(10, 0, 0))
	l := NewLedger(tempDB(t), LedgerOptions{Now: c.Now})
	seal(t, l)
	wantSealed(t, l, noon.AddDate(10, 0, 0).Add(-time.Hour))
	c.Set(noon) // put right: usage must not wait ten years for its hour
	wantSealed(t, l, time.Unix(0, 0))
	apply(t, l, testLog, 1, true, logs("a", "k", 1, noon))
	seal(t, l)
	wantSealed(t, l, noon.Add(-time.Hour))
	if got := byHour(t, l); got[noon] != 1 {
		t.Errorf("billed %v", got)
	}
	// A small step back opens nothing.
	c.Set(noon.Add(-3 * time.Hour))
	seal(t, l)
	wantSealed(t, l, noon.Add(-time.Hour))
	apply(t, l, testLog, 2, true, logs("a", "k", 2, noon.Add(-3*time.Hour)))
	if got := byHour(t, l); got[noon.Add(-time.Hour)] != 2 {
		t.Errorf("billed %v", got)
	}
}

// csvThrough is what billing reads.
func csvThrough(t *testing.T, l *Ledger, to time.Time) string {
	t.Helper()
	var b bytes.Buffer
	u, err := l.UnsafeUsageOfAll(t.Context(), Filter{To: to, By: ByHour, BySignal: true, ByKey: true, Limit: maxRows})
	if err == nil {
		err = u.Write(&b, FormatCSV)
	}
	if err != nil {
		t.Fatal(err)
	}
	return b.String()
}

// Billing reads a sealed span once and for ever: whatever comes afterwards, by whatever way, with the clock going on or
// stepping back, through whichever process, the bytes it gets stay the same. Nothing is lost either.
func TestSealedUsageIsTheSameForEver(t *testing.T) {
	storetest.Each(t, testSealedUsageIsTheSameForEver)
}

func testSealedUsageIsTheSameForEver(t *testing.T) {
	c := timetest.NewClock(noon)
	place := storetest.Place(t)
	db := openDB(t, place)
	var ls []*Ledger
	for _, db := range []*store.DB{db, openDB(t, place)} {
		ls = append(ls, NewLedger(db, LedgerOptions{Now: c.Now}))
	}
	rng := rand.New(rand.NewPCG(21, 22))
	sealed := map[time.Time]string{} // seal → what was read up to it
	sum := int64(0)
	for i := range 200 {
		c.Set(c.Now().Add(time.Duration(rng.IntN(30)-8) * time.Minute))
		l := ls[rng.IntN(2)]
		at := c.Now().Add(-time.Duration(rng.IntN(200)) * time.Minute)
		r := logs([]string{"t0", "t1", "t2"}[rng.IntN(3)], "k", rng.Int64N(100), at)
		switch rng.IntN(4) {
		case 0:
			seal(t, l)
		case 1, 2:
			apply(t, l, testLog, uint64(i), true, r, r)
			sum += 2 * r.BilledBytes
		default:
			l.CountRefused(Refusal{Tenant: id("t0"), Key: "k", Signal: Logs, At: at, Bytes: 1})
			if err := l.writeCounts(deadline(t)); err != nil {
				t.Fatal(err)
			}
		}
		to := sealedNow(t, ls[rng.IntN(2)])
		if _, ok := sealed[to]; !ok {
			sealed[to] = csvThrough(t, l, to)
		}
	}
	if len(sealed) < 10 {
		t.Fatalf("%d seals only", len(sealed))
	}
	for to, want := range sealed {
		if got := csvThrough(t, ls[0], to); got != want {
			t.Errorf("sealed through %v:\n%s, was\n%s", to, got, want)
		}
	}
	for _, n := range byHour(t, ls[0]) {
		sum -= n
	}
	if sum != 0 {
		t.Errorf("%d bytes are missing", sum)
	}
}

// All at once: hours pass, requests are received and applied in any order, hours are sealed and read.
func TestRacingSealsAndRunsAgree(t *testing.T) { storetest.Each(t, testRacingSealsAndRunsAgree) }

func testRacingSealsAndRunsAgree(t *testing.T) {
	c := timetest.NewClock(noon)
	var grace sync.RWMutex // held for reading from a request's receive time until the backlog knows it; time waits for that
	var waiting backlog
	l := NewLedger(tempDB(t), LedgerOptions{Now: c.Now, Pending: waiting.Oldest})
	var run atomic.Uint64
	var billed, working, seals atomic.Int64
	var wg sync.WaitGroup
	const workers = 6
	working.Store(workers)
	for w := range workers {
		wg.Go(func() {
			defer working.Add(-1)
			rng := rand.New(rand.NewPCG(uint64(w), 91))
			for n := 0; n < 12 || seals.Load() < 2 && n < 5000; n++ { // however slowly the other side runs, it shall race
				var rs []Receipt
				for range 1 + rng.IntN(20) {
					grace.RLock()
					r := logs(fmt.Sprint("t", w), "k", rng.Int64N(1000), c.Now())
					waiting.Add(r)
					grace.RUnlock()
					rs = append(rs, r)
					billed.Add(r.BilledBytes)
				}
				apply(t, l, testLog, run.Add(1), true, rs...)
				waiting.Remove(rs...)
			}
		})
	}
	sealed := map[time.Time]string{}
	for working.Load() > 0 {
		grace.Lock()
		c.Set(c.Now().Add(13 * time.Minute))
		grace.Unlock()
		seal(t, l)
		to := sealedNow(t, l)
		if _, ok := sealed[to]; !ok {
			sealed[to] = csvThrough(t, l, to)
			seals.Add(1)
		}
	}
	wg.Wait()
	for to, want := range sealed {
		if got := csvThrough(t, l, to); got != want {
			t.Errorf("sealed through %v:\n%s, was\n%s", to, got, want)
		}
	}
	if late := testutil.ToFloat64(l.m.lateReceipts); late != 0 || len(sealed) < 2 {
		t.Errorf("%v receipts were late, %d seals", late, len(sealed))
	}
	for _, n := range byHour(t, l) {
		billed.Add(-n)
	}
	if n := billed.Load(); n != 0 {
		t.Errorf("%d bytes are missing", n)
	}
}

func TestSealWaitsForTheDatabase(t *testing.T) { storetest.Each(t, testSealWaitsForTheDatabase) }

func testSealWaitsForTheDatabase(t *testing.T) {
	db := tempDB(t)
	l := newTestLedger(db)
	mend := refuseInserts(t, db, "usage_seal", "1 = 1")
	if err := l.seal(deadline(t)); err == nil {
		t.Error("sealed into a broken table")
	}
	wantSealed(t, l, time.Unix(0, 0))
	mend()
	seal(t, l)
	wantSealed(t, l, noon.Add(-time.Hour))
}
