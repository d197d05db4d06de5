package metering

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"reflect"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/headgate-io/headgate/internal/store/storetest"
	"github.com/headgate-io/headgate/internal/tenant"
)

func testMeter() *Meter { return newMeter(dayOf(noon), nil) }

func TestRefusalSaysWhichLimitHowMuchAndWhen(t *testing.T) {
	m := testMeter()
	c := charge("a", "k", tenant.Refuse, tenant.Unlimited, 100)
	spend(t, m, c, 90, noon)
	e := refusal(t, m, c, 11, noon)
	want := &LimitError{LimitID: LimitTenant, Kind: tenant.DailyBytes, Owner: tenant.OwnerTenant, Limit: 100, Used: 90,
		Reset: time.Date(2025, 3, 2, 0, 0, 0, 0, time.UTC), Policy: tenant.Refuse, owner: limitState{"a", dayOf(noon), 100, 90}}
	if !reflect.DeepEqual(e, want) {
		t.Errorf("refusal %+v, want %+v", e, want)
	}
	if got := e.Error(); got != "daily byte limit reached: used 90 of 100, resets 2025-03-02T00:00:00Z (limit-daily-bytes)" {
		t.Errorf("text %q", got)
	}
	if got := e.RetryAfter(noon.Add(500 * time.Millisecond)); got != 12*time.Hour {
		t.Errorf("RetryAfter = %v, want 12h", got)
	}
	if got := e.RetryAfter(e.Reset.Add(time.Minute)); got != time.Second {
		t.Errorf("RetryAfter behind the reset = %v, want 1s", got)
	}
	c = charge("a", "k", tenant.Refuse, 5, 1000)
	if e := refusal(t, m, c, 1, noon); e.LimitID != LimitKey || !strings.HasSuffix(e.Error(), "(limit-daily-bytes-key)") {
		t.Errorf("refusal by the key: %v", e)
	}
}

func TestParentsNumbersAreNotShown(t *testing.T) {
	m := testMeter()
	parent := limit(tenant.OwnerParent, "p", 7777, tenant.Refuse)
	spend(t, m, charge("sibling", "ks", tenant.Refuse, tenant.Unlimited, tenant.Unlimited, parent), 7000, noon)
	c := charge("a", "k", tenant.Refuse, tenant.Unlimited, 99999, parent)
	for _, err := range []error{refusal(t, m, c, 778, noon)} {
		var e *LimitError
		if !errors.As(err, &e) || e.LimitID != LimitParent || e.Limit != 0 || e.Used != 0 {
			t.Errorf("refusal %+v", e)
		}
		for _, secret := range []string{"7777", "7000", "sibling", " p "} {
			if strings.Contains(err.Error(), secret) {
				t.Errorf("%q shows %q", err, secret)
			}
		}
	}
	states, err := m.Limits(c, noon)
	if err != nil || len(states) != 1 || states[0].ID != LimitTenant {
		t.Errorf("Limits = %+v, %v, want the tenant's own only", states, err)
	}
}

func TestChainIsDebitedWholeOrNotAtAll(t *testing.T) {
	m := testMeter()
	parents := []tenant.Limit{limit(tenant.OwnerParent, "p", 100, tenant.Refuse), limit(tenant.OwnerParent, "root", 60, tenant.Refuse)}
	a := charge("a", "ka", tenant.Refuse, 50, tenant.Unlimited, parents...)
	b := charge("b", "kb", tenant.Refuse, tenant.Unlimited, tenant.Unlimited, parents...)
	spend(t, m, a, 40, noon)
	if e := refusal(t, m, b, 21, noon); e.LimitID != LimitParent {
		t.Errorf("refused by %s", e.LimitID)
	}
	wantUsed(t, m, true, "kb", noon, 0)
	wantUsed(t, m, false, "b", noon, 0)
	wantUsed(t, m, false, "p", noon, 40)
	spend(t, m, b, 20, noon)
	for owner, want := range map[string]int64{"a": 40, "b": 20, "p": 60, "root": 60} {
		wantUsed(t, m, false, owner, noon, want)
	}
	wantUsed(t, m, true, "ka", noon, 40)
	// The parent's own requests count on the counter that its children's do.
	refusal(t, m, charge("p", "kp", tenant.Refuse, tenant.Unlimited, 100, parents[1]), 1, noon)
}

