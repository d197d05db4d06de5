package otlp

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/headgate-io/headgate/internal/race"
	"github.com/headgate-io/headgate/storage/schema"
)

// nested is an AnyValue of levels arrays within one another.
func nested(levels int) []byte {
	b := stringField(1, "x")
	for range levels {
		b = message(5, message(1, b))
	}
	return b
}

func deepAttr(levels int) []byte {
	return slices.Concat(stringField(1, "deep"), message(2, nested(levels)))
}

func TestX3RecordWithDeepValueIsRejectedAlone(t *testing.T) {
	at := fixedField(1, 5)
	good := message(2, at, message(5, nested(maxDepth)), message(6, deepAttr(maxDepth)))
	for name, bad := range map[string][]byte{
		"body":      message(2, at, message(5, nested(maxDepth+1))),
		"attribute": message(2, at, attrField(6, "a", "b"), message(6, deepAttr(maxDepth+1))),
		"very deep": message(2, at, message(5, nested(5_000))),
	} {
		res, set := decoded(t, Logs, message(1, message(2, good, bad, good)))
		if res.Accepted != 2 || res.Reasons[TooDeep] != 1 || len(set.tables[schema.Logs]) != 2 {
			t.Errorf("%s: accepted %d, reasons %v", name, res.Accepted, res.Reasons)
		}
	}
}

// All records of a resource with such a value are rejected, wherever on the wire it stands, and those of others are not.
func TestX3DeepValueAroundRecordsRejectsThem(t *testing.T) {
	record := message(2, fixedField(1, 5))
	deep := message(1, deepAttr(maxDepth+1))
	for name, resource := range map[string][]byte{
		"resource first": slices.Concat(message(1, deep), message(2, record, record)),
		"resource last":  slices.Concat(message(2, record, record), message(1, deep)),
		"scope first":    message(2, message(1, message(3, deepAttr(65))), record, record),
		"scope last":     message(2, record, record, message(1, message(3, deepAttr(65)))),
	} {
		good := message(1, message(2, record))
		body := slices.Concat(good, message(1, resource), good)
		res, _ := decoded(t, Logs, body)
		if res.Accepted != 2 || res.Reasons[TooDeep] != 2 || res.BilledBytes != int64(len(body)-2*len(record)) {
			t.Errorf("%s: accepted %d, reasons %v, billed %d of %d", name, res.Accepted, res.Reasons, res.BilledBytes, len(body))
		}
	}
}

func TestDaysBeyondTheLimitAreRejected(t *testing.T) {
	var records []byte
	for day := range uint64(70) {
		for range 2 {
			records = append(records, message(2, fixedField(1, (20_000+day)*nanosPerDay+7))...)
		}
	}
	res, _ := decoded(t, Logs, message(1, message(2, records)))
	if res.Accepted != 128 || res.Reasons[TooManyDays] != 12 {
		t.Errorf("accepted %d, reasons %v", res.Accepted, res.Reasons)
	}
	if days := res.Rows[0].Days; len(days) != 64 || days[0] != 20_000 || days[63] != 20_063 {
		t.Errorf("days %v", days)
	}
	res, err := NewDecoder(Limits{MaxDays: 3}).Decode(Logs, message(1, message(2, records)), testStamp(t))
	if err != nil || res.Accepted != 6 || !slices.Equal(res.Rows[0].Days, []uint16{20_000, 20_001, 20_002}) {
		t.Errorf("with MaxDays 3: accepted %d, days %v, %v", res.Accepted, res.Rows[0].Days, err)
	}
}

func TestDaysAreCountedPerTable(t *testing.T) {
	var metrics []byte
	for day := range uint64(40) {
		at := fixedField(3, (20_000+day)*nanosPerDay)
		metrics = append(metrics, message(2, message(5, message(1, at, fixedField(4, 0))))...)
		at = fixedField(3, (21_000+day)*nanosPerDay)
		metrics = append(metrics, message(2, message(7, message(1, at, fixedField(4, 0))))...)
	}
	res, _ := decoded(t, Metrics, message(1, message(2, metrics)))
	if res.Rejected != 0 || len(res.Rows) != 2 || len(res.Rows[0].Days) != 40 || len(res.Rows[1].Days) != 40 {
		t.Errorf("rejected %d, tables %d", res.Rejected, len(res.Rows))
	}
}

