package prom

import (
	"math"

	"github.com/prometheus/prometheus/model/histogram"
)

// expPoint is a data point of an exponential histogram.
type expPoint struct {
	count     uint64
	sum       float64 // 0 if unset
	scale     int32
	zeroCount uint64
	threshold float64
	positive  expBuckets
	negative  expBuckets
}

// expBuckets are the counts of buckets of which the first has the index offset: the i-th is for values above
// base^(offset+i) and up to base^(offset+i+1).
type expBuckets struct {
	offset int32
	counts []uint64
}

// defaultZeroThreshold is what a zero bucket without a threshold gets, as the specification of OpenTelemetry asks.
const defaultZeroThreshold = 1e-128

// native returns the point as a native histogram, false if it has none: its buckets are wider than the widest of
// Prometheus, or farther out than those can be counted. Buckets narrower than Prometheus' are merged.
// zeroThreshold is for a point that has none.
func (p *expPoint) native(zeroThreshold float64) (*histogram.FloatHistogram, bool) {
	if p.scale < histogram.ExponentialSchemaMin {
		return nil, false
	}
	schema := min(p.scale, histogram.ExponentialSchemaMax)
	shift := uint(min(p.scale-schema, 63))
	h := &histogram.FloatHistogram{
		Schema: schema, ZeroThreshold: p.threshold, ZeroCount: float64(p.zeroCount), Count: float64(p.count), Sum: p.sum,
	}
	if !(h.ZeroThreshold > 0) || math.IsInf(h.ZeroThreshold, 1) {
		h.ZeroThreshold = zeroThreshold
	}
	var ok bool
	if h.PositiveSpans, h.PositiveBuckets, ok = p.positive.spans(shift); !ok {
		return nil, false
	}
	if h.NegativeSpans, h.NegativeBuckets, ok = p.negative.spans(shift); !ok {
		return nil, false
	}
	return h, true
}

// maxGap is the longest run of empty buckets that is written out; a longer one begins a new span.
const maxGap = 2

// spans lays out the buckets as Prometheus does, 2^shift of them merged into one. Its index is one more: Prometheus' bucket
// i ends at base^i.
func (e *expBuckets) spans(shift uint) (spans []histogram.Span, counts []float64, ok bool) {
	last := int64(0) // index of the last bucket in counts
	for i, n := range e.counts {
		if n == 0 {
			continue
		}
		index := (int64(e.offset)+int64(i))>>shift + 1
		if index > math.MaxInt32 {
			return nil, nil, false
		}
		gap := index - last - 1
		switch {
		case spans == nil:
			spans = append(spans, histogram.Span{Offset: int32(index)})
		case gap < 0: // merged into the one before
			counts[len(counts)-1] += float64(n)
			continue
		case gap > maxGap:
			spans = append(spans, histogram.Span{Offset: int32(gap)})
		default:
			for range gap {
				counts = append(counts, 0)
				spans[len(spans)-1].Length++
			}
		}
		counts = append(counts, float64(n))
		spans[len(spans)-1].Length++
		last = index
	}
	return spans, counts, true
}

// hintResets tells the engine which histograms of a series, in order, are less than the one before: where a counter began
// again. What follows a gap is not known.
func hintResets(points []point) {
	var last *histogram.FloatHistogram
	for _, p := range points {
		switch {
		case p.hist == nil || p.stale():
			last = nil
			continue
		case last == nil:
			p.hist.CounterResetHint = histogram.UnknownCounterReset
		case p.hist.DetectReset(last):
			p.hist.CounterResetHint = histogram.CounterReset
		default:
			p.hist.CounterResetHint = histogram.NotCounterReset
		}
		last = p.hist
	}
}

// staleHistogram says that a series of histograms ended.
func staleHistogram() *histogram.FloatHistogram { return &histogram.FloatHistogram{Sum: stale} }

// worth is how many samples h counts as.
func worth(h *histogram.FloatHistogram) int {
	return 4 + (len(h.PositiveBuckets)+len(h.NegativeBuckets))/2
}
