package otlp

import (
	"errors"

	"github.com/headgate-io/headgate/storage/native"
	"github.com/headgate-io/headgate/storage/schema"
)

// Profiles are a signal in development: its messages change between versions of OTLP without a change of name. This reads
// those of OTLP 1.10 and 1.11.

// errProfilesVersion says that a request was written by another version of the protocol.
var errProfilesVersion = errors.New("profiles proto version is not the one taken here, that of OTLP 1.10 and 1.11")

// Fields of Profile and ValueType.
const (
	tagProfileSampleType  = 1<<3 | wireBytes
	tagProfileSample      = 2<<3 | wireBytes
	tagProfileTime        = 3<<3 | wire64
	tagProfileDuration    = 4<<3 | wireVarint
	tagProfilePeriodType  = 5<<3 | wireBytes
	tagProfilePeriod      = 6<<3 | wireVarint
	tagProfileID          = 7<<3 | wireBytes
	tagProfileDropped     = 8<<3 | wireVarint
	tagProfileFormat      = 9<<3 | wireBytes
	tagProfilePayload     = 10<<3 | wireBytes
	tagProfileAttr        = 11<<3 | wireVarint
	tagProfileAttrsPacked = 11<<3 | wireBytes

	tagValueTypeType = 1<<3 | wireVarint
	tagValueTypeUnit = 2<<3 | wireVarint
)

const profileIDBytes = 16

// skipDev passes over a field that is not known, and counts it. One of the message's last fields that comes in another wire
// type than its own is not unknown, as it is for the signals that are stable: another version of the protocol has written it.
func (d *Decoder) skipDev(b []byte, i int, tag, last uint64) (int, error) {
	d.res.UnknownFields++
	return passDev(b, i, tag, last)
}

// passDev is skipDev in a message that is read twice.
func passDev(b []byte, i int, tag, last uint64) (int, error) {
	if n := tag >> 3; n > 0 && n <= last {
		return i, errProfilesVersion
	}
	if i = skip(b, i, tag); i < 0 {
		return i, ErrMalformed
	}
	return i, nil
}

type profilesTable struct {
	table

	profiles   native.Repeats // the columns of profiles
	time       sortTime
	source     *native.Fixed[uint8]
	duration   *native.Fixed[uint64]
	id         *native.String
	sampleType *native.LowCardinality
	sampleUnit *native.LowCardinality
	periodType *native.LowCardinality
	periodUnit *native.LowCardinality
	period     *native.Fixed[int64]
	attrs      *attrMap
	dropped    *native.Fixed[uint32]
	format     *native.LowCardinality
	payload    *native.String
	samples    sampleColumns

	dict    profileDict
	profile profile // the profile in hand
	sample  sample  // the sample in hand
}

func newProfilesTable() *profilesTable {
	t := &profilesTable{}
	t.begin(schema.Profiles, 256)
	b := &t.b
	t.time = addSortTime(b, "Timestamp")
	p := &t.profiles
	t.source = addRepeated(b, p, "TimestampSource", native.NewFixed[uint8]("Enum8('time' = 1, 'received' = 3)"))
	t.duration = addRepeated(b, p, "Duration", native.NewFixed[uint64]("UInt64"))
	t.id = addRepeated(b, p, "ProfileId", native.NewString())
	t.sampleType = addRepeatedText(b, p, "SampleType")
	t.sampleUnit = addRepeatedText(b, p, "SampleUnit")
	t.periodType = addRepeatedText(b, p, "PeriodType")
	t.periodUnit = addRepeatedText(b, p, "PeriodUnit")
	t.period = addRepeated(b, p, "Period", native.NewFixed[int64]("Int64"))
	t.attrs = addRepeatedAttrs(b, p, "ProfileAttributes")
	t.dropped = addRepeated(b, p, "DroppedAttrCount", native.NewFixed[uint32]("UInt32"))
	t.format = addRepeatedText(b, p, "OriginalPayloadFormat")
	t.payload = addString(b, "OriginalPayload")
	t.samples.begin(b)
	t.end()
	return t
}

// profile is a Profile, read and checked but for its samples' rows.
type profile struct {
	time, duration         uint64
	period                 int64
	sampleType, periodType valueType
	dropped                uint32
	id, format, payload    []byte
	attrs                  []int32
	samples                int
}

type valueType struct{ typ, unit int32 }

