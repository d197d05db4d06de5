package otlp

// tenantKey is the resource attribute that says whose data a row is.
const tenantKey = "tenant.id"

var tenantKeyBytes = []byte(tenantKey)

// Fields of the three export requests, of ResourceX and of ScopeX; the signals agree on the numbers.
const (
	tagResourceItems = 1<<3 | wireBytes

	tagResource       = 1<<3 | wireBytes
	tagScopeItems     = 2<<3 | wireBytes
	tagSchemaURL      = 3<<3 | wireBytes
	tagScopeItemsPre1 = 1000<<3 | wireBytes // where they stood before OTLP 1.0

	tagScope   = 1<<3 | wireBytes
	tagRecords = 2<<3 | wireBytes
)

// Fields of Resource and InstrumentationScope.
const (
	tagResourceAttr    = 1<<3 | wireBytes
	tagResourceDropped = 2<<3 | wireVarint
	tagResourceEntity  = 3<<3 | wireBytes

	tagScopeName    = 1<<3 | wireBytes
	tagScopeVersion = 2<<3 | wireBytes
	tagScopeAttr    = 3<<3 | wireBytes
	tagScopeDropped = 4<<3 | wireVarint
)

// resourceState is the resource that the walk is in.
type resourceState struct {
	msg, url        []byte
	pieces          int // in how many msg was sent
	items, oldItems int // scopes, in the present field and in the one before OTLP 1.0

	attrs    attrSet
	service  []byte // the last attribute service.name
	dropped  uint32
	entities entityRefs
	bad      Reason // rejects every record of the resource, or none
	bytes    int    // what it adds to a row
	series   uint64 // its part of series ids, once hashed
	hashed   bool
}

func (r *resourceState) forget() {
	r.attrs.forget()
	r.msg, r.url, r.service = nil, nil, nil
}

// scopeState is the instrumentation scope that the walk is in.
type scopeState struct {
	msg, url []byte
	pieces   int

	attrs         attrSet
	name, version []byte
	dropped       uint32
	bad           Reason
	bytes         int
	series        uint64 // its part of series ids, once hashed
	hashed        bool
}

func (s *scopeState) forget() {
	s.attrs.forget()
	s.msg, s.url, s.name, s.version = nil, nil, nil, nil
}

// request walks an export request.
func (d *Decoder) request(b []byte) error {
	for i := 0; i < len(b); {
		tag, _, msg, next := nextField(b, i)
		if i = next; i < 0 {
			return ErrMalformed
		}
		switch {
		case tag == tagResourceItems:
			if err := d.resourceItems(msg); err != nil {
				return err
			}
		case tag != tagDictionary || d.sig != Profiles:
			d.res.UnknownFields++
		}
	}
	return nil
}

// A resource, and a scope, may stand before the records that it describes or behind them: SDKs write it first, the
// collector last. Its columns are appended after its records either way. Only if it then turns out that records should
// have been rejected because of it, the request is begun again carefully: with each resource and scope looked up
// before their records.

// resourceItems walks a ResourceLogs, ResourceSpans or ResourceMetrics.
func (d *Decoder) resourceItems(b []byte) error {
	before := d.appended()
	if d.careful {
		if err := d.resourceFields(b, 0); err != nil {
			return err
		}
		if err := d.readResource(b); err != nil {
			return err
		}
	} else {
		d.resource.bad, d.resource.bytes = none, 0
	}
	if err := d.resourceFields(b, tagScopeItems); err != nil {
		return err
	}
	if d.resource.items == 0 && d.resource.oldItems > 0 && d.sig != Profiles {
		if err := d.resourceFields(b, tagScopeItemsPre1); err != nil {
			return err
		}
	}
	if !d.careful {
		if err := d.readResource(b); err != nil {
			return err
		}
		if err := d.settle(d.appended()-before, d.resource.bytes, d.resource.bad); err != nil {
			return err
		}
	}
	for _, t := range d.tables[d.sig] {
		t.closeResource(d)
	}
	return nil
}

// resourceFields finds the fields of a ResourceX, and walks into its fields items; 0 is none.
func (d *Decoder) resourceFields(b []byte, items uint64) error {
	r := &d.resource
	r.msg, r.url, r.pieces, r.items, r.oldItems = nil, nil, 0, 0, 0
	for i := 0; i < len(b); {
		tag, _, msg, next := nextField(b, i)
		if i = next; i < 0 {
			return ErrMalformed
		}
		switch tag {
		case tagResource:
			r.msg = msg
			r.pieces++
		case tagSchemaURL:
			r.url = msg
		case tagScopeItems:
			r.items++
		case tagScopeItemsPre1:
			r.oldItems++
		default:
			if items == tagScopeItems { // of all times that these fields are walked, once
				d.res.UnknownFields++
			}
		}
		if tag == items {
			if err := d.scopeItems(msg); err != nil {
				return err
			}
		}
	}
	return nil
}

