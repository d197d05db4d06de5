package otlp

import (
	"errors"
	"fmt"
	"os"
	"runtime"
	"strings"
	"testing"

	"go.opentelemetry.io/collector/pdata/plog/plogotlp"
	"go.opentelemetry.io/collector/pdata/pmetric/pmetricotlp"
	"go.opentelemetry.io/collector/pdata/ptrace/ptraceotlp"

	"github.com/headgate-io/headgate/storage/schema"
)

type pdataRequest interface {
	UnmarshalJSON([]byte) error
	UnmarshalProto([]byte) error
	MarshalProto() ([]byte, error)
	MarshalJSON() ([]byte, error)
}

func newPdata(sig Signal) pdataRequest {
	switch sig {
	case Logs:
		return plogotlp.NewExportRequest()
	case Traces:
		return ptraceotlp.NewExportRequest()
	default:
		return pmetricotlp.NewExportRequest()
	}
}

func TestOfficialJSONExamplesBecomeTheRowsThatPdataSees(t *testing.T) {
	for file, sig := range map[string]Signal{"logs": Logs, "events": Logs, "trace": Traces, "metrics": Metrics} {
		body, err := os.ReadFile("testdata/json/" + file + ".json")
		if err != nil {
			t.Fatal(err)
		}
		converted, err := JSONToProto(sig, body)
		if err != nil {
			t.Fatalf("%s: %v", file, err)
		}
		req := newPdata(sig)
		if err := req.UnmarshalJSON(body); err != nil {
			t.Fatal(err)
		}
		proto, err := req.MarshalProto()
		if err != nil {
			t.Fatal(err)
		}
		_, got := decoded(t, sig, converted)
		want, err := reference(sig, proto, testStamp(t))
		if err != nil {
			t.Fatal(err)
		}
		if got.accepted == 0 {
			t.Errorf("%s: nothing was accepted", file)
		}
		compareSets(t, got, want)
	}
}

// D17: JSON as pdata writes it and protobuf of the same request give the same rows.
func TestD17JSONAndProtobufGiveTheSameRows(t *testing.T) {
	st := testStamp(t)
	d := NewDecoder(Limits{})
	for _, sig := range signals {
		for seed := range uint64(60) {
			body := newGen(seed).request(t, sig)
			req := newPdata(sig)
			if err := req.UnmarshalProto(body); err != nil {
				t.Fatal(err)
			}
			text, err := req.MarshalJSON()
			if err != nil {
				t.Fatal(err)
			}
			converted, err := JSONToProto(sig, text)
			if err != nil {
				t.Fatalf("%s seed %d: %v\n%s", sig, seed, err, text)
			}
			want, err := d.Decode(sig, body, st)
			if err != nil {
				t.Fatal(err)
			}
			wantRows := readRows(t, want)
			got, err := d.Decode(sig, converted, st)
			if err != nil {
				t.Fatalf("%s seed %d: %v", sig, seed, err)
			}
			compareSets(t, readRows(t, got), wantRows)
			if t.Failed() {
				t.Fatalf("%s seed %d\n%s", sig, seed, text)
			}
		}
	}
}

// jsonLog is a logs request whose one record has the given members.
func jsonLogOf(members string) string {
	return `{"resourceLogs":[{"scopeLogs":[{"logRecords":[{` + members + `}]}]}]}`
}

func jsonLogRow(t *testing.T, text string) (row, error) {
	t.Helper()
	body, err := JSONToProto(Logs, []byte(text))
	if err != nil {
		return nil, err
	}
	_, set := decoded(t, Logs, body)
	if len(set.tables[schema.Logs]) != 1 {
		t.Fatalf("%d rows of %s", len(set.tables[schema.Logs]), text)
	}
	return set.tables[schema.Logs][0], nil
}