func TestKeyAndTenantOfTheSameIDAreTwoOwners(t *testing.T) {
	m := testMeter()
	c := charge("same", "same", tenant.Refuse, 10, 15)
	spend(t, m, c, 10, noon)
	wantUsed(t, m, true, "same", noon, 10)
	wantUsed(t, m, false, "same", noon, 10)
}

func TestReleaseGivesBackOnceAndCommitKeeps(t *testing.T) {
	m := testMeter()
	c := charge("a", "k", tenant.Refuse, tenant.Unlimited, 100)
	r, err := m.Admit(c, 70, noon)
	if err != nil {
		t.Fatal(err)
	}
	refusal(t, m, c, 31, noon)
	r.Release()
	r.Release()
	r.Commit()
	wantUsed(t, m, false, "a", noon, 0)

	r = spend(t, m, c, 70, noon)
	r.Commit()
	r.Release()
	wantUsed(t, m, false, "a", noon, 70)
	if _, err := r.Settle(Outcome{Signal: Logs}); err == nil {
		t.Error("settled after the end")
	}
}

func TestSettleBillsWhatWasAcceptedAndGivesBackTheRest(t *testing.T) {
	m := testMeter()
	c := charge("a", "k", tenant.Refuse, tenant.Unlimited, 100)
	r, err := m.Admit(c, 100, noon)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Release()
	if _, err := r.Settle(Outcome{Signal: Logs, Bytes: 101}); err == nil {
		t.Error("billed more than was admitted")
	}
	got, err := r.Settle(Outcome{Signal: Logs, Bytes: 60, Records: 6, Rejected: 4})
	want := Receipt{Tenant: id("a"), Key: "k", Signal: Logs, ReceivedAt: noon, BilledBytes: 60, Records: 6, Rejected: 4,
		Debits: []Debit{{Key: true, ID: "k", Day: dayOf(noon), Limit: tenant.Unlimited}, {ID: "a", Day: dayOf(noon), Limit: 100}}}
	if err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("Settle = %+v, %v, want %+v", got, err, want)
	}
	if _, err := r.Settle(Outcome{Signal: Logs}); err == nil {
		t.Error("settled twice")
	}
	wantUsed(t, m, false, "a", noon, 60)
	spend(t, m, c, 40, noon)
	r.Release() // the receipt could not be made durable
	wantUsed(t, m, false, "a", noon, 40)
}

func TestBillMarksThePartBeyondTheLimit(t *testing.T) {
	storetest.Each(t, testBillMarksThePartBeyondTheLimit)
}

func testBillMarksThePartBeyondTheLimit(t *testing.T) {
	m := testMeter()
	c := charge("a", "k", tenant.Bill, tenant.Unlimited, 100)
	first, err := m.Admit(c, 80, noon)
	if err != nil {
		t.Fatal(err)
	}
	second, err := m.Admit(c, 80, noon)
	if err != nil {
		t.Fatal(err)
	}
	// The first gives 40 back, so of 120 billed bytes 20 are beyond, though 160 were held when the second came.
	l := newTestLedger(tempDB(t))
	for run, s := range []struct {
		r *Reservation
		n int64
	}{{first, 40}, {second, 80}} {
		rc, err := s.r.Settle(Outcome{Signal: Logs, Bytes: s.n})
		if err != nil {
			t.Fatal(err)
		}
		s.r.Commit()
		apply(t, l, testLog, uint64(run+1), true, rc)
	}
	wantOverage(t, l, 20)
	if err := m.Exhausted(c, noon); err != nil {
		t.Errorf("Exhausted = %v, but more is billed", err)
	}
}

