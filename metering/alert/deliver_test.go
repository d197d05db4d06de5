package alert

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/headgate-io/headgate/internal/store"
	"github.com/headgate-io/headgate/internal/store/storetest"
	"github.com/headgate-io/headgate/internal/timetest"
)

// TestMessageIsWhatStandardWebhooksSays reads a message as the specification tells receivers to, with nothing of the sender's
// code: spec/standard-webhooks.md 1.0.0, "Signature scheme", "Webhook headers" and "Payload structure".
func TestMessageIsWhatStandardWebhooksSays(t *testing.T) {
	storetest.Each(t, testMessageIsWhatStandardWebhooksSays)
}

func testMessageIsWhatStandardWebhooksSays(t *testing.T) {
	db, c, r := tempDB(t), timetest.NewClock(noon.Add(time.Minute)), listen(t, nil)
	s := local(db, c)
	_, secret := create(t, db, s, "a", r.url+"/hook?x=1")
	record(t, db, crossing("a", 80))
	turn(t, s)
	all := r.take()
	if len(all) != 1 {
		t.Fatalf("%d messages", len(all))
	}
	h, body := all[0].header, all[0].body

	if !strings.HasPrefix(secret, "whsec_") {
		t.Fatalf("secret %q", secret)
	}
	key, err := base64.StdEncoding.DecodeString(strings.TrimPrefix(secret, "whsec_"))
	if err != nil || len(key) < 24 || len(key) > 64 {
		t.Fatalf("secret of %d bytes, %v", len(key), err)
	}
	mac := hmac.New(sha256.New, key)
	mac.Write([]byte(h.Get("webhook-id") + "." + h.Get("webhook-timestamp") + "." + string(body)))
	if want := "v1," + base64.StdEncoding.EncodeToString(mac.Sum(nil)); h.Get("webhook-signature") != want {
		t.Errorf("signature %q, want %q", h.Get("webhook-signature"), want)
	}
	if h.Get("webhook-timestamp") != strconv.FormatInt(c.Now().Unix(), 10) {
		t.Errorf("timestamp %q is not the attempt's", h.Get("webhook-timestamp"))
	}
	if strings.Contains(h.Get("webhook-id"), ".") || h.Get("webhook-id") == "" || h.Get("Content-Type") != "application/json" {
		t.Errorf("headers %v", h)
	}
	var m struct {
		Type      string
		Timestamp time.Time
		Data      map[string]any
	}
	if err := json.Unmarshal(body, &m); err != nil {
		t.Fatal(err)
	}
	if m.Type != "limit.daily_bytes" || !m.Timestamp.Equal(noon) || m.Data["tenant_id"] != "a" || m.Data["threshold"] != 80.0 ||
		m.Data["used"] != 80.0 || m.Data["max"] != 100.0 || m.Data["limit"] != "limit-daily-bytes" || m.Data["day"] != "2025-03-01" ||
		m.Data["id"] != h.Get("webhook-id") {
		t.Errorf("body %s", body)
	}
}

func TestEventsAreSentInTheirOrder(t *testing.T) { storetest.Each(t, testEventsAreSentInTheirOrder) }

func testEventsAreSentInTheirOrder(t *testing.T) {
	db, c, r := tempDB(t), timetest.NewClock(noon), listen(t, nil)
	s := local(db, c)
	create(t, db, s, "a", r.url)
	for day := range int64(10) {
		for _, threshold := range Thresholds {
			e := crossing("a", threshold)
			e.Day, e.Used = day, day*1000+int64(threshold)
			record(t, db, e)
		}
	}
	turn(t, s)
	last := int64(-1)
	for _, g := range r.take() {
		var m struct{ Data struct{ Used int64 } }
		if err := json.Unmarshal(g.body, &m); err != nil || m.Data.Used <= last {
			t.Errorf("%d after %d, %v", m.Data.Used, last, err)
		}
		last = m.Data.Used
	}
	if n := len(r.take()); n != 40 {
		t.Errorf("%d of 40 messages", n)
	}
}

func TestFailedDeliveryIsTriedAgainUntilItSucceeds(t *testing.T) {
	storetest.Each(t, testFailedDeliveryIsTriedAgainUntilItSucceeds)
}

