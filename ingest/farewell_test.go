package ingest

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/headgate-io/headgate/auth"
)

// suspectBomb returns a request of a suspect key: its body is too large, of which the first MiB is read alone.
func suspectBomb(t *testing.T, g *gateway) []byte {
	t.Helper()
	_, key := g.tenant("acme", auth.NewTenant{})
	p, f := g.server.receiver.authenticate(nil, credentials{authorization: []string{"Bearer " + key}})
	if f != nil {
		t.Fatal(f)
	}
	waste, moment := g.server.receiver.budget.waste, time.Now()
	waste.now = func() time.Time { return moment } // nothing is forgiven
	waste.add(p.KeyID(), wasteSuspect+time.Millisecond)
	bomb := wrapped(bytes.Repeat([]byte{0x12, 0}, 30<<20), 2, 1)
	head := fmt.Sprintf("POST /v1/logs HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer %s\r\nContent-Type: %s\r\nContent-Length: %d\r\n\r\n", key, protoType, len(bomb))
	return append([]byte(head), bomb...)
}

// refusedBeside sends a request over c, and reads its answer, 413, while it is still being written.
func refusedBeside(t *testing.T, c net.Conn, request []byte) (in *bufio.Reader) {
	t.Helper()
	if err := c.SetDeadline(time.Now().Add(30 * time.Second)); err != nil {
		t.Fatal(err)
	}
	go func() { _, _ = c.Write(request) }() // ends with the connection
	in = bufio.NewReader(c)
	resp, err := http.ReadResponse(in, nil)
	if err != nil {
		t.Fatalf("read the answer: %v", err)
	}
	if _, err := io.Copy(io.Discard, resp.Body); err != nil || resp.StatusCode != http.StatusRequestEntityTooLarge || !resp.Close {
		t.Errorf("answer %d, close: %v, %v", resp.StatusCode, resp.Close, err)
	}
	return in
}

// TestH26AnswerReachesWhoStillWrites: who still writes reads the end of the answer before the connection is reset.
func TestH26AnswerReachesWhoStillWrites(t *testing.T) {
	g := start(t, Options{})
	request := suspectBomb(t, g)
	for range 3 {
		c, err := net.Dial("tcp", strings.TrimPrefix(g.http, "http://"))
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		if _, err := refusedBeside(t, c, request).ReadByte(); !errors.Is(err, io.EOF) {
			t.Errorf("behind the answer: %v, want its end", err)
		}
	}
}

// TestH26UnreadBodyIsClosedForWritingFirst: whether a kernel resets depends on what has come when the connection is closed, so the order
// is looked at.
func TestH26UnreadBodyIsClosedForWritingFirst(t *testing.T) {
	g := start(t, Options{})
	request := suspectBomb(t, g)
	client, end := net.Pipe()
	defer client.Close()
	stopping, did := make(chan struct{}), make(chan string, 2)
	origin := newConn(recordedConn{end, did}, nil, time.Minute, stopping, func() {})
	served := make(chan error, 1)
	go func() {
		served <- newHTTP1Server(g.server.receiver).ServeConn(&rereadConn{Conn: origin, origin: origin})
	}()
	refusedBeside(t, client, request)
	if first := <-did; first != "closed for writing" {
		t.Fatalf("the connection is %s first", first)
	}
	close(stopping)
	if err := <-served; err != nil {
		t.Errorf("serve: %v", err)
	}
	if last := <-did; last != "closed" {
		t.Errorf("then it is %s", last)
	}
}

// TestH26LargeHeadersAreClosedForWritingFirst: who still writes headers gets to read that they are too large.
func TestH26LargeHeadersAreClosedForWritingFirst(t *testing.T) {
	g := start(t, Options{})
	client, end := net.Pipe()
	defer client.Close()
	if err := client.SetDeadline(time.Now().Add(30 * time.Second)); err != nil {
		t.Fatal(err)
	}
	stopping, did := make(chan struct{}), make(chan string, 2)
	close(stopping)
	origin := newConn(recordedConn{end, did}, nil, time.Minute, stopping, func() {})
	served := make(chan error, 1)
	go func() {
		served <- newHTTP1Server(g.server.receiver).ServeConn(&rereadConn{Conn: origin, origin: origin})
	}()
	go func() { // ends with the connection
		_, _ = io.WriteString(client, "POST /v1/logs HTTP/1.1\r\nHost: x\r\nX-Token: "+strings.Repeat("x", 2*maxHeaderBytes1)+"\r\n\r\n")
	}()
	wantStatus(t, readAnswer(t, bufio.NewReader(client)), http.StatusRequestHeaderFieldsTooLarge, jsonType, "headers-too-large")
	<-served // with the error that the client has read of
	if first := <-did; first != "closed for writing" {
		t.Fatalf("the connection is %s first", first)
	}
	if last := <-did; last != "closed" {
		t.Errorf("then it is %s", last)
	}
}

// recordedConn tells how it is closed.
type recordedConn struct {
	net.Conn
	did chan<- string
}

func (c recordedConn) CloseWrite() error {
	c.did <- "closed for writing"
	return nil
}

func (c recordedConn) Close() error {
	c.did <- "closed"
	return c.Conn.Close()
}

// A connection that is kept for its client to read an answer does not keep the server from stopping.
func TestFarewellEndsWithTheServer(t *testing.T) {
	client, server := net.Pipe()
	defer client.Close()
	stopping, closed := make(chan struct{}), make(chan struct{})
	c := newConn(recordedConn{server, make(chan string, 2)}, nil, time.Minute, stopping, func() { close(closed) })
	c.partial.Store(true)
	close(stopping)
	begin := time.Now()
	_ = c.Close()
	if took := time.Since(begin); took >= farewell {
		t.Errorf("closing took %v", took)
	}
	<-closed
}
