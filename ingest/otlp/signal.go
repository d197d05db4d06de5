package otlp

import (
	"fmt"
	"strings"
)

// Signal is a kind of telemetry.
type Signal uint8

// The signals.
const (
	Logs Signal = iota
	Traces
	Metrics
	Profiles // in development: see profile.go
)

// String returns "logs", "traces", "metrics" or "profiles".
func (s Signal) String() string { return [...]string{"logs", "traces", "metrics", "profiles"}[s] }

// records returns what the signal's records are called in messages to the tenant.
func (s Signal) records() string {
	return [...]string{"log records", "spans", "data points", "profiles"}[s]
}

// Reason says why a record was rejected. The set is closed: it is a metric label.
type Reason uint8

// The reasons.
const (
	InvalidTraceID    Reason = iota // a span's trace id is missing, all zero or not 16 bytes
	InvalidSpanID                   // a span's own id is missing, all zero or not 8 bytes
	NoTime                          // a data point has no time
	NoValue                         // a number point has neither value nor the no-recorded-value flag
	InvalidBuckets                  // a histogram's bounds do not fit its counts
	TooDeep                         // an attribute or a body nests deeper than maxDepth
	TooManyItems                    // a record has more than maxItems attributes, events, links or exemplars
	TooManyDays                     // the request's records lie on more UTC days than Limits.MaxDays
	TooLarge                        // the request's rows exceed Limits.MaxExpansion
	InvalidDictionary               // a profile's request has no dictionary, or one whose tables do not begin with the zero value
	InvalidIndex                    // a profile or its resource refers to what its dictionary does not have
	InvalidSample                   // a profile's sample has neither values nor timestamps, or not as many of one as of the other
	KeyTooLong                      // a key of an attribute or of a map has more than maxKeyBytes
	reasons

	none = reasons // the record is fine
)

var reasonText = [reasons]string{
	"invalid trace id", "invalid span id", "no time", "no value", "invalid buckets", "nested too deep", "too many items",
	"too many days", "too large as rows", "invalid dictionary", "invalid index", "invalid sample", "key too long",
}

// String returns a few words, fit for a tenant's eyes and a metric label.
func (r Reason) String() string { return reasonText[r] }

// Reasons returns all reasons.
func Reasons() []Reason {
	all := make([]Reason, reasons)
	for i := range all {
		all[i] = Reason(i)
	}
	return all
}

// Counts has the number of rejected records by Reason.
type Counts [reasons]int

// message returns the text of a partial success, "" if nothing was rejected.
func (c *Counts) message(sig Signal, accepted, rejected int) string {
	if rejected == 0 {
		return ""
	}
	var b strings.Builder
	fmt.Fprintf(&b, "%d of %d %s rejected: ", rejected, accepted+rejected, sig.records())
	sep := ""
	for r, n := range c {
		if n > 0 {
			fmt.Fprintf(&b, "%s%d %s", sep, n, Reason(r))
			sep = ", "
		}
	}
	return b.String()
}
