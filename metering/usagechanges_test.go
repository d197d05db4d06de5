package metering

import (
	"errors"
	"maps"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/headgate-io/headgate/internal/store/storetest"
)

// copyOf is the ledger as somebody has copied it by pulling changes.
type copyOf struct {
	rows   map[string]Entry
	cursor string
}

// pull takes pages until there are no more, or n of them.
func (c *copyOf) pull(t *testing.T, l *Ledger, f ChangesFilter, n int) {
	t.Helper()
	f.Cursor = c.cursor
	for range n {
		page, err := l.Changes(deadline(t), f)
		if err != nil || len(page.Rows) > f.Limit || page.Next == "" {
			t.Error(page, err)
			return
		}
		for _, e := range page.Rows {
			e.State = ""
			c.rows[e.ID] = e
		}
		f.Cursor, c.cursor = page.Next, page.Next
		if !page.More {
			return
		}
	}
}

func newCopy() *copyOf { return &copyOf{rows: map[string]Entry{}} }

// Random changes of the ledger, pulled in pages of any size, stopped in between, begun again from old cursors: the copy is
// always the same as one that is pulled from the beginning, and sums up to what the usage says.
func TestPulledCopyIsTheLedger(t *testing.T) {
	storetest.Each(t, func(t *testing.T) {
		b := newBook(t, 11)
		f := ChangesFilter{Tenants: ids("ID-root", "ID-other"), Descendants: true}
		c := newCopy()
		older := "" // a cursor of some time ago
		for i := range 200 {
			b.step(func(int64, string, Signal, string, int64) {})
			f.Limit = 1 + b.rng.IntN(7)
			switch b.rng.IntN(5) {
			case 0:
				c.pull(t, b.ledger(), f, b.rng.IntN(3))
			case 1:
				c.pull(t, b.ledger(), f, 1000)
			case 2:
				c.cursor, older = older, c.cursor // as after a copy was restored, rows that it has come again
			}
			if i%20 == 0 {
				c.pull(t, b.ledger(), f, 1000)
				fresh := newCopy()
				f.Limit = 1000
				fresh.pull(t, b.ledger(), f, 1000)
				same(t, c, fresh)
			}
		}
		c.pull(t, b.ledger(), f, 1000)
		var sum, corrections int64
		for _, e := range c.rows {
			sum += e.BilledBytes
			if e.isCorrection() {
				corrections++
			}
		}
		rows := pages(t, b.ledger(), Filter{Tenants: f.Tenants, Descendants: true, By: ByMonth}, 1000)
		if want := billedIn(rows); sum != want || corrections == 0 {
			t.Errorf("%d bytes in the copy, want %d; %d corrections", sum, want, corrections)
		}
	})
}

// same compares copies but for the names, which are not a change.
func same(t *testing.T, got, want *copyOf) {
	t.Helper()
	for _, c := range []*copyOf{got, want} {
		for k, e := range c.rows {
			e.Tenant, e.rev = "", 0
			c.rows[k] = e
		}
	}
	if !maps.Equal(got.rows, want.rows) {
		t.Errorf("the copy is\n%v, want\n%v", got.rows, want.rows)
	}
}

// Writers at work all the time, a reader that pulls all the time: no change is passed over.
func TestNoChangeIsPassedOverBesideWriters(t *testing.T) {
	storetest.Each(t, func(t *testing.T) {
		db := tempDB(t)
		l := newTestLedger(db)
		var wg sync.WaitGroup
		var run atomic.Uint64
		for w := range 3 {
			wg.Go(func() {
				for i := range 40 {
					apply(t, l, testLog, run.Add(1), true, logs("a", "k", 1, noon), logs("a", string(rune('p'+w)), 1, noon.Add(time.Duration(i)*time.Hour)))
				}
			})
		}
		c, f := newCopy(), ChangesFilter{Tenants: ids("a"), Limit: 3}
		done := make(chan struct{})
		go func() { wg.Wait(); close(done) }()
		for working := true; working; {
			select {
			case <-done:
				working = false
			default:
			}
			c.pull(t, l, f, 5)
		}
		c.pull(t, l, f, 1000)
		var sum int64
		for _, e := range c.rows {
			sum += e.BilledBytes
		}
		if sum != 240 {
			t.Errorf("%d bytes in the copy, want 240", sum)
		}
	})
}

// SECURITY: a cursor of another tenant's pull is refused, and changes of others are not shown.
func TestChangesAreOfTheTenantsAskedFor(t *testing.T) {
	storetest.Each(t, testChangesAreOfTheTenantsAskedFor)
}

func testChangesAreOfTheTenantsAskedFor(t *testing.T) {
	l := fill(t, tempDB(t), []Receipt{logs("a", "k", 1, noon), logs("b", "k", 2, noon)})
	if _, err := correct(t, l, less("c", 1, 0)); err != nil {
		t.Fatal(err)
	}
	page, err := l.Changes(deadline(t), ChangesFilter{Tenants: ids("b")})
	if err != nil || len(page.Rows) != 1 || page.Rows[0].TenantID != "b" || page.More {
		t.Errorf("%+v, %v", page, err)
	}
	for _, f := range []ChangesFilter{
		{Tenants: ids("a"), Cursor: page.Next}, {Tenants: ids("b"), Descendants: true, Cursor: page.Next}, {},
		{Tenants: ids("b"), Cursor: "zzz"},
	} {
		if _, err := l.Changes(deadline(t), f); !errors.Is(err, ErrFilter) {
			t.Errorf("%+v: %v", f, err)
		}
	}
	all, err := l.UnsafeChangesOfAll(deadline(t), ChangesFilter{})
	if err != nil || len(all.Rows) != 3 {
		t.Errorf("%+v, %v", all, err)
	}
}
