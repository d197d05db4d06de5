package ingest

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"
	"go.opentelemetry.io/collector/pdata/plog/plogotlp"
	"golang.org/x/net/http2"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	spb "google.golang.org/genproto/googleapis/rpc/status"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	"github.com/headgate-io/headgate/auth"
	"github.com/headgate-io/headgate/internal/chtest"
	"github.com/headgate-io/headgate/internal/faultfs"
	"github.com/headgate-io/headgate/internal/timetest"
	"github.com/headgate-io/headgate/storage"
)

// pingFor sends a ping every period, n times, and reports the GOAWAY that came, if any.
func pingFor(t *testing.T, addr string, period time.Duration, n int) *http2.GoAwayFrame {
	t.Helper()
	c := dialRaw(t, addr)
	fmt.Fprint(c, http2.ClientPreface)
	framer := http2.NewFramer(c, c)
	if err := framer.WriteSettings(); err != nil {
		t.Fatal(err)
	}
	away := make(chan *http2.GoAwayFrame, 1)
	acks := make(chan struct{}, n)
	go func() {
		defer close(away)
		for {
			switch f, err := framer.ReadFrame(); f := f.(type) {
			case *http2.GoAwayFrame:
				away <- f
				return
			case *http2.PingFrame:
				if f.IsAck() {
					acks <- struct{}{}
				}
			default:
				if err != nil {
					return
				}
			}
		}
	}()
	for i := range n {
		var data [8]byte
		binary.BigEndian.PutUint64(data[:], uint64(i))
		if err := framer.WritePing(false, data); err != nil {
			break
		}
		select {
		case f := <-away:
			return f
		case <-acks:
		}
		select {
		case f := <-away:
			return f
		case <-time.After(period):
		}
	}
	return nil
}

// TestG13PingingAgentsStay: a client that pings no faster than allowed stays without a single call; one that floods is
// sent away. The real bound is below what agents use.
func TestG13PingingAgentsStay(t *testing.T) {
	g := start(t, Options{minPing: 40 * time.Millisecond})
	if f := pingFor(t, g.grpc, 60*time.Millisecond, 20); f != nil {
		t.Errorf("sent away: %v %s", f.ErrCode, f.DebugData())
	}
	if f := pingFor(t, g.grpc, 0, 200); f == nil || f.ErrCode != http2.ErrCodeEnhanceYourCalm {
		t.Errorf("a flood of pings gets %v", f)
	}
	if f := pingFor(t, g.http, 0, 200); f != nil { // HTTP/2 beside HTTP/1.1 takes them
		t.Errorf("http: sent away: %v", f.ErrCode)
	}
	var o Options
	o.setDefaults()
	if o.minPing > 10*time.Second {
		t.Errorf("pings are allowed every %v; agents send one every 10 s", o.minPing)
	}
}

// TestG14AgedConnectionsEndWithoutLoss: calls go on across connections that are asked to end, one in flight included.
func TestG14AgedConnectionsEndWithoutLoss(t *testing.T) {
	g := start(t, Options{MaxConnectionAge: 300 * time.Millisecond})
	_, key := g.tenant("acme", auth.NewTenant{})
	pr, pw := io.Pipe()
	slow := make(chan error, 1)
	client := http2Client(t)
	go func() {
		a, err := tryGRPC(t.Context(), client, "http://"+g.grpc, pr, "key", key)
		if err == nil && a.code != codes.OK {
			err = fmt.Errorf("%v %s", a.code, a.message)
		}
		slow <- err
	}()
	raw := prefixed(0, encode(t, logs(1), protobuf))
	if _, err := pw.Write(raw[:20]); err != nil {
		t.Fatal(err)
	}
	conn := plogotlp.NewGRPCClient(g.dial())
	for began := time.Now(); time.Since(began) < 1500*time.Millisecond; {
		if _, err := conn.Export(withKey(t.Context(), key), logs(1)); err != nil {
			t.Fatalf("Export: %v", err)
		}
	}
	_, _ = pw.Write(raw[20:])
	_ = pw.Close()
	if err := <-slow; err != nil {
		t.Errorf("the call in flight: %v", err)
	}
}