// X6: few bytes can ask for many, since each row repeats its resource.
func TestX6RowsAreBoundedByTheSizeOfTheRequest(t *testing.T) {
	var resource []byte
	for i := range 10_000 {
		resource = append(resource, attrField(1, fmt.Sprintf("key-%d", i), "v")...)
	}
	var records []byte
	for range 20_000 {
		records = append(records, message(2, fixedField(1, 5))...)
	}
	for name, body := range map[string][]byte{
		"resource first": message(1, message(1, resource), message(2, records)),
		"resource last":  message(1, message(2, records), message(1, resource)),
	} {
		res, err := NewDecoder(Limits{}).Decode(Logs, body, testStamp(t))
		if err != nil {
			t.Fatal(err)
		}
		if res.Accepted+res.Rejected != 20_000 || res.Reasons[TooLarge] == 0 || res.Accepted == 0 {
			t.Errorf("%s: accepted %d, reasons %v", name, res.Accepted, res.Reasons)
		}
		if got, most := res.Rows[0].Encode().Raw, freeRowBytes+defaultMaxExpansion*len(body); got > most {
			t.Errorf("%s: %d bytes of rows, more than %d", name, got, most)
		}
	}
}

// X2: the smallest records.
func TestX2EmptyRecordsAreBounded(t *testing.T) {
	var records []byte
	for range 1 << 20 {
		records = append(records, 0x12, 0x00)
	}
	body := message(1, message(2, records))
	res, err := NewDecoder(Limits{MaxExpansion: 2, MaxRecords: 1 << 30}).Decode(Logs, body, testStamp(t))
	if err != nil {
		t.Fatal(err)
	}
	if got, most := res.Rows[0].Encode().Raw, freeRowBytes+2*len(body); got > most || res.Reasons[TooLarge] == 0 {
		t.Errorf("%d bytes of rows, at most %d allowed; reasons %v", got, most, res.Reasons)
	}
}

func TestX12RecordWithTooManyItemsIsRejectedAlone(t *testing.T) {
	many := func(num byte, n int) (b []byte) {
		for range n {
			b = append(b, num<<3|wireBytes, 0)
		}
		return b
	}
	good := spanWith(goodTrace, goodSpan, many(11, 10))
	for name, fields := range map[string][]byte{
		"attributes": many(9, maxItems+1), "events": many(11, maxItems+1), "links": many(13, maxItems+1),
	} {
		res, set := decoded(t, Traces, message(1, message(2, good, spanWith(goodTrace, goodSpan, fields), good)))
		if res.Accepted != 2 || res.Reasons[TooManyItems] != 1 || len(set.tables[schema.Traces]) != 2 {
			t.Errorf("%s: accepted %d, reasons %v", name, res.Accepted, res.Reasons)
		}
	}
	list := make([]byte, 0, 2*maxItems+2)
	for range maxItems + 1 {
		list = append(list, 0x0a, 0)
	}
	res, _ := decoded(t, Logs, logWith(fixedField(1, 5), message(5, message(6, list))))
	if res.Reasons[TooManyItems] != 1 {
		t.Errorf("map: reasons %v", res.Reasons)
	}
}

func TestX12RecordWithTooLongKeyIsRejectedAlone(t *testing.T) {
	longest := strings.Repeat("k", maxKeyBytes)
	pair := func(key string) []byte { return slices.Concat(stringField(1, key), message(2, stringField(1, "v"))) }
	for name, with := range map[string]func(pair []byte) []byte{
		"attribute":          func(pair []byte) []byte { return message(9, pair) },
		"attribute of event": func(pair []byte) []byte { return message(11, message(3, pair)) },
		"attribute of link":  func(pair []byte) []byte { return message(13, message(4, pair)) },
		"map": func(pair []byte) []byte {
			return message(9, stringField(1, "m"), message(2, message(6, message(1, pair))))
		},
	} {
		good, bad := spanWith(goodTrace, goodSpan, with(pair(longest))), spanWith(goodTrace, goodSpan, with(pair(longest+"k")))
		body := message(1, message(2, good, bad, good))
		res, set := decoded(t, Traces, body)
		if res.Accepted != 2 || res.Reasons[KeyTooLong] != 1 || len(set.tables[schema.Traces]) != 2 {
			t.Errorf("%s: accepted %d, reasons %v", name, res.Accepted, res.Reasons)
		}
		if want := int64(len(body) - len(bad)); res.BilledBytes != want {
			t.Errorf("%s: billed %d bytes, want %d", name, res.BilledBytes, want)
		}
	}
}

