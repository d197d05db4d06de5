package prom

import (
	"fmt"

	"github.com/prometheus/prometheus/model/histogram"
)

// accumulate makes cumulative points of deltas, which are in order. What came before is not known: the sum begins at
// nothing, so that only differences between points mean something.
//
// A counter of Prometheus says what happened between two of its samples. The first delta, and one that does not begin where
// the one before ended, have no sample at their beginning; they get one there, so that rate and increase count them.
// Deltas that begin before from, in nanoseconds, get none: the sample would be outside of what is asked for.
func accumulate(deltas []point, from int64) ([]point, error) {
	out := make([]point, 0, len(deltas)+1)
	var sum float64
	var hist *histogram.FloatHistogram
	last := int64(-1)
	for _, d := range deltas {
		if d.stale() {
			out = append(out, d)
			last = d.nanos
			continue
		}
		if d.start > last && d.start > 0 && d.start < d.nanos && d.start >= from {
			begin := point{nanos: d.start, value: sum}
			if d.hist != nil {
				if begin.hist = nothing(d.hist); hist != nil {
					begin.hist = hist.Copy()
				}
			}
			out = append(out, begin)
		}
		p := point{nanos: d.nanos}
		if d.hist != nil {
			if hist == nil {
				hist = nothing(d.hist)
			}
			next, _, _, err := hist.Copy().Add(d.hist)
			if err != nil {
				return nil, fmt.Errorf("add up histograms: %w", err)
			}
			hist, p.hist = next, next.Copy()
		} else {
			sum += d.value
			p.value = sum
		}
		out = append(out, p)
		last = d.nanos
	}
	return out, nil
}

// nothing is an empty histogram in the form of h.
func nothing(h *histogram.FloatHistogram) *histogram.FloatHistogram {
	return &histogram.FloatHistogram{Schema: h.Schema, ZeroThreshold: h.ZeroThreshold}
}
