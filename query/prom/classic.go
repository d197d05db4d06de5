package prom

import (
	"context"
	"math"

	"github.com/prometheus/prometheus/model/labels"

	"github.com/headgate-io/headgate/query"
)

// fan collects the points of the series that one series of OpenTelemetry becomes.
type fan struct {
	a    *assembly
	s    *selected
	list []*branch
	by   map[branchKey]*branch

	bounds []float64 // of the last point
	row    []*branch // those of bounds
}

type branchKey struct {
	part  part
	bound float64 // of a bucket or quantile; never NaN
}

type branch struct {
	to     *series
	points []point
}

func (a *assembly) fan(s *selected) *fan { return &fan{a: a, s: s, by: map[branchKey]*branch{}} }

// branch returns a part of the series. extra is the label whose value is bound, "" for none.
func (f *fan) branch(p part, extra string, bound float64) *branch {
	if math.IsNaN(bound) {
		return &branch{}
	}
	key := branchKey{p, bound}
	br := f.by[key]
	if br == nil {
		br = &branch{}
		if f.s.parts&p != 0 {
			value := ""
			if extra != "" {
				value = formatLe(bound)
			}
			br.to = f.a.series(f.s.base, f.s.family+suffixes[p], extra, value)
		}
		f.by[key] = br
		f.list = append(f.list, br)
	}
	return br
}

// bounded returns the branches of the buckets, or quantiles, of one point.
func (f *fan) bounded(p part, extra string, bounds []float64) []*branch {
	if len(bounds) == 0 || len(bounds) == len(f.bounds) && &bounds[0] == &f.bounds[0] {
		return f.row[:len(bounds)] // the very same, as gather shares them
	}
	f.bounds, f.row = bounds, f.row[:0]
	for _, bound := range bounds {
		f.row = append(f.row, f.branch(p, extra, bound))
	}
	return f.row
}

func (br *branch) add(nanos, start int64, value float64) {
	if br.to != nil {
		br.points = append(br.points, point{nanos: nanos, start: start, value: value})
	}
}

// end says that all that there is so far ended.
func (f *fan) end(nanos int64) {
	for _, br := range f.list {
		br.add(nanos, 0, stale)
	}
}

// close hands on what was collected of points, which have been counted with all that they hold.
func (f *fan) close(points []inParts) error {
	more := 0
	for i := range points {
		more -= 1 + max(len(points[i].counts), len(points[i].values))
	}
	for _, br := range f.list {
		more += len(br.points)
		f.a.add(br.to, f.s, br.points)
	}
	return f.a.load(more)
}

// classic makes the series of a histogram: counts of buckets up to a bound, the count as the bucket of everything, count
// and sum.
func (a *assembly) classic(g *gathered) error {
	f := a.fan(g.of)
	for i := range g.parts {
		p := &g.parts[i]
		count := f.branch(partCount, "", 0)
		all := f.branch(partBucket, labels.BucketLabel, math.Inf(1))
		if p.absent {
			f.end(p.nanos)
			continue
		}
		count.add(p.nanos, p.start, float64(p.count))
		all.add(p.nanos, p.start, float64(p.count))
		if p.hasSum {
			f.branch(partSum, "", 0).add(p.nanos, p.start, p.sum)
		}
		if g.of.parts&partBucket == 0 {
			continue
		}
		var sum uint64
		for j, br := range f.bounded(partBucket, labels.BucketLabel, p.bounds[:min(len(p.bounds), len(p.counts))]) {
			sum += p.counts[j]
			br.add(p.nanos, p.start, float64(sum))
		}
	}
	return f.close(g.parts)
}

// summary makes the series of a summary: its quantiles, count and sum.
func (a *assembly) summary(g *gathered) error {
	f := a.fan(g.of)
	for i := range g.parts {
		p := &g.parts[i]
		count, sum := f.branch(partCount, "", 0), f.branch(partSum, "", 0)
		if p.absent {
			f.end(p.nanos)
			continue
		}
		count.add(p.nanos, p.start, float64(p.count))
		sum.add(p.nanos, p.start, p.sum)
		for j, br := range f.bounded(partValue, quantileLabel, p.bounds[:min(len(p.bounds), len(p.values))]) {
			br.add(p.nanos, p.start, p.values[j])
		}
	}
	return f.close(g.parts)
}

// loadLabels makes the series of the selection without points. Which buckets and quantiles there are, the points say.
func (a *assembly) loadLabels(ctx context.Context) error {
	for i := range a.selection.series {
		s := &a.selection.series[i]
		f := a.fan(s)
		switch s.kind {
		case kindGauge, kindSum, kindExpHistogram:
			a.series(s.base, s.family, "", "")
		case kindHistogram:
			f.branch(partBucket, labels.BucketLabel, math.Inf(1))
			fallthrough
		case kindSummary:
			f.branch(partSum, "", 0)
			f.branch(partCount, "", 0)
		}
	}
	err := a.eachTable([]string{kindHistogram, kindSummary}, func(p query.Points, byKey map[seriesKey]*selected) error {
		st, err := query.PrintBounds(a.scope, p)
		if err != nil {
			return err
		}
		return a.rows(ctx, st, func(b *binaryReader) error {
			s := byKey[seriesKey{b.text(), b.uint64()}]
			bounds := words(b, nil, math.Float64frombits)
			if s == nil {
				return nil
			}
			p, extra := partBucket, labels.BucketLabel
			if s.kind == kindSummary {
				p, extra = partValue, quantileLabel
			}
			f := a.fan(s)
			for _, bound := range bounds {
				f.branch(p, extra, bound)
			}
			return a.load(len(bounds))
		})
	})
	if err != nil {
		return err
	}
	for i := range a.targets {
		a.target(&a.targets[i])
	}
	return nil
}