func TestReleasedReceiptLeavesNoOverageBehind(t *testing.T) {
	storetest.Each(t, testReleasedReceiptLeavesNoOverageBehind)
}

func testReleasedReceiptLeavesNoOverageBehind(t *testing.T) {
	m := testMeter()
	c := charge("a", "k", tenant.Bill, tenant.Unlimited, 100)
	l := newTestLedger(tempDB(t))
	for _, commit := range []bool{false, true} {
		r, err := m.Admit(c, 100, noon)
		if err != nil {
			t.Fatal(err)
		}
		rc, err := r.Settle(Outcome{Signal: Logs, Bytes: 100})
		if err != nil {
			t.Fatal(err)
		}
		if commit {
			r.Commit()
			apply(t, l, testLog, 1, true, rc)
		}
		r.Release()
	}
	wantOverage(t, l, 0)
}

func TestChildThatIsBilledStopsAtItsParentsLimit(t *testing.T) {
	m := testMeter()
	c := charge("a", "k", tenant.Bill, tenant.Unlimited, 10, limit(tenant.OwnerParent, "p", 30, tenant.Refuse))
	spend(t, m, c, 30, noon)
	if e := refusal(t, m, c, 1, noon); e.LimitID != LimitParent || e.Policy != tenant.Refuse {
		t.Errorf("refusal %+v, want the parent's", e)
	}
}

func TestHeartbeatPassesUnbilledOncePerInterval(t *testing.T) {
	m := testMeter()
	c := charge("a", "k", tenant.Sample, tenant.Unlimited, 100)
	spend(t, m, c, 100, noon)
	beats := 0
	for s := range 601 { // ten minutes and a second, a request each second
		at := noon.Add(time.Duration(s) * time.Second)
		unread := m.Exhausted(c, at)
		r, err := m.Admit(c, 50, at)
		if (unread == nil) != (err == nil) {
			t.Fatalf("at %d s Exhausted = %v, Admit = %v", s, unread, err)
		}
		if err != nil {
			continue
		}
		beats++
		rc, err := r.Settle(Outcome{Signal: Traces, Bytes: 50, Records: 1})
		if err != nil || !r.Heartbeat() || rc.BilledBytes != 0 || rc.OverageBytes != 0 || rc.UnbilledBytes != 50 {
			t.Errorf("heartbeat receipt %+v, %v", rc, err)
		}
		r.Commit()
	}
	if beats != 6 {
		t.Errorf("%d heartbeats in ten minutes, want 6", beats)
	}
	wantUsed(t, m, false, "a", noon, 100)
	other := charge("b", "kb", tenant.Sample, tenant.Unlimited, 1)
	if r, err := m.Admit(other, 50, noon.Add(10*time.Minute)); err != nil || !r.Heartbeat() {
		t.Errorf("one tenant's heartbeat took another's: %v", err)
	}
}

func TestReleasedHeartbeatMayBeTriedAgain(t *testing.T) {
	m := testMeter()
	c := charge("a", "k", tenant.Sample, tenant.Unlimited, 1)
	r, err := m.Admit(c, 50, noon)
	if err != nil || !r.Heartbeat() {
		t.Fatal(r, err)
	}
	refusal(t, m, c, 50, noon)
	r.Release()
	if r, err = m.Admit(c, 50, noon); err != nil || !r.Heartbeat() {
		t.Fatal(r, err)
	}
}

func TestChangedLimitHoldsAtOnceAndKnowsTheMorning(t *testing.T) {
	m := testMeter()
	spend(t, m, charge("a", "k", tenant.Refuse, tenant.Unlimited, tenant.Unlimited), 500, noon)
	if e := refusal(t, m, charge("a", "k", tenant.Refuse, tenant.Unlimited, 600), 101, noon); e.Used != 500 {
		t.Errorf("used %d, want 500", e.Used)
	}
	refusal(t, m, charge("a", "k", tenant.Refuse, tenant.Unlimited, 400), 1, noon)
	spend(t, m, charge("a", "k", tenant.Refuse, tenant.Unlimited, 601), 101, noon)
	spend(t, m, charge("a", "k", tenant.Refuse, tenant.Unlimited, tenant.Unlimited), 1000, noon)
}