func testFailedDeliveryIsTriedAgainUntilItSucceeds(t *testing.T) {
	db, c, r := tempDB(t), timetest.NewClock(noon), listen(t, status(500))
	s := local(db, c)
	create(t, db, s, "a", r.url)
	record(t, db, crossing("a", 80))
	turn(t, s)
	turn(t, s) // too early
	d := onlyDelivery(t, s)
	if len(r.take()) != 1 || d.State != StatePending || d.Attempts != 1 || d.Status != 500 || !strings.Contains(d.Error, "500") || d.NextAt == nil {
		t.Fatalf("%d messages, %+v", len(r.take()), d)
	}
	r.answering(nil)
	c.Add(firstBackoff)
	turn(t, s)
	all := r.take()
	if d = onlyDelivery(t, s); len(all) != 2 || d.State != StateDelivered || d.Attempts != 2 || d.Error != "" || d.NextAt != nil {
		t.Fatalf("%d messages, %+v", len(all), d)
	}
	if a, b := all[0], all[1]; a.header.Get("webhook-id") != b.header.Get("webhook-id") || string(a.body) != string(b.body) {
		t.Errorf("a repetition differs:\n%v %s\n%v %s", a.header, a.body, b.header, b.body)
	}
	c.Add(time.Hour)
	if turn(t, s); len(r.take()) != 2 {
		t.Error("sent again after its success")
	}
}

func TestDeliveryIsGivenUpAfterADay(t *testing.T) { storetest.Each(t, testDeliveryIsGivenUpAfterADay) }

func testDeliveryIsGivenUpAfterADay(t *testing.T) {
	db, c, r := tempDB(t), timetest.NewClock(noon), listen(t, status(503))
	s := local(db, c)
	create(t, db, s, "a", r.url)
	record(t, db, crossing("a", 80))
	for range 24 * 60 / 5 * 2 { // two days
		turn(t, s)
		c.Add(5 * time.Minute)
	}
	d := onlyDelivery(t, s)
	if d.State != StateFailed || d.LastAt == nil || d.LastAt.Sub(noon) > giveUpAfter+5*time.Minute || d.LastAt.Sub(noon) < giveUpAfter-2*time.Hour {
		t.Errorf("delivery %+v", d)
	}
	if n := len(r.take()); n < 24 || n > 80 || int64(n) != d.Attempts {
		t.Errorf("%d attempts in a day, %d counted", n, d.Attempts)
	}
}

func TestRestartBetweenAttemptsGoesOn(t *testing.T) {
	storetest.Each(t, testRestartBetweenAttemptsGoesOn)
}

func testRestartBetweenAttemptsGoesOn(t *testing.T) {
	path := storetest.Place(t)
	c, r := timetest.NewClock(noon), listen(t, status(500))
	db := openDB(t, path)
	create(t, db, local(db, c), "a", r.url)
	record(t, db, crossing("a", 80))
	turn(t, local(db, c))
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	db = openDB(t, path)
	s := local(db, c)
	r.answering(nil)
	turn(t, s) // the wait is not forgotten
	if n := len(r.take()); n != 1 {
		t.Fatalf("%d messages", n)
	}
	c.Add(firstBackoff)
	turn(t, s)
	if d := onlyDelivery(t, s); d.State != StateDelivered || d.Attempts != 2 || len(r.ids()) != 1 {
		t.Errorf("delivery %+v, messages %v", d, r.ids())
	}
}

func TestStopDuringAnAttemptIsNoAttempt(t *testing.T) {
	storetest.Each(t, testStopDuringAnAttemptIsNoAttempt)
}

func testStopDuringAnAttemptIsNoAttempt(t *testing.T) {
	db, c := tempDB(t), timetest.NewClock(noon)
	arrived, hold := make(chan struct{}, 1), make(chan struct{})
	r := listen(t, func(http.ResponseWriter, *http.Request) { arrived <- struct{}{}; <-hold })
	s := local(db, c)
	create(t, db, s, "a", r.url)
	record(t, db, crossing("a", 80))
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- s.Run(ctx) }()
	<-arrived
	stop()
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	close(hold)
	r.answering(nil)
	next := local(db, c)
	turn(t, next) // at once: the lease was given back
	if d := onlyDelivery(t, next); d.State != StateDelivered || d.Attempts != 1 {
		t.Errorf("delivery %+v", d)
	}
}

func TestLeaseOfADeadProcessEnds(t *testing.T) { storetest.Each(t, testLeaseOfADeadProcessEnds) }

func testLeaseOfADeadProcessEnds(t *testing.T) {
	db, c, r := tempDB(t), timetest.NewClock(noon), listen(t, nil)
	dead, alive := local(db, c), local(db, c)
	w, _ := create(t, db, dead, "a", r.url)
	record(t, db, crossing("a", 80))
	target, claimed, err := dead.claim(t.Context(), w.ID)
	if err != nil || !claimed {
		t.Fatal(claimed, err)
	}
	turn(t, alive)
	c.Add(leaseTime - time.Second)
	if turn(t, alive); len(r.take()) != 0 {
		t.Fatal("two processes speak to one target")
	}
	c.Add(time.Second)
	if turn(t, alive); len(r.take()) != 1 {
		t.Fatalf("%d messages after the lease", len(r.take()))
	}
	// The dead one was only slow. What it has to say is too late and changes nothing.
	d := delivery{alert: Alert{ID: onlyAlert(t, alive)}, created: noon}
	if held, err := dead.finish(t.Context(), target, d, outcome{result: resultStatus, status: 500}); held || err != nil {
		t.Errorf("finish = %v, %v", held, err)
	}
	if got := onlyDelivery(t, alive); got.State != StateDelivered {
		t.Errorf("delivery %+v", got)
	}
}

