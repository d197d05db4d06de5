package otlp

import "github.com/headgate-io/headgate/storage/native"

// dictMap is a column of attributes of few distinct values.
type dictMap struct {
	*native.Map[*native.LowCardinality]
	column int // one of inUnits, inFrame, inMapping
	seen   seenKeys
}

func newDictMap(column int) *dictMap {
	return &dictMap{Map: native.NewMap(native.NewLowCardinality(), native.NewLowCardinality()), column: column}
}

// Of a list that repeats a key the last attribute wins, so lists are added from their ends. Index 0 is no attribute.

// add adds a and val to the row in hand, unless its key is there.
func (m *dictMap) add(d *Decoder, a *profileAttr, val []byte) {
	k := d.internKey(m.Keys, a, m.column)
	if m.seen.note(k) {
		return
	}
	at := &a.interned[m.column]
	if at.val == 0 {
		at.val = d.intern(m.Vals, val) + 1
	}
	m.Keys.AppendIndex(k)
	m.Vals.AppendIndex(at.val - 1)
}

func (m *dictMap) end() {
	m.EndRow()
	m.seen.next()
}

// appendAttrs adds the row of the attributes of list.
func (m *dictMap) appendAttrs(d *Decoder, list []int32) {
	p := &d.profiles.dict
	for n := len(list) - 1; n >= 0; n-- {
		if list[n] != 0 {
			a := &p.attrs[list[n]]
			m.add(d, a, p.text[a.from:a.to])
		}
	}
	m.end()
}

// appendUnits adds the row of the units of a sample's attributes, and of its profile's where the sample has no attribute
// of that name with a unit.
func (m *dictMap) appendUnits(d *Decoder, lists ...[]int32) {
	p := &d.profiles.dict
	for _, list := range lists {
		for n := len(list) - 1; n >= 0; n-- {
			if a := &p.attrs[list[n]]; a.unit != 0 {
				m.add(d, a, p.str(a.unit))
			}
		}
	}
	m.end()
}

func (d *Decoder) internKey(keys *native.LowCardinality, a *profileAttr, column int) uint32 {
	at := &a.interned[column]
	if at.key == 0 {
		at.key = d.intern(keys, d.profiles.dict.str(a.key)) + 1
	}
	return at.key - 1
}

// appendDictAttrs adds the row of the attributes of list to the column inProfile or inSample.
func (d *Decoder) appendDictAttrs(m *attrMap, list []int32, column int) {
	p := &d.profiles.dict
	for n := len(list) - 1; n >= 0; n-- {
		if list[n] == 0 {
			continue
		}
		a := &p.attrs[list[n]]
		k := d.internKey(m.Keys, a, column)
		if m.seen.note(k) {
			continue
		}
		m.Keys.AppendIndex(k)
		m.Vals.Append(p.text[a.from:a.to])
		if a.kinds > 0 {
			m.kinds.noteText(m.pairs, p.text[a.to:a.to+a.kinds])
		}
		m.pairs++
	}
	m.EndRow()
	m.kinds.endRow(m.pairs)
	m.next()
}

// frameColumns are the frames of a sample's stack, the innermost first, one per line of each location.
type frameColumns struct {
	native.Nested

	function, system, file *native.LowCardinality
	start, line, column    *native.Fixed[int64]
	inlined                *native.Fixed[uint8]
	address                *native.Fixed[uint64]
	attrs                  *dictMap
	mapping                *native.LowCardinality
	low, limit, offset     *native.Fixed[uint64]
	mappingAttrs           *dictMap
}

func newFrameColumns(b *native.Builder) *frameColumns {
	c := &frameColumns{
		function: native.NewLowCardinality(), system: native.NewLowCardinality(), file: native.NewLowCardinality(),
		start: native.NewFixed[int64]("Int64"), line: native.NewFixed[int64]("Int64"), column: native.NewFixed[int64]("Int64"),
		inlined: native.NewFixed[uint8]("Bool"), address: native.NewFixed[uint64]("UInt64"), attrs: newDictMap(inFrame),
		mapping: native.NewLowCardinality(), low: native.NewFixed[uint64]("UInt64"), limit: native.NewFixed[uint64]("UInt64"),
		offset: native.NewFixed[uint64]("UInt64"), mappingAttrs: newDictMap(inMapping),
	}
	for _, m := range []struct {
		name string
		elem native.Element
	}{
		{"Function", c.function}, {"SystemName", c.system}, {"File", c.file}, {"StartLine", c.start}, {"Line", c.line},
		{"Column", c.column}, {"Inlined", c.inlined}, {"Address", c.address}, {"Attributes", c.attrs}, {"Mapping", c.mapping},
		{"MappingStart", c.low}, {"MappingLimit", c.limit}, {"MappingOffset", c.offset}, {"MappingAttributes", c.mappingAttrs},
	} {
		c.Add(b, "Frames."+m.name, m.elem)
	}
	return c
}

// appendStack makes the frames of s the row with the index row.
func (c *frameColumns) appendStack(d *Decoder, row int, s *profileStack) {
	p := &d.profiles.dict
	for _, at := range p.list(s.locations) {
		l := &p.locations[at]
		lines := p.linesOf(l)
		if len(lines) == 0 {
			c.appendFrame(d, l, profileLine{}, false)
		}
		for i, line := range lines {
			c.appendFrame(d, l, line, i < len(lines)-1) // the last line is the one that the others are inlined into
		}
	}
	c.EndRow(row)
}

func (c *frameColumns) appendFrame(d *Decoder, l *profileLocation, line profileLine, inlined bool) {
	c.Begin()
	p := &d.profiles.dict
	f, m := &p.functions[line.function], &p.mappings[l.mapping]
	if !f.known {
		f.interned[0] = d.intern(c.function, p.str(f.name))
		f.interned[1] = d.intern(c.system, p.str(f.system))
		f.interned[2] = d.intern(c.file, p.str(f.file))
		f.known = true
	}
	if !m.known {
		m.interned, m.known = d.intern(c.mapping, p.str(m.file)), true
	}
	c.function.AppendIndex(f.interned[0])
	c.system.AppendIndex(f.interned[1])
	c.file.AppendIndex(f.interned[2])
	c.start.Append(f.start)
	c.line.Append(line.line)
	c.column.Append(line.column)
	flag := uint8(0)
	if inlined {
		flag = 1
	}
	c.inlined.Append(flag)
	c.address.Append(l.address)
	c.attrs.appendAttrs(d, p.list(l.attrs))
	c.mapping.AppendIndex(m.interned)
	c.low.Append(m.start)
	c.limit.Append(m.limit)
	c.offset.Append(m.offset)
	c.mappingAttrs.appendAttrs(d, p.list(m.attrs))
}
