package metering

import (
	"errors"
	"math"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/headgate-io/headgate/internal/store"
	"github.com/headgate-io/headgate/internal/store/storetest"
	"github.com/headgate-io/headgate/internal/timetest"
)

// correct records a correction in a transaction of its own.
func correct(t *testing.T, l *Ledger, n NewCorrection) (c Correction, err error) {
	t.Helper()
	err = l.db.Update(deadline(t), func(tx *store.Tx) error {
		c, err = l.Correct(deadline(t), tx, n)
		return err
	})
	return c, err
}

// less is a correction of tenant a's logs at noon with key k.
func less(name string, bytes, records int64) NewCorrection {
	return NewCorrection{ID: name, Tenant: id("a"), Hour: noon, Signal: Logs, Key: "k", BilledBytes: bytes, Records: records,
		Reason: "sent twice by our mistake"}
}

func TestCorrectionIsDatedInTheFirstOpenHour(t *testing.T) {
	storetest.Each(t, func(t *testing.T) {
		c := timetest.NewClock(noon.Add(30 * time.Hour))
		l := NewLedger(tempDB(t), LedgerOptions{Now: c.Now})
		apply(t, l, testLog, 1, true, logs("a", "k", 100, noon))
		seal(t, l)
		before := csvThrough(t, l, sealedNow(t, l))
		got, err := correct(t, l, less("c1", -40, 0))
		open := noon.Add(29 * time.Hour)
		want := Correction{ID: "c1", Hour: open, Corrects: noon, TenantID: "a", Signal: Logs, Key: "k", BilledBytes: -40,
			Source: sourceOperator, Reason: "sent twice by our mistake", RecordedAt: c.Now(), State: Open}
		if err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("%+v, %v, want\n%+v", got, err, want)
		}
		if got := csvThrough(t, l, sealedNow(t, l)); got != before {
			t.Errorf("a sealed hour changed from\n%s to\n%s", before, got)
		}
		u, err := l.Usage(t.Context(), Filter{Tenants: ids("a"), By: ByDay})
		if err != nil || len(u.Rows) != 2 || u.Rows[0].BilledBytes != 100 || u.Rows[0].State != Sealed || u.Rows[1].BilledBytes != -40 ||
			u.Rows[1].CorrectionBytes != -40 || u.Rows[1].State != Open {
			t.Errorf("%+v, %v", u.Rows, err)
		}
		c.Set(noon.Add(31 * time.Hour))
		seal(t, l)
		all, err := l.Corrections(t.Context(), CorrectionFilter{Tenants: ids("a")})
		if err != nil || len(all.Corrections) != 1 || all.Corrections[0].State != Sealed {
			t.Errorf("%+v, %v", all, err)
		}
	})
}

func TestCorrectionLeavesNoHourBelowZero(t *testing.T) {
	storetest.Each(t, func(t *testing.T) {
		c := timetest.NewClock(noon.Add(5 * time.Hour))
		l := NewLedger(tempDB(t), LedgerOptions{Now: c.Now})
		r := logs("a", "k", 100, noon)
		r.Records = 3
		apply(t, l, testLog, 1, true, r, logs("a", "k2", 1000, noon), logs("b", "k", 1000, noon))
		seal(t, l)
		apply(t, l, "late", 1, true, logs("a", "k", 20, noon))
		for _, c := range []struct {
			name           string
			bytes, records int64
			want           error
		}{
			{"too much", -121, 0, ErrBelowZero},
			{"too many", 0, -5, ErrBelowZero},
			{"a part", -100, -1, nil},
			{"more than the rest", -21, 0, ErrBelowZero},
			{"back", 5, 0, nil},
			{"the rest", -25, -3, nil},
			{"nothing is left", -1, 0, ErrBelowZero},
		} {
			if _, err := correct(t, l, less(c.name, c.bytes, c.records)); !errors.Is(err, c.want) {
				t.Errorf("%s: %v, want %v", c.name, err, c.want)
			}
		}
	})
}

func TestCorrectionIsRecordedOnce(t *testing.T) {
	storetest.Each(t, func(t *testing.T) {
		c := timetest.NewClock(noon.Add(time.Hour))
		l := NewLedger(tempDB(t), LedgerOptions{Now: c.Now})
		apply(t, l, testLog, 1, true, logs("a", "k", 100, noon))
		first, err := correct(t, l, less("c", -60, 0))
		if err != nil {
			t.Fatal(err)
		}
		c.Set(noon.Add(48 * time.Hour))
		seal(t, l)
		again, err := correct(t, l, less("c", -60, 0))
		first.State = Sealed
		if err != nil || !reflect.DeepEqual(again, first) {
			t.Errorf("again: %+v, %v, want %+v", again, err, first)
		}
		if _, err := correct(t, l, less("c", -10, 0)); !errors.Is(err, ErrCorrectionTaken) {
			t.Errorf("another with the same id: %v", err)
		}
		if got := all(t, l, Filter{})["a/logs/k"]; got != 40 {
			t.Errorf("billed %d, want 40", got)
		}
	})
}

func TestCorrectionsThatMakeNoSenseAreRefused(t *testing.T) {
	storetest.Each(t, testCorrectionsThatMakeNoSenseAreRefused)
}

