package otlp

func (d *Decoder) readDictMapping(b []byte, _ extent) (err error) {
	p := &d.profiles.dict
	d.charge(dictEntryBytes)
	m := profileMapping{bad: none}
	from := len(p.indices)
	for i := 0; i < len(b); {
		var tag, n uint64
		if tag, i = nextTag(b, i); i < 0 {
			return ErrMalformed
		}
		switch tag {
		case tagMappingStart:
			m.start, i = varint(b, i)
		case tagMappingLimit:
			m.limit, i = varint(b, i)
		case tagMappingOffset:
			m.offset, i = varint(b, i)
		case tagMappingFile:
			n, i = varint(b, i)
			m.file = int32(n)
		case tagMappingAttr, tagMappingAttrsPacked:
			i = p.addIndex(d, b, i, tag == tagMappingAttrsPacked)
		default:
			if i, err = d.skipDev(b, i, tag, 5); err != nil {
				return err
			}
		}
		if i < 0 {
			return ErrMalformed
		}
	}
	if m.attrs = p.listSince(from); m.attrs.count == 0 {
		m.attrs = indexList{}
	}
	if _, m.bad = p.attrsBytes(p.list(m.attrs), 0); !p.hasStrings(m.file) {
		m.bad = InvalidIndex
	}
	p.mappings = append(p.mappings, m)
	return nil
}

func (d *Decoder) readDictLocation(b []byte, _ extent) (err error) {
	p := &d.profiles.dict
	d.charge(dictEntryBytes)
	l := profileLocation{firstLine: uint32(len(p.lines)), bad: none}
	from := len(p.indices)
	for i := 0; i < len(b); {
		var tag, n uint64
		if tag, i = nextTag(b, i); i < 0 {
			return ErrMalformed
		}
		switch tag {
		case tagLocationMapping:
			n, i = varint(b, i)
			l.mapping = int32(n)
		case tagLocationAddress:
			l.address, i = varint(b, i)
		case tagLocationLine:
			var msg []byte
			if msg, i = block(b, i); i < 0 {
				break
			}
			if err := d.readDictLine(msg); err != nil {
				return err
			}
			l.lines++
		case tagLocationAttr, tagLocationAttrsPacked:
			i = p.addIndex(d, b, i, tag == tagLocationAttrsPacked)
		default:
			if i, err = d.skipDev(b, i, tag, 4); err != nil {
				return err
			}
		}
		if i < 0 {
			return ErrMalformed
		}
	}
	l.attrs = p.listSince(from)
	l.bad = p.locationFault(&l)
	p.locations = append(p.locations, l)
	return nil
}

// locationFault says what is wrong with what a location refers to, or none.
func (p *profileDict) locationFault(l *profileLocation) Reason {
	if !inRange(l.mapping, len(p.mappings)) {
		return InvalidIndex
	}
	if bad := p.mappings[l.mapping].bad; bad != none {
		return bad
	}
	for _, line := range p.linesOf(l) {
		if !inRange(line.function, len(p.functions)) {
			return InvalidIndex
		}
		if bad := p.functions[line.function].bad; bad != none {
			return bad
		}
	}
	_, bad := p.attrsBytes(p.list(l.attrs), 0)
	return bad
}

func (p *profileDict) linesOf(l *profileLocation) []profileLine {
	return p.lines[l.firstLine : l.firstLine+uint32(l.lines)]
}

func (d *Decoder) readDictLine(b []byte) (err error) {
	d.charge(dictLineBytes)
	var l profileLine
	for i := 0; i < len(b); {
		var tag, n uint64
		if tag, i = nextTag(b, i); i < 0 {
			return ErrMalformed
		}
		switch tag {
		case tagLineFunction:
			n, i = varint(b, i)
			l.function = int32(n)
		case tagLineLine:
			n, i = varint(b, i)
			l.line = int64(n)
		case tagLineColumn:
			n, i = varint(b, i)
			l.column = int64(n)
		default:
			if i, err = d.skipDev(b, i, tag, 3); err != nil {
				return err
			}
		}
		if i < 0 {
			return ErrMalformed
		}
	}
	d.profiles.dict.lines = append(d.profiles.dict.lines, l)
	return nil
}

func (d *Decoder) readDictStack(b []byte, _ extent) (err error) {
	p := &d.profiles.dict
	d.charge(dictEntryBytes)
	s := profileStack{bad: none}
	from := len(p.indices)
	for i := 0; i < len(b); {
		var tag uint64
		if tag, i = nextTag(b, i); i < 0 {
			return ErrMalformed
		}
		switch tag {
		case tagStackLocation, tagStackLocationsPacked:
			i = p.addIndex(d, b, i, tag == tagStackLocationsPacked)
		default:
			if i, err = d.skipDev(b, i, tag, 1); err != nil {
				return err
			}
		}
		if i < 0 {
			return ErrMalformed
		}
	}
	s.locations = p.listSince(from)
	for _, at := range p.list(s.locations) {
		if !inRange(at, len(p.locations)) {
			s.bad = InvalidIndex
			break
		}
		l := &p.locations[at]
		if s.bad = l.bad; s.bad != none {
			break
		}
		attrs := int(l.attrs.count) + int(p.mappings[l.mapping].attrs.count)
		s.frames += l.frames()
		s.bytes += l.frames() * (frameBytes + frameAttrBytes*attrs)
	}
	if s.bad == none && s.frames > maxItems {
		s.bad = TooManyItems
	}
	p.stacks = append(p.stacks, s)
	return nil
}
