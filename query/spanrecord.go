package query

import "maps"

// spanRecordColumns are the columns of plan.SpanRecords that plan.Spans does not have. The keys and values of a map are
// printed apart: an object of JSON would lose nothing, but a reader of objects loses their order.
var spanRecordColumns = map[string]string{
	"start_nanos":          sentTime("Timestamp", "RawTimestamp"),
	"end_nanos":            sentTime("EndTimestamp", "RawEndTimestamp"),
	"kind_name":            "SpanKind",
	"status_name":          "StatusCode",
	"attribute_keys":       "mapKeys(SpanAttributes)",
	"attribute_values":     "mapValues(SpanAttributes)",
	"attribute_kinds":      "SpanAttributesKinds",
	"dropped_attributes":   "DroppedAttrCount",
	"dropped_events":       "DroppedEventsCount",
	"dropped_links":        "DroppedLinksCount",
	"event_times":          "arrayMap((t, r) -> " + sentTime("t", "r") + ", Events.Timestamp, Events.RawTimestamp)",
	"event_names":          "Events.Name",
	"event_attributes":     "Events.Attributes",
	"event_keys":           "arrayMap(m -> mapKeys(m), Events.Attributes)",
	"event_values":         "arrayMap(m -> mapValues(m), Events.Attributes)",
	"event_kinds":          "Events.AttributesKinds",
	"event_dropped":        "Events.DroppedAttrCount",
	"link_trace_ids":       "Links.TraceId",
	"link_span_ids":        "Links.SpanId",
	"link_states":          "Links.TraceState",
	"link_keys":            "arrayMap(m -> mapKeys(m), Links.Attributes)",
	"link_values":          "arrayMap(m -> mapValues(m), Links.Attributes)",
	"link_kinds":           "Links.AttributesKinds",
	"link_dropped":         "Links.DroppedAttrCount",
	"link_flags":           "Links.Flags",
	"resource_schema_url":  "ResourceSchemaUrl",
	"resource_keys":        "mapKeys(ResourceAttributes)",
	"resource_values":      "mapValues(ResourceAttributes)",
	"resource_kinds":       "ResourceAttributesKinds",
	"resource_dropped":     "ResourceDroppedAttrCount",
	"resource_entity_refs": "ResourceEntityRefs",
	"scope_schema_url":     "ScopeSchemaUrl",
	"scope_keys":           "mapKeys(ScopeAttributes)",
	"scope_values":         "mapValues(ScopeAttributes)",
	"scope_kinds":          "ScopeAttributesKinds",
	"scope_dropped":        "ScopeDroppedAttrCount",
}

// sentTime is the time of a pair of columns in nanoseconds, as it was sent: the raw one has what the other cannot hold.
func sentTime(column, raw string) string {
	return "if(" + raw + " = 0, toUInt64(toUnixTimestamp64Nano(" + column + ")), " + raw + ")"
}

func merged(base, more map[string]string) map[string]string {
	maps.Copy(base, more)
	return base
}
