package metering

import (
	"math"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/headgate-io/headgate/internal/tenant"
)

// dayOfLimit is a limit of bytes, and those used.
type dayOfLimit struct {
	daily, used int64
	policy      tenant.Policy
}

func checksOf(sums []dayOfLimit, n int64) (out []check) {
	for _, s := range sums {
		out = append(out, sumCheck(s.daily, s.used, n, s.policy))
	}
	return out
}

func TestDecide(t *testing.T) {
	acc := func(daily, used int64, p tenant.Policy) dayOfLimit { return dayOfLimit{daily, used, p} }
	check := func(name string, want decision, n int64, policy tenant.Policy, beat bool, accounts ...dayOfLimit) {
		t.Helper()
		if got := decide(checksOf(accounts, n), policy, beat); got != want {
			t.Errorf("%s: decide = %+v, want %+v", name, got, want)
		}
	}
	yes, beat := decision{verdict: admitted}, decision{verdict: heartbeat}
	no := func(i int, p tenant.Policy) decision { return decision{refused, i, p} }

	check("no limit at all", yes, 1<<40, tenant.Refuse, false, acc(tenant.Unlimited, 1<<50, tenant.Refuse))
	check("below", yes, 10, tenant.Refuse, false, acc(100, 89, tenant.Refuse))
	check("to the byte", yes, 10, tenant.Refuse, false, acc(100, 90, tenant.Refuse))
	check("a byte too many", no(0, tenant.Refuse), 11, tenant.Refuse, false, acc(100, 90, tenant.Refuse))
	check("nothing at the limit", yes, 0, tenant.Refuse, false, acc(100, 100, tenant.Refuse))
	check("the limit was lowered", no(0, tenant.Refuse), 1, tenant.Refuse, false, acc(50, 100, tenant.Refuse))
	check("zero limit, zero bytes", no(0, tenant.Refuse), 0, tenant.Refuse, true, acc(0, 0, tenant.Refuse))
	check("key in the way", no(0, tenant.Refuse), 5, tenant.Refuse, false, acc(4, 0, tenant.Refuse), acc(100, 0, tenant.Refuse))
	check("tenant in the way", no(1, tenant.Refuse), 5, tenant.Refuse, false, acc(5, 0, tenant.Refuse), acc(4, 0, tenant.Refuse))
	check("parent in the way", no(2, tenant.Refuse), 5, tenant.Refuse, false, acc(5, 0, tenant.Refuse), acc(tenant.Unlimited, 0, tenant.Refuse), acc(4, 0, tenant.Refuse))
	check("the first in the way is named", no(1, tenant.Refuse), 5, tenant.Refuse, false, acc(9, 0, tenant.Refuse), acc(3, 0, tenant.Refuse), acc(1, 0, tenant.Refuse))

	check("drop", no(0, tenant.Drop), 5, tenant.Drop, true, acc(4, 0, tenant.Drop))
	check("drop at a parent's limit", no(1, tenant.Drop), 5, tenant.Drop, true, acc(9, 0, tenant.Drop), acc(4, 0, tenant.Refuse))

	check("bill passes its own limit", yes, 50, tenant.Bill, false, acc(10, 5, tenant.Bill), acc(10, 500, tenant.Bill))
	check("bill does not pass the parent's", no(1, tenant.Refuse), 50, tenant.Bill, false, acc(10, 5, tenant.Bill), acc(20, 0, tenant.Refuse))
	check("the parent's answer stands in for bill", no(1, tenant.Drop), 50, tenant.Bill, false, acc(10, 5, tenant.Bill), acc(20, 0, tenant.Drop))
	check("a parent that bills lets a child pass", yes, 50, tenant.Refuse, false, acc(100, 0, tenant.Refuse), acc(20, 0, tenant.Bill))
	check("a shut parent that bills", no(1, tenant.Refuse), 50, tenant.Bill, false, acc(100, 0, tenant.Bill), acc(0, 0, tenant.Bill))

	check("sample with a beat due", beat, 5, tenant.Sample, true, acc(4, 0, tenant.Sample))
	check("sample with none due", no(0, tenant.Sample), 5, tenant.Sample, false, acc(4, 0, tenant.Sample))
	check("sample below the limit", yes, 4, tenant.Sample, true, acc(4, 0, tenant.Sample))
	check("sample at the parent's limit", beat, 5, tenant.Sample, true, acc(9, 0, tenant.Sample), acc(4, 0, tenant.Refuse))
	check("no beat through a shut owner", no(0, tenant.Sample), 5, tenant.Sample, true, acc(4, 0, tenant.Sample), acc(0, 0, tenant.Refuse))

	check("unknown policy refuses", no(0, tenant.Refuse), 5, "maybe", true, acc(4, 0, "maybe"))
	check("no policy refuses", no(0, tenant.Refuse), 5, "", true, acc(4, 0, ""))
	check("the zero limit lets nothing pass", no(0, tenant.Refuse), 0, tenant.Bill, true, dayOfLimit{})
	check("no overflow", no(0, tenant.Refuse), math.MaxInt64, tenant.Refuse, false, acc(math.MaxInt64, math.MaxInt64, tenant.Refuse))
}