func TestJSONMapping(t *testing.T) {
	const bad = "refused"
	const id, spanID = "5b8efff798038103d269b633813fc60c", "eee19b7ec3c1b174"
	body := func(s string) string { return `"body":` + s }
	for _, tc := range []struct {
		name, members, column, want string
	}{
		{"J1 hex id", `"traceId":"5B8EFFF798038103D269B633813FC60C"`, "TraceId", id},
		{"J1 lower case", `"traceId":"` + id + `"`, "TraceId", id},
		{"J1 span id", `"spanId":"EEE19B7EC3C1B174"`, "SpanId", spanID},
		{"J1 base64 is no id", `"traceId":"W47/95gDgQPSabYzgT/GDA=="`, "TraceId", ""},
		{"J2 bytes", body(`{"bytesValue":"+/8="}`), "Body", "+/8="},
		{"J2 bytes, for URLs, unpadded", body(`{"bytesValue":"-_8"}`), "Body", "+/8="},
		{"J2 bytes, with a line break", body(`{"bytesValue":"+/\n8="}`), "Body", "+/8="},
		{"J2 not base64", body(`{"bytesValue":"*"}`), "", bad},
		{"J3 enum", `"severityNumber":9`, "SeverityNumber", "9"},
		{"J3 enum name", `"severityNumber":"SEVERITY_NUMBER_WARN2"`, "SeverityNumber", "14"},
		{"J3 enum number unknown", `"severityNumber":99`, "SeverityNumber", "99"},
		{"J3 enum name unknown", `"severityNumber":"BOGUS"`, "", bad},
		{"J4 unknown", `"x":{"y":[1,{"z":null}],"w":[]},"severityText":"a","q":"\u00e9"`, "SeverityText", "a"},
		{"J4 empty name", `"":{"a":1},"severityText":"a"`, "SeverityText", "a"},
		{"J4 other case", `"SeverityText":"b","severityText":"a","SEVERITYTEXT":"c"`, "SeverityText", "a"},
		{"J5 snake case", `"severity_text":"a"`, "SeverityText", "a"},
		{"J6 string", `"timeUnixNano":"1544712660300000001"`, "Timestamp", "1544712660300000001"},
		{"J6 number", `"timeUnixNano":1544712660300000001`, "Timestamp", "1544712660300000001"},
		{"J6 int value", body(`{"intValue":"-9223372036854775808"}`), "Body", "-9223372036854775808"},
		{"J7 fraction", `"severityNumber":5.0`, "SeverityNumber", "5"},
		{"J7 exponent", `"timeUnixNano":1e3`, "Timestamp", "1000"},
		{"J7 exponent in a string", `"timeUnixNano":"1.5e3"`, "Timestamp", "1500"},
		{"J7 negative exponent", `"timeUnixNano":15000e-3`, "Timestamp", "15"},
		{"J7 not whole", `"severityNumber":5.5`, "", bad},
		{"J7 out of range", `"severityNumber":4294967296`, "", bad},
		{"J7 negative unsigned", `"flags":-1`, "", bad},
		{"J7 minus zero", body(`{"intValue":"-0"}`), "Body", "0"},
		{"J7 plus sign", body(`{"intValue":"+5"}`), "", bad},
		{"J7 blank", body(`{"intValue":" 5"}`), "", bad},
		{"J7 endless exponent", body(`{"intValue":1e999999999999}`), "", bad},
		{"J7 beyond 64 bits", `"timeUnixNano":18446744073709551616`, "", bad},
		{"J8 int beyond 64 bits", body(`{"intValue":100000000000000000000}`), "Body", "100000000000000000000"},
		{"J8 int of exponent", body(`{"intValue":1e25}`), "Body", "1e+25"},
		{"J8 int not whole", body(`{"intValue":1.5}`), "", bad},
		{"J8 bytes as an object", body(`{"bytesValue":{"0":1,"1":255}}`), "Body", "Af8="},
		{"J9 nulls", `"traceId":null,"attributes":null,"timeUnixNano":null,"body":null,"severityNumber":null,"severityText":"a"`, "SeverityText", "a"},
		{"J9 null value", `"attributes":[{"key":"k","value":null},{"key":"l"}]`, "LogAttributes", `{"k":"" "l":"" }`},
		{"J9 null of a value", body(`{"stringValue":null}`), "Body", ""},
		{"J9 null in a list", `"attributes":[null]`, "", bad},
		{"J10 NaN", body(`{"doubleValue":"NaN"}`), "Body", "NaN"},
		{"J10 infinite", body(`{"doubleValue":"-Infinity"}`), "Body", "-Infinity"},
		{"J10 string", body(`{"doubleValue":"1.25"}`), "Body", "1.25"},
		{"J10 minus zero", body(`{"doubleValue":-0}`), "Body", "-0"},
		{"J10 too small", body(`{"doubleValue":1e-400}`), "Body", "0"},
		{"J10 other names", body(`{"doubleValue":"inf"}`), "", bad},
		{"J10 hexadecimal", body(`{"doubleValue":"0x1p3"}`), "", bad},
		{"J10 too large", body(`{"doubleValue":1e400}`), "", bad},
		{"J11 empty ids", `"traceId":"","spanId":""`, "TraceId", ""},
		{"J11 odd length", `"traceId":"5b8"`, "TraceId", ""},
		{"J11 not hex", `"traceId":"zz8efff798038103d269b633813fc60c"`, "TraceId", ""},
		{"J12 key twice", `"severityText":"a","severityText":"b"`, "SeverityText", "b"},
		{"J12 key twice, last zero", `"severityNumber":5,"severityNumber":0`, "SeverityNumber", "0"},
		{"J12 two members", body(`{"stringValue":"a","intValue":1}`), "Body", "1"},
		{"J13 nul", `"severityText":"a\u0000b"`, "SeverityText", "a\x00b"},
		{"J13 surrogate pair", `"severityText":"\ud83d\uDca9"`, "SeverityText", "\U0001F4A9"},
		{"J13 lone surrogate", `"severityText":"a\ud83db"`, "SeverityText", "a\uFFFDb"},
		{"J13 two high surrogates", `"severityText":"\ud83d\ud83d\udca9"`, "SeverityText", "\uFFFD\U0001F4A9"},
		{"J13 escapes", `"severityText":"\"\\\/\b\f\n\r\t"`, "SeverityText", "\"\\/\b\f\n\r\t"},
		{"J13 raw bytes", "\"severityText\":\"a\xffb\"", "SeverityText", "a\uFFFDb"},
		{"control character", "\"severityText\":\"a\nb\"", "", bad},
		{"empty values are kept apart", body(`{"arrayValue":{"values":[{},{"stringValue":""},{"intValue":0},{"boolValue":false},{"kvlistValue":{}}]}}`),
			"Body", `[null,"",0,false,{}]`},
		{"number for a string", `"severityText":5`, "", bad},
		{"string for an object", `"body":"text"`, "", bad},
		{"object for a list", `"attributes":{}`, "", bad},
		{"leading zero", `"severityNumber":05`, "", bad},
		{"bare word", `"severityNumber":nan`, "", bad},
		{"trailing comma", `"severityNumber":5,`, "", bad},
	} {
		t.Run(tc.name, func(t *testing.T) {
			r, err := jsonLogRow(t, jsonLogOf(tc.members))
			switch {
			case tc.want == bad:
				if !errors.Is(err, ErrBadJSON) {
					t.Errorf("%s: %v, want ErrBadJSON", tc.members, err)
				}
			case err != nil:
				t.Errorf("%s: %v", tc.members, err)
			case r[tc.column] != tc.want:
				t.Errorf("%s: %s = %q, want %q", tc.members, tc.column, r[tc.column], tc.want)
			}
		})
	}
}

