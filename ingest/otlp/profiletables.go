package otlp

// Fields of the dictionary's entries.
const (
	tagUnitAttrKey   = 1<<3 | wireVarint
	tagUnitAttrValue = 2<<3 | wireBytes
	tagUnitAttrUnit  = 3<<3 | wireVarint

	tagFunctionName   = 1<<3 | wireVarint
	tagFunctionSystem = 2<<3 | wireVarint
	tagFunctionFile   = 3<<3 | wireVarint
	tagFunctionStart  = 4<<3 | wireVarint

	tagProfileLinkTrace = 1<<3 | wireBytes
	tagProfileLinkSpan  = 2<<3 | wireBytes

	tagMappingStart       = 1<<3 | wireVarint
	tagMappingLimit       = 2<<3 | wireVarint
	tagMappingOffset      = 3<<3 | wireVarint
	tagMappingFile        = 4<<3 | wireVarint
	tagMappingAttr        = 5<<3 | wireVarint
	tagMappingAttrsPacked = 5<<3 | wireBytes

	tagLocationMapping     = 1<<3 | wireVarint
	tagLocationAddress     = 2<<3 | wireVarint
	tagLocationLine        = 3<<3 | wireBytes
	tagLocationAttr        = 4<<3 | wireVarint
	tagLocationAttrsPacked = 4<<3 | wireBytes

	tagLineFunction = 1<<3 | wireVarint
	tagLineLine     = 2<<3 | wireVarint
	tagLineColumn   = 3<<3 | wireVarint

	tagStackLocation        = 1<<3 | wireVarint
	tagStackLocationsPacked = 1<<3 | wireBytes
)

// About what a part of a dictionary takes here, and a frame and an attribute in a row.
const (
	dictAttrBytes   = 128
	dictEntryBytes  = 64
	dictStringBytes = 8
	dictLineBytes   = 24
	dictIndexBytes  = 4
	frameBytes      = 96
	frameAttrBytes  = 8
)

type profileAttr struct {
	key, unit int32
	from, to  int // its value in profileDict.text
	kinds     int // bytes of its kinds behind the value; none for a string
	zero      bool
	bad       Reason
	interned  [attrColumns]internedPair
}

// The columns that attributes of the dictionary go into.
const (
	inProfile = iota
	inSample
	inUnits
	inFrame
	inMapping
	attrColumns
)

// internedPair is where a column's dictionaries have the key and the value, plus one; 0 is not known. A text of the
// client's is hashed once per column, however often it is referred to.
type internedPair struct{ key, val uint32 }

type profileFunction struct {
	name, system, file int32
	start              int64
	bad                Reason
	known              bool // it has been in a row: its texts are these in the columns' dictionaries
	interned           [3]uint32
}

// profileLink has zero ids where there are no valid ones.
type profileLink struct {
	trace [traceIDBytes]byte
	span  [spanIDBytes]byte
}

type profileMapping struct {
	start, limit, offset uint64
	file                 int32
	attrs                indexList
	bad                  Reason
	known                bool
	interned             uint32
}

type profileLine struct {
	function     int32
	line, column int64
}

type profileLocation struct {
	address   uint64
	mapping   int32
	firstLine uint32
	lines     int32
	attrs     indexList
	bad       Reason
}

// frames returns how many rows of Frames the location takes.
func (l *profileLocation) frames() int { return max(int(l.lines), 1) }

type profileStack struct {
	locations indexList
	frames    int
	bytes     int // of its frames in a row
	bad       Reason
}

// indexList is a part of profileDict.indices.
type indexList struct{ from, count uint32 }

func (p *profileDict) list(l indexList) []int32 { return p.indices[l.from : l.from+l.count] }

// addIndex reads one index, or a packed list of them, onto indices.
func (p *profileDict) addIndex(d *Decoder, b []byte, i int, packed bool) int {
	before := len(p.indices)
	p.indices, i = appendIndices(p.indices, b, i, packed)
	d.charge(dictIndexBytes * (len(p.indices) - before))
	return i
}

// listSince returns the indices that were added since from.
func (p *profileDict) listSince(from int) indexList {
	return indexList{uint32(from), uint32(len(p.indices) - from)}
}

// appendIndices reads one index, or a packed list of them, onto dst.
func appendIndices(dst []int32, b []byte, i int, packed bool) ([]int32, int) {
	var n uint64
	if !packed {
		n, i = varint(b, i)
		return append(dst, int32(n)), i
	}
	list, i := block(b, i)
	for at := 0; at < len(list); {
		if n, at = varint(list, at); at < 0 {
			return dst, -1
		}
		dst = append(dst, int32(n))
	}
	return dst, i
}

// inRange reports whether i is an index into a table of n entries.
func inRange(i int32, n int) bool { return i >= 0 && int(i) < n }

// str returns the string i, "" if there is none.
func (p *profileDict) str(i int32) []byte {
	if !inRange(i, len(p.strings)) {
		return nil
	}
	return p.msg[p.strings[i].from:p.strings[i].to]
}

func (p *profileDict) hasStrings(all ...int32) bool {
	for _, i := range all {
		if !inRange(i, len(p.strings)) {
			return false
		}
	}
	return true
}

