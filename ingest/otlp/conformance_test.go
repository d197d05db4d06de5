package otlp

import (
	"bytes"
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"

	"google.golang.org/protobuf/encoding/protowire"

	"github.com/headgate-io/headgate/storage/schema"
)

// Requests of one record or one point.

func logWith(fields ...[]byte) []byte { return message(1, message(2, message(2, fields...))) }

func logRow(t *testing.T, fields ...[]byte) row {
	t.Helper()
	_, set := decoded(t, Logs, logWith(fields...))
	if len(set.tables[schema.Logs]) != 1 {
		t.Fatalf("%d rows, want 1", len(set.tables[schema.Logs]))
	}
	return set.tables[schema.Logs][0]
}

var (
	goodTrace = bytes.Repeat([]byte{0xab}, 16)
	goodSpan  = bytes.Repeat([]byte{0xcd}, 8)
)

func bytesField(num protowire.Number, b []byte) []byte { return message(num, b) }

func spanWith(trace, span []byte, fields ...[]byte) []byte {
	return message(2, bytesField(1, trace), bytesField(2, span), slices.Concat(fields...))
}

func TestD5LastValueOfARepeatedKeyIsKept(t *testing.T) {
	r := logRow(t, fixedField(1, 5), attrField(6, "k", "1"), attrField(6, "x", "y"), attrField(6, "k", "2"), attrField(6, "k", "3"))
	if got, want := r["LogAttributes"], `{"k":"3" "x":"y" }`; got != want {
		t.Errorf("LogAttributes = %s, want %s", got, want)
	}
	body := message(1, message(1, attrField(1, "service.name", "first"), attrField(1, "service.name", "last")),
		message(2, message(1, attrField(3, "s", "1"), attrField(3, "s", "2")), message(2, fixedField(1, 5))))
	_, set := decoded(t, Logs, body)
	r = set.tables[schema.Logs][0]
	if r["ServiceName"] != "last" || r["ScopeAttributes"] != `{"s":"2" }` ||
		r["ResourceAttributes"] != `{"service.name":"last" "tenant.id":"acme" }` {
		t.Errorf("row %v", r)
	}
	nested := message(5, message(6, attrField(1, "b", "1"), attrField(1, "a", "0"), attrField(1, "b", "2")))
	if got := logRow(t, fixedField(1, 5), nested)["Body"]; got != `{"a":"0","b":"2"}` {
		t.Errorf("Body = %s", got)
	}
}

// A row must hold a key once, or ClickHouse's map functions give the wrong one. The set of rows above cannot show that.
func TestD5RepeatedKeysLeaveNoSecondPair(t *testing.T) {
	var fields [][]byte
	for range 1000 {
		fields = append(fields, attrField(6, "k", strings.Repeat("v", 100)))
	}
	res, _ := decoded(t, Logs, logWith(fields...))
	if n := bytes.Count(uncompressed(t, res.Rows[0].Encode().Data), []byte("vvvv")); n > 25 {
		t.Errorf("the value of a repeated key is there %d times", n/25)
	}
}

func TestD6EmptyKeyIsKept(t *testing.T) {
	noKey := message(6, message(2, stringField(1, "v")))
	if got := logRow(t, fixedField(1, 5), noKey)["LogAttributes"]; got != `{"":"v" }` {
		t.Errorf("LogAttributes = %s", got)
	}
}

func TestD5RepeatedKeysAreFoundAmongMany(t *testing.T) {
	for _, again := range []int{0, 62, 63, 64, 65, 99} {
		fields := [][]byte{fixedField(1, 5)}
		for i := range 100 {
			fields = append(fields, attrField(6, fmt.Sprint("k", i), "first"))
		}
		fields = append(fields, attrField(6, fmt.Sprint("k", again), "last"))
		res, _ := decoded(t, Logs, logWith(fields...))
		block := uncompressed(t, res.Rows[0].Encode().Data)
		if first, last := bytes.Count(block, []byte("first")), bytes.Count(block, []byte("last")); first != 99 || last != 1 {
			t.Errorf("k%d again: %d first and %d last values, want 99 and 1", again, first, last)
		}
	}
}