// appended returns how many rows have been accepted: one per record, but one per sample of a profile.
func (d *Decoder) appended() int {
	if d.sig == Profiles {
		return d.profiles.rows
	}
	return d.res.Accepted
}

// settle charges n accepted rows for what their resource or scope adds to each, which was not known before.
func (d *Decoder) settle(n, bytes int, bad Reason) error {
	if n > 0 && (bad != none || bytes > d.budget/n) {
		return errCareful
	}
	d.budget -= n * bytes
	return nil
}

// readResource reads the Resource that resourceFields found in b. The attribute tenant.id of every row is the stamp's.
//
// SECURITY: each attribute of that name that the client sent is dropped here, before one of ours is added, so neither a
// repeated key, a resource in several pieces nor a missing resource lets another tenant's name through.
func (d *Decoder) readResource(b []byte) error {
	r := &d.resource
	if r.pieces > 1 {
		var err error
		if r.msg, err = d.merged(b, tagResource); err != nil {
			return err
		}
	}
	r.attrs.reset()
	r.entities.reset()
	r.dropped, r.hashed, d.bad = 0, false, none
	b = r.msg
	for i := 0; i < len(b); {
		tag, num, msg, next := nextField(b, i)
		if i = next; i < 0 {
			return ErrMalformed
		}
		switch tag {
		case tagResourceAttr:
			key, val, err := d.keyValue(msg)
			if err != nil {
				return err
			}
			if string(key) == tenantKey {
				break
			}
			if err := r.attrs.addPair(d, key, val); err != nil {
				return err
			}
		case tagResourceDropped:
			r.dropped = uint32(num)
		case tagResourceEntity:
			if err := r.entities.add(d, msg); err != nil {
				return err
			}
		default:
			d.res.UnknownFields++
		}
	}
	r.entities.charge(d)
	r.service = r.attrs.lastText("service.name")
	r.attrs.list = append(r.attrs.list, attr{key: tenantKeyBytes, text: d.tenant, kind: kindString})
	r.bad, r.bytes = d.bad, 8*len(r.attrs.list)
	return nil
}

// scopeItems walks a ScopeLogs, ScopeSpans or ScopeMetrics.
func (d *Decoder) scopeItems(b []byte) error {
	before := d.appended()
	if d.careful {
		if err := d.scopeFields(b, false); err != nil {
			return err
		}
		if err := d.readScope(b); err != nil {
			return err
		}
	} else {
		d.scope.bad, d.scope.bytes = none, 0
	}
	if err := d.scopeFields(b, true); err != nil {
		return err
	}
	if !d.careful {
		if err := d.readScope(b); err != nil {
			return err
		}
		if err := d.settle(d.appended()-before, d.scope.bytes, d.scope.bad); err != nil {
			return err
		}
	}
	for _, t := range d.tables[d.sig] {
		t.closeScope(d)
	}
	return nil
}

// scopeFields finds the fields of a ScopeX, and reads its records if asked to.
func (d *Decoder) scopeFields(b []byte, records bool) error {
	s := &d.scope
	s.msg, s.url, s.pieces = nil, nil, 0
	for i := 0; i < len(b); {
		start := i
		tag, _, msg, next := nextField(b, i)
		if i = next; i < 0 {
			return ErrMalformed
		}
		switch tag {
		case tagRecords:
			if !records {
				break
			}
			if err := d.record(msg, i-start); err != nil {
				return err
			}
		case tagScope:
			s.msg = msg
			s.pieces++
		case tagSchemaURL:
			s.url = msg
		default:
			if records {
				d.res.UnknownFields++
			}
		}
	}
	return nil
}

// record reads one log record, span or metric, which took wire bytes.
func (d *Decoder) record(msg []byte, wire int) error {
	if d.sig == Metrics {
		return d.readMetric(msg)
	}
	if err := d.overrun(); err != nil {
		return err
	}
	switch d.sig {
	case Logs:
		return d.logRecord(msg, wire)
	case Traces:
		return d.span(msg, wire)
	default:
		return d.readProfile(msg, wire)
	}
}

// readScope reads the InstrumentationScope that scopeFields found in b.
func (d *Decoder) readScope(b []byte) error {
	s := &d.scope
	if s.pieces > 1 {
		var err error
		if s.msg, err = d.merged(b, tagScope); err != nil {
			return err
		}
	}
	s.attrs.reset()
	s.name, s.version, s.dropped, s.hashed, d.bad = nil, nil, 0, false, none
	b = s.msg
	for i := 0; i < len(b); {
		tag, num, msg, next := nextField(b, i)
		if i = next; i < 0 {
			return ErrMalformed
		}
		switch tag {
		case tagScopeName:
			s.name = msg
		case tagScopeVersion:
			s.version = msg
		case tagScopeAttr:
			if err := s.attrs.add(d, msg); err != nil {
				return err
			}
		case tagScopeDropped:
			s.dropped = uint32(num)
		default:
			d.res.UnknownFields++
		}
	}
	s.bad, s.bytes = d.bad, s.attrs.bytes()
	return nil
}
