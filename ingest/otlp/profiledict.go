package otlp

// Fields of ExportProfilesServiceRequest beyond its resources, and of ProfilesDictionary.
const (
	tagDictionary = 2<<3 | wireBytes

	tagMappings   = 1<<3 | wireBytes
	tagLocations  = 2<<3 | wireBytes
	tagFunctions  = 3<<3 | wireBytes
	tagLinks      = 4<<3 | wireBytes
	tagStrings    = 5<<3 | wireBytes
	tagAttributes = 6<<3 | wireBytes
	tagStacks     = 7<<3 | wireBytes
)

// profileDict is the dictionary of the request in hand: flat tables without pointers, whose memory and whose texts are
// taken from the decoder's budget. It never outlives its request, so no tenant's text can reach another's rows.
//
// An entry that points beyond a table is bad, and so is what points at it; a profile that uses a bad entry is rejected.
type profileDict struct {
	msg []byte
	bad Reason // rejects every profile, or none

	strings   []extent // of msg
	attrs     []profileAttr
	functions []profileFunction
	links     []profileLink
	mappings  []profileMapping
	lines     []profileLine
	locations []profileLocation
	stacks    []profileStack
	indices   []int32 // of attributes and locations, by the extents of those that list them
	text      []byte  // the attributes' values
}

// extent is the part from:to of a buffer.
type extent struct{ from, to uint32 }

func (p *profileDict) reset() {
	p.msg, p.bad = nil, none
	p.strings, p.attrs, p.functions, p.links = p.strings[:0], p.attrs[:0], p.functions[:0], p.links[:0]
	p.mappings, p.lines, p.locations, p.stacks = p.mappings[:0], p.lines[:0], p.locations[:0], p.stacks[:0]
	p.indices, p.text = p.indices[:0], p.text[:0]
}

// forget drops the reference into the body, and tables far above the usual size.
func (p *profileDict) forget() {
	p.msg = nil
	if cap(p.indices)*4+cap(p.lines)*24+cap(p.locations)*48+cap(p.strings)*8+cap(p.text) > freeArenaBytes {
		*p = profileDict{}
	}
}

// readDictionary reads the dictionary of the request body: before all else, for it stands behind what refers to it.
func (d *Decoder) readDictionary(body []byte) (err error) {
	p := &d.profiles.dict
	p.reset()
	pieces := 0
	for i := 0; i < len(body); {
		var tag uint64
		if tag, i = nextTag(body, i); i < 0 {
			return ErrMalformed
		}
		if tag == tagDictionary {
			p.msg, i = block(body, i)
			pieces++
		} else {
			i = skip(body, i, tag)
		}
		if i < 0 {
			return ErrMalformed
		}
	}
	if pieces > 1 {
		if p.msg, err = d.merged(body, tagDictionary); err != nil {
			return err
		}
	}
	// Each table only points into those before it.
	for _, t := range [...]struct {
		tag  uint64
		read func(*Decoder, []byte, extent) error
	}{
		{tagStrings, (*Decoder).readDictString}, {tagAttributes, (*Decoder).readDictAttr},
		{tagFunctions, (*Decoder).readDictFunction}, {tagLinks, (*Decoder).readDictLink},
		{tagMappings, (*Decoder).readDictMapping}, {tagLocations, (*Decoder).readDictLocation},
		{tagStacks, (*Decoder).readDictStack},
	} {
		if err := d.readDictTable(p.msg, t.tag, t.read); err != nil {
			return err
		}
	}
	if p.bad == none && !p.hasZeroEntries() {
		p.bad = InvalidDictionary
	}
	d.bad = none
	return nil
}

func (d *Decoder) readDictTable(b []byte, table uint64, read func(*Decoder, []byte, extent) error) error {
	for i := 0; i < len(b); {
		var tag uint64
		if tag, i = nextTag(b, i); i < 0 {
			return ErrMalformed
		}
		if tag != table {
			switch n := tag >> 3; {
			case tag != n<<3|wireBytes && n > 0 && n <= 7:
				return errProfilesVersion
			case n > 7 && table == tagStrings: // of all times that the dictionary is walked, once
				d.res.UnknownFields++
			}
			if i = skip(b, i, tag); i < 0 {
				return ErrMalformed
			}
			continue
		}
		var entry []byte
		if entry, i = block(b, i); i < 0 {
			return ErrMalformed
		}
		if err := read(d, entry, extent{uint32(i - len(entry)), uint32(i)}); err != nil {
			return err
		}
		if d.budget < 0 {
			d.profiles.dict.bad = TooLarge
			return nil
		}
	}
	return nil
}

// hasZeroEntries reports whether the first entry of every table is there and is the zero value: index 0 means none.
func (p *profileDict) hasZeroEntries() bool {
	if len(p.strings) == 0 || len(p.attrs) == 0 || len(p.functions) == 0 || len(p.links) == 0 || len(p.mappings) == 0 ||
		len(p.locations) == 0 || len(p.stacks) == 0 {
		return false
	}
	text, attr, link := p.strings[0], p.attrs[0], p.links[0]
	location, stack := p.locations[0], p.stacks[0]
	return text.from == text.to && attr.zero && link == profileLink{} &&
		p.functions[0] == profileFunction{bad: none} && p.mappings[0] == profileMapping{bad: none} &&
		location.mapping == 0 && location.address == 0 && location.lines == 0 && location.attrs.count == 0 &&
		stack.locations.count == 0
}

// charge takes n bytes from what the request's rows may take.
func (d *Decoder) charge(n int) { d.budget -= n }
