package alert

import (
	"reflect"
	"sync"
	"testing"
	"time"

	"github.com/headgate-io/headgate/internal/pgtest"
	"github.com/headgate-io/headgate/internal/store"
	"github.com/headgate-io/headgate/internal/store/storetest"
)

func TestMain(m *testing.M) { pgtest.Main(m) }

var noon = time.Date(2025, 3, 1, 12, 0, 0, 0, time.UTC)

const noonDay = 20148

func openDB(t *testing.T, path string) *store.DB {
	t.Helper()
	db, err := store.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close() })
	return db
}

func tempDB(t *testing.T) *store.DB {
	t.Helper()
	return openDB(t, storetest.Place(t))
}

func crossing(tenant string, threshold int) Event {
	return Event{Tenant: tenant, Kind: DailyBytes, Owner: OwnerTenant, OwnerID: tenant, LimitID: "limit-daily-bytes",
		Day: noonDay, Threshold: threshold, Used: 80, Max: 100, At: noon}
}

func record(t *testing.T, db *store.DB, events ...Event) {
	t.Helper()
	err := db.Update(t.Context(), func(tx *store.Tx) error {
		for _, e := range events {
			if err := Record(t.Context(), tx, e); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

func number(t *testing.T, db *store.DB, query string, args ...any) (n int) {
	t.Helper()
	err := db.View(t.Context(), func(tx *store.Tx) error { return tx.QueryRowContext(t.Context(), query, args...).Scan(&n) })
	if err != nil {
		t.Fatal(err)
	}
	return n
}

func TestHundredConcurrentCrossingsAreOneEvent(t *testing.T) {
	storetest.Each(t, testHundredConcurrentCrossingsAreOneEvent)
}

func testHundredConcurrentCrossingsAreOneEvent(t *testing.T) {
	db := tempDB(t)
	var wg sync.WaitGroup
	for range 100 {
		wg.Go(func() {
			err := db.Update(t.Context(), func(tx *store.Tx) error { return Record(t.Context(), tx, crossing("a", 80)) })
			if err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if n := number(t, db, `SELECT count(*) FROM alerts`); n != 1 {
		t.Errorf("%d events, want 1", n)
	}
}

func TestEachOtherCrossingIsAnEventOfItsOwn(t *testing.T) {
	storetest.Each(t, testEachOtherCrossingIsAnEventOfItsOwn)
}

func testEachOtherCrossingIsAnEventOfItsOwn(t *testing.T) {
	db := tempDB(t)
	base := crossing("a", 80)
	events := []Event{base}
	for _, change := range []func(e *Event){
		func(e *Event) { e.Tenant = "b" },
		func(e *Event) { e.Kind = Storage },
		func(e *Event) { e.Owner = OwnerKey },
		func(e *Event) { e.OwnerID = "k" },
		func(e *Event) { e.LimitID = "limit-daily-bytes-key" },
		func(e *Event) { e.Signal = "logs" },
		func(e *Event) { e.Day++ },
		func(e *Event) { e.Threshold = 90 },
	} {
		e := base
		change(&e)
		events = append(events, e)
	}
	record(t, db, events...)
	record(t, db, events...)
	later := base
	later.At, later.Used = noon.Add(time.Hour), 99
	record(t, db, later)
	if n := number(t, db, `SELECT count(*) FROM alerts`); n != len(events) {
		t.Errorf("%d events, want %d", n, len(events))
	}
}

func TestNoEventIsMalformedOrTellsOfAParent(t *testing.T) {
	if err := crossing("a", 80).check(); err != nil {
		t.Error(err)
	}
	for _, e := range []Event{
		{Tenant: "a b", Kind: DailyBytes, At: noon},
		{Tenant: "a", Kind: DailyBytes, At: noon, OwnerID: "\x00"},
		{Tenant: "a", Kind: DailyBytes, At: noon, OwnerID: "\xff"},
		{Tenant: "a", Kind: DailyBytes, At: time.Unix(-1, 0)},
		{Tenant: "a", Kind: DailyBytes, At: lastTime},
		{}, {Tenant: "a", Kind: DailyBytes}, {Tenant: "a", At: noon}, {Kind: DailyBytes, At: noon},
		{Tenant: "a", Kind: DailyBytes, At: noon, Threshold: -1},
		{Tenant: "a", Kind: DailyBytes, At: noon, Owner: OwnerParent, OwnerID: "p"},
		{Tenant: "a", Kind: DailyBytes, At: noon, Owner: OwnerParent, Used: 1},
		{Tenant: "a", Kind: DailyBytes, At: noon, Owner: OwnerParent, Max: 1},
	} {
		if e.check() == nil {
			t.Errorf("%+v is an event", e)
		}
	}
}

func TestCrossed(t *testing.T) {
	const huge = 1<<63 - 1
	check := func(before, after, max int64, want ...int) {
		t.Helper()
		if got := Crossed(before, after, max); !reflect.DeepEqual(got, want) {
			t.Errorf("Crossed(%d, %d, %d) = %v, want %v", before, after, max, got, want)
		}
	}
	check(0, 49, 100)
	check(0, 50, 100, 50)
	check(50, 79, 100)
	check(49, 80, 100, 50, 80)
	check(99, 100, 100, 100)
	check(100, 200, 100)
	check(0, 200, 100, 50, 80, 90, 100)
	check(0, 1, 1, 50, 80, 90, 100) // half of one byte is one byte
	check(0, 5, 0)
	check(0, 5, -1)
	check(0, huge, huge, 50, 80, 90, 100)
	check(huge-1, huge, huge, 100)
	for max := int64(1); max < 300; max++ {
		for _, p := range Thresholds {
			if n := amount(max, int64(p)); n*100 < max*int64(p) || (n-1)*100 >= max*int64(p) {
				t.Errorf("amount(%d, %d) = %d", max, p, n)
			}
		}
	}
}
