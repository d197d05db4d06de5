package ingest

import (
	"net"
	"net/netip"
	"sync"
	"time"

	"github.com/headgate-io/headgate/auth"
)

// peers bounds what one address may do at a port: how many connections it holds, and how often the keys it shows are
// refused. It knows an address while it has connections, and for the seconds that its refusals count. It is safe for
// concurrent use.
type peers struct {
	maxConns int
	perFail  time.Duration // what a refused key costs; 0: nothing

	mu     sync.Mutex // guards the fields below, and those of every peer
	byAddr map[netip.Prefix]*peer
	sweep  int // entries at which those that are over are looked for
}

// peer is one address of IPv4, or a network of IPv6 as one customer has it.
type peer struct {
	table *peers
	addr  netip.Prefix
	conns int
	paid  time.Time // when what its refused keys cost is paid for
	met   time.Time // when its connections, connPace apart, are all met
}

const (
	// failBurst is how far an address may be in debt before it is held: an agent that is started with a wrong key, and
	// whatever else happens behind the same address in good faith, does not come near.
	failBurst = 10 * time.Second
	// maxHold bounds how long one read is put off, and with it what the others of a shared connection may suffer.
	maxHold = 5 * time.Second
	// connPace is how far apart connections of one address are met, beyond the first connBurst: what setting them up costs
	// comes by degrees, however many come at once.
	connPace  = 250 * time.Microsecond
	connBurst = 32
	// minSweep is as many addresses as are kept without looking which of them are over.
	minSweep = 4096
)

// newPeers allows each address maxConns connections and failsPerSecond refused keys; 0 of these is any number.
func newPeers(maxConns, failsPerSecond int) *peers {
	ps := &peers{maxConns: maxConns, byAddr: map[netip.Prefix]*peer{}, sweep: minSweep}
	if failsPerSecond > 0 {
		ps.perFail = time.Second / time.Duration(failsPerSecond)
	}
	return ps
}

// connect counts a connection, or reports false if the address has as many as it may.
func (ps *peers) connect(from net.Addr, now time.Time) (*peer, bool) {
	addr := network(from)
	ps.mu.Lock()
	defer ps.mu.Unlock()
	p := ps.byAddr[addr]
	if p == nil {
		if len(ps.byAddr) >= ps.sweep {
			ps.sweepLocked(now)
		}
		p = &peer{table: ps, addr: addr}
		ps.byAddr[addr] = p
	}
	if p.conns >= ps.maxConns {
		return nil, false
	}
	p.conns++
	return p, true
}

// pace returns how long a connection that was just counted waits before it is met.
func (p *peer) pace(now time.Time) time.Duration {
	p.table.mu.Lock()
	defer p.table.mu.Unlock()
	if p.met.Before(now) {
		p.met = now
	}
	p.met = p.met.Add(connPace)
	return max(0, p.met.Sub(now)-connBurst*connPace)
}

// disconnect ends what connect counted.
func (p *peer) disconnect(now time.Time) {
	p.table.mu.Lock()
	defer p.table.mu.Unlock()
	p.conns--
	p.table.forgetLocked(p, now)
}

// fail counts a refused key and returns how long the address has to wait before it shows another, 0 if it need not.
func (p *peer) fail(now time.Time) time.Duration {
	ps := p.table
	ps.mu.Lock()
	defer ps.mu.Unlock()
	if p.paid.Before(now) {
		p.paid = now
	}
	// What cannot be held against it any more is forgiven: the wait is never longer than maxHold.
	p.paid = minTime(p.paid.Add(ps.perFail), now.Add(failBurst+maxHold))
	return max(0, p.paid.Sub(now)-failBurst)
}

func (ps *peers) forgetLocked(p *peer, now time.Time) {
	if p.conns == 0 && !p.paid.After(now) && !p.met.After(now) {
		delete(ps.byAddr, p.addr)
	}
}

// sweepLocked forgets the addresses that are over. Those that are not are as many as hold connections or failed within
// seconds; half of the next sweep's entries at least are new, so that sweeping is cheap for each.
func (ps *peers) sweepLocked(now time.Time) {
	for _, p := range ps.byAddr {
		ps.forgetLocked(p, now)
	}
	ps.sweep = max(minSweep, 2*len(ps.byAddr))
}

// network is what of an address counts as one peer. Addresses that are none of IP are all the same peer.
func network(a net.Addr) netip.Prefix {
	tcp, ok := a.(*net.TCPAddr)
	if !ok {
		return netip.Prefix{}
	}
	ip := tcp.AddrPort().Addr().Unmap().WithZone("")
	bits := 32
	if ip.Is6() {
		bits = 64
	}
	p, err := ip.Prefix(bits)
	if err != nil {
		return netip.Prefix{}
	}
	return p
}

func minTime(a, b time.Time) time.Time {
	if a.Before(b) {
		return a
	}
	return b
}

// signIn tells who is asking, and holds what became of the key for or against the connection that it came on. What is
// known, if disabled or without the scope, counts for neither.
func (r *receiver) signIn(from *conn, c credentials) (auth.Principal, *failure) {
	p, f := r.authenticate(from, c)
	if f == nil || f.http == unauthenticated.http || f.kind == keysUnavailable {
		r.judge(from, f == nil)
	}
	return p, f
}

// judge takes note of a good key, or of a request that showed none. Connections wait by the machine's time, whatever the clock of
// requests shows.
func (r *receiver) judge(from *conn, good bool) {
	if from != nil && from.authenticated(good, time.Now()) {
		r.metrics.held.Inc()
	}
}