// TestG15LargeHeaders: a token of 30 KiB is read, a megabyte of headers ends its call alone.
func TestG15LargeHeaders(t *testing.T) {
	g := start(t, Options{})
	_, key := g.tenant("acme", auth.NewTenant{})
	client := plogotlp.NewGRPCClient(g.dial())
	export := func(kib int) error {
		ctx := metadata.AppendToOutgoingContext(withKey(t.Context(), key), "x-token", strings.Repeat("x", kib<<10))
		_, err := client.Export(ctx, logs(1))
		return err
	}
	if err := export(30); err != nil {
		t.Errorf("30 KiB: %v", err)
	}
	if err := export(1024); err == nil {
		t.Error("1 MiB of headers passes")
	}
	if err := export(1); err != nil {
		t.Errorf("after a large one: %v", err)
	}
	token := strings.Repeat("x", 30<<10)
	want200(t, g.post("/v1/logs", strings.NewReader("{}"), "key", key, "Content-Type", jsonType, "X-Token", token), jsonType, "{}")
	wantStatus(t, g.post("/v1/logs", strings.NewReader("{}"), "key", key, "Content-Type", jsonType, "X-Token", token+token), 431, jsonType, "headers-too-large")
}

// TestG17ErrorsAreTrailersOnly: every refusal, early or late, comes in one HEADERS frame and is short (G16).
func TestG17ErrorsAreTrailersOnly(t *testing.T) {
	g := start(t, Options{MaxBodyBytes: 1 << 16})
	limit := int64(1)
	_, key := g.tenant("acme", auth.NewTenant{})
	_, spent := g.tenant("spent", auth.NewTenant{DailyBytes: &limit})
	raw := encode(t, logs(1), protobuf)
	for name, c := range map[string]struct {
		key  string
		body []byte
		want codes.Code
	}{
		"unknown key": {"hg_no", prefixed(0, raw), codes.Unauthenticated},
		"over limit":  {spent, prefixed(0, raw), codes.ResourceExhausted},
		"too large":   {key, prefixed(0, make([]byte, 1<<16+1)), codes.ResourceExhausted},
		"undecodable": {key, prefixed(0, []byte("\xff\xff\xff")), codes.InvalidArgument},
		"no message":  {key, nil, codes.InvalidArgument},
		"two":         {key, append(prefixed(0, raw), prefixed(0, raw)...), codes.InvalidArgument},
		"cut off":     {key, prefixed(0, raw)[:20], codes.InvalidArgument},
	} {
		a := callGRPC(t, "http://"+g.grpc, bytes.NewReader(c.body), "key", c.key)
		size := len(a.message) + len(a.header.Get("Grpc-Status-Details-Bin"))
		if a.code != c.want || !a.trailersOnly || size > 2048 {
			t.Errorf("%s: %v %q, trailers-only %v, %d bytes", name, a.code, a.message, a.trailersOnly, size)
		}
	}
}

// TestS14RetryInfoComesTwice: in the status's details, and in the trailer that the Python exporter reads.
func TestS14RetryInfoComesTwice(t *testing.T) {
	g := start(t, Options{})
	limit := int64(1)
	_, key := g.tenant("acme", auth.NewTenant{DailyBytes: &limit})
	var trailer metadata.MD
	_, err := plogotlp.NewGRPCClient(g.dial()).Export(withKey(t.Context(), key), logs(1), grpc.Trailer(&trailer))
	info := retryInfo(status.Convert(err))
	var twin errdetails.RetryInfo
	if v := trailer.Get("google.rpc.retryinfo-bin"); info == nil || len(v) != 1 || proto.Unmarshal([]byte(v[0]), &twin) != nil || !proto.Equal(info, &twin) {
		t.Errorf("details %v, trailer %v, %v", info, trailer, err)
	}
}

