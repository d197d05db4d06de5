package ingest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"runtime"
	runtimemetrics "runtime/metrics"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"
	"go.opentelemetry.io/collector/pdata/plog/plogotlp"
	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"

	"github.com/headgate-io/headgate/auth"
	"github.com/headgate-io/headgate/internal/timetest"
)

// A flood is what a hostile client says on an HTTP/2 connection, over and over. say writes the i-th piece of it.
type flood struct {
	name string
	say  func(f *http2.Framer, h *headerBlocks, i int) error
}

// headerBlocks encodes the headers of requests to one port.
type headerBlocks struct {
	path, contentType, key string
	waiting                int64 // bytes of answers that one connection may leave waiting
}

// block is a request's headers with nothing left to an index, so that it can be sent any number of times.
func (h *headerBlocks) block(key string, more ...string) []byte {
	var buf bytes.Buffer
	enc := hpack.NewEncoder(&buf)
	fields := append([]string{":method", "POST", ":scheme", "http", ":path", h.path, ":authority", "x",
		"content-type", h.contentType, "te", "trailers", "x-api-key", key}, more...)
	for i := 0; i < len(fields); i += 2 {
		_ = enc.WriteField(hpack.HeaderField{Name: fields[i], Value: fields[i+1], Sensitive: true})
	}
	return buf.Bytes()
}

// stream is the id of a connection's i-th stream.
func stream(i int) uint32 { return uint32(2*i + 1) }

// opening begins the first stream of a connection, whose body then never ends.
func opening(f *http2.Framer, h *headerBlocks) error {
	return f.WriteHeaders(http2.HeadersFrameParam{StreamID: stream(0), BlockFragment: h.block(h.key), EndHeaders: true})
}

// onOpen says the same thing on a stream that was opened with a good key.
func onOpen(say func(*http2.Framer) error) func(*http2.Framer, *headerBlocks, int) error {
	return func(f *http2.Framer, h *headerBlocks, i int) error {
		if i == 0 {
			return opening(f, h)
		}
		return say(f)
	}
}

// always says the same thing on the connection.
func always(say func(*http2.Framer) error) func(*http2.Framer, *headerBlocks, int) error {
	return func(f *http2.Framer, _ *headerBlocks, _ int) error { return say(f) }
}

var manySettings = func() []http2.Setting {
	s := make([]http2.Setting, 2700) // what a frame of 16 KiB holds
	for i := range s {
		s[i] = http2.Setting{ID: http2.SettingHeaderTableSize, Val: 4096}
	}
	return s
}()

