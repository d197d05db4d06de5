package otlp

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
)

// pieces is a source of text in pieces of n bytes. What it moves it takes from where it was, and room grows by what is wanted.
func pieces(text []byte, n int) JSONSource {
	var window []byte
	return JSONSource{
		More: func(kept []byte) ([]byte, error) {
			fresh := make([]byte, len(kept), len(kept)+n)
			copy(fresh, kept)
			clear(window)
			n = min(n, len(text))
			window, text = append(fresh, text[:n]...), text[n:]
			if n == 0 {
				return window, io.EOF
			}
			return window, nil
		},
		Grow: func(dst []byte, n int) ([]byte, error) {
			larger := make([]byte, len(dst), len(dst)+n)
			copy(larger, dst)
			clear(dst)
			return larger, nil
		},
	}
}

// checkJSONInPieces wants text in pieces of n bytes to become what it does in one, or to be refused as it is.
func checkJSONInPieces(t *testing.T, sig Signal, text []byte, n int) {
	t.Helper()
	l := Limits{MaxRecords: 30}
	want, wantUnknown, wrong := l.AppendJSON(nil, sig, JSONSource{Text: text})
	got, unknown, err := l.AppendJSON(nil, sig, pieces(text, n))
	if fmt.Sprint(err) != fmt.Sprint(wrong) || !bytes.Equal(got, want) || unknown != wantUnknown {
		t.Fatalf("%s in pieces of %d: %v, %d bytes, %d unknown; in one: %v, %d bytes, %d unknown\n%.2000s", sig, n, err, len(got), unknown, wrong, len(want), wantUnknown, text)
	}
}

// Text that is made while it is read becomes what it does when it is there, wherever its pieces end.
func TestJSONInPiecesIsTheSame(t *testing.T) {
	for _, sig := range signals {
		for seed := range uint64(60) {
			req := newPdata(sig)
			if err := req.UnmarshalProto(newGen(seed).request(t, sig)); err != nil {
				t.Fatal(err)
			}
			text, err := req.MarshalJSON()
			if err != nil {
				t.Fatal(err)
			}
			if seed%2 == 1 { // one byte is another
				text[int(seed*7919)%len(text)] = `{}[]",:\0`[seed%9]
			}
			checkJSONInPieces(t, sig, text, 1+int(seed%40))
		}
	}
	for _, text := range []string{
		jsonLogOf(`"severityNumber" : 17 , "a\u00e9" :[ null,true,-1.5e3,{"b":"\ud83d\ude00"}],"severity_text"  :"\ud83d\udca9\ud83d\u0041\n"`), "\xef\xbb\xbf{} ", "\xef\xbb", "{", `{"a":nul`, `{"a":"\`, `{"a":"\u00`, "",
		`{"resourceLogs":[` + strings.Repeat(`{"scopeLogs":[{"logRecords":[{},{}]}]},`, 20) + `{}]}`,
	} {
		for n := range 40 {
			checkJSONInPieces(t, Logs, []byte(text), 1+n)
		}
	}
	for n := range 40 {
		checkJSONInPieces(t, Profiles, []byte(`{"resourceProfiles":[{"scopeProfiles":[{"profiles":[{"profileId":"000102030405060708090a0b0c0d0e0f"},{"profileId":"AAECAwQFBgcICQoLDA0ODw=="}]}]}]}`), 1+n)
	}
}

// X1: of a text whose beginning is wrong no more is asked for.
func TestX1JSONIsReadToWhatIsWrong(t *testing.T) {
	long := `"` + strings.Repeat("text ", 1000) + `"`
	records := `{"resourceLogs":[{"scopeLogs":[{"logRecords":[` + strings.Repeat(`{"body":{"stringValue":`+long+`}},`, 30) + "{},"
	depth := `{"x":` + strings.Repeat("["+long+",", maxJSONDepth) // one too many
	for beginning, want := range map[string]error{records: ErrTooManyRecords, depth: ErrBadJSON} {
		read := 0
		source := pieces([]byte(beginning+strings.Repeat(long+",", 10_000)), 100)
		more := source.More
		source.More = func(kept []byte) ([]byte, error) {
			b, err := more(kept)
			read += len(b) - len(kept)
			return b, err
		}
		_, _, err := Limits{MaxRecords: 30}.AppendJSON(nil, Logs, source)
		if !errors.Is(err, want) || read > len(beginning)+100 {
			t.Errorf("%v after %d bytes, want %v after %d", err, read, want, len(beginning))
		}
	}
}

func TestJSONSourcesFailuresAreReturned(t *testing.T) {
	broken := errors.New("broken")
	text := []byte(jsonLogOf(`"severityText":"a"`))
	for n := range text {
		source := pieces(text, n+1)
		asked := 0
		more := source.More
		source.More = func(kept []byte) ([]byte, error) {
			if asked++; asked > 1 {
				return nil, broken
			}
			return more(kept)
		}
		if _, _, err := (Limits{}).AppendJSON(nil, Logs, source); !errors.Is(err, broken) {
			t.Errorf("broken after %d bytes: %v", n+1, err)
		}
	}
	full := func([]byte, int) ([]byte, error) { return nil, broken }
	if _, _, err := (Limits{}).AppendJSON(make([]byte, 0, 10), Logs, JSONSource{Text: text, Grow: full}); !errors.Is(err, broken) {
		t.Errorf("without room: %v", err)
	}
}
