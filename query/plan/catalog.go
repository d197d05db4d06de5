package plan

import "slices"

// Field is a column of a source as users see it.
type Field struct {
	Name     string
	Type     Type
	Nullable bool
	Lower    bool
	Values   []string
	Also     []string // other names that mean the same
	Doc      string   // one line for guides and completion
}

// The columns that every source has, around the ones of its own. The first column of a source is its time.
var (
	shared = []Field{
		{Name: "attributes", Type: Map, Also: []string{"attr"}, Doc: "the record's attributes: attr[\"http.route\"], attr.http.route"},
		{Name: "resource", Type: Map, Doc: "the resource's attributes: resource.service.name"},
		{Name: "scope", Type: Map, Doc: "the instrumentation scope's attributes"},
		{Name: "scope_name", Type: String, Doc: "name of the instrumentation scope"},
		{Name: "scope_version", Type: String, Doc: "version of the instrumentation scope"},
		{Name: "host", Type: String, Doc: "resource host.name"},
		{Name: "pod", Type: String, Doc: "resource k8s.pod.name"},
		{Name: "namespace", Type: String, Doc: "resource k8s.namespace.name, else service.namespace"},
		{Name: "route", Type: String, Doc: "attribute http.route"},
		{Name: "method", Type: String, Doc: "attribute http.request.method, else http.method"},
		{Name: "status_code", Type: Int, Nullable: true, Doc: "attribute http.response.status_code, else http.status_code"},
		{Name: "tenant", Type: String, Doc: "id of the tenant that owns the row"},
	}
	traceID = Field{Name: "trace_id", Type: String, Lower: true, Doc: "trace id in lower-case hex"}
	spanID  = Field{Name: "span_id", Type: String, Lower: true, Doc: "span id in lower-case hex"}
	service = Field{Name: "service", Type: String, Also: []string{"service_name"}, Doc: "resource service.name"}
)

// MetricKinds are the values of the column kind of metrics.
var MetricKinds = []string{"gauge", "sum", "histogram", "exponential_histogram", "summary"}

var catalog = map[Source][]Field{
	Logs: slices.Concat([]Field{
		{Name: "time", Type: Time, Also: []string{"timestamp"}, Doc: "time of the record"},
		service,
		{Name: "severity", Type: Severity, Also: []string{"level"}, Doc: "unspecified, trace, debug, info, warn, error or fatal"},
		{Name: "body", Type: String, Also: []string{"message", "msg"}, Doc: "the record's text"},
		traceID, spanID,
		{Name: "severity_number", Type: Int, Doc: "severity as the OpenTelemetry number, 0 to 24"},
		{Name: "severity_text", Type: String, Doc: "severity as the sender wrote it"},
		{Name: "event_name", Type: String, Doc: "name of the event, for log records that are events"},
		{Name: "observed_time", Type: Time, Doc: "time at which the record was observed"},
		{Name: "flags", Type: Int, Doc: "W3C trace flags"},
	}, shared),
	Spans: slices.Concat([]Field{
		{Name: "time", Type: Time, Also: []string{"timestamp", "start_time"}, Doc: "start of the span"},
		service,
		{Name: "name", Type: String, Also: []string{"operation", "span_name"}, Doc: "name of the span"},
		{Name: "kind", Type: String, Lower: true, Values: []string{"unspecified", "internal", "server", "client", "producer", "consumer"}, Doc: "kind of the span"},
		{Name: "status", Type: String, Lower: true, Values: []string{"unset", "ok", "error"}, Doc: "status of the span"},
		{Name: "duration", Type: Duration, Doc: "end less start"},
		traceID, spanID,
		{Name: "parent_span_id", Type: String, Lower: true, Also: []string{"parent_id"}, Doc: "id of the parent span, empty for a root"},
		{Name: "status_message", Type: String, Doc: "text of the status"},
		{Name: "end_time", Type: Time, Doc: "end of the span"},
		{Name: "trace_state", Type: String, Doc: "W3C trace state"},
		{Name: "flags", Type: Int, Doc: "W3C trace flags"},
		{Name: "events", Type: List, Doc: "the span's events: time, name, attributes"},
		{Name: "links", Type: List, Doc: "the span's links: trace_id, span_id, trace_state, attributes"},
	}, shared),
	Metrics: slices.Concat([]Field{
		{Name: "time", Type: Time, Also: []string{"timestamp"}, Doc: "time of the data point"},
		service,
		{Name: "name", Type: String, Also: []string{"metric", "metric_name"}, Doc: "name of the metric"},
		{Name: "kind", Type: String, Lower: true, Values: MetricKinds, Doc: "gauge, sum, histogram, exponential_histogram or summary"},
		{Name: "value", Type: Float, Nullable: true, Doc: "value of a gauge or sum, integers too"},
		{Name: "value_int", Type: Int, Nullable: true, Doc: "value of a gauge or sum that was sent as an integer"},
		{Name: "unit", Type: String, Doc: "unit of the metric"},
		{Name: "description", Type: String, Doc: "description of the metric"},
		{Name: "start_time", Type: Time, Doc: "start of the interval that the point covers"},
		{Name: "count", Type: Int, Nullable: true, Doc: "count of a histogram or summary"},
		{Name: "sum", Type: Float, Nullable: true, Doc: "sum of a histogram or summary"},
		{Name: "min", Type: Float, Nullable: true, Doc: "smallest value of a histogram"},
		{Name: "max", Type: Float, Nullable: true, Doc: "largest value of a histogram"},
		{Name: "bounds", Type: List, Doc: "upper bounds of a histogram's buckets"},
		{Name: "bucket_counts", Type: List, Doc: "counts of a histogram's buckets"},
		{Name: "quantiles", Type: List, Doc: "quantiles of a summary: quantile, value"},
		{Name: "scale", Type: Int, Nullable: true, Doc: "scale of an exponential histogram"},
		{Name: "zero_count", Type: Int, Nullable: true, Doc: "zero count of an exponential histogram"},
		{Name: "positive_offset", Type: Int, Nullable: true, Doc: "offset of the positive buckets of an exponential histogram"},
		{Name: "positive_counts", Type: List, Doc: "positive bucket counts of an exponential histogram"},
		{Name: "negative_offset", Type: Int, Nullable: true, Doc: "offset of the negative buckets of an exponential histogram"},
		{Name: "negative_counts", Type: List, Doc: "negative bucket counts of an exponential histogram"},
		{Name: "temporality", Type: String, Nullable: true, Lower: true, Values: []string{"unspecified", "delta", "cumulative"}, Doc: "temporality of a sum or histogram"},
		{Name: "monotonic", Type: Bool, Nullable: true, Doc: "whether a sum only grows"},
		{Name: "flags", Type: Int, Doc: "data point flags"},
	}, shared),
}

// Fields returns the columns of src in the order in which results show them. The caller must not change them.
func Fields(src Source) []Field { return catalog[src] }

// Sources lists the closed set of sources.
func Sources() []Source { return []Source{Logs, Spans, Metrics} }