var floods = []flood{
	{"PING", always(func(f *http2.Framer) error { return f.WritePing(false, [8]byte{}) })},
	{"answers to pings nobody sent", always(func(f *http2.Framer) error { return f.WritePing(true, [8]byte{}) })},
	{"SETTINGS", always(func(f *http2.Framer) error { return f.WriteSettings() })},
	{"SETTINGS, full", always(func(f *http2.Framer) error { return f.WriteSettings(manySettings...) })},
	{"WINDOW_UPDATE of the connection", always(func(f *http2.Framer) error { return f.WriteWindowUpdate(0, 1) })},
	{"WINDOW_UPDATE of a stream", onOpen(func(f *http2.Framer) error { return f.WriteWindowUpdate(stream(0), 1) })},
	{"PRIORITY", always(func(f *http2.Framer) error {
		return f.WritePriority(stream(1), http2.PriorityParam{StreamDep: 0, Weight: 1})
	})},
	{"frames of no known type", always(func(f *http2.Framer) error { return f.WriteRawFrame(0x77, 0, 0, nil) })},
	{"empty DATA", onOpen(func(f *http2.Framer) error { return f.WriteData(stream(0), false, nil) })},
	{"padding", onOpen(func(f *http2.Framer) error { return f.WriteDataPadded(stream(0), false, nil, make([]byte, 255)) })},
	{"empty CONTINUATION", func(f *http2.Framer, h *headerBlocks, i int) error {
		if i == 0 {
			return f.WriteHeaders(http2.HeadersFrameParam{StreamID: stream(0), BlockFragment: h.block(h.key)})
		}
		return f.WriteContinuation(stream(0), false, nil)
	}},
	{"full CONTINUATION", func(f *http2.Framer, h *headerBlocks, i int) error {
		if i == 0 {
			return f.WriteHeaders(http2.HeadersFrameParam{StreamID: stream(0), BlockFragment: h.block(h.key)})
		}
		return f.WriteContinuation(stream(0), false, largeField)
	}},
	{"streams that never end", func(f *http2.Framer, h *headerBlocks, i int) error {
		return f.WriteHeaders(http2.HeadersFrameParam{StreamID: stream(i), BlockFragment: h.block(h.key), EndHeaders: true})
	}},
	{"keys that nobody has", func(f *http2.Framer, h *headerBlocks, i int) error {
		return f.WriteHeaders(http2.HeadersFrameParam{StreamID: stream(i), BlockFragment: h.block("hg_nobody"), EndHeaders: true, EndStream: true})
	}},
	{"calls of another protocol", func(f *http2.Framer, h *headerBlocks, i int) error {
		other := headerBlocks{path: "/", contentType: "text/plain"}
		return f.WriteHeaders(http2.HeadersFrameParam{StreamID: stream(i), BlockFragment: other.block(""), EndHeaders: true, EndStream: true})
	}},
	{"header lists that unfold", func(f *http2.Framer, h *headerBlocks, i int) error {
		fragment := h.block("hg_nobody")
		if i == 0 { // an entry of the table with nearly all of its 4 KiB, to be named by one byte each from now on
			fragment = append(fragment, floodTable()...)
		}
		fragment = append(fragment, bytes.Repeat([]byte{0x80 | 62}, 8<<10)...)
		return f.WriteHeaders(http2.HeadersFrameParam{StreamID: stream(i), BlockFragment: fragment, EndHeaders: true, EndStream: true})
	}},
}

// largeField is 16,000 bytes of a header block: one field without an index.
var largeField = func() []byte {
	var buf bytes.Buffer
	_ = hpack.NewEncoder(&buf).WriteField(hpack.HeaderField{Name: "x", Value: strings.Repeat("\x01", 7900), Sensitive: true})
	return buf.Bytes()
}()

// attack opens a connection and floods it until the server ends it, or done says that it is enough. A deaf client reads no
// answer.
func (fl flood) attack(conn net.Conn, h *headerBlocks, deaf bool, done func() bool) error {
	if !deaf {
		go func() { _, _ = io.Copy(io.Discard, conn) }()
	}
	var buf bytes.Buffer
	framer := http2.NewFramer(&buf, nil)
	framer.AllowIllegalWrites = true
	fmt.Fprint(&buf, http2.ClientPreface)
	if err := framer.WriteSettings(); err != nil {
		return err
	}
	for i := 0; !done(); i++ {
		if err := fl.say(framer, h, i); err != nil {
			return err
		}
		if buf.Len() < 32<<10 {
			continue
		}
		if _, err := conn.Write(buf.Bytes()); err != nil {
			return err
		}
		buf.Reset()
	}
	return nil
}

// heapBytes is the memory of stacks and of objects, those that are garbage not yet found included.
func heapBytes() int64 {
	s := []runtimemetrics.Sample{{Name: "/memory/classes/heap/objects:bytes"}, {Name: "/memory/classes/heap/stacks:bytes"}}
	runtimemetrics.Read(s)
	return int64(s[0].Value.Uint64() + s[1].Value.Uint64())
}

// liveBytes is heapBytes without garbage.
func liveBytes() int64 {
	runtime.GC()
	return heapBytes()
}

