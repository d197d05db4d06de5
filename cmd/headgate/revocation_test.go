package main

import (
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	"github.com/headgate-io/headgate/control"
	"github.com/headgate-io/headgate/internal/asktest"
	"github.com/headgate-io/headgate/internal/timetest"
)

// Environment variables that make the test of revocation what make revocation is.
const (
	revocationsVar    = "HEADGATE_TEST_REVOCATIONS"     // of each kind; default 3
	revocationRateVar = "HEADGATE_TEST_REVOCATION_RATE" // requests per second beside, over all replicas; default 50
	// revocationPace is how often each sender of a trial asks: the precision of what is measured.
	revocationPace = 10 * time.Millisecond
)

// asOperator sends a request to the API of p and returns the answer's text.
func (p *process) asOperator(method, path, body string) string {
	p.t.Helper()
	return p.with(p.operatorToken(), method, path, body)
}

// with sends a request with a credential, "" for none, which must succeed.
func (p *process) with(credential, method, path, body string) string {
	p.t.Helper()
	resp, text := asktest.Do(p.t, method, "http://"+p.addr.API+path, body, asktest.Bearer(credential))
	if resp.StatusCode >= 300 {
		p.t.Fatalf("%s %s: %d %s", method, path, resp.StatusCode, text)
	}
	return text
}

// trial is something that is in force at every replica, and is about to be taken away.
type trial struct {
	senders []func() bool // ask a replica, and report whether they are let in
	// take takes it away at a replica, and returns since when it has to be refused.
	take func(p *process) time.Time
}

// What is taken away at one of three replicas is refused at all of them within a second: over HTTP and gRPC and at the API, on
// connections that were open before, while others send.
func TestRevocationReachesOpenConnectionsOfEveryReplica(t *testing.T) {
	trials, rate := number(t, revocationsVar, 3), number(t, revocationRateVar, 50)
	r := newReplicas(t)
	r.args = append(r.args, "--flush-delay", "200ms") // as people have it
	w := &revocations{t: t, all: []*process{r.serve(), r.serve(), r.serve()}}
	for _, p := range w.all {
		conn, err := grpc.NewClient(p.addr.OTLPGRPC, grpc.WithTransportCredentials(insecure.NewCredentials()))
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		w.conns = append(w.conns, conn)
	}
	w.prepare()
	key := w.all[0].key("others", "ingest")
	for _, others := range otlpSenders(t, w.all, w.conns, key) {
		timetest.Eventually(t, "the others' key at every replica", others)
	}
	sent, stop := othersSend(t, w.all, key, rate)
	defer stop()

	start, before := time.Now(), sent.Load()
	for _, kind := range []struct {
		name string
		make func(name string) trial
	}{
		{"revoked key", w.revokedKey}, {"disabled tenant", w.disabledTenant}, {"changed limit", w.changedLimit},
		{"expired access", w.expiredAccess}, {"withdrawn grant", w.withdrawnGrant}, {"signed-out session", w.signedOut},
	} {
		var took, asked []time.Duration
		for i := range trials {
			refused, answered := w.measure(kind.make(fmt.Sprintf("t%d", w.n)), w.all[i%len(w.all)])
			took, asked = append(took, refused...), append(asked, answered)
		}
		p99 := describeTimes(t, kind.name, took)
		describeTimes(t, "  of it, the change itself", asked)
		if p99 > time.Second {
			t.Errorf("%s: p99 is %v, want a second at most", kind.name, p99)
		}
	}
	t.Logf("%.0f requests/s of others meanwhile, beside %d of the trials", float64(sent.Load()-before)/time.Since(start).Seconds(), w.asked.Load())
}

func describeTimes(t *testing.T, name string, took []time.Duration) (p99 time.Duration) {
	t.Helper()
	slices.Sort(took)
	p99 = took[(len(took)*99+99)/100-1]
	t.Logf("%s: %d measured, median %v, p99 %v, longest %v", name, len(took), took[len(took)/2].Round(time.Millisecond), p99.Round(time.Millisecond),
		took[len(took)-1].Round(time.Millisecond))
	return p99
}

// revocations are three replicas, with people and tenants to take things away from.
type revocations struct {
	t     *testing.T
	all   []*process
	conns []*grpc.ClientConn
	user  string // in home, an admin
	n     int    // trials
	asked atomic.Int64
}

func (w *revocations) prepare() {
	p := w.all[0]
	p.asOperator("POST", "/api/v1/tenants", `{"name":"others"}`)
	p.asOperator("POST", "/api/v1/tenants", `{"name":"home"}`)
	w.user = unmarshal[control.User](w.t, p.asOperator("POST", "/api/v1/users", `{"tenant":"home","email":"ann@example.com","role":"admin","password":"`+modelPassword+`"}`)).ID
}

