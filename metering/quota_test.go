package metering

import (
	"math"
	"math/big"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/headgate-io/headgate/internal/tenant"
)

// held holds n bytes and returns what the sender is told.
func held(t *testing.T, m *Meter, c Charge, n int64, at time.Time) (Quota, bool) {
	t.Helper()
	r, err := m.Admit(c, n, at)
	if err != nil {
		t.Fatalf("Admit %d: %v", n, err)
	}
	if _, err := r.Settle(Outcome{Signal: Logs, Bytes: n, Records: 1}); err != nil {
		t.Fatal(err)
	}
	r.Commit()
	return r.Quota()
}

func TestQuotaIsTheLimitWithTheLeastPartLeft(t *testing.T) {
	reset := time.Date(2025, 3, 2, 0, 0, 0, 0, time.UTC)
	logs := []tenant.Bound{{Kind: tenant.DailyBytes, Signal: "logs", Max: 40}, {Kind: tenant.BytesPerSecond, Max: 25}}
	for name, tc := range map[string]struct {
		key, own int64
		bounds   []tenant.Bound // of the tenant
		want     Quota
	}{
		"none":            {key: tenant.Unlimited, own: tenant.Unlimited},
		"the tenant's":    {key: tenant.Unlimited, own: 100, want: Quota{ID: LimitTenant, Owner: tenant.OwnerTenant, Limit: 100, Used: 20, Remaining: 80}},
		"the key's":       {key: 50, own: 100, want: Quota{ID: LimitKey, Owner: tenant.OwnerKey, Limit: 50, Used: 20, Remaining: 30}},
		"not the least":   {key: 1000, own: 100, want: Quota{ID: LimitTenant, Owner: tenant.OwnerTenant, Limit: 100, Used: 20, Remaining: 80}},
		"the signal's":    {key: 50, own: 100, bounds: logs, want: Quota{ID: LimitTenant, Owner: tenant.OwnerTenant, Signal: Logs, Limit: 40, Used: 20, Remaining: 20}},
		"another of both": {key: 20, own: 100, bounds: logs, want: Quota{ID: LimitKey, Owner: tenant.OwnerKey, Limit: 20, Used: 20}},
	} {
		// SECURITY: the parent's has the least part left in every case.
		c := charge("a", "k", tenant.Refuse, tc.key, tc.own, limit(tenant.OwnerParent, "p", 20, tenant.Refuse))
		c.Signal, c.Limits[1].Bounds = Logs, tc.bounds
		got, ok := held(t, testMeter(), c, 20, noon)
		if tc.want.Limit > 0 {
			tc.want.Reset = reset
		}
		got.ExhaustedAt = time.Time{}
		if ok != (tc.want.Limit > 0) || got != tc.want {
			t.Errorf("%s: Quota = %+v, %v, want %+v", name, got, ok, tc.want)
		}
	}
}

func TestQuotaForecastsLikeLimits(t *testing.T) {
	m := testMeter()
	c := charge("a", "k", tenant.Bill, tenant.Unlimited, 1_000_000)
	for at := noon; at.Before(noon.Add(time.Hour)); at = at.Add(time.Minute) {
		q, ok := held(t, m, c, 10_000, at)
		states, err := m.Limits(c, at)
		if err != nil || !ok || len(states) != 1 {
			t.Fatalf("Quota %v, Limits %+v, %v", ok, states, err)
		}
		s := states[0]
		if q.Limit != s.Limit || q.Used != s.Used || q.Remaining != s.Remaining || !q.Reset.Equal(s.Reset) || !q.Billed {
			t.Fatalf("Quota = %+v, Limits say %+v", q, s)
		}
		if s.ExhaustedAt == nil != q.ExhaustedAt.IsZero() || s.ExhaustedAt != nil && !s.ExhaustedAt.Equal(q.ExhaustedAt) {
			t.Fatalf("used up at %v, Limits say %v", q.ExhaustedAt, s.ExhaustedAt)
		}
	}
	if q, _ := held(t, m, c, 390_000, noon.Add(time.Hour)); q.ExhaustedAt.IsZero() || q.Percent() != 99 {
		t.Errorf("%+v: want a forecast at 99 %%", q)
	}
	if q, _ := held(t, m, c, 10_001, noon.Add(time.Hour)); !q.ExhaustedAt.IsZero() || q.Remaining != 0 || q.Percent() != 100 {
		t.Errorf("%+v: want none for what is used up", q)
	}
}