// All records of a resource, a scope or a metric with such a key are rejected, wherever on the wire it stands.
func TestX12TooLongKeyAroundRecordsRejectsThem(t *testing.T) {
	long := slices.Concat(stringField(1, strings.Repeat("k", maxKeyBytes+1)), message(2, stringField(1, "v")))
	record := message(2, fixedField(1, 5))
	for name, resource := range map[string][]byte{
		"resource first": slices.Concat(message(1, message(1, long)), message(2, record, record)),
		"resource last":  slices.Concat(message(2, record, record), message(1, message(1, long))),
		"scope first":    message(2, message(1, message(3, long)), record, record),
		"scope last":     message(2, record, record, message(1, message(3, long))),
	} {
		good := message(1, message(2, record))
		res, _ := decoded(t, Logs, slices.Concat(good, message(1, resource), good))
		if res.Accepted != 2 || res.Reasons[KeyTooLong] != 2 {
			t.Errorf("%s: accepted %d, reasons %v", name, res.Accepted, res.Reasons)
		}
	}
}

func TestSplitMessagesAreJoinedUpToABound(t *testing.T) {
	// A value in many pieces is linear work ...
	var pieces []byte
	for range 100_000 {
		pieces = append(pieces, message(2, stringField(1, "x"))...)
	}
	r := logRow(t, fixedField(1, 5), message(6, stringField(1, "k"), pieces))
	if r["LogAttributes"] != `{"k":"x" }` {
		t.Errorf("LogAttributes = %s", r["LogAttributes"])
	}
	// ... but splits within splits would copy the same bytes once per level.
	b := stringField(1, string(make([]byte, 1<<20)))
	for range 30 {
		b = message(6, message(1, message(2), message(2, b)))
	}
	if _, err := NewDecoder(Limits{}).Decode(Logs, logWith(message(5, b)), testStamp(t)); !errors.Is(err, errManyParts) {
		t.Errorf("Decode = %v, want errManyParts", err)
	}
}

func TestDecodingAllocatesNothingPerRecord(t *testing.T) {
	if race.Enabled {
		t.Skip("allocations cannot be counted under the race detector")
	}
	st := testStamp(t)
	for _, sig := range signals {
		d := NewDecoder(Limits{})
		few, many := realistic(sig, 1, 1000), realistic(sig, 1, 8000)
		allocs := func(body []byte) float64 {
			return testing.AllocsPerRun(5, func() {
				if _, err := d.Decode(sig, body, st); err != nil {
					t.Fatal(err)
				}
			})
		}
		allocs(many) // warm the buffers
		small, large := allocs(few), allocs(many)
		if small != large || large > 12 {
			t.Errorf("%s: %v allocations for 1,000 records, %v for 8,000; want the same, at most 12", sig, small, large)
		}
	}
}

func TestX2RequestWithTooManyRecordsIsRefused(t *testing.T) {
	d := NewDecoder(Limits{MaxRecords: 7})
	for sig, record := range map[Signal][]byte{
		Logs:    message(1, message(2, message(2))),
		Traces:  message(1, message(2, message(2))),
		Metrics: message(1, message(2, message(2, message(5, message(1))))),
	} {
		res, err := d.Decode(sig, slices.Repeat(record, 7), testStamp(t))
		if err != nil || res.Accepted+res.Rejected != 7 {
			t.Errorf("%s: 7 records: %d and %d, %v", sig, res.Accepted, res.Rejected, err)
		}
		if _, err := d.Decode(sig, slices.Repeat(record, 8), testStamp(t)); !errors.Is(err, ErrTooManyRecords) {
			t.Errorf("%s: 8 records: %v", sig, err)
		}
	}
}
