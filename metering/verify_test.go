package metering

import (
	"context"
	"fmt"
	"math/rand/v2"
	"testing"
	"testing/synctest"
	"time"

	"github.com/headgate-io/headgate/internal/store"
	"github.com/headgate-io/headgate/internal/store/storetest"
	"github.com/headgate-io/headgate/internal/tenant"
	"github.com/headgate-io/headgate/internal/timetest"
)

// nothingStored is a ClickHouse without rows: right for a ledger without records.
type nothingStored struct {
	counts int
	aside  []Receipt
}

func (s *nothingStored) UnsafeByTenant(context.Context, string, int64, int64, tenant.ID, func(int64, string, int64) error) error {
	s.counts++
	return nil
}

func (s *nothingStored) UnsafeByRun(context.Context, string, int64, int64, func(int64, uint64, int64) error) error {
	return nil
}

func (s *nothingStored) UnsafeTables(context.Context, string, int64, string) (map[string]int64, error) {
	return nil, nil
}

func (s *nothingStored) UnsafeAside(_ context.Context, each func(string, string, int64, []byte, int64) error) error {
	for _, r := range s.aside {
		raw, err := r.AppendBinary(nil)
		if err != nil {
			return err
		}
		if err := each(string(r.Signal), r.Tenant.String(), r.ReceivedAt.UnixNano(), raw, 1); err != nil {
			return err
		}
	}
	return nil
}

func (s *nothingStored) Recorded(uint64) bool { return false }

// ledgerDrift compares the ledger's sums of all hours before to with those of the runs.
func ledgerDrift(t *testing.T, l *Ledger, to time.Time) []Drift {
	t.Helper()
	c := &comparison{Verifier: NewVerifier(l, &nothingStored{}, nil), from: hourOf(to) - 30*daySeconds, to: hourOf(to),
		report: Report{DriftRows: map[string]int{}}}
	if err := c.sums(deadline(t)); err != nil {
		t.Fatal(err)
	}
	if c.report.Hours == 0 {
		t.Error("no hour was compared")
	}
	return c.report.Drift
}

func testRuns(t *testing.T, db *store.DB) (single, summed int) {
	t.Helper()
	err := db.View(t.Context(), func(tx *store.Tx) error {
		return tx.QueryRowContext(t.Context(), `SELECT SUM(CASE WHEN log_id = '' THEN 0 ELSE 1 END), SUM(CASE WHEN log_id = '' THEN 1 ELSE 0 END)
			FROM usage_runs`).Scan(&single, &summed)
	})
	if err != nil {
		t.Fatal(err)
	}
	return single, summed
}

// At every moment the runs add up to the ledger: whatever the receipts, however often a run is applied, when hours are sealed,
// and when old runs are added up.
func TestRunsAddUpToTheLedger(t *testing.T) { storetest.Each(t, testRunsAddUpToTheLedger) }

func testRunsAddUpToTheLedger(t *testing.T) {
	rnd := rand.New(rand.NewPCG(1, 2))
	db := tempDB(t)
	now := timetest.NewClock(noon)
	l := NewLedger(db, LedgerOptions{Now: now.Now})
	end := noon.Add(200 * time.Hour)
	for run := uint64(1); run <= 120; run++ {
		now.Set(noon.Add(time.Duration(run) * time.Hour))
		var rs []Receipt
		for range rnd.IntN(4) {
			billed := rnd.Int64N(1000)
			rs = append(rs, Receipt{Tenant: id(fmt.Sprint("t", rnd.IntN(3))), Key: "k", Signal: signalCodes[1+rnd.IntN(4)],
				ReceivedAt:  now.Now().Add(-time.Duration(rnd.IntN(5*3600)) * time.Second), // some before the seal
				BilledBytes: billed, OverageBytes: billed / 3, UnbilledBytes: rnd.Int64N(9), Records: rnd.Int64N(50)})
		}
		apply(t, l, testLog, run, true, rs...)
		apply(t, l, testLog, run, false, rs...)
		if run%10 == 0 {
			if err := l.seal(deadline(t)); err != nil {
				t.Fatal(err)
			}
		}
		if run%30 == 0 {
			if err := l.addUpRuns(deadline(t), now.Now().Add(-10*time.Hour)); err != nil {
				t.Fatal(err)
			}
			if got := ledgerDrift(t, l, end); len(got) != 0 {
				t.Fatalf("after run %d: %+v", run, got)
			}
		}
	}
	single, summed := testRuns(t, db)
	if single == 0 || single > 40 || summed < 50 {
		t.Errorf("%d runs one by one and %d added up", single, summed)
	}
	from, err := l.runsFrom(t.Context(), 0, hourOf(end))
	if want := now.Now().Add(-12 * time.Hour).Unix(); err != nil || from < want || from > hourOf(now.Now()) {
		t.Errorf("runs are kept from %s, %v", time.Unix(from, 0).UTC(), err)
	}
	execute(t, db, `UPDATE usage_hours SET unbilled_bytes = unbilled_bytes + 1 WHERE hour = (SELECT MIN(hour) FROM usage_hours)`)
	if got := ledgerDrift(t, l, end); len(got) == 0 || got[0].Field != "unbilled_bytes" {
		t.Errorf("a changed ledger drifts by %+v", got)
	}
}

