package otlp

import (
	"bytes"
	"errors"
	"strings"
	"testing"
)

// openJSON puts records of sig into a request of JSON that does not end yet.
func openJSON(sig Signal, records string) string {
	return [...]string{
		Logs:    `{"resourceLogs":[{"resource":{"attributes":[{"key":"k"}]},"scopeLogs":[{"scope":{},"logRecords":[`,
		Traces:  ` {"resourceSpans":[{"schemaUrl":"scopeSpans","scope_spans":[{"spans" : [`,
		Metrics: byteOrderMark + `{"resourceMetrics":[{"scopeMetrics":[{"metrics":[{"name":"n","sum":{"dataPoints":[{}]}},{"gauge":{"dataPoints":[`,
	}[sig] + records
}

// lookAt looks at body in steps that double, as it is looked at while it grows, and returns after how many bytes it was refused.
func lookAt(l Limits, sig Signal, body string, step int) (int, error) {
	g := l.GlanceJSON(sig)
	for ; ; step *= 2 {
		n := min(step, len(body))
		if err := g.Look([]byte(body)[:n:n]); err != nil || n == len(body) {
			return n, err
		}
	}
}

// X2, X3: bombs of JSON are known by their beginning.
func TestX2GlanceKnowsJSONBombsByTheirBeginning(t *testing.T) {
	l := Limits{MaxRecords: 1000}
	for _, sig := range signals {
		for _, record := range []string{"{}", `{"\u007b":"{"}`, "{\n}\n"} {
			bomb := openJSON(sig, record+strings.Repeat(","+record, 100_000))
			n, err := lookAt(l, sig, bomb, 1000)
			if !errors.Is(err, ErrTooManyRecords) || n > 32_000 {
				t.Errorf("%s of %s: %v after %d of %d bytes", sig, record, err, n, len(bomb))
			}
			if _, err := lookAt(l, sig, openJSON(sig, strings.Repeat(record+",", 900)), 100); err != nil {
				t.Errorf("%s, as many as are allowed: %v", sig, err)
			}
		}
		for _, nest := range []string{`{"arrayValue":{"values":[`, "[", `{"x":`} {
			bomb := openJSON(sig, `{"x":`+strings.Repeat(nest, 1_000_000))
			n, err := lookAt(l, sig, bomb, 1000)
			if !errors.Is(err, ErrBadJSON) || n > 16_000 {
				t.Errorf("%s nested by %s: %v after %d of %d bytes", sig, nest, err, n, len(bomb))
			}
		}
	}
	for _, text := range []string{strings.Repeat("\x00", 5000), "[" + strings.Repeat("{},", 3000), `"` + strings.Repeat("text ", 3000) + `"]`, `{"resourceLogs":[}]}}`} {
		if _, err := lookAt(l, Logs, text, 1000); !errors.Is(err, ErrBadJSON) {
			t.Errorf("%.20q: %v", text, err)
		}
	}
}

// What GlanceJSON refuses at any beginning, AppendJSON refuses too, or a good request would be lost. What is looked at in
// pieces is told apart as what is looked at in one.
func TestGlanceJSONRefusesNothingThatAppendJSONTakes(t *testing.T) {
	l := Limits{MaxRecords: 10}
	refused, taken := 0, 0
	for _, sig := range signals {
		for seed := range uint64(400) {
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
			if checkGlanceJSON(t, l, sig, text) {
				refused++
			} else {
				taken++
			}
		}
	}
	if refused == 0 || taken == 0 {
		t.Errorf("%d were refused, %d taken", refused, taken)
	}
}

// checkGlanceJSON reports whether text is refused at a glance.
func checkGlanceJSON(t *testing.T, l Limits, sig Signal, text []byte) bool {
	t.Helper()
	_, _, wrong := l.AppendJSON(nil, sig, JSONSource{Text: text})
	whole := &JSONGlance{maxRecords: l.MaxRecords, sig: sig, dense: true}
	once := whole.Look(text)
	pieces := &JSONGlance{maxRecords: l.MaxRecords, sig: sig, dense: true}
	var by error
	for n := 1; n < len(text) && by == nil; n += 1 + n/3 {
		by = pieces.Look(text[:n:n])
	}
	if by == nil {
		by = pieces.Look(text)
	}
	if once != nil && (by == nil || by.Error() != once.Error()) {
		t.Fatalf("%s: in one look %v, in pieces %v\n%s", sig, once, by, text)
	}
	if by != nil && wrong == nil {
		t.Fatalf("%s: a good request: %v\n%s", sig, by, text)
	}
	// The last of too many may be no object, or not be there yet. Keys with escapes are not known.
	but := &JSONGlance{maxRecords: l.MaxRecords - 1, sig: sig, dense: true}
	if errors.Is(wrong, ErrTooManyRecords) && but.Look(text) == nil && !bytes.Contains(text, []byte(`\`)) {
		t.Fatalf("%s: %v, not at a glance\n%s", sig, wrong, text)
	}
	return once != nil
}

func FuzzGlanceJSON(f *testing.F) {
	for _, sig := range signals {
		f.Add(byte(sig), realisticJSON(f, sig, 3))
		f.Add(byte(sig), []byte(openJSON(sig, strings.Repeat("{},", 12))))
		f.Add(byte(sig), []byte(openJSON(sig, strings.Repeat("{},", 4)+"{}]}}]}]}]}")))
	}
	f.Fuzz(func(t *testing.T, s byte, text []byte) {
		checkGlanceJSON(t, Limits{MaxRecords: 10}, signals[int(s)%len(signals)], text)
	})
}
