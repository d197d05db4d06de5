package otlp

// Fields of EntityRef.
const (
	tagEntityURL   = 1<<3 | wireBytes
	tagEntityType  = 2<<3 | wireBytes
	tagEntityIDKey = 3<<3 | wireBytes
	tagEntityDesc  = 4<<3 | wireBytes
)

// maxEntityBytes bounds the text of one resource's entity references. Two bytes on the wire can ask for sixty of it.
const maxEntityBytes = 64 << 10

// entityRefs is the references of a resource to entities, as the JSON text of the column ResourceEntityRefs:
// [{"schemaUrl":"","type":"","idKeys":[""],"descriptionKeys":[""]}].
type entityRefs struct {
	buf       []byte
	ids, desc []byte // the keys of the reference in hand, each with a comma before it
}

func (e *entityRefs) reset() { e.buf = e.buf[:0] }

// add reads an EntityRef. What rejects the records is noted in d.bad.
//
// SECURITY: tenant.id names no key of the client's resource, since the stamp's stands in its place.
func (e *entityRefs) add(d *Decoder, b []byte) error {
	var url, typ []byte
	e.ids, e.desc = e.ids[:0], e.desc[:0]
	for i := 0; i < len(b); {
		tag, _, msg, next := nextField(b, i)
		if i = next; i < 0 {
			return ErrMalformed
		}
		switch tag {
		case tagEntityURL:
			url = msg
		case tagEntityType:
			typ = msg
		case tagEntityIDKey:
			e.ids = appendEntityKey(e.ids, msg)
		case tagEntityDesc:
			e.desc = appendEntityKey(e.desc, msg)
		default:
			d.res.UnknownFields++
		}
	}
	if len(e.buf)+len(url)+len(typ)+len(e.ids)+len(e.desc) > maxEntityBytes {
		d.bad = TooManyItems
		return nil
	}
	if len(e.buf) == 0 {
		e.buf = append(e.buf, `[{"schemaUrl":`...)
	} else {
		e.buf = append(e.buf[:len(e.buf)-1], `,{"schemaUrl":`...)
	}
	e.buf = append(appendJSONString(e.buf, url), `,"type":`...)
	e.buf = append(appendJSONString(e.buf, typ), `,"idKeys":[`...)
	e.buf = append(e.buf, e.ids[min(1, len(e.ids)):]...)
	e.buf = append(e.buf, `],"descriptionKeys":[`...)
	e.buf = append(e.buf, e.desc[min(1, len(e.desc)):]...)
	e.buf = append(e.buf, "]}]"...)
	return nil
}

func appendEntityKey(dst, key []byte) []byte {
	if string(key) == tenantKey || len(dst) > maxEntityBytes {
		return dst
	}
	return appendJSONString(append(dst, ','), key)
}

// charge takes the text from what the rows of the request may take: a table has it once per resource.
func (e *entityRefs) charge(d *Decoder) {
	if len(e.buf) > d.budget {
		d.bad = TooLarge
		return
	}
	d.budget -= len(e.buf)
}

// text returns the JSON, "" for no references. It is valid until the next reset.
func (e *entityRefs) text() []byte { return e.buf }