// TestG18DeadlineEndsTheCall: the client hears of its deadline, and the server goes on with the next call.
func TestG18DeadlineEndsTheCall(t *testing.T) {
	conn := chtest.Start(t).Open(t, chtest.Database(t))
	var stuck atomic.Bool
	released := make(chan struct{})
	slow := faultfs.Hooked{FS: faultfs.OS{}, BeforeSync: func() error {
		if stuck.Load() {
			<-released
		}
		return nil
	}}
	g := startWith(t, conn, Options{}, storage.LogOptions{FS: slow})
	_, key := g.tenant("acme", auth.NewTenant{})
	client := plogotlp.NewGRPCClient(g.dial())
	ctx, cancel := context.WithTimeout(withKey(t.Context(), key), 100*time.Millisecond)
	defer cancel()
	stuck.Store(true)
	_, err := client.Export(ctx, logs(1))
	if code := status.Code(err); code != codes.DeadlineExceeded && code != codes.Unavailable {
		t.Errorf("%v, want the deadline", err)
	}
	stuck.Store(false)
	close(released)
	if _, err := client.Export(withKey(t.Context(), key), logs(1)); err != nil {
		t.Errorf("the next call: %v", err)
	}
	timetest.Eventually(t, "the budget is free", func() bool { return g.server.receiver.budget.inUse() == 0 })
}

func TestG20ContentTypes(t *testing.T) {
	g := start(t, Options{})
	_, key := g.tenant("acme", auth.NewTenant{})
	client := http2Client(t)
	for contentType, want := range map[string]string{
		"application/grpc": "0", "application/grpc+proto": "0", "application/grpc+json": "0", "application/json": "3", "text/plain": "3",
	} {
		req, _ := http.NewRequestWithContext(t.Context(), http.MethodPost, "http://"+g.grpc+"/opentelemetry.proto.collector.logs.v1.LogsService/Export", bytes.NewReader(prefixed(0, encode(t, logs(1), protobuf))))
		req.Header = http.Header{"Content-Type": {contentType}, "Te": {"trailers"}, "X-Api-Key": {key}}
		resp, err := client.Do(req)
		if err != nil {
			t.Fatalf("%s: %v", contentType, err)
		}
		_, _ = io.Copy(io.Discard, resp.Body)
		_ = resp.Body.Close()
		if got := resp.Header.Get("Grpc-Status") + resp.Trailer.Get("Grpc-Status"); got != want {
			t.Errorf("%s: status %s, want %s", contentType, got, want)
		}
	}
}

// TestG2UnservedServicesAreUnimplemented: profiles too, once the key is known.
func TestG2UnservedServicesAreUnimplemented(t *testing.T) {
	g := start(t, Options{})
	_, key := g.tenant("acme", auth.NewTenant{})
	for _, method := range []string{
		"/opentelemetry.proto.collector.profiles.v1development.ProfilesService/Export",
		"/opentelemetry.proto.collector.logs.v1.LogsService/Nothing", "/grpc.health.v1.Health/Watch",
	} {
		if err := g.dial().Invoke(withKey(t.Context(), key), method, &spb.Status{}, &spb.Status{}); status.Code(err) != codes.Unimplemented {
			t.Errorf("%s: %v", method, err)
		}
	}
}

