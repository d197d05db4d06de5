package ingest

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"

	"github.com/headgate-io/headgate/auth"
)

// rawHTTP2 is an HTTP/2 connection that sends what it is told, whatever the server said it takes.
type rawHTTP2 struct {
	t      *testing.T
	framer *http2.Framer
	next   uint32 // stream
}

func dialHTTP2(t *testing.T, addr string) *rawHTTP2 {
	t.Helper()
	conn := dialRaw(t, addr)
	if _, err := io.WriteString(conn, http2.ClientPreface); err != nil {
		t.Fatal(err)
	}
	c := &rawHTTP2{t: t, framer: http2.NewFramer(conn, conn), next: 1}
	c.framer.ReadMetaHeaders = hpack.NewDecoder(4096, nil)
	if err := c.framer.WriteSettings(); err != nil {
		t.Fatal(err)
	}
	return c
}

// post sends a request with a body on a stream of its own, its header block in frames of 16 KiB, and returns the answer. An error is the
// connection's end.
func (c *rawHTTP2) post(block, body []byte) (answer, error) {
	c.t.Helper()
	id := c.next
	c.next += 2
	first, rest := block[:min(len(block), 16<<10)], block[min(len(block), 16<<10):]
	err := c.framer.WriteHeaders(http2.HeadersFrameParam{StreamID: id, BlockFragment: first, EndHeaders: len(rest) == 0})
	for len(rest) > 0 && err == nil {
		n := min(len(rest), 16<<10)
		err = c.framer.WriteContinuation(id, n == len(rest), rest[:n])
		rest = rest[n:]
	}
	if err == nil {
		err = c.framer.WriteData(id, true, body)
	}
	if err != nil {
		return answer{}, err
	}
	a := answer{header: http.Header{}}
	for {
		frame, err := c.framer.ReadFrame()
		if err != nil {
			return answer{}, err
		}
		switch f := frame.(type) {
		case *http2.GoAwayFrame:
			return answer{}, fmt.Errorf("goaway: %v", f.ErrCode)
		case *http2.MetaHeadersFrame:
			for _, h := range f.Fields {
				a.header.Add(h.Name, h.Value)
			}
			if _, err := fmt.Sscan(a.header.Get(":status"), &a.status); err != nil {
				c.t.Fatal(err)
			}
		case *http2.DataFrame:
			a.body = append(a.body, f.Data()...)
		}
		if h := frame.Header(); h.StreamID == id && h.Flags&http2.FlagDataEndStream != 0 && (h.Type == http2.FrameData || h.Type == http2.FrameHeaders) {
			return a, nil
		}
	}
}

// TestH19LargeHeadersOverHTTP2GetAStatus: as many as are refused over HTTP/1.1 are refused over HTTP/2, in the encoding of the
// request, on a connection that goes on. Up to the bound nothing is refused.
func TestH19LargeHeadersOverHTTP2GetAStatus(t *testing.T) {
	g := start(t, Options{})
	_, key := g.tenant("acme", auth.NewTenant{})
	c := dialHTTP2(t, g.http)
	for _, contentType := range []string{protoType, jsonType} {
		body := map[string]string{protoType: "", jsonType: "{}"}[contentType]
		h := headerBlocks{path: "/v1/logs", contentType: contentType}
		// What a block has without its filler, counted by hand from RFC 9113, 6.5.2.
		size := func(filler int) int {
			n := 0
			for _, s := range []string{":method", "POST", ":scheme", "https", ":path", h.path, ":authority", "x",
				"content-type", contentType, "te", "trailers", "x-api-key", key, "x-filler"} {
				n += len(s)
			}
			return n + 8*32 + filler
		}
		most := maxHeaderBytes1 - size(0)
		for _, filler := range []int{most + 1, most + 1<<10, 20 << 10, 40 << 10, 60 << 10, most} {
			a, err := c.post(h.block(key, "x-filler", strings.Repeat("x", filler)), []byte(body))
			if err != nil {
				t.Fatalf("%s, %d bytes: %v", contentType, size(filler), err)
			}
			if filler > most {
				wantStatus(t, a, http.StatusRequestHeaderFieldsTooLarge, contentType, "headers-too-large")
			} else {
				want200(t, a, contentType, body)
			}
		}
	}
	if n := g.metricOf("headgate_ingest_requests_total", map[string]string{"outcome": "headers-too-large"}); n != 8 {
		t.Errorf("%v refusals are counted, want 8", n)
	}
}

// TestH19BeyondWhatIsReadNetHTTPRefuses holds what docs/otlp.md says of larger lists: the connection ends, but where the bound
// is passed in the list's last frame, by an honest client or by one that unfolds a table: that stream alone is refused, with
// a 431 that is no Status. So is a request with headers of a connection, with a 400.
func TestH19BeyondWhatIsReadNetHTTPRefuses(t *testing.T) {
	g := start(t, Options{})
	_, key := g.tenant("acme", auth.NewTenant{})
	h := headerBlocks{path: "/v1/logs", contentType: jsonType}
	plain := func(kib int) []byte {
		var fields []string
		for range kib {
			fields = append(fields, "x", strings.Repeat("\\", 1<<10-33)) // which Huffman's code makes no shorter
		}
		return h.block(key, fields...)
	}
	for _, kib := range []int{100, 1024} {
		if a, err := dialHTTP2(t, g.http).post(plain(kib), nil); err == nil {
			t.Errorf("%d KiB: answer %d %q", kib, a.status, a.body)
		}
	}
	a, err := dialHTTP2(t, g.http).post(h.block(key, "connection", "close"), nil)
	if err != nil || a.status != http.StatusBadRequest || a.header.Get("content-type") == jsonType {
		t.Errorf("a header of the connection: answer %d %v, %v", a.status, a.header, err)
	}
	unfolds := slices.Concat(h.block(key), floodTable(), bytes.Repeat([]byte{0x80 | 62}, 8<<10))
	for name, block := range map[string][]byte{"65 KiB": plain(65), "32 MB in 12 KB": unfolds} {
		c := dialHTTP2(t, g.http)
		a, err := c.post(block, nil)
		if err != nil || a.status != http.StatusRequestHeaderFieldsTooLarge {
			t.Errorf("%s: answer %d, %v", name, a.status, err)
		}
		a, err = c.post(h.block(key), []byte("{}"))
		if err != nil {
			t.Fatalf("after %s: %v", name, err)
		}
		want200(t, a, jsonType, "{}")
	}
}

// floodTable puts an entry of nearly 4 KiB into the table of a connection, to be named by one byte from then on.
func floodTable() []byte {
	var buf bytes.Buffer
	_ = hpack.NewEncoder(&buf).WriteField(hpack.HeaderField{Name: "x", Value: strings.Repeat("y", 4000)})
	return buf.Bytes()
}
