package ingest

import (
	"bytes"
	"strings"
	"testing"

	"github.com/headgate-io/headgate/ingest/otlp"
)

// Text that is looked at while it comes or is inflated, and is good, becomes what it is at once: however dense it is, and
// wherever the looks cut it.
func TestGoodJSONIsTakenAtEveryLook(t *testing.T) {
	r := bareReceiver(Options{})
	record := func(attribute string, n int) string {
		return `{"timeUnixNano":"1700000000000000000","attributes":[` + attribute + strings.Repeat(","+attribute, n) + `]}`
	}
	for name, one := range map[string]string{
		"sparse": record(`{"key":"a key","value":{"stringValue":"{[{[{[ \\\" and so on, for a while"}}`, 10),
		"dense":  record(`{"key":"a","value":{}}`, 50),
	} {
		for _, size := range []int{700 << 10, 3 << 20, 17 << 20} {
			text := []byte(`{"resourceLogs":[{"scopeLogs":[{"logRecords":[` + one + strings.Repeat(","+one, size/len(one)) + `]}]}]}`)
			want, err := otlp.JSONToProto(otlp.Logs, text)
			if err != nil {
				t.Fatal(err)
			}
			for coding, body := range map[string][]byte{"": text, "gzip": zipped(t, text)} {
				q := form{encoding: jsonEncoding, codec: r.codecs[coding]}
				w, f := r.enter(t.Context(), someTenant(t), "some key")
				if f != nil {
					t.Fatal(f)
				}
				if f = r.receive(t.Context(), bytes.NewReader(body), q, w); f == nil {
					f = r.unpack(t.Context(), q, w)
				}
				if f != nil || !bytes.Equal(w.body.b, want) {
					t.Errorf("%s, %d bytes %s: %v, %d bytes of protobuf, want %d", name, len(text), coding, f, len(w.body.b), len(want))
				}
				if came := coding == "" && size > glanceBytes; came && w.text == nil {
					t.Errorf("%s, %d bytes %s: nobody looked at it", name, len(text), coding)
				}
				w.leave()
			}
		}
	}
}
