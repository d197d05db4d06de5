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
	if len(d.slots) == 0 {
		return 0, false
	}
	h := uint32(maphash.Bytes(d.seed, b))
	mask := uint32(len(d.slots) - 1)
	for i := h & mask; ; i = (i + 1) & mask {
		s := d.slots[i]
		if s.next == 0 {
			return 0, false
		}
		if s.hash == h && d.is(s.next-1, b) {
			return s.next - 1, true
		}
	}
}

func (d *dict) is(i uint32, b []byte) bool { return d.at(d.spans[i], b) }

// at reports whether b stands at s.
func (d *dict) at(s span, b []byte) bool { return string(d.body[s.from:s.to]) == string(b) }

// findNext is find for values that come in much the same sequence again and again, as the keys of attributes do: the
// index that came after the last one before is compared first, which spares the hash.
func (d *dict) findNext(b []byte) (uint32, bool) {
	if int(d.next) < len(d.followers) {
		if guess := &d.followers[d.next]; d.at(guess.span, b) {
			d.next = guess.index + 1
			return guess.index, true
		}
	}
	i, ok := d.find(b)
	if ok {
		d.follow(i)
	}
	return i, ok
}

// follow notes that the index i came next in the sequence.
func (d *dict) follow(i uint32) {
	d.followers[d.next] = follower{i, d.spans[i]}
	d.next = i + 1
}

// add numbers b, which must not be there yet.
func (d *dict) add(b []byte) uint32 {
	if 2*(len(d.spans)+1) > len(d.slots) {
		d.grow()
	}
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
	d.place(uint32(maphash.Bytes(d.seed, b)), i)
	d.follow(i)
	return i
}

func (d *dict) place(h, i uint32) {
	mask := uint32(len(d.slots) - 1)
	at := h & mask
	for d.slots[at].next != 0 {
		at = (at + 1) & mask
	}
	d.slots[at] = slot{hash: h, next: i + 1}
}

func (d *dict) grow() {
	d.slots = make([]slot, max(minSlots, 2*len(d.slots)))
	for i, s := range d.spans {
		d.place(uint32(maphash.Bytes(d.seed, d.body[s.from:s.to])), uint32(i))
	}
}

func (d *dict) reset() {
	if len(d.slots) > minSlots && len(d.spans) < len(d.slots)/16 {
		d.slots = nil // far larger than what is used: clearing it every time would cost more than growing again
	}
	clear(d.slots)
	d.body, d.spans, d.followers, d.next = emptied(d.body), emptied(d.spans), emptied(d.followers), 0
}
