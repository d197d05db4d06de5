package otlp

import (
	"math"
	"slices"
	"time"

	"github.com/headgate-io/headgate/storage/native"
)

const (
	dateTime64 = "DateTime64(9, 'UTC')"
)

// table is what the columns of all tables have in common: the stamp, and where the records come from.
type table struct {
	name string
	b    native.Builder
	rows int
	days []uint16 // distinct days of the rows, in the order they came

	rowBytes int // estimate of a row without attributes

	tenant    *native.LowCardinality
	partition *native.LowCardinality
	retention *native.Fixed[uint16]
	received  *native.Fixed[uint32]
	series    *seriesColumn // of metrics, else nil

	service         *native.LowCardinality
	resourceURL     *native.LowCardinality
	resourceAttrs   *resourceMap
	resourceDropped *native.Fixed[uint32]
	entityRefs      *native.LowCardinality
	scopeURL        *native.LowCardinality
	scopeName       *native.LowCardinality
	scopeVersion    *native.LowCardinality
	scopeAttrs      *attrMap
	scopeDropped    *native.Fixed[uint32]

	// The columns of the stamp, of resources and of scopes, with the rows that have them already.
	stamped, resources, scopes native.Repeats
}

// begin makes the first columns, end the last ones; between them the table adds its own.
func (t *table) begin(name string, rowBytes int) {
	t.name, t.rowBytes = name, rowBytes
	b := &t.b
	t.tenant = addRepeatedText(b, &t.stamped, "TenantId")
	t.partition = addRepeatedText(b, &t.stamped, "Partition")
	t.retention = addRepeated(b, &t.stamped, "RetentionDays", native.NewFixed[uint16]("UInt16"))
	t.received = addRepeated(b, &t.stamped, "ReceivedAt", native.NewFixed[uint32]("DateTime('UTC')"))
}

func (t *table) end() {
	b := &t.b
	t.service = addRepeatedText(b, &t.resources, "ServiceName")
	t.resourceURL = addRepeatedText(b, &t.resources, "ResourceSchemaUrl")
	t.resourceAttrs = newResourceMap()
	t.resources.Add(b, "ResourceAttributes", t.resourceAttrs)
	t.resources.Add(b, "ResourceAttributesKinds", t.resourceAttrs.kinds)
	t.resourceDropped = addRepeated(b, &t.resources, "ResourceDroppedAttrCount", native.NewFixed[uint32]("UInt32"))
	t.entityRefs = addRepeatedText(b, &t.resources, "ResourceEntityRefs")
	t.scopeURL = addRepeatedText(b, &t.scopes, "ScopeSchemaUrl")
	t.scopeName = addRepeatedText(b, &t.scopes, "ScopeName")
	t.scopeVersion = addRepeatedText(b, &t.scopes, "ScopeVersion")
	t.scopeAttrs = addRepeatedAttrs(b, &t.scopes, "ScopeAttributes")
	t.scopeDropped = addRepeated(b, &t.scopes, "ScopeDroppedAttrCount", native.NewFixed[uint32]("UInt32"))
}

// addRepeated adds c to b as a member of r.
func addRepeated[C native.Repeatable](b *native.Builder, r *native.Repeats, name string, c C) C {
	r.Add(b, name, c)
	return c
}

func addRepeatedText(b *native.Builder, r *native.Repeats, name string) *native.LowCardinality {
	return addRepeated(b, r, name, native.NewLowCardinality())
}

func addRepeatedAttrs(b *native.Builder, r *native.Repeats, name string) *attrMap {
	m := addRepeated(b, r, name, newAttrMap())
	r.Add(b, name+"Kinds", m.kinds)
	return m
}

func addLowCardinality(b *native.Builder, name string) *native.LowCardinality {
	c := native.NewLowCardinality()
	b.Add(name, c)
	return c
}

func addString(b *native.Builder, name string) *native.String {
	c := native.NewString()
	b.Add(name, c)
	return c
}

func addFixed[T native.Number](b *native.Builder, name, typ string) *native.Fixed[T] {
	c := native.NewFixed[T](typ)
	b.Add(name, c)
	return c
}

func addRuns[T native.Number](b *native.Builder, name, typ string) *native.Runs[T] {
	c := native.NewRuns[T](typ)
	b.Add(name, c)
	return c
}

func addSparse(b *native.Builder, name string) *native.Sparse {
	c := native.NewSparse()
	b.Add(name, c)
	return c
}

func addRare[T native.Number](b *native.Builder, name, typ string) *native.Rare[T] {
	c := native.NewRare[T](typ)
	b.Add(name, c)
	return c
}

func addNullable[T native.Number](b *native.Builder, name, typ string) *native.Nullable[T] {
	c := native.NewNullable[T](typ)
	b.Add(name, c)
	return c
}

func addAttrMap(b *native.Builder, name string) *attrMap {
	m := newAttrMap()
	b.Add(name, m)
	b.Add(name+"Kinds", m.kinds)
	return m
}

func addArray[T native.Number](b *native.Builder, name, typ string) *native.Array[T] {
	c := native.NewArray(native.NewFixed[T](typ))
	b.Add(name, c)
	return c
}

