package alert

import (
	"net"
	"net/http"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/headgate-io/headgate/internal/store"
	"github.com/headgate-io/headgate/internal/store/storetest"
	"github.com/headgate-io/headgate/internal/timetest"
)

func TestPublicAddresses(t *testing.T) {
	for _, s := range []string{"1.1.1.1", "8.8.8.8", "100.63.255.255", "100.128.0.0", "172.15.0.1", "172.32.0.1", "192.167.255.255",
		"223.255.255.255", "2606:4700::1111", "2001:4860:4860::8888", "2a00::1", "::ffff:8.8.8.8"} {
		if !public(netip.MustParseAddr(s)) {
			t.Errorf("%s is refused", s)
		}
	}
	for _, s := range []string{
		"0.0.0.0", "0.1.2.3", "10.0.0.1", "100.64.0.1", "100.100.100.200", "100.127.255.255", "127.0.0.1", "127.255.255.255",
		"169.254.169.254", "172.16.0.1", "172.31.255.255", "192.0.0.192", "192.0.2.1", "192.168.1.1", "198.18.0.1", "198.19.255.255",
		"198.51.100.1", "203.0.113.1", "224.0.0.1", "239.255.255.255", "240.0.0.1", "255.255.255.255", "168.63.129.16",
		"::", "::1", "::127.0.0.1", "::ffff:127.0.0.1", "::ffff:10.0.0.1", "::ffff:169.254.169.254", "64:ff9b::7f00:1", "64:ff9b:1::1",
		"100::1", "2001::1", "2001:db8::1", "2002:7f00:1::", "3fff::1", "fc00::1", "fd00:ec2::254", "fe80::1", "fe80::1%eth0",
		"fec0::1", "ff02::1",
	} {
		if public(netip.MustParseAddr(s)) {
			t.Errorf("%s is let through", s)
		}
	}
	if public(netip.Addr{}) {
		t.Error("no address is let through")
	}
}

// TestPrivateAddressesAreRefusedWhenDialled speaks to a socket that is there, by names and literals that lead to it.
func TestPrivateAddressesAreRefusedWhenDialled(t *testing.T) {
	r := listen(t, nil)
	port := r.url[strings.LastIndex(r.url, ":"):]
	lookedUp := "http://localhost" + port
	if got := send(t.Context(), newClient(true, attemptTimeout), message{url: lookedUp, at: noon}); got.result != resultDelivered {
		t.Fatalf("%s does not lead to the test's socket: %+v", lookedUp, got)
	}
	for _, url := range []string{lookedUp, "http://127.0.0.1" + port, "http://[::ffff:127.0.0.1]" + port, "http://0.0.0.0" + port,
		"http://[::1]" + port, "http://127.1.2.3" + port, "https://localhost" + port} {
		got := send(t.Context(), newClient(false, attemptTimeout), message{url: url, at: noon})
		if got.result != resultAddress || strings.Contains(got.text, "127.") || strings.Contains(got.text, "::") {
			t.Errorf("%s: %+v", url, got)
		}
	}
	if n := len(r.take()); n != 1 {
		t.Errorf("%d requests arrived, want the first alone", n)
	}
}

func TestRefusedAddressOfAWebhookIsToldToItsOwner(t *testing.T) {
	storetest.Each(t, testRefusedAddressOfAWebhookIsToldToItsOwner)
}

func testRefusedAddressOfAWebhookIsToldToItsOwner(t *testing.T) {
	db, c, r := tempDB(t), timetest.NewClock(noon), listen(t, nil)
	create(t, db, local(db, c), "a", r.url) // was allowed once
	strict := New(db, Options{Now: c.Now})
	record(t, db, crossing("a", 80))
	turn(t, strict)
	if d := onlyDelivery(t, strict); d.State != StatePending || d.Error != errAddress.Error() || len(r.take()) != 0 {
		t.Errorf("%d requests, delivery %+v", len(r.take()), d)
	}
}

func TestRedirectsAreNotFollowed(t *testing.T) {
	inner := listen(t, nil)
	for _, code := range []int{301, 302, 303, 307, 308} {
		r := listen(t, func(w http.ResponseWriter, req *http.Request) { http.Redirect(w, req, inner.url, code) })
		if got := send(t.Context(), newClient(true, attemptTimeout), message{url: r.url, at: noon}); got.result != resultRedirect || got.status != code {
			t.Errorf("%d: %+v", code, got)
		}
	}
	if n := len(inner.take()); n != 0 {
		t.Errorf("%d redirects were followed", n)
	}
}

func TestNoProxyOfTheEnvironmentIsUsed(t *testing.T) {
	if newClient(false, attemptTimeout).Transport.(*http.Transport).Proxy != nil {
		t.Error("a proxy would connect to where the address check does not see")
	}
}