// A run whose transaction fails is in neither sum.
func TestRunThatFailsIsNotRecorded(t *testing.T) { storetest.Each(t, testRunThatFailsIsNotRecorded) }

func testRunThatFailsIsNotRecorded(t *testing.T) {
	db := tempDB(t)
	l := newTestLedger(db)
	apply(t, l, testLog, 1, true, logs("a", "k", 10, noon))
	mend := refuseInserts(t, db, "usage_runs", "NEW.run = 2")
	if _, err := l.Apply(deadline(t), testLog, 2, []Receipt{logs("a", "k", 5, noon)}); err == nil {
		t.Error("a run was applied that could not be recorded")
	}
	mend()
	mend = refuseInserts(t, db, "usage_hours", "NEW.tenant_id = 'b'")
	if _, err := l.Apply(deadline(t), testLog, 2, []Receipt{logs("b", "k", 5, noon)}); err == nil {
		t.Error("a run was applied whose rows failed")
	}
	mend()
	if single, _ := testRuns(t, db); single != 1 {
		t.Errorf("%d runs are recorded, want 1", single)
	}
	if got := ledgerDrift(t, l, noon.Add(time.Hour)); len(got) != 0 {
		t.Errorf("drift %+v", got)
	}
}

// What was in the ledger before runs were recorded is there as one sum for each hour.
func TestLedgerOfBeforeIsTheFirstSum(t *testing.T) {
	storetest.Each(t, testLedgerOfBeforeIsTheFirstSum)
}

