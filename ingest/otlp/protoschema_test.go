package otlp

import (
	"math/rand/v2"
	"slices"

	"google.golang.org/protobuf/encoding/protowire"
)

// The schema of OTLP, for tests that take requests apart and put them together again.

// msg is a message type.
type msg uint8

const (
	leaf msg = iota // not a message
	mRequestLogs
	mRequestTraces
	mRequestMetrics
	mResourceLogs
	mResourceTraces
	mResourceMetrics
	mScopeLogs
	mScopeTraces
	mScopeMetrics
	mResource
	mEntityRef
	mScope
	mKeyValue
	mAnyValue
	mArray
	mMap
	mLog
	mSpan
	mEvent
	mLink
	mStatus
	mMetric
	mGauge
	mSum
	mHist
	mExpHist
	mSummary
	mNumberPoint
	mHistPoint
	mExpPoint
	mBuckets
	mSummaryPoint
	mQuantile
	mExemplar
	msgs
)

// field is what is known about a field: what it may look like on the wire, and what protobuf does if it comes again.
type field struct {
	wires    []protowire.Type
	sub      msg
	singular bool // a message that merges if it comes twice
	oneof    bool // the last one of its message wins
	idBytes  int  // an id: pdata refuses other lengths
}

var (
	vint = field{wires: []protowire.Type{protowire.VarintType}}
	f64  = field{wires: []protowire.Type{protowire.Fixed64Type}}
	f32  = field{wires: []protowire.Type{protowire.Fixed32Type}}
	text = field{wires: []protowire.Type{protowire.BytesType}}
	id16 = field{wires: text.wires, idBytes: 16}
	id8  = field{wires: text.wires, idBytes: 8}

	list64   = field{wires: []protowire.Type{protowire.Fixed64Type, protowire.BytesType}}
	listVint = field{wires: []protowire.Type{protowire.VarintType, protowire.BytesType}}
)

func many(m msg) field { return field{wires: text.wires, sub: m} }
func one(m msg) field  { return field{wires: text.wires, sub: m, singular: true} }
func (f field) of() field {
	f.oneof = true
	return f
}

type fields = map[protowire.Number]field

var otlpSchema = [msgs]fields{
	mRequestLogs:     {1: many(mResourceLogs)},
	mRequestTraces:   {1: many(mResourceTraces)},
	mRequestMetrics:  {1: many(mResourceMetrics)},
	mResourceLogs:    {1: one(mResource), 2: many(mScopeLogs), 3: text, 1000: many(mScopeLogs)},
	mResourceTraces:  {1: one(mResource), 2: many(mScopeTraces), 3: text, 1000: many(mScopeTraces)},
	mResourceMetrics: {1: one(mResource), 2: many(mScopeMetrics), 3: text, 1000: many(mScopeMetrics)},
	mScopeLogs:       {1: one(mScope), 2: many(mLog), 3: text},
	mScopeTraces:     {1: one(mScope), 2: many(mSpan), 3: text},
	mScopeMetrics:    {1: one(mScope), 2: many(mMetric), 3: text},
	mResource:        {1: many(mKeyValue), 2: vint, 3: many(mEntityRef)},
	mEntityRef:       {1: text, 2: text, 3: text, 4: text},
	mScope:           {1: text, 2: text, 3: many(mKeyValue), 4: vint},
	mKeyValue:        {1: text, 2: one(mAnyValue), 3: vint},
	mAnyValue: {1: text.of(), 2: vint.of(), 3: vint.of(), 4: f64.of(), 5: one(mArray).of(), 6: one(mMap).of(), 7: text.of(),
		8: vint.of()},
	mArray: {1: many(mAnyValue)},
	mMap:   {1: many(mKeyValue)},
	mLog: {1: f64, 2: vint, 3: text, 5: one(mAnyValue), 6: many(mKeyValue), 7: vint, 8: f32, 9: id16, 10: id8, 11: f64,
		12: text},
	mSpan: {1: id16, 2: id8, 3: text, 4: id8, 5: text, 6: vint, 7: f64, 8: f64, 9: many(mKeyValue), 10: vint,
		11: many(mEvent), 12: vint, 13: many(mLink), 14: vint, 15: one(mStatus), 16: f32},
	mEvent:  {1: f64, 2: text, 3: many(mKeyValue), 4: vint},
	mLink:   {1: id16, 2: id8, 3: text, 4: many(mKeyValue), 5: vint, 6: f32},
	mStatus: {2: text, 3: vint},
	mMetric: {1: text, 2: text, 3: text, 5: one(mGauge).of(), 7: one(mSum).of(), 9: one(mHist).of(), 10: one(mExpHist).of(),
		11: one(mSummary).of(), 12: many(mKeyValue)},
	mGauge:       {1: many(mNumberPoint)},
	mSum:         {1: many(mNumberPoint), 2: vint, 3: vint},
	mHist:        {1: many(mHistPoint), 2: vint},
	mExpHist:     {1: many(mExpPoint), 2: vint},
	mSummary:     {1: many(mSummaryPoint)},
	mNumberPoint: {2: f64, 3: f64, 4: f64.of(), 5: many(mExemplar), 6: f64.of(), 7: many(mKeyValue), 8: vint},
	mHistPoint: {2: f64, 3: f64, 4: f64, 5: f64, 6: list64, 7: list64, 8: many(mExemplar), 9: many(mKeyValue), 10: vint,
		11: f64, 12: f64},
	mExpPoint: {1: many(mKeyValue), 2: f64, 3: f64, 4: f64, 5: f64, 6: vint, 7: f64, 8: one(mBuckets), 9: one(mBuckets),
		10: vint, 11: many(mExemplar), 12: f64, 13: f64, 14: f64},
	mBuckets:      {1: vint, 2: listVint},
	mSummaryPoint: {2: f64, 3: f64, 4: f64, 5: f64, 6: many(mQuantile), 7: many(mKeyValue), 8: vint},
	mQuantile:     {1: f64, 2: f64},
	mExemplar:     {2: f64, 3: f64.of(), 4: id8, 5: id16, 6: f64.of(), 7: many(mKeyValue)},
}

