package ingest

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"
	"go.opentelemetry.io/collector/pdata/plog/plogotlp"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"

	"github.com/headgate-io/headgate/auth"
	"github.com/headgate-io/headgate/internal/timetest"
)

func addr(s string) net.Addr { return net.TCPAddrFromAddrPort(netip.MustParseAddrPort(s)) }

// TestA13RefusedKeysArePaidFor: an address waits once its refused keys are more than a burst, never longer than maxHold, and
// what it owes goes by with time.
func TestA13RefusedKeysArePaidFor(t *testing.T) {
	ps, now := newPeers(10, 100), time.Unix(1_700_000_000, 0)
	p, _ := ps.connect(addr("192.0.2.1:1"), now)
	other, _ := ps.connect(addr("192.0.2.2:1"), now)
	for i := range 1000 { // ten seconds' worth
		if wait := p.fail(now); wait != 0 {
			t.Fatalf("key %d waits %v", i, wait)
		}
	}
	if wait := p.fail(now); wait != 10*time.Millisecond {
		t.Errorf("one more waits %v", wait)
	}
	for range 10_000 {
		p.fail(now)
	}
	if wait := p.fail(now); wait != maxHold {
		t.Errorf("a flood waits %v", wait)
	}
	if wait := other.fail(now); wait != 0 {
		t.Errorf("another address waits %v", wait)
	}
	if wait := p.fail(now.Add(failBurst + maxHold)); wait != 0 {
		t.Errorf("after all is paid: %v", wait)
	}
	unlimited, _ := newPeers(10, -1).connect(addr("192.0.2.1:1"), now)
	for range 10_000 {
		if wait := unlimited.fail(now); wait != 0 {
			t.Fatalf("without a limit: %v", wait)
		}
	}
}

// TestA13AddressesAreForgotten: those without connections are not kept longer than their refused keys count.
func TestA13AddressesAreForgotten(t *testing.T) {
	ps, now := newPeers(10, 100), time.Unix(1_700_000_000, 0)
	for i := range 20 * minSweep {
		now = now.Add(20 * time.Microsecond) // 50,000 addresses per second, and each shows a bad key
		p, _ := ps.connect(&net.TCPAddr{IP: net.IPv4(10, byte(i>>16), byte(i>>8), byte(i)), Port: 1}, now)
		p.fail(now)
		p.disconnect(now)
	}
	if n := len(ps.byAddr); n > 2*minSweep {
		t.Errorf("%d addresses are kept", n)
	}
	p, _ := ps.connect(addr("192.0.2.1:1"), now)
	p.disconnect(now)
	if ps.byAddr[p.addr] != nil {
		t.Error("an address without connections and debts is kept")
	}
}

func TestT4PeersAreAddressesOfIPv4AndNetworksOfIPv6(t *testing.T) {
	for _, c := range []struct {
		a, b string
		same bool
	}{
		{"192.0.2.1:1", "192.0.2.1:2", true}, {"192.0.2.1:1", "192.0.2.2:1", false}, {"192.0.2.1:1", "[::ffff:192.0.2.1]:1", true},
		{"[2001:db8::1]:1", "[2001:db8::ffff:1]:1", true}, {"[2001:db8::1]:1", "[2001:db8:0:1::1]:1", false}, {"[fe80::1%a]:1", "[fe80::1%b]:1", true},
	} {
		if got := network(addr(c.a)) == network(addr(c.b)); got != c.same {
			t.Errorf("%s and %s are the same: %v, want %v", c.a, c.b, got, c.same)
		}
	}
	if network(&net.UnixAddr{Name: "x"}) != (netip.Prefix{}) {
		t.Error("a socket without an address is a peer of its own")
	}
}

// from dials as another address of this machine.
func from(t *testing.T, ip, to string) (net.Conn, error) {
	t.Helper()
	d := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(ip)}, Timeout: 10 * time.Second}
	c, err := d.DialContext(t.Context(), "tcp", strings.TrimPrefix(to, "http://"))
	if err == nil {
		t.Cleanup(func() { _ = c.Close() })
		err = c.SetDeadline(time.Now().Add(30 * time.Second))
	}
	return c, err
}

// TestT4ConnectionsOfOneAddressAreBounded: one more than its share is closed at once, while others get in, and again once
// one has gone.
func TestT4ConnectionsOfOneAddressAreBounded(t *testing.T) {
	g := start(t, Options{MaxConnections: 8, MaxPeerConnections: 2})
	_, key := g.tenant("acme", auth.NewTenant{})
	request := fmt.Sprintf("POST /v1/logs HTTP/1.1\r\nHost: x\r\nX-Api-Key: %s\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{}", key)
	answered := func(ip string) (net.Conn, bool) {
		c, err := from(t, ip, g.http)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := c.Write([]byte(request)); err != nil {
			return c, false
		}
		line, err := bufio.NewReader(c).ReadString('\n')
		return c, err == nil && strings.Contains(line, " 200 ")
	}
	one, ok1 := answered("127.0.0.2")
	_, ok2 := answered("127.0.0.2")
	_, ok3 := answered("127.0.0.2")
	_, other := answered("127.0.0.3")
	if !ok1 || !ok2 || ok3 || !other {
		t.Errorf("the first is answered: %v, the second: %v, the third: %v, another address: %v", ok1, ok2, ok3, other)
	}
	refused := g.server.receiver.metrics.turned.WithLabelValues("http", "too-many-of-peer")
	if n := testutil.ToFloat64(refused); n != 1 {
		t.Errorf("%v counted", n)
	}
	_ = one.Close()
	timetest.Eventually(t, "its place is free", func() bool { _, ok := answered("127.0.0.2"); return ok })
}

