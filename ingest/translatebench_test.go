package ingest

import (
	"bytes"
	"compress/gzip"
	"fmt"
	"testing"

	"go.opentelemetry.io/collector/pdata/plog/plogotlp"

	"github.com/headgate-io/headgate/internal/otlpgen"
	"github.com/headgate-io/headgate/internal/tenant"
)

// BenchmarkJSONBody takes realistic logs in JSON, as pdata writes them, from the wire to protobuf.
func BenchmarkJSONBody(b *testing.B) {
	r := bareReceiver(Options{})
	id, err := tenant.ParseID("acme")
	if err != nil {
		b.Fatal(err)
	}
	for _, records := range []int{20, 1000, 30_000} {
		req := plogotlp.NewExportRequest()
		if err := req.UnmarshalProto(otlpgen.Logs(1, records)); err != nil {
			b.Fatal(err)
		}
		text, err := req.MarshalJSON()
		if err != nil {
			b.Fatal(err)
		}
		var packed bytes.Buffer
		z := gzip.NewWriter(&packed)
		_, _ = z.Write(text)
		_ = z.Close()
		for coding, body := range map[string][]byte{"plain": text, "gzip": packed.Bytes()} {
			b.Run(fmt.Sprintf("%s/%d", coding, records), func(b *testing.B) {
				q := form{encoding: jsonEncoding, codec: r.codecs[coding]}
				b.SetBytes(int64(len(text)))
				b.ReportAllocs()
				for b.Loop() {
					w, f := r.enter(b.Context(), id, "some key")
					if f != nil {
						b.Fatal(f)
					}
					if f = r.receive(b.Context(), bytes.NewReader(body), q, w); f == nil {
						f = r.unpack(b.Context(), q, w)
					}
					if f != nil {
						b.Fatal(f)
					}
					w.leave()
				}
			})
		}
	}
}
