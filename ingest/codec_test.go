package ingest

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"net/http"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/klauspost/compress/zstd"
	"github.com/prometheus/client_golang/prometheus"
	"go.opentelemetry.io/collector/pdata/plog/plogotlp"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"

	"github.com/headgate-io/headgate/auth"
	"github.com/headgate-io/headgate/storage/schema"
)

// TestH11EveryEncodingIsTaken sends one request in every form, and finds it stored and billed as if it came plain.
func TestH11EveryEncodingIsTaken(t *testing.T) {
	g := start(t, Options{})
	raw := encode(t, logs(5), protobuf)
	for _, c := range codings {
		id, key := g.tenant("t-"+strings.ReplaceAll(c.form, " ", "-"), auth.NewTenant{})
		for range 3 { // the second and third time with pooled readers
			want200(t, g.post("/v1/logs", bytes.NewReader(c.encode(t, raw)), "key", key, "Content-Type", protoType, "Content-Encoding", c.name), protoType, "")
		}
		if bill := g.billed(id); bill.BilledBytes != 3*int64(len(raw)) || g.rows(schema.Logs, id) != 15 {
			t.Errorf("%s: billed %+v, %d rows", c.form, bill, g.rows(schema.Logs, id))
		}
	}
}

func TestH12OneKnownEncodingAlone(t *testing.T) {
	g := start(t, Options{})
	_, key := g.tenant("acme", auth.NewTenant{})
	raw := encode(t, logs(1), protobuf)
	for _, values := range [][]string{{"br"}, {"gzip, gzip"}, {"gzip", "gzip"}, {"gzip, zstd"}, {"x"}, {"gzip", "br"}} {
		headers := []string{"key", key, "Content-Type", protoType}
		for _, v := range values {
			headers = append(headers, "Content-Encoding", v)
		}
		a := g.post("/v1/logs", bytes.NewReader(zipped(t, zipped(t, raw))), headers...)
		wantStatus(t, a, 415, protoType, "content-encoding-unsupported")
		if !strings.Contains(a.header.Get("Accept-Encoding"), "zstd") {
			t.Errorf("%q: Accept-Encoding %q", values, a.header.Get("Accept-Encoding"))
		}
	}
	want200(t, g.post("/v1/logs", bytes.NewReader(zipped(t, raw)), "key", key, "Content-Type", protoType, "Content-Encoding", "identity, gzip"), protoType, "")
}

// TestH32DamagedBodiesAreBadData: whatever is damaged, the answer is 400 and the next body of that coding decodes.
func TestH32DamagedBodiesAreBadData(t *testing.T) {
	g := start(t, Options{})
	_, key := g.tenant("acme", auth.NewTenant{})
	raw := sized(t, 100_000)
	flip := func(b []byte, i int) []byte { c := bytes.Clone(b); c[i] ^= 0x55; return c }
	for _, c := range codings[2:] {
		good := c.encode(t, raw)
		for name, bad := range map[string][]byte{
			"plain":     raw,
			"cut":       good[:len(good)/2],
			"one byte":  good[:1],
			"the start": flip(good, 0),
		} {
			a := g.post("/v1/logs", bytes.NewReader(bad), "key", key, "Content-Type", protoType, "Content-Encoding", c.name)
			if c.form == "raw deflate" && name == "plain" && a.status == 200 {
				continue // no magic, no checksum
			}
			wantStatus(t, a, 400, protoType, "undecodable")
			if t.Failed() {
				t.Fatalf("%s, %s", c.form, name)
			}
		}
		want200(t, g.post("/v1/logs", bytes.NewReader(good), "key", key, "Content-Type", protoType, "Content-Encoding", c.name), protoType, "")
	}
	sum := zipped(t, raw)
	for name, bad := range map[string][]byte{"bad crc": flip(sum, len(sum)-6), "trailing garbage": append(bytes.Clone(sum), "garbage"...)} {
		a := g.post("/v1/logs", bytes.NewReader(bad), "key", key, "Content-Type", protoType, "Content-Encoding", "gzip")
		if a.status != 400 {
			t.Errorf("%s: %d", name, a.status)
		}
	}
	// gRPC tells bad data from its own failures too.
	for _, name := range []string{"gzip", "zstd", "snappy"} {
		a := callGRPC(t, "http://"+g.grpc, bytes.NewReader(prefixed(1, []byte("not compressed"))), "key", key, "Grpc-Encoding", name)
		if a.code != codes.InvalidArgument || !strings.Contains(a.message, "(undecodable)") {
			t.Errorf("grpc %s: %v %s", name, a.code, a.message)
		}
	}
}

