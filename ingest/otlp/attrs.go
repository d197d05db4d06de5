package otlp

import (
	"unicode/utf8"

	"github.com/cespare/xxhash/v2"

	"github.com/headgate-io/headgate/storage/native"
)

// Fields of KeyValue.
const (
	tagKey   = 1<<3 | wireBytes
	tagValue = 2<<3 | wireBytes

	tagKeyRef = 3<<3 | wireVarint // an index into a dictionary that only profiles have
)

// maxKeyBytes bounds the key of an attribute. Keys stand in dictionaries, which are made for texts that come again.
const maxKeyBytes = 64 << 10

// keyValue reads a KeyValue and returns its key and its AnyValue. A key given as an index into a dictionary reads as ""
// where there is none. That the key is too long is noted in d.bad.
func (d *Decoder) keyValue(b []byte) (key, val []byte, err error) {
	// The common form: SDKs write the key first, the collector the value.
	if k := secondShort(b); k > 0 {
		switch {
		case b[0] == tagKey && b[k] == tagValue:
			return b[2:k], b[k+2:], nil
		case b[0] == tagValue && b[k] == tagKey:
			return b[k+2:], b[2:k], nil
		}
	}
	return d.anyKeyValue(b)
}

// secondShort returns where the second field of b begins if b is two fields of one byte of tag, one of length and that many
// bytes, or 0.
func secondShort(b []byte) int {
	if len(b) >= 4 && b[1] < 0x80 {
		if k := 2 + int(b[1]); k+2 <= len(b) && b[k+1] < 0x80 && k+2+int(b[k+1]) == len(b) {
			return k
		}
	}
	return 0
}

// anyKeyValue is keyValue for all forms.
func (d *Decoder) anyKeyValue(b []byte) (key, val []byte, err error) {
	values := 0
	var ref uint64
	for i := 0; i < len(b); {
		tag, num, msg, next := nextField(b, i)
		if i = next; i < 0 {
			return nil, nil, ErrMalformed
		}
		switch tag {
		case tagKeyRef:
			ref = num
		case tagKey:
			key = msg
		case tagValue:
			val = msg
			values++
		}
	}
	if int32(ref) != 0 && d.sig == Profiles {
		key = d.referredKey(key, int32(ref))
	}
	if len(key) > maxKeyBytes {
		d.bad = KeyTooLong
	}
	if values > 1 {
		val, err = d.merged(b, tagValue)
	}
	return key, val, err
}

// attrMap is a column of attributes, and the column of their kinds.
type attrMap struct {
	*native.Map[*native.String]
	kinds    *kindColumn
	keys     []expectedKey // by index, those that were expected
	expected []expectedKey // by the index of a key plus one, what comes after it; in front what rows begin with
	hashed   *knownValues  // of a column of points, whose pairs are hashed, else nil

	// The row in hand.
	pairs int
	last  uint32 // the index of the last pair's key, plus one
	sum   uint64 // of the hashes of its pairs, in a column of points
	seen  seenKeys
}

func newAttrMap() *attrMap {
	return &attrMap{
		Map:   native.NewMap(native.NewLowCardinality(), native.NewString()),
		kinds: newKindColumn(),
	}
}

// Reset implements native.Column. The row in hand may be one that a malformed request ended in.
func (m *attrMap) Reset() {
	m.Map.Reset()
	m.next()
	m.sum = 0
	m.keys, m.expected = m.keys[:0], m.expected[:0] // SECURITY: the dictionary of keys is another one now
}

// add adds the KeyValue pair to the row in hand. What rejects the record is noted in d.bad.
func (m *attrMap) add(d *Decoder, pair []byte) error {
	if m.pairs >= maxItems {
		d.bad = TooManyItems
		return nil
	}
	// As in keyValue, which the compiler does not inline.
	var key, val []byte
	switch k := secondShort(pair); {
	case k > 0 && pair[0] == tagValue && pair[k] == tagKey:
		key, val = pair[k+2:], pair[2:k]
	case k > 0 && pair[0] == tagKey && pair[k] == tagValue:
		key, val = pair[2:k], pair[k+2:]
	default:
		var err error
		if key, val, err = d.anyKeyValue(pair); err != nil {
			return err
		}
	}
	i := d.intern(m.Keys, key)
	m.expect(key, i)
	m.seen.note(i)
	m.Keys.AppendIndex(i)
	row := m.Vals.Len()
	if !m.addCommon(val) {
		if err := m.addValue(d, val); err != nil {
			return err
		}
	}
	if m.hashed != nil {
		m.sum += rowHash(m.keyHash(i), m.Vals.From(row))
	}
	m.pairs++
	return nil
}

