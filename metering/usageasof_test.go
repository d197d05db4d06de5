package metering

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/headgate-io/headgate/internal/store"
	"github.com/headgate-io/headgate/internal/store/storetest"
	"github.com/headgate-io/headgate/internal/timetest"
)

// book is the ledger through one or two processes, with what is needed to fill it at random.
type book struct {
	*testing.T
	rng *rand.Rand
	c   *timetest.Clock
	db  *store.DB
	ls  []*Ledger
	run uint64
	ids int
}

func newBook(t *testing.T, seed uint64) *book {
	b := &book{T: t, rng: rand.New(rand.NewPCG(seed, 3)), c: timetest.NewClock(noon), db: tempDB(t)}
	for _, skew := range []time.Duration{0, 90 * time.Second} {
		b.ls = append(b.ls, NewLedger(b.db, LedgerOptions{Now: func() time.Time { return b.c.Now().Add(skew) }}))
	}
	addTenant(t, b.db, "root", "")
	addTenant(t, b.db, "child", "ID-root")
	addTenant(t, b.db, "grandchild", "ID-child")
	addTenant(t, b.db, "other", "")
	return b
}

func (b *book) ledger() *Ledger { return b.ls[b.rng.IntN(len(b.ls))] }

func (b *book) tenant() string {
	return []string{"ID-root", "ID-child", "ID-grandchild", "ID-other"}[b.rng.IntN(4)]
}

// receipts returns a few receipts of the last hours: some are late.
func (b *book) receipts() (out []Receipt) {
	for range 1 + b.rng.IntN(4) {
		at := b.c.Now().Add(-time.Duration(b.rng.IntN(240)) * time.Minute)
		out = append(out, Receipt{Tenant: id(b.tenant()), Key: fmt.Sprint("k", b.rng.IntN(2)), Signal: []Signal{Logs, Traces}[b.rng.IntN(2)],
			ReceivedAt: at, BilledBytes: b.rng.Int64N(1000), Records: b.rng.Int64N(10)})
	}
	return out
}

// step changes the ledger in some way, and tells model of receipts and corrections; hour is that which they are dated in.
func (b *book) step(model func(hour int64, tenant string, s Signal, key string, bytes int64)) {
	b.Helper()
	b.c.Set(b.c.Now().Add(time.Duration(b.rng.IntN(35)) * time.Minute))
	l := b.ledger()
	open := sealedNow(b.T, l).Unix()
	switch b.rng.IntN(6) {
	case 0, 1:
		seal(b.T, l)
	case 2, 3:
		b.run++
		rs := b.receipts()
		apply(b.T, l, testLog, b.run, true, rs...)
		for _, r := range rs {
			model(max(open, hourOf(r.ReceivedAt)), r.Tenant.String(), r.Signal, r.Key, r.BilledBytes)
		}
	case 4:
		b.ids++
		n := NewCorrection{ID: fmt.Sprint("c", b.ids), Tenant: id(b.tenant()), Hour: b.c.Now().Add(-time.Duration(b.rng.IntN(600)) * time.Minute),
			Signal: Logs, Key: "k0", BilledBytes: b.rng.Int64N(600) - 300, Reason: "test"}
		c, err := correct(b.T, l, n)
		if err == nil {
			model(c.Hour.Unix(), c.TenantID, c.Signal, c.Key, c.BilledBytes)
		} else if !errors.Is(err, ErrBelowZero) && !errors.Is(err, ErrCorrection) {
			b.Fatal(err)
		}
	default:
		who := b.tenant()
		execute(b.T, b.db, `UPDATE tenants SET name = ? WHERE id = ?`, fmt.Sprint(who, b.rng.IntN(1000)), who)
	}
}

// question is something to ask as of a moment.
type question struct {
	at   time.Time
	f    Filter
	json string
}

func (b *book) ask(f Filter) string {
	b.Helper()
	var out bytes.Buffer
	for {
		u, err := b.ledger().Usage(deadline(b.T), f)
		if err == nil {
			err = u.Write(&out, FormatJSON)
		}
		if err != nil {
			b.Fatal(err)
		}
		if u.Next == "" {
			return out.String()
		}
		f.Cursor = u.Next
	}
}

