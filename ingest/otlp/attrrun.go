package otlp

import (
	"encoding/binary"

	"github.com/cespare/xxhash/v2"
)

// Records of one sender have much the same attributes in much the same order. So a column expects after each key the one that
// came after it last, and reads runs of attributes whose keys are expected and whose forms are common in one loop, without
// parsing a key, hashing it or calling anything for it. A key that comes out of order is looked up and expected from then on. All
// else is read one by one, see attrMap.add.

// expectedKey is the key that came after another one when that came last.
type expectedKey struct {
	field [maxExpectedKey / 8]uint64 // its field as it stands on the wire, then zeros
	mask  [maxExpectedKey / 8]uint64 // ones where field has the key's field
	hash  uint64                     // of the key, in a column of points
	next  uint32                     // its index in the dictionary, plus one; 0 is none
	size  uint32                     // of the field; 0: the key is too long to be looked for
}

const (
	maxExpectedKey  = 32      // size of the longest fields of keys that are looked for, with tag and length
	maxExpectations = 1 << 10 // of a column. Keys with higher indexes are not expected
)

func newExpectedKey(key []byte, i uint32) expectedKey {
	e := expectedKey{next: i + 1}
	if len(key)+2 > maxExpectedKey {
		return e
	}
	var text, ones [maxExpectedKey]byte
	text[0], text[1] = tagKey, byte(len(key))
	e.size = 2 + uint32(copy(text[2:], key))
	for i := range e.size {
		ones[i] = 0xff
	}
	for w := range e.field {
		e.field[w], e.mask[w] = binary.LittleEndian.Uint64(text[8*w:]), binary.LittleEndian.Uint64(ones[8*w:])
	}
	return e
}

// begins reports whether text begins with the field of e.
func (e *expectedKey) begins(text *[maxExpectedKey]byte) bool {
	return (binary.LittleEndian.Uint64(text[:])&e.mask[0]^e.field[0])|
		(binary.LittleEndian.Uint64(text[8:])&e.mask[1]^e.field[1])|
		(binary.LittleEndian.Uint64(text[16:])&e.mask[2]^e.field[2])|
		(binary.LittleEndian.Uint64(text[24:])&e.mask[3]^e.field[3]) == 0
}

// expect notes that key, which has the index i, is the next key of the row in hand.
func (m *attrMap) expect(key []byte, i uint32) {
	if i < maxExpectations && m.last < maxExpectations {
		for int(max(i, m.last)) >= len(m.keys) {
			m.keys, m.expected = append(m.keys, expectedKey{}), append(m.expected, expectedKey{})
		}
		if k := &m.keys[i]; k.next == 0 {
			*k = newExpectedKey(key, i)
			if m.hashed != nil {
				k.hash = xxhash.Sum64(m.Keys.Value(i))
			}
		}
		if e := &m.expected[m.last]; e.next != i+1 {
			*e = m.keys[i]
		}
	}
	m.last = i + 1
}

// expectKeyOf expects the key of the KeyValue pair, whatever was expected. It reports whether the next turn of run will find it.
func (m *attrMap) expectKeyOf(pair []byte) bool {
	k := secondShort(pair)
	if k == 0 {
		return false
	}
	key := pair[2:k]
	if pair[0] == tagValue {
		key = pair[k+2:]
	}
	i, ok := m.Keys.Find(key)
	if !ok || int(i) >= len(m.keys) || m.keys[i].size == 0 {
		return false
	}
	m.expected[m.last] = m.keys[i]
	return true
}

// addRun adds the fields tag at b[i:], KeyValues, as far as they are of the common forms and have the expected keys. It returns
// where the first field is that is not.
func (m *attrMap) addRun(b []byte, i int, tag byte) int {
	if i < len(b) && b[i] == tag {
		i = m.run(b, i)
	}
	return i
}

func (m *attrMap) run(b []byte, i int) int {
	all := b[:cap(b)] // what is read behind b is masked
	corrected := -1   // where a key was looked up
	for tag := b[i]; i+1 < len(b) && b[i] == tag && int(m.last) < len(m.expected); {
		e := &m.expected[m.last]
		size, from := int(b[i+1]), i+2
		to, n := from+size, size-int(e.size)-2 // n bytes are the value's
		if size >= 0x80 || to > len(b) || to > len(all)-maxExpectedKey || m.pairs >= maxItems {
			break
		}
		key, val := from, from+int(e.size) // SDKs write the key first, the collector the value
		if all[from] == tagValue {
			key, val = to-int(e.size), from
		}
		if n < 2 || e.size == 0 || !e.begins((*[maxExpectedKey]byte)(all[key:key+maxExpectedKey])) {
			if corrected == i || !m.expectKeyOf(b[from:to]) {
				break
			}
			corrected = i
			continue
		}
		head := binary.LittleEndian.Uint32(all[val : val+4])
		if uint16(head) != uint16(tagValue|n<<8) {
			break
		}
		value := all[val+2 : val+2+n]
		switch {
		case m.hashed != nil:
			if !m.addHashed(e.hash, value) {
				return i
			}
		case head>>16 == uint32(tagAnyString|(n-2)<<8) && m.Vals.AppendASCII(value[1:]):
		default:
			if !m.addCommon(value) {
				return i
			}
		}
		m.seen.note(e.next - 1)
		m.Keys.AppendIndex(e.next - 1)
		m.pairs++
		i, m.last = to, e.next
	}
	return i
}
