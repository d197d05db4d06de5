package ingest

import (
	"bytes"
	"compress/zlib"
	"context"
	"encoding/binary"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/klauspost/compress/flate"
	"github.com/klauspost/compress/s2"
	"github.com/klauspost/compress/zstd"
	"github.com/pierrec/lz4/v4"
	"google.golang.org/grpc/codes"
)

// A coding is one way to compress a body, with the name it is sent under.
type coding struct {
	form   string
	name   string // of Content-Encoding
	encode func(t *testing.T, raw []byte) []byte
}

func streamed(open func(io.Writer) io.WriteCloser) func(*testing.T, []byte) []byte {
	return func(t *testing.T, raw []byte) []byte {
		t.Helper()
		var buf bytes.Buffer
		w := open(&buf)
		if _, err := w.Write(raw); err != nil {
			t.Fatal(err)
		}
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
		return buf.Bytes()
	}
}

var (
	deflateRaw = streamed(func(w io.Writer) io.WriteCloser { f, _ := flate.NewWriter(w, 6); return f })
	zlibbed    = streamed(func(w io.Writer) io.WriteCloser { return zlib.NewWriter(w) })
	zstded     = streamed(func(w io.Writer) io.WriteCloser { z, _ := zstd.NewWriter(w); return z })
	framed     = streamed(func(w io.Writer) io.WriteCloser { return s2.NewWriter(w, s2.WriterSnappyCompat()) })
	lz4ed      = streamed(func(w io.Writer) io.WriteCloser { return lz4.NewWriter(w) })
)

// codings is every form that OTLP/HTTP bodies are taken in.
var codings = []coding{
	{"none", "", func(_ *testing.T, raw []byte) []byte { return raw }},
	{"identity", "Identity", func(_ *testing.T, raw []byte) []byte { return raw }},
	{"gzip", "gzip", zipped},
	{"gzip in two members", "GZip", func(t *testing.T, raw []byte) []byte {
		return append(zipped(t, raw[:len(raw)/2]), zipped(t, raw[len(raw)/2:])...)
	}},
	{"zstd", "ZSTD", zstded},
	{"zstd in two frames", "zstd", func(t *testing.T, raw []byte) []byte {
		return append(zstded(t, raw[:len(raw)/2]), zstded(t, raw[len(raw)/2:])...)
	}},
	{"deflate", "deflate", zlibbed},
	{"raw deflate", "deflate", deflateRaw},
	{"zlib", " zlib ", zlibbed},
	{"snappy block", "snappy", func(_ *testing.T, raw []byte) []byte { return s2.EncodeSnappy(nil, raw) }},
	{"snappy framed", "snappy", framed},
	{"x-snappy-framed", "x-snappy-framed", framed},
	{"lz4", "lz4", lz4ed},
}

// http2Client speaks HTTP/2 without TLS, from the first byte on.
func http2Client(t *testing.T) *http.Client {
	var p http.Protocols
	p.SetUnencryptedHTTP2(true)
	tr := &http.Transport{Protocols: &p, DisableCompression: true}
	t.Cleanup(tr.CloseIdleConnections)
	return &http.Client{Transport: tr, Timeout: time.Minute}
}

// prefixed is a message as gRPC frames it.
func prefixed(compressed byte, message []byte) []byte {
	return append(binary.BigEndian.AppendUint32([]byte{compressed}, uint32(len(message))), message...)
}

// A grpcAnswer is what came back on the wire.
type grpcAnswer struct {
	code         codes.Code
	message      string
	trailersOnly bool
	header       http.Header // headers and trailers
}

// callGRPC makes one Export call of logs by hand, so that any bytes and headers can be sent. Headers are pairs.
func callGRPC(t *testing.T, addr string, body io.Reader, headers ...string) grpcAnswer {
	t.Helper()
	a, err := tryGRPC(t.Context(), http2Client(t), addr, body, headers...)
	if err != nil {
		t.Fatalf("call %s: %v", addr, err)
	}
	return a
}

func tryGRPC(ctx context.Context, client *http.Client, addr string, body io.Reader, headers ...string) (grpcAnswer, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, addr+"/opentelemetry.proto.collector.logs.v1.LogsService/Export", body)
	if err != nil {
		return grpcAnswer{}, err
	}
	req.Header.Set("Content-Type", "application/grpc")
	req.Header.Set("TE", "trailers")
	for i := 0; i < len(headers); i += 2 {
		if headers[i] == "key" {
			headers[i], headers[i+1] = "Authorization", "Bearer "+headers[i+1]
		}
		req.Header.Set(headers[i], headers[i+1])
	}
	resp, err := client.Do(req)
	if err != nil {
		return grpcAnswer{}, err
	}
	defer resp.Body.Close()
	if _, err := io.Copy(io.Discard, resp.Body); err != nil {
		return grpcAnswer{}, err
	}
	a := grpcAnswer{header: resp.Header, trailersOnly: resp.Header.Get("Grpc-Status") != ""}
	for k, v := range resp.Trailer {
		a.header[k] = v
	}
	code, err := strconv.Atoi(a.header.Get("Grpc-Status"))
	a.code, a.message = codes.Code(code), a.header.Get("Grpc-Message")
	return a, err
}

// dialRaw opens a TCP connection with a deadline.
func dialRaw(t *testing.T, addr string) net.Conn {
	t.Helper()
	c, err := net.Dial("tcp", strings.TrimPrefix(addr, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	if err := c.SetDeadline(time.Now().Add(30 * time.Second)); err != nil {
		t.Fatal(err)
	}
	return c
}

// sized is a protobuf request of one log record and exactly n bytes.
func sized(t *testing.T, n int) []byte {
	t.Helper()
	req := logs(1)
	text := req.Logs().ResourceLogs().At(0).ScopeLogs().At(0).LogRecords().At(0).Body()
	for pad := n; ; {
		text.SetStr(strings.Repeat("x", pad))
		raw := encode(t, req, protobuf)
		if len(raw) == n {
			return raw
		}
		pad += n - len(raw)
	}
}