// Whatever was answered as of a moment is answered to the byte for ever: while hours are sealed, late receipts and corrections
// come, tenants get other names, and processes ask whose clocks differ, also as of the very moment that it is.
func TestAnswersAsOfAMomentAreTheSameForEver(t *testing.T) {
	storetest.Each(t, func(t *testing.T) {
		b := newBook(t, 1)
		var asked []question
		for range 150 {
			b.step(func(int64, string, Signal, string, int64) {})
			if b.rng.IntN(3) > 0 {
				continue
			}
			at := b.c.Now()
			if b.rng.IntN(2) == 0 {
				at = at.Add(-time.Duration(b.rng.IntN(2000)) * time.Minute)
			}
			f := Filter{Tenants: ids("ID-root", "ID-other"), Descendants: b.rng.IntN(2) == 0, By: []Interval{ByHour, ByDay, ByMonth}[b.rng.IntN(3)],
				BySignal: b.rng.IntN(2) == 0, ByKey: true, AsOf: at, Limit: 1 + b.rng.IntN(20)}
			asked = append(asked, question{at, f, b.ask(f)})
		}
		rows := 0
		for _, q := range asked {
			if got := b.ask(q.f); got != q.json {
				t.Errorf("as of %v:\n%s, was\n%s", q.at, got, q.json)
			}
			rows += bytes.Count([]byte(q.json), []byte(`"start"`))
		}
		if rows < 100 {
			t.Errorf("%d rows only", rows)
		}
	})
}

// A seal is dated now and committed while somebody has already asked as of now: it must be dated later.
func TestSealIsNotDatedIntoWhatWasRead(t *testing.T) {
	b := newBook(t, 2)
	apply(t, b.ls[0], testLog, 1, true, logs("ID-root", "k", 1, noon.Add(-3*time.Hour)))
	slow, fast := b.ls[0], b.ls[1] // fast is ahead of slow
	f := Filter{Tenants: ids("ID-root"), AsOf: b.c.Now().Add(80 * time.Second)}
	before, err := fast.Usage(deadline(t), f)
	if err != nil || len(before.Rows) != 0 {
		t.Fatal(before, err)
	}
	seal(t, slow) // by its clock, before what fast has read as of
	after, err := fast.Usage(deadline(t), f)
	if err != nil || len(after.Rows) != 0 || !after.SealedThrough.Equal(before.SealedThrough) {
		t.Errorf("%+v, %v, was %+v", after, err, before)
	}
	b.c.Set(b.c.Now().Add(2 * time.Minute))
	f.AsOf = b.c.Now()
	if u, err := fast.Usage(deadline(t), f); err != nil || len(u.Rows) != 1 || u.Rows[0].State != Sealed {
		t.Errorf("%+v, %v", u, err)
	}
}

func TestFutureIsNotKnown(t *testing.T) {
	b := newBook(t, 2)
	if _, err := b.ls[0].Usage(deadline(t), Filter{Tenants: ids("ID-root"), AsOf: noon.Add(time.Millisecond)}); !errors.Is(err, ErrFilter) {
		t.Errorf("as of the future: %v", err)
	}
	if u, err := b.ls[0].Usage(deadline(t), Filter{Tenants: ids("ID-root"), AsOf: time.Unix(0, 0)}); err != nil || len(u.Rows) != 0 {
		t.Errorf("as of 1970: %+v, %v", u, err)
	}
}

// A clock years ahead asks as of then: seals must be dated by good clocks all the same.
func TestWrongClockAsksAsOfItsTime(t *testing.T) {
	b := newBook(t, 2)
	apply(t, b.ls[0], testLog, 1, true, logs("ID-root", "k", 1, noon.Add(-3*time.Hour)))
	b.c.Set(noon.AddDate(5, 0, 0))
	if _, err := b.ls[0].Usage(deadline(t), Filter{Tenants: ids("ID-root"), AsOf: b.c.Now()}); err != nil {
		t.Fatal(err)
	}
	b.c.Set(noon)
	seal(t, b.ls[0])
	if u, err := b.ls[0].Usage(deadline(t), Filter{Tenants: ids("ID-root"), AsOf: noon}); err != nil || len(u.Rows) != 1 {
		t.Errorf("%+v, %v", u, err)
	}
}