func TestD7InvalidUTF8IsReplacedNotRefused(t *testing.T) {
	bad := "a\xff\xfeb\x00"
	body := message(1, message(1, attrField(1, bad, bad)), stringField(3, bad),
		message(2, message(1, stringField(1, bad), stringField(2, bad), attrField(3, bad, bad)), stringField(3, bad),
			message(2, fixedField(1, 5), stringField(3, bad), message(5, stringField(1, bad)), stringField(12, bad), attrField(6, bad, bad))))
	res, set := decoded(t, Logs, body)
	const want = "a\uFFFDb\x00"
	r := set.tables[schema.Logs][0]
	for _, c := range []string{"SeverityText", "Body", "EventName", "ScopeName", "ScopeVersion", "ScopeSchemaUrl", "ResourceSchemaUrl"} {
		if r[c] != want {
			t.Errorf("%s = %q, want %q", c, r[c], want)
		}
	}
	if bytes.Contains(uncompressed(t, res.Rows[0].Encode().Data), []byte("\xff\xfe")) {
		t.Error("the block has the invalid bytes")
	}
	// Different invalid keys become one key: the last value is kept.
	r = logRow(t, fixedField(1, 5), attrField(6, "\xff", "1"), attrField(6, "\xfe", "2"))
	if r["LogAttributes"] != `{"`+"\uFFFD"+`":"2" }` {
		t.Errorf("LogAttributes = %s", r["LogAttributes"])
	}
}

func TestD8InvalidIDsOfLogsAreNotAssociated(t *testing.T) {
	for _, tc := range []struct {
		trace, span         []byte
		wantTrace, wantSpan string
	}{
		{goodTrace, goodSpan, strings.Repeat("ab", 16), strings.Repeat("cd", 8)},
		{make([]byte, 16), make([]byte, 8), "", ""},
		{goodTrace[:15], goodSpan[:7], "", ""},
		{append(goodTrace[:16:16], 1), append(goodSpan[:8:8], 1), "", ""},
		{nil, goodSpan, "", strings.Repeat("cd", 8)}, // L6: a span id without a trace id is kept
	} {
		r := logRow(t, fixedField(1, 5), bytesField(9, tc.trace), bytesField(10, tc.span))
		if r["TraceId"] != tc.wantTrace || r["SpanId"] != tc.wantSpan {
			t.Errorf("ids %x %x = %q %q, want %q %q", tc.trace, tc.span, r["TraceId"], r["SpanId"], tc.wantTrace, tc.wantSpan)
		}
	}
}

func TestD8InvalidSpanIDIsRejectedAlone(t *testing.T) {
	good := spanWith(goodTrace, goodSpan, stringField(5, "good"))
	for _, tc := range []struct {
		name        string
		trace, span []byte
		want        Reason
	}{
		{"no trace id", nil, goodSpan, InvalidTraceID},
		{"zero trace id", make([]byte, 16), goodSpan, InvalidTraceID},
		{"hex trace id", []byte(strings.Repeat("ab", 16)), goodSpan, InvalidTraceID},
		{"no span id", goodTrace, nil, InvalidSpanID},
		{"zero span id", goodTrace, make([]byte, 8), InvalidSpanID},
		{"long span id", goodTrace, goodTrace, InvalidSpanID},
	} {
		t.Run(tc.name, func(t *testing.T) {
			bad := spanWith(tc.trace, tc.span, stringField(5, "bad"), attrField(9, "a", "b"),
				message(11, fixedField(1, 9), stringField(2, "event"), attrField(3, "c", "d")),
				message(13, bytesField(1, goodTrace), attrField(4, "e", "f")))
			body := message(1, message(2, good, bad, good, bad, good))
			res, set := decoded(t, Traces, body)
			if res.Accepted != 3 || res.Rejected != 2 || res.Reasons[tc.want] != 2 {
				t.Errorf("accepted %d, rejected %d, reasons %v", res.Accepted, res.Rejected, res.Reasons)
			}
			if want := int64(len(body) - 2*len(bad)); res.BilledBytes != want {
				t.Errorf("billed %d, want %d", res.BilledBytes, want)
			}
			for _, r := range set.tables[schema.Traces] {
				if r["SpanName"] != "good" || r["SpanAttributes"] != "{}" || r["Events.Name"] != "[]" || r["Links.SpanId"] != "[]" {
					t.Errorf("row %v", r)
				}
			}
			if want := "2 of 5 spans rejected: 2 " + tc.want.String(); res.Message != want {
				t.Errorf("message %q, want %q", res.Message, want)
			}
		})
	}
}

func TestD8InvalidParentIsRoot(t *testing.T) {
	for _, parent := range [][]byte{nil, make([]byte, 8), goodSpan[:5]} {
		_, set := decoded(t, Traces, message(1, message(2, spanWith(goodTrace, goodSpan, bytesField(4, parent)))))
		if got := set.tables[schema.Traces][0]["ParentSpanId"]; got != "" {
			t.Errorf("parent %x = %q, want none", parent, got)
		}
	}
}

func TestD12StringReferencesAreEmpty(t *testing.T) {
	ref := message(6, uintField(3, 5), message(2, uintField(8, 2)))
	if got := logRow(t, fixedField(1, 5), ref)["LogAttributes"]; got != `{"":"" }` {
		t.Errorf("LogAttributes = %s", got)
	}
}

