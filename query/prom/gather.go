package prom

import (
	"cmp"
	"context"
	"fmt"
	"slices"

	"github.com/headgate-io/headgate/query"
)

// gathered is the points of one series of OpenTelemetry, as they were read. What its kind lacks is empty.
type gathered struct {
	of     *selected
	points []point   // of numbers and exponential histograms
	parts  []inParts // of classic histograms and summaries
	bounds []float64 // of the last of parts
}

// inParts is a point that several series of Prometheus are made of.
type inParts struct {
	nanos, start   int64
	absent, hasSum bool // no recorded value; a sum
	count          uint64
	sum            float64
	bounds         []float64 // of buckets, or quantiles
	counts         []uint64  // of buckets
	values         []float64 // of quantiles
}

func (p inParts) compare(o inParts) int {
	return cmp.Or(cmp.Compare(p.nanos, o.nanos), cmp.Compare(p.count, o.count), cmp.Compare(p.sum, o.sum))
}

// The columns of query.PrintPoints, after the id of the series.
var (
	numberTypes = []string{typeUint64, typeInt64, typeFloat}
	pointTypes  = map[string][]string{
		kindGauge:     numberTypes,
		kindSum:       numberTypes,
		kindHistogram: {typeUint64, typeInt64, typeInt64, typeUint32, typeUint64, typeUint8, typeFloat, typeCounts, typeFloats},
		kindExpHistogram: {
			typeUint64, typeInt64, typeInt64, typeUint32, typeUint64, typeUint8, typeFloat, typeInt32, typeUint64, typeFloat,
			typeInt32, typeCounts, typeInt32, typeCounts,
		},
		kindSummary: {typeUint64, typeInt64, typeInt64, typeUint32, typeUint64, typeFloat, typeFloats, typeFloats},
	}
)

// loadPoints reads the points of the selection.
func (a *assembly) loadPoints(ctx context.Context) error {
	err := a.eachTable(kinds, func(p query.Points, byKey map[seriesKey]*selected) error { return a.loadTable(ctx, p, byKey) })
	if err != nil {
		return err
	}
	return a.loadTargets(ctx)
}

// loadTable reads the points that p says, of the selected series of one kind.
func (a *assembly) loadTable(ctx context.Context, p query.Points, byKey map[seriesKey]*selected) error {
	kind := kindOf(p.Table)
	types := slices.Clone(pointTypes[kind])
	if kind == kindGauge || kind == kindSum {
		if p.Starts {
			types = append(types, typeInt64)
		}
	}
	tenants := p.Tenants
	if tenants == nil {
		tenants = a.scope.Strings()
	}
	if len(tenants) > 1 {
		types = append(types, typeUint64)
	}
	p.Limit = a.limits.MaxSamples - a.samples + 1 // a point is one sample at least
	st, err := query.PrintPoints(a.scope, p)
	if err != nil {
		return err
	}
	res, err := a.reader.Run(ctx, st, query.Columns)
	if err != nil {
		return err
	}
	defer res.Close()
	list := make([]gathered, 0, len(byKey))
	places := make([]map[uint64]*gathered, len(tenants)) // by id, of each tenant
	for i, tenant := range tenants {
		places[i] = map[uint64]*gathered{}
		for j := range a.selection.series {
			if s := &a.selection.series[j]; s.kind == kind && s.tenant == tenant {
				list = append(list, gathered{of: s})
				places[i][s.id] = &list[len(list)-1]
			}
		}
	}
	b := newBlockReader(res, types...)
	for b.next() {
		if err := a.gather(b, kind, p, places); err != nil {
			return err
		}
	}
	if err := ended(res, b.err); err != nil {
		return err
	}
	for i := range list {
		if err := a.finish(&list[i]); err != nil {
			return err
		}
	}
	return nil
}

func kindOf(table string) string {
	for kind, t := range tableOf {
		if t == table {
			return kind
		}
	}
	return ""
}

