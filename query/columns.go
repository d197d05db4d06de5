package query

import (
	"maps"

	"github.com/headgate-io/headgate/storage/schema"
)

// sqlColumn is how a scan reads one catalogue column of a table.
type sqlColumn struct {
	expr string
	// dear columns are wide: a condition on one is checked after those on others.
	dear bool
}

// columnsOf maps table and catalogue column to SQL. Every expression here is non-throwing on every row.
var columnsOf = map[string]map[string]sqlColumn{
	schema.Logs: with(attributes("LogAttributes", "Timestamp"), map[string]string{
		"severity":        "least(intDiv(SeverityNumber + 3, 4), 6)",
		"body":            "Body",
		"trace_id":        "TraceId",
		"span_id":         "SpanId",
		"severity_number": "SeverityNumber",
		"severity_text":   "SeverityText",
		"event_name":      "EventName",
		"observed_time":   "ObservedTimestamp",
		"flags":           "Flags",
		"pod":             "`__otel_materialized_k8s.pod.name`",
	}),
	schema.Traces: with(merged(attributes("SpanAttributes", "Timestamp"), spanRecordColumns), map[string]string{
		"name":           "SpanName",
		"kind":           "lower(SpanKind)",
		"status":         "lower(StatusCode)",
		"duration":       "Duration",
		"trace_id":       "TraceId",
		"span_id":        "SpanId",
		"parent_span_id": "ParentSpanId",
		"status_message": "StatusMessage",
		"end_time":       "EndTimestamp",
		"trace_state":    "TraceState",
		"flags":          "Flags",
		"events":         "CAST(arrayZip(Events.Timestamp, Events.Name, Events.Attributes), " + eventsType + ")",
		"links":          "CAST(arrayZip(Links.TraceId, Links.SpanId, Links.TraceState, Links.Attributes), " + linksType + ")",
	}),
	schema.MetricsGauge: metric("gauge", map[string]string{
		"value": "coalesce(Value, toFloat64(ValueInt))", "value_int": "ValueInt",
	}),
	schema.MetricsSum: metric("sum", map[string]string{
		"value": "coalesce(Value, toFloat64(ValueInt))", "value_int": "ValueInt",
		"temporality": temporality, "monotonic": "CAST(IsMonotonic, 'Nullable(Bool)')",
	}),
	schema.MetricsHistogram: metric("histogram", map[string]string{
		"count": "toNullable(Count)", "sum": "Sum", "min": "Min", "max": "Max",
		"bounds": "ExplicitBounds", "bucket_counts": "BucketCounts", "temporality": temporality,
	}),
	schema.MetricsExponentialHistogram: metric("exponential_histogram", map[string]string{
		"count": "toNullable(Count)", "sum": "Sum", "min": "Min", "max": "Max",
		"scale": "toNullable(toInt64(Scale))", "zero_count": "toNullable(ZeroCount)",
		"positive_offset": "toNullable(toInt64(PositiveOffset))", "positive_counts": "PositiveBucketCounts",
		"negative_offset": "toNullable(toInt64(NegativeOffset))", "negative_counts": "NegativeBucketCounts",
		"temporality": temporality,
	}),
	schema.MetricsSummary: metric("summary", map[string]string{
		"count": "toNullable(Count)", "sum": "toNullable(Sum)",
		"quantiles": "CAST(arrayZip(ValueAtQuantiles.Quantile, ValueAtQuantiles.Value), " + quantilesType + ")",
	}),
}

// resourceColumns are attributes that a table also has as a column of their own.
var resourceColumns = map[string]map[string]string{
	schema.Logs:   {"service.name": "ServiceName", "k8s.pod.name": "`__otel_materialized_k8s.pod.name`"},
	schema.Traces: {"service.name": "ServiceName"},
}

const temporality = "CAST(transform(AggregationTemporality, [0, 1, 2], ['unspecified', 'delta', 'cumulative'], 'unspecified'), 'Nullable(String)')"

