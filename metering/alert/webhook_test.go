package alert

import (
	"encoding/base64"
	"errors"
	"net/http"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/headgate-io/headgate/internal/store"
	"github.com/headgate-io/headgate/internal/store/storetest"
	"github.com/headgate-io/headgate/internal/timetest"
)

func TestWebhookURLs(t *testing.T) {
	strict := New(tempDB(t), Options{Now: timetest.NewClock(noon).Now})
	for _, u := range []string{"https://example.com", "http://example.com:8080/a?b=c", "https://1.1.1.1/", "https://[2606:4700::1111]/x"} {
		if err := strict.checkURL(u); err != nil {
			t.Errorf("%s: %v", u, err)
		}
	}
	for _, u := range []string{"", "example.com", "ftp://example.com", "https://", "https:///x", "https://user@example.com", "https://user:pw@example.com",
		"https://example.com/#x", "https://exa mple.com", "https://exämple.com", "https://example.com\r\nX: y", "javascript:alert(1)",
		"file:///etc/passwd", "mailto:a@example.com", "https://127.0.0.1", "https://[::1]", "https://10.1.2.3/", "https://[::ffff:10.1.2.3]/",
		"https://169.254.169.254/latest", "https://example.com:0/", "https://example.com:99999/", "https://example.com:http/",
		"https://example.com/" + strings.Repeat("a", maxURLBytes)} {
		if err := strict.checkURL(u); !errors.Is(err, ErrInvalid) {
			t.Errorf("%.60q: %v", u, err)
		}
	}
}