func TestH17JSONRequestsAsAWhole(t *testing.T) {
	for text, ok := range map[string]bool{
		"{}": true, `{"resourceLogs":[]}`: true, " \n{ } \t": true, "\xef\xbb\xbf{}": true, `{"resourceSpans":[{"a":1}]}`: true,
		"": false, "null": false, "[]": false, "{}{}": false, "{} x": false, "{": false, `{"a"}`: false, `{"a":}`: false, `{"a":1`: false,
		`{"resourceLogs":{}}`: false, `"x"`: false, `{"a":tru}`: false, `{"a":"\x"}`: false, `{"a":"\u12g4"}`: false, `{"a":"`: false,
	} {
		out, err := JSONToProto(Logs, []byte(text))
		if ok != (err == nil) || ok && len(out) != 0 {
			t.Errorf("%q = %x, %v; want accepted: %v", text, out, err, ok)
		}
	}
}

func TestJ14DeepJSONIsRefused(t *testing.T) {
	array := func(levels int) string {
		return jsonLogOf(`"body":` + strings.Repeat(`{"arrayValue":{"values":[`, levels) + `{"intValue":1}` + strings.Repeat("]}}", levels))
	}
	if _, err := jsonLogRow(t, array(maxDepth)); err != nil {
		t.Errorf("%d levels: %v", maxDepth, err)
	}
	for _, text := range []string{
		array(200_000), strings.Repeat(`{"x":`, 1_000_000), strings.Repeat(`[`, 1_000_000), `{"x":` + strings.Repeat(`[`, 1_000_000),
	} {
		if _, err := JSONToProto(Logs, []byte(text)); !errors.Is(err, ErrBadJSON) {
			t.Errorf("%.20s…: %v, want ErrBadJSON", text, err)
		}
	}
}

