package otlp

import "testing"

// The least that any reader of OTLP must do: visit each field of each message once, and keep nothing.

// msg is a message type of OTLP; leaf is a field that is not a message.
type msg uint8

const (
	leaf msg = iota
	mRequestLogs
	mRequestTraces
	mRequestMetrics
	mResourceLogs
	mResourceTraces
	mResourceMetrics
	mScopeLogs
	mScopeTraces
	mScopeMetrics
	mResource
	mScope
	mKeyValue
	mAnyValue
	mArray
	mMap
	mLog
	mSpan
	mEvent
	mLink
	mStatus
	mMetric
	mGauge
	mSum
	mHist
	mExpHist
	mSummary
	mNumberPoint
	mHistPoint
	mExpPoint
	mBuckets
	mSummaryPoint
	mQuantile
	mExemplar
	msgs
)

// submessages has, by message type and field number, the type of the message in the field.
var submessages = [msgs][18]msg{
	mRequestLogs:     {1: mResourceLogs},
	mRequestTraces:   {1: mResourceTraces},
	mRequestMetrics:  {1: mResourceMetrics},
	mResourceLogs:    {1: mResource, 2: mScopeLogs},
	mResourceTraces:  {1: mResource, 2: mScopeTraces},
	mResourceMetrics: {1: mResource, 2: mScopeMetrics},
	mScopeLogs:       {1: mScope, 2: mLog},
	mScopeTraces:     {1: mScope, 2: mSpan},
	mScopeMetrics:    {1: mScope, 2: mMetric},
	mResource:        {1: mKeyValue},
	mScope:           {3: mKeyValue},
	mKeyValue:        {2: mAnyValue},
	mAnyValue:        {5: mArray, 6: mMap},
	mArray:           {1: mAnyValue},
	mMap:             {1: mKeyValue},
	mLog:             {5: mAnyValue, 6: mKeyValue},
	mSpan:            {9: mKeyValue, 11: mEvent, 13: mLink, 15: mStatus},
	mEvent:           {3: mKeyValue},
	mLink:            {4: mKeyValue},
	mMetric:          {5: mGauge, 7: mSum, 9: mHist, 10: mExpHist, 11: mSummary, 12: mKeyValue},
	mGauge:           {1: mNumberPoint},
	mSum:             {1: mNumberPoint},
	mHist:            {1: mHistPoint},
	mExpHist:         {1: mExpPoint},
	mSummary:         {1: mSummaryPoint},
	mNumberPoint:     {5: mExemplar, 7: mKeyValue},
	mHistPoint:       {8: mExemplar, 9: mKeyValue},
	mExpPoint:        {1: mKeyValue, 8: mBuckets, 9: mBuckets, 11: mExemplar},
	mSummaryPoint:    {6: mQuantile, 7: mKeyValue},
	mExemplar:        {7: mKeyValue},
}

// walk sums something of every field.
func walk(b []byte, m msg) (sum uint64, ok bool) {
	for i := 0; i < len(b); {
		var tag, n uint64
		if tag, i = nextTag(b, i); i < 0 {
			return sum, false
		}
		switch tag & 7 {
		case wireVarint:
			n, i = varint(b, i)
			sum += n
		case wire64:
			n, i = fixed64(b, i)
			sum += n
		case wire32:
			var v uint32
			v, i = fixed32(b, i)
			sum += uint64(v)
		case wireBytes:
			var field []byte
			field, i = block(b, i)
			if f := tag >> 3; i >= 0 && f < 18 && submessages[m][f] != leaf {
				n, ok := walk(field, submessages[m][f])
				if !ok {
					return sum, false
				}
				sum += n
			} else if len(field) > 0 {
				sum += uint64(field[0])
			}
		default:
			i = skip(b, i, tag)
		}
		if i < 0 {
			return sum, false
		}
	}
	return sum, true
}

var walked uint64

func BenchmarkWireWalk(b *testing.B) {
	bench(b, func(sig Signal, body []byte) error {
		n, ok := walk(body, mRequestLogs+msg(sig))
		walked += n
		if !ok {
			return ErrMalformed
		}
		return nil
	})
}
