package storage

import (
	"slices"
	"time"

	"github.com/headgate-io/headgate/storage/wal"
)

type position = wal.Position

// pending is a request in the log that no run has taken yet.
type pending struct {
	at   position
	size uint32 // bytes of the entry
}

// backlog holds the requests of one signal that wait for a run, by tenant. It has no lock of its own: see Log.mu.
//
// Taking is fair: tenants have their turns in a circle, and a turn takes as many bytes of each, so that one tenant's hours
// of backlog do not hold up the others. Half of a turn goes to the tenant's oldest requests and half to its newest, so that
// fresh data is not held up either.
type backlog struct {
	tenants map[string]*tenantBacklog
	circle  []*tenantBacklog // those with requests
	turn    int              // whose turn it is in circle
	count   int
	first   time.Time // when the backlog last became more than empty
}

type tenantBacklog struct {
	name  string
	queue []pending // in the order of the log, but for appends that raced
	head  int       // the first in queue that is still there
	bytes int64     // of those that wait and of those in a run
}

// turnBytes is what one turn of a tenant takes at least, as long as it has so much.
const turnBytes = 1 << 20

func newBacklog() *backlog { return &backlog{tenants: map[string]*tenantBacklog{}} }

func (b *backlog) tenant(name string) *tenantBacklog {
	t := b.tenants[name]
	if t == nil {
		t = &tenantBacklog{name: name}
		b.tenants[name] = t
	}
	return t
}

// push adds a request.
func (b *backlog) push(tenant string, p pending, now time.Time) {
	t := b.tenant(tenant)
	if t.len() == 0 {
		b.circle = append(b.circle, t)
	}
	if b.count == 0 {
		b.first = now
	}
	t.queue = append(t.queue, p)
	t.bytes += int64(p.size)
	b.count++
}

// giveBack returns requests that were taken, as the oldest of their tenant.
func (b *backlog) giveBack(tenant string, ps ...pending) {
	t := b.tenant(tenant)
	if t.len() == 0 {
		b.circle = append(b.circle, t)
	}
	t.queue = append(slices.Clone(ps), t.queue[t.head:]...)
	t.head = 0
	b.count += len(ps)
}

func (t *tenantBacklog) len() int { return len(t.queue) - t.head }

// take removes one turn's requests of the tenant whose turn it is: its name and at least one request, or "" if nothing
// waits.
func (b *backlog) take() (string, []pending) {
	if b.count == 0 {
		return "", nil
	}
	if b.turn >= len(b.circle) {
		b.turn = 0
	}
	t := b.circle[b.turn]
	var out []pending
	for taken := 0; t.len() > 0 && taken < turnBytes/2; {
		p := t.queue[t.head]
		t.head++
		taken += int(p.size)
		out = append(out, p)
	}
	old := len(out)
	for taken := 0; t.len() > 0 && taken < turnBytes/2; {
		last := len(t.queue) - 1
		taken += int(t.queue[last].size)
		out = append(out, t.queue[last])
		t.queue = t.queue[:last]
	}
	slices.Reverse(out[old:])
	b.count -= len(out)
	if t.len() == 0 {
		t.queue, t.head = nil, 0
		b.circle = slices.Delete(b.circle, b.turn, b.turn+1)
	} else {
		t.compact()
		b.turn++
	}
	return t.name, out
}

// compact gives up the room of what was taken once that is most of the queue.
func (t *tenantBacklog) compact() {
	if t.head > 1024 && t.head > len(t.queue)/2 {
		t.queue = append([]pending(nil), t.queue[t.head:]...)
		t.head = 0
	}
}

// finished forgets bytes of a tenant whose requests are done.
func (b *backlog) finished(tenant string, bytes int64) {
	t := b.tenants[tenant]
	if t.bytes -= bytes; t.bytes == 0 && t.len() == 0 {
		delete(b.tenants, tenant)
	}
}
