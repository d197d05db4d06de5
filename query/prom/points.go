package prom

import (
	"cmp"
	"math"
	"slices"

	"github.com/prometheus/prometheus/model/histogram"
	"github.com/prometheus/prometheus/model/value"
)

var stale = math.Float64frombits(value.StaleNaN)

// point is a sample of a series with its time as it was sent.
type point struct {
	nanos int64
	start int64 // when the time began that it is about, in nanoseconds; 0 is unknown
	value float64
	hist  *histogram.FloatHistogram // instead of a value
}

func (p point) stale() bool {
	if p.hist != nil {
		return value.IsStaleNaN(p.hist.Sum)
	}
	return value.IsStaleNaN(p.value)
}

// compare orders points by time; those of one time so that the last is always the same, and not one without a value if
// there is one with.
func (p point) compare(o point) int {
	if c := cmp.Compare(p.nanos, o.nanos); c != 0 {
		return c
	}
	if p.stale() != o.stale() {
		if p.stale() {
			return -1
		}
		return 1
	}
	if (p.hist == nil) != (o.hist == nil) {
		if p.hist == nil {
			return -1
		}
		return 1
	}
	if p.hist != nil {
		return cmp.Or(cmp.Compare(p.hist.Count, o.hist.Count), cmp.Compare(p.hist.Sum, o.hist.Sum), cmp.Compare(p.start, o.start))
	}
	return cmp.Or(cmp.Compare(p.value, o.value), cmp.Compare(p.start, o.start))
}

// order sorts points and keeps the last one of each time that unit makes of nanoseconds.
func order(list []point, unit func(int64) int64) []point {
	if list = inRuns(list); !slices.IsSortedFunc(list, point.compare) {
		slices.SortFunc(list, point.compare)
	}
	out := list[:0]
	for i, p := range list {
		if i+1 < len(list) && unit(list[i+1].nanos) == unit(p.nanos) {
			continue
		}
		out = append(out, p)
	}
	return out
}

// maxRuns is up to how many runs it is worth looking at.
const maxRuns = 64

// inRuns returns the points in another order: the runs of them that are in order by time are brought into the order of their
// first points. The engine reads parts of a range at a time, each in order, so that this mostly sorts them.
func inRuns(list []point) []point {
	var runs [][]point
	from := 0
	for i := 1; i <= len(list); i++ {
		if i < len(list) && list[i].nanos >= list[i-1].nanos {
			continue
		}
		if runs = append(runs, list[from:i]); len(runs) > maxRuns {
			return list
		}
		from = i
	}
	if len(runs) < 2 {
		return list
	}
	slices.SortFunc(runs, func(a, b []point) int { return cmp.Compare(a[0].nanos, b[0].nanos) })
	return slices.Concat(runs...)
}

func exact(nanos int64) int64 { return nanos }
