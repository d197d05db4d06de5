package otlp

import (
	"encoding/binary"

	"github.com/headgate-io/headgate/storage/native"
)

// knownValues remembers what short values of points' attributes have become: the row, and with its key the hash. Most values are
// one of a few, which are found in a few instructions where XXH64 goes byte by byte. What stands in it is exact whatever request
// it is from, so it is never emptied: it depends on nothing but what an entry is found by.
type knownValues [256]knownValue

type knownValue struct {
	key  uint64                    // the key's hash
	wire [maxKnownValue / 8]uint64 // the AnyValue as it stands on the wire, then zeros
	size int                       // of the AnyValue; 0 is none
	hash uint64                    // pairHash of both
	row  native.ShortRow
	kind kind
}

// maxKnownValue is the size of the longest AnyValues that are remembered.
const maxKnownValue = 24

// leading has, by n, ones in the first n of so many bytes.
var leading = func() (masks [maxKnownValue + 1][maxKnownValue / 8]uint64) {
	for n := range masks {
		for i := range n {
			masks[n][i/8] |= 0xff << (8 * (i % 8))
		}
	}
	return masks
}()

// addHashed is addCommon for a column of points: it adds the hash of the pair to the sum. key is the hash of the key.
func (m *attrMap) addHashed(key uint64, val []byte) bool {
	if len(val) > maxKnownValue || cap(val) < maxKnownValue {
		row := m.Vals.Len()
		if !m.addCommon(val) {
			return false
		}
		m.sum += rowHash(key, m.Vals.From(row))
		return true
	}
	// Three words, whatever the size: what is behind the value is masked.
	wire, mask := (*[maxKnownValue]byte)(val[:maxKnownValue]), &leading[len(val)]
	a := binary.LittleEndian.Uint64(wire[:]) & mask[0]
	b := binary.LittleEndian.Uint64(wire[8:]) & mask[1]
	c := binary.LittleEndian.Uint64(wire[16:]) & mask[2]
	v := &m.hashed[(key^a*resourcePart^b*keyFactor^c*scopePart)*scopePart>>56]
	if (v.key^key)|(v.wire[0]^a)|(v.wire[1]^b)|(v.wire[2]^c)|uint64(v.size^len(val)) != 0 {
		v.key, v.wire, v.size = key, [...]uint64{a, b, c}, 0
		return m.learn(v, val)
	}
	m.Vals.AppendShort(&v.row)
	if v.kind != kindString {
		m.kinds.note(m.pairs, v.kind)
	}
	m.sum += v.hash
	return true
}

// learn is addHashed for val that is not known yet. It remembers in known what val became.
func (m *attrMap) learn(known *knownValue, val []byte) bool {
	row := m.Vals.Len()
	if !m.addCommon(val) {
		return false
	}
	known.hash = rowHash(known.key, m.Vals.From(row))
	m.sum += known.hash
	known.kind = kind(val[0] >> 3) // of the common forms, the field has the number of the kind
	if m.Vals.Short(row, &known.row) {
		known.size = len(val)
	}
	return true
}

// rowHash is pairHash of the value row, as it stands in its column: its length and its bytes.
func rowHash(key uint64, row []byte) uint64 {
	n, w := uint64(row[0]), 1
	if n >= 0x80 {
		n, w = binary.Uvarint(row)
	}
	return pairHash(key, row[w:w+int(n)])
}