func TestD14TimesThatNoColumnHoldsAreClampedAndKept(t *testing.T) {
	const last = "4294967295999999999"
	for _, tc := range []struct {
		time, observed            uint64
		want, wantRaw, wantSource string
		wantObserved, wantRawObs  string
	}{
		{1, 2, "1", "0", "time", "2", "0"},
		{0, 2, "2", "0", "observed", "2", "0"},
		{0, 0, "1788258030123456789", "0", "received", "0", "0"},
		{maxSortTime, 0, last, "0", "time", "0", "0"},
		{maxSortTime + 1, 0, last, "4294967296000000000", "time", "0", "0"},
		{math.MaxInt64, 3, last, "9223372036854775807", "time", "3", "0"},
		{math.MaxUint64, math.MaxInt64, last, "18446744073709551615", "time", "9223372036854775807", "0"},
		{0, math.MaxUint64, last, "18446744073709551615", "observed", "9223372036854775807", "18446744073709551615"},
	} {
		r := logRow(t, fixedField(1, tc.time), fixedField(11, tc.observed))
		if r["Timestamp"] != tc.want || r["RawTimestamp"] != tc.wantRaw || r["TimestampSource"] != tc.wantSource {
			t.Errorf("times %d %d = %s, raw %s (%s), want %s, raw %s (%s)", tc.time, tc.observed,
				r["Timestamp"], r["RawTimestamp"], r["TimestampSource"], tc.want, tc.wantRaw, tc.wantSource)
		}
		if r["ObservedTimestamp"] != tc.wantObserved || r["RawObservedTimestamp"] != tc.wantRawObs {
			t.Errorf("observed %d = %s, raw %s, want %s, raw %s", tc.observed,
				r["ObservedTimestamp"], r["RawObservedTimestamp"], tc.wantObserved, tc.wantRawObs)
		}
	}
}

func TestL2SeveritiesThatTheColumnDoesNotHoldAreClampedAndKept(t *testing.T) {
	for v, want := range map[uint64][2]string{
		0: {"0", "0"}, 9: {"9", "0"}, 24: {"24", "0"}, 255: {"255", "0"}, 300: {"255", "300"},
		math.MaxInt32: {"255", "2147483647"}, math.MaxUint64: {"0", "-1"},
	} {
		r := logRow(t, uintField(2, v))
		if got := [2]string{r["SeverityNumber"], r["RawSeverityNumber"]}; got != want {
			t.Errorf("severity %d = %v, want %v", v, got, want)
		}
	}
}

func TestL5FlagsAreKeptWhole(t *testing.T) {
	flags := protowire.AppendFixed32(protowire.AppendTag(nil, 8, protowire.Fixed32Type), 0xdeadbe01)
	if r := logRow(t, flags); r["TraceFlags"] != "1" || r["Flags"] != "3735928321" {
		t.Errorf("TraceFlags %s, Flags %s", r["TraceFlags"], r["Flags"])
	}
}

func TestR2UnknownKindsAndCodesAreNumbers(t *testing.T) {
	for v, want := range map[uint64][2]string{
		0: {"Unspecified", "Unset"}, 1: {"Internal", "Ok"}, 2: {"Server", "Error"}, 3: {"Client", "3"}, 4: {"Producer", "4"},
		5: {"Consumer", "5"}, 99: {"99", "99"}, math.MaxUint64: {"-1", "-1"},
	} {
		_, set := decoded(t, Traces, message(1, message(2, spanWith(goodTrace, goodSpan, uintField(6, v), message(15, uintField(3, v))))))
		r := set.tables[schema.Traces][0]
		if got := [2]string{r["SpanKind"], r["StatusCode"]}; got != want {
			t.Errorf("kind and code %d = %v, want %v", v, got, want)
		}
	}
}

func TestR3SpanThatEndsBeforeItStartsHasNoDuration(t *testing.T) {
	for _, tc := range []struct {
		start, end uint64
		want       string
	}{{10, 3, "0"}, {3, 10, "7"}, {0, math.MaxUint64, "18446744073709551615"}, {math.MaxUint64, 0, "0"}} {
		_, set := decoded(t, Traces, message(1, message(2, spanWith(goodTrace, goodSpan, fixedField(7, tc.start), fixedField(8, tc.end)))))
		if got := set.tables[schema.Traces][0]["Duration"]; got != tc.want {
			t.Errorf("span %d to %d: duration %s, want %s", tc.start, tc.end, got, tc.want)
		}
	}
}

// metricWith is a request of one metric with one point of the kind in field num of Metric.
func metricWith(num protowire.Number, point ...[]byte) []byte {
	return message(1, message(2, message(2, stringField(1, "m"), message(num, message(1, point...)))))
}