// TestG5EveryGRPCEncodingIsTaken uses grpc-go as its own client.
func TestG5EveryGRPCEncodingIsTaken(t *testing.T) {
	g := start(t, Options{})
	id, key := g.tenant("acme", auth.NewTenant{})
	client := plogotlp.NewGRPCClient(g.dial())
	for i, opt := range []grpc.CallOption{grpc.EmptyCallOption{}, grpc.UseCompressor("gzip"), grpc.UseCompressor("zstd"), grpc.UseCompressor("snappy")} {
		if _, err := client.Export(withKey(t.Context(), key), logs(2), opt); err != nil {
			t.Errorf("encoding %d: %v", i, err)
		}
	}
	raw := encode(t, logs(2), protobuf)
	for _, headers := range [][]string{{"Grpc-Encoding", "identity"}, {"Grpc-Encoding", "gzip"}} { // uncompressed message, whatever is announced
		if a := callGRPC(t, "http://"+g.grpc, bytes.NewReader(prefixed(0, raw)), append(headers, "key", key)...); a.code != codes.OK {
			t.Errorf("%v: %v %s", headers, a.code, a.message)
		}
	}
	if n := g.rows(schema.Logs, id); n != 12 {
		t.Errorf("%d rows, want 12", n)
	}
}

func TestG6UnknownGRPCEncodingIsUnimplemented(t *testing.T) {
	g := start(t, Options{})
	_, key := g.tenant("acme", auth.NewTenant{})
	for _, encoding := range []string{"br", "deflate", "lz4", "x-snappy-framed"} {
		for compressed := range byte(2) {
			a := callGRPC(t, "http://"+g.grpc, bytes.NewReader(prefixed(compressed, nil)), "key", key, "Grpc-Encoding", encoding)
			if a.code != codes.Unimplemented || !strings.Contains(a.message, encoding) || !a.trailersOnly || a.header.Get("Grpc-Accept-Encoding") != "gzip,zstd,snappy,identity" {
				t.Errorf("%s: %v %s, trailers-only %v, %v", encoding, a.code, a.message, a.trailersOnly, a.header)
			}
		}
	}
	// Compressed without saying how: neither guessed nor crashed on.
	for _, encoding := range []string{"", "identity"} {
		if a := callGRPC(t, "http://"+g.grpc, bytes.NewReader(prefixed(1, []byte("x"))), "key", key, "Grpc-Encoding", encoding); a.code != codes.Unimplemented || a.header.Get("Grpc-Accept-Encoding") == "" {
			t.Errorf("%q: %v %s", encoding, a.code, a.message)
		}
	}
	if n := g.metricOf("headgate_ingest_requests_total", map[string]string{"outcome": "content-encoding-unsupported"}); n != 10 {
		t.Errorf("%v refusals are counted, want 10", n)
	}
	// What has no name that we know is refused by grpc-go, which does not say what is taken.
	if a := callGRPC(t, "http://"+g.grpc, bytes.NewReader(prefixed(1, []byte("x"))), "key", key, "Grpc-Encoding", "acme-9"); a.code != codes.Unimplemented || !strings.Contains(a.message, "acme-9") {
		t.Errorf("%v %s", a.code, a.message)
	}
}

