package otlp

import (
	"github.com/headgate-io/headgate/storage/native"
)

// attr is an attribute on its way into a map column.
type attr struct {
	key []byte
	val value
	idx uint32 // the key's index in the column's dictionary
}

// attrSet collects attributes of one level: resource, scope, metric or record.
type attrSet struct {
	list []attr
	text []byte // arrays and maps, rendered
}

func (s *attrSet) reset() { s.list, s.text = s.list[:0], s.text[:0] }

// forget drops the references into the body.
func (s *attrSet) forget() { clear(s.list[:cap(s.list)]) }

// Fields of KeyValue.
const (
	tagKey   = 1<<3 | wireBytes
	tagValue = 2<<3 | wireBytes
)

// keyValue reads a KeyValue and returns its key and its AnyValue. A key given as an index into a dictionary reads as "".
func (d *Decoder) keyValue(b []byte) (key, val []byte, err error) {
	// The common form: a short key, then a short value, nothing else.
	if len(b) >= 4 && b[0] == tagKey && b[1] < 0x80 {
		k := 2 + int(b[1])
		if v := k + 2; v <= len(b) && b[k] == tagValue && b[k+1] < 0x80 && int(b[k+1]) == len(b)-v {
			return b[2:k], b[v:], nil
		}
	}
	values := 0
	for i := 0; i < len(b); {
		var tag uint64
		if tag, i = varint(b, i); i < 0 {
			return nil, nil, ErrMalformed
		}
		switch tag {
		case tagKey:
			key, i = block(b, i)
		case tagValue:
			val, i = block(b, i)
			values++
		default:
			i = skip(b, i, tag)
		}
		if i < 0 {
			return nil, nil, ErrMalformed
		}
	}
	if values > 1 {
		val, err = d.merged(b, tagValue)
	}
	return key, val, err
}

// addAttr reads the KeyValue pair into s. What rejects the record is noted in d.bad.
func (d *Decoder) addAttr(s *attrSet, pair []byte) error {
	key, val, err := d.keyValue(pair)
	if err != nil {
		return err
	}
	return d.addPair(s, key, val)
}

func (d *Decoder) addPair(s *attrSet, key, val []byte) error {
	if len(s.list) >= maxItems {
		d.bad = TooManyItems
		return nil
	}
	v, err := d.anyValue(val)
	if err != nil {
		return err
	}
	if v.kind == kindArray || v.kind == kindMap {
		if err := d.render(&v, &s.text); err != nil {
			return err
		}
	}
	s.list = append(s.list, attr{key: key, val: v})
	return nil
}

// render replaces the array or map v by its JSON, which it appends to buf.
func (d *Decoder) render(v *value, buf *[]byte) error {
	from := len(*buf)
	text, err := d.appendJSON(*buf, v, 1)
	switch err {
	case nil:
	case errTooDeep:
		d.bad = TooDeep
	case errTooManyItems:
		d.bad = TooManyItems
	default:
		return err
	}
	*buf = text
	*v = value{kind: kindText, b: text[from:]}
	return nil
}

// attrMap is a column of attributes. The last value of a repeated key is kept.
type attrMap struct {
	*native.Map[*native.LowCardinality, *native.String]
	seen seenKeys
}

func newAttrMap() *attrMap {
	return &attrMap{Map: native.NewMap(native.NewLowCardinality(), native.NewString())}
}

// append adds a row.
func (m *attrMap) append(d *Decoder, list []attr) {
	repeats := m.seen.number(d, m.Keys, list)
	for i := range list {
		a := &list[i]
		if repeats && !m.seen.isLast(a, i) {
			continue
		}
		m.Keys.AppendIndex(a.idx)
		d.appendText(m.Vals, &a.val)
	}
	m.EndRow()
}

// resourceMap is the column of resource attributes.
type resourceMap struct {
	*native.Map[*native.LowCardinality, *native.LowCardinality]
	seen seenKeys
}

func newResourceMap() *resourceMap {
	return &resourceMap{Map: native.NewMap(native.NewLowCardinality(), native.NewLowCardinality())}
}

// append adds n equal rows.
func (m *resourceMap) append(d *Decoder, list []attr, n int) {
	from := m.Mark()
	repeats := m.seen.number(d, m.Keys, list)
	for i := range list {
		a := &list[i]
		if repeats && !m.seen.isLast(a, i) {
			continue
		}
		m.Keys.AppendIndex(a.idx)
		m.Vals.AppendIndex(d.intern(m.Vals, d.text(&a.val)))
	}
	m.EndRow()
	m.Repeat(from, n-1)
}

// seenKeys finds repeated keys of a record by the keys' dictionary indexes: one comparison per attribute.
type seenKeys struct {
	at    []seenAt // by dictionary index
	epoch uint64   // never 0, never used twice
}

type seenAt struct {
	epoch uint64
	pos   int
}

// number looks up the keys of list in the dictionary of keys, and reports whether one is there twice.
func (s *seenKeys) number(d *Decoder, keys *native.LowCardinality, list []attr) (repeats bool) {
	s.epoch++
	for i := range list {
		a := &list[i]
		a.idx = d.intern(keys, a.key)
		for int(a.idx) >= len(s.at) {
			s.at = append(s.at, seenAt{})
		}
		at := &s.at[a.idx]
		repeats = repeats || at.epoch == s.epoch
		*at = seenAt{s.epoch, i}
	}
	return repeats
}

// isLast reports whether a, at position i, is the last with its key.
func (s *seenKeys) isLast(a *attr, i int) bool { return s.at[a.idx].pos == i }

// lastText returns the text of the last attribute named key, "" if there is none.
func (d *Decoder) lastText(list []attr, key string) []byte {
	for i := len(list) - 1; i >= 0; i-- {
		if string(list[i].key) == key {
			return d.text(&list[i].val)
		}
	}
	return nil
}
