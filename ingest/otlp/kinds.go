package otlp

import (
	"bytes"

	"github.com/headgate-io/headgate/storage/native"
)

// The tables hold values as text. A Kinds column beside each of their maps, and BodyKind, has what the text alone does not
// tell, so that the values that were sent can be made of both:
//
//	kinds  the kinds of a map's values in the order in which they are stored. The last one stands for all that follow
//	       it, so a run at the end is written once; strings alone are "".
//	kind   s string, b bool, i int, d double, y bytes, e empty, a(kinds) array, k(kinds) kvlist
//
// Kinds of more than maxKindBytes are cut there and end in "~"; what is not told is read as strings.

// maxKindBytes bounds what one value of a Kinds column may add to its dictionary.
const maxKindBytes = 1024

// kindLetters has the letters of the kinds that are one letter, in the order of kind.
var kindLetters = [...]byte{
	kindEmpty: 'e', kindString: 's', kindBool: 'b', kindInt: 'i', kindDouble: 'd', kindArray: 'a', kindMap: 'k', kindBytes: 'y',
}

// kindRun finds the run of equal kinds that the kinds in a buffer end in.
type kindRun struct {
	begin, last int // where the kinds begin, and the last one of them
	keep        int // where the first of the run ends
}

func newKindRun(buf []byte) kindRun { return kindRun{begin: len(buf), last: len(buf), keep: len(buf)} }

// note takes notice of the kind buf[from:], which was just appended.
func (r *kindRun) note(buf []byte, from int) {
	// Most kinds are one letter: they are compared without a call.
	if n := len(buf) - from; n != from-r.last || buf[from] != buf[r.last] || n > 1 && !bytes.Equal(buf[r.last:from], buf[from:]) {
		r.keep = len(buf)
	}
	r.last = from
}

// close returns buf without the rest of the run.
func (r *kindRun) close(buf []byte) []byte {
	if string(buf[r.begin:r.keep]) == "s" {
		return buf[:r.begin]
	}
	return buf[:r.keep]
}

// kindList collects the kinds of one map's values. Strings that come after the last value of another kind are not in it.
type kindList struct {
	buf []byte
	run kindRun
	n   int // values in buf
}

func (l *kindList) reset() {
	if l.n > 0 {
		l.buf, l.run, l.n = l.buf[:0], kindRun{}, 0
	}
}

// set says that the value with the index i is not a string. Values before it that nothing was said about are.
func (l *kindList) set(i int, kind []byte) {
	for ; l.n < i; l.n++ {
		l.run.last = len(l.buf) // no more is noted: kind is another one
		l.buf = append(l.buf, 's')
	}
	from := len(l.buf)
	l.buf = append(l.buf, kind...)
	l.run.note(l.buf, from)
	l.n++
}

// text returns the kinds of n values. It is valid until the next reset.
func (l *kindList) text(n int) []byte {
	if l.n == 0 {
		return nil
	}
	if l.n < n {
		l.buf = append(l.buf, 's') // in place of all that are left
	} else {
		l.buf = l.run.close(l.buf)
	}
	return cutKinds(l.buf)
}

// cutKinds returns kinds, or as much of it as a column takes. It writes into what it cuts.
func cutKinds(kinds []byte) []byte {
	if len(kinds) > maxKindBytes {
		kinds = append(kinds[:maxKindBytes-1], '~')
	}
	return kinds
}

// kindOf returns the kinds of the one value v. If it was rendered, that must have been the last one.
func (d *Decoder) kindOf(v *value) []byte {
	switch v.kind {
	case kindString:
		return nil
	case kindText:
		return cutKinds(d.kinds)
	}
	return kindLetters[v.kind : v.kind+1]
}

// kindColumn is a Kinds column, and the kinds of the row in hand.
type kindColumn struct {
	*native.LowCardinality

	// The values of most rows are few and all of one letter. few has their kinds, four bits each, zero for a string, and
	// known the index of rows like it: no text is made and looked up. All other rows are in list.
	few   uint64
	list  kindList
	known [16][2]knownKinds // by a hash, the one that came last first
	used  bool              // there is one in known
}

type knownKinds struct {
	few    uint64
	values int
	index  uint32 // in the dictionary, plus one
}

func (k *knownKinds) are(few uint64, values int) bool {
	return k.few == few && k.values == values && k.index > 0
}

const maxFewKinds = 16

func newKindColumn() *kindColumn { return &kindColumn{LowCardinality: native.NewLowCardinality()} }

// Reset implements native.Column.
func (c *kindColumn) Reset() {
	c.LowCardinality.Reset()
	if c.used {
		clear(c.known[:])
		c.used = false
	}
	c.forget()
}

// forget drops the row in hand.
func (c *kindColumn) forget() {
	c.few = 0
	c.list.reset()
}

// note says that the value with the index i is of the kind k, which is one letter. Strings need not be noted, all others
// must be, in order.
func (c *kindColumn) note(i int, k kind) {
	if i < maxFewKinds && c.list.n == 0 {
		c.few |= uint64(k^kindString) << (4 * i)
	} else {
		c.noteLetter(i, k)
	}
}

func (c *kindColumn) noteLetter(i int, k kind) { c.noteText(i, kindLetters[k:k+1]) }

// noteText is note for a kind that is more than one letter.
func (c *kindColumn) noteText(i int, kinds []byte) {
	c.spill()
	c.list.set(i, kinds)
}

// spill moves the kinds from few to list.
func (c *kindColumn) spill() {
	for i := 0; c.few != 0; i++ {
		if k := kind(c.few & 15); k != 0 {
			k ^= kindString
			c.list.set(i, kindLetters[k:k+1])
		}
		c.few >>= 4
	}
}

// endRow adds the row of n values.
func (c *kindColumn) endRow(n int) { c.AppendIndex(c.take(n)) }

// take returns the dictionary index of the kinds of the row in hand, which has n values, and begins another.
func (c *kindColumn) take(n int) (index uint32) {
	if c.list.n > 0 {
		c.spill()
		index = c.Index(c.list.text(n))
		c.list.reset()
		return index
	}
	few := c.few
	if few == 0 {
		n = 0 // strings alone: however many, it is the same row
	}
	known := &c.known[(few+uint64(n))*0x9e3779b97f4a7c15>>60]
	if !known[0].are(few, n) {
		known[0], known[1] = known[1], known[0]
		if !known[0].are(few, n) {
			c.spill()
			c.used = true
			known[0] = knownKinds{few: few, values: n, index: c.Index(c.list.text(n)) + 1}
			c.list.reset()
		}
	}
	c.few = 0
	return known[0].index - 1
}

// appendRow adds the kinds of the attributes of list that are not repeated as a row, in place of the row in hand.
func (c *kindColumn) appendRow(list []attr) {
	c.forget()
	n := 0
	for i := range list {
		a := &list[i]
		if a.repeated {
			continue
		}
		if a.kind == kindText {
			c.noteText(n, a.kinds)
		} else if a.kind != kindString {
			c.note(n, a.kind)
		}
		n++
	}
	c.endRow(n)
}

// noteValue notes the kind of the value v with the index i. If it was rendered, that must have been the last one.
func (c *kindColumn) noteValue(d *Decoder, i int, v *value) {
	switch v.kind {
	case kindString:
	case kindText:
		c.noteText(i, d.kindOf(v))
	default:
		c.note(i, v.kind)
	}
}
