package prom

import (
	"slices"

	"github.com/prometheus/prometheus/model/histogram"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/storage"
	"github.com/prometheus/prometheus/tsdb/chunkenc"
	"github.com/prometheus/prometheus/util/annotations"
)

// series is a series of Prometheus. It implements storage.Series.
type series struct {
	labels labels.Labels
	points []point // gathered, in the end in order and one per millisecond
	deltas []point // gathered, to be accumulated
}

// Labels implements storage.Series.
func (s *series) Labels() labels.Labels { return s.labels }

// Iterator implements storage.Series.
func (s *series) Iterator(it chunkenc.Iterator) chunkenc.Iterator {
	if again, ok := it.(*iterator); ok {
		*again = iterator{points: s.points, at: -1}
		return again
	}
	return &iterator{points: s.points, at: -1}
}

// iterator implements chunkenc.Iterator.
type iterator struct {
	points []point
	at     int // -1 before the first
}

// millis is int64 under a name that tells vet that Seek is not io.Seeker's.
type millis = int64

// Next implements chunkenc.Iterator.
func (it *iterator) Next() chunkenc.ValueType {
	if it.at < len(it.points) {
		it.at++
	}
	return it.kind()
}

// Seek implements chunkenc.Iterator.
func (it *iterator) Seek(t millis) chunkenc.ValueType {
	it.at = max(it.at, 0)
	if it.at < len(it.points) && it.AtT() < t {
		n, _ := slices.BinarySearchFunc(it.points[it.at:], t, func(p point, t int64) int {
			if inMilli(p.nanos) < t {
				return -1
			}
			return 1
		})
		it.at += n
	}
	return it.kind()
}

func (it *iterator) kind() chunkenc.ValueType {
	switch {
	case it.at >= len(it.points):
		return chunkenc.ValNone
	case it.points[it.at].hist != nil:
		return chunkenc.ValFloatHistogram
	}
	return chunkenc.ValFloat
}

// At implements chunkenc.Iterator.
func (it *iterator) At() (int64, float64) { return it.AtT(), it.points[it.at].value }

// AtHistogram implements chunkenc.Iterator. There are no histograms of integers.
func (*iterator) AtHistogram(*histogram.Histogram) (int64, *histogram.Histogram) {
	panic("BUG: integer histogram asked for")
}

// AtFloatHistogram implements chunkenc.Iterator. The engine changes what it is given.
func (it *iterator) AtFloatHistogram(h *histogram.FloatHistogram) (int64, *histogram.FloatHistogram) {
	own := it.points[it.at].hist
	if h == nil {
		return it.AtT(), own.Copy()
	}
	own.CopyTo(h)
	return it.AtT(), h
}

// AtT implements chunkenc.Iterator.
func (it *iterator) AtT() int64 { return inMilli(it.points[it.at].nanos) }

// AtST implements chunkenc.Iterator.
func (it *iterator) AtST() int64 { return inMilli(it.points[it.at].start) }

// Err implements chunkenc.Iterator.
func (*iterator) Err() error { return nil }

// seriesSet implements storage.SeriesSet.
type seriesSet struct {
	list     []*series
	at       int
	warnings annotations.Annotations
}

func newSeriesSet(list []*series, warnings annotations.Annotations) *seriesSet {
	return &seriesSet{list: list, at: -1, warnings: warnings}
}

// Next implements storage.SeriesSet.
func (s *seriesSet) Next() bool {
	s.at++
	return s.at < len(s.list)
}

// At implements storage.SeriesSet.
func (s *seriesSet) At() storage.Series { return s.list[s.at] }

// Err implements storage.SeriesSet.
func (*seriesSet) Err() error { return nil }

// Warnings implements storage.SeriesSet.
func (s *seriesSet) Warnings() annotations.Annotations { return s.warnings }
