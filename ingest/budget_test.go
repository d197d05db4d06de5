package ingest

import (
	"bytes"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"testing"

	"google.golang.org/grpc/codes"

	"github.com/headgate-io/headgate/auth"
	"github.com/headgate-io/headgate/internal/tenant"
	"github.com/headgate-io/headgate/internal/timetest"
)

func someTenant(t testing.TB) tenant.ID {
	t.Helper()
	id, err := tenant.ParseID("some")
	if err != nil {
		t.Fatal(err)
	}
	return id
}

func TestBudgetIsSharedAndGivenBack(t *testing.T) {
	other, err := tenant.ParseID("other")
	if err != nil {
		t.Fatal(err)
	}
	late, err := tenant.ParseID("late")
	if err != nil {
		t.Fatal(err)
	}
	b := newBudget(100, 90, 2)
	one, two, three := b.hold(someTenant(t)), b.hold(someTenant(t)), b.hold(other)
	if !one.resize(30) || !two.resize(20) || one.resize(31) {
		t.Error("a tenant alone does not get half")
	}
	if !three.resize(25) || three.resize(26) {
		t.Error("the second tenant does not get half of what is left")
	}
	if four := b.hold(late); !four.resize(12) || four.resize(13) || !four.resize(11) {
		t.Error("the third does not get half of the rest")
	} else {
		four.release()
	}
	one.release()
	one.release()
	if !two.resize(37) || two.resize(38) || b.inUse() != 62 {
		t.Errorf("after a release: %d in use", b.inUse())
	}
	if b.hold(someTenant(t)) == nil || b.hold(someTenant(t)) != nil {
		t.Error("a tenant may have other than two requests")
	}
	two.release()
	three.release()
	if b.inUse() != 0 || len(b.tenants) != 1 {
		t.Errorf("%d in use, %d tenants at the end", b.inUse(), len(b.tenants))
	}
	if capped := newBudget(100, 10, 1).hold(late); !capped.resize(10) || capped.resize(11) {
		t.Error("a tenant's own bound does not hold")
	}
}

// stall sends the headers of a large request and most of its body, and keeps the rest.
func stall(t *testing.T, g *gateway, key string, bytes int) net.Conn {
	t.Helper()
	c := dialRaw(t, g.http)
	fmt.Fprintf(c, "POST /v1/logs HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer %s\r\nContent-Type: %s\r\nContent-Length: %d\r\n\r\n", key, protoType, bytes+1)
	if _, err := c.Write(make([]byte, bytes)); err != nil {
		t.Fatal(err)
	}
	return c
}

// TestX10OneTenantCannotTakeTheBudget: half of it is all that one tenant's stalled requests hold. The tenant is told to come
// again; another one is served meanwhile; all is free when the connections end.
func TestX10OneTenantCannotTakeTheBudget(t *testing.T) {
	g := start(t, Options{MaxBodyBytes: 1 << 20, MaxInFlightBytes: 4 << 20})
	_, greedy := g.tenant("greedy", auth.NewTenant{})
	_, other := g.tenant("other", auth.NewTenant{})
	budget := g.server.receiver.budget
	const each = 1<<20 - 8<<10
	conns := []net.Conn{stall(t, g, greedy, each), stall(t, g, greedy, each)}
	timetest.Eventually(t, "both requests are held", func() bool { return budget.inUse() == 2<<20 })

	raw := encode(t, logs(1), protobuf)
	send := func(key string) answer {
		return g.post("/v1/logs", bytes.NewReader(raw), "key", key, "Content-Type", protoType)
	}
	a := send(greedy)
	wantStatus(t, a, http.StatusServiceUnavailable, protoType, "overloaded")
	if n, err := strconv.Atoi(a.header.Get("Retry-After")); err != nil || n < 1 || n > 3 {
		t.Errorf("Retry-After %q", a.header.Get("Retry-After"))
	}
	over := callGRPC(t, "http://"+g.grpc, bytes.NewReader(prefixed(0, raw)), "key", greedy)
	if over.code != codes.Unavailable || !over.trailersOnly || over.header.Get("Google.rpc.retryinfo-Bin") == "" {
		t.Errorf("grpc: %v %s %v", over.code, over.message, over.header)
	}
	want200(t, send(other), protoType, "")
	for _, c := range conns {
		_ = c.Close()
	}
	timetest.Eventually(t, "the budget is free", func() bool { return budget.inUse() == 0 })
	want200(t, send(greedy), protoType, "")
}

// TestX10GRPCMessagesAreHeldAsTheyGrow: a half-sent message counts what has come of it, not what it announces.
func TestX10GRPCMessagesAreHeldAsTheyGrow(t *testing.T) {
	g := start(t, Options{})
	_, key := g.tenant("acme", auth.NewTenant{})
	budget := g.server.receiver.budget
	pr, pw := io.Pipe()
	client, done := http2Client(t), make(chan error, 1)
	go func() {
		_, err := tryGRPC(t.Context(), client, "http://"+g.grpc, pr, "key", key)
		done <- err
	}()
	if _, err := pw.Write(prefixed(0, sized(t, 8<<20))[:4<<20]); err != nil {
		t.Fatal(err)
	}
	timetest.Eventually(t, "the half is held", func() bool { n := budget.inUse(); return n >= 3<<20 && n <= 5<<20 })
	_ = pw.CloseWithError(io.ErrUnexpectedEOF)
	if err := <-done; err == nil {
		t.Error("a call that broke off succeeded")
	}
	timetest.Eventually(t, "the budget is free", func() bool { return budget.inUse() == 0 })
}