// ports are both, with the headers of what is sent there.
func (g *gateway) ports(key string) map[string]*headerBlocks {
	return map[string]*headerBlocks{
		g.http: {path: "/v1/logs", contentType: protoType, key: key, waiting: 16 << 20},
		g.grpc: {path: "/opentelemetry.proto.collector.logs.v1.LogsService/Export", contentType: "application/grpc", key: key, waiting: 8 << 20},
	}
}

// neighbour checks that a well-behaved client is answered at both ports.
func (g *gateway) neighbour(t *testing.T, client plogotlp.GRPCClient, key string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(withKey(t.Context(), key), 20*time.Second)
	defer cancel()
	if _, err := client.Export(ctx, logs(1)); err != nil {
		t.Errorf("a neighbour's gRPC: %v", err)
	}
	want200(t, g.post("/v1/logs", strings.NewReader("{}"), "key", key, "Content-Type", jsonType), jsonType, "{}")
}

// TestX8FloodsCostTheirSender sends each flood from clients that read the answers and from deaf ones, to both ports. A
// neighbour is answered all the while, and memory stays where it was.
func TestX8FloodsCostTheirSender(t *testing.T) {
	g := start(t, Options{MaxTenantCalls: 200})
	_, bad := g.tenant("bad", auth.NewTenant{})
	_, good := g.tenant("good", auth.NewTenant{})
	client := plogotlp.NewGRPCClient(g.dial())
	for _, fl := range floods {
		t.Run(fl.name, func(t *testing.T) {
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			defer cancel()
			before := liveBytes()
			var peak atomic.Int64
			var flooding sync.WaitGroup
			for addr, h := range g.ports(bad) {
				for _, deaf := range []bool{false, true} {
					flooding.Go(func() {
						for ctx.Err() == nil { // who is sent away comes back
							conn, err := net.Dial("tcp", strings.TrimPrefix(addr, "http://"))
							if err != nil {
								continue
							}
							stop := context.AfterFunc(ctx, func() { _ = conn.Close() })
							_ = fl.attack(conn, h, deaf, func() bool { return ctx.Err() != nil })
							stop()
							_ = conn.Close()
						}
					})
				}
			}
			flooding.Go(func() {
				for tick := time.NewTicker(2 * time.Millisecond); ctx.Err() == nil; <-tick.C {
					peak.Store(max(peak.Load(), heapBytes()-before))
				}
			})
			for began, n := time.Now(), 0; n < 2 || time.Since(began) < 200*time.Millisecond; n++ {
				g.neighbour(t, client, good)
			}
			cancel()
			flooding.Wait()
			if peak.Load() > 64<<20 {
				t.Errorf("memory grew by %d MB", peak.Load()>>20)
			}
		})
	}
}

// TestX8DeafClientsAreLetGo: calls need no key, so only time bounds how long their answers wait for one who does not read
// them. Until then no more is read than has answers waiting for it.
func TestX8DeafClientsAreLetGo(t *testing.T) {
	g := start(t, Options{MaxAuthFailures: -1, WriteTimeout: 2 * time.Second})
	_, good := g.tenant("good", auth.NewTenant{})
	client := plogotlp.NewGRPCClient(g.dial())
	fl := floods[slices.IndexFunc(floods, func(fl flood) bool { return fl.name == "keys that nobody has" })]
	const clients = 2
	before := liveBytes()
	for addr, h := range g.ports("") {
		var flooding sync.WaitGroup
		for range clients {
			conn := dialRaw(t, addr) // which is open until the test's end
			_ = conn.SetDeadline(time.Now().Add(2 * time.Minute))
			flooding.Go(func() {
				if err := fl.attack(conn, h, true, func() bool { return false }); errors.Is(err, os.ErrDeadlineExceeded) {
					t.Errorf("%s: nobody ended the connection", addr)
				}
			})
		}
		ended := make(chan struct{})
		go func() { flooding.Wait(); close(ended) }()
		var peak int64
		for waiting := true; waiting; {
			select {
			case <-ended:
				waiting = false
			case <-time.After(100 * time.Millisecond):
				// What was allocated while a collection ran counts as alive after it; after two it is what waits.
				peak = max(peak, min(liveBytes(), liveBytes())-before)
			}
		}
		g.neighbour(t, client, good)
		t.Logf("%s: %d KB for each", addr, peak/clients>>10)
		if peak/clients > h.waiting {
			t.Errorf("%s: %d KB for each", addr, peak/clients>>10)
		}
		timetest.Eventually(t, "their connections are closed", func() bool { return g.open() <= 3 })
	}
	timetest.Eventually(t, "their memory is free", func() bool { return liveBytes()-before < 16<<20 })
}

