package native

import (
	"encoding/binary"
	"hash/maphash"
	"math"
)

// dict numbers distinct byte strings in the order they came and keeps them as the body of a String column.
//
// SECURITY: clients choose the strings. The hash is seeded at random per dict, so that nobody can aim at one slot.
type dict struct {
	seed  maphash.Seed
	slots []slot // open addressing, a power of two, at most half full
	body  []byte
	spans []span

	// followers has, by index plus one, the index that came after it in the last sequence that had it, and in front that
	// which the last sequence began with. next is where the sequence is.
	followers []follower
	next      uint32
}

type slot struct {
	hash uint32
	next uint32 // index into spans plus one; 0 is free
}

type span struct{ from, to uint32 }

type follower struct {
	index uint32
	span
}

const minSlots = 64

func newDict() dict { return dict{seed: maphash.MakeSeed()} }

// find returns the index of b.
func (d *dict) find(b []byte) (uint32, bool) {
	if i, ok := d.guess(b); ok {
		return i, true
	}
	_, _, i, ok := d.lookup(b)
	if ok {
		d.follow(i)
	}
	return i, ok
}

// index returns the index of b, which it adds if it is not there.
func (d *dict) index(b []byte) uint32 {
	if i, ok := d.guess(b); ok {
		return i
	}
	if 2*(len(d.spans)+1) > len(d.slots) {
		d.grow()
	}
	hash, at, i, ok := d.lookup(b)
	if !ok {
		i = d.add(b)
		d.slots[at] = slot{hash: hash, next: i + 1}
	}
	d.follow(i)
	return i
}

// guess returns the index of b if it comes where it came last: values that come in much the same sequence again and
// again, as the keys of attributes do, need no hash.
func (d *dict) guess(b []byte) (uint32, bool) {
	if int(d.next) < len(d.followers) {
		if f := &d.followers[d.next]; d.at(f.span, b) {
			d.next = f.index + 1
			return f.index, true
		}
	}
	return 0, false
}

// follow notes that the index i came next in the sequence.
func (d *dict) follow(i uint32) {
	d.followers[d.next] = follower{i, d.spans[i]}
	d.next = i + 1
}

// lookup returns the hash of b, its index and its slot, or the slot to put it into.
func (d *dict) lookup(b []byte) (hash, at, i uint32, ok bool) {
	if len(d.slots) == 0 {
		return 0, 0, 0, false
	}
	hash = uint32(maphash.Bytes(d.seed, b))
	mask := uint32(len(d.slots) - 1)
	for at = hash & mask; ; at = (at + 1) & mask {
		s := d.slots[at]
		if s.next == 0 {
			return hash, at, 0, false
		}
		if s.hash == hash && d.is(s.next-1, b) {
			return hash, at, s.next - 1, true
		}
	}
}

func (d *dict) is(i uint32, b []byte) bool { return d.at(d.spans[i], b) }

// at reports whether b stands at s.
func (d *dict) at(s span, b []byte) bool { return string(d.body[s.from:s.to]) == string(b) }

// add numbers b.
func (d *dict) add(b []byte) uint32 {
	d.body = binary.AppendUvarint(d.body, uint64(len(b)))
	from := len(d.body)
	d.body = append(d.body, b...)
	if len(d.body) > math.MaxUint32 {
		panic("BUG: dictionary of more than 4 GiB")
	}
	i := uint32(len(d.spans))
	d.spans = append(d.spans, span{from: uint32(from), to: uint32(len(d.body))})
	if i == 0 {
		d.followers = append(d.followers, follower{0, d.spans[0]}) // of the beginning
	}
	d.followers = append(d.followers, follower{0, d.spans[0]})
	return i
}

func (d *dict) grow() {
	old := d.slots
	d.slots = make([]slot, max(minSlots, 2*len(old)))
	mask := uint32(len(d.slots) - 1)
	for _, s := range old {
		if s.next == 0 {
			continue
		}
		at := s.hash & mask
		for d.slots[at].next != 0 {
			at = (at + 1) & mask
		}
		d.slots[at] = s
	}
}

func (d *dict) reset() {
	if len(d.spans) == 0 {
		return // most dictionaries of a table are not used by a request
	}
	if len(d.slots) > minSlots && len(d.spans) < len(d.slots)/16 {
		d.slots = nil // far larger than what is used: clearing it every time would cost more than growing again
	}
	clear(d.slots)
	d.body, d.spans, d.followers, d.next = emptied(d.body), emptied(d.spans), emptied(d.followers), 0
}
