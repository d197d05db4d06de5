package clients

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// everything is sent by most scenarios: 20 records every 50 ms for some seconds, the signals in turn.
var everything = plan{
	signals: []string{logs, traces, metrics}, batches: 90, records: 20, pad: 50, workers: 8,
	pace: 50 * time.Millisecond, finish: 20 * time.Second,
}

// longer is everything for long enough that all clients are still sending when an outage begins.
func longer() plan {
	p := everything
	p.batches, p.finish = 160, 18*time.Second
	return p
}

// run is one client in one scenario, with a tenant and a key of its own.
type run struct {
	client client
	tenant string
	key    key
	reader key // reads what is stored; key itself unless that ends
	tally  tally
}

func clients(t *testing.T) []client {
	all := []client{collectorGRPC(), collectorHTTP(), asInTheGuide(), goGRPC(), goHTTP()}
	if reason := nodeReady(); reason != "" {
		t.Logf("without the Node SDK: %s", reason)
		return all
	}
	return append(all, nodeSDK("proto"), nodeSDK("json"), nodeSDK("grpc"))
}

// runs makes a tenant with a key for every client.
func runs(t *testing.T, s *server, limits ...string) (all []*run) {
	t.Helper()
	for _, c := range clients(t) {
		r := &run{client: c, tenant: strings.NewReplacer(",", "", " ", "-").Replace(c.name)}
		s.cli(append([]string{"tenant", "create", r.tenant}, limits...)...)
		r.key = s.newKey(r.tenant)
		r.reader = r.key
		all = append(all, r)
	}
	return all
}

// play lets all clients send at once, calls during while they do, and verifies each. check looks at one line more closely.
func play(t *testing.T, s *server, scenario string, p plan, all []*run, during func(), check func(r *run, l line)) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 40*time.Second)
	defer cancel()
	var wg sync.WaitGroup
	for _, r := range all {
		wg.Go(func() {
			if err := r.client.run(ctx, target{grpc: s.addr.GRPC, http: s.addr.HTTP, key: r.key.Key, ca: s.ca}, p, &r.tally); err != nil {
				t.Errorf("%s, %s: %v", scenario, r.client.name, err)
			}
		})
	}
	if during != nil {
		during()
	}
	wg.Wait()
	for _, r := range all {
		l := verify(t, s, scenario, r, p)
		results.add(l)
		t.Logf("%+v%s", l, r.tally.why())
		if check != nil {
			check(r, l)
		}
	}
}

// acked waits until every client has had so many records acknowledged.
func acked(t *testing.T, all []*run, n int) {
	t.Helper()
	for _, r := range all {
		waitFor(t, fmt.Sprintf("%d acks of %s", n, r.client.name), func() bool {
			acked, dropped := r.tally.progress()
			return acked+dropped >= n
		})
	}
}

// allDelivered is the check of scenarios in which nothing may be lost.
func allDelivered(t *testing.T) func(*run, line) {
	return func(r *run, l line) {
		if l.acked != l.sent || l.stored != l.sent {
			t.Errorf("%s, %s: not everything was delivered: %+v", l.scenario, l.client, l)
		}
	}
}

func TestEverythingIsDeliveredOnce(t *testing.T) {
	s := serve(t)
	all := runs(t, s)
	play(t, s, "success", everything, all, nil, func(r *run, l line) {
		allDelivered(t)(r, l)
		if l.retried != 0 {
			t.Errorf("%+v: want no retries", l)
		}
	})
}

// TestEverythingIsDeliveredOnceOverTLS: the same on both ports with a certificate, HTTP/2 chosen by those who can.
func TestEverythingIsDeliveredOnceOverTLS(t *testing.T) {
	cert, key := certificate(t)
	s := serve(t, "--tls-cert", cert, "--tls-key", key)
	all := runs(t, s)
	all = slices.DeleteFunc(all, func(r *run) bool { return strings.Contains(r.client.name, "guide") }) // its example is in plaintext
	play(t, s, "success, TLS", everything, all, nil, func(r *run, l line) {
		allDelivered(t)(r, l)
		if l.doubled != 0 || l.retried != 0 {
			t.Errorf("%+v: want no retries and nothing doubled", l)
		}
	})
}

// TestBadRecordsAreRejectedAlone: spans without an id and points without a time, three in every batch.
func TestBadRecordsAreRejectedAlone(t *testing.T) {
	p := everything
	p.signals, p.batches, p.bad = []string{traces, metrics}, 40, 3
	s := serve(t)
	play(t, s, "partial success", p, runs(t, s), nil, func(r *run, l line) {
		if want := p.batches * p.bad; l.rejected != want || l.stored != l.sent-want || l.retried != 0 || l.doubled != 0 {
			t.Errorf("%+v: want %d rejected, the rest stored, nothing retried", l, want)
		}
	})
}

// TestRefusedAtTheLimit: what fits the day is stored, the rest is refused with the time to the reset, hours away.
func TestRefusedAtTheLimit(t *testing.T) {
	s := serve(t)
	p := everything
	p.finish = 8 * time.Second // collectors wait for longer than any test
	play(t, s, "limit, refuse", p, runs(t, s, "--daily-bytes", "100KiB"), nil, func(r *run, l line) {
		if l.acked == 0 || l.dropped+l.held == 0 || l.stored > l.acked+l.held || l.doubled != 0 {
			t.Errorf("%+v: want some acked and the rest dropped or held", l)
		}
		if billed := s.billed(r.tenant); billed != l.stored {
			t.Errorf("%+v: %d billed; want what is stored", l, billed)
		}
	})
}