// tenant makes a tenant and a key of it.
func (w *revocations) tenant(name string) (key control.NewKey) {
	w.t.Helper()
	w.all[0].asOperator("POST", "/api/v1/tenants", `{"name":"`+name+`"}`)
	return unmarshal[control.NewKey](w.t, w.all[0].asOperator("POST", "/api/v1/keys", `{"tenant":"`+name+`","scopes":["ingest"]}`))
}

// signIn returns the token of a new session.
func (w *revocations) signIn() string {
	w.t.Helper()
	in := w.all[0].with("", "POST", "/api/v1/sign-in", `{"slug":"home","email":"ann@example.com","password":"`+modelPassword+`"}`)
	return unmarshal[struct{ Token string }](w.t, in).Token
}

// began lets something be done, and returns when it was begun.
func began(do func()) time.Time {
	at := time.Now()
	do()
	return at
}

func (w *revocations) revokedKey(name string) trial {
	key := w.tenant(name)
	return trial{otlpSenders(w.t, w.all, w.conns, key.Text), func(p *process) time.Time {
		return began(func() { p.asOperator("DELETE", "/api/v1/keys/"+key.ID, "") })
	}}
}

func (w *revocations) disabledTenant(name string) trial {
	return trial{otlpSenders(w.t, w.all, w.conns, w.tenant(name).Text), func(p *process) time.Time {
		return began(func() { p.asOperator("POST", "/api/v1/tenants/"+name+"/disable", "") })
	}}
}

func (w *revocations) changedLimit(name string) trial {
	return trial{otlpSenders(w.t, w.all, w.conns, w.tenant(name).Text), func(p *process) time.Time {
		return began(func() { p.asOperator("PATCH", "/api/v1/tenants/"+name, `{"daily_bytes":0}`) })
	}}
}

func (w *revocations) signedOut(string) trial {
	token := w.signIn()
	return trial{apiSenders(w.t, w.all, "/api/v1/session", token), func(p *process) time.Time {
		return began(func() { p.with(token, "POST", "/api/v1/sign-out", "") })
	}}
}

// below makes a tenant below home and returns what asks for it.
func (w *revocations) below(name string) (path, token string) {
	w.t.Helper()
	w.all[0].asOperator("POST", "/api/v1/tenants", `{"name":"`+name+`","parent":"home"}`)
	return "/api/v1/tenants/" + name, w.signIn()
}

func (w *revocations) withdrawnGrant(name string) trial {
	path, token := w.below(name)
	grant := "/api/v1/users/" + w.user + "/grants/" + name
	w.all[0].asOperator("PUT", grant, "")
	return trial{apiSenders(w.t, w.all, path, token), func(p *process) time.Time {
		return began(func() { p.asOperator("DELETE", grant, "") })
	}}
}

// expiredAccess ends by the clock, and nobody takes it away.
func (w *revocations) expiredAccess(name string) trial {
	path, token := w.below(name)
	until := time.Now().Add(4 * time.Second).UTC().Truncate(time.Millisecond)
	asked := unmarshal[control.AccessRequest](w.t, w.all[0].with(token, "POST", "/api/v1/access-requests",
		`{"tenant":"`+name+`","permissions":["tenants.read"],"until":"`+until.Format(time.RFC3339Nano)+`"}`))
	w.all[0].asOperator("POST", "/api/v1/access-requests/"+asked.ID+"/approve", "")
	return trial{apiSenders(w.t, w.all, path, token), func(*process) time.Time { return until }}
}

// measure asks every replica until each refuses, and returns how long after it was taken away each was last asked and let in, and
// how long the change took to be answered.
func (w *revocations) measure(x trial, at *process) (took []time.Duration, answered time.Duration) {
	t := w.t
	t.Helper()
	w.n++
	for _, send := range x.senders {
		timetest.Eventually(t, "what is to be taken away at every replica", send)
	}
	last := make([]atomic.Int64, len(x.senders)) // when the last accepted request was sent
	gone := make([]atomic.Bool, len(x.senders))
	var wg sync.WaitGroup
	for i, send := range x.senders {
		wg.Go(func() {
			tick := time.NewTicker(revocationPace)
			defer tick.Stop()
			for deadline := time.Now().Add(30 * time.Second); time.Now().Before(deadline); <-tick.C {
				w.asked.Add(1)
				if at := time.Now(); send() {
					last[i].Store(at.UnixNano())
				} else {
					gone[i].Store(true)
					return
				}
			}
		})
	}
	since := x.take(at)
	answered = max(0, time.Since(since))
	wg.Wait()
	for i := range last {
		if !gone[i].Load() {
			t.Errorf("sender %d is still let in after 30 s", i)
		}
		took = append(took, max(0, time.Unix(0, last[i].Load()).Sub(since)))
	}
	return took, answered
}
