package prom

import (
	"cmp"
	"context"
	"math"
	"slices"

	"github.com/prometheus/prometheus/model/labels"

	"github.com/headgate-io/headgate/query"
)

// common is what histograms and summaries begin with: arrays of one length.
type common struct {
	times, starts []int64
	absent        []bool // no recorded value
	counts        []uint64
	sums          []float64
	hasSum        []bool
}

// common reads them. A summary always has a sum.
func (a *assembly) common(b *binaryReader, optionalSum bool) common {
	var c common
	c.times, c.starts = words(b, nil, asInt64), words(b, nil, asInt64)
	c.absent = list(b, func() bool { return b.uint32() != 0 })
	c.counts = words(b, nil, asUint64)
	if optionalSum {
		c.hasSum = list(b, func() bool { return b.uint8() != 0 })
	} else {
		c.hasSum = slices.Repeat([]bool{true}, len(c.times))
	}
	c.sums = words(b, nil, math.Float64frombits)
	return c
}

// ordered returns the indexes of the points by time, and fails if the arrays do not belong together.
func (c *common) ordered(others ...int) ([]int, error) {
	n := len(c.times)
	for _, m := range append(others, len(c.starts), len(c.absent), len(c.counts), len(c.hasSum), len(c.sums)) {
		if m != n {
			return nil, errLengths
		}
	}
	order := make([]int, n)
	for i := range order {
		order[i] = i
	}
	slices.SortFunc(order, func(i, j int) int {
		return cmp.Or(cmp.Compare(c.times[i], c.times[j]), cmp.Compare(c.counts[i], c.counts[j]), cmp.Compare(c.sums[i], c.sums[j]))
	})
	return order, nil
}

// fan collects the points of the series that one series of OpenTelemetry becomes.
type fan struct {
	a    *assembly
	s    *selected
	list []*branch
	by   map[branchKey]*branch
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

// close hands on what was collected.
func (f *fan) close() error {
	for _, br := range f.list {
		if err := f.a.load(len(br.points)); err != nil {
			return err
		}
		f.a.add(br.to, f.s, br.points)
	}
	return nil
}

// classic reads the points of a histogram: counts of buckets up to a bound, the count as the bucket of everything, count
// and sum.
func (a *assembly) classic(b *binaryReader, s *selected) error {
	c := a.common(b, true)
	buckets := list(b, func() []uint64 { return words(b, nil, asUint64) })
	bounds := list(b, func() []float64 { return words(b, nil, math.Float64frombits) })
	if b.err != nil {
		return nil
	}
	order, err := c.ordered(len(buckets), len(bounds))
	if err != nil {
		return err
	}
	f := a.fan(s)
	for _, i := range order {
		t, start := c.times[i], c.starts[i]
		count := f.branch(partCount, "", 0)
		all := f.branch(partBucket, labels.BucketLabel, math.Inf(1))
		if c.absent[i] {
			f.end(t)
			continue
		}
		count.add(t, start, float64(c.counts[i]))
		all.add(t, start, float64(c.counts[i]))
		if c.hasSum[i] {
			f.branch(partSum, "", 0).add(t, start, c.sums[i])
		}
		if s.parts&partBucket == 0 {
			continue
		}
		var sum uint64
		for j, bound := range bounds[i] {
			if j < len(buckets[i]) {
				sum += buckets[i][j]
				f.branch(partBucket, labels.BucketLabel, bound).add(t, start, float64(sum))
			}
		}
	}
	return f.close()
}

// summary reads the points of a summary: its quantiles, count and sum.
func (a *assembly) summary(b *binaryReader, s *selected) error {
	c := a.common(b, false)
	quantiles := list(b, func() []float64 { return words(b, nil, math.Float64frombits) })
	values := list(b, func() []float64 { return words(b, nil, math.Float64frombits) })
	if b.err != nil {
		return nil
	}
	order, err := c.ordered(len(quantiles), len(values))
	if err != nil {
		return err
	}
	f := a.fan(s)
	for _, i := range order {
		t, start := c.times[i], c.starts[i]
		count, sum := f.branch(partCount, "", 0), f.branch(partSum, "", 0)
		if c.absent[i] {
			f.end(t)
			continue
		}
		count.add(t, start, float64(c.counts[i]))
		sum.add(t, start, c.sums[i])
		for j, q := range quantiles[i] {
			if j < len(values[i]) {
				f.branch(partValue, quantileLabel, q).add(t, start, values[i][j])
			}
		}
	}
	return f.close()
}

// native reads the points of an exponential histogram.
func (a *assembly) native(b *binaryReader, s *selected) error {
	c := a.common(b, true)
	scales := list(b, b.int32)
	zeros, thresholds := words(b, nil, asUint64), words(b, nil, math.Float64frombits)
	counts := func() []uint64 { return words(b, nil, asUint64) }
	offsets, positive := list(b, b.int32), list(b, counts)
	negOffsets, negative := list(b, b.int32), list(b, counts)
	if b.err != nil {
		return nil
	}
	order, err := c.ordered(len(scales), len(zeros), len(thresholds), len(offsets), len(positive), len(negOffsets), len(negative))
	if err != nil {
		return err
	}
	points := make([]point, 0, len(order))
	for _, i := range order {
		p := point{nanos: c.times[i], start: c.starts[i], hist: staleHistogram()}
		if !c.absent[i] {
			e := expPoint{
				count: c.counts[i], sum: c.sums[i], scale: scales[i], zeroCount: zeros[i], threshold: thresholds[i],
				positive: expBuckets{offsets[i], positive[i]}, negative: expBuckets{negOffsets[i], negative[i]},
			}
			var ok bool
			if p.hist, ok = e.native(a.zeroThreshold); !ok {
				a.warn(s, "has points whose buckets Prometheus cannot express, which are left out")
				continue
			}
		}
		if err := a.load(worth(p.hist)); err != nil {
			return err
		}
		points = append(points, p)
	}
	a.add(a.series(s.base, s.family, "", ""), s, points)
	return nil
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
