package plan

import "strings"

// SeverityNames are the classes of severity by rank: rank 0 is a record without a severity, rank r covers the
// OpenTelemetry numbers 4r-3 to 4r.
var SeverityNames = []string{"unspecified", "trace", "debug", "info", "warn", "error", "fatal"}

var severityRanks = map[string]int{
	"unspecified": 0, "unset": 0, "trace": 1, "debug": 2, "info": 3, "information": 3, "informational": 3, "notice": 3,
	"warn": 4, "warning": 4, "error": 5, "err": 5, "fatal": 6, "critical": 6, "crit": 6, "panic": 6, "emergency": 6,
}

// SeverityRank returns the rank of a severity's name, in any case and with the usual synonyms.
func SeverityRank(name string) (int, bool) {
	r, ok := severityRanks[strings.ToLower(name)]
	return r, ok
}