// resolve returns the string that an attribute refers to. The text is taken from the budget, because a few bytes can ask
// for it many times. What rejects the record is noted in d.bad.
func (d *Decoder) resolve(i int32) []byte {
	p := &d.profiles.dict
	if !p.hasStrings(i) {
		d.bad = InvalidIndex
		return nil
	}
	text := p.str(i)
	if d.charge(len(text)); d.budget < 0 {
		d.bad = TooLarge
		return nil
	}
	return text
}

// referredKey returns the key of an attribute that is given by the index i, which must not stand beside a literal key.
func (d *Decoder) referredKey(literal []byte, i int32) []byte {
	if len(literal) > 0 {
		d.bad = InvalidIndex
	}
	return d.resolve(i)
}

// referredValue returns the value that is given by the index i: empty where there is no dictionary.
func (d *Decoder) referredValue(i int32) (kind, []byte) {
	if d.sig != Profiles {
		return kindEmpty, nil
	}
	return kindString, d.resolve(i)
}

// attrsBytes returns about what the attributes of list take in a row where each takes fixed bytes beside its texts.
func (p *profileDict) attrsBytes(list []int32, fixed int) (n int, bad Reason) {
	for _, i := range list {
		if !inRange(i, len(p.attrs)) {
			return 0, InvalidIndex
		}
		if p.attrs[i].bad != none {
			return 0, p.attrs[i].bad
		}
		n += fixed + p.attrs[i].to - p.attrs[i].from + p.attrs[i].kinds
	}
	return n, none
}

func (d *Decoder) readDictString(_ []byte, at extent) error {
	d.charge(dictStringBytes)
	d.profiles.dict.strings = append(d.profiles.dict.strings, at)
	return nil
}

func (d *Decoder) readDictAttr(b []byte, _ extent) (err error) {
	p := &d.profiles.dict
	d.charge(dictAttrBytes)
	a := profileAttr{bad: none}
	var val []byte
	values := 0
	for i := 0; i < len(b); {
		var tag, n uint64
		if tag, i = nextTag(b, i); i < 0 {
			return ErrMalformed
		}
		switch tag {
		case tagUnitAttrKey:
			n, i = varint(b, i)
			a.key = int32(n)
		case tagUnitAttrValue:
			val, i = block(b, i)
			values++
		case tagUnitAttrUnit:
			n, i = varint(b, i)
			a.unit = int32(n)
		default:
			if i, err = d.skipDev(b, i, tag, 3); err != nil {
				return err
			}
		}
		if i < 0 {
			return ErrMalformed
		}
	}
	if values > 1 {
		if val, err = d.merged(b, tagUnitAttrValue); err != nil {
			return err
		}
	}
	d.bad = none
	var v value
	if err := d.anyValue(val, &v); err != nil {
		return err
	}
	a.zero = a.key == 0 && a.unit == 0 && v.kind == kindEmpty && d.bad == none
	a.from = len(p.text)
	if err := d.render(&v, &p.text); err != nil {
		return err
	}
	if v.kind != kindText {
		p.text = append(p.text, d.text(&v)...)
	}
	a.to = len(p.text)
	p.text = append(p.text, d.kindOf(&v)...)
	a.kinds = len(p.text) - a.to
	d.charge(len(p.text) - a.from)
	switch a.bad = d.bad; {
	case !p.hasStrings(a.key, a.unit):
		a.bad = InvalidIndex
	case len(p.str(a.key)) > maxKeyBytes:
		a.bad = KeyTooLong
	}
	p.attrs = append(p.attrs, a)
	return nil
}

func (d *Decoder) readDictFunction(b []byte, _ extent) (err error) {
	p := &d.profiles.dict
	d.charge(dictEntryBytes)
	f := profileFunction{bad: none}
	for i := 0; i < len(b); {
		var tag, n uint64
		if tag, i = nextTag(b, i); i < 0 {
			return ErrMalformed
		}
		switch tag {
		case tagFunctionName:
			n, i = varint(b, i)
			f.name = int32(n)
		case tagFunctionSystem:
			n, i = varint(b, i)
			f.system = int32(n)
		case tagFunctionFile:
			n, i = varint(b, i)
			f.file = int32(n)
		case tagFunctionStart:
			n, i = varint(b, i)
			f.start = int64(n)
		default:
			if i, err = d.skipDev(b, i, tag, 4); err != nil {
				return err
			}
		}
		if i < 0 {
			return ErrMalformed
		}
	}
	if !p.hasStrings(f.name, f.system, f.file) {
		f.bad = InvalidIndex
	}
	p.functions = append(p.functions, f)
	return nil
}

func (d *Decoder) readDictLink(b []byte, _ extent) (err error) {
	p := &d.profiles.dict
	d.charge(dictEntryBytes)
	var trace, span []byte
	for i := 0; i < len(b); {
		var tag uint64
		if tag, i = nextTag(b, i); i < 0 {
			return ErrMalformed
		}
		switch tag {
		case tagProfileLinkTrace:
			trace, i = block(b, i)
		case tagProfileLinkSpan:
			span, i = block(b, i)
		default:
			if i, err = d.skipDev(b, i, tag, 2); err != nil {
				return err
			}
		}
		if i < 0 {
			return ErrMalformed
		}
	}
	var l profileLink
	if validID(trace, traceIDBytes) {
		copy(l.trace[:], trace)
	}
	if validID(span, spanIDBytes) {
		copy(l.span[:], span)
	}
	p.links = append(p.links, l)
	return nil
}
