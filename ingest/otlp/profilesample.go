package otlp

import (
	"encoding/hex"
	"math"

	"github.com/headgate-io/headgate/storage/native"
)

// Fields of Sample.
const (
	tagSampleStack        = 1<<3 | wireVarint
	tagSampleAttr         = 2<<3 | wireVarint
	tagSampleAttrsPacked  = 2<<3 | wireBytes
	tagSampleLink         = 3<<3 | wireVarint
	tagSampleValue        = 4<<3 | wireVarint
	tagSampleValuesPacked = 4<<3 | wireBytes
	tagSampleTime         = 5<<3 | wire64
	tagSampleTimesPacked  = 5<<3 | wireBytes
)

// sampleColumns are the columns that differ between the rows of a profile.
type sampleColumns struct {
	index   *native.Fixed[uint32]
	values  *native.Array[int64]
	times   *native.Array[int64]
	attrs   *attrMap
	units   *dictMap
	traceID *native.String
	spanID  *native.String
	frames  *frameColumns
}

func (c *sampleColumns) begin(b *native.Builder) {
	c.index = addFixed[uint32](b, "SampleIndex", "UInt32")
	c.values = addArray[int64](b, "Values", "Int64")
	c.times = addArray[int64](b, "Timestamps", dateTime64)
	c.attrs = addAttrMap(b, "Attributes")
	c.units = newDictMap(inUnits)
	b.Add("AttributeUnits", c.units)
	c.traceID = addString(b, "TraceId")
	c.spanID = addString(b, "SpanId")
	c.frames = newFrameColumns(b)
}

// sample is a Sample.
type sample struct {
	stack, link int32
	attrs       []int32
	values      []int64
	times       []uint64
	unknown     int // fields
}

// read replaces s by the Sample b.
func (s *sample) read(b []byte) (err error) {
	s.stack, s.link, s.attrs, s.values, s.times, s.unknown = 0, 0, s.attrs[:0], s.values[:0], s.times[:0], 0
	for i := 0; i < len(b); {
		var tag, n uint64
		var list []byte
		if tag, i = nextTag(b, i); i < 0 {
			return ErrMalformed
		}
		switch tag {
		case tagSampleStack:
			n, i = varint(b, i)
			s.stack = int32(n)
		case tagSampleLink:
			n, i = varint(b, i)
			s.link = int32(n)
		case tagSampleAttr, tagSampleAttrsPacked:
			s.attrs, i = appendIndices(s.attrs, b, i, tag == tagSampleAttrsPacked)
		case tagSampleValue:
			n, i = varint(b, i)
			s.values = append(s.values, int64(n))
		case tagSampleValuesPacked:
			list, i = block(b, i)
			for at := 0; at < len(list); {
				if n, at = varint(list, at); at < 0 {
					return ErrMalformed
				}
				s.values = append(s.values, int64(n))
			}
		case tagSampleTime:
			n, i = fixed64(b, i)
			s.times = append(s.times, n)
		case tagSampleTimesPacked:
			if list, i = block(b, i); i >= 0 {
				if len(list)%8 != 0 {
					return ErrMalformed
				}
			}
			for ; len(list) >= 8; list = list[8:] {
				n, _ = fixed64(list, 0)
				s.times = append(s.times, n)
			}
		default:
			s.unknown++
			if i, err = passDev(b, i, tag, 5); err != nil {
				return err
			}
		}
		if i < 0 {
			return ErrMalformed
		}
	}
	return nil
}

// checkSample reads a Sample and returns about what its row takes, beside what all rows of the table do. What rejects
// its profile is noted in d.bad.
func (d *Decoder) checkSample(b []byte) (rowBytes int, err error) {
	t := d.profiles
	s, p := &t.sample, &t.dict
	if err := s.read(b); err != nil {
		return 0, err
	}
	d.res.UnknownFields += s.unknown
	attrs, bad := p.attrsBytes(s.attrs, 2*frameAttrBytes)
	observed := len(s.values) + len(s.times)
	if observed == 0 && bad == InvalidIndex {
		// Before OTLP 1.10 the values stood where the attributes' indices are now.
		return 0, errProfilesVersion
	}
	switch {
	case d.bad != none:
	case bad != none:
		d.bad = bad
	case !inRange(s.stack, len(p.stacks)) || !inRange(s.link, len(p.links)):
		d.bad = InvalidIndex
	case p.stacks[s.stack].bad != none:
		d.bad = p.stacks[s.stack].bad
	case observed == 0 || len(s.values) > 0 && len(s.times) > 0 && len(s.values) != len(s.times):
		d.bad = InvalidSample
	default:
		return attrs + 8*(len(s.values)+2*len(s.times)) + p.stacks[s.stack].bytes, nil
	}
	return 0, nil
}

// appendSamples adds the columns of the samples of b, which checkSample has passed.
func (d *Decoder) appendSamples(p *profile, b []byte) error {
	t := d.profiles
	s := &t.sample
	n := uint32(0)
	for i := 0; i < len(b); {
		var tag uint64
		if tag, i = nextTag(b, i); tag != tagProfileSample {
			if i = skip(b, i, tag); i < 0 {
				return ErrMalformed
			}
			continue
		}
		var msg []byte
		if msg, i = block(b, i); i < 0 {
			return ErrMalformed
		}
		if err := s.read(msg); err != nil {
			return err
		}
		d.appendSample(p, n)
		n++
	}
	if n == 0 {
		*s = sample{attrs: s.attrs[:0], values: s.values[:0], times: s.times[:0]}
		d.appendSample(p, 0)
	}
	return nil
}

func (d *Decoder) appendSample(p *profile, index uint32) {
	t := d.profiles
	s, c := &t.sample, &t.samples
	c.index.Append(index)
	for _, ns := range s.times {
		c.times.Elem.Append(int64(min(ns, math.MaxInt64)))
		if len(s.values) == 0 {
			c.values.Elem.Append(1) // seen once at each of its times
		}
	}
	c.times.EndRow()
	c.values.Elem.AppendAll(s.values)
	c.values.EndRow()
	d.appendDictAttrs(c.attrs, s.attrs, inSample)
	c.units.appendUnits(d, s.attrs, p.attrs)
	link := &t.dict.links[s.link]
	appendID(c.traceID, link.trace[:], traceIDBytes)
	appendID(c.spanID, link.span[:], spanIDBytes)
	c.frames.appendStack(d, c.index.Rows()-1, &t.dict.stacks[s.stack])
}

// hexText appends id in hexadecimal.
func hexText(dst, id []byte) []byte { return hex.AppendEncode(dst, id) }