func TestDayEndsAtMidnightUTCByTheReceiveTime(t *testing.T) {
	m := testMeter()
	c := charge("a", "k", tenant.Refuse, tenant.Unlimited, 100)
	last := time.Date(2025, 3, 1, 23, 59, 59, 999999999, time.UTC)
	first := last.Add(1)
	spend(t, m, c, 100, last)
	refusal(t, m, c, 1, last)
	spend(t, m, c, 100, first.In(time.FixedZone("", -5*3600)))
	refusal(t, m, c, 1, first)
	// Came in before midnight, gets here after: it counts on its own day.
	if e := refusal(t, m, c, 1, last); !e.Reset.Equal(first) {
		t.Errorf("reset %v, want %v", e.Reset, first)
	}
}

func TestForgottenDayIsRefusedNotCountedAnew(t *testing.T) {
	m := testMeter()
	c := charge("a", "k", tenant.Refuse, tenant.Unlimited, 100)
	spend(t, m, c, 100, noon)
	for d := range keptDays {
		spend(t, m, c, 100, noon.AddDate(0, 0, d+1))
	}
	if _, err := m.Admit(c, 1, noon); !errors.Is(err, ErrDayClosed) {
		t.Errorf("Admit on a forgotten day = %v, want ErrDayClosed", err)
	}
	// A clock that leaps ahead and is put right again finds today as it was.
	spend(t, m, c, 1, noon.AddDate(70, 0, 0))
	refusal(t, m, c, 1, noon.AddDate(0, 0, keptDays))
}

func TestLimitsListsWhatIsSet(t *testing.T) {
	m := testMeter()
	spend(t, m, charge("a", "k", tenant.Refuse, tenant.Unlimited, tenant.Unlimited), 30, noon)
	reset := time.Date(2025, 3, 2, 0, 0, 0, 0, time.UTC)
	end := noon.Add(700 * time.Second)
	got, err := m.Limits(charge("a", "k", tenant.Bill, 100, 20), noon)
	want := []LimitState{
		{ID: LimitKey, Limit: 100, Used: 30, Remaining: 70, Reset: reset, PerSecond: .1, ExhaustedAt: &end},
		{ID: LimitTenant, Limit: 20, Used: 30, Remaining: 0, Reset: reset, PerSecond: .1},
	}
	if err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("Limits = %+v, %v, want %+v", got, err, want)
	}
	if got, err := m.Limits(charge("a", "k", tenant.Bill, tenant.Unlimited, tenant.Unlimited), noon); err != nil || got == nil || len(got) != 0 {
		t.Errorf("Limits without any = %#v, %v, want an empty list", got, err)
	}
}

func TestFaultyChargesAreRefused(t *testing.T) {
	m := testMeter()
	good := charge("a", "k", tenant.Refuse, tenant.Unlimited, tenant.Unlimited)
	for name, c := range map[string]Charge{
		"zero":              {},
		"no chain":          {Tenant: id("a"), Key: "k"},
		"another's chain":   {Tenant: id("b"), Key: "k", Limits: good.Limits},
		"tenant not itself": {Tenant: id("a"), Limits: []tenant.Limit{limit(tenant.OwnerParent, "a", tenant.Unlimited, tenant.Refuse)}},
	} {
		if _, err := m.Admit(c, 1, noon); err == nil {
			t.Errorf("%s: admitted", name)
		}
		if err := m.Exhausted(c, noon); err == nil {
			t.Errorf("%s: not exhausted", name)
		}
	}
	for _, n := range []int64{-1, MaxRequestBytes + 1} {
		if _, err := m.Admit(good, n, noon); err == nil {
			t.Errorf("admitted %d bytes", n)
		}
	}
}

