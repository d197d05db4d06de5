package engine_test

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"encoding/base64"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"testing"
	"time"

	"github.com/headgate-io/headgate/internal/chtest"
	"github.com/headgate-io/headgate/internal/timetest"
)

// TestErrorWaitsForClientsThatSendAllFirst: a client that reads nothing before its body is out still reads the exception,
// whether the statement was refused before it ran or failed while it did, and its connection serves the next request.
func TestErrorWaitsForClientsThatSendAllFirst(t *testing.T) {
	e := chtest.Start(t)
	auth := e.WriterOptions().Auth
	key := base64.StdEncoding.EncodeToString([]byte(auth.Username + ":" + auth.Password))
	for name, c := range map[string]struct {
		query  url.Values
		status int
	}{
		"refused": {url.Values{"query": {"INSERT INTO no_such_table FORMAT TSV"}, "session_id": {"x"}}, 501},
		"failed":  {url.Values{"query": {"INSERT INTO no_such_table FORMAT TSV"}}, 404},
	} {
		conn, err := net.Dial("tcp", e.Addr())
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		if err := conn.SetDeadline(time.Now().Add(time.Minute)); err != nil {
			t.Fatal(err)
		}
		br := bufio.NewReader(conn)
		for range 2 {
			const size = 16 << 20 // far more than sockets hold
			fmt.Fprintf(conn, "POST /?%s HTTP/1.1\r\nHost: x\r\nAuthorization: Basic %s\r\nContent-Length: %d\r\n\r\n", c.query.Encode(), key, size)
			if _, err := io.CopyN(conn, zeros{}, size); err != nil {
				t.Fatalf("%s: the body is not taken: %v", name, err)
			}
			resp, err := http.ReadResponse(br, nil)
			if err != nil {
				t.Fatalf("%s: the answer is lost: %v", name, err)
			}
			if _, err := io.Copy(io.Discard, resp.Body); err != nil || resp.StatusCode != c.status {
				t.Errorf("%s: status %d, %v, want %d", name, resp.StatusCode, err, c.status)
			}
		}
	}
}

// TestDamagedBodyOfAnInsertAddsNothing: the client is there and waits, and every row before the damage is well-formed.
func TestDamagedBodyOfAnInsertAddsNothing(t *testing.T) {
	e := chtest.Start(t)
	conn := e.Open(t, chtest.Database(t))
	mustExec(t, conn, "CREATE TABLE t (a UInt64) ENGINE = MergeTree ORDER BY a")
	var packed bytes.Buffer
	w := gzip.NewWriter(&packed)
	for i := range 200_000 { // more than one piece
		fmt.Fprintln(w, i)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	damaged := packed.Bytes()
	damaged[len(damaged)-5] ^= 1 // of its checksum
	opts := e.WriterOptions()
	query := url.Values{"query": {"INSERT INTO t FORMAT TSV"}, "database": {currentDatabase(t, conn)}}
	for name, body := range map[string][]byte{"checksum": damaged, "cut off": damaged[:len(damaged)-9]} {
		resp, err := post(t.Context(), e, query.Encode(), opts.Auth.Username, opts.Auth.Password, bytes.NewReader(body), http.Header{"Content-Encoding": {"gzip"}})
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		_ = resp.Body.Close()
		if resp.StatusCode == http.StatusOK {
			t.Errorf("%s: taken as whole", name)
		}
		timetest.Eventually(t, "insert ends", func() bool { return running(t, conn, "INSERT INTO t FORMAT") == 0 })
		if got := string(nativeBytes(t, conn, "SELECT 1 FROM t LIMIT 1")); got != "" {
			t.Fatalf("%s: rows before the damage are in the table", name)
		}
	}
}