// TestDroppedAtTheLimit: with the policy drop no client keeps or repeats what is over the limit.
func TestDroppedAtTheLimit(t *testing.T) {
	s := serve(t)
	play(t, s, "limit, drop", everything, runs(t, s, "--daily-bytes", "100KiB", "--at-limit", "drop"), nil, func(r *run, l line) {
		if l.acked == 0 || l.rejected == 0 || l.acked+l.rejected != l.sent || l.stored != l.acked || l.retried != 0 || l.doubled != 0 {
			t.Errorf("%+v: want some acked and the rest rejected by partial success", l)
		}
	})
}

// TestWarningsOfALimitAreNoFailures: beyond the limit everything is billed, so that no request is refused. All clients are
// warned, and none keeps, repeats or drops anything for it.
func TestWarningsOfALimitAreNoFailures(t *testing.T) {
	s := serve(t)
	play(t, s, "limit, warnings", everything, runs(t, s, "--daily-bytes", "50KiB", "--at-limit", "bill"), nil, func(r *run, l line) {
		allDelivered(t)(r, l)
		if l.rejected != 0 || l.retried != 0 || l.doubled != 0 {
			t.Errorf("%+v: want nothing rejected, retried or doubled", l)
		}
		if why := r.tally.why(); !strings.Contains(why, "daily byte limit is ") {
			t.Errorf("%s: not warned:%s", r.client.name, why)
		}
	})
}

func TestTooLargeIsNotSentAgain(t *testing.T) {
	s := serve(t, "--max-body", "16KiB")
	p := everything
	p.batches, p.pad = 30, 2000
	play(t, s, "too large", p, runs(t, s), nil, func(r *run, l line) {
		if l.dropped != l.sent || l.retried != 0 || l.stored != 0 {
			t.Errorf("%+v: want everything dropped and nothing retried", l)
		}
	})
}

// TestRevokedKeyStops: nothing is stored after the revocation, also on open connections, and no client repeats itself.
func TestRevokedKeyStops(t *testing.T) {
	s := serve(t)
	all := runs(t, s)
	for _, r := range all {
		r.reader = s.newKey(r.tenant)
	}
	p := everything
	p.batches = 240 // the fastest still sends when the slowest has had its first acks
	play(t, s, "key revoked", p, all, func() {
		acked(t, all, 100)
		var wg sync.WaitGroup
		for _, r := range all {
			wg.Go(func() {
				if _, err := s.try("key", "revoke", r.key.ID); err != nil {
					t.Error(err)
				}
			})
		}
		wg.Wait()
	}, func(r *run, l line) {
		if l.acked == 0 || l.dropped == 0 || l.stored > l.acked+l.held || l.retried != 0 || l.doubled != 0 {
			t.Errorf("%+v: want some acked, the rest dropped and not repeated", l)
		}
	})
}

// TestOverloadIsRetried gives the server room for few requests at once and clients that send more.
func TestOverloadIsRetried(t *testing.T) {
	s := serve(t, "--max-body", "32KiB", "--max-inflight", "128KiB")
	p := everything
	p.pad, p.workers, p.batches, p.pace, p.largest = 800, 16, 45, time.Millisecond, p.records
	retried := 0
	play(t, s, "overload", p, runs(t, s), nil, func(r *run, l line) {
		collectorsDeliver(t)(r, l)
		retried += l.retried
	})
	if retried == 0 {
		t.Error("there was no overload")
	}
}

// TestStalledEngine stops the engine for longer than any client waits for an answer: nobody notices.
func TestStalledEngine(t *testing.T) {
	s := serve(t)
	all := runs(t, s)
	play(t, s, "engine stalled 7 s", longer(), all, func() {
		acked(t, all, 60)
		s.signalEngine(syscall.SIGSTOP)
		<-time.After(7 * time.Second)
		s.signalEngine(syscall.SIGCONT)
	}, allDelivered(t))
}

// TestKilledEngineLosesNothingAcked kills the engine twice under load: nobody notices.
func TestKilledEngineLosesNothingAcked(t *testing.T) {
	s := serve(t)
	all := runs(t, s)
	play(t, s, "engine killed twice", longer(), all, func() {
		for _, n := range []int{60, 200} {
			acked(t, all, n)
			s.signalEngine(syscall.SIGKILL)
		}
	}, allDelivered(t))
}

// TestRestartLosesNothingAcked ends headgate in both ways and starts it again.
func TestRestartLosesNothingAcked(t *testing.T) {
	for _, c := range []struct {
		name string
		sig  syscall.Signal
	}{{"restart, SIGTERM", syscall.SIGTERM}, {"restart, SIGKILL", syscall.SIGKILL}} {
		t.Run(c.name, func(t *testing.T) {
			s := serve(t)
			all := runs(t, s)
			play(t, s, c.name, longer(), all, func() {
				acked(t, all, 60)
				s.end(c.sig)
				s.start()
			}, collectorsDeliver(t))
		})
	}
}

// collectorsDeliver is the check of outages, over which a collector's queue and retries have to carry everything. The
// SDKs' own retries are short, or none: what they drop is in the table.
func collectorsDeliver(t *testing.T) func(*run, line) {
	return func(r *run, l line) {
		if strings.HasPrefix(l.client, "collector") {
			allDelivered(t)(r, l)
		}
	}
}
