package ingest

import (
	"bytes"
	"strings"
	"testing"

	"github.com/headgate-io/headgate/auth"
	"github.com/headgate-io/headgate/ingest/otlp"
)

// TestX1CompressedJSONEndsAtWhatIsWrong: of 60 MiB no more is inflated than to the first thing that is wrong and a window,
// however sparsely depth and records lie between long strings.
func TestX1CompressedJSONEndsAtWhatIsWrong(t *testing.T) {
	const open = `{"resourceLogs":[{"scopeLogs":[{"logRecords":[`
	long := `"` + strings.Repeat("some text, and more of it; ", 40) + `"`
	rest := strings.Repeat(long+",", 60<<20/len(long))
	records := open + strings.Repeat(`{"severityText":"`+strings.Repeat("x", 50)+`"},`, 262_144) + "{},"
	r := bareReceiver(Options{})
	for name, c := range map[string]struct {
		beginning string
		want      kind
	}{
		"depth":   {open + `{"x":` + strings.Repeat("["+long+",", 270), undecodable},
		"syntax":  {open + strings.Repeat(`{"severityText":`+long+"},", 1000) + "},", undecodable},
		"records": {records, tooManyRecords},
	} {
		for coding, pack := range map[string]func(*testing.T, []byte) []byte{"gzip": zipped, "zstd": zstded} {
			q := form{encoding: jsonEncoding, codec: r.codecs[coding]}
			w, f := r.enter(t.Context(), someTenant(t), "some key")
			if f != nil {
				t.Fatal(f)
			}
			if f = r.receive(t.Context(), bytes.NewReader(pack(t, []byte(c.beginning+rest))), q, w); f == nil {
				f = r.unpack(t.Context(), q, w)
			}
			if f == nil || f.kind != c.want {
				t.Errorf("%s, %s: %v, want %s", name, coding, f, c.want.id)
			}
			if most := int64(len(c.beginning)) + 2*windowBytes; w.inflated > most || w.hold.bytes > 2*most {
				t.Errorf("%s, %s: %d bytes inflated, %d held, want at most %d", name, coding, w.inflated, w.hold.bytes, most)
			}
			w.leave()
		}
	}
}

// TestPromise7OfCompressedJSONAWindowIsHeld: a text of 40 MiB takes the memory of what it is compressed, of its protobuf, and
// of its longest string.
func TestPromise7OfCompressedJSONAWindowIsHeld(t *testing.T) {
	record := `{"timeUnixNano":"1700000000000000000","traceId":"5b8efff798038103d269b633813fc60c","unknown":"` + strings.Repeat("x", 2000) + `"}`
	text := []byte(`{"resourceLogs":[{"scopeLogs":[{"logRecords":[` + record + strings.Repeat(","+record, 40<<20/len(record)) + `]}]}]}`)
	want, err := otlp.JSONToProto(otlp.Logs, text)
	if err != nil {
		t.Fatal(err)
	}
	packed := zipped(t, text)
	r := bareReceiver(Options{MaxInFlightBytes: 8 << 20, MaxBodyBytes: 64 << 20})
	r.small, r.large = newTurns(1, 1), newTurns(1, 1)
	q := form{encoding: jsonEncoding, codec: r.codecs["gzip"]}
	w, f := r.enter(t.Context(), someTenant(t), "some key")
	if f != nil {
		t.Fatal(f)
	}
	defer w.leave()
	if f = r.receive(t.Context(), bytes.NewReader(packed), q, w); f == nil {
		f = r.unpack(t.Context(), q, w)
	}
	if f != nil || !bytes.Equal(w.body.b, want) || w.inflated != int64(len(text)) {
		t.Errorf("%v, %d bytes of protobuf, want %d; %d inflated, want %d", f, len(w.body.b), len(want), w.inflated, len(text))
	}
	if w.hold.bytes != int64(cap(w.body.b)) {
		t.Errorf("%d bytes are held for a body of %d", w.hold.bytes, cap(w.body.b))
	}
}

// TestH13LimitIsExactForJSON: the text counts, and so does its protobuf, in every form.
func TestH13LimitIsExactForJSON(t *testing.T) {
	const limit = 200_000
	g := start(t, Options{MaxBodyBytes: limit})
	_, key := g.tenant("acme", auth.NewTenant{})
	sized := func(n int) []byte {
		const head, tail = `{"resourceLogs":[{"scopeLogs":[{"logRecords":[{"timeUnixNano":"1","body":{"stringValue":"`, `"}}]}]}]}`
		return []byte(head + strings.Repeat("x", n-len(head)-len(tail)) + tail)
	}
	short := []byte(`{"resourceLogs":[{"scopeLogs":[{"logRecords":[{}` + strings.Repeat(",{}", 30_000) + `]}]}]}`) // 90,000 bytes, 240,000 of protobuf
	for _, c := range codings {
		for n, status := range map[int]int{limit - 1: 200, limit: 200, limit + 1: 413} {
			if a := g.post("/v1/logs", bytes.NewReader(c.encode(t, sized(n))), "key", key, "Content-Type", jsonType, "Content-Encoding", c.name); a.status != status {
				t.Errorf("%s of %d bytes: %d %s, want %d", c.form, n, a.status, a.body, status)
			}
		}
		if a := g.post("/v1/logs", bytes.NewReader(c.encode(t, short)), "key", key, "Content-Type", jsonType, "Content-Encoding", c.name); a.status != 413 {
			t.Errorf("%s of %d bytes, more in protobuf: %d %s, want 413", c.form, len(short), a.status, a.body)
		}
	}
}

// TestH32DamagedJSONIsBadData: what is wrong behind a text that is whole is seen.
func TestH32DamagedJSONIsBadData(t *testing.T) {
	g := start(t, Options{})
	_, key := g.tenant("acme", auth.NewTenant{})
	raw := encode(t, logs(200), jsonEncoding)
	sum := zipped(t, raw)
	wrong := bytes.Clone(sum)
	wrong[len(wrong)-6] ^= 0x55
	for name, bad := range map[string][]byte{
		"checksum": wrong, "garbage": append(bytes.Clone(sum), "garbage"...), "no checksum": sum[:len(sum)-8], "half": sum[:len(sum)/2], "plain": raw, "nothing": {},
		"a second text": append(bytes.Clone(sum), sum...),
	} {
		a := g.post("/v1/logs", bytes.NewReader(bad), "key", key, "Content-Type", jsonType, "Content-Encoding", "gzip")
		wantStatus(t, a, 400, jsonType, "undecodable")
		if t.Failed() {
			t.Fatal(name)
		}
	}
	for _, c := range codings[2:] {
		a := g.post("/v1/logs", bytes.NewReader(append(c.encode(t, raw), "garbage"...)), "key", key, "Content-Type", jsonType, "Content-Encoding", c.name)
		wantStatus(t, a, 400, jsonType, "undecodable")
		if t.Failed() {
			t.Fatal(c.form)
		}
	}
	half := len(raw) / 2
	for name, good := range map[string][]byte{"whole": sum, "members": append(zipped(t, raw[:half]), zipped(t, raw[half:])...), "spaces": append(bytes.Clone(sum), zipped(t, []byte(" \n"))...)} {
		if a := g.post("/v1/logs", bytes.NewReader(good), "key", key, "Content-Type", jsonType, "Content-Encoding", "gzip"); a.status != 200 {
			t.Errorf("%s: %d %s", name, a.status, a.body)
		}
	}
}