func testLedgerOfBeforeIsTheFirstSum(t *testing.T) {
	path := storetest.Place(t)
	db := openDB(t, path)
	l := newTestLedger(db)
	for run := range uint64(6) {
		apply(t, l, testLog, run+1, true, logs("a", "k", 10, noon.Add(time.Duration(run/2)*time.Hour)), logs("b", "k", 1, noon))
	}
	for _, q := range []string{`DROP TABLE usage_runs`, `DROP TABLE usage_verified`, `DELETE FROM schema_migrations WHERE version = 9`} {
		execute(t, db, q)
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	l = newTestLedger(openDB(t, path))
	apply(t, l, testLog, 7, true, logs("a", "k", 3, noon))
	if got := ledgerDrift(t, l, noon.Add(4*time.Hour)); len(got) != 0 {
		t.Errorf("drift %+v", got)
	}
	if from, err := l.runsFrom(t.Context(), 0, hourOf(noon)+9*hourSeconds); err != nil || from != hourOf(noon)+3*hourSeconds {
		t.Errorf("runs are kept from %s, %v", time.Unix(from, 0).UTC(), err)
	}
}

// A row keeps the retention that its tenant had when it was received.
func TestRetentionIsThatOfTheReceipt(t *testing.T) {
	at := func(hours int) time.Time { return noon.Add(time.Duration(hours) * time.Hour) }
	grown := []plan{{at(0), 1}, {at(24), 30}}
	shrunk := []plan{{at(0), 30}, {at(24), 1}}
	for _, c := range []struct {
		name  string
		plans []plan
		hour  int
		now   int
		want  bool
	}{
		{name: "a day is not over", plans: grown, hour: 10, now: 32, want: false},
		{name: "a day is over", plans: grown, hour: 10, now: 34, want: true},
		{name: "received under the longer plan", plans: grown, hour: 30, now: 80, want: false},
		{name: "received as the plan grew", plans: grown, hour: 24, now: 80, want: true},
		{name: "the longer plan is over too", plans: grown, hour: 30, now: 30 + 30*24, want: true},
		{name: "received before it shrank", plans: shrunk, hour: 10, now: 80, want: false},
		{name: "received as it shrank", plans: shrunk, hour: 23, now: 80, want: true},
		{name: "nothing is known", plans: nil, hour: 10, now: 80000, want: false},
	} {
		s := tenantState{plans: c.plans}
		if got := s.expired(at(c.hour).Unix(), at(c.now)); got != c.want {
			t.Errorf("%s: expired = %v, want %v", c.name, got, c.want)
		}
	}
}

// Each day is verified within about an hour of its seal, once, also by a process that starts later; days that were missed
// are made up for.
func TestEachDayIsVerifiedOnceItIsSealed(t *testing.T) {
	path := storetest.Place(t)
	synctest.Test(t, func(t *testing.T) {
		stored := &nothingStored{}
		through := func(db *store.DB) (n int64) {
			_ = db.View(t.Context(), func(tx *store.Tx) error {
				return tx.QueryRowContext(t.Context(), `SELECT through FROM usage_verified`).Scan(&n)
			})
			return n / daySeconds
		}
		live := func(days time.Duration) (before, after int64) {
			db, err := store.Open(path)
			if err != nil {
				t.Fatal(err)
			}
			defer db.Close()
			before = through(db)
			l := NewLedger(db, LedgerOptions{Now: time.Now})
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			if err := l.seal(ctx); err != nil {
				t.Fatal(err)
			}
			done := make(chan error, 1)
			go func() { done <- NewVerifier(l, stored, nil).Run(ctx) }()
			for range int(days * 24 * time.Hour / (10 * time.Minute)) {
				<-time.After(10 * time.Minute)
				if err := l.seal(ctx); err != nil {
					t.Fatal(err)
				}
			}
			cancel()
			if err := <-done; err != nil {
				t.Error(err)
			}
			return before, through(db)
		}
		start := dayOf(time.Now()) // whose last hour is sealed five minutes after the next day has begun
		if _, got := live(3); got != start+2 || stored.counts < 3*4 || stored.counts > 4*4 {
			t.Errorf("verified through day %d in %d counts, want %d in 12 or 16", got, stored.counts, start+2)
		}
		<-time.After(5 * 24 * time.Hour) // nothing runs
		counts := stored.counts
		before, got := live(1)
		if before != start+2 || got != start+8 {
			t.Errorf("after a pause: through day %d, then %d; want %d, then %d", before, got, start+2, start+8)
		}
		if n := (stored.counts - counts) / 4; n < 1 || n > 2 { // two, if the draw falls into the first five minutes
			t.Errorf("%d comparisons after a pause, want one for all days that were missed", n)
		}
	})
}

// What one replica has set aside, every other one knows of: its rows are missed by nobody.
func TestReplicasTellWhatTheySetAside(t *testing.T) {
	storetest.Each(t, testReplicasTellWhatTheySetAside)
}

func testReplicasTellWhatTheySetAside(t *testing.T) {
	db := tempDB(t)
	now := timetest.NewClock(noon.Add(3 * time.Hour))
	refused := logs("a", "k", 10, noon)
	refused.Records = 4
	one, two := &nothingStored{}, &nothingStored{aside: []Receipt{refused}}
	verifier := func(log string, s Stored) *Verifier {
		return NewVerifier(NewLedger(db, LedgerOptions{Now: now.Now, Replica: ReplicaOptions{Log: log}}), s, nil)
	}
	a, b, c := verifier("a", one), verifier("b", two), verifier("", &nothingStored{}) // the last has no log
	apply(t, b.ledger, "b", 1, true, refused)
	execute(t, db, `INSERT INTO usage_seal (id, through) VALUES (1, ?)`, hourOf(now.Now()))
	drift := func(v *Verifier) int {
		t.Helper()
		r, err := v.UnsafeVerify(deadline(t), VerifyFilter{}, nil)
		if err != nil {
			t.Fatal(err)
		}
		return r.Drifts()
	}
	if n := drift(b); n != 0 {
		t.Errorf("the replica itself finds %d differences", n)
	}
	if n := drift(a); n == 0 {
		t.Error("another finds no difference before it is told")
	}
	for _, v := range []*Verifier{b, c} {
		if err := v.publishAside(deadline(t)); err != nil {
			t.Fatal(err)
		}
	}
	for name, v := range map[string]*Verifier{"another": a, "one without a log": c} {
		if n := drift(v); n != 0 {
			t.Errorf("%s finds %d differences after it was told", name, n)
		}
	}
	two.aside = nil // and the rows are nowhere
	if err := b.publishAside(deadline(t)); err != nil {
		t.Fatal(err)
	}
	for name, v := range map[string]*Verifier{"the replica itself": b, "another": a, "one without a log": c} {
		if n := drift(v); n == 0 {
			t.Errorf("%s finds no difference when nothing is set aside", name)
		}
	}
	// While another replica has something to do in the hour, nothing is said of it.
	execute(t, db, `INSERT INTO replicas (log_id, started_at, seen_at, oldest_pending, address) VALUES ('b', 0, 0, ?, '')`, noon.UnixMilli())
	for name, v := range map[string]*Verifier{"another": a, "one without a log": c} {
		if n := drift(v); n != 0 {
			t.Errorf("%s finds %d differences while the replica is at it", name, n)
		}
	}
}