// TestPaceCountsRequestsThatSettleLate: of requests that were received around the turn of a slot some settle behind later ones.
func TestPaceCountsRequestsThatSettleLate(t *testing.T) {
	m := testMeter()
	c := charge("a", "k", tenant.Refuse, tenant.Unlimited, 1_000_000)
	for minute := range 5 {
		held(t, m, c, 10_000, noon.Add(time.Duration(minute)*time.Minute))
	}
	turn := noon.Add(5 * time.Minute)
	held(t, m, c, 10_000, turn.Add(time.Second))
	held(t, m, c, 10_000, turn.Add(-time.Second))
	states, err := m.Limits(c, turn.Add(30*time.Second))
	if err != nil || len(states) != 1 {
		t.Fatalf("Limits = %+v, %v", states, err)
	}
	if want := (60_000*0.9 + 10_000) / 300; math.Abs(states[0].PerSecond-want) > 0.01 {
		t.Errorf("%g bytes per second, want %g", states[0].PerSecond, want)
	}
	if q, _ := held(t, m, c, 10_000, turn.Add(-2*time.Second)); q.ExhaustedAt.IsZero() {
		t.Errorf("%+v: want a forecast for who asks late too", q)
	}
}

func TestQuotaOfOtherReservations(t *testing.T) {
	var zero Reservation
	if _, ok := zero.Quota(); ok {
		t.Error("a reservation of nothing has one")
	}
	m := testMeter()
	c := charge("a", "k", tenant.Sample, tenant.Unlimited, 100)
	r, err := m.Admit(c, 90, noon)
	if err != nil {
		t.Fatal(err)
	}
	r.Release()
	if q, ok := r.Quota(); !ok || q.Used != 0 {
		t.Errorf("after Release: %+v, %v", q, ok)
	}
	spend(t, m, c, 100, noon)
	beat, err := m.Admit(c, 50, noon)
	if err != nil || !beat.Heartbeat() {
		t.Fatalf("no heartbeat: %v", err)
	}
	if q, ok := beat.Quota(); !ok || q.Used != 100 || q.Remaining != 0 {
		t.Errorf("of a heartbeat: %+v, %v, want what is spent", q, ok)
	}
	spend(t, m, c, 1, noon.AddDate(0, 0, 1)) // the plan turns to the next day
	if q, ok := beat.Quota(); ok {
		t.Errorf("of a heartbeat of another day: %+v", q)
	}
}

// TestPercentIsExact compares with numbers of any size, at which floating point is wrong.
func TestPercentIsExact(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	for range 100_000 {
		limit := 1 + rng.Int64N(1<<(1+rng.IntN(61)))
		used := rng.Int64N(limit + limit/4 + 1)
		if rng.IntN(4) == 0 {
			used = limit / 100 * 80
		}
		want := new(big.Int).Div(new(big.Int).Mul(big.NewInt(used), big.NewInt(100)), big.NewInt(limit)).Int64()
		if got := (Quota{Limit: limit, Used: used}).Percent(); int64(got) != min(want, 100) {
			t.Fatalf("%d of %d is %d %%, want %d", used, limit, got, want)
		}
	}
}

// quotaReservation has five limits in force.
func quotaReservation(t testing.TB) *Reservation {
	c := charge("a", "k", tenant.Refuse, 1<<50, 1<<51, limit(tenant.OwnerParent, "p", 1<<52, tenant.Refuse))
	c.Signal, c.Limits[1].Bounds = Logs, []tenant.Bound{{Kind: tenant.DailyBytes, Signal: "logs", Max: 1 << 50}, {Kind: tenant.BytesPerSecond, Max: 1 << 50}}
	r, err := testMeter().Admit(c, 1000, noon)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func TestQuotaAllocatesNothing(t *testing.T) {
	r := quotaReservation(t)
	if n := testing.AllocsPerRun(100, func() { r.Quota() }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func BenchmarkQuota(b *testing.B) {
	r := quotaReservation(b)
	b.ReportAllocs()
	for b.Loop() {
		r.Quota()
	}
}
