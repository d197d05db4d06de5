package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.opentelemetry.io/collector/pdata/plog"
	"go.opentelemetry.io/collector/pdata/plog/plogotlp"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
)

// wire sends one prepared request after the other on a connection that stays open, which costs a fraction of what a client of
// net/http does: the machine is the servers'.
type wire struct {
	addr    string
	request []byte
	at      int // of eight bytes that differ from request to request; 0 for none
	conn    net.Conn
	answers *bufio.Reader
}

var wireNumber atomic.Uint64

// getWire is a wire that asks the API.
func getWire(addr, path, credential string) *wire {
	return &wire{addr: addr, request: fmt.Appendf(nil, "GET %s HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer %s\r\n\r\n", path, credential)}
}

// logWire is a wire that sends one log record over OTLP/HTTP, each of another time: none is a repetition.
func logWire(t *testing.T, addr, key string) *wire {
	const mark = 0x1122334455667788
	logs := plog.NewLogs()
	r := logs.ResourceLogs().AppendEmpty()
	r.Resource().Attributes().PutStr("service.name", "load")
	rec := r.ScopeLogs().AppendEmpty().LogRecords().AppendEmpty()
	rec.SetTimestamp(mark)
	rec.Body().SetStr("load")
	body, err := plogotlp.NewExportRequestFromLogs(logs).MarshalProto()
	if err != nil {
		t.Fatal(err)
	}
	w := &wire{addr: addr, request: fmt.Appendf(nil, "POST /v1/logs HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer %s\r\nContent-Type: application/x-protobuf\r\nContent-Length: %d\r\n\r\n%s", key, len(body), body)}
	w.at = bytes.Index(w.request, binary.LittleEndian.AppendUint64(nil, mark))
	if w.at < 0 {
		t.Fatal("BUG: no time in the request")
	}
	return w
}

// send returns the status of the answer, 0 if there is none within some seconds.
func (w *wire) send(ctx context.Context) int {
	if w.conn == nil {
		conn, err := (&net.Dialer{}).DialContext(ctx, "tcp", w.addr)
		if err != nil {
			return 0
		}
		w.conn, w.answers = conn, bufio.NewReader(conn)
	}
	if w.at > 0 {
		binary.LittleEndian.PutUint64(w.request[w.at:], uint64(time.Now().UnixNano())^wireNumber.Add(1))
	}
	status := w.exchange()
	if status == 0 || status >= 300 {
		w.close()
	}
	return status
}

func (w *wire) exchange() int {
	if w.conn.SetDeadline(time.Now().Add(10*time.Second)) != nil {
		return 0
	}
	if _, err := w.conn.Write(w.request); err != nil {
		return 0
	}
	resp, err := http.ReadResponse(w.answers, nil)
	if err != nil {
		return 0
	}
	defer resp.Body.Close()
	if _, err := io.Copy(io.Discard, resp.Body); err != nil {
		return 0
	}
	return resp.StatusCode
}

func (w *wire) close() {
	if w.conn != nil {
		_ = w.conn.Close()
		w.conn = nil
	}
}

// otlpSenders and apiSenders ask every replica, each on a connection of its own, and report whether they are let in.
func otlpSenders(t *testing.T, all []*process, conns []*grpc.ClientConn, key string) (out []func() bool) {
	for i, p := range all {
		w := logWire(t, p.addr.OTLPHTTP, key)
		t.Cleanup(w.close)
		out = append(out,
			func() bool { return w.send(t.Context()) == http.StatusOK },
			func() bool { return p.export(conns[i], key, "x").Code() == codes.OK })
	}
	return out
}

func apiSenders(t *testing.T, all []*process, path, token string) (out []func() bool) {
	for _, p := range all {
		w := getWire(p.addr.API, path, token)
		t.Cleanup(w.close)
		out = append(out, func() bool { return w.send(t.Context()) == http.StatusOK })
	}
	return out
}

// othersSend sends rate requests per second to the replicas in turn until stop, and counts those that are acked.
func othersSend(t *testing.T, all []*process, key string, rate int) (sent *atomic.Int64, stop func()) {
	ctx, cancel := context.WithCancel(t.Context())
	sent = &atomic.Int64{}
	var wg sync.WaitGroup
	const workers = 24
	for i := range workers {
		w := logWire(t, all[i%len(all)].addr.OTLPHTTP, key)
		wg.Go(func() {
			defer w.close()
			tick := time.NewTicker(5 * time.Millisecond)
			defer tick.Stop()
			for n, began := 0, time.Now(); ctx.Err() == nil; {
				if n >= int(time.Since(began).Seconds()*float64(rate)/workers) {
					<-tick.C
					continue
				}
				if n++; w.send(ctx) == http.StatusOK {
					sent.Add(1)
				}
			}
		})
	}
	return sent, func() { cancel(); wg.Wait() }
}
