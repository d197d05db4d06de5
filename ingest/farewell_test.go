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

// TestH26AnswerReachesWhoStillWrites: a body that is too large and of which a suspect key's first MiB is read alone is answered,
// and its sender, who still writes, reads the end of the answer before the connection is reset.
func TestH26AnswerReachesWhoStillWrites(t *testing.T) {
	g := start(t, Options{})
	_, key := g.tenant("acme", auth.NewTenant{})
	p, f := g.server.receiver.authenticate(nil, credentials{authorization: []string{"Bearer " + key}})
	if f != nil {
		t.Fatal(f)
	}
	waste, moment := g.server.receiver.budget.waste, time.Now()
	waste.now = func() time.Time { return moment } // nothing is forgiven
	waste.add(p.KeyID(), wasteSuspect+time.Millisecond)
	bomb := wrapped(bytes.Repeat([]byte{0x12, 0}, 30<<20), 2, 1)
	for range 3 {
		c, err := net.Dial("tcp", strings.TrimPrefix(g.http, "http://"))
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		if err := c.SetDeadline(time.Now().Add(30 * time.Second)); err != nil {
			t.Fatal(err)
		}
		go func() {
			fmt.Fprintf(c, "POST /v1/logs HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer %s\r\nContent-Type: %s\r\nContent-Length: %d\r\n\r\n", key, protoType, len(bomb))
			_, _ = c.Write(bomb) // ends with the connection
		}()
		in := bufio.NewReader(c)
		resp, err := http.ReadResponse(in, nil)
		if err != nil {
			t.Fatalf("read the answer: %v", err)
		}
		if _, err := io.Copy(io.Discard, resp.Body); err != nil || resp.StatusCode != http.StatusRequestEntityTooLarge || !resp.Close {
			t.Errorf("answer %d, close: %v, %v", resp.StatusCode, resp.Close, err)
		}
		if _, err := in.ReadByte(); !errors.Is(err, io.EOF) {
			t.Errorf("behind the answer: %v, want its end", err)
		}
	}
}

// A connection that is kept for its client to read an answer does not keep the server from stopping.
func TestFarewellEndsWithTheServer(t *testing.T) {
	client, server := net.Pipe()
	defer client.Close()
	stopping, closed := make(chan struct{}), make(chan struct{})
	c := newConn(halfClosed{server}, nil, time.Minute, stopping, func() { close(closed) })
	c.partial.Store(true)
	close(stopping)
	begin := time.Now()
	_ = c.Close()
	if took := time.Since(begin); took >= farewell {
		t.Errorf("closing took %v", took)
	}
	<-closed
}

// halfClosed is a connection that takes CloseWrite, as TCP does.
type halfClosed struct{ net.Conn }

func (halfClosed) CloseWrite() error { return nil }
