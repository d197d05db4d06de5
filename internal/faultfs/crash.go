package faultfs

import (
	"maps"
	"math/rand/v2"
	"slices"
)

// A Loss says what becomes of that which was not synced when the machine stopped.
type Loss int

const (
	// LoseAll loses it: the page cache was not written.
	LoseAll Loss = iota
	// KeepAll keeps it, as not synced yet: only the process died.
	KeepAll
	// LoseTail keeps, of each file and each directory, what came first.
	LoseTail
	// LoseSome loses each change of a name, each size and each 512 bytes of a write on its own, and may tear one of
	// those at any byte.
	LoseSome
	// Scramble is LoseSome, and a page of 4096 bytes that was being written may hold anything, also where the write
	// did not touch it.
	Scramble

	// Losses is how many there are.
	Losses
)

// Crash returns the file system as the machine finds it after a stop now: what was synced, and of the rest what loss
// and seed leave. The old one is dead. Locks, faults and StopAt are gone; the capacity stays.
func (m *Mem) Crash(loss Loss, seed uint64) *Mem {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.crashed = true
	c := &crash{loss: loss, rnd: rand.New(rand.NewPCG(seed, uint64(loss))), done: map[*node]*node{}}
	return &Mem{root: c.node(m.root), locks: map[string]bool{}, capacity: m.capacity}
}

// CrashTorn is Crash after the first n bytes of the write happened at which StopAt stopped with tear 0.
func (m *Mem) CrashTorn(n int64, loss Loss, seed uint64) *Mem {
	f := m.tornNode
	if f == nil {
		return m.Crash(loss, seed)
	}
	m.mu.Lock()
	before := *f
	f.shared = true // what is there stays as it is
	if n > 0 {
		_ = m.torn(n)
	}
	m.mu.Unlock()
	after := m.Crash(loss, seed)
	m.mu.Lock()
	*f = before
	f.shared = true
	m.mu.Unlock()
	return after
}

type crash struct {
	loss Loss
	rnd  *rand.Rand
	done map[*node]*node // a node may be found under several names
}

func (c *crash) node(n *node) *node {
	if made := c.done[n]; made != nil {
		return made
	}
	made := &node{}
	c.done[n] = made
	switch {
	case c.loss == KeepAll:
		c.copy(made, n)
	case n.children != nil:
		c.dir(made, n)
	default:
		made.durable = c.file(n)
		made.data, made.shared = made.durable, true
		made.allocated = min(n.allocated, int64(len(made.data)))
	}
	return made
}

// copy makes to what n is, with what is not durable yet.
func (c *crash) copy(to, n *node) {
	n.shared, to.shared = true, true
	to.data, to.durable, to.allocated = n.data, n.durable, n.allocated
	to.changes = slices.Clone(n.changes)
	if n.children == nil {
		return
	}
	to.children, to.saved = map[string]*node{}, map[string]*node{}
	for name, child := range n.children {
		to.children[name] = c.node(child)
	}
	for name, child := range n.saved {
		to.saved[name] = c.node(child)
	}
	for _, e := range n.entries {
		to.entries = append(to.entries, entryOp{e.from, e.to, c.node(e.node)})
	}
}

// kept returns how many of n changes come first enough to be kept.
func (c *crash) kept(n int) int {
	switch c.loss {
	case LoseAll:
		return 0
	case LoseTail:
		return c.rnd.IntN(n + 1)
	}
	return n
}

func (c *crash) each() bool { return c.loss == LoseSome || c.loss == Scramble }

// dir makes to what is left of a directory.
func (c *crash) dir(to, n *node) {
	names := maps.Clone(n.saved)
	for _, e := range n.entries[:c.kept(len(n.entries))] {
		if !c.each() || c.rnd.IntN(2) == 0 {
			e.apply(names)
		}
	}
	to.children, to.saved = map[string]*node{}, map[string]*node{}
	for _, name := range slices.Sorted(maps.Keys(names)) {
		child := c.node(names[name])
		to.children[name], to.saved[name] = child, child
	}
}

// file returns what is left of a file.
func (c *crash) file(n *node) []byte {
	keep := c.kept(len(n.changes))
	if keep == 0 {
		n.shared = true
		return n.durable
	}
	data := slices.Clone(n.durable)
	for i, ch := range n.changes[:keep] {
		switch {
		case ch.data == nil && c.each() && c.rnd.IntN(2) == 0:
		case ch.data == nil || !c.each():
			if c.loss == LoseTail && i == keep-1 && ch.data != nil {
				ch.data = ch.data[:c.rnd.IntN(len(ch.data)+1)]
			}
			if ch.data == nil || len(ch.data) > 0 {
				data = ch.apply(data)
			}
		default:
			data = c.scatter(data, ch)
		}
	}
	return data
}

// scatter applies some sectors of a write, each as a whole or not at all but for one.
func (c *crash) scatter(data []byte, ch change) []byte {
	const sector, page = 512, 4096
	torn := c.rnd.IntN(len(ch.data)/sector + 1)
	for i, start := 0, ch.off; start < ch.off+int64(len(ch.data)); i++ {
		end := min((start/sector+1)*sector, ch.off+int64(len(ch.data)))
		part := change{off: start, data: ch.data[start-ch.off : end-ch.off]}
		switch keep := c.rnd.IntN(2) == 0; {
		case i == torn:
			if k := c.rnd.IntN(len(part.data) + 1); k > 0 {
				part.data = part.data[:k]
				data = part.apply(data)
			}
		case keep:
			data = part.apply(data)
		}
		start = end
	}
	if c.loss == Scramble {
		for start := ch.off / page * page; start < min(ch.off+int64(len(ch.data)), int64(len(data))); start += page {
			if c.rnd.IntN(3) == 0 {
				for i := start; i < min(start+page, int64(len(data))); i++ {
					data[i] = byte(c.rnd.Uint32())
				}
			}
		}
	}
	return data
}
