package otlp

import (
	"bytes"
	"errors"
	"slices"
	"strings"
	"testing"

	"google.golang.org/protobuf/encoding/protowire"

	"github.com/headgate-io/headgate/storage/schema"
)

func TestX4TruncatedAnywhereIsRefusedOrWhole(t *testing.T) {
	st := testStamp(t)
	for _, sig := range signals {
		d := NewDecoder(Limits{})
		var body []byte
		for seed := uint64(0); len(body) < 2500; seed++ {
			body = append(body, newGen(seed).request(t, sig)...)
		}
		whole := 0
		for n := range body {
			_, err := d.Decode(sig, body[:n], st)
			_, ok := split(body[:n]) // cut between two resources: a smaller request
			if ok != (err == nil) {
				t.Fatalf("%s cut at %d of %d: %v, want an error: %v", sig, n, len(body), err, !ok)
			}
			if err == nil {
				whole++
			} else if !errors.Is(err, ErrMalformed) {
				t.Fatalf("%s cut at %d: %v is not ErrMalformed", sig, n, err)
			}
		}
		if whole > 30 {
			t.Errorf("%s: %d of %d cuts were accepted", sig, whole, len(body))
		}
	}
}

// Cutting inside while the lengths around are put right must be noticed just the same.
func TestX4TruncatedInsideAMessageIsRefused(t *testing.T) {
	record := slices.Concat(fixedField(1, 1), attrField(6, "key", "value"))
	for n := range record {
		body := message(1, message(2, message(2, record[:n])))
		_, err := NewDecoder(Limits{}).Decode(Logs, body, testStamp(t))
		_, ok := split(record[:n])
		if ok != (err == nil) {
			t.Errorf("record cut at %d: %v", n, err)
		}
	}
}

// The same of points, whose numbers are read apart, and of fields of the number 0.
func TestX4MalformedPointsAreRefused(t *testing.T) {
	for _, kind := range []protowire.Number{5, 7, 9, 10, 11} {
		point := slices.Concat(fixedField(2, 1), fixedField(3, 2))
		for n := range point {
			_, err := NewDecoder(Limits{}).Decode(Metrics, message(1, message(2, message(2, message(kind, message(1, point[:n]))))), testStamp(t))
			if _, ok := split(point[:n]); ok != (err == nil) {
				t.Errorf("point of kind %d cut at %d: %v", kind, n, err)
			}
		}
		zero := append(bytes.Clone(point), 0<<3|wire64, 1, 2, 3, 4, 5, 6, 7, 8)
		body := message(1, message(2, message(2, message(kind, message(1, zero)))))
		if _, err := NewDecoder(Limits{}).Decode(Metrics, body, testStamp(t)); !errors.Is(err, ErrMalformed) {
			t.Errorf("point of kind %d with a field 0: %v", kind, err)
		}
	}
}

func TestX4HostileBytesAreRefused(t *testing.T) {
	long := func(b byte) []byte { return append(bytes.Repeat([]byte{0x80 | b}, 9), 0x7f) }
	groups := bytes.Repeat(protowire.AppendTag(nil, 9, protowire.StartGroupType), 200_000)
	closed := slices.Concat(groups[:20_000], bytes.Repeat(protowire.AppendTag(nil, 9, protowire.EndGroupType), 20_000))
	record := func(b []byte) []byte { return message(1, message(2, message(2, b))) }
	for _, tc := range []struct {
		name string
		body []byte
	}{
		{"length beyond the end", []byte{0x0a, 0x7f}},
		{"length 2^63", slices.Concat([]byte{0x0a}, protowire.AppendVarint(nil, 1<<63))},
		{"length 2^64-1", slices.Concat([]byte{0x0a}, protowire.AppendVarint(nil, 1<<64-1))},
		{"length 2^40", record(slices.Concat([]byte{0x2a}, protowire.AppendVarint(nil, 1<<40)))},
		{"tag of 11 bytes", bytes.Repeat([]byte{0xff}, 11)},
		{"varint that overflows", record(slices.Concat([]byte{0x10}, long(1)))},
		{"field number 0", record([]byte{0x00, 0x01})},
		{"field number beyond 2^29", record(slices.Concat(protowire.AppendVarint(nil, 1<<32|1), []byte{0}))},
		{"wire type 6", record([]byte{0x0e})},
		{"wire type 7", record([]byte{0x0f})},
		{"end of a group that was not begun", record(protowire.AppendTag(nil, 9, protowire.EndGroupType))},
		{"group that does not end", record(protowire.AppendTag(nil, 9, protowire.StartGroupType))},
		{"group with another's end", record(slices.Concat(protowire.AppendTag(nil, 9, protowire.StartGroupType),
			protowire.AppendTag(nil, 8, protowire.EndGroupType)))},
		{"200,000 groups", record(groups)},
		{"20,000 groups that end", record(closed)},
		{"packed list of odd length", message(1, message(2, message(2, message(9, message(1, stringField(6, "1234567"))))))},
	} {
		t.Run(tc.name, func(t *testing.T) {
			sig := Logs
			if strings.HasPrefix(tc.name, "packed") {
				sig = Metrics
			}
			d := NewDecoder(Limits{})
			if _, err := d.Decode(sig, tc.body, testStamp(t)); !errors.Is(err, ErrMalformed) {
				t.Errorf("Decode = %v, want ErrMalformed", err)
			}
		})
	}
}

