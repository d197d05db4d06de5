package ingest

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"go.opentelemetry.io/collector/pdata/plog/plogotlp"
	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"

	"github.com/headgate-io/headgate/auth"
	"github.com/headgate-io/headgate/internal/timetest"
	"github.com/headgate-io/headgate/storage/schema"
)

// readAnswer reads one HTTP/1.1 response.
func readAnswer(t *testing.T, br *bufio.Reader) answer {
	t.Helper()
	resp, err := http.ReadResponse(br, nil)
	if err != nil {
		t.Fatalf("read the answer: %v", err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatalf("read the answer's body: %v", err)
	}
	return answer{resp.StatusCode, resp.Header, body}
}

// TestH28HTTP2WithoutTLS sends OTLP/HTTP over HTTP/2 to the port of HTTP/1.1: same answers, same errors.
func TestH28HTTP2WithoutTLS(t *testing.T) {
	g := start(t, Options{})
	id, key := g.tenant("acme", auth.NewTenant{})
	client := http2Client(t)
	send := func(path, contentType, key string, body []byte) answer {
		t.Helper()
		req, _ := http.NewRequestWithContext(t.Context(), http.MethodPost, g.http+path, bytes.NewReader(body))
		req.Header = http.Header{"Content-Type": {contentType}, "X-Api-Key": {key}}
		resp, err := client.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		if resp.ProtoMajor != 2 {
			t.Errorf("answered in %s", resp.Proto)
		}
		text, _ := io.ReadAll(resp.Body)
		return answer{resp.StatusCode, resp.Header, text}
	}
	want200(t, send("/v1/logs", protoType, key, encode(t, logs(3), protobuf)), protoType, "")
	want200(t, send("//v1/logs/", jsonType, key, encode(t, logs(3), jsonEncoding)), jsonType, "{}")
	wantStatus(t, send("/v1/logs", protoType, "hg_no", make([]byte, 20<<20)), 401, protoType, "key-unknown")
	wantStatus(t, send("/v1/nothing", protoType, key, nil), 404, protoType, "not-found")
	if n := g.rows(schema.Logs, id); n != 6 {
		t.Errorf("%d rows, want 6", n)
	}
}

// TestG25WrongPortSaysSo: each protocol at the other's port, and TLS at a port without.
func TestG25WrongPortSaysSo(t *testing.T) {
	g := start(t, Options{})
	_, key := g.tenant("acme", auth.NewTenant{})
	c := dialRaw(t, g.grpc)
	fmt.Fprintf(c, "POST /v1/logs HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{}")
	br := bufio.NewReader(c)
	a := readAnswer(t, br)
	wantStatus(t, a, 400, jsonType, "wrong-port")
	if _, err := br.ReadByte(); err != io.EOF {
		t.Errorf("the connection goes on: %v", err)
	}

	conn, err := grpc.NewClient(strings.TrimPrefix(g.http, "http://"), grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	_, err = plogotlp.NewGRPCClient(conn).Export(withKey(t.Context(), key), logs(1))
	if st := status.Convert(err); st.Code() != codes.Unimplemented || !strings.Contains(st.Message(), "4317") {
		t.Errorf("gRPC on the HTTP port: %v", err)
	}

	tls := dialRaw(t, g.grpc)
	fmt.Fprint(tls, "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03")
	if _, err := io.Copy(io.Discard, tls); err != nil {
		t.Errorf("TLS on a port without: %v", err)
	}
}

// TestX7SlowSendersAreLetGo: on nothing, on half a preface, on headers and on a body, on either port.
func TestX7SlowSendersAreLetGo(t *testing.T) {
	g := start(t, Options{HeaderTimeout: 300 * time.Millisecond, BodyTimeout: 300 * time.Millisecond})
	_, key := g.tenant("acme", auth.NewTenant{})
	head := "POST /v1/logs HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nAuthorization: Bearer " + key + "\r\nContent-Length: 100000\r\n\r\n"
	var wg sync.WaitGroup
	for _, c := range []struct{ name, addr, sent, answer string }{
		{"nothing, http", g.http, "", ""},
		{"nothing, grpc", g.grpc, "", ""},
		{"half a preface, http", g.http, "PRI * HT", ""},
		{"half a preface, grpc", g.grpc, "PRI * HT", ""},
		{"preface alone, http", g.http, http2.ClientPreface, ""},
		{"preface alone, grpc", g.grpc, http2.ClientPreface, ""},
		{"half the headers", g.http, head[:60], "(too-slow)"},
		{"a body's first byte", g.http, head + "{", "(too-slow)"},
		{"half a body", g.http, head + strings.Repeat(" ", 50_000), "(too-slow)"},
		{"half a chunked body", g.http, strings.Replace(head, "Content-Length: 100000", "Transfer-Encoding: chunked", 1) + "4\r\n    \r\n", "(too-slow)"},
	} {
		conn := dialRaw(t, c.addr)
		fmt.Fprint(conn, c.sent)
		wg.Go(func() {
			text, err := io.ReadAll(conn)
			if err != nil {
				t.Errorf("%s: %v", c.name, err)
			}
			if c.answer != "" && !(strings.HasPrefix(string(text), "HTTP/1.1 503 ") && strings.Contains(string(text), c.answer)) {
				t.Errorf("%s: %q", c.name, text)
			}
		})
	}
	wg.Wait()
}

// TestX7SteadySenderIsNotSlow: a body that takes far longer than BodyTimeout passes while it comes at the least rate. A machine that
// keeps the sender from its pace for so long is given a longer one.
func TestX7SteadySenderIsNotSlow(t *testing.T) {
	const steps = 20 // of a body, each a fifth of BodyTimeout after the other
	for timeout := 500 * time.Millisecond; ; timeout *= 5 {
		g := start(t, Options{BodyTimeout: timeout})
		_, key := g.tenant("acme", auth.NewTenant{})
		raw := sized(t, int(2*minBodyRate*timeout/time.Second)*steps/5) // comes at twice the least rate
		pr, pw := io.Pipe()
		began := time.Now()
		go func() {
			tick := time.NewTicker(timeout / 5)
			defer tick.Stop()
			for part := range slices.Chunk(raw, len(raw)/steps+1) {
				<-tick.C
				if _, err := pw.Write(part); err != nil {
					return
				}
			}
			_ = pw.Close()
		}()
		a := g.post("/v1/logs", pr, "key", key, "Content-Type", protoType)
		_ = pr.Close()
		if a.status == http.StatusServiceUnavailable && timeout < 10*time.Second {
			continue
		}
		want200(t, a, protoType, "")
		if took := time.Since(began); took < 2*timeout {
			t.Errorf("took %v: not slow enough to prove anything", took)
		}
		return
	}
}

// TestG19StalledMessageEnds: a gRPC message that stops halfway ends its call, not its connection.
func TestG19StalledMessageEnds(t *testing.T) {
	g := start(t, Options{BodyTimeout: 300 * time.Millisecond})
	_, key := g.tenant("acme", auth.NewTenant{})
	client := http2Client(t)
	for _, sent := range [][]byte{nil, prefixed(0, make([]byte, 1<<20))[:3], prefixed(0, make([]byte, 1<<20))[:1<<10]} {
		pr, pw := io.Pipe()
		go func() { _, _ = pw.Write(sent) }()
		a, err := tryGRPC(t.Context(), client, "http://"+g.grpc, pr, "key", key)
		_ = pw.Close()
		if err != nil || a.code != codes.DeadlineExceeded || !a.trailersOnly {
			t.Errorf("after %d bytes: %+v, %v", len(sent), a, err)
		}
	}
	a, err := tryGRPC(t.Context(), client, "http://"+g.grpc, bytes.NewReader(prefixed(0, encode(t, logs(1), protobuf))), "key", key)
	if err != nil || a.code != codes.OK {
		t.Errorf("the next call: %+v, %v", a, err)
	}
}

// TestX7ConnectionsAreBounded: one more than allowed is closed at once, and its place is free after another's end.
func TestX7ConnectionsAreBounded(t *testing.T) {
	g := start(t, Options{MaxConnections: 2})
	for _, addr := range []string{g.http, g.grpc} {
		one, two := dialRaw(t, addr), dialRaw(t, addr)
		_, _ = one.Write([]byte("P"))
		_, _ = two.Write([]byte("P"))
		three := dialRaw(t, addr)
		if n, err := three.Read(make([]byte, 1)); n != 0 || err == nil || errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("%s: a third connection reads %d, %v, want it closed", addr, n, err)
		}
		_ = one.Close()
		timetest.Eventually(t, "a place is free", func() bool {
			c := dialRaw(t, addr)
			defer c.Close()
			_ = c.SetReadDeadline(time.Now().Add(100 * time.Millisecond))
			_, err := c.Read(make([]byte, 1))
			return errors.Is(err, os.ErrDeadlineExceeded) // kept open, waiting for our first byte
		})
		_ = two.Close()
	}
}

// TestX14AmbiguousLengthsAreRefused: what a proxy and headgate could cut differently is one 400, and the end.
func TestX14AmbiguousLengthsAreRefused(t *testing.T) {
	g := start(t, Options{})
	_, key := g.tenant("acme", auth.NewTenant{})
	begin := "POST /v1/logs HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nAuthorization: Bearer " + key + "\r\n"
	const smuggled = "GET /smuggled HTTP/1.1\r\nHost: x\r\n\r\n"
	for name, rest := range map[string]string{
		"two lengths":             "Content-Length: 2\r\nContent-Length: 50\r\n\r\n{}" + smuggled,
		"list of lengths":         "Content-Length: 2, 2\r\n\r\n{}" + smuggled,
		"signed length":           "Content-Length: +2\r\n\r\n{}" + smuggled,
		"length and chunked":      "Content-Length: 50\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n" + smuggled,
		"chunked twice":           "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n" + smuggled,
		"unknown coding":          "Transfer-Encoding: xchunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n" + smuggled,
		"coding after identity":   "Transfer-Encoding: identity, chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n" + smuggled,
		"blank before the colon":  "Content-Length : 2\r\n\r\n{}" + smuggled,
		"folded line":             "X: a\r\n Content-Length: 50\r\nContent-Length: 2\r\n\r\n{}" + smuggled,
		"chunk length not hex":    "Transfer-Encoding: chunked\r\n\r\nzz\r\n{}\r\n0\r\n\r\n" + smuggled,
		"chunk longer than said":  "Transfer-Encoding: chunked\r\n\r\n1\r\n{}\r\n0\r\n\r\n" + smuggled,
		"chunk without its end":   "Transfer-Encoding: chunked\r\n\r\n1\r\n{0\r\n\r\n" + smuggled,
		"chunk length overflowed": "Transfer-Encoding: chunked\r\n\r\nfffffffffffffffff2\r\n{}\r\n0\r\n\r\n" + smuggled,
		"length first":            "",
	} {
		c := dialRaw(t, g.http)
		sent := begin + rest
		if rest == "" {
			sent = "POST /v1/logs HTTP/1.1\r\nContent-LENGTH: 50\r\nTransfer-Encoding: chunked\r\nHost: x\r\nContent-Type: application/json\r\nX-Api-Key: " + key +
				"\r\n\r\n2\r\n{}\r\n0\r\n\r\n" + smuggled
		}
		fmt.Fprint(c, sent)
		_ = c.(*net.TCPConn).CloseWrite()
		text, err := io.ReadAll(c)
		if err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if n := bytes.Count(text, []byte("HTTP/1.1 ")); n != 1 || !bytes.HasPrefix(text, []byte("HTTP/1.1 400")) || !bytes.Contains(text, []byte(`"code"`)) {
			t.Errorf("%s: %d answers\n%s", name, n, text)
		}
	}
}

// TestX14CompressedBodyEndsWhereTheWireDoes: what follows the content inside of a body is not the next request, and what
// follows the body is.
func TestX14CompressedBodyEndsWhereTheWireDoes(t *testing.T) {
	g := start(t, Options{})
	_, key := g.tenant("acme", auth.NewTenant{})
	raw := encode(t, logs(1), protobuf)
	for _, coding := range codings[2:] {
		for _, hidden := range []string{"", "GET /smuggled HTTP/1.1\r\nHost: x\r\n\r\n"} {
			body := string(coding.encode(t, raw)) + hidden
			c := dialRaw(t, g.http)
			br := bufio.NewReader(c)
			for range 2 {
				fmt.Fprintf(c, "POST /v1/logs HTTP/1.1\r\nHost: x\r\nContent-Type: %s\r\nX-Api-Key: %s\r\nContent-Encoding: %s\r\nTransfer-Encoding: chunked\r\n\r\n%x\r\n%s\r\n0\r\n\r\n",
					protoType, key, coding.name, len(body), body)
				if a := readAnswer(t, br); hidden == "" && a.status != 200 || a.status == 404 {
					t.Fatalf("%s with %q hidden: %d %s", coding.form, hidden, a.status, a.body)
				}
			}
			_ = c.(*net.TCPConn).CloseWrite()
			if rest, err := io.ReadAll(br); err != nil || len(rest) > 0 {
				t.Fatalf("%s with %q hidden: a third answer %q, %v", coding.form, hidden, rest, err)
			}
		}
	}
}

// TestX8RapidResetIsSurvived opens and resets streams as fast as a connection takes it, on both ports; other clients are
// served meanwhile and after.
func TestX8RapidResetIsSurvived(t *testing.T) {
	g := start(t, Options{})
	_, key := g.tenant("acme", auth.NewTenant{})
	for addr, path := range map[string]string{
		g.http: "/v1/logs",
		g.grpc: "/opentelemetry.proto.collector.logs.v1.LogsService/Export",
	} {
		c := dialRaw(t, addr)
		fmt.Fprint(c, http2.ClientPreface)
		framer := http2.NewFramer(c, c)
		if err := framer.WriteSettings(); err != nil {
			t.Fatal(err)
		}
		go func() { _, _ = io.Copy(io.Discard, c) }()
		var block bytes.Buffer
		enc := hpack.NewEncoder(&block)
		for _, h := range [][2]string{{":method", "POST"}, {":scheme", "http"}, {":path", path}, {":authority", "x"},
			{"content-type", map[bool]string{true: protoType, false: "application/grpc"}[addr == g.http]}, {"te", "trailers"}, {"x-api-key", key}} {
			_ = enc.WriteField(hpack.HeaderField{Name: h[0], Value: h[1], Sensitive: true}) // never indexed: the block can be repeated
		}
		for id := uint32(1); id < 40_000; id += 2 {
			if err := framer.WriteHeaders(http2.HeadersFrameParam{StreamID: id, BlockFragment: block.Bytes(), EndHeaders: true}); err != nil {
				break // sent away
			}
			if err := framer.WriteRSTStream(id, http2.ErrCodeCancel); err != nil {
				break
			}
		}
		if _, err := plogotlp.NewGRPCClient(g.dial()).Export(withKey(t.Context(), key), logs(1)); err != nil {
			t.Errorf("gRPC after resets on %s: %v", addr, err)
		}
		want200(t, g.post("/v1/logs", strings.NewReader("{}"), "key", key, "Content-Type", jsonType), jsonType, "{}")
	}
}

// TestG10CallsOfOneConnectionAreIndependent: hundreds of calls finish while one does not.
func TestG10CallsOfOneConnectionAreIndependent(t *testing.T) {
	g := start(t, Options{})
	_, key := g.tenant("acme", auth.NewTenant{})
	client := http2Client(t)
	pr, pw := io.Pipe()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	stalled := make(chan error, 1)
	raw := prefixed(0, encode(t, logs(1), protobuf))
	go func() {
		_, err := tryGRPC(ctx, client, "http://"+g.grpc, pr, "key", key)
		stalled <- err
	}()
	if _, err := pw.Write(raw[:10]); err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	for range 500 {
		wg.Go(func() {
			if a, err := tryGRPC(ctx, client, "http://"+g.grpc, bytes.NewReader(raw), "key", key); err != nil || a.code != codes.OK {
				t.Errorf("%+v, %v", a, err)
			}
		})
	}
	wg.Wait()
	select {
	case err := <-stalled:
		t.Fatalf("the stalled call ended: %v", err)
	default:
	}
	_, _ = pw.Write(raw[10:])
	_ = pw.Close()
	if err := <-stalled; err != nil {
		t.Errorf("the stalled call, completed: %v", err)
	}
}