// TestH13LimitIsExact: a request of the limit passes, one byte more does not, in every form and on every transport.
func TestH13LimitIsExact(t *testing.T) {
	const limit = 100_000
	g := start(t, Options{MaxBodyBytes: limit})
	_, key := g.tenant("acme", auth.NewTenant{})
	two := http2Client(t)
	for n, fits := range map[int]bool{limit - 1: true, limit: true, limit + 1: false} {
		raw := sized(t, n)
		for _, c := range codings {
			packed := c.encode(t, raw)
			bodies := map[string]io.Reader{"sized": bytes.NewReader(packed), "chunked": io.MultiReader(bytes.NewReader(packed))}
			for name, body := range bodies {
				a := g.post("/v1/logs", body, "key", key, "Content-Type", protoType, "Content-Encoding", c.name)
				if fits {
					want200(t, a, protoType, "")
				} else {
					st := wantStatus(t, a, 413, protoType, "too-large")
					if len(st.GetDetails()) != 1 || a.header.Get("Retry-After") != "" {
						t.Errorf("details %v, Retry-After %q: clients must not retry", st.GetDetails(), a.header.Get("Retry-After"))
					}
				}
				if t.Failed() {
					t.Fatalf("%s %s of %d bytes", name, c.form, n)
				}
			}
			req, _ := http.NewRequestWithContext(t.Context(), http.MethodPost, g.http+"/v1/logs", io.MultiReader(bytes.NewReader(packed)))
			req.Header = http.Header{"Authorization": {"Bearer " + key}, "Content-Type": {protoType}, "Content-Encoding": {c.name}}
			resp, err := two.Do(req)
			if err != nil {
				t.Fatal(err)
			}
			_ = resp.Body.Close()
			if want := map[bool]int{true: 200, false: 413}[fits]; resp.StatusCode != want || resp.ProtoMajor != 2 {
				t.Errorf("http/2 %s of %d bytes: %d, want %d", c.form, n, resp.StatusCode, want)
			}
		}
		for _, c := range []coding{{"", "", codings[0].encode}, {"", "gzip", zipped}, {"", "zstd", zstded}, {"", "snappy", framed}} {
			var flag byte
			if c.name != "" {
				flag = 1
			}
			a := callGRPC(t, "http://"+g.grpc, bytes.NewReader(prefixed(flag, c.encode(t, raw))), "key", key, "Grpc-Encoding", c.name)
			if want := map[bool]codes.Code{true: codes.OK, false: codes.ResourceExhausted}[fits]; a.code != want || a.header.Get("Google.rpc.retryinfo-Bin") != "" {
				t.Errorf("grpc %q of %d bytes: %v %s", c.name, n, a.code, a.message)
			}
		}
	}
}

// TestG7DefaultLimitIs64MiB: on the wire and unzipped, with the default options.
func TestG7DefaultLimitIs64MiB(t *testing.T) {
	g := start(t, Options{})
	_, key := g.tenant("acme", auth.NewTenant{})
	big := sized(t, 65<<20)
	for _, c := range []struct {
		body []byte
		enc  string
		want codes.Code
	}{
		{prefixed(0, sized(t, 63<<20)), "", codes.OK},
		{prefixed(0, big), "", codes.ResourceExhausted},
		{prefixed(1, zipped(t, big)), "gzip", codes.ResourceExhausted},
	} {
		if a := callGRPC(t, "http://"+g.grpc, bytes.NewReader(c.body), "key", key, "Grpc-Encoding", c.enc); a.code != c.want {
			t.Errorf("%d bytes %q: %v %s, want %v", len(c.body), c.enc, a.code, a.message, c.want)
		}
	}
	want200(t, g.post("/v1/logs", bytes.NewReader(sized(t, 63<<20)), "key", key, "Content-Type", protoType), protoType, "")
	wantStatus(t, g.post("/v1/logs", bytes.NewReader(big), "key", key, "Content-Type", protoType), 413, protoType, "too-large")
}