func TestX4ClaimedLengthIsNotAllocated(t *testing.T) {
	body := message(1, message(2, message(2, slices.Concat([]byte{0x2a}, protowire.AppendVarint(nil, 1<<50)))))
	d, st := NewDecoder(Limits{}), testStamp(t)
	if n := testing.AllocsPerRun(20, func() { _, _ = d.Decode(Logs, body, st) }); n > 6 {
		t.Errorf("%v allocations", n)
	}
}

func TestD13FieldBeforeOTLP1IsReadIfTheNewOneIsAbsent(t *testing.T) {
	items := func(num protowire.Number, text string) []byte {
		return message(num, message(2, fixedField(1, 5), stringField(3, text)))
	}
	for name, tc := range map[string]struct {
		body []byte
		want string
	}{
		"old":  {message(1, items(1000, "old")), "old"},
		"both": {message(1, items(1000, "old"), items(2, "new")), "new"},
	} {
		_, set := decoded(t, Logs, tc.body)
		if rows := set.tables[schema.Logs]; len(rows) != 1 || rows[0]["SeverityText"] != tc.want {
			t.Errorf("%s: %v, want one row %s", name, rows, tc.want)
		}
	}
}

func TestD15LastMemberOfAOneofWins(t *testing.T) {
	text, number := stringField(1, "text"), uintField(3, 42)
	array := func(s string) []byte { return message(5, message(1, stringField(1, s))) }
	for _, tc := range []struct {
		body []byte
		want string
	}{
		{slices.Concat(text, number), "42"},
		{slices.Concat(number, text), "text"},
		{slices.Concat(array("a"), array("b")), `["a","b"]`},
		{slices.Concat(array("a"), number, array("b")), `["b"]`},
		{slices.Concat(array("a"), array("b"), number), "42"},
		{slices.Concat(text, uintField(8, 3)), ""},
	} {
		record := slices.Concat(fixedField(1, 5), message(5, tc.body))
		_, set := decoded(t, Logs, message(1, message(2, message(2, record))))
		if got := set.tables[schema.Logs][0]["Body"]; got != tc.want {
			t.Errorf("body %x = %q, want %q", tc.body, got, tc.want)
		}
		// The same in two pieces.
		record = slices.Concat(fixedField(1, 5), message(5, tc.body[:0]), message(5, tc.body))
		_, set = decoded(t, Logs, message(1, message(2, message(2, record))))
		if got := set.tables[schema.Logs][0]["Body"]; got != tc.want {
			t.Errorf("split body %x = %q, want %q", tc.body, got, tc.want)
		}
	}
}

func TestD15MetricDataMergesAndTheLastKindWins(t *testing.T) {
	point := func(v uint64) []byte { return message(1, fixedField(3, 5), fixedField(6, v)) }
	gauge := func(v uint64) []byte { return message(5, point(v)) }
	sum := message(7, point(3), uintField(3, 1))
	for _, tc := range []struct {
		metric      []byte
		gauge, sums int
	}{
		{slices.Concat(gauge(1), gauge(2)), 2, 0},
		{slices.Concat(gauge(1), sum), 0, 1},
		{slices.Concat(sum, gauge(1), stringField(1, "name"), gauge(2)), 2, 0},
		{slices.Concat(gauge(1), sum, gauge(2)), 1, 0},
	} {
		res, set := decoded(t, Metrics, message(1, message(2, message(2, tc.metric))))
		if g, s := len(set.tables[schema.MetricsGauge]), len(set.tables[schema.MetricsSum]); g != tc.gauge || s != tc.sums {
			t.Errorf("metric %x: %d gauge and %d sum points, want %d and %d", tc.metric, g, s, tc.gauge, tc.sums)
		}
		if res.Accepted != tc.gauge+tc.sums {
			t.Errorf("accepted %d", res.Accepted)
		}
	}
}