// readProfile reads a Profile and appends a row for each of its samples. A profile is taken or rejected whole.
func (d *Decoder) readProfile(b []byte, wire int) error {
	t := d.profiles
	p := &t.profile
	*p = profile{attrs: p.attrs[:0]}
	defer p.forget()
	d.bad, d.items = t.dict.bad, 0
	samples, err := d.readProfileFields(p, b)
	if err != nil {
		return err
	}
	attrBytes, bad := t.dict.attrsBytes(p.attrs, frameAttrBytes)
	switch {
	case d.bad != none:
	case bad != none:
		d.bad = bad
	case !t.dict.hasStrings(p.sampleType.typ, p.sampleType.unit, p.periodType.typ, p.periodType.unit):
		d.bad = InvalidIndex
	}
	ns, source := p.timestamp(uint64(d.stamp.Received.UnixNano()))
	rows := max(p.samples, 1)
	// A row repeats what is said of its profile.
	repeated := rows*attrBytes + (rows-1)*(t.rowBytes+d.resource.bytes+d.scope.bytes)
	for _, i := range [...]int32{p.sampleType.typ, p.sampleType.unit, p.periodType.typ, p.periodType.unit} {
		samples += len(t.dict.str(i))
	}
	if !d.admit(&t.table, sortable(ns), wire, samples+repeated) {
		return nil
	}
	if source == sourceReceived {
		d.res.Untimed++
	}
	t.rows += rows - 1
	d.appendProfile(p, ns, source, rows)
	return d.appendSamples(p, b)
}

func (p *profile) forget() { p.id, p.format, p.payload = nil, nil, nil }

// timestamp returns the profile's time, or the time of receipt if it has none, and where it is from.
func (p *profile) timestamp(received uint64) (ns uint64, source uint8) {
	if p.time == 0 {
		return received, sourceReceived
	}
	return p.time, sourceTime
}

// readProfileFields reads a Profile into p and returns what its samples take in their rows. What rejects the profile is
// noted in d.bad.
func (d *Decoder) readProfileFields(p *profile, b []byte) (sampleBytes int, err error) {
	for i := 0; i < len(b); {
		var tag, n uint64
		var msg []byte
		if tag, i = nextTag(b, i); i < 0 {
			return 0, ErrMalformed
		}
		switch tag {
		case tagProfileSampleType:
			if msg, i = block(b, i); i >= 0 {
				err = d.readValueType(&p.sampleType, msg)
			}
		case tagProfilePeriodType:
			if msg, i = block(b, i); i >= 0 {
				err = d.readValueType(&p.periodType, msg)
			}
		case tagProfileSample:
			if msg, i = block(b, i); i >= 0 {
				var bytes int
				bytes, err = d.checkSample(msg)
				sampleBytes += bytes
				p.samples++
			}
		case tagProfileTime:
			p.time, i = fixed64(b, i)
		case tagProfileDuration:
			p.duration, i = varint(b, i)
		case tagProfilePeriod:
			n, i = varint(b, i)
			p.period = int64(n)
		case tagProfileID:
			p.id, i = block(b, i)
		case tagProfileDropped:
			n, i = varint(b, i)
			p.dropped = uint32(n)
		case tagProfileFormat:
			p.format, i = block(b, i)
		case tagProfilePayload:
			p.payload, i = block(b, i)
		case tagProfileAttr, tagProfileAttrsPacked:
			p.attrs, i = appendIndices(p.attrs, b, i, tag == tagProfileAttrsPacked)
		default:
			i, err = d.skipDev(b, i, tag, 11)
		}
		if err != nil {
			return 0, err
		}
		if i < 0 {
			return 0, ErrMalformed
		}
	}
	return sampleBytes, nil
}

// readValueType adds a ValueType message to v, merging it with what was read before.
func (d *Decoder) readValueType(v *valueType, b []byte) (err error) {
	for i := 0; i < len(b); {
		var tag, n uint64
		if tag, i = nextTag(b, i); i < 0 {
			return ErrMalformed
		}
		switch tag {
		case tagValueTypeType:
			n, i = varint(b, i)
			v.typ = int32(n)
		case tagValueTypeUnit:
			n, i = varint(b, i)
			v.unit = int32(n)
		default:
			if i, err = d.skipDev(b, i, tag, 2); err != nil {
				return err
			}
		}
		if i < 0 {
			return ErrMalformed
		}
	}
	return nil
}

// appendProfile adds what the rows of a profile have alike to the next rows.
func (d *Decoder) appendProfile(p *profile, ns uint64, source uint8, rows int) {
	t := d.profiles
	for row := t.rows - rows; row < t.rows; row++ {
		t.time.append(row, ns)
	}
	t.source.Append(source)
	t.duration.Append(p.duration)
	id := p.id
	if !validID(id, profileIDBytes) {
		id = nil
	}
	d.scratch = hexText(d.scratch[:0], id)
	t.id.Append(d.scratch)
	text := func(c *native.LowCardinality, i int32) { c.Append(d.valid(t.dict.str(i))) }
	text(t.sampleType, p.sampleType.typ)
	text(t.sampleUnit, p.sampleType.unit)
	text(t.periodType, p.periodType.typ)
	text(t.periodUnit, p.periodType.unit)
	t.period.Append(p.period)
	d.appendDictAttrs(t.attrs, p.attrs, inProfile)
	t.dropped.Append(p.dropped)
	t.format.Append(d.valid(p.format))
	t.profiles.EndRun(rows)
	t.payload.Append(p.payload)
	t.payload.AppendN(nil, rows-1)
}
