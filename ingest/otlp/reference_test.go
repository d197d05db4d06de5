package otlp

import (
	"bytes"
	"encoding/json"
	"math"
	"strconv"
	"strings"
	"time"

	"go.opentelemetry.io/collector/pdata/pcommon"
	"go.opentelemetry.io/collector/pdata/plog"
	"go.opentelemetry.io/collector/pdata/pmetric"
	"go.opentelemetry.io/collector/pdata/ptrace"

	"github.com/headgate-io/headgate/storage/schema"
)

// refBuilder makes the rows that a request must become from the collector's view of it. It is the oracle: written for
// clarity, from pdata, without anything of the decoder but the names of reasons.
type refBuilder struct {
	st       Stamp
	set      rowSet
	entities []string  // by resource
	series   refSeries // of the metric in hand, without its points' attributes
}

func newRef(st Stamp) *refBuilder {
	return &refBuilder{st: st, set: rowSet{tables: map[string][]row{}}}
}

func (r *refBuilder) reject(why Reason) {
	r.set.rejected++
	r.set.verdicts = append(r.set.verdicts, false)
	r.set.reasons[why]++
}

func clean(s string) string { return strings.ToValidUTF8(s, "\uFFFD") }

// refText is Value.AsString with the two documented differences: NaN, infinities and empty bytes inside arrays and maps.
func refText(v pcommon.Value) string {
	switch v.Type() {
	case pcommon.ValueTypeMap, pcommon.ValueTypeSlice:
		var b bytes.Buffer
		enc := json.NewEncoder(&b)
		enc.SetEscapeHTML(false)
		if err := enc.Encode(refRaw(v)); err != nil {
			panic(err)
		}
		return strings.TrimRight(b.String(), "\n")
	}
	return clean(v.AsString())
}

func refRaw(v pcommon.Value) any {
	switch v.Type() {
	case pcommon.ValueTypeMap:
		m := map[string]any{}
		for k, e := range v.Map().All() {
			m[k] = refRaw(e)
		}
		return m
	case pcommon.ValueTypeSlice:
		s := []any{}
		for _, e := range v.Slice().All() {
			s = append(s, refRaw(e))
		}
		return s
	case pcommon.ValueTypeBytes:
		return append([]byte{}, v.Bytes().AsRaw()...)
	case pcommon.ValueTypeDouble:
		if f := v.Double(); math.IsNaN(f) || math.IsInf(f, 0) {
			return v.AsString()
		}
	}
	return v.AsRaw()
}

func refDepth(v pcommon.Value) int {
	depth := 0
	switch v.Type() {
	case pcommon.ValueTypeMap:
		for _, e := range v.Map().All() {
			depth = max(depth, refDepth(e))
		}
		return depth + 1
	case pcommon.ValueTypeSlice:
		for _, e := range v.Slice().All() {
			depth = max(depth, refDepth(e))
		}
		return depth + 1
	}
	return 0
}

func tooDeep(maps ...pcommon.Map) bool {
	for _, m := range maps {
		for _, v := range m.All() {
			if refDepth(v) > maxDepth {
				return true
			}
		}
	}
	return false
}

func refMap(m pcommon.Map) map[string]string {
	out := map[string]string{}
	for k, v := range m.All() {
		out[clean(k)] = refText(v)
	}
	return out
}

// refTime adds the time ts as the column name, or the latest time that it takes and what was sent.
func (r row) refTime(name string, ts pcommon.Timestamp, latest uint64) {
	r[name], r["Raw"+name] = show(time.Unix(0, int64(min(uint64(ts), latest)))), "0"
	if uint64(ts) > latest {
		r["Raw"+name] = show(uint64(ts))
	}
}

// latestSorted is the last nanosecond that ClickHouse's DateTime has.
var latestSorted = uint64(time.Date(2106, 2, 7, 6, 28, 15, 999999999, time.UTC).UnixNano())

// refRaw64 is what stands beside a time in a Nested.
func refRaw64(ts pcommon.Timestamp) uint64 {
	if uint64(ts) > math.MaxInt64 {
		return uint64(ts)
	}
	return 0
}

// refUnix is the time of a DateTime64(9) column.
func refUnix(ts pcommon.Timestamp) time.Time {
	return time.Unix(0, int64(min(uint64(ts), math.MaxInt64)))
}

