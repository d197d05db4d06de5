package otlp

import (
	"encoding/binary"
	"fmt"
)

// Glance looks at the beginning of a body, of which more may come, and reports why it is sure to be refused whatever
// follows: ErrTooManyRecords or ErrMalformed. nil says nothing. It takes a fraction of Decode, which has the last word,
// because it passes over records without looking into them. Profiles are not looked at.
//
// It spares inflating and holding the rest of an object bomb: 64 MiB of two-byte records are 300 KiB of gzip.
func (l Limits) Glance(sig Signal, beginning []byte) error {
	if sig == Profiles {
		return nil
	}
	limit := l.records()
	n, err := countRecords(beginning, sig, inRequest, limit)
	if err == nil && n > limit {
		err = fmt.Errorf("%w: more than %d", ErrTooManyRecords, limit)
	}
	if err != nil {
		return fmt.Errorf("decode %s: %w", sig, err)
	}
	return nil
}

// records is MaxRecords, or its default.
func (l Limits) records() int {
	if l.MaxRecords <= 0 {
		return defaultMaxRecords
	}
	return l.MaxRecords
}

// The messages on the way to a record.
const (
	inRequest = iota
	inResource
	inScope
	inMetric
	inData // of a metric: gauge, sum, histogram, exponential histogram, summary
)

// leadsOn reports whether the field tag of a message at level is the next message on the way, and whether that is a record.
func leadsOn(sig Signal, level int, tag uint64) (on, record bool) {
	switch level {
	case inRequest:
		return tag == tagResourceItems, false
	case inResource:
		return tag == tagScopeItems, false
	case inScope:
		return tag == tagRecords, sig != Metrics
	case inMetric:
		switch tag {
		case tagMetricGauge, tagMetricSum, tagMetricHist, tagMetricExpHist, tagMetricSummary:
			return true, false
		}
		return false, false
	default:
		return tag == tagDataPoints, true
	}
}

// countRecords counts the records in b, a message at level or its beginning, up to one more than limit. It stops where it
// cannot tell a message that goes on from a broken one.
func countRecords(b []byte, sig Signal, level, limit int) (n int, err error) {
	for i := 0; len(b)-i > 2*binary.MaxVarintLen64 && n <= limit; {
		tag, at := nextTag(b, i)
		if at < 0 || tag>>3 == 0 || tag&7 > wire32 {
			return n, ErrMalformed
		}
		if tag&7 != wireBytes {
			if i = skip(b, at, tag); i < 0 {
				return n, nil
			}
			continue
		}
		size, at := varint(b, at)
		if at < 0 {
			return n, ErrMalformed
		}
		end := len(b)
		if size < uint64(end-at) {
			end = at + int(size)
		}
		i = end
		switch on, record := leadsOn(sig, level, tag); {
		case record && on:
			n++
		case on:
			inner, err := countRecords(b[at:end], sig, level+1, limit-n)
			n += inner
			if err != nil {
				return n, err
			}
		}
	}
	return n, nil
}
