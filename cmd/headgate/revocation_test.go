package main

import (
	"fmt"
	"os"
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
	// until is when it ends by itself, if that is how it ends; again makes another, which ends later.
	until time.Time
	again func() trial
}

// What is made at one of three replicas is let in at all of them within a second, and what is taken away is refused: over HTTP and gRPC
// and at the API, on connections that were open before, while others send.
func TestRevocationReachesOpenConnectionsOfEveryReplica(t *testing.T) {
	trials, rate := number(t, revocationsVar, 3), number(t, revocationRateVar, 50)
	// make revocation measures on a machine that does nothing else. Where others keep it busy, what the change itself and a question take
	// comes on top, and each kind has three rounds.
	strict := os.Getenv(revocationsVar) != ""
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
		for round := 1; ; round++ {
			var made, took, asked []time.Duration
			var slowest time.Duration
			for i := range trials {
				m := w.measure(kind.make(fmt.Sprintf("t%d", w.n)), w.all[i%len(w.all)])
				made, took, asked, slowest = append(made, m.made), append(took, m.took...), append(asked, m.answered), max(slowest, m.slowest)
			}
			p99 := max(describeTimes(t, kind.name, took), describeTimes(t, "  in force before", made))
			describeTimes(t, "  of it, the change itself", asked)
			most := time.Second
			if !strict {
				most += asked[len(asked)-1] + slowest
			}
			if p99 <= most {
				break
			}
			if strict || round == 3 {
				t.Errorf("%s: p99 is %v, want %v at most", kind.name, p99, most)
				break
			}
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
	return trial{senders: otlpSenders(w.t, w.all, w.conns, key.Text), take: func(p *process) time.Time {
		return began(func() { p.asOperator("DELETE", "/api/v1/keys/"+key.ID, "") })
	}}
}

func (w *revocations) disabledTenant(name string) trial {
	return trial{senders: otlpSenders(w.t, w.all, w.conns, w.tenant(name).Text), take: func(p *process) time.Time {
		return began(func() { p.asOperator("POST", "/api/v1/tenants/"+name+"/disable", "") })
	}}
}

func (w *revocations) changedLimit(name string) trial {
	return trial{senders: otlpSenders(w.t, w.all, w.conns, w.tenant(name).Text), take: func(p *process) time.Time {
		return began(func() { p.asOperator("PATCH", "/api/v1/tenants/"+name, `{"daily_bytes":0}`) })
	}}
}

func (w *revocations) signedOut(string) trial {
	token := w.signIn()
	return trial{senders: apiSenders(w.t, w.all, "/api/v1/session", token), take: func(p *process) time.Time {
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
	return trial{senders: apiSenders(w.t, w.all, path, token), take: func(p *process) time.Time {
		return began(func() { p.asOperator("DELETE", grant, "") })
	}}
}

// expiredAccess ends by the clock, and nobody takes it away.
func (w *revocations) expiredAccess(name string) trial { return w.expiring(name, 4*time.Second) }

func (w *revocations) expiring(name string, left time.Duration) trial {
	path, token := w.below(name)
	until, id := timeNow().Add(left).UTC().Truncate(time.Millisecond), ""
	again := func() trial { return w.expiring(name+"x", 2*left) }
	for _, step := range []struct{ as, path, body string }{
		{token, "", `{"tenant":"` + name + `","permissions":["tenants.read"],"until":"` + until.Format(time.RFC3339Nano) + `"}`},
		{w.all[0].operatorToken(), "/approve", ""},
	} {
		status, text := w.all[0].ask(step.as, "POST", "/api/v1/access-requests"+id+step.path, step.body)
		if status >= 300 && !timeNow().Before(until) {
			return again()
		}
		if status >= 300 {
			w.t.Fatalf("access of %s: %d %s", name, status, text)
		}
		id = "/" + unmarshal[control.AccessRequest](w.t, text).ID
	}
	return trial{
		senders: apiSenders(w.t, w.all, path, token),
		take:    func(*process) time.Time { return time.Now().Add(until.Sub(timeNow())) },
		until:   until,
		again:   again,
	}
}

// letIn waits until every sender is let in; it reports false if what ends by itself has ended before.
func (w *revocations) letIn(x trial) bool {
	w.t.Helper()
	ended := func() bool { return !x.until.IsZero() && !timeNow().Before(x.until) }
	for _, send := range x.senders {
		timetest.Eventually(w.t, "what is to be taken away at every replica", func() bool { return ended() || send() })
	}
	return !ended()
}

// measured is how long after it was made everything was let in, how long after it was taken away each sender was, how long the
// change took to be answered, and the slowest question.
type measured struct {
	made              time.Duration
	took              []time.Duration
	answered, slowest time.Duration
}

// measure asks every replica until each refuses.
func (w *revocations) measure(x trial, at *process) (m measured) {
	t := w.t
	t.Helper()
	w.n++
	began := time.Now()
	for !w.letIn(x) {
		x, began = x.again(), time.Now()
	}
	m.made = time.Since(began)
	slowest := make([]time.Duration, len(x.senders))
	last := make([]atomic.Int64, len(x.senders)) // when the last accepted request was sent
	gone := make([]atomic.Bool, len(x.senders))
	var wg sync.WaitGroup
	for i, send := range x.senders {
		wg.Go(func() {
			tick := time.NewTicker(revocationPace)
			defer tick.Stop()
			for deadline := time.Now().Add(30 * time.Second); time.Now().Before(deadline); <-tick.C {
				w.asked.Add(1)
				at := time.Now()
				in := send()
				slowest[i] = max(slowest[i], time.Since(at))
				if !in {
					gone[i].Store(true)
					return
				}
				last[i].Store(at.UnixNano())
			}
		})
	}
	since := x.take(at)
	m.answered = max(0, time.Since(since))
	wg.Wait()
	for i := range last {
		if !gone[i].Load() {
			t.Errorf("sender %d is still let in after 30 s", i)
		}
		m.took = append(m.took, max(0, time.Unix(0, last[i].Load()).Sub(since)))
	}
	m.slowest = slices.Max(slowest)
	return m
}
