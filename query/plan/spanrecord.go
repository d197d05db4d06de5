package plan

import "slices"

// SpanRecords are spans with everything that is stored of them, for interfaces that give whole spans back. Its name is no
// word of a language, and Sources does not list it.
const SpanRecords Source = "span records"

// spanRecordFields follow those of Spans. Keys and values of attributes are lists in stored order, because kinds go by it.
var spanRecordFields = []Field{
	{Name: "start_nanos", Type: Int, Doc: "start as it was sent"},
	{Name: "end_nanos", Type: Int, Doc: "end as it was sent"},
	{Name: "kind_name", Type: String, Doc: "kind as it is stored: its name, or the number of a kind without one"},
	{Name: "status_name", Type: String, Doc: "status code as it is stored"},
	{Name: "attribute_keys", Type: List}, {Name: "attribute_values", Type: List}, {Name: "attribute_kinds", Type: String},
	{Name: "dropped_attributes", Type: Int}, {Name: "dropped_events", Type: Int}, {Name: "dropped_links", Type: Int},
	{Name: "event_times", Type: List}, {Name: "event_names", Type: List},
	{Name: "event_attributes", Type: List, Doc: "a map for each event"},
	{Name: "event_keys", Type: List}, {Name: "event_values", Type: List}, {Name: "event_kinds", Type: List}, {Name: "event_dropped", Type: List},
	{Name: "link_trace_ids", Type: List}, {Name: "link_span_ids", Type: List}, {Name: "link_states", Type: List},
	{Name: "link_keys", Type: List}, {Name: "link_values", Type: List}, {Name: "link_kinds", Type: List},
	{Name: "link_dropped", Type: List}, {Name: "link_flags", Type: List},
	{Name: "resource_schema_url", Type: String},
	{Name: "resource_keys", Type: List}, {Name: "resource_values", Type: List}, {Name: "resource_kinds", Type: String},
	{Name: "resource_dropped", Type: Int}, {Name: "resource_entity_refs", Type: String},
	{Name: "scope_schema_url", Type: String},
	{Name: "scope_keys", Type: List}, {Name: "scope_values", Type: List}, {Name: "scope_kinds", Type: String},
	{Name: "scope_dropped", Type: Int},
}

func init() { catalog[SpanRecords] = slices.Concat(catalog[Spans], spanRecordFields) }

// Key returns the source's column of a catalogue name. It panics on a name that the source does not have: such names come
// from code, not from users.
func (p *Plan) Key(name string) *Column {
	for _, c := range p.Input {
		if c.Key == name {
			return c
		}
	}
	panic("BUG: plan: source " + string(p.Source) + " has no column " + name)
}