// Lengths of messages move what was written: they must be right at every size.
func TestJSONLengthsOfEverySize(t *testing.T) {
	for _, n := range []int{0, 1, 100, 126, 127, 128, 129, 16_383, 16_384, 70_000, 3_000_000} {
		text := strings.Repeat("x", n)
		r, err := jsonLogRow(t, jsonLogOf(fmt.Sprintf(`"attributes":[{"key":"k","value":{"stringValue":%q}}]`, text)))
		if err != nil || r["LogAttributes"] != `{"k":"`+text+`" }` {
			t.Errorf("%d bytes: %v", n, err)
		}
	}
}

func FuzzJSON(f *testing.F) {
	for _, file := range []string{"logs", "events", "trace", "metrics"} {
		body, err := os.ReadFile("testdata/json/" + file + ".json")
		if err != nil {
			f.Fatal(err)
		}
		for _, sig := range signals {
			f.Add(uint8(sig), body)
		}
	}
	f.Add(uint8(0), []byte(jsonLogOf(`"body":{"intValue":1e20},"traceId":null,"x":[{"y":"\ud800"}],"severityNumber":"SEVERITY_NUMBER_INFO"`)))
	st := testStamp(f)
	d := NewDecoder(Limits{})
	f.Fuzz(func(t *testing.T, s uint8, body []byte) {
		sig := signals[int(s)%len(signals)]
		out, err := JSONToProto(sig, body)
		checkJSONInPieces(t, sig, body, len(body)%7+1)
		if err != nil {
			if !errors.Is(err, ErrBadJSON) {
				t.Fatalf("%v is not ErrBadJSON", err)
			}
			return
		}
		// What comes out is protobuf with known fields alone, and the decoder takes it.
		plain, ok := canonical(out, mRequestLogs+msg(sig))
		if !ok {
			t.Fatalf("malformed output %x", out)
		}
		res, err := d.Decode(sig, out, st)
		if err != nil {
			t.Fatal(err)
		}
		want, err := reference(sig, plain, st)
		if err != nil {
			t.Fatalf("pdata refuses the output: %v", err)
		}
		got := readRows(t, res)
		got.billed = want.billed
		compareSets(t, got, want)
	})
}

// X12: a key that could be in snake_case takes no memory, however long.
func TestX12LongKeyOfJSONTakesNoMemory(t *testing.T) {
	text := []byte(`{"a` + strings.Repeat("_", 1<<20) + `":1}`)
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	for range 4 {
		if _, _, err := (Limits{}).AppendJSON(make([]byte, 0, 100), Logs, JSONSource{Text: text}); err != nil {
			t.Fatal(err)
		}
	}
	runtime.ReadMemStats(&after)
	if took := (after.TotalAlloc - before.TotalAlloc) / 4; took > uint64(len(text))/16 {
		t.Errorf("%d bytes were allocated for a key of %d", took, len(text))
	}
}
