package ingest

import (
	"bytes"
	"math/rand/v2"
	"testing"

	"github.com/headgate-io/headgate/ingest/otlp"
)

// TestX1LargeCompressedBombsAreNotHeld: of bombs that are over 10 MiB as they come, since their coding packs no better, no more is
// read than what shows them. They have no turn afterwards.
func TestX1LargeCompressedBombsAreNotHeld(t *testing.T) {
	r := bareReceiver(Options{MaxBodyBytes: 256 << 20})
	text := append([]byte(`{"resourceLogs":[{"scopeLogs":[{"logRecords":[{}`), bytes.Repeat([]byte(",{}"), 80<<20)...)
	for name, c := range map[string]struct {
		encoding encoding
		raw      []byte
		want     kind
	}{
		"zeros":         {protobuf, make([]byte, 240<<20), undecodable},
		"records":       {protobuf, wrapped(bytes.Repeat([]byte{0x12, 0}, 120<<20), 2, 1), tooManyRecords},
		"JSON":          {jsonEncoding, text, tooManyRecords},
		"zeros as JSON": {jsonEncoding, make([]byte, 240<<20), undecodable},
	} {
		body := framed(t, c.raw)
		if len(body) < 2*unfoldBytes {
			t.Fatalf("%s: %d bytes", name, len(body))
		}
		w, f := r.enter(t.Context(), someTenant(t), "key of "+name)
		if f != nil {
			t.Fatal(f)
		}
		wire := bytes.NewReader(body)
		f = r.receive(t.Context(), wire, form{encoding: c.encoding, codec: r.codecs["x-snappy-framed"]}, w)
		if f == nil || f.kind != c.want {
			t.Errorf("%s: %v, want %s", name, f, c.want.id)
		}
		if read := len(body) - wire.Len(); read > unfoldBytes+readAtOnce || w.hold.bytes > unfoldBytes || w.inflated == 0 || w.inflated > glanceBytes {
			t.Errorf("%s: %d bytes read, %d held, %d inflated", name, read, w.hold.bytes, w.inflated)
		}
		if w.lane != nil {
			t.Errorf("%s: it has a turn", name)
		}
		w.leave()
	}
}

// TestLargeCompressedBodiesAreTaken: what is large because it says much is received, in every coding, and is what it was.
func TestLargeCompressedBodiesAreTaken(t *testing.T) {
	noise := make([]byte, 6<<20)
	random := rand.NewChaCha8([32]byte{1})
	_, _ = random.Read(noise)
	proto := wrapped(wrapped(noise, 7, 5), 2, 2, 1) // bytes of a log's body
	r := bareReceiver(Options{})
	for _, c := range codings {
		q := form{signal: otlp.Logs, encoding: protobuf}
		q.codec, _ = r.codecs.find([]string{c.name})
		w, f := r.enter(t.Context(), someTenant(t), "some key")
		if f != nil {
			t.Fatal(f)
		}
		if f = r.receive(t.Context(), bytes.NewReader(c.encode(t, proto)), q, w); f == nil {
			f = r.unpack(t.Context(), q, w)
		}
		if f != nil || !bytes.Equal(w.body.b, proto) {
			t.Errorf("%s: %v, %d bytes, want %d", c.form, f, len(w.body.b), len(proto))
		}
		w.leave()
	}
	if n := r.budget.inUse(); n != 0 || len(r.small.lines)+len(r.large.lines) != 0 {
		t.Errorf("%d bytes and turns are held at the end", n)
	}
}
