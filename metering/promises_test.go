package metering

import (
	"bytes"
	"encoding/csv"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"reflect"
	"strconv"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/headgate-io/headgate/internal/store/storetest"
	"github.com/headgate-io/headgate/internal/tenant"
	"github.com/headgate-io/headgate/internal/timetest"
)

// What Limits calls remaining is what Admit admits, to the byte.
func TestRemainingIsExactlyWhatIsAdmitted(t *testing.T) {
	rng := rand.New(rand.NewPCG(11, 12))
	for range 500 {
		m := testMeter()
		key, own := 1+rng.Int64N(1000), 1+rng.Int64N(1000)
		c := charge("a", "k", tenant.Refuse, key, own)
		for range rng.IntN(4) {
			if r, err := m.Admit(c, rng.Int64N(300), noon); err == nil {
				r.Commit()
			}
		}
		states, err := m.Limits(c, noon)
		if err != nil || len(states) != 2 {
			t.Fatal(states, err)
		}
		left := min(states[0].Remaining, states[1].Remaining)
		refusal(t, m, c, left+1, noon)
		spend(t, m, c, left, noon)
		if left > 0 {
			refusal(t, m, c, 1, noon)
		}
		if err := m.Exhausted(c, noon); err == nil {
			t.Fatal("nothing remains, but it is not exhausted")
		}
	}
}

func TestLimitsAsJSON(t *testing.T) {
	m := testMeter()
	c := charge("a", "k", tenant.Refuse, tenant.Unlimited, 100)
	spend(t, m, c, 30, noon)
	states, err := m.Limits(c, noon)
	if err != nil {
		t.Fatal(err)
	}
	b, err := json.Marshal(states)
	want := `[{"id":"limit-daily-bytes","signal":"","limit":100,"used":30,"remaining":70,"reset":"2025-03-02T00:00:00Z","bytes_per_second":0.1,"exhausted_at":"2025-03-01T12:11:40Z"}]`
	if err != nil || string(b) != want {
		t.Errorf("%s, %v, want %s", b, err, want)
	}
}

func TestHeartbeatThroughAParentsLimitCostsTheParentNothing(t *testing.T) {
	m := testMeter()
	c := charge("a", "k", tenant.Sample, tenant.Unlimited, tenant.Unlimited, limit(tenant.OwnerParent, "p", 10, tenant.Refuse))
	spend(t, m, c, 10, noon)
	r, err := m.Admit(c, 1000, noon)
	if err != nil || !r.Heartbeat() {
		t.Fatal(r, err)
	}
	r.Commit()
	wantUsed(t, m, false, "p", noon, 10)
	wantUsed(t, m, true, "k", noon, 10)
	if e := refusal(t, m, c, 1, noon); e.Policy != tenant.Sample || e.LimitID != LimitParent {
		t.Errorf("refusal %+v", e)
	}
}

func TestRefusalTellsHowToAnswer(t *testing.T) {
	for _, p := range []tenant.Policy{tenant.Refuse, tenant.Drop} {
		m := testMeter()
		c := charge("a", "k", p, tenant.Unlimited, 10)
		spend(t, m, c, 10, noon)
		var unread *LimitError
		if err := m.Exhausted(c, noon); !errors.As(err, &unread) {
			t.Fatalf("Exhausted = %v", err)
		}
		if read := refusal(t, m, c, 1, noon); !reflect.DeepEqual(read, unread) || read.Policy != p {
			t.Errorf("policy %s: before the body %+v, after it %+v", p, unread, read)
		}
	}
}

func TestMeterCountsWhatItDoes(t *testing.T) { storetest.Each(t, testMeterCountsWhatItDoes) }

func testMeterCountsWhatItDoes(t *testing.T) {
	reg := prometheus.NewRegistry()
	m, err := OpenMeter(t.Context(), tempDB(t), noon, reg)
	if err != nil {
		t.Fatal(err)
	}
	NewLedger(tempDB(t), LedgerOptions{Now: timetest.NewClock(noon).Now, Registry: reg})
	c := charge("a", "k", tenant.Sample, tenant.Unlimited, 10)
	spend(t, m, c, 10, noon)
	spend(t, m, c, 5, noon) // a heartbeat
	refusal(t, m, c, 7, noon)
	if err := m.Exhausted(c, noon); err == nil {
		t.Error("not exhausted")
	}
	for name, got := range map[string][2]float64{
		"admitted":   {testutil.ToFloat64(m.m.admitted), 10},
		"heartbeats": {testutil.ToFloat64(m.m.heartbeats), 1},
		"bytes":      {testutil.ToFloat64(m.m.refusedBytes.WithLabelValues(LimitTenant)), 7},
		"requests":   {testutil.ToFloat64(m.m.refusedRequests.WithLabelValues(LimitTenant)), 2},
		"by parents": {testutil.ToFloat64(m.m.refusedRequests.WithLabelValues(LimitParent)), 0},
	} {
		if got[0] != got[1] {
			t.Errorf("%s: %v, want %v", name, got[0], got[1])
		}
	}
	problems, err := testutil.GatherAndLint(reg)
	if err != nil || len(problems) > 0 {
		t.Errorf("%v, %v", problems, err)
	}
}

// A day's end with everything in motion: requests on both sides of midnight, a restart after it.
func TestMidnightSplitsMeterAndLedgerAlike(t *testing.T) {
	storetest.Each(t, testMidnightSplitsMeterAndLedgerAlike)
}