// Many requests race for the last bytes of a key, two tenants and their parent.
func TestRacingRequestsNeverPassALimitByAByte(t *testing.T) {
	m := testMeter()
	parent := limit(tenant.OwnerParent, "p", 100_000, tenant.Refuse)
	charges := []Charge{
		charge("a", "ka", tenant.Refuse, 30_000, 60_000, parent),
		charge("a", "ka2", tenant.Refuse, tenant.Unlimited, 60_000, parent),
		charge("b", "kb", tenant.Refuse, tenant.Unlimited, tenant.Unlimited, parent),
	}
	var kept [3]atomic.Int64
	var wg sync.WaitGroup
	for g := range 50 {
		wg.Go(func() {
			rng := rand.New(rand.NewPCG(uint64(g), 1))
			for range 300 {
				i := rng.IntN(3)
				n := rng.Int64N(100)
				r, err := m.Admit(charges[i], n, noon)
				if err != nil {
					continue
				}
				if used(m, false, "p", noon) > 100_000 {
					t.Error("the parent's limit is passed")
				}
				switch rng.IntN(3) {
				case 0:
					r.Release()
				case 1:
					r.Commit()
					kept[i].Add(n)
				default:
					part := rng.Int64N(n + 1)
					if _, err := r.Settle(Outcome{Signal: Logs, Bytes: part}); err != nil {
						t.Error(err)
					}
					r.Commit()
					kept[i].Add(part)
				}
			}
		})
	}
	wg.Wait()
	ka, ka2, kb := kept[0].Load(), kept[1].Load(), kept[2].Load()
	wantUsed(t, m, true, "ka", noon, ka)
	wantUsed(t, m, true, "ka2", noon, ka2)
	wantUsed(t, m, false, "a", noon, ka+ka2)
	wantUsed(t, m, false, "b", noon, kb)
	wantUsed(t, m, false, "p", noon, ka+ka2+kb)
	if ka > 30_000 || ka+ka2 > 60_000 || ka+ka2+kb > 100_000 {
		t.Errorf("passed a limit: %d, %d, %d", ka, ka2, kb)
	}
}

// model is what a meter promises, written as a list of reservations and sums over it.
type model struct{ live []modelHold }

type modelHold struct {
	c     Charge
	at    time.Time
	bytes int64
}

func (m *model) used(l tenant.Limit, at time.Time) (n int64) {
	for _, h := range m.live {
		for _, o := range h.c.Limits {
			if o.ID == l.ID && (o.Owner == tenant.OwnerKey) == (l.Owner == tenant.OwnerKey) && h.at.Format(time.DateOnly) == at.Format(time.DateOnly) {
				n += h.bytes
			}
		}
	}
	return n
}

func (m *model) admits(c Charge, n int64, at time.Time) bool {
	for _, l := range c.Limits {
		if l.DailyBytes == 0 || l.DailyBytes > 0 && l.AtLimit != tenant.Bill && m.used(l, at)+n > l.DailyBytes {
			return false
		}
	}
	return true
}