func (r *refBuilder) origin(i int, res pcommon.Resource, resURL string, scope pcommon.InstrumentationScope, scopeURL string) row {
	attrs := map[string]string{}
	stamped := withoutTenant(res.Attributes())
	stamped.PutStr("tenant.id", r.st.Tenant.String())
	service := ""
	for k, v := range res.Attributes().All() {
		if k == "tenant.id" {
			continue
		}
		attrs[clean(k)] = refText(v)
		if k == "service.name" {
			service = refText(v)
		}
	}
	attrs["tenant.id"] = r.st.Tenant.String()
	return row{
		"TenantId": r.st.Tenant.String(), "Partition": r.st.Partition, "RetentionDays": show(r.st.RetentionDays),
		"ReceivedAt": show(r.st.Received.Truncate(time.Second)), "RunId": show(uint64(testRunID)),
		"ServiceName": service, "ResourceSchemaUrl": clean(resURL), "ResourceAttributes": show(attrs),
		"ResourceAttributesKinds": refKinds(stamped), "ResourceEntityRefs": r.entities[i],
		"ResourceDroppedAttrCount": show(res.DroppedAttributesCount()),
		"ScopeSchemaUrl":           clean(scopeURL), "ScopeName": clean(scope.Name()), "ScopeVersion": clean(scope.Version()),
		"ScopeAttributes": show(refMap(scope.Attributes())), "ScopeAttributesKinds": refKinds(scope.Attributes()),
		"ScopeDroppedAttrCount": show(scope.DroppedAttributesCount()),
	}
}

// add counts and keeps a row of table: own over origin.
func (r *refBuilder) add(table string, origin, own row) {
	out := row{}
	for k, v := range origin {
		out[k] = v
	}
	for k, v := range own {
		out[k] = v
	}
	r.set.tables[table] = append(r.set.tables[table], out)
	r.set.accepted++
	r.set.verdicts = append(r.set.verdicts, true)
}

func withoutTenant(m pcommon.Map) pcommon.Map {
	out := pcommon.NewMap()
	m.CopyTo(out)
	out.RemoveIf(func(k string, _ pcommon.Value) bool { return k == "tenant.id" })
	return out
}

func (r *refBuilder) logs(ld plog.Logs) rowSet {
	for i, rl := range ld.ResourceLogs().All() {
		for _, sl := range rl.ScopeLogs().All() {
			origin := r.origin(i, rl.Resource(), rl.SchemaUrl(), sl.Scope(), sl.SchemaUrl())
			for _, l := range sl.LogRecords().All() {
				if tooDeep(withoutTenant(rl.Resource().Attributes()), sl.Scope().Attributes(), l.Attributes()) ||
					refDepth(l.Body()) > maxDepth {
					r.reject(TooDeep)
					continue
				}
				ts, source := uint64(l.Timestamp()), "time"
				if ts == 0 {
					ts, source = uint64(l.ObservedTimestamp()), "observed"
				}
				if ts == 0 {
					ts, source = uint64(r.st.Received.UnixNano()), "received"
				}
				severity, raw := int32(l.SeverityNumber()), int32(0)
				if severity < 0 || severity > 255 {
					severity, raw = min(max(severity, 0), 255), severity
				}
				own := row{
					"TimestampSource": source,
					"TraceId":         l.TraceID().String(), "SpanId": l.SpanID().String(),
					"TraceFlags": show(uint8(l.Flags())), "Flags": show(uint32(l.Flags())),
					"SeverityText": clean(l.SeverityText()), "SeverityNumber": show(severity), "RawSeverityNumber": show(raw),
					"Body": refText(l.Body()), "BodyKind": refList([]string{refKind(l.Body())}), "EventName": clean(l.EventName()),
					"LogAttributes": show(refMap(l.Attributes())), "LogAttributesKinds": refKinds(l.Attributes()),
					"DroppedAttrCount": show(l.DroppedAttributesCount()),
				}
				own.refTime("Timestamp", pcommon.Timestamp(ts), latestSorted)
				own.refTime("ObservedTimestamp", l.ObservedTimestamp(), math.MaxInt64)
				r.add(schema.Logs, origin, own)
			}
		}
	}
	return r.set
}

func refEnum(name string, v int32) string {
	if name == "" {
		return strconv.Itoa(int(v))
	}
	return name
}