// open is the number of connections at both ports.
func (g *gateway) open() (n int) {
	for _, via := range []transport{transportGRPC, transportHTTP} {
		n += int(testutil.ToFloat64(g.server.receiver.metrics.connections.WithLabelValues(string(via))))
	}
	return n
}

// TestX8ClosedWindowsEnd: a client that opens no window for its answer has its stream reset, and nothing waits for it.
func TestX8ClosedWindowsEnd(t *testing.T) {
	g := start(t, Options{WriteTimeout: 300 * time.Millisecond})
	_, key := g.tenant("acme", auth.NewTenant{})
	conn := dialRaw(t, g.http)
	fmt.Fprint(conn, http2.ClientPreface)
	framer := http2.NewFramer(conn, conn)
	h := g.ports(key)[g.http]
	h.contentType = jsonType // the answer has a body
	for _, err := range []error{
		framer.WriteSettings(http2.Setting{ID: http2.SettingInitialWindowSize, Val: 0}),
		opening(framer, h),
		framer.WriteData(stream(0), true, []byte("{}")),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	for {
		f, err := framer.ReadFrame()
		if err != nil {
			t.Fatalf("the stream goes on: %v", err)
		}
		if rst, ok := f.(*http2.RSTStreamFrame); ok && rst.StreamID == stream(0) {
			return
		}
	}
}

// TestX8IdleConnectionsAreCheap: thousands of connections that say nothing, or nothing more, keep nobody out.
func TestX8IdleConnectionsAreCheap(t *testing.T) {
	g := start(t, Options{HeaderTimeout: time.Minute})
	_, good := g.tenant("good", auth.NewTenant{})
	client := plogotlp.NewGRPCClient(g.dial())
	const each = 300
	answered := fmt.Sprintf("POST /v1/logs HTTP/1.1\r\nHost: x\r\nX-Api-Key: %s\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{}", good)
	preface := http2.ClientPreface + "\x00\x00\x00\x04\x00\x00\x00\x00\x00" // and empty SETTINGS
	for _, c := range []struct {
		name, addr, says string
		maxBytes         int64 // for each connection, that of the client included
	}{
		{"nothing, http", g.http, "", 24 << 10}, {"nothing, grpc", g.grpc, "", 24 << 10},
		{"a preface, http", g.http, preface, 64 << 10}, {"a preface, grpc", g.grpc, preface, 128 << 10},
		{"a request, http", g.http, answered, 64 << 10},
	} {
		before := liveBytes()
		for range each {
			conn := dialRaw(t, c.addr)
			if _, err := io.WriteString(conn, c.says); err != nil {
				t.Fatal(err)
			}
			if c.says != "" {
				if _, err := conn.Read(make([]byte, 512)); err != nil {
					t.Fatalf("%s: %v", c.name, err)
				}
			}
		}
		g.neighbour(t, client, good)
		per := (liveBytes() - before) / each
		t.Logf("%s: %d KB each", c.name, per>>10)
		if per > c.maxBytes {
			t.Errorf("%s: %d KB each, want %d at most", c.name, per>>10, c.maxBytes>>10)
		}
	}
}
