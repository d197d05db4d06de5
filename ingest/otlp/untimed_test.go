package otlp

import (
	"slices"
	"testing"
)

// TestUntimedCountsAcceptedRecordsWithoutATimeOfTheirOwn: two requests with such a record may be equal and both meant, so
// whoever recognises requests must know of each. Rejected records are not stored, and do not count.
func TestUntimedCountsAcceptedRecordsWithoutATimeOfTheirOwn(t *testing.T) {
	const moment = 1788000000000000000
	request := func(records ...[]byte) []byte { return message(1, message(2, slices.Concat(records...))) }
	record := func(fields ...[]byte) []byte { return message(2, slices.Concat(fields...)) }
	log := func(fields ...[]byte) []byte { return record(append(fields, message(5, stringField(1, "text")))...) }
	id := func(n byte) []byte { return message(1, bytesOf(n, traceIDBytes)) }
	span := func(fields ...[]byte) []byte { return record(append(fields, message(2, bytesOf(1, spanIDBytes)))...) }
	gauge := func(points ...[]byte) []byte {
		return record(stringField(1, "up"), message(5, slices.Concat(points...)))
	}
	point := func(fields ...[]byte) []byte {
		return message(1, append(slices.Concat(fields...), fixedField(6, 1)...))
	}
	for _, c := range []struct {
		name     string
		sig      Signal
		body     []byte
		untimed  int
		accepted int
	}{
		{"logs with a time, or observed at one", Logs, request(log(fixedField(1, moment)), log(fixedField(11, moment))), 0, 2},
		{"a log without either among others", Logs, request(log(fixedField(1, moment)), log(), log(fixedField(11, moment))), 1, 3},
		{"logs whose times are zero", Logs, request(log(fixedField(1, 0)), log(fixedField(1, 0), fixedField(11, 0))), 2, 2},
		{"spans with a start", Traces, request(span(id(1), fixedField(7, moment))), 0, 1},
		{"a span with an end alone", Traces, request(span(id(1), fixedField(7, moment)), span(id(1), fixedField(8, moment))), 1, 2},
		{"a rejected span without times", Traces, request(span(id(0)), span(id(1), fixedField(7, moment))), 0, 1},
		{"points with a time", Metrics, request(gauge(point(fixedField(3, moment)), point(fixedField(3, moment)))), 0, 2},
		{"a point without one is rejected", Metrics, request(gauge(point(), point(fixedField(3, moment)))), 0, 1},
		{"a profile with a time", Profiles, profilesOf(zeroTables, goodProfile), 0, 1},
		{"a profile without one", Profiles, profilesOf(zeroTables, goodProfile, oneProfile(sampleOf())), 1, 2},
		{"no records", Logs, request(), 0, 0},
		{"an empty request", Traces, nil, 0, 0},
	} {
		res, _ := decoded(t, c.sig, c.body)
		if res.Untimed != c.untimed || res.Accepted != c.accepted {
			t.Errorf("%s: %d untimed of %d accepted, want %d of %d", c.name, res.Untimed, res.Accepted, c.untimed, c.accepted)
		}
	}
}

func bytesOf(b byte, n int) []byte { return slices.Repeat([]byte{b}, n) }