func (r *refBuilder) traces(td ptrace.Traces) rowSet {
	for i, rs := range td.ResourceSpans().All() {
		for _, ss := range rs.ScopeSpans().All() {
			origin := r.origin(i, rs.Resource(), rs.SchemaUrl(), ss.Scope(), ss.SchemaUrl())
			for _, s := range ss.Spans().All() {
				outer := tooDeep(withoutTenant(rs.Resource().Attributes()), ss.Scope().Attributes())
				maps := []pcommon.Map{s.Attributes()}
				for _, e := range s.Events().All() {
					maps = append(maps, e.Attributes())
				}
				for _, l := range s.Links().All() {
					maps = append(maps, l.Attributes())
				}
				switch {
				case tooDeep(maps...):
					r.reject(TooDeep)
				case s.TraceID().IsEmpty():
					r.reject(InvalidTraceID)
				case s.SpanID().IsEmpty():
					r.reject(InvalidSpanID)
				case outer:
					r.reject(TooDeep)
				default:
					r.add(schema.Traces, origin, refSpan(s))
				}
			}
		}
	}
	return r.set
}

func refSpan(s ptrace.Span) row {
	duration := uint64(0)
	if s.EndTimestamp() > s.StartTimestamp() {
		duration = uint64(s.EndTimestamp() - s.StartTimestamp())
	}
	var et []time.Time
	var er []uint64
	var en, ek, lk []string
	var ea []map[string]string
	var ed []uint32
	for _, e := range s.Events().All() {
		et = append(et, refUnix(e.Timestamp()))
		er = append(er, refRaw64(e.Timestamp()))
		ek = append(ek, refKinds(e.Attributes()))
		en = append(en, clean(e.Name()))
		ea = append(ea, refMap(e.Attributes()))
		ed = append(ed, e.DroppedAttributesCount())
	}
	var lt, ls, lst []string
	var la []map[string]string
	var ld, lf []uint32
	for _, l := range s.Links().All() {
		lt = append(lt, l.TraceID().String())
		ls = append(ls, l.SpanID().String())
		lst = append(lst, clean(l.TraceState().AsRaw()))
		la = append(la, refMap(l.Attributes()))
		lk = append(lk, refKinds(l.Attributes()))
		ld = append(ld, l.DroppedAttributesCount())
		lf = append(lf, l.Flags())
	}
	own := row{
		"Duration": show(duration),
		"TraceId":  s.TraceID().String(), "SpanId": s.SpanID().String(), "ParentSpanId": s.ParentSpanID().String(),
		"TraceState": clean(s.TraceState().AsRaw()), "Flags": show(s.Flags()), "SpanName": clean(s.Name()),
		"SpanKind": refEnum(s.Kind().String(), int32(s.Kind())), "SpanAttributes": show(refMap(s.Attributes())),
		"SpanAttributesKinds": refKinds(s.Attributes()), "Events.RawTimestamp": show(er), "Events.AttributesKinds": show(ek),
		"Links.AttributesKinds": show(lk),
		"DroppedAttrCount":      show(s.DroppedAttributesCount()),
		"StatusCode":            refEnum(s.Status().Code().String(), int32(s.Status().Code())), "StatusMessage": clean(s.Status().Message()),
		"Events.Timestamp": show(et), "Events.Name": show(en), "Events.Attributes": show(ea), "Events.DroppedAttrCount": show(ed),
		"DroppedEventsCount": show(s.DroppedEventsCount()),
		"Links.TraceId":      show(lt), "Links.SpanId": show(ls), "Links.TraceState": show(lst), "Links.Attributes": show(la),
		"Links.DroppedAttrCount": show(ld), "Links.Flags": show(lf), "DroppedLinksCount": show(s.DroppedLinksCount()),
	}
	own.refTime("Timestamp", s.StartTimestamp(), latestSorted)
	own.refTime("EndTimestamp", s.EndTimestamp(), math.MaxInt64)
	return own
}

func (r *refBuilder) metrics(md pmetric.Metrics) rowSet {
	for i, rm := range md.ResourceMetrics().All() {
		for _, sm := range rm.ScopeMetrics().All() {
			origin := r.origin(i, rm.Resource(), rm.SchemaUrl(), sm.Scope(), sm.SchemaUrl())
			series := refOrigin(rm.Resource(), sm.Scope(), sm.SchemaUrl())
			for _, m := range sm.Metrics().All() {
				r.series = series.of(m)
				deep := tooDeep(withoutTenant(rm.Resource().Attributes()), sm.Scope().Attributes(), m.Metadata())
				r.metric(origin, m, deep)
			}
		}
	}
	return r.set
}

