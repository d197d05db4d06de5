package ingest

import (
	"io"
	"net"
	"regexp"
	"strings"
	"testing"

	"github.com/headgate-io/headgate/auth"
)

var statusLine = regexp.MustCompile(`HTTP/1\.1 (\d{3}) `)

// statusesOf returns the statuses of all answers to what is sent on a connection of its own. Unless the server is to close it,
// the client says that it is done.
func statusesOf(t *testing.T, addr, sent string, serverCloses bool) string {
	t.Helper()
	conn := dialRaw(t, addr)
	defer conn.Close()
	if _, err := io.WriteString(conn, sent); err != nil {
		t.Fatal(err)
	}
	if !serverCloses {
		_ = conn.(*net.TCPConn).CloseWrite()
	}
	text, err := io.ReadAll(conn)
	if err != nil {
		return err.Error()
	}
	var statuses []string
	for _, m := range statusLine.FindAllSubmatch(text, -1) {
		statuses = append(statuses, string(m[1]))
	}
	return strings.Join(statuses, " ")
}

// TestH2HTTP1IsReadAsItsRFCsHaveIt: what agents and proxies may write is taken, and what has two meanings is refused.
func TestH2HTTP1IsReadAsItsRFCsHaveIt(t *testing.T) {
	g := start(t, Options{})
	_, key := g.tenant("acme", auth.NewTenant{})
	head := "Host: x\r\nContent-Type: application/json\r\nX-Api-Key: " + key + "\r\n"
	post := "POST /v1/logs HTTP/1.1\r\n" + head
	const body, chunks = "Content-Length: 2\r\n\r\n{}", "\r\n\r\n2\r\n{}\r\n0\r\n\r\n"
	chunked := post + "Transfer-Encoding: chunked"
	for _, c := range []struct{ name, sent, want string }{
		{"pipelined", post + body + post + body + post + body, "200 200 200"},
		{"absolute form", "POST http://x/v1/logs HTTP/1.1\r\n" + head + body, "200"},
		{"query and fragment", "POST /v1/logs?a=b#c HTTP/1.1\r\n" + head + body, "200"},
		{"escaped path", "POST /v1/%6cogs HTTP/1.1\r\n" + head + body, "200"},
		{"blank lines before", "\r\n\r\n" + post + body, "200"},
		{"asterisk form", "OPTIONS * HTTP/1.1\r\nHost: x\r\n\r\n", "404"},
		{"connect", "CONNECT x:443 HTTP/1.1\r\nHost: x:443\r\n\r\n", "404"},
		{"method in lower case", "post /v1/logs HTTP/1.1\r\n" + head + body, "405"},
		{"body of a HEAD", "HEAD /v1/logs HTTP/1.1\r\n" + head + body + post + body, "405 200"},
		{"body of a GET", "GET /healthz HTTP/1.1\r\n" + head + body + post + body, "200 200"},
		{"upgrade to h2c", post + "Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABk\r\n" + body, "200"},
		{"no host", "POST /v1/logs HTTP/1.1\r\nContent-Type: application/json\r\nX-Api-Key: " + key + "\r\n" + body, "400"},
		{"two hosts", post + "Host: y\r\n" + body, "400"},

		{"type with parameters", strings.Replace(post, "application/json", `Application/JSON ; charset="utf-8";`, 1) + body, "200"},
		{"two types in one", strings.Replace(post, "application/json", "application/json, text/html", 1) + body, "415"},

		{"chunks", chunked + chunks + post + body, "200 200"},
		{"chunk extensions", chunked + "\r\n\r\n2;a=b;c=\"d\"\r\n{}\r\n0;x\r\n\r\n", "200"},
		{"trailers", chunked + "\r\nTrailer: X-A\r\n\r\n2\r\n{}\r\n0\r\nX-A: b\r\n\r\n" + post + body, "200 200"},
		{"length in a trailer", chunked + "\r\n\r\n2\r\n{}\r\n0\r\nContent-Length: 99\r\n\r\n" + post + body, "400"},
		{"key in a trailer", strings.Replace(chunked, "X-Api-Key", "X-No-Key", 1) + "\r\nTrailer: X-Api-Key\r\n\r\n2\r\n{}\r\n0\r\nX-Api-Key: " + key + "\r\n\r\n", "401"},
		{"chunk length with 0x", chunked + "\r\n\r\n0x2\r\n{}\r\n0\r\n\r\n", "400"},
		{"chunk length with a sign", chunked + "\r\n\r\n+2\r\n{}\r\n0\r\n\r\n", "400"},
		{"chunk length behind a blank", chunked + "\r\n\r\n 2\r\n{}\r\n0\r\n\r\n", "400"},
		{"chunk length without CR", chunked + "\r\n\r\n2\n{}\r\n0\r\n\r\n", "400"},
		{"chunk extension without CR", chunked + "\r\n\r\n2;a\nxx\r\n{}\r\n0\r\n\r\n", "400"},
		{"chunk without CR", chunked + "\r\n\r\n2\r\n{}\n0\r\n\r\n", "400"},
		{"identity and a length", post + "Transfer-Encoding: identity\r\n" + body, "400"},
		{"identity alone", post + "Transfer-Encoding: identity\r\n\r\n" + post + body, "400"},
		{"coding behind a control character", post + "Transfer-Encoding: \x0bchunked" + chunks, "400"},
		{"coding with a parameter", post + "Transfer-Encoding: chunked;q=1" + chunks, "400"},
		{"length in hex", post + "Content-Length: 0x2\r\n\r\n{}", "400"},
		{"length of two numbers", post + "Content-Length: 2 0\r\n\r\n{}", "400"},
		{"length beyond 64 bits", post + "Content-Length: 99999999999999999999\r\n\r\n{}", "400"},
		{"line feeds alone", strings.ReplaceAll(post, "\r\n", "\n") + body, "400"},
		{"CR in a value", post + "X-A: a\rb\r\n" + body, "400"},
		{"NUL in a value", post + "X-A: a\x00b\r\n" + body, "400"},
		{"blanks in the request line", "POST  /v1/logs  HTTP/1.1\r\n" + head + body, "400"},
		{"blank before the first field", "POST /v1/logs HTTP/1.1\r\n X-A: b\r\n" + head + body, "400"},

		{"100-continue", post + "Expect: 100-continue\r\n" + body, "100 200"},
		{"100-continue in capitals", post + "Expect: 100-Continue\r\n" + body, "100 200"},
		{"100-continue, chunks", chunked + "\r\nExpect: 100-continue" + chunks, "100 200"},
		{"100-continue of HTTP/1.0", "POST /v1/logs HTTP/1.0\r\n" + head + "Expect: 100-continue\r\n" + body, "200"},
		{"HTTP/1.0, kept", "POST /v1/logs HTTP/1.0\r\n" + head + "Connection: Keep-Alive\r\n" + body + post + body, "200 200"},
		{"chunks of HTTP/1.0", "POST /v1/logs HTTP/1.0\r\n" + head + "Transfer-Encoding: chunked" + chunks, "400"},
		{"HTTP/1.0 without a length", strings.Replace("POST /v1/logs HTTP/1.0\r\n"+head, jsonType, protoType, 1) + "\r\n{}", "400"},
		{"probe of HTTP/1.0", "GET /healthz HTTP/1.0\r\n\r\n", "200"},
	} {
		if got := statusesOf(t, g.http, c.sent, false); got != c.want {
			t.Errorf("%s: %s, want %s", c.name, got, c.want)
		}
	}
	for _, connection := range []string{"Connection: close", "Connection: Close", "connection: x-a , CLOSE", "Connection: close\r\nConnection: x-a"} {
		if got := statusesOf(t, g.http, post+connection+"\r\n"+body+post+body, true); got != "200" {
			t.Errorf("%q: %s, want 200 and the end", connection, got)
		}
	}
}