// TestX13DefectCostsOneRequest takes parts away from a running server: each request that needs them fails alone, is
// counted, and the process lives.
func TestX13DefectCostsOneRequest(t *testing.T) {
	for name, breakIt := range map[string]func(*receiver){
		"before the body": func(r *receiver) { r.Keys = nil },
		"on admission":    func(r *receiver) { r.Meter = nil },
		"in the body":     func(r *receiver) { r.codecs["gzip"] = newCodec(func() inflater { return brokenInflater{} }) },
		"after the body":  func(r *receiver) { r.Log = nil },
	} {
		g := start(t, Options{})
		_, key := g.tenant("acme", auth.NewTenant{})
		r := g.server.receiver
		whole := r.Backend
		breakIt(r)
		_, err := plogotlp.NewGRPCClient(g.dial()).Export(withKey(t.Context(), key), logs(1), grpc.UseCompressor("gzip"))
		if st := status.Convert(err); st.Code() != codes.Internal || !strings.Contains(st.Message(), "(internal)") {
			t.Errorf("%s, grpc: %v", name, err)
		}
		packed := zipped(t, encode(t, logs(1), protobuf))
		for _, h2 := range []bool{false, true} {
			client := http.DefaultClient
			if h2 {
				client = http2Client(t)
			}
			req, _ := http.NewRequestWithContext(t.Context(), http.MethodPost, g.http+"/v1/logs", bytes.NewReader(packed))
			req.Header = http.Header{"Content-Type": {protoType}, "Content-Encoding": {"gzip"}, "X-Api-Key": {key}}
			resp, err := client.Do(req)
			if err != nil {
				t.Fatalf("%s, h2 %v: %v", name, h2, err)
			}
			_ = resp.Body.Close()
			if resp.StatusCode != 500 {
				t.Errorf("%s, h2 %v: %d", name, h2, resp.StatusCode)
			}
		}
		if n := g.metric("headgate_ingest_panics_total"); n != 3 {
			t.Errorf("%s: %v panics counted, want 3", name, n)
		}
		if n := r.budget.inUse(); n != 0 {
			t.Errorf("%s: %d bytes are held for ever", name, n)
		}
		r.Backend = whole
		want200(t, g.post("/v1/logs", strings.NewReader("{}"), "key", key, "Content-Type", jsonType), jsonType, "{}")
	}
}

// brokenInflater is a codec with a defect.
type brokenInflater struct{}

func (brokenInflater) Reset(*bytes.Reader) error { return nil }
func (brokenInflater) Read([]byte) (int, error)  { panic("defect") }

// TestG24HealthNeedsNoKey: the check that probes make; nothing else of that service is served.
func TestG24HealthNeedsNoKey(t *testing.T) {
	g := start(t, Options{})
	conn := g.dial()
	client := healthpb.NewHealthClient(conn)
	for _, service := range []string{"", "opentelemetry.proto.collector.logs.v1.LogsService"} {
		got, err := client.Check(t.Context(), &healthpb.HealthCheckRequest{Service: service})
		if err != nil || got.GetStatus() != healthpb.HealthCheckResponse_SERVING {
			t.Errorf("Check(%q) = %v, %v", service, got, err)
		}
	}
	for _, method := range []string{"/grpc.health.v1.Health/Watch", "/grpc.health.v1.Health/Check/", "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo"} {
		if err := conn.Invoke(t.Context(), method, &spb.Status{}, &spb.Status{}); status.Code(err) != codes.Unauthenticated {
			t.Errorf("%s without a key: %v", method, err)
		}
	}
	for encoding, want := range map[string]string{"gzip": "0", "br": "12"} { // an answer comes in the encoding of its call
		req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "http://"+g.grpc+healthCheck, bytes.NewReader(prefixed(0, nil)))
		if err != nil {
			t.Fatal(err)
		}
		req.Header = http.Header{"Content-Type": {"application/grpc"}, "Te": {"trailers"}, "Grpc-Encoding": {encoding}}
		resp, err := http2Client(t).Do(req)
		if err != nil {
			t.Fatal(err)
		}
		_, _ = io.Copy(io.Discard, resp.Body)
		_ = resp.Body.Close()
		if got := resp.Header.Get("Grpc-Status") + resp.Trailer.Get("Grpc-Status"); got != want {
			t.Errorf("Check in %s: status %s %s, want %s", encoding, got, resp.Header.Get("Grpc-Message"), want)
		}
	}
	timetest.Eventually(t, "a check is in no metric of requests", func() bool {
		return testutil.CollectAndCount(g.server.receiver.metrics.requests) == 1 // the refusals above
	})
}
