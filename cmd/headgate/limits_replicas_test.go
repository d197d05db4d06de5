package main

import (
	"context"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/headgate-io/headgate/internal/otlpgen"
	"github.com/headgate-io/headgate/internal/timetest"
	"github.com/headgate-io/headgate/metering"
)

// crowd is many senders at many replicas of one database. Each sender has one replica, as an agent has one endpoint, and sends
// a request until it is answered for good.
type crowd struct {
	t       *testing.T
	r       *replicas
	members []*member
	keys    []crowdKey

	mu      sync.Mutex // guards what follows
	acked   map[string]int64
	refused map[string]int // by the id of what refused
	other   int            // answers to try again, and none
}

// member is a replica that keeps its directory and ports when it is killed.
type member struct {
	dir  string
	args []string
	addr addresses
	p    *process
}

type crowdKey struct{ tenant, id, key string }

func (m *member) start(c *crowd) {
	m.p = serveOn(c.t, m.dir, m.args...)
	m.p.secrets = c.r.secrets
	m.addr = m.p.addr
}

const (
	crowdReplicas = 8
	crowdSenders  = 64
)

// TestReplicasTogetherKeepEveryLimitToTheByte: limits of a tenant, its parent, a signal and a key hold over 8 replicas and 64
// senders while replicas are killed and PostgreSQL is stopped and killed, and what is billed is what was acked.
func TestReplicasTogetherKeepEveryLimitToTheByte(t *testing.T) {
	c := &crowd{t: t, r: newReplicas(t), acked: map[string]int64{}, refused: map[string]int{}}
	for range crowdReplicas {
		m := &member{dir: t.TempDir(), args: append([]string{"--secrets-dir", c.r.secrets}, c.r.args...)}
		for _, flag := range []string{"--otlp-http", "--otlp-grpc", "--api", "--telemetry"} {
			m.args = append(m.args, flag, freePort(t))
		}
		c.members = append(c.members, m)
		m.start(c) // the first makes the secrets and the tables
	}
	const parentLimit, ownLimit, keyLimit, logsLimit = 16 << 20, 6 << 20, 2 << 20, 5 << 20
	p := c.members[0].p
	p.cli("tenant", "create", "parent", "--daily-bytes", fmt.Sprint(parentLimit))
	p.cli("tenant", "create", "a", "--parent", "parent", "--daily-bytes", fmt.Sprint(ownLimit))
	p.cli("tenant", "create", "b", "--parent", "parent", "--limit", fmt.Sprintf("daily-bytes:logs=%d", logsLimit))
	for _, args := range [][]string{{"a", "--daily-bytes", fmt.Sprint(keyLimit)}, {"a"}, {"b"}} {
		out := p.cli(append([]string{"key", "create", "--json", "--scope", "ingest", "--tenant"}, args...)...)
		made := unmarshal[struct{ ID, Key string }](t, out)
		c.keys = append(c.keys, crowdKey{args[0], made.ID, made.Key})
	}
	for _, m := range c.members {
		timetest.Eventually(t, "every key at every replica", func() bool { return c.knows(m) })
	}

	ctx, stop := context.WithTimeout(t.Context(), 15*time.Minute)
	var senders sync.WaitGroup
	defer senders.Wait() // they speak of t, and may not outlive it
	defer stop()
	for i := range crowdSenders {
		senders.Go(func() { c.send(ctx, i) })
	}
	random := rand.New(rand.NewPCG(uint64(number(t, seedVar, int(time.Now().UnixNano()&0xffffff))), 8))
	for i := range number(t, killsVar, 10) / 2 {
		c.wait(300)
		switch i % 4 {
		case 1:
			c.r.pg.Stop()
			c.r.pg.Start(t)
		case 3:
			c.r.pg.Kill()
			c.r.pg.Start(t)
		default:
			m := c.members[random.IntN(crowdReplicas)]
			m.p.end(syscall.SIGKILL)
			m.start(c)
		}
	}
	// Everybody goes on until everything is used up: what was leased and lies idle comes back meanwhile.
	limits := []string{"limit-daily-bytes", "limit-daily-bytes-key", "limit-daily-bytes-parent", "logs"}
	timetest.Eventually(t, "all limits to be reached", func() bool {
		c.mu.Lock()
		defer c.mu.Unlock()
		for _, id := range limits {
			if c.refused[id] == 0 {
				return false
			}
		}
		return c.acked["parent"] > parentLimit-(64<<10)
	})
	stop()
	senders.Wait()
	for _, m := range c.members {
		m.p.flushed()
	}
	c.compare(map[string]int64{"parent": parentLimit, "a": ownLimit, c.keys[0].id: keyLimit, "b/logs": logsLimit})
}

