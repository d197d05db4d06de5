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

	tagScopeName    = 1<<3 | wireBytes
	tagScopeVersion = 2<<3 | wireBytes
	tagScopeAttr    = 3<<3 | wireBytes
	tagScopeDropped = 4<<3 | wireVarint
)

// resourceState is the resource that the walk is in.
type resourceState struct {
	attrs   attrSet
	url     []byte
	dropped uint32
	bad     Reason // rejects every record of the resource, or none
	bytes   int    // what it adds to a row
}

func (r *resourceState) forget() {
	r.attrs.forget()
	r.url = nil
}

// scopeState is the instrumentation scope that the walk is in.
type scopeState struct {
	attrs              attrSet
	url, name, version []byte
	dropped            uint32
	bad                Reason
	bytes              int
}

func (s *scopeState) forget() {
	s.attrs.forget()
	s.url, s.name, s.version = nil, nil, nil
}

// request walks an export request.
func (d *Decoder) request(b []byte) error {
	for i := 0; i < len(b); {
		var tag uint64
		if tag, i = nextTag(b, i); i < 0 {
			return ErrMalformed
		}
		if tag != tagResourceItems {
			if i = skip(b, i, tag); i < 0 {
				return ErrMalformed
			}
			continue
		}
		var msg []byte
		if msg, i = block(b, i); i < 0 {
			return ErrMalformed
		}
		if err := d.resourceItems(msg); err != nil {
			return err
		}
	}
	return nil
}

// resourceItems walks a ResourceLogs, ResourceSpans or ResourceMetrics. It does so twice: the resource may stand behind the
// records that it describes.
func (d *Decoder) resourceItems(b []byte) error {
	var resource, url []byte
	resources, scopes := 0, 0
	for i := 0; i < len(b); {
		var tag uint64
		if tag, i = nextTag(b, i); i < 0 {
			return ErrMalformed
		}
		switch tag {
		case tagResource:
			resource, i = block(b, i)
			resources++
		case tagSchemaURL:
			url, i = block(b, i)
		case tagScopeItems:
			_, i = block(b, i)
			scopes++
		default:
			i = skip(b, i, tag)
		}
		if i < 0 {
			return ErrMalformed
		}
	}
	if resources > 1 {
		var err error
		if resource, err = d.merged(b, tagResource); err != nil {
			return err
		}
	}
	if err := d.readResource(resource, url); err != nil {
		return err
	}
	items := uint64(tagScopeItems)
	if scopes == 0 {
		items = tagScopeItemsPre1
	}
	for i := 0; i < len(b); {
		var tag uint64
		if tag, i = nextTag(b, i); tag != items {
			i = skip(b, i, tag)
			continue
		}
		var msg []byte
		msg, i = block(b, i)
		if err := d.scopeItems(msg); err != nil {
			return err
		}
	}
	for _, t := range d.tables[d.sig] {
		t.closeResource(d)
	}
	return nil
}

// readResource reads a Resource; b may be empty. The attribute tenant.id of every row is the stamp's.
//
// SECURITY: each attribute of that name that the client sent is dropped here, before one of ours is added, so neither a
// repeated key, a resource in several pieces nor a missing resource lets another tenant's name through.
func (d *Decoder) readResource(b, url []byte) error {
	r := &d.resource
	r.attrs.reset()
	r.url, r.dropped, d.bad = url, 0, none
	for i := 0; i < len(b); {
		var tag uint64
		if tag, i = nextTag(b, i); i < 0 {
			return ErrMalformed
		}
		switch tag {
		case tagResourceAttr:
			var pair []byte
			if pair, i = block(b, i); i < 0 {
				break
			}
			key, val, err := d.keyValue(pair)
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
			var n uint64
			n, i = varint(b, i)
			r.dropped = uint32(n)
		default:
			i = skip(b, i, tag)
		}
		if i < 0 {
			return ErrMalformed
		}
	}
	r.attrs.list = append(r.attrs.list, attr{key: tenantKeyBytes, val: value{kind: kindString, b: d.tenant}})
	r.bad, r.bytes = d.bad, 8*len(r.attrs.list)
	return nil
}

// scopeItems walks a ScopeLogs, ScopeSpans or ScopeMetrics.
func (d *Decoder) scopeItems(b []byte) error {
	var scope, url []byte
	scopes := 0
	for i := 0; i < len(b); {
		var tag uint64
		if tag, i = nextTag(b, i); i < 0 {
			return ErrMalformed
		}
		switch tag {
		case tagScope:
			scope, i = block(b, i)
			scopes++
		case tagSchemaURL:
			url, i = block(b, i)
		case tagRecords:
			_, i = block(b, i)
		default:
			i = skip(b, i, tag)
		}
		if i < 0 {
			return ErrMalformed
		}
	}
	if scopes > 1 {
		var err error
		if scope, err = d.merged(b, tagScope); err != nil {
			return err
		}
	}
	if err := d.readScope(scope, url); err != nil {
		return err
	}
	for i := 0; i < len(b); {
		start := i
		var tag uint64
		if tag, i = nextTag(b, i); tag != tagRecords {
			i = skip(b, i, tag)
			continue
		}
		var msg []byte
		msg, i = block(b, i)
		if err := d.record(msg, i-start); err != nil {
			return err
		}
	}
	for _, t := range d.tables[d.sig] {
		t.closeScope(d)
	}
	return nil
}

// record reads one log record, span or metric, which took wire bytes.
func (d *Decoder) record(msg []byte, wire int) error {
	switch d.sig {
	case Logs:
		return d.logRecord(msg, wire)
	case Traces:
		return d.span(msg, wire)
	default:
		return d.readMetric(msg)
	}
}

// readScope reads an InstrumentationScope; b may be empty.
func (d *Decoder) readScope(b, url []byte) error {
	s := &d.scope
	s.attrs.reset()
	s.url, s.name, s.version, s.dropped, d.bad = url, nil, nil, 0, none
	for i := 0; i < len(b); {
		var tag uint64
		if tag, i = nextTag(b, i); i < 0 {
			return ErrMalformed
		}
		switch tag {
		case tagScopeName:
			s.name, i = block(b, i)
		case tagScopeVersion:
			s.version, i = block(b, i)
		case tagScopeAttr:
			var pair []byte
			if pair, i = block(b, i); i < 0 {
				break
			}
			if err := s.attrs.add(d, pair); err != nil {
				return err
			}
		case tagScopeDropped:
			var n uint64
			n, i = varint(b, i)
			s.dropped = uint32(n)
		default:
			i = skip(b, i, tag)
		}
		if i < 0 {
			return ErrMalformed
		}
	}
	s.bad, s.bytes = d.bad, s.attrs.bytes()
	return nil
}