func (r *refBuilder) metric(origin row, m pmetric.Metric, deep bool) {
	base := row{}
	for k, v := range origin {
		base[k] = v
	}
	base["MetricName"], base["MetricDescription"], base["MetricUnit"] = clean(m.Name()), clean(m.Description()), clean(m.Unit())
	base["MetricMetadata"], base["MetricMetadataKinds"] = show(refMap(m.Metadata())), refKinds(m.Metadata())
	switch m.Type() {
	case pmetric.MetricTypeGauge:
		r.numbers(schema.MetricsGauge, base, m.Gauge().DataPoints(), deep)
	case pmetric.MetricTypeSum:
		base["AggregationTemporality"] = show(int32(m.Sum().AggregationTemporality()))
		base["IsMonotonic"] = show(m.Sum().IsMonotonic())
		r.numbers(schema.MetricsSum, base, m.Sum().DataPoints(), deep)
	case pmetric.MetricTypeHistogram:
		base["AggregationTemporality"] = show(int32(m.Histogram().AggregationTemporality()))
		for _, p := range m.Histogram().DataPoints().All() {
			r.histogram(base, p, deep)
		}
	case pmetric.MetricTypeExponentialHistogram:
		base["AggregationTemporality"] = show(int32(m.ExponentialHistogram().AggregationTemporality()))
		for _, p := range m.ExponentialHistogram().DataPoints().All() {
			r.expHistogram(base, p, deep)
		}
	case pmetric.MetricTypeSummary:
		for _, p := range m.Summary().DataPoints().All() {
			r.summary(base, p, deep)
		}
	}
}

type anyPoint interface {
	Attributes() pcommon.Map
	StartTimestamp() pcommon.Timestamp
	Timestamp() pcommon.Timestamp
	Flags() pmetric.DataPointFlags
}

// point checks what is common to points and adds it to own.
func (r *refBuilder) point(own row, p anyPoint, deep bool, ex pmetric.ExemplarSlice, wrong bool, why Reason) bool {
	maps := []pcommon.Map{p.Attributes()}
	for _, e := range ex.All() {
		maps = append(maps, e.FilteredAttributes())
	}
	switch {
	case tooDeep(maps...):
		r.reject(TooDeep)
		return false
	case wrong:
		r.reject(why)
		return false
	case p.Timestamp() == 0:
		r.reject(NoTime)
		return false
	case deep:
		r.reject(TooDeep)
		return false
	}
	own.refTime("TimeUnix", p.Timestamp(), latestSorted)
	own.refTime("StartTimeUnix", p.StartTimestamp(), math.MaxInt64)
	own["AttributesKinds"] = refKinds(p.Attributes())
	own["SeriesId"] = show(r.series.id(refMap(p.Attributes())))
	own["Attributes"], own["Flags"] = show(refMap(p.Attributes())), show(uint32(p.Flags()))
	return true
}

func (r *refBuilder) numbers(table string, base row, points pmetric.NumberDataPointSlice, deep bool) {
	for _, p := range points.All() {
		own := row{"Value": "NULL", "ValueInt": "NULL"}
		none := p.ValueType() == pmetric.NumberDataPointValueTypeEmpty && !p.Flags().NoRecordedValue()
		if !r.point(own, p, deep, p.Exemplars(), none, NoValue) {
			continue
		}
		if !p.Flags().NoRecordedValue() {
			switch p.ValueType() {
			case pmetric.NumberDataPointValueTypeInt:
				own["Value"], own["ValueInt"] = show(float64(p.IntValue())), show(p.IntValue())
			case pmetric.NumberDataPointValueTypeDouble:
				own["Value"] = show(p.DoubleValue())
			}
		}
		refExemplars(own, p.Exemplars())
		r.add(table, base, own)
	}
}

func refExemplars(own row, list pmetric.ExemplarSlice) {
	var attrs []map[string]string
	var times []time.Time
	var values []*float64
	var ints []*int64
	var spans, traces, kinds []string
	var raw []uint64
	for _, e := range list.All() {
		attrs = append(attrs, refMap(e.FilteredAttributes()))
		kinds = append(kinds, refKinds(e.FilteredAttributes()))
		times = append(times, refUnix(e.Timestamp()))
		raw = append(raw, refRaw64(e.Timestamp()))
		spans = append(spans, e.SpanID().String())
		traces = append(traces, e.TraceID().String())
		var f *float64
		var n *int64
		switch e.ValueType() {
		case pmetric.ExemplarValueTypeInt:
			i, d := e.IntValue(), float64(e.IntValue())
			f, n = &d, &i
		case pmetric.ExemplarValueTypeDouble:
			d := e.DoubleValue()
			f = &d
		}
		values, ints = append(values, f), append(ints, n)
	}
	own["Exemplars.FilteredAttributes"], own["Exemplars.TimeUnix"] = show(attrs), show(times)
	own["Exemplars.FilteredAttributesKinds"], own["Exemplars.RawTimeUnix"] = show(kinds), show(raw)
	own["Exemplars.Value"], own["Exemplars.ValueInt"] = show(values), show(ints)
	own["Exemplars.SpanId"], own["Exemplars.TraceId"] = show(spans), show(traces)
}