// attributes are the columns that every table has.
func attributes(attrs, time string) map[string]string {
	return map[string]string{
		"time":          time,
		"service":       "ServiceName",
		"attributes":    attrs,
		"resource":      "ResourceAttributes",
		"scope":         "ScopeAttributes",
		"scope_name":    "ScopeName",
		"scope_version": "ScopeVersion",
		"host":          "ResourceAttributes['host.name']",
		"pod":           "ResourceAttributes['k8s.pod.name']",
		"namespace":     "if(ResourceAttributes['k8s.namespace.name'] != '', ResourceAttributes['k8s.namespace.name'], ResourceAttributes['service.namespace'])",
		"route":         attrs + "['http.route']",
		"method":        "if(" + attrs + "['http.request.method'] != '', " + attrs + "['http.request.method'], " + attrs + "['http.method'])",
		"status_code":   "coalesce(toInt64OrNull(" + attrs + "['http.response.status_code']), toInt64OrNull(" + attrs + "['http.status_code']))",
		"tenant":        "TenantId",
	}
}

// metric are the columns of a metric table: what kind lacks is null or empty, and each has one type in all tables, so
// that the scans of a metrics query unite.
func metric(kind string, own map[string]string) map[string]sqlColumn {
	all := attributes("Attributes", "TimeUnix")
	maps.Copy(all, map[string]string{
		"name": "MetricName", "kind": "'" + kind + "'", "unit": "MetricUnit", "description": "MetricDescription",
		"start_time": "StartTimeUnix", "flags": "Flags",
		"value": nullFloat, "value_int": nullInt, "count": "CAST(NULL, 'Nullable(UInt64)')",
		"sum": nullFloat, "min": nullFloat, "max": nullFloat,
		"bounds": emptyLists["bounds"], "bucket_counts": emptyLists["bucket_counts"],
		"quantiles": emptyLists["quantiles"],
		"scale":     nullInt, "zero_count": "CAST(NULL, 'Nullable(UInt64)')",
		"positive_offset": nullInt, "positive_counts": emptyLists["positive_counts"],
		"negative_offset": nullInt, "negative_counts": emptyLists["negative_counts"],
		"temporality": "CAST(NULL, 'Nullable(String)')", "monotonic": "CAST(NULL, 'Nullable(Bool)')",
	})
	return with(all, own)
}

const (
	nullFloat = "CAST(NULL, 'Nullable(Float64)')"
	nullInt   = "CAST(NULL, 'Nullable(Int64)')"
)

// The types of lists, as CAST takes them.
const (
	eventsType    = `'Array(Tuple(time DateTime64(9, \'UTC\'), name String, attributes Map(String, String)))'`
	linksType     = `'Array(Tuple(trace_id String, span_id String, trace_state String, attributes Map(String, String)))'`
	quantilesType = "'Array(Tuple(quantile Float64, value Float64))'"
)

// emptyLists are the lists of the catalogue without an element.
var emptyLists = map[string]string{
	"events": "CAST([], " + eventsType + ")", "links": "CAST([], " + linksType + ")", "quantiles": "CAST([], " + quantilesType + ")",
	"bounds": "emptyArrayFloat64()", "bucket_counts": "emptyArrayUInt64()", "positive_counts": "emptyArrayUInt64()", "negative_counts": "emptyArrayUInt64()",
}

// dear are the catalogue columns that are wide in every table.
var dear = []string{"body", "attributes", "resource", "scope", "host", "namespace", "route", "method", "status_code", "events", "links", "status_message", "trace_state"}

func with(base, own map[string]string) map[string]sqlColumn {
	maps.Copy(base, own)
	out := make(map[string]sqlColumn, len(base))
	for name, expr := range base {
		out[name] = sqlColumn{expr: expr}
	}
	for _, name := range dear {
		if c, ok := out[name]; ok {
			c.dear = true
			out[name] = c
		}
	}
	return out
}

// timeColumn is the column that the time range is about.
func timeColumn(table string) string { return columnsOf[table]["time"].expr }