func onlyAlert(t *testing.T, s *Service) string {
	t.Helper()
	found, err := s.Alerts(t.Context(), UnsafeAll(), Filter{Limit: 10})
	if err != nil || len(found) != 1 {
		t.Fatal(found, err)
	}
	return found[0].ID
}

func TestTwoProcessesSendEachEventOnce(t *testing.T) {
	storetest.Each(t, testTwoProcessesSendEachEventOnce)
}

func testTwoProcessesSendEachEventOnce(t *testing.T) {
	path := storetest.Place(t)
	one, two := openDB(t, path), openDB(t, path)
	r := listen(t, nil)
	audited := make(chan string, 100)
	opt := Options{Now: time.Now, AllowPrivate: true, Audit: func(_ context.Context, _ *store.Tx, a Alert) error {
		audited <- a.ID
		return nil
	}}
	a, b := New(one, opt), New(two, opt)
	create(t, one, a, "a", r.url)
	create(t, one, a, "", r.url)
	for i := range 20 {
		e := crossing("a", 80)
		e.At, e.Day = time.Now(), int64(i)
		record(t, one, e)
	}
	run(t, a)
	run(t, b)
	timetest.Eventually(t, "all is delivered", func() bool {
		return number(t, one, `SELECT count(*) FROM webhook_deliveries WHERE state = 'pending'`) == 0
	})
	for id, n := range r.ids() {
		if n != 2 { // the tenant's and the operator's
			t.Errorf("%s was sent %d times", id, n)
		}
	}
	if n := len(r.ids()); n != 20 {
		t.Errorf("%d events arrived", n)
	}
	timetest.Eventually(t, "all is noted", func() bool { return number(t, one, `SELECT count(*) FROM alerts WHERE noted = 0`) == 0 })
	if len(audited) != 20 {
		t.Errorf("%d audit entries for 20 events", len(audited))
	}
}

func TestFailingAuditDelaysNoDelivery(t *testing.T) {
	db, c, r := tempDB(t), timetest.NewClock(noon), listen(t, nil)
	boom := errors.New("boom")
	s := New(db, Options{Now: c.Now, AllowPrivate: true, Audit: func(context.Context, *store.Tx, Alert) error { return boom }})
	create(t, db, s, "a", r.url)
	record(t, db, crossing("a", 80))
	err := s.round(t.Context())
	s.wg.Wait()
	if !errors.Is(err, boom) || len(r.take()) != 1 {
		t.Errorf("%d messages, round = %v", len(r.take()), err)
	}
	if n := number(t, db, `SELECT count(*) FROM alerts WHERE noted = 1`); n != 0 {
		t.Error("an event counts as noted that is not in the audit")
	}
}

func TestHangingTargetDelaysNobody(t *testing.T) { storetest.Each(t, testHangingTargetDelaysNobody) }

func testHangingTargetDelaysNobody(t *testing.T) {
	db := tempDB(t)
	hold := make(chan struct{})
	defer close(hold)
	bad := listen(t, func(http.ResponseWriter, *http.Request) { <-hold })
	good := listen(t, nil)
	s := New(db, Options{Now: time.Now, AllowPrivate: true})
	s.client = newClient(true, 5*time.Minute) // on a busy machine too the bad ones hang until the test ends
	for i := range maxTenant + 2 {
		create(t, db, s, "bad", fmt.Sprint(bad.url, "/", i))
	}
	for i := range 40 { // one each, of other tenants
		create(t, db, s, fmt.Sprint("bad", i), bad.url)
	}
	create(t, db, s, "good", good.url)
	now := time.Now()
	at := func(owner string) Event {
		e := crossing(owner, 80)
		e.At = now
		return e
	}
	record(t, db, at("bad"), at("good"))
	for i := range 40 {
		record(t, db, at(fmt.Sprint("bad", i)))
	}
	run(t, s)
	timetest.Eventually(t, "the good target has its event", func() bool { return len(good.take()) == 1 })
	timetest.Eventually(t, "the bad ones are spoken to", func() bool { return len(bad.take()) == 40+maxTenant })
	record(t, db, func() Event { e := at("good"); e.Threshold = 90; return e }())
	timetest.Eventually(t, "the good target has its next event", func() bool { return len(good.take()) == 2 })
	if n := number(t, db, `SELECT count(*) FROM webhook_deliveries WHERE state = 'pending' AND attempts > 0`); n > 0 {
		t.Errorf("the good one waited for %d attempts at bad ones to end", n)
	}
}