func (t *table) reset() {
	t.b.Reset()
	t.rows, t.days = 0, t.days[:0]
}

// closeScope gives the rows since the last call the columns of the scope they are in.
func (t *table) closeScope(d *Decoder) {
	n := t.rows - t.scopes.Rows()
	if n == 0 {
		return
	}
	s := &d.scope
	url, name, version := d.intern(t.scopeURL, s.url), d.intern(t.scopeName, s.name), d.intern(t.scopeVersion, s.version)
	t.scopeURL.AppendIndex(url)
	t.scopeName.AppendIndex(name)
	t.scopeVersion.AppendIndex(version)
	t.scopeAttrs.append(d, s.attrs.list)
	t.scopeDropped.Append(s.dropped)
	t.scopes.EndRun(n)
	if t.series != nil {
		t.series.add(t.series.scopePart(t, s, name, version, url), n)
	}
}

// closeResource gives the rows since the last call the columns of the resource they are in.
func (t *table) closeResource(d *Decoder) {
	n := t.rows - t.resources.Rows()
	if n == 0 {
		return
	}
	r := &d.resource
	t.service.Append(r.service)
	t.resourceURL.AppendIndex(d.intern(t.resourceURL, r.url))
	t.resourceAttrs.append(d, r.attrs.list)
	t.resourceDropped.Append(r.dropped)
	t.entityRefs.Append(r.entities.text())
	t.resources.EndRun(n)
	if t.series != nil {
		t.series.finish(t.series.resourcePart(t, r), n)
	}
}

// finish stamps all rows.
func (t *table) finish(d *Decoder) Rows {
	st := &d.stamp
	t.tenant.Append(d.tenant)
	t.partition.Append([]byte(st.Partition))
	t.retention.Append(st.RetentionDays)
	t.received.Append(uint32(st.Received.Unix()))
	t.stamped.EndRun(t.rows)
	return Rows{Table: t.name, Days: slices.Clone(t.days), Count: t.rows, d: d, table: t, request: d.requests}
}

const nanosPerDay = uint64(24 * time.Hour)

// admitDay notes the day of ns, a sort time, as the partition key has it. It reports whether a row may be added: its day is
// there already, or not too many are.
func (t *table) admitDay(ns uint64, maxDays int) bool {
	day := uint16(ns / nanosPerDay)
	if n := len(t.days); n > 0 && t.days[n-1] == day {
		return true
	}
	return t.addDay(day, maxDays)
}

func (t *table) addDay(day uint16, maxDays int) bool {
	if slices.Contains(t.days, day) {
		return true
	}
	if len(t.days) >= maxDays {
		return false
	}
	t.days = append(t.days, day)
	return true
}

// sortTime is the time of a record that its table is partitioned and sorted by. ClickHouse's toStartOfFiveMinutes and
// toStartOfHour begin again after 2106-02-07T06:28:15Z, toDate after 2149: beyond that a row would lie where no query
// looks for it. So a later time stands as the last one before, and as it was in a Raw column.
type sortTime struct {
	at  *native.Fixed[int64]
	raw *native.Rare[uint64]
}

const maxSortTime = math.MaxUint32*uint64(time.Second) + uint64(time.Second) - 1

// sortable returns ns, or maxSortTime if ns is beyond it.
func sortable(ns uint64) uint64 { return min(ns, maxSortTime) }

func addSortTime(b *native.Builder, name string) sortTime {
	return sortTime{addFixed[int64](b, name, dateTime64), addRare[uint64](b, "Raw"+name, "UInt64")}
}

// append adds the time ns as the row with the index row.
func (c *sortTime) append(row int, ns uint64) {
	c.at.Append(int64(sortable(ns)))
	if ns > maxSortTime {
		c.raw.Set(row, ns)
	}
}

// clampTime returns ns, or the latest time that a column can hold if ns is beyond it: 2262-04-11T23:47:16.854775807Z.
func clampTime(ns uint64) uint64 { return min(ns, math.MaxInt64) }

// otherTime is a time that tables are not sorted by. One that clampTime changes stands as it was in a Raw column.
type otherTime struct {
	at  *native.Fixed[int64]
	raw *native.Rare[uint64]
}

func addOtherTime(b *native.Builder, name string) otherTime { return otherTime(addSortTime(b, name)) }

// append adds the time ns as the row with the index row.
func (c *otherTime) append(row int, ns uint64) {
	c.at.Append(int64(clampTime(ns)))
	if ns > math.MaxInt64 {
		c.raw.Set(row, ns)
	}
}

// nestedTime is a time of an event or an exemplar, as otherTime. Its members of the Nested must be as long as all others,
// so none is rare.
type nestedTime struct {
	at  *native.Fixed[int64]
	raw *native.Fixed[uint64]
}

func newNestedTime() nestedTime {
	return nestedTime{native.NewFixed[int64](dateTime64), native.NewFixed[uint64]("UInt64")}
}

func (c *nestedTime) append(ns uint64) {
	c.at.Append(int64(clampTime(ns)))
	if clampTime(ns) == ns {
		ns = 0
	}
	c.raw.Append(ns)
}
