package otlp

import (
	"encoding/binary"
	"math/bits"

	"github.com/cespare/xxhash/v2"

	"github.com/headgate-io/headgate/storage/native"
)

// A series id is 64 bits over what its points have in common, as the columns of their rows have it: texts, not the kinds of
// values; of a repeated key the last value. It is the sum of four parts, mixed:
//
//	metric     name, kind, unit, temporality, monotonic
//	scope      name, version, schema URL, attributes
//	resource   attributes, but for tenant.id
//	point      attributes
//
// A set of attributes is the sum of its pairs' hashes, so that their order does not matter. Texts are hashed with XXH64, seed 0.
//
// Ids are stored: they must stay what they are for ever. The tenant is not in them, so a tenant can make two of its own series
// collide if it wants to, and nobody else's: TenantId stands before SeriesId wherever rows are kept or looked for.
//
// A row's parts come in the order in which the walk knows them, see resourceItems: the point's with the row, each of the
// others when the rows of its metric, scope or resource are complete.

// Parts are told apart by what is added to them before they are mixed.
const (
	scopePart    = 0x9e3779b97f4a7c15
	resourcePart = 0xbf58476d1ce4e5b9
	keyFactor    = 0x94d049bb133111eb // a key is not its value
)

// seriesKind is a kind of metric, as ids have it.
type seriesKind byte

const (
	seriesGauge seriesKind = iota + 1
	seriesSum
	seriesHistogram
	seriesExpHistogram
	seriesSummary
)

// mix64 is MurmurHash3's finalizer: each bit of x changes half of the result's.
func mix64(x uint64) uint64 {
	x ^= x >> 33
	x *= 0xff51afd7ed558ccd
	x ^= x >> 33
	x *= 0xc4ceb9fe1a85ec53
	return x ^ x>>33
}

// pairHash is the hash of an attribute whose key's hash is key.
func pairHash(key uint64, value []byte) uint64 {
	return mix64(bits.RotateLeft64(key*keyFactor, 31) + xxhash.Sum64(value))
}

// seriesID makes an id of the sum of all parts. Rows of before there were ids have 0, so none is 0.
func seriesID(sum uint64) uint64 { return max(mix64(sum), 1) }

// seriesColumn is the column SeriesId. A row's value is a sum until closeResource makes an id of it.
type seriesColumn struct {
	*native.Fixed[uint64]
	kind seriesKind
	buf  []byte // reused; fields that are hashed as one
}

func addSeries(b *native.Builder, kind seriesKind) *seriesColumn {
	return &seriesColumn{Fixed: addFixed[uint64](b, "SeriesId", "UInt64"), kind: kind}
}

// add adds part to the last n rows.
func (c *seriesColumn) add(part uint64, n int) {
	for i, rows := 0, c.Tail(n); i < len(rows); i++ {
		rows[i] += part
	}
}

// finish adds part to the last n rows, whose last one it is.
func (c *seriesColumn) finish(part uint64, n int) {
	for i, rows := 0, c.Tail(n); i < len(rows); i++ {
		rows[i] = seriesID(rows[i] + part)
	}
}

// field appends a text to buf so that where it ends is told.
func (c *seriesColumn) field(text []byte) {
	c.buf = append(binary.AppendUvarint(c.buf, uint64(len(text))), text...)
}

// metricPart returns the part of the metric m, whose name and unit are those at the indexes name and unit of t's dictionaries.
func (c *seriesColumn) metricPart(t *metricTable, m *metricState, name, unit uint32) uint64 {
	c.buf = append(c.buf[:0], byte(c.kind))
	if t.temporality != nil {
		c.buf = binary.LittleEndian.AppendUint32(c.buf, uint32(m.temporality))
	}
	if t.monotonic != nil {
		c.buf = append(c.buf, m.monotonicByte())
	}
	c.field(t.name.Value(name))
	c.field(t.unit.Value(unit))
	return xxhash.Sum64(c.buf)
}

// scopePart returns the part of the scope s, whose columns in t have their rows already.
func (c *seriesColumn) scopePart(t *table, s *scopeState, name, version, url uint32) uint64 {
	if !s.hashed {
		c.buf = binary.LittleEndian.AppendUint64(c.buf[:0], sumOf(t.scopeAttrs.Keys, s.attrs.list))
		c.field(t.scopeName.Value(name))
		c.field(t.scopeVersion.Value(version))
		c.field(t.scopeURL.Value(url))
		s.series, s.hashed = mix64(xxhash.Sum64(c.buf)+scopePart), true
	}
	return s.series
}

// resourcePart returns the part of the resource r, whose columns in t have their rows already.
func (c *seriesColumn) resourcePart(t *table, r *resourceState) uint64 {
	if !r.hashed {
		own := r.attrs.list[:len(r.attrs.list)-1] // the last one is the stamp's
		r.series, r.hashed = mix64(sumOf(t.resourceAttrs.Keys, own)+resourcePart), true
	}
	return r.series
}

// sumOf returns the sum of the attributes of list, whose keys have their indexes in the dictionary keys.
func sumOf(keys *native.LowCardinality, list []attr) (sum uint64) {
	for i := range list {
		if a := &list[i]; !a.repeated {
			sum += pairHash(xxhash.Sum64(keys.Value(a.idx)), a.text)
		}
	}
	return sum
}