// gather adds the points of a block to what was gathered of their series, which places has for each tenant by id.
func (a *assembly) gather(b *blockReader, kind string, p query.Points, places []map[uint64]*gathered) error {
	var arena []uint64
	n := b.rows
	switch kind {
	case kindHistogram:
		n += b.columns[7].len()
		arena = make([]uint64, 0, b.columns[7].len())
	case kindSummary:
		n += b.columns[6].len()
	}
	if err := a.load(n); err != nil {
		return err
	}
	of, id := places[0], &b.columns[0]
	for i := range b.rows {
		if len(places) > 1 {
			n := b.columns[len(b.columns)-1].uint64(i)
			if n == 0 || n > uint64(len(places)) {
				return fmt.Errorf("BUG: points of tenant %d of %d", n, len(places))
			}
			of = places[n-1]
		}
		g := of[id.uint64(i)]
		switch {
		case g == nil && p.IDs != nil:
			return fmt.Errorf("BUG: points of series %x, which was not asked for", id.uint64(i))
		case g == nil: // it came after the series were read
		case kind == kindGauge || kind == kindSum:
			pt := point{nanos: b.columns[1].int64(i), value: b.columns[2].float64(i)}
			if p.Starts {
				pt.start = b.columns[3].int64(i)
			}
			g.points = append(g.points, pt)
		case kind == kindExpHistogram:
			if err := a.gatherNative(b, i, g); err != nil {
				return err
			}
		default:
			arena = g.part(b, i, kind == kindSummary, arena)
		}
	}
	return nil
}

// part adds the point of row i. The counts of its buckets are put into arena, which is returned.
func (g *gathered) part(b *blockReader, i int, summary bool, arena []uint64) []uint64 {
	c := b.columns
	p := inParts{nanos: c[1].int64(i), start: c[2].int64(i), absent: c[3].uint32(i) != 0, count: c[4].uint64(i), hasSum: true}
	if summary {
		p.sum, p.bounds, p.values = c[5].float64(i), c[6].floats(g.bounds, i), c[7].floats(nil, i)
	} else {
		from := len(arena)
		arena = c[7].counts(arena, i)
		p.hasSum, p.sum, p.bounds, p.counts = c[5].uint8(i) != 0, c[6].float64(i), c[8].floats(g.bounds, i), arena[from:]
	}
	g.bounds = p.bounds
	g.parts = append(g.parts, p)
	return arena
}

// gatherNative adds the exponential histogram of row i as a native one.
func (a *assembly) gatherNative(b *blockReader, i int, g *gathered) error {
	c := b.columns
	p := point{nanos: c[1].int64(i), start: c[2].int64(i), hist: staleHistogram()}
	if c[3].uint32(i) == 0 {
		e := expPoint{
			count: c[4].uint64(i), sum: c[6].float64(i), scale: c[7].int32(i), zeroCount: c[8].uint64(i), threshold: c[9].float64(i),
			positive: expBuckets{c[10].int32(i), c[11].counts(nil, i)}, negative: expBuckets{c[12].int32(i), c[13].counts(nil, i)},
		}
		var ok bool
		if p.hist, ok = e.native(a.zeroThreshold); !ok {
			a.warn(g.of, "has points whose buckets Prometheus cannot express, which are left out")
			return nil
		}
	}
	g.points = append(g.points, p)
	return a.load(worth(p.hist) - 1)
}

// finish makes of what was gathered what it becomes.
func (a *assembly) finish(g *gathered) error {
	s := g.of
	switch {
	case g.parts != nil:
		if !slices.IsSortedFunc(g.parts, inParts.compare) {
			slices.SortFunc(g.parts, inParts.compare)
		}
		if s.kind == kindSummary {
			return a.summary(g)
		}
		return a.classic(g)
	case g.points == nil:
	case s.delta() && !s.monotonic && s.kind == kindSum:
		a.warn(s, "has delta temporality and is not monotonic, so that its level is not known")
	default:
		a.add(a.series(s.base, s.family, "", ""), s, g.points)
	}
	return nil
}
