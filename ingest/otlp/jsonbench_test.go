package otlp

import (
	"fmt"
	"strings"
	"testing"
)

// realisticJSON is a request of realistic records as pdata writes it in JSON.
func realisticJSON(t testing.TB, sig Signal, records int) []byte {
	t.Helper()
	req := newPdata(sig)
	if err := req.UnmarshalProto(realistic(sig, 1, records)); err != nil {
		t.Fatal(err)
	}
	text, err := req.MarshalJSON()
	if err != nil {
		t.Fatal(err)
	}
	return text
}

// BenchmarkJSON translates bodies as pdata writes them.
func BenchmarkJSON(b *testing.B) {
	for _, sig := range signals {
		for _, records := range []int{1000, 30_000} {
			text := realisticJSON(b, sig, records)
			dst := make([]byte, 0, len(text))
			b.Run(fmt.Sprintf("%s/%d", sig, records), func(b *testing.B) {
				b.SetBytes(int64(len(text)))
				b.ReportAllocs()
				for b.Loop() {
					if _, _, err := (Limits{}).AppendJSON(dst[:0], sig, JSONSource{Text: text}); err != nil {
						b.Fatal(err)
					}
				}
				b.ReportMetric(float64(strings.Count(string(text), "{"))/float64(records), "braces/record")
				b.ReportMetric(float64(len(text))/float64(records), "bytes/record")
			})
		}
	}
}

// BenchmarkGlanceJSON looks at the same bodies as while they arrive; dense reads all of them token by token.
func BenchmarkGlanceJSON(b *testing.B) {
	for _, dense := range []bool{false, true} {
		text := realisticJSON(b, Logs, 30_000)
		b.Run(fmt.Sprintf("dense=%v", dense), func(b *testing.B) {
			b.SetBytes(int64(len(text)))
			for b.Loop() {
				g := (Limits{}).GlanceJSON(Logs)
				g.dense = dense
				for _, n := range []int{1 << 20, 2 << 20, 4 << 20, 16 << 20, len(text)} {
					if err := g.Look(text[:n]); err != nil {
						b.Fatal(err)
					}
				}
			}
		})
	}
}