func refOptional(has bool, v float64, flags pmetric.DataPointFlags) string {
	if !has || flags.NoRecordedValue() {
		return "NULL"
	}
	return show(v)
}

func (r *refBuilder) histogram(base row, p pmetric.HistogramDataPoint, deep bool) {
	own := row{}
	counts, bounds := p.BucketCounts().AsRaw(), p.ExplicitBounds().AsRaw()
	fits := len(counts) == 0 && len(bounds) == 0 || len(counts) == len(bounds)+1
	if !r.point(own, p, deep, p.Exemplars(), !fits && !p.Flags().NoRecordedValue(), InvalidBuckets) {
		return
	}
	if !fits {
		counts, bounds = nil, nil
	}
	own["Count"] = show(p.Count())
	own["Sum"] = refOptional(p.HasSum(), p.Sum(), p.Flags())
	own["Min"] = refOptional(p.HasMin(), p.Min(), p.Flags())
	own["Max"] = refOptional(p.HasMax(), p.Max(), p.Flags())
	own["BucketCounts"], own["ExplicitBounds"] = show(counts), show(bounds)
	refExemplars(own, p.Exemplars())
	r.add(schema.MetricsHistogram, base, own)
}

func (r *refBuilder) expHistogram(base row, p pmetric.ExponentialHistogramDataPoint, deep bool) {
	own := row{}
	if !r.point(own, p, deep, p.Exemplars(), false, none) {
		return
	}
	own["Count"] = show(p.Count())
	own["Sum"] = refOptional(p.HasSum(), p.Sum(), p.Flags())
	own["Min"] = refOptional(p.HasMin(), p.Min(), p.Flags())
	own["Max"] = refOptional(p.HasMax(), p.Max(), p.Flags())
	own["Scale"], own["ZeroCount"], own["ZeroThreshold"] = show(p.Scale()), show(p.ZeroCount()), show(p.ZeroThreshold())
	own["PositiveOffset"], own["PositiveBucketCounts"] = show(p.Positive().Offset()), show(p.Positive().BucketCounts().AsRaw())
	own["NegativeOffset"], own["NegativeBucketCounts"] = show(p.Negative().Offset()), show(p.Negative().BucketCounts().AsRaw())
	refExemplars(own, p.Exemplars())
	r.add(schema.MetricsExponentialHistogram, base, own)
}

func (r *refBuilder) summary(base row, p pmetric.SummaryDataPoint, deep bool) {
	own := row{}
	if !r.point(own, p, deep, pmetric.NewExemplarSlice(), false, none) {
		return
	}
	var quantiles, values []float64
	for _, q := range p.QuantileValues().All() {
		quantiles, values = append(quantiles, q.Quantile()), append(values, q.Value())
	}
	own["Count"], own["Sum"] = show(p.Count()), show(p.Sum())
	own["ValueAtQuantiles.Quantile"], own["ValueAtQuantiles.Value"] = show(quantiles), show(values)
	r.add(schema.MetricsSummary, base, own)
}

// reference reads body with pdata and says what it must become.
func reference(sig Signal, body []byte, st Stamp) (rowSet, error) {
	set, err := referenceRows(sig, body, st)
	set.billed = int64(len(body))
	sizes := recordSizes(body, mRequestLogs+msg(sig))
	for i, accepted := range set.verdicts {
		if !accepted {
			set.billed -= int64(sizes[i])
		}
	}
	return set, err
}

func referenceRows(sig Signal, body []byte, st Stamp) (rowSet, error) {
	r := newRef(st)
	r.entities = refEntities(body)
	switch sig {
	case Logs:
		ld, err := (&plog.ProtoUnmarshaler{}).UnmarshalLogs(body)
		if err != nil {
			return rowSet{}, err
		}
		return r.logs(ld), nil
	case Traces:
		td, err := (&ptrace.ProtoUnmarshaler{}).UnmarshalTraces(body)
		if err != nil {
			return rowSet{}, err
		}
		return r.traces(td), nil
	default:
		md, err := (&pmetric.ProtoUnmarshaler{}).UnmarshalMetrics(body)
		if err != nil {
			return rowSet{}, err
		}
		return r.metrics(md), nil
	}
}
