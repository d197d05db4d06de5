package ingest

import (
	"bytes"

	"github.com/valyala/fasthttp"
)

// fields1 is what the header fields of an HTTP/1 request say of the request itself, as they came.
type fields1 struct {
	loose  bool // a line continues the one before, or ends in a line feed alone
	length bool // there is a Content-Length
	coding bool // there is a Transfer-Encoding
	close  bool // the client asks for the connection to be closed
}

// readFields reads header lines, without the request line.
func readFields(raw []byte) (f fields1) {
	for len(raw) > 0 {
		line := raw
		if end := bytes.IndexByte(raw, '\n'); end >= 0 {
			f.loose = f.loose || end == 0 || raw[end-1] != '\r'
			line, raw = raw[:end], raw[end+1:]
		} else {
			raw = nil
		}
		if len(line) == 0 {
			continue
		}
		switch line[0] | ' ' {
		case ' ', '\t' | ' ':
			f.loose = f.loose || line[0] == ' ' || line[0] == '\t'
		case 'c':
			f.length = f.length || hasPrefixFold(line, "content-length")
			if hasPrefixFold(line, "connection:") {
				for token := range bytes.SplitSeq(line[len("connection:"):], []byte(",")) {
					f.close = f.close || bytes.EqualFold(bytes.TrimSpace(token), []byte("close"))
				}
			}
		case 't':
			f.coding = f.coding || hasPrefixFold(line, "transfer-encoding")
		}
	}
	return f
}

func hasPrefixFold(b []byte, prefix string) bool {
	return len(b) >= len(prefix) && bytes.EqualFold(b[:len(prefix)], []byte(prefix))
}

// ambiguous reports headers that fasthttp takes and a proxy before it may read as another request, or its body as longer.
//
// SECURITY: a request that two servers cut differently lets one sender speak in another's name (request smuggling).
func (f fields1) ambiguous(h *fasthttp.RequestHeader) bool {
	switch {
	case f.loose, f.coding && (f.length || h.ContentLength() != -1): // of codings, chunked alone says where a body ends
		return true
	case h.IsHTTP11() || !h.IsPost():
		return false
	}
	// RFC 1945, 7.2.2: without a length nobody knows whether there is a body. Taken for an empty one, it would be acked and lost.
	return !f.length
}

// received1 puts right what fasthttp takes as it is written and RFC 9110 does not: 100-continue may be in any case (10.1.1),
// and HTTP/1.0 does not know it.
func received1(h *fasthttp.RequestHeader) fasthttp.RequestConfig {
	const expect, want = "Expect", "100-continue"
	switch v := h.Peek(expect); {
	case len(v) == 0:
	case !h.IsHTTP11():
		h.Del(expect)
	case bytes.EqualFold(v, []byte(want)):
		h.Set(expect, want)
	}
	return fasthttp.RequestConfig{}
}
