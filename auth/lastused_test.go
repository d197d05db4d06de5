package auth

import (
	"testing"
	"time"

	"github.com/headgate-io/headgate/internal/store/storetest"
)

func TestLastUseIsKeptToTheMinute(t *testing.T) { storetest.Each(t, testLastUseIsKeptToTheMinute) }

func testLastUseIsKeptToTheMinute(t *testing.T) {
	w := newWorld(t)
	ctx := t.Context()
	w.tenant(NewTenant{Name: "acme"})
	used, text := w.key(NewKey{Tenant: "acme"})
	idle, _ := w.key(NewKey{Tenant: "acme"})
	last := func(id string) *time.Time {
		t.Helper()
		k, err := w.Keys().Show(ctx, w.op, id)
		if err != nil {
			t.Fatal(err)
		}
		return k.LastUsed
	}
	flush := func() {
		t.Helper()
		if err := w.flushUses(ctx); err != nil {
			t.Fatal(err)
		}
	}
	flush()
	if last(used.ID) != nil {
		t.Error("an unused key has been used")
	}
	start := w.clock.Now() // on a full minute
	w.clock.Add(30 * time.Second)
	w.expect(text, nil)
	id, _, _ := parseKeyText(text)
	w.clock.Add(time.Minute)
	w.expect(keyText(id, newSecret()), ErrUnknownKey) // no use
	flush()
	if got := last(used.ID); got == nil || !got.Equal(start) {
		t.Errorf("last used %v, want %v", got, start)
	}
	w.expect(text, nil)
	before := w.seen
	flush()
	flush()
	if got := last(used.ID); got == nil || !got.Equal(start.Add(time.Minute)) || last(idle.ID) != nil {
		t.Errorf("last used %v, want %v", got, start.Add(time.Minute))
	}
	if err := w.sync(ctx); err != nil || w.seen != before {
		t.Errorf("a use counts as a change: %v", err)
	}
}

func TestUsesThatCouldNotBeWrittenAreWrittenLater(t *testing.T) {
	storetest.Each(t, testUsesThatCouldNotBeWrittenAreWrittenLater)
}

func testUsesThatCouldNotBeWrittenAreWrittenLater(t *testing.T) {
	w := newWorld(t)
	w.tenant(NewTenant{Name: "acme"})
	_, text := w.key(NewKey{Tenant: "acme"})
	w.expect(text, nil)
	db := w.db
	w.db = openWorld(t, w.place, w.dir, w.clock).db
	w.db.Close()
	if err := w.flushUses(t.Context()); err == nil {
		t.Fatal("wrote to a closed database")
	}
	w.db = db
	if err := w.flushUses(t.Context()); err != nil {
		t.Fatal(err)
	}
	keys, _, err := w.Keys().List(t.Context(), w.op, "acme", "", 0)
	if err != nil || len(keys) != 1 || keys[0].LastUsed == nil {
		t.Errorf("keys %+v, %v", keys, err)
	}
}
