package main

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
)

// Environment variables that make the test of revocation what make revocation is.
const (
	revocationsVar    = "HEADGATE_TEST_REVOCATIONS"     // of each kind; default 3
	revocationRateVar = "HEADGATE_TEST_REVOCATION_RATE" // requests per second beside, over all replicas; default 50
	// revocationPace is how often each of the six senders of a trial asks: the precision of what is measured.
	revocationPace = 5 * time.Millisecond
)

// asOperator sends a request to the API of p and returns the answer's text.
func (p *process) asOperator(method, path, body string) string {
	p.t.Helper()
	token, err := os.ReadFile(filepath.Join(cmp.Or(p.secrets, p.dir), adminTokenFile))
	if err != nil {
		p.t.Fatal(err)
	}
	req, err := http.NewRequestWithContext(p.t.Context(), method, "http://"+p.addr.API+path, strings.NewReader(body))
	if err != nil {
		p.t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+strings.TrimSpace(string(token)))
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		p.t.Fatal(err)
	}
	defer resp.Body.Close()
	raw, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode >= 300 {
		p.t.Fatalf("%s %s: %d %s %v", method, path, resp.StatusCode, raw, err)
	}
	return string(raw)
}

// What is taken away at one of three replicas is refused at all of them within a second: HTTP and gRPC, on connections that were
// open before, while others send.
func TestRevocationReachesOpenConnectionsOfEveryReplica(t *testing.T) {
	trials, rate := number(t, revocationsVar, 3), number(t, revocationRateVar, 50)
	r := newReplicas(t)
	all := []*process{r.serve(), r.serve(), r.serve()}
	var conns []*grpc.ClientConn
	for _, p := range all {
		conn, err := grpc.NewClient(p.addr.OTLPGRPC, grpc.WithTransportCredentials(insecure.NewCredentials()))
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		conns = append(conns, conn)
	}
	all[0].asOperator("POST", "/api/v1/tenants", `{"name":"others"}`)
	sent, stop := othersSend(t, all, all[0].key("others", "ingest"), rate)
	defer stop()

	kinds := []struct {
		name string
		take func(p *process, tenant, key string)
	}{
		{"revoked key", func(p *process, _, key string) { p.asOperator("DELETE", "/api/v1/keys/"+key, "") }},
		{"disabled tenant", func(p *process, tenant, _ string) {
			p.asOperator("POST", "/api/v1/tenants/"+tenant+"/disable", "")
		}},
		{"changed limit", func(p *process, tenant, _ string) {
			p.asOperator("PATCH", "/api/v1/tenants/"+tenant, `{"daily_bytes":0}`)
		}},
	}
	began, before := time.Now(), sent.Load()
	for k, kind := range kinds {
		var took []time.Duration
		for i := range trials {
			tenant := fmt.Sprintf("t%d-%d", k, i)
			all[0].asOperator("POST", "/api/v1/tenants", `{"name":"`+tenant+`"}`)
			key := unmarshal[struct{ ID, Key string }](t, all[0].asOperator("POST", "/api/v1/keys", `{"tenant":"`+tenant+`","scopes":["ingest"]}`))
			took = append(took, refusedAfter(t, all, conns, key.Key, func() { kind.take(all[i%len(all)], tenant, key.ID) })...)
		}
		slices.Sort(took)
		p99 := took[(len(took)*99+99)/100-1]
		t.Logf("%s: %d measured, median %v, p99 %v, longest %v", kind.name, len(took), took[len(took)/2], p99, took[len(took)-1])
		if p99 > time.Second {
			t.Errorf("%s: p99 is %v, want a second at most", kind.name, p99)
		}
	}
	t.Logf("%.0f requests/s of others meanwhile", float64(sent.Load()-before)/time.Since(began).Seconds())
}

// refusedAfter sends with the key to every replica over both protocols until each refuses, and returns how long after take
// began each was last sent a request that it accepted.
func refusedAfter(t *testing.T, all []*process, conns []*grpc.ClientConn, key string, take func()) []time.Duration {
	t.Helper()
	var senders []func() bool
	for i, p := range all {
		senders = append(senders,
			func() bool {
				status, _, err := p.post(t.Context(), "/v1/logs", "application/json", key, []byte(record("x")))
				return err == nil && status == http.StatusOK
			},
			func() bool { return p.export(conns[i], key, "x").Code() == codes.OK })
	}
	for _, send := range senders {
		waitFor(t, "the key at every replica", send)
	}
	last := make([]atomic.Int64, len(senders)) // when the last accepted request was sent
	gone := make([]atomic.Bool, len(senders))
	var wg sync.WaitGroup
	for i, send := range senders {
		wg.Go(func() {
			tick := time.NewTicker(revocationPace)
			defer tick.Stop()
			for deadline := time.Now().Add(30 * time.Second); time.Now().Before(deadline); <-tick.C {
				if at := time.Now(); send() {
					last[i].Store(at.UnixNano())
				} else {
					gone[i].Store(true)
					return
				}
			}
		})
	}
	asked := time.Now()
	take()
	wg.Wait()
	out := make([]time.Duration, len(senders))
	for i := range out {
		if !gone[i].Load() {
			t.Errorf("sender %d is still let in after 30 s", i)
		}
		out[i] = max(0, time.Unix(0, last[i].Load()).Sub(asked))
	}
	return out
}

// othersSend sends rate requests per second to the replicas in turn until stop, and counts them.
func othersSend(t *testing.T, all []*process, key string, rate int) (sent *atomic.Int64, stop func()) {
	ctx, cancel := context.WithCancel(t.Context())
	sent = &atomic.Int64{}
	var wg sync.WaitGroup
	next := make(chan int, 256)
	client := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 16}}
	for range 16 {
		wg.Go(func() {
			for n := range next {
				req, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://"+all[n%len(all)].addr.OTLPHTTP+"/v1/logs", strings.NewReader(record("load")))
				if err != nil {
					return
				}
				req.Header.Set("Authorization", "Bearer "+key)
				req.Header.Set("Content-Type", "application/json")
				resp, err := client.Do(req)
				if err != nil {
					continue
				}
				_, _ = io.Copy(io.Discard, resp.Body)
				resp.Body.Close()
				if resp.StatusCode == http.StatusOK {
					sent.Add(1)
				}
			}
		})
	}
	wg.Go(func() {
		defer close(next)
		tick := time.NewTicker(10 * time.Millisecond)
		defer tick.Stop()
		due, n, began := 0, 0, time.Now()
		for {
			select {
			case <-ctx.Done():
				return
			case <-tick.C:
			}
			for due = int(time.Since(began).Seconds() * float64(rate)); n < due; n++ {
				select {
				case next <- n:
				default: // the machine is slower than the rate; what is reached is printed
				}
			}
		}
	})
	return sent, func() { cancel(); wg.Wait() }
}