// TestX1BombsCostWhatTheLimitAllows: 64 MiB of zeros in every coding and transport, against a limit of 1 MiB.
func TestX1BombsCostWhatTheLimitAllows(t *testing.T) {
	g := start(t, Options{MaxBodyBytes: 1 << 20})
	_, key := g.tenant("acme", auth.NewTenant{})
	zeros := make([]byte, 64<<20)
	for _, c := range codings[2:] {
		bomb := c.encode(t, zeros)
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		a := g.post("/v1/logs", bytes.NewReader(bomb[:min(len(bomb), 1<<20)]), "key", key, "Content-Type", protoType, "Content-Encoding", c.name)
		runtime.ReadMemStats(&after)
		wantStatus(t, a, 413, protoType, "too-large")
		if grew := after.TotalAlloc - before.TotalAlloc; grew > 40<<20 {
			t.Errorf("%s: %d MiB allocated", c.form, grew>>20)
		}
	}
	for name, bomb := range map[string][]byte{"gzip": zipped(t, zeros), "zstd": zstded(t, zeros), "snappy": framed(t, zeros)[:1<<19]} {
		if a := callGRPC(t, "http://"+g.grpc, bytes.NewReader(prefixed(1, bomb)), "key", key, "Grpc-Encoding", name); a.code != codes.ResourceExhausted {
			t.Errorf("grpc %s: %v %s", name, a.code, a.message)
		}
	}
}