func testMidnightSplitsMeterAndLedgerAlike(t *testing.T) {
	path := storetest.Place(t)
	db := openDB(t, path)
	midnight := time.Date(2025, 3, 2, 0, 0, 0, 0, time.UTC)
	c := timetest.NewClock(midnight.Add(-time.Minute))
	m := openMeter(t, db, c.Now())
	l := NewLedger(db, LedgerOptions{Now: c.Now})
	stop := run(t, l)
	runs := uint64(0)
	who := charge("a", "k", tenant.Refuse, tenant.Unlimited, 1000)
	bill := func(n int64, at time.Time) {
		t.Helper()
		r, err := m.Admit(who, n, at)
		if err != nil {
			t.Fatal(err)
		}
		rc, err := r.Settle(Outcome{Signal: Logs, Bytes: n})
		if err != nil {
			t.Fatal(err)
		}
		r.Commit()
		runs++
		apply(t, l, testLog, runs, true, rc)
	}
	bill(900, midnight.Add(-time.Minute))
	c.Set(midnight.Add(time.Second))
	bill(1000, midnight)
	bill(100, midnight.Add(-1)) // came in before, is finished after
	refusal(t, m, who, 1, midnight.Add(-1))
	refusal(t, m, who, 1, midnight.Add(time.Second))
	stop()
	u, err := l.Usage(t.Context(), Filter{Tenants: ids("a"), By: ByDay})
	if err != nil || len(u.Rows) != 2 || u.Rows[0].BilledBytes != 1000 || u.Rows[1].BilledBytes != 1000 ||
		!u.Rows[0].End.Equal(midnight) || !u.Rows[1].Start.Equal(midnight) {
		t.Errorf("rows %+v, %v", u.Rows, err)
	}
	again := openMeter(t, db, c.Now())
	refusal(t, again, who, 1, midnight.Add(-1))
	refusal(t, again, who, 1, midnight.Add(time.Second))
	spend(t, again, who, 1000, midnight.AddDate(0, 0, 1))
}

// The ledger's own clock: refusals are written within keepInterval. The second is synctest's.
func TestRefusalsAreInTheLedgerWithinSeconds(t *testing.T) {
	path := storetest.Place(t)
	synctest.Test(t, func(t *testing.T) {
		db := openDB(t, path)
		l := NewLedger(db, LedgerOptions{Now: time.Now})
		stop := run(t, l)
		l.CountRefused(Refusal{Tenant: id("a"), Key: "k", Signal: Traces, At: time.Now(), Bytes: 5})
		<-time.After(keepInterval)
		synctest.Wait()
		u, err := l.Usage(t.Context(), Filter{Tenants: ids("a"), BySignal: true})
		if err != nil || len(u.Rows) != 1 || u.Rows[0].RefusedBytes != 5 || u.Rows[0].Signal != "traces" {
			t.Errorf("rows %+v, %v", u.Rows, err)
		}
		stop()
		db.Close()
	})
}

// Two ledgers on one file, as while one process replaces another.
func TestTwoProcessesAddUp(t *testing.T) { storetest.Each(t, testTwoProcessesAddUp) }

func testTwoProcessesAddUp(t *testing.T) {
	path := storetest.Place(t)
	ls := []*Ledger{newTestLedger(openDB(t, path)), newTestLedger(openDB(t, path))}
	var wg sync.WaitGroup
	for i := range 100 {
		wg.Go(func() {
			apply(t, ls[i%2], fmt.Sprint("log", i%2), uint64(i/2), true, logs("a", fmt.Sprint("k", i%3), 1, noon))
		})
	}
	wg.Wait()
	sum := int64(0)
	for _, n := range all(t, ls[0], Filter{}) {
		sum += n
	}
	if sum != 100 {
		t.Errorf("the ledger holds %d, want 100", sum)
	}
}

func TestCSVComesBackAsItWas(t *testing.T) {
	var b bytes.Buffer
	u := sampleUsage()
	if err := u.Write(&b, FormatCSV); err != nil {
		t.Fatal(err)
	}
	records, err := csv.NewReader(&b).ReadAll()
	if err != nil || len(records) != len(u.Rows)+1 {
		t.Fatal(records, err)
	}
	for i, r := range u.Rows {
		billed, err := strconv.ParseInt(records[i+1][6], 10, 64)
		if err != nil || billed != r.BilledBytes || records[i+1][3] != r.TenantID {
			t.Errorf("record %v of row %+v", records[i+1], r)
		}
	}
}

// decide against its promise put otherwise: debit each account in turn and look whether any is passed that may not be.
func FuzzDecide(f *testing.F) {
	f.Add(int64(100), int64(90), int64(11), int64(-1), int64(5), uint8(0), true)
	f.Add(int64(0), int64(0), int64(0), int64(9), int64(9), uint8(7), false)
	f.Fuzz(func(t *testing.T, limit1, used1, n, limit2, used2 int64, bits uint8, beat bool) {
		if limit1 < -1 || limit2 < -1 || used1 < 0 || used2 < 0 || n < 0 || n > MaxRequestBytes ||
			used1 > 1<<60 || used2 > 1<<60 {
			return
		}
		policies := []tenant.Policy{tenant.Refuse, tenant.Drop, tenant.Bill, tenant.Sample}
		accounts := []dayOfLimit{{limit1, used1, policies[bits&3]}, {limit2, used2, policies[bits>>2&3]}}
		policy := policies[bits>>4&3]
		d := decide(checksOf(accounts, n), policy, beat)
		stop, shut := false, false
		for _, a := range accounts {
			shut = shut || a.daily == 0
			stop = stop || a.daily == 0 || a.daily > 0 && a.used+n > a.daily && a.policy != tenant.Bill
		}
		want := admitted
		switch {
		case stop && policy == tenant.Sample && beat && !shut:
			want = heartbeat
		case stop:
			want = refused
		}
		if d.verdict != want {
			t.Errorf("%+v of %d bytes, %s, beat %v: %v, want %v", accounts, n, policy, beat, d.verdict, want)
		}
	})
}