// TestA13RefusedKeysSlowTheirConnections over each protocol: the answers stay what they are and come more slowly. A
// connection of the same address with a good key is not slowed, even if bad ones come on it too.
func TestA13RefusedKeysSlowTheirConnections(t *testing.T) {
	for _, protocol := range []string{"http/1.1", "http/2", "grpc"} {
		g := start(t, Options{MaxAuthFailures: 5}) // so that fifty refused keys are a burst
		_, key := g.tenant("acme", auth.NewTenant{})
		held := func() float64 { return testutil.ToFloat64(g.server.receiver.metrics.held) }
		bad, good := g.caller(t, protocol), g.caller(t, protocol)
		if !good(key) {
			t.Fatalf("%s: a good key is refused", protocol)
		}
		for held() == 0 { // which ends: fewer than five per second can be made of hundreds
			if bad("hg_nobody") {
				t.Fatalf("%s: a bad key is taken", protocol)
			}
		}
		began := time.Now()
		for range 3 {
			bad("hg_nobody")
		}
		if took := time.Since(began); took < 300*time.Millisecond {
			t.Errorf("%s: three more refusals took %v", protocol, took)
		}
		before := held()
		for range 20 {
			good("hg_nobody")
			if !good(key) {
				t.Errorf("%s: a good key is refused after bad ones", protocol)
			}
		}
		if n := held() - before; n != 0 {
			t.Errorf("%s: a connection with a good key was held %v times", protocol, n)
		}
	}
}

// caller returns a function that sends a request on one connection and reports whether its key was taken.
func (g *gateway) caller(t *testing.T, protocol string) func(key string) bool {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	t.Cleanup(cancel)
	switch protocol {
	case "grpc":
		conn, err := grpc.NewClient(g.grpc, grpc.WithTransportCredentials(insecure.NewCredentials()))
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = conn.Close() })
		client := plogotlp.NewGRPCClient(conn)
		return func(key string) bool {
			_, err := client.Export(withKey(ctx, key), plogotlp.NewExportRequest())
			if code := status.Code(err); err != nil && code != codes.Unauthenticated {
				t.Fatalf("grpc: %v", err)
			}
			return err == nil
		}
	case "http/2":
		client := http2Client(t)
		return func(key string) bool { return postWith(ctx, t, client, g.http, key) }
	}
	tr := &http.Transport{MaxConnsPerHost: 1}
	t.Cleanup(tr.CloseIdleConnections)
	return func(key string) bool { return postWith(ctx, t, &http.Client{Transport: tr}, g.http, key) }
}

// postWith sends an empty request and reports whether its key was taken.
func postWith(ctx context.Context, t *testing.T, client *http.Client, to, key string) bool {
	t.Helper()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, to+"/v1/logs", strings.NewReader("{}"))
	if err != nil {
		t.Fatal(err)
	}
	req.Header = http.Header{"Content-Type": {jsonType}, "X-Api-Key": {key}}
	resp, err := client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if _, err := io.Copy(io.Discard, resp.Body); err != nil {
		t.Fatal(err)
	}
	if resp.StatusCode != http.StatusOK && resp.StatusCode != http.StatusUnauthorized {
		t.Fatalf("status %d", resp.StatusCode)
	}
	return resp.StatusCode == http.StatusOK
}

// TestX7ConnectionsOfOneAddressAreMetByDegrees: what setting up a crowd of connections costs is spread, another address does not
// wait for it, and coming and going does not make an address new.
func TestX7ConnectionsOfOneAddressAreMetByDegrees(t *testing.T) {
	ps, now := newPeers(1<<20, 0), time.Unix(1_000_000, 0)
	crowd, other := &net.TCPAddr{IP: net.IPv4(192, 0, 2, 1)}, &net.TCPAddr{IP: net.IPv4(192, 0, 2, 2)}
	for i := range 1000 {
		p, ok := ps.connect(crowd, now)
		if !ok {
			t.Fatalf("connection %d is refused", i)
		}
		if wait, want := p.pace(now), max(0, time.Duration(i+1-connBurst)*connPace); wait != want {
			t.Fatalf("connection %d waits %v, want %v", i, wait, want)
		}
		p.disconnect(now)
	}
	if p, _ := ps.connect(other, now); p.pace(now) != 0 {
		t.Error("another address waits for the crowd")
	}
	now = now.Add(1000 * connPace)
	if p, _ := ps.connect(crowd, now); p.pace(now) != 0 {
		t.Error("the address waits for what was met long ago")
	}
}