func testCorrectionsThatMakeNoSenseAreRefused(t *testing.T) {
	c := timetest.NewClock(noon)
	l := NewLedger(tempDB(t), LedgerOptions{Now: c.Now})
	for name, change := range map[string]func(*NewCorrection){
		"no id":          func(n *NewCorrection) { n.ID = "" },
		"long id":        func(n *NewCorrection) { n.ID = strings.Repeat("x", 65) },
		"no tenant":      func(n *NewCorrection) { n.Tenant = NewCorrection{}.Tenant },
		"no signal":      func(n *NewCorrection) { n.Signal = "" },
		"other signal":   func(n *NewCorrection) { n.Signal = "smoke" },
		"future hour":    func(n *NewCorrection) { n.Hour = noon.Add(time.Second) },
		"hour of 1969":   func(n *NewCorrection) { n.Hour = time.Unix(-1, 0) },
		"nothing":        func(n *NewCorrection) { n.BilledBytes, n.Records = 0, 0 },
		"too much":       func(n *NewCorrection) { n.BilledBytes = MaxCorrection + 1 },
		"far too little": func(n *NewCorrection) { n.BilledBytes = math.MinInt64 },
		"too many":       func(n *NewCorrection) { n.Records = math.MaxInt64 },
		"no reason":      func(n *NewCorrection) { n.Reason = " \t" },
		"long reason":    func(n *NewCorrection) { n.Reason = strings.Repeat("x", MaxReasonBytes+1) },
		"odd reason":     func(n *NewCorrection) { n.Reason = "a\x00b" },
		"escape":         func(n *NewCorrection) { n.Reason = "\x1b[2J" },
		"long key":       func(n *NewCorrection) { n.Key = strings.Repeat("k", maxKeyBytes+1) },
		"key of no text": func(n *NewCorrection) { n.Key = "\xff" },
	} {
		n := less("c", 1, 1)
		change(&n)
		if _, err := correct(t, l, n); !errors.Is(err, ErrCorrection) {
			t.Errorf("%s: %v, want ErrCorrection", name, err)
		}
	}
	if n := len(all(t, l, Filter{})); n != 0 {
		t.Errorf("%d rows are there", n)
	}
}

func TestCorrectionsNeverChange(t *testing.T) {
	storetest.Each(t, func(t *testing.T) {
		l := newTestLedger(tempDB(t))
		if _, err := correct(t, l, less("c", 10, 0)); err != nil {
			t.Fatal(err)
		}
		for _, statement := range []string{`UPDATE usage_corrections SET billed_bytes = 0`, `DELETE FROM usage_corrections`} {
			err := l.db.Update(deadline(t), func(tx *store.Tx) error {
				_, err := tx.ExecContext(t.Context(), statement)
				return err
			})
			if err == nil || !strings.Contains(err.Error(), "append-only") {
				t.Errorf("%s: %v", statement, err)
			}
		}
	})
}

// What came late counts for the meter on the day that it came on, an operator's correction on none.
func TestLateReceiptsCountForTheirDaysLimit(t *testing.T) {
	storetest.Each(t, func(t *testing.T) {
		db := tempDB(t)
		c := timetest.NewClock(noon.Add(20 * time.Hour))
		l := NewLedger(db, LedgerOptions{Now: c.Now})
		apply(t, l, testLog, 1, true, logs("a", "k", 100, noon))
		seal(t, l)
		apply(t, l, "late", 1, true, logs("a", "k", 10, noon))
		if _, err := correct(t, l, less("c", -5, 0)); err != nil {
			t.Fatal(err)
		}
		m := openMeter(t, db, c.Now())
		wantUsed(t, m, false, "a", noon, 110)
		wantUsed(t, m, true, "k", noon, 110)
		wantUsed(t, m, false, "a", c.Now(), 0)
	})
}

func TestLateReceiptsSayWhichHourTheyBelongTo(t *testing.T) {
	storetest.Each(t, func(t *testing.T) {
		c := timetest.NewClock(noon.Add(20 * time.Hour))
		l := NewLedger(tempDB(t), LedgerOptions{Now: c.Now})
		seal(t, l)
		late := Receipt{Tenant: id("a"), Key: "k", Signal: Traces, ReceivedAt: noon, BilledBytes: 10, OverageBytes: 4,
			UnbilledBytes: 7, Records: 3, Rejected: 2}
		apply(t, l, "late", 7, true, late, late, logs("a", "k", 5, c.Now()))
		got, err := l.Corrections(t.Context(), CorrectionFilter{Tenants: ids("a")})
		if err != nil || len(got.Corrections) != 1 {
			t.Fatal(got, err)
		}
		want := Correction{ID: got.Corrections[0].ID, Hour: noon.Add(19 * time.Hour), Corrects: noon, TenantID: "a", Signal: Traces,
			Key: "k", BilledBytes: 20, Records: 6, Requests: 2, Source: sourceLate, Reason: lateReason, RecordedAt: c.Now(), State: Open}
		if !reflect.DeepEqual(got.Corrections[0], want) {
			t.Errorf("%+v, want\n%+v", got.Corrections[0], want)
		}
		u, err := l.Usage(t.Context(), Filter{Tenants: ids("a"), By: ByHour, BySignal: true})
		if err != nil || len(u.Rows) != 2 || u.Rows[0].OverageBytes != 8 || u.Rows[0].UnbilledBytes != 14 || u.Rows[0].RejectedRecords != 4 {
			t.Errorf("%+v, %v", u.Rows, err)
		}
	})
}