func TestDecideNeverPassesALimitThatIsNotBilled(t *testing.T) {
	rng := rand.New(rand.NewPCG(3, 4))
	policies := []tenant.Policy{tenant.Refuse, tenant.Drop, tenant.Bill, tenant.Sample, ""}
	for range 50000 {
		accounts := make([]dayOfLimit, 1+rng.IntN(4))
		for i := range accounts {
			accounts[i] = dayOfLimit{rng.Int64N(12) - 1, rng.Int64N(12), policies[rng.IntN(5)]}
		}
		n := rng.Int64N(12)
		d := decide(checksOf(accounts, n), policies[rng.IntN(5)], rng.IntN(2) == 0)
		for i, a := range accounts {
			over := a.daily != tenant.Unlimited && (a.daily == 0 || a.used+n > a.daily)
			if over && d.verdict == admitted && (a.policy != tenant.Bill || a.daily == 0) {
				t.Fatalf("%+v admits %d bytes past account %d", accounts, n, i)
			}
			if d.verdict != admitted && a.daily == 0 && d.verdict == heartbeat {
				t.Fatalf("%+v lets a heartbeat through a shut owner", accounts)
			}
		}
		if d.verdict == refused && (fits(accounts[d.blocking].daily, accounts[d.blocking].used, n) || d.policy == tenant.Bill || d.policy == "") {
			t.Fatalf("%+v of %d bytes: refused by %+v", accounts, n, d)
		}
	}
}

func TestOverageOfADayIsWhatLiesBeyondTheLimit(t *testing.T) {
	rng := rand.New(rand.NewPCG(5, 6))
	for range 2000 {
		limit, sum, over := rng.Int64N(100), int64(0), int64(0)
		for range rng.IntN(20) {
			n := rng.Int64N(30)
			part := overage(limit, sum, n)
			if part < 0 || part > n {
				t.Fatalf("overage(%d, %d, %d) = %d", limit, sum, n, part)
			}
			over, sum = over+part, sum+n
		}
		if want := max(0, sum-limit); over != want {
			t.Fatalf("limit %d, sum %d: overage %d, want %d", limit, sum, over, want)
		}
	}
	if got := overage(tenant.Unlimited, 1<<40, 1<<40); got != 0 {
		t.Errorf("overage without a limit = %d", got)
	}
}

func TestDayAndReset(t *testing.T) {
	at := func(s string) time.Time {
		v, err := time.Parse(time.RFC3339Nano, s)
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
	check := func(s, reset string) {
		t.Helper()
		if got := resetOf(at(s)); !got.Equal(at(reset)) || got.Location() != time.UTC {
			t.Errorf("resetOf(%s) = %s, want %s", s, got, reset)
		}
		if dayOf(at(s)) == dayOf(at(reset)) || dayOf(at(s))+1 != dayOf(at(reset)) {
			t.Errorf("%s and its reset %s are not on neighbouring days", s, reset)
		}
	}
	check("2025-01-01T00:00:00Z", "2025-01-02T00:00:00Z")
	check("2025-01-01T23:59:59.999999999Z", "2025-01-02T00:00:00Z")
	check("2025-12-31T12:00:00Z", "2026-01-01T00:00:00Z")
	check("2025-01-01T23:30:00-02:00", "2025-01-03T00:00:00Z") // 01:30 UTC of the second
	check("2025-01-02T00:30:00+02:00", "2025-01-02T00:00:00Z") // 22:30 UTC of the first
	check("1969-12-31T23:00:00Z", "1970-01-01T00:00:00Z")
}

func TestBeatDue(t *testing.T) {
	check := func(name string, last, at time.Time, want bool) {
		t.Helper()
		if got := beatDue(last, at); got != want {
			t.Errorf("%s: beatDue = %v", name, got)
		}
	}
	check("never", time.Time{}, noon, true)
	check("just now", noon, noon, false)
	check("a moment early", noon, noon.Add(HeartbeatInterval-1), false)
	check("on time", noon, noon.Add(HeartbeatInterval), true)
	check("out of order", noon, noon.Add(-time.Second), false)
	check("clock set back", noon, noon.Add(-time.Hour), true)
}

// resetOf is the end of the UTC day that t lies on.
func resetOf(t time.Time) time.Time {
	var utc *tenant.Zone
	return time.Unix(utc.Day(t).End, 0).UTC()
}