// part is a field as it stood on the wire: raw is its value with the length, if it has one, and body without.
type part struct {
	num  protowire.Number
	wire protowire.Type
	raw  []byte
	body []byte
}

func (p part) appendTo(dst []byte) []byte {
	return append(protowire.AppendTag(dst, p.num, p.wire), p.raw...)
}

func (p part) withBody(b []byte) part {
	return part{num: p.num, wire: protowire.BytesType, body: b, raw: protowire.AppendBytes(nil, b)}
}

// split takes a message apart; ok is false if it is malformed.
func split(b []byte) (parts []part, ok bool) {
	for len(b) > 0 {
		num, wire, n := protowire.ConsumeTag(b)
		if n < 0 || num > protowire.MaxValidNumber { // protowire takes numbers that protobuf does not have
			return nil, false
		}
		b = b[n:]
		if n = protowire.ConsumeFieldValue(num, wire, b); n < 0 {
			return nil, false
		}
		p := part{num: num, wire: wire, raw: b[:n]}
		if wire == protowire.BytesType {
			p.body, _ = protowire.ConsumeBytes(b)
		}
		parts = append(parts, p)
		b = b[n:]
	}
	return parts, true
}

func join(parts []part) (b []byte) {
	for _, p := range parts {
		b = p.appendTo(b)
	}
	return b
}

// canonical rewrites a message so that pdata reads what protobuf means: without unknown fields and ids of wrong length,
// split messages merged, one member of each oneof. ok is false if it is malformed.
func canonical(b []byte, m msg) (out []byte, ok bool) {
	parts, ok := split(b)
	if !ok {
		return nil, false
	}
	known := parts[:0]
	for _, p := range parts {
		if f, ok := otlpSchema[m][p.num]; ok && slices.Contains(f.wires, p.wire) {
			known = append(known, p)
		}
	}
	var merged []part
	for i, p := range known {
		f := otlpSchema[m][p.num]
		if f.idBytes > 0 && len(p.body) != f.idBytes {
			p = p.withBody(nil)
		}
		if len(f.wires) == 2 && p.wire == protowire.BytesType && !wholeList(p, f.wires) {
			return nil, false
		}
		if f.oneof && slices.ContainsFunc(known[i+1:], func(q part) bool { return otlpSchema[m][q.num].oneof && q.num != p.num }) {
			// What a later member replaces means nothing, but it must be a message all the same.
			if f.sub != leaf {
				if _, ok := canonical(p.body, f.sub); !ok {
					return nil, false
				}
			}
			continue
		}
		if f.singular {
			if at := slices.IndexFunc(merged, func(q part) bool { return q.num == p.num }); at >= 0 {
				merged[at] = merged[at].withBody(slices.Concat(merged[at].body, p.body))
				continue
			}
		}
		merged = append(merged, p)
	}
	for i, p := range merged {
		if sub := otlpSchema[m][p.num].sub; sub != leaf {
			body, ok := canonical(p.body, sub)
			if !ok {
				return nil, false
			}
			merged[i] = p.withBody(body)
		}
	}
	return join(merged), true
}

