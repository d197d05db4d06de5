package query

import "strings"

// Profile is what the settings profile of a reading account must hold so that the statements of a Reader with these limits
// pass under readonly=1: fixed, which no statement sends otherwise, and the limits, which one may be given less of.
func (l Limits) Profile() (fixed, atMost map[string]any) {
	fixed, atMost = map[string]any{
		"http_write_exception_in_output_format": 0, // the driver's own
	}, map[string]any{}
	for name, value := range l.withDefaults().settings() {
		switch {
		case name == "max_query_size" || name == "max_parser_depth":
			fixed[name] = value
		case strings.HasPrefix(name, "max_"):
			atMost[name] = value
		default:
			fixed[name] = value
		}
	}
	return fixed, atMost
}
