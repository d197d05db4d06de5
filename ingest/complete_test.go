package ingest

import (
	"bytes"
	"compress/gzip"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"os"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/mem"
	"google.golang.org/grpc/metadata"

	"github.com/headgate-io/headgate/auth"
	"github.com/headgate-io/headgate/ingest/otlp"
	"github.com/headgate-io/headgate/internal/chtest"
	"github.com/headgate-io/headgate/storage"
	"github.com/headgate-io/headgate/storage/schema"
)

// TestTelemetrygenArrivesComplete lets the public generator send all signals over both transports, through proxies that
// keep what passes, and finds every field of every record in ClickHouse: the tables equal those that the kept bytes make
// when they are decoded and inserted by themselves.
func TestTelemetrygenArrivesComplete(t *testing.T) {
	binary := os.Getenv("HEADGATE_TELEMETRYGEN")
	if binary == "" {
		t.Skip("HEADGATE_TELEMETRYGEN does not name a telemetrygen; make test builds one")
	}
	database := chtest.Database(t)
	g := startOn(t, chtest.Start(t).Open(t, database), Options{}, 10*time.Millisecond)
	_, key := g.tenant("acme", auth.NewTenant{})
	kept := &keeper{}
	endpoints := map[string]string{"grpc": kept.proxyGRPC(t, g), "http": kept.proxyHTTP(t, g)}
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	for _, signal := range []string{"logs", "traces", "metrics"} {
		for transport, endpoint := range endpoints {
			args := []string{signal, "--" + signal, "250", "--rate", "0", "--otlp-insecure", "--otlp-endpoint", endpoint,
				"--otlp-header", `authorization="Bearer ` + key + `"`, "--otlp-attributes", `tenant.id="forged"`,
				"--otlp-attributes", `replicas=3`, "--telemetry-attributes", `route="/cart/é"`, "--telemetry-attributes", `retry=true`}
			if transport == "http" {
				args = append(args, "--otlp-http")
			}
			if out, err := exec.CommandContext(ctx, binary, args...).CombinedOutput(); err != nil {
				t.Fatalf("telemetrygen %s over %s: %v\n%s", signal, transport, err, out)
			}
		}
	}
	kept.compare(t, g, key, database, map[string]uint64{schema.Logs: 500, schema.Traces: 1000, schema.MetricsGauge: 500})
}

// TestOfficialExamplesArriveComplete sends the examples of the OTLP repository as they are, JSON over HTTP.
func TestOfficialExamplesArriveComplete(t *testing.T) {
	database := chtest.Database(t)
	g := startOn(t, chtest.Start(t).Open(t, database), Options{}, 10*time.Millisecond)
	_, key := g.tenant("acme", auth.NewTenant{})
	kept := &keeper{}
	for file, path := range map[string]string{"logs": "/v1/logs", "events": "/v1/logs", "trace": "/v1/traces", "metrics": "/v1/metrics"} {
		body, err := os.ReadFile("otlp/testdata/json/" + file + ".json")
		if err != nil {
			t.Fatal(err)
		}
		want200(t, g.post(path, bytes.NewReader(body), "key", key, "Content-Type", jsonType), jsonType, "{}")
		converted, err := otlp.JSONToProto(httpPaths[path], body)
		if err != nil {
			t.Fatal(err)
		}
		kept.keep(httpPaths[path], converted)
	}
	kept.compare(t, g, key, database, map[string]uint64{schema.Logs: 2, schema.Traces: 1, schema.MetricsGauge: 1, schema.MetricsSum: 1,
		schema.MetricsHistogram: 1, schema.MetricsExponentialHistogram: 1})
}

// compare finds the rows of what was kept, field by field, in the gateway's database, and nothing else.
func (k *keeper) compare(t *testing.T, g *gateway, key, database string, rows map[string]uint64) {
	t.Helper()
	p, err := g.directory.Authenticate(key)
	if err != nil {
		t.Fatal(err)
	}
	expected := chtest.Database(t)
	k.insert(t, expected, p)
	for _, table := range schema.Tables {
		var stored, differing uint64
		if err := g.conn.QueryRow(t.Context(), "SELECT count() FROM "+table).Scan(&stored); err != nil {
			t.Fatal(err)
		}
		diff := func(a, b string) string {
			const columns = "* EXCEPT (RunId, ReceivedAt)"
			return fmt.Sprintf("(SELECT %s FROM `%s`.%s EXCEPT ALL SELECT %s FROM `%s`.%s)", columns, a, table, columns, b, table)
		}
		err := g.conn.QueryRow(t.Context(), "SELECT count() FROM ("+diff(database, expected)+" UNION ALL "+diff(expected, database)+")").Scan(&differing)
		if err != nil || differing != 0 || stored != rows[table] {
			t.Errorf("%s: %d rows, want %d; %d differ, %v", table, stored, rows[table], differing, err)
		}
	}
}