// wholeList reports whether the body of p is a list of whole scalars of the wire type that p has when it is not packed.
func wholeList(p part, wires []protowire.Type) bool {
	for b := p.body; len(b) > 0; {
		n := protowire.ConsumeFieldValue(p.num, scalarWire(wires), b)
		if n < 0 {
			return false
		}
		b = b[n:]
	}
	return true
}

func scalarWire(wires []protowire.Type) protowire.Type {
	if wires[0] == protowire.BytesType {
		return wires[1]
	}
	return wires[0]
}

// disguise rewrites a message so that it means the same in protobuf but looks as different as possible: fields in random
// order, single messages in two pieces, lists unpacked, unknown fields and groups strewn in.
func disguise(r *rand.Rand, b []byte, m msg) []byte {
	parts, ok := split(b)
	if !ok {
		panic("BUG: malformed message")
	}
	var out []part
	for _, p := range parts {
		f := otlpSchema[m][p.num]
		switch {
		case f.sub != leaf:
			body := disguise(r, p.body, f.sub)
			if f.singular && r.IntN(2) == 0 {
				halves, _ := split(body)
				at := r.IntN(len(halves) + 1)
				out = append(out, p.withBody(join(halves[:at])), p.withBody(join(halves[at:])))
			} else {
				out = append(out, p.withBody(body))
			}
		case len(f.wires) == 2 && p.wire == protowire.BytesType && r.IntN(2) == 0:
			out = append(out, unpacked(p, f.wires[0])...)
		default:
			out = append(out, p)
		}
	}
	shuffle(r, out)
	for i := len(out); i >= 0; i-- {
		if r.IntN(8) == 0 {
			out = slices.Insert(out, i, noise(r, m))
		}
	}
	return join(out)
}

func unpacked(p part, wire protowire.Type) (out []part) {
	for b := p.body; len(b) > 0; {
		n := protowire.ConsumeFieldValue(p.num, wire, b)
		out = append(out, part{num: p.num, wire: wire, raw: b[:n]})
		b = b[n:]
	}
	return out
}

// shuffle puts parts into random order, but keeps that of those with the same number.
func shuffle(r *rand.Rand, parts []part) {
	order := make(map[protowire.Number][]part)
	for _, p := range parts {
		order[p.num] = append(order[p.num], p)
	}
	r.Shuffle(len(parts), func(i, j int) { parts[i], parts[j] = parts[j], parts[i] })
	for i, p := range parts {
		parts[i], order[p.num] = order[p.num][0], order[p.num][1:]
	}
}

// noise is a field that a reader of m must skip.
func noise(r *rand.Rand, m msg) part {
	switch r.IntN(5) {
	case 0:
		return part{num: 99, wire: protowire.BytesType, raw: protowire.AppendBytes(nil, []byte("from the future"))}
	case 1:
		return part{num: 1 << 28, wire: protowire.VarintType, raw: protowire.AppendVarint(nil, 1<<63)}
	case 2: // a group with fields and a group in it
		inner := protowire.AppendTag(nil, 1, protowire.Fixed32Type)
		inner = append(inner, 1, 2, 3, 4)
		inner = protowire.AppendTag(inner, 2, protowire.StartGroupType)
		inner = protowire.AppendTag(inner, 2, protowire.EndGroupType)
		return part{num: 98, wire: protowire.StartGroupType, raw: protowire.AppendGroup(nil, 98, inner)}
	case 3:
		return part{num: 97, wire: protowire.Fixed64Type, raw: make([]byte, 8)}
	}
	for num, f := range otlpSchema[m] { // a known field of another wire type
		if !slices.Contains(f.wires, protowire.VarintType) {
			return part{num: num, wire: protowire.VarintType, raw: []byte{1}}
		}
	}
	return part{num: 96, wire: protowire.Fixed32Type, raw: make([]byte, 4)}
}

// recordSizes returns the encoded size of each record's field, in order.
func recordSizes(b []byte, m msg) (sizes []int) {
	parts, _ := split(b)
	for _, p := range parts {
		switch sub := otlpSchema[m][p.num].sub; sub {
		case mLog, mSpan, mNumberPoint, mHistPoint, mExpPoint, mSummaryPoint:
			sizes = append(sizes, len(p.appendTo(nil)))
		case leaf, mResource, mScope, mKeyValue:
		default:
			sizes = append(sizes, recordSizes(p.body, sub)...)
		}
	}
	return sizes
}