func TestAnswersAreBounded(t *testing.T) {
	r := listen(t, func(w http.ResponseWriter, req *http.Request) {
		w.WriteHeader(500)
		text := []byte(strings.Repeat("\x1b[31m\n\u202eübel", 100))
		for req.Context().Err() == nil { // without end
			if _, err := w.Write(text); err != nil {
				return
			}
		}
	})
	got := send(t.Context(), newClient(true, attemptTimeout), message{url: r.url, at: noon})
	if n := len([]rune(got.text)); got.result != resultStatus || n > keptAnswer || n < keptAnswer/2 || strings.ContainsAny(got.text, "\x1b\n") {
		t.Errorf("%+v", got)
	}
	r = listen(t, func(w http.ResponseWriter, _ *http.Request) { w.Header().Set("X", strings.Repeat("x", 2*maxHeaders)) })
	if got := send(t.Context(), newClient(true, attemptTimeout), message{url: r.url, at: noon}); got.result != resultNetwork {
		t.Errorf("endless headers: %+v", got)
	}
}

func TestSilentTargetEndsByItsTimeout(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0") // connects, and says nothing
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	client := newClient(true, 50*time.Millisecond)
	if got := send(t.Context(), client, message{url: "http://" + l.Addr().String(), at: noon}); got.result != resultTimeout {
		t.Errorf("silent: %+v", got)
	}
	hold := make(chan struct{})
	defer close(hold)
	slow := listen(t, func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(200)
		w.(http.Flusher).Flush()
		<-hold
	})
	if got := send(t.Context(), client, message{url: slow.url, at: noon}); got.result != resultDelivered && got.result != resultTimeout {
		t.Errorf("a body that never ends: %+v", got)
	}
	addr := l.Addr().String()
	l.Close()
	if got := send(t.Context(), newClient(true, attemptTimeout), message{url: "http://" + addr, at: noon}); got.result != resultNetwork || strings.Contains(got.text, addr) {
		t.Errorf("closed: %+v", got)
	}
}

func TestGoneDisablesTheWebhook(t *testing.T) { storetest.Each(t, testGoneDisablesTheWebhook) }

func testGoneDisablesTheWebhook(t *testing.T) {
	db, c, r := tempDB(t), timetest.NewClock(noon), listen(t, status(410))
	s := local(db, c)
	w, _ := create(t, db, s, "a", r.url)
	record(t, db, crossing("a", 80))
	turn(t, s)
	record(t, db, crossing("a", 90)) // not for a disabled one
	c.Add(12 * time.Hour)
	turn(t, s)
	if got, err := s.Webhook(t.Context(), Of(id("a")), w.ID); err != nil || got.DisabledAt == nil || len(r.take()) != 1 {
		t.Errorf("%d requests, %+v, %v", len(r.take()), got, err)
	}
	if n := number(t, db, `SELECT count(*) FROM webhook_deliveries`); n != 1 {
		t.Errorf("%d deliveries", n)
	}
	r.answering(nil)
	enabled := true
	err := db.Update(t.Context(), func(tx *store.Tx) error {
		_, err := s.Change(t.Context(), tx, Of(id("a")), w.ID, WebhookPatch{Enabled: &enabled})
		return err
	})
	if turn(t, s); err != nil || len(r.take()) != 2 {
		t.Errorf("%d requests after it was enabled, %v", len(r.take()), err)
	}
}

func TestRetryAfterIsHeeded(t *testing.T) { storetest.Each(t, testRetryAfterIsHeeded) }

func testRetryAfterIsHeeded(t *testing.T) {
	db, c := tempDB(t), timetest.NewClock(noon)
	r := listen(t, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Retry-After", "600")
		w.WriteHeader(429)
	})
	s := local(db, c)
	create(t, db, s, "a", r.url)
	record(t, db, crossing("a", 80))
	turn(t, s)
	c.Add(599 * time.Second)
	if turn(t, s); len(r.take()) != 1 {
		t.Errorf("%d requests before the time that the target has asked for", len(r.take()))
	}
	c.Add(time.Second)
	if turn(t, s); len(r.take()) != 2 {
		t.Errorf("%d requests at that time", len(r.take()))
	}
}

func TestBackoffGrowsToAnHour(t *testing.T) {
	for n, most := range map[int64]time.Duration{0: 5 * time.Second, 1: 5 * time.Second, 2: 10 * time.Second, 5: 80 * time.Second,
		10: 2560 * time.Second, 11: time.Hour, 12: time.Hour, 1 << 40: time.Hour} {
		for range 100 {
			if d := backoff(n); d > most || d < most/2 {
				t.Fatalf("backoff(%d) = %v, want %v to %v", n, d, most/2, most)
			}
		}
	}
}

func TestPlacesAreShared(t *testing.T) {
	s := local(tempDB(t), timetest.NewClock(noon))
	taken := func(n int, tenant func(int) string, failing bool) (got int) {
		for i := range n {
			if s.take(newID(noon), tenant(i), failing) {
				got++
			}
		}
		return got
	}
	if n := taken(10, func(int) string { return "a" }, false); n != maxTenant {
		t.Errorf("one tenant has %d places", n)
	}
	if n := taken(40, func(int) string { return newID(noon) }, true); n != maxFailing {
		t.Errorf("failing targets have %d places", n)
	}
	if n := taken(100, func(int) string { return newID(noon) }, false); n != maxSending-maxFailing-maxTenant {
		t.Errorf("%d places are left to the others", n)
	}
}
