package ingest

import (
	"bytes"
	"compress/gzip"
	"testing"

	"github.com/klauspost/compress/s2"
	"github.com/klauspost/compress/zstd"

	"github.com/headgate-io/headgate/auth"
)

// TestH11CodingsAreReadAsTheirFormatsHaveThem: what encoders may write around and between their blocks is passed over, and what
// cannot be read is 400.
func TestH11CodingsAreReadAsTheirFormatsHaveThem(t *testing.T) {
	g := start(t, Options{})
	_, key := g.tenant("acme", auth.NewTenant{})
	raw := encode(t, logs(3), protobuf)
	packed := map[string][]byte{}
	pack := func(name string, b []byte) []byte {
		for _, c := range codings {
			if c.name == name {
				return c.encode(t, b)
			}
		}
		t.Fatalf("no coding %q", name)
		return nil
	}
	for _, name := range []string{"gzip", "zstd", "x-snappy-framed", "lz4"} {
		packed[name] = pack(name, raw)
	}
	join := func(parts ...[]byte) []byte { return bytes.Join(parts, nil) }
	var named bytes.Buffer
	w := gzip.NewWriter(&named)
	w.Name, w.Comment, w.Extra = "a name", "a comment", []byte("ab\x02\x00xy")
	_, _ = w.Write(raw)
	_ = w.Close()
	reserved := bytes.Clone(packed["gzip"])
	reserved[3] |= 0x80
	z, err := zstd.NewWriter(nil, zstd.WithWindowSize(maxZstdWindow))
	if err != nil {
		t.Fatal(err)
	}
	skipped := []byte("\x50\x2a\x4d\x18\x03\x00\x00\x00abc") // of zstd and lz4
	for _, c := range []struct {
		name, coding string
		body         []byte
		status       int
	}{
		{"under its old name", "x-gzip", packed["gzip"], 200},
		{"with fields", "gzip", named.Bytes(), 200},
		{"empty members around", "gzip", join(pack("gzip", nil), packed["gzip"], pack("gzip", nil)), 200},
		{"of nothing", "gzip", pack("gzip", nil), 200},
		{"without a byte", "gzip", nil, 400},
		{"zeros behind", "gzip", join(packed["gzip"], make([]byte, 10)), 400},
		{"reserved flag", "gzip", reserved, 400},
		{"skippable frames around", "zstd", join(skipped, packed["zstd"], skipped), 200},
		{"without a byte, as encoders write nothing", "zstd", nil, 200},
		{"the largest window", "zstd", z.EncodeAll(sized(t, 2*maxZstdWindow), nil), 200},
		{"dictionary", "zstd", []byte("\x28\xb5\x2f\xfd\x21\x07\x03\x19\x00\x00abc"), 400},
		{"older format", "zstd", append([]byte("\x27"), packed["zstd"][1:]...), 400},
		{"skippable frames around", "lz4", join(skipped, packed["lz4"], skipped), 200},
		{"two frames", "lz4", join(pack("lz4", raw[:10]), pack("lz4", raw[10:])), 200},
		{"empty block", "snappy", s2.EncodeSnappy(nil, nil), 200},
		{"padding and skippable chunks", "x-snappy-framed", join(packed["x-snappy-framed"], []byte("\xfe\x03\x00\x00abc\x80\x03\x00\x00abc")), 200},
		{"two streams", "x-snappy-framed", join(pack("x-snappy-framed", raw[:10]), pack("x-snappy-framed", raw[10:])), 200},
		{"chunk that may not be skipped", "x-snappy-framed", join(packed["x-snappy-framed"], []byte("\x02\x03\x00\x00abc")), 400},
		{"chunk that is too long", "x-snappy-framed", []byte(snappyMagic + "\x01\xff\xff\x7f"), 400},
	} {
		a := g.post("/v1/logs", bytes.NewReader(c.body), "key", key, "Content-Type", protoType, "Content-Encoding", c.coding)
		if a.status != c.status {
			t.Errorf("%s %s: %d %s, want %d", c.coding, c.name, a.status, a.body, c.status)
		}
	}
}