// knows asks for a key's refusal by content, which tells that the key is known.
func (c *crowd) knows(m *member) bool {
	for _, k := range c.keys {
		status, _, err := m.p.post(c.t.Context(), "/v1/logs", "application/x-protobuf", k.key, []byte{0xff})
		if err != nil || status != 400 {
			return false
		}
	}
	return true
}

// wait waits for n more acks, or until nothing more is acked.
func (c *crowd) wait(n int) {
	count := func() int {
		c.mu.Lock()
		defer c.mu.Unlock()
		return int(c.acked["requests"]) + c.refused["limit-daily-bytes-parent"]
	}
	from := count()
	timetest.Eventually(c.t, "acks", func() bool { return count() >= from+n })
}

// send sends requests of different sizes, logs and traces, until ctx ends.
func (c *crowd) send(ctx context.Context, i int) {
	m := c.members[i%crowdReplicas]
	p := &process{t: c.t, addr: m.addr} // the address stays, the process does not
	random := rand.New(rand.NewPCG(uint64(i), 9))
	pace := time.NewTicker(5 * time.Millisecond)
	defer pace.Stop()
	for n := uint64(0); ctx.Err() == nil; n++ {
		k := c.keys[random.IntN(len(c.keys))]
		signal, seed, records := "logs", uint64(i)<<32|n, 1+random.IntN(30)
		body := otlpgen.Logs(seed, records)
		if random.IntN(3) == 0 {
			signal, body = "traces", otlpgen.Traces(seed, records)
		}
		for { // also after the end: what was sent once must be known
			try, cancel := context.WithTimeout(context.Background(), 20*time.Second)
			status, text, err := p.post(try, "/v1/"+signal, "application/x-protobuf", k.key, body)
			cancel()
			if c.note(k, signal, len(body), status, text, err) {
				break
			}
			<-pace.C
		}
		<-pace.C
	}
}

// note counts an answer, and reports whether it is one for good.
func (c *crowd) note(k crowdKey, signal string, n, status int, text string, err error) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case err == nil && status == 200:
		for _, account := range []string{"parent", k.tenant, k.id, k.tenant + "/" + signal, k.tenant + "|" + signal + "|" + k.id} {
			c.acked[account] += int64(n)
		}
		c.acked["requests"]++
		return true
	case err == nil && status == 429:
		_, id, _ := strings.Cut(text, "(limit-")
		id, _, _ = strings.Cut(id, ")")
		c.refused["limit-"+id]++
		if strings.Contains(text, "for logs") {
			c.refused["logs"]++
		}
		return true
	case err != nil || status == 503:
		c.other++
		return false
	}
	c.t.Errorf("%s of %s: %d %q", signal, k.tenant, status, text)
	return true
}

// compare holds the ledger to what was acked, and both to the limits.
func (c *crowd) compare(limits map[string]int64) {
	c.t.Helper()
	c.mu.Lock()
	defer c.mu.Unlock()
	c.t.Logf("%d requests acked, refused %v, to be tried again %d", c.acked["requests"], c.refused, c.other)
	usage := unmarshal[metering.Usage](c.t, c.members[1].p.cli("usage", "--json", "--by", "month", "--group", "signal,key"))
	billed := map[string]int64{}
	for _, row := range usage.Rows {
		billed[row.Tenant+"|"+row.Signal+"|"+row.Key] += row.BilledBytes
	}
	for name, want := range c.acked {
		if strings.Count(name, "|") == 2 && billed[name] != want {
			c.t.Errorf("%s: billed %d, acked %d", name, billed[name], want)
		}
	}
	for name, n := range billed {
		if c.acked[name] != n {
			c.t.Errorf("%s: billed %d, acked %d", name, n, c.acked[name])
		}
	}
	for name, limit := range limits {
		c.t.Logf("%s: %d of %d, %d left", name, c.acked[name], limit, limit-c.acked[name])
		if c.acked[name] > limit {
			c.t.Errorf("%s: %d acked of %d", name, c.acked[name], limit)
		}
	}
}