func TestMetricPointsThatBreakRulesAreRejected(t *testing.T) {
	doubles := func(num protowire.Number, v ...float64) (b []byte) {
		for _, v := range v {
			b = protowire.AppendFixed64(b, math.Float64bits(v))
		}
		return message(num, b)
	}
	at := fixedField(3, 5)
	noRecorded := func(num protowire.Number) []byte { return uintField(num, 1) }
	for _, tc := range []struct {
		name string
		body []byte
		want Reason
	}{
		{"M2 no value", metricWith(5, at), NoValue},
		{"M2 int", metricWith(5, at, fixedField(6, 1)), none},
		{"M2 double", metricWith(7, at, fixedField(4, 1)), none},
		{"M3 no time", metricWith(5, fixedField(6, 1)), NoTime},
		{"M3 no time, histogram", metricWith(9, fixedField(4, 1)), NoTime},
		{"M3 no time, exponential histogram", metricWith(10, fixedField(4, 1)), NoTime},
		{"M3 no time, summary", metricWith(11, fixedField(4, 1)), NoTime},
		{"M5 no recorded value", metricWith(5, at, noRecorded(8)), none},
		{"M5 no recorded value, histogram of odd shape", metricWith(9, at, noRecorded(10), doubles(7, 1)), none},
		{"M6 no buckets", metricWith(9, at, fixedField(4, 3)), none},
		{"M6 one bucket, no bounds", metricWith(9, at, doubles(6, 1)), none},
		{"M6 n+1 counts", metricWith(9, at, doubles(6, 1, 2), doubles(7, 1)), none},
		{"M6 bounds without counts", metricWith(9, at, doubles(7, 1)), InvalidBuckets},
		{"M6 as many counts as bounds", metricWith(9, at, doubles(6, 1, 2), doubles(7, 1, 2)), InvalidBuckets},
		{"M6 too many counts", metricWith(9, at, doubles(6, 1, 2, 3), doubles(7, 1)), InvalidBuckets},
		{"M7 empty exponential histogram", metricWith(10, at), none},
	} {
		t.Run(tc.name, func(t *testing.T) {
			res, _ := decoded(t, Metrics, tc.body)
			if tc.want == none {
				if res.Accepted != 1 || res.Rejected != 0 || res.BilledBytes != int64(len(tc.body)) {
					t.Errorf("accepted %d, rejected %d, billed %d of %d", res.Accepted, res.Rejected, res.BilledBytes, len(tc.body))
				}
				return
			}
			if res.Accepted != 0 || res.Rejected != 1 || res.Reasons[tc.want] != 1 || len(res.Rows) != 0 {
				t.Errorf("accepted %d, rejected %d, reasons %v", res.Accepted, res.Rejected, res.Reasons)
			}
			if sizes := recordSizes(tc.body, mRequestMetrics); res.BilledBytes != int64(len(tc.body)-sizes[0]) {
				t.Errorf("billed %d of %d, the point has %d", res.BilledBytes, len(tc.body), sizes[0])
			}
		})
	}
}

func TestM1MetricWithoutDataIsAcceptedAndNothing(t *testing.T) {
	for _, metric := range [][]byte{stringField(1, "m"), message(5), message(10), message(13, []byte{8, 1})} {
		body := message(1, message(2, message(2, metric)))
		res, _ := decoded(t, Metrics, body)
		if res.Accepted != 0 || res.Rejected != 0 || len(res.Rows) != 0 || res.BilledBytes != int64(len(body)) || res.Message != "" {
			t.Errorf("metric %x: %+v", metric, res)
		}
	}
}

func TestM2IntegersStayExact(t *testing.T) {
	for _, v := range []int64{math.MaxInt64, math.MinInt64, 1<<53 + 1, -1} {
		_, set := decoded(t, Metrics, metricWith(7, fixedField(3, 5), fixedField(6, uint64(v))))
		r := set.tables[schema.MetricsSum][0]
		if r["ValueInt"] != show(v) || r["Value"] != show(float64(v)) {
			t.Errorf("%d: ValueInt %s, Value %s", v, r["ValueInt"], r["Value"])
		}
	}
}

func TestM5ValueOfAPointWithoutRecordedValueIsNotRead(t *testing.T) {
	_, set := decoded(t, Metrics, metricWith(5, fixedField(3, 5), fixedField(4, 0), uintField(8, 1)))
	if r := set.tables[schema.MetricsGauge][0]; r["Value"] != "NULL" || r["ValueInt"] != "NULL" || r["Flags"] != "1" {
		t.Errorf("row %v", r)
	}
}

func TestH17EmptyRequestsAreSuccess(t *testing.T) {
	for _, body := range [][]byte{nil, message(1), message(1, message(2)), message(1, message(1), message(2, message(1)))} {
		for _, sig := range signals {
			res, _ := decoded(t, sig, body)
			if res.Accepted+res.Rejected+len(res.Rows) != 0 || res.BilledBytes != int64(len(body)) {
				t.Errorf("%s %x: %+v", sig, body, res)
			}
		}
	}
}