// TestX1ZstdWindowIsBounded: a frame that asks for 64 MiB of window is refused before it gets them.
func TestX1ZstdWindowIsBounded(t *testing.T) {
	var buf bytes.Buffer
	w, err := zstd.NewWriter(&buf, zstd.WithWindowSize(64<<20))
	if err != nil {
		t.Fatal(err)
	}
	for range 3 { // more than one block, so that the frame states its window
		if _, err := w.Write(make([]byte, 1<<20)); err != nil {
			t.Fatal(err)
		}
		if err := w.Flush(); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	var out buffer
	if err := newCodec(newZstd).inflate(&out, buf.Bytes(), 64<<20, unbounded); err == nil {
		t.Error("decoded with a window over the bound")
	}
}

func unbounded(int64, int64) error { return nil }

// TestCodecsLeakNoGoroutine opens readers and forgets them.
func TestCodecsLeakNoGoroutine(t *testing.T) {
	before := runtime.NumGoroutine()
	raw := bytes.Repeat([]byte("telemetry "), 100_000)
	for _, c := range codings[2:] {
		codec, _ := newCodecs().find([]string{c.name})
		for range 10 {
			var out buffer
			if err := codec.inflate(&out, c.encode(t, raw), 1000, unbounded); !errors.Is(err, errTooLarge) {
				t.Fatalf("%s: %v", c.form, err)
			}
		}
	}
	if after := runtime.NumGoroutine(); after > before+2 {
		t.Errorf("%d goroutines before, %d after", before, after)
	}
}

// bareReceiver receives bodies, and has nothing behind it.
func bareReceiver(opt Options) *receiver {
	opt.setDefaults()
	budget := newBudget(opt.MaxInFlightBytes, opt.MaxTenantBytes, opt.MaxTenantCalls)
	return &receiver{
		opt: opt, codecs: newCodecs(), budget: budget, gates: newGates(time.Now, budget.waste.suspect),
		small: smallTurns(opt), large: largeTurns(opt), slow: slowTurns(opt), metrics: newMetrics(prometheus.NewRegistry(), func() float64 { return 0 }),
	}
}

// TestX2ObjectBombEndsAtItsBeginning: of 64 MiB of empty records, in protobuf or JSON, two are read, inflated and held.
func TestX2ObjectBombEndsAtItsBeginning(t *testing.T) {
	plain := wrapped(bytes.Repeat([]byte{0x12, 0}, 32<<20-100), 2, 1)
	text := append([]byte(`{"resourceLogs":[{"scopeLogs":[{"logRecords":[{}`), bytes.Repeat([]byte(",{}"), 21<<20)...)
	endsAtItsBeginning(t, plain, text, tooManyRecords)
}

// TestX3DeepNestingEndsAtItsBeginning: likewise of 60 MiB of JSON that nests ten million deep; in protobuf, zeros are as soon known
// for what they are.
func TestX3DeepNestingEndsAtItsBeginning(t *testing.T) {
	text := []byte(`{"resourceLogs":[{"scopeLogs":[{"logRecords":[{"body":` + strings.Repeat(`{"arrayValue":{"values":[`, 2_500_000))
	endsAtItsBeginning(t, make([]byte, 60<<20), text, undecodable)
}

// endsAtItsBeginning wants bodies to be refused as k before more than some MiB of them were read, inflated or held.
func endsAtItsBeginning(t *testing.T, proto, text []byte, k kind) {
	t.Helper()
	r := bareReceiver(Options{})
	for name, c := range map[string]struct {
		form form
		body []byte
	}{
		"plain":      {form{}, proto},
		"gzip":       {form{codec: r.codecs["gzip"]}, zipped(t, proto)},
		"zstd":       {form{codec: r.codecs["zstd"]}, zstded(t, proto)},
		"json":       {form{encoding: jsonEncoding}, text},
		"json, gzip": {form{encoding: jsonEncoding, codec: r.codecs["gzip"]}, zipped(t, text)},
	} {
		const most = 4 << 20
		w, f := r.enter(t.Context(), someTenant(t), "some key")
		if f != nil {
			t.Fatal(f)
		}
		wire := bytes.NewReader(c.body)
		if f = r.receive(t.Context(), wire, c.form, w); f == nil {
			f = r.unpack(t.Context(), c.form, w)
		}
		if f == nil || f.kind != k {
			t.Errorf("%s: %v, want %s", name, f, k.id)
		}
		if read := int64(len(c.body) - wire.Len()); read > most || w.inflated > most || w.hold.bytes > most {
			t.Errorf("%s: %d bytes read, %d inflated, %d held", name, read, w.inflated, w.hold.bytes)
		}
		w.leave()
	}
}

// wrapped puts b into fields with the given numbers, the first innermost.
func wrapped(b []byte, numbers ...byte) []byte {
	for _, n := range numbers {
		b = append(binary.AppendUvarint([]byte{n<<3 | 2}, uint64(len(b))), b...)
	}
	return b
}

// FuzzCodecs: no input makes a codec panic, hang, or put out more than the limit.
func FuzzCodecs(f *testing.F) {
	const limit = 1 << 16
	r := bareReceiver(Options{MaxBodyBytes: limit, MaxInFlightBytes: 1 << 20})
	names := []string{"gzip", "zstd", "lz4", "deflate", "snappy", "x-snappy-framed"}
	for i := range names {
		f.Add(byte(i), []byte("\x1f\x8b\x08\x00"))
		f.Add(byte(i), []byte("\x28\xb5\x2f\xfd\x00\x00\x01\x00\x00"))
		f.Add(byte(i), []byte("\x04\x22\x4d\x18\x64\x40\xa7"))
		f.Add(byte(i), []byte(snappyMagic))
		f.Add(byte(i), []byte("\xff\xff\xff\xff\x0f"))
	}
	f.Fuzz(func(t *testing.T, which byte, data []byte) {
		w, f := r.enter(t.Context(), someTenant(t), "some key")
		if f != nil {
			t.Fatal(f)
		}
		if f := r.receive(t.Context(), bytes.NewReader(data), form{codec: r.codecs["gzip"]}, w); f == nil {
			_ = r.unpack(t.Context(), form{codec: r.codecs[names[int(which)%len(names)]]}, w)
		}
		if len(w.body.b) > limit {
			t.Fatalf("%d bytes out of %d", len(w.body.b), len(data))
		}
		w.leave()
		if n := r.budget.inUse(); n != 0 || len(r.small.lines)+len(r.large.lines)+len(r.slow.lines) != 0 {
			t.Fatalf("%d bytes and a turn are held for ever", n)
		}
	})
}