// keeper keeps the requests that pass through its proxies, uncompressed.
type keeper struct {
	mu       sync.Mutex
	requests []keptRequest
}

type keptRequest struct {
	signal otlp.Signal
	body   []byte
}

func (k *keeper) keep(sig otlp.Signal, body []byte) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.requests = append(k.requests, keptRequest{sig, body})
}

func (k *keeper) proxyGRPC(t *testing.T, g *gateway) string {
	t.Helper()
	upstream := g.dial()
	handler := func(_ any, stream grpc.ServerStream) error {
		method, _ := grpc.MethodFromServerStream(stream)
		sig, _ := signalOfMethod(method)
		var body []byte
		if err := stream.RecvMsg(&body); err != nil {
			return err
		}
		k.keep(sig, body)
		in, _ := metadata.FromIncomingContext(stream.Context())
		ctx := metadata.AppendToOutgoingContext(stream.Context(), "authorization", strings.Join(in.Get("authorization"), ""))
		var reply []byte
		if err := upstream.Invoke(ctx, method, body, &reply, grpc.ForceCodecV2(bytesCodec{})); err != nil {
			return err
		}
		return stream.SendMsg(reply)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	srv := grpc.NewServer(grpc.ForceServerCodecV2(bytesCodec{}), grpc.UnknownServiceHandler(handler))
	go func() { _ = srv.Serve(l) }()
	t.Cleanup(srv.Stop)
	return l.Addr().String()
}

// bytesCodec hands messages through as bytes.
type bytesCodec struct{}

func (bytesCodec) Name() string { return "proto" }

func (bytesCodec) Marshal(v any) (mem.BufferSlice, error) {
	return mem.BufferSlice{mem.SliceBuffer(v.([]byte))}, nil
}

func (bytesCodec) Unmarshal(data mem.BufferSlice, v any) error {
	*v.(*[]byte) = data.Materialize()
	return nil
}

func (k *keeper) proxyHTTP(t *testing.T, g *gateway) string {
	t.Helper()
	target, err := url.Parse(g.http)
	if err != nil {
		t.Fatal(err)
	}
	forward := &httputil.ReverseProxy{Rewrite: func(r *httputil.ProxyRequest) { r.SetURL(target) }}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	srv := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		wire, _ := io.ReadAll(r.Body)
		r.Body = io.NopCloser(bytes.NewReader(wire))
		body := wire
		if r.Header.Get("Content-Encoding") == "gzip" {
			zr, err := gzip.NewReader(bytes.NewReader(wire))
			if err != nil {
				t.Errorf("gzip: %v", err)
				return
			}
			body, _ = io.ReadAll(zr)
		}
		sig := httpPaths[r.URL.Path]
		k.keep(sig, body)
		forward.ServeHTTP(w, r)
	})}
	go func() { _ = srv.Serve(l) }()
	t.Cleanup(func() { _ = srv.Close() })
	return l.Addr().String()
}

// insert decodes what was kept and inserts it into a database of its own, without a gateway.
func (k *keeper) insert(t *testing.T, database string, p auth.Principal) {
	t.Helper()
	conn := chtest.Start(t).Open(t, database)
	if err := storage.Migrate(t.Context(), conn, schema.Migrations, quiet); err != nil {
		t.Fatal(err)
	}
	d := otlp.NewDecoder(otlp.Limits{})
	for _, r := range k.requests {
		res, err := d.Decode(r.signal, r.body, otlp.Stamp{Tenant: p.Tenant(), Partition: p.Partition(), RetentionDays: p.RetentionDays(), Received: time.Now()})
		if err != nil {
			t.Fatal(err)
		}
		for _, rows := range res.Rows {
			block := rows.Encode()
			chtest.Insert(t, conn, rows.Table, block.AppendTo(nil, 1))
		}
	}
}
