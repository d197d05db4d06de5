package otlp

import "github.com/headgate-io/headgate/storage/native"

// attrSet holds the attributes of a resource, a scope or a metric until the rows that repeat them are known.
type attrSet struct {
	list  []attr
	text  []byte // of what is not text already
	kinds []byte // of arrays and maps
}

type attr struct {
	key      []byte
	text     []byte // the value
	kinds    []byte // of a value that was rendered
	kind     kind
	idx      uint32 // the key's index in a column's dictionary
	repeated bool   // a later attribute has the same key
}

func (s *attrSet) reset() { s.list, s.text, s.kinds = s.list[:0], s.text[:0], s.kinds[:0] }

// forget drops the references into the body.
func (s *attrSet) forget() { clear(s.list[:cap(s.list)]) }

// read adds the fields tag of msg.
func (s *attrSet) read(d *Decoder, msg []byte, tag uint64) error {
	for i := 0; i < len(msg); {
		got, _, pair, next := nextField(msg, i)
		if i = next; i < 0 {
			return ErrMalformed
		}
		if got == tag {
			if err := s.add(d, pair); err != nil {
				return err
			}
		}
	}
	return nil
}

// add adds the KeyValue pair.
func (s *attrSet) add(d *Decoder, pair []byte) error {
	key, val, err := d.keyValue(pair)
	if err != nil {
		return err
	}
	return s.addPair(d, key, val)
}

func (s *attrSet) addPair(d *Decoder, key, val []byte) error {
	if len(s.list) >= maxItems {
		d.bad = TooManyItems
		return nil
	}
	var v value
	if err := d.anyValue(val, &v); err != nil {
		return err
	}
	if err := d.render(&v, &s.text); err != nil {
		return err
	}
	a := attr{key: key, text: v.b, kind: v.kind}
	switch {
	case v.kind == kindText:
		from := len(s.kinds)
		s.kinds = append(s.kinds, d.kinds...)
		a.kinds = s.kinds[from:]
	case v.kind != kindString || !native.IsASCII(v.b):
		from := len(s.text)
		s.text = append(s.text, d.text(&v)...)
		a.text = s.text[from:]
	}
	s.list = append(s.list, a)
	return nil
}

// bytes estimates what the attributes take in a row.
func (s *attrSet) bytes() int {
	n := 0
	for i := range s.list {
		n += 8 + len(s.list[i].text)
	}
	return n
}

// lastText returns the text of the last attribute named key, "" if there is none.
func (s *attrSet) lastText(key string) []byte {
	for i := len(s.list) - 1; i >= 0; i-- {
		if string(s.list[i].key) == key {
			return s.list[i].text
		}
	}
	return nil
}

// seenKeys finds the repeated keys of a row by their dictionary indexes: one comparison per attribute.
type seenKeys struct {
	low     uint64   // the indexes up to 63 that are in the row, by bit
	in      []uint64 // by index, of the others: the row that the key was last in
	row     uint64   // the row in hand, less one; never used twice
	repeats bool     // a key of the row in hand came again
}

// note marks the key with index i and reports whether it came before.
func (s *seenKeys) note(i uint32) bool {
	var again bool
	if i < 64 {
		bit := uint64(1) << (i % 64)
		again = s.low&bit != 0
		s.low |= bit
	} else {
		for int(i) >= len(s.in) {
			s.in = append(s.in, 0)
		}
		again = s.in[i] == s.row+1
		s.in[i] = s.row + 1
	}
	s.repeats = s.repeats || again
	return again
}

func (s *seenKeys) next() {
	s.row++
	s.low, s.repeats = 0, false
}

// keepLast looks up the keys of list in the dictionary of keys and marks those that come again.
func (s *seenKeys) keepLast(d *Decoder, keys *native.LowCardinality, list []attr) {
	keys.Restart()
	s.next()
	for i := range list {
		list[i].idx = d.intern(keys, list[i].key)
		s.note(list[i].idx)
	}
	if s.repeats {
		s.next()
		for i := len(list) - 1; i >= 0; i-- {
			list[i].repeated = s.note(list[i].idx)
		}
	}
	s.next()
}