func TestRandomHistoriesAgreeWithAModel(t *testing.T) {
	for seed := range uint64(60) {
		rng := rand.New(rand.NewPCG(seed, 9))
		m, want := testMeter(), &model{}
		// A tree: root over p over a and b; root over c. Limits are drawn anew for each request.
		parents := map[string][]string{"a": {"p", "root"}, "b": {"p", "root"}, "c": {"root"}, "p": {"root"}, "root": nil}
		names := []string{"a", "b", "c", "p", "root"}
		daily := func() int64 { return []int64{tenant.Unlimited, tenant.Unlimited, 0, 50, 200, 400}[rng.IntN(6)] }
		policy := func() tenant.Policy { return []tenant.Policy{tenant.Refuse, tenant.Drop, tenant.Bill}[rng.IntN(3)] }
		type open struct {
			r *Reservation
			i int // in want.live
		}
		var opened []open
		for step := range 300 {
			if len(opened) > 0 && rng.IntN(2) == 0 {
				k := rng.IntN(len(opened))
				o := opened[k]
				opened = append(opened[:k], opened[k+1:]...)
				switch rng.IntN(3) {
				case 0:
					o.r.Release()
					want.live[o.i].bytes = 0
				case 1:
					o.r.Commit()
				default:
					n := rng.Int64N(o.r.bytes + 1)
					if _, err := o.r.Settle(Outcome{Signal: Metrics, Bytes: n}); err != nil {
						t.Fatal(err)
					}
					want.live[o.i].bytes = n
					if rng.IntN(2) == 0 {
						o.r.Commit()
					} else {
						o.r.Release()
						want.live[o.i].bytes = 0
					}
				}
				continue
			}
			name := names[rng.IntN(len(names))]
			var up []tenant.Limit
			for _, p := range parents[name] {
				up = append(up, limit(tenant.OwnerParent, p, daily(), policy()))
			}
			c := charge(name, "k"+name, policy(), daily(), daily(), up...)
			at := noon.Add(time.Duration(rng.IntN(40)) * time.Hour)
			n := rng.Int64N(60)
			should := want.admits(c, n, at)
			r, err := m.Admit(c, n, at)
			if (err == nil) != should {
				t.Fatalf("seed %d step %d: Admit %d of %+v = %v, the model says %v", seed, step, n, c, err, should)
			}
			if err == nil {
				want.live = append(want.live, modelHold{c, at, n})
				opened = append(opened, open{r, len(want.live) - 1})
			}
			for _, l := range c.Limits {
				if got := used(m, l.Owner == tenant.OwnerKey, l.ID, at); got != want.used(l, at) {
					t.Fatalf("seed %d step %d: %s has used %d, the model says %d", seed, step, l.ID, got, want.used(l, at))
				}
			}
		}
	}
}

// BenchmarkHold is the whole decision on a request: five limits in force, with 100,000 tenants in memory.
func BenchmarkHold(b *testing.B) {
	for _, n := range [][2]int{{1, 1}, {100_000, 100}, {100_000, 1000}, {100_000, 100_000}} {
		tenants, active := n[0], n[1]
		b.Run(fmt.Sprintf("%d_tenants/%d_active", tenants, active), func(b *testing.B) {
			m := testMeter()
			parent := limit(tenant.OwnerParent, "p", 1<<60, tenant.Refuse)
			charges := make([]Charge, tenants)
			var before, after runtime.MemStats
			runtime.GC()
			runtime.ReadMemStats(&before)
			for i := range charges {
				c := charge(fmt.Sprint("t", i), fmt.Sprint("k", i), tenant.Refuse, 1<<60, 1<<60, parent)
				c.Signal = Logs
				c.Limits[1].Bounds = []tenant.Bound{{Kind: tenant.DailyBytes, Signal: "logs", Max: 1 << 59}, {Kind: tenant.BytesPerSecond, Max: 1 << 59}}
				charges[i] = c
			}
			var r Reservation
			hold := func(c Charge) {
				if err := m.Hold(&r, c, 1, noon); err != nil {
					b.Fatal(err)
				}
				if _, err := r.Settle(Outcome{Signal: Logs, Bytes: 1, Records: 1}); err != nil {
					b.Fatal(err)
				}
				r.Commit()
			}
			for _, c := range charges {
				hold(c)
			}
			runtime.GC()
			runtime.ReadMemStats(&after)
			b.ReportAllocs()
			i := 0
			for b.Loop() {
				hold(charges[i])
				if i += 7919; i >= active {
					i %= active
				}
			}
			b.ReportMetric(float64(after.HeapAlloc-before.HeapAlloc)/float64(tenants), "B/tenant")
		})
	}
}