func TestSecretIsNotInTheDatabase(t *testing.T) {
	path := filepath.Join(t.TempDir(), "state.db")
	db, c := openDB(t, path), timetest.NewClock(noon)
	key := [KeyBytes]byte{1}
	s := New(db, Options{Now: c.Now, AllowPrivate: true, Key: key})
	w, secret := create(t, db, s, "a", "http://127.0.0.1:1")
	other, _ := create(t, db, s, "a", "http://127.0.0.1:1")
	raw, err := base64.StdEncoding.DecodeString(strings.TrimPrefix(secret, secretPrefix))
	if err != nil {
		t.Fatal(err)
	}
	var sealed []byte
	err = db.View(t.Context(), func(tx *store.Tx) error {
		return tx.QueryRowContext(t.Context(), `SELECT secret FROM webhooks WHERE id = ?`, w.ID).Scan(&sealed)
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range []string{path, path + "-wal"} {
		if all, err := os.ReadFile(file); err != nil || strings.Contains(string(all), string(raw)) ||
			strings.Contains(string(all), strings.TrimPrefix(secret, secretPrefix)) {
			t.Errorf("%s has the secret in clear, or %v", filepath.Base(file), err)
		}
	}
	if got, err := s.vault.open(w.ID, sealed); err != nil || string(got) != string(raw) {
		t.Errorf("open: %v", err)
	}
	if _, err := newVault([KeyBytes]byte{2}).open(w.ID, sealed); !errors.Is(err, errSecret) {
		t.Errorf("another key opens it: %v", err)
	}
	if _, err := s.vault.open(other.ID, sealed); !errors.Is(err, errSecret) {
		t.Errorf("another webhook's row opens it: %v", err)
	}
	if _, err := s.vault.open(w.ID, sealed[:3]); !errors.Is(err, errSecret) {
		t.Errorf("cut short: %v", err)
	}
}

// TestWebhookHearsOfItsOwnTenantAlone: a parent's hears nothing of a child, the operator's of everybody.
func TestWebhookHearsOfItsOwnTenantAlone(t *testing.T) {
	storetest.Each(t, testWebhookHearsOfItsOwnTenantAlone)
}

func testWebhookHearsOfItsOwnTenantAlone(t *testing.T) {
	db, c := tempDB(t), timetest.NewClock(noon)
	s := local(db, c)
	err := db.Update(t.Context(), func(tx *store.Tx) error {
		for _, row := range [][3]any{{"parent", "p", nil}, {"child", "c", "parent"}} {
			_, err := tx.ExecContext(t.Context(), `INSERT INTO tenants (id, name, parent_id, status, retention_days, at_limit, placement,
				created_at, changed_at, rev) VALUES (?, ?, ?, 'active', 30, 'refuse', 'shared-00', 0, 0, 1)`, row[0], row[1], row[2])
			if err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	parent, child, operator, storage := listen(t, nil), listen(t, nil), listen(t, nil), listen(t, nil)
	create(t, db, s, "parent", parent.url)
	create(t, db, s, "child", child.url)
	create(t, db, s, "child", storage.url, Storage, Users)
	create(t, db, s, "", operator.url)
	full := crossing("child", 90)
	full.Kind = Storage
	record(t, db, crossing("child", 80), full)
	turn(t, s)
	for name, c := range map[string]struct {
		r    *receiver
		want int
	}{"parent": {parent, 0}, "child": {child, 2}, "child, storage": {storage, 1}, "operator": {operator, 2}} {
		if n := len(c.r.take()); n != c.want {
			t.Errorf("%s: %d messages, want %d", name, n, c.want)
		}
	}
	// Nor do lists tell: the operator's deliveries are not the child's to see, the child's not the parent's.
	states := func(r Reach) (alerts, deliveries int) {
		found, err := s.Alerts(t.Context(), r, Filter{Limit: 100})
		if err != nil {
			t.Fatal(err)
		}
		for _, a := range found {
			deliveries += len(a.Deliveries)
		}
		return len(found), deliveries
	}
	for name, c := range map[string]struct {
		r    Reach
		want [2]int
	}{"child": {Of(id("child")), [2]int{2, 3}}, "parent": {Of(id("parent")), [2]int{0, 0}}, "operator": {UnsafeAll(), [2]int{2, 5}}, "nobody": {Reach{}, [2]int{0, 0}}} {
		if a, d := states(c.r); [2]int{a, d} != c.want {
			t.Errorf("%s sees %d alerts, %d deliveries, want %v", name, a, d, c.want)
		}
	}
}

func TestWebhookOutOfReachIsNotFound(t *testing.T) {
	storetest.Each(t, testWebhookOutOfReachIsNotFound)
}

func testWebhookOutOfReachIsNotFound(t *testing.T) {
	db, c := tempDB(t), timetest.NewClock(noon)
	s := local(db, c)
	theirs, _ := create(t, db, s, "b", "http://127.0.0.1:1")
	operators, _ := create(t, db, s, "", "http://127.0.0.1:1")
	for _, r := range []Reach{Of(id("a")), {}} {
		for _, ref := range []string{theirs.ID, operators.ID, "missing", "01ARZ3NDEKTSV4RRFFQ69G5FAV", "\x00"} {
			_, err := s.Webhook(t.Context(), r, ref)
			_, tested := s.Test(t.Context(), r, ref)
			changed := db.Update(t.Context(), func(tx *store.Tx) error {
				_, err := s.Change(t.Context(), tx, r, ref, WebhookPatch{})
				return err
			})
			deleted := db.Update(t.Context(), func(tx *store.Tx) error {
				_, err := s.Delete(t.Context(), tx, r, ref)
				return err
			})
			for what, err := range map[string]error{"show": err, "test": tested, "change": changed, "delete": deleted} {
				if !errors.Is(err, ErrNotFound) {
					t.Errorf("%s %s by %+v: %v", what, ref, r, err)
				}
			}
		}
		if list, err := s.Webhooks(t.Context(), r, id("b"), "", 100); err != nil || len(list) != 0 {
			t.Errorf("%+v lists %+v, %v", r, list, err)
		}
	}
}

func TestWebhookLifeCycle(t *testing.T) { storetest.Each(t, testWebhookLifeCycle) }

func testWebhookLifeCycle(t *testing.T) {
	db, c := tempDB(t), timetest.NewClock(noon)
	s := local(db, c)
	r := listen(t, nil)
	w, secret := create(t, db, s, "a", r.url, Users, Storage, Users)
	if want := []Kind{Storage, Users}; !reflect.DeepEqual(w.Kinds, want) {
		t.Errorf("kinds %v, want %v", w.Kinds, want)
	}
	change := func(p WebhookPatch) (got Webhook, err error) {
		err = db.Update(t.Context(), func(tx *store.Tx) error {
			got, err = s.Change(t.Context(), tx, Of(id("a")), w.ID, p)
			return err
		})
		return got, err
	}
	off, bad, none := false, "ftp://x", []Kind{}
	if _, err := change(WebhookPatch{URL: &bad}); !errors.Is(err, ErrInvalid) {
		t.Errorf("a bad URL: %v", err)
	}
	if _, err := change(WebhookPatch{Kinds: &[]Kind{"limit.moon"}}); !errors.Is(err, ErrInvalid) {
		t.Errorf("a bad kind: %v", err)
	}
	got, err := change(WebhookPatch{Enabled: &off, Kinds: &none})
	if err != nil || got.DisabledAt == nil || len(got.Kinds) != 0 || got.URL != r.url {
		t.Errorf("changed %+v, %v", got, err)
	}
	if shown, err := s.Webhook(t.Context(), Of(id("a")), w.ID); err != nil || !reflect.DeepEqual(shown, got) {
		t.Errorf("shown %+v, %v, want %+v", shown, err, got)
	}
	if res, err := s.Test(t.Context(), Of(id("a")), w.ID); err != nil || !res.Delivered || res.Status != 200 || len(r.take()) != 1 {
		t.Errorf("test: %+v, %v", res, err)
	}
	if strings.Contains(string(r.take()[0].body), secret) {
		t.Error("the secret is in a message")
	}
	for range maxWebhooks - 1 {
		create(t, db, s, "a", r.url)
	}
	err = db.Update(t.Context(), func(tx *store.Tx) error {
		_, _, err := s.Create(t.Context(), tx, NewWebhook{Tenant: id("a"), URL: r.url})
		return err
	})
	if !errors.Is(err, ErrInvalid) {
		t.Errorf("one too many: %v", err)
	}
	record(t, db, crossing("a", 80))
	if err := s.DeleteTenant(t.Context(), id("a")); err != nil {
		t.Fatal(err)
	}
	for _, table := range []string{"alerts", "webhooks", "webhook_deliveries"} {
		if n := number(t, db, `SELECT count(*) FROM `+table); n != 0 {
			t.Errorf("%d rows of the deleted tenant are in %s", n, table)
		}
	}
}

func TestOldEventsAreRemovedAndStaleDeliveriesEnd(t *testing.T) {
	storetest.Each(t, testOldEventsAreRemovedAndStaleDeliveriesEnd)
}

func testOldEventsAreRemovedAndStaleDeliveriesEnd(t *testing.T) {
	db, c, r := tempDB(t), timetest.NewClock(noon), listen(t, nil)
	s := local(db, c)
	create(t, db, s, "a", r.url)
	record(t, db, crossing("a", 80))
	err := db.Update(t.Context(), func(tx *store.Tx) error {
		_, err := tx.ExecContext(t.Context(), `UPDATE webhooks SET disabled_at = 1`)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	c.Add(2*giveUpAfter + time.Minute)
	turn(t, s)
	if d := onlyDelivery(t, s); d.State != StateFailed || d.Error == "" {
		t.Errorf("delivery %+v", d)
	}
	c.Add(keepAlerts)
	turn(t, s)
	if n := number(t, db, `SELECT count(*) FROM alerts`); n != 0 {
		t.Errorf("%d old events", n)
	}
}

// TestChangeEndsTheTurnOfAWebhookThatIsSpokenTo: what waits goes nowhere once the webhook is disabled, and to the new URL once it has
// one, also when several deliveries were due and the first is under way.
func TestChangeEndsTheTurnOfAWebhookThatIsSpokenTo(t *testing.T) {
	storetest.Each(t, testChangeEndsTheTurnOfAWebhookThatIsSpokenTo)
}

func testChangeEndsTheTurnOfAWebhookThatIsSpokenTo(t *testing.T) {
	off, on := false, true
	other := listen(t, nil)
	for name, patch := range map[string]WebhookPatch{"disabled": {Enabled: &off}, "moved": {URL: &other.url}} {
		db, c := tempDB(t), timetest.NewClock(noon)
		arrived, hold := make(chan struct{}, 10), make(chan struct{})
		r := listen(t, func(http.ResponseWriter, *http.Request) { arrived <- struct{}{}; <-hold })
		s := local(db, c)
		w, _ := create(t, db, s, "a", r.url)
		for _, threshold := range []int{50, 80, 90} {
			record(t, db, crossing("a", threshold))
		}
		if err := s.round(t.Context()); err != nil {
			t.Fatal(err)
		}
		<-arrived
		change := func(p WebhookPatch) {
			t.Helper()
			err := db.Update(t.Context(), func(tx *store.Tx) error {
				_, err := s.Change(t.Context(), tx, Of(id("a")), w.ID, p)
				return err
			})
			if err != nil {
				t.Fatal(err)
			}
		}
		change(patch)
		close(hold)
		s.wg.Wait()
		if n := len(r.take()); n != 1 {
			t.Errorf("%s: %d messages were sent, want the one that was under way", name, n)
		}
		change(WebhookPatch{URL: &other.url, Enabled: &on})
		before := len(other.take())
		turn(t, s)
		if n := len(other.take()) - before; n != 3 { // the one under way too: nobody knows how it ended
			t.Errorf("%s: %d messages were sent to the new URL, want 3", name, n)
		}
	}
}