// keyHash returns the hash of the key with the index i.
func (m *attrMap) keyHash(i uint32) uint64 {
	if int(i) < len(m.keys) && m.keys[i].next > 0 {
		return m.keys[i].hash
	}
	return xxhash.Sum64(m.Keys.Value(i))
}

// addCommon adds the value val, an AnyValue, to the row in hand if it is of a common form: a short string, a number or a bool.
func (m *attrMap) addCommon(val []byte) bool {
	if text, ok := shortString(val); ok {
		if m.Vals.AppendASCII(val[1:]) {
			return true // its encoding in the column is that on the wire
		}
		if utf8.Valid(text) {
			m.Vals.Append(text)
			return true
		}
	} else if v, ok := shortInt(val); ok {
		m.Vals.AppendInt(v)
		m.kinds.note(m.pairs, kindInt)
		return true
	} else if k, num := numberValue(val); k != kindEmpty {
		appendNumber(m.Vals, k, num)
		m.kinds.note(m.pairs, k)
		return true
	}
	return false
}

// addValue is addCommon for all forms. What rejects the record is noted in d.bad.
func (m *attrMap) addValue(d *Decoder, val []byte) error {
	var v value
	if err := d.anyValue(val, &v); err != nil {
		return err
	}
	if err := d.appendValue(m.Vals, &v); err != nil {
		return err
	}
	m.kinds.noteValue(d, m.pairs, &v)
	return nil
}

// end ends the row. msg is the message that the pairs were fields tag of: if a key came twice, they are read again, to
// keep the last value of each.
func (m *attrMap) end(d *Decoder, msg []byte, tag uint64) error {
	if m.seen.repeats {
		m.DropRow()
		d.again.reset()
		if err := d.again.read(d, msg, tag); err != nil {
			return err
		}
		m.append(d, d.again.list)
		m.next()
		if m.hashed != nil {
			m.sum = sumOf(m.Keys, d.again.list)
		}
		return nil
	}
	m.EndRow()
	m.kinds.endRow(m.pairs)
	m.next()
	return nil
}

func (m *attrMap) next() {
	m.pairs = 0
	m.last = 0
	m.Keys.Restart()
	m.kinds.forget()
	m.seen.next()
}

// drop forgets the row in hand.
func (m *attrMap) drop() {
	m.DropRow()
	m.next()
	m.sum = 0
}

// append adds the row list.
func (m *attrMap) append(d *Decoder, list []attr) {
	if len(list) == 0 {
		m.EndRow()
		m.kinds.endRow(0)
		return
	}
	m.seen.keepLast(d, m.Keys, list)
	for i := range list {
		if a := &list[i]; !a.repeated {
			m.Keys.AppendIndex(a.idx)
			m.Vals.Append(a.text)
		}
	}
	m.EndRow()
	m.kinds.appendRow(list)
}

// resourceMap is the column of resource attributes, and the column of their kinds.
type resourceMap struct {
	*native.Map[*native.LowCardinality]
	kinds *kindColumn
	seen  seenKeys
	last  []uint32 // by key: the index of its value in the last row that had it
}

func newResourceMap() *resourceMap {
	return &resourceMap{
		Map:   native.NewMap(native.NewLowCardinality(), native.NewLowCardinality()),
		kinds: newKindColumn(),
	}
}

// append adds the row list.
func (m *resourceMap) append(d *Decoder, list []attr) {
	m.seen.keepLast(d, m.Keys, list)
	for i := range list {
		a := &list[i]
		if a.repeated {
			continue
		}
		m.Keys.AppendIndex(a.idx)
		for int(a.idx) >= len(m.last) {
			m.last = append(m.last, 0)
		}
		v := &m.last[a.idx] // what many resources have alike is not looked up
		if !m.Vals.Is(*v, a.text) {
			*v = m.Vals.Index(a.text)
		}
		m.Vals.AppendIndex(*v)
	}
	m.EndRow()
	m.kinds.appendRow(list)
}
