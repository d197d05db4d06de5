package ingest

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"go.opentelemetry.io/collector/pdata/plog/plogotlp"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	spb "google.golang.org/genproto/googleapis/rpc/status"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"

	"github.com/headgate-io/headgate/auth"
	"github.com/headgate-io/headgate/internal/chtest"
	"github.com/headgate-io/headgate/internal/tenant"
	"github.com/headgate-io/headgate/storage"
	"github.com/headgate-io/headgate/storage/schema"
)

// wantStatus checks an HTTP refusal: the code, a google.rpc.Status in the wanted encoding, and its id.
func wantStatus(t *testing.T, a answer, code int, contentType, id string) *spb.Status {
	t.Helper()
	var st spb.Status
	var err error
	if contentType == protoType {
		err = proto.Unmarshal(a.body, &st)
	} else {
		err = protojson.Unmarshal(a.body, &st)
	}
	if a.status != code || a.header.Get("Content-Type") != contentType || err != nil || !strings.Contains(st.GetMessage(), "("+id+")") {
		t.Errorf("answer %d %q %q (%v), want %d %q with id %s", a.status, a.header.Get("Content-Type"), a.body, err, code, contentType, id)
	}
	return &st
}

// TestH19EveryRefusalIsAStatusInTheRequestsEncoding walks all refusals that headers or body decide.
func TestH19EveryRefusalIsAStatusInTheRequestsEncoding(t *testing.T) {
	g := start(t, Options{MaxBodyBytes: 1 << 16})
	_, key := g.tenant("acme", auth.NewTenant{})
	_, reader := g.tenant("reader", auth.NewTenant{}, auth.ScopeQuery)
	_, disabled := g.tenant("disabled", auth.NewTenant{})
	if _, err := g.directory.Tenants().Disable(t.Context(), g.operator, "disabled"); err != nil {
		t.Fatal(err)
	}
	large := bytes.Repeat([]byte{0}, 1<<16+1)
	good := encode(t, logs(1), protobuf)
	for _, c := range []struct {
		name    string
		path    string
		body    []byte
		headers []string
		status  int
		id      string
	}{
		{"no key", "/v1/logs", good, nil, 401, "credential-missing"},
		{"unknown key", "/v1/logs", good, []string{"key", "hg_nonsense"}, 401, "key-unknown"},
		{"two keys", "/v1/logs", good, []string{"key", key, "X-Api-Key", reader}, 401, "credential-ambiguous"},
		{"wrong scope", "/v1/logs", good, []string{"key", reader}, 403, "key-scope"},
		{"disabled tenant", "/v1/logs", good, []string{"key", disabled}, 403, "tenant-inactive"},
		{"unknown path", "/otlp/v1/logs", good, []string{"key", key}, 404, "not-found"},
		{"unknown encoding", "/v1/logs", good, []string{"key", key, "Content-Encoding", "br"}, 415, "content-encoding-unsupported"},
		{"not gzip", "/v1/logs", good, []string{"key", key, "Content-Encoding", "gzip"}, 400, "undecodable"},
		{"half gzip", "/v1/logs", zipped(t, large)[:30], []string{"key", key, "Content-Encoding", "gzip"}, 400, "undecodable"},
		{"garbage", "/v1/logs", []byte("\xff\xff garbage"), []string{"key", key}, 400, "undecodable"},
		{"too large", "/v1/logs", large, []string{"key", key}, 413, "too-large"},
		{"too large unzipped", "/v1/logs", zipped(t, bytes.Repeat([]byte{' '}, 1<<16+1)), []string{"key", key, "Content-Encoding", "gzip"}, 413, "too-large"},
	} {
		for _, contentType := range []string{protoType, jsonType} {
			a := g.post(c.path, bytes.NewReader(c.body), append(c.headers, "Content-Type", contentType)...)
			wantStatus(t, a, c.status, contentType, c.id)
			if t.Failed() {
				t.Fatalf("in case %q", c.name)
			}
		}
	}
	// Chunked: no Content-Length gives it away.
	wantStatus(t, g.post("/v1/logs", io.MultiReader(bytes.NewReader(large)), "key", key, "Content-Type", protoType), 413, protoType, "too-large")
	// Exactly the limit is not too large, only undecodable.
	wantStatus(t, g.post("/v1/logs", bytes.NewReader(large[1:]), "key", key, "Content-Type", protoType), 400, protoType, "undecodable")

	for _, contentType := range []string{"", "text/plain", "application/protobuf"} {
		wantStatus(t, g.post("/v1/logs", bytes.NewReader(good), "key", key, "Content-Type", contentType), 415, jsonType, "content-type-unsupported")
	}
	wantStatus(t, g.post("/v1/logs", strings.NewReader(""), "key", key, "Content-Type", jsonType), 400, jsonType, "undecodable")

	resp, err := http.Get(g.http + "/v1/logs")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != 405 || resp.Header.Get("Allow") != "POST" {
		t.Errorf("GET: %d, Allow %q", resp.StatusCode, resp.Header.Get("Allow"))
	}
}

func TestA4RefusalsOverGRPC(t *testing.T) {
	g := start(t, Options{MaxBodyBytes: 1 << 16})
	_, key := g.tenant("acme", auth.NewTenant{})
	_, reader := g.tenant("reader", auth.NewTenant{}, auth.ScopeQuery)
	client := plogotlp.NewGRPCClient(g.dial())
	huge := logs(1)
	huge.Logs().ResourceLogs().At(0).ScopeLogs().At(0).LogRecords().At(0).Body().SetStr(strings.Repeat("x", 1<<16))
	for _, c := range []struct {
		name string
		key  string
		req  plogotlp.ExportRequest
		opts []grpc.CallOption
		code codes.Code
		text string
	}{
		{"unknown key", "hg_nonsense", logs(1), nil, codes.Unauthenticated, "(key-unknown)"},
		{"wrong scope", reader, logs(1), nil, codes.PermissionDenied, "(key-scope)"},
		{"too large", key, huge, nil, codes.ResourceExhausted, "(too-large)"},
		{"too large unzipped", key, huge, []grpc.CallOption{grpc.UseCompressor("gzip")}, codes.ResourceExhausted, "(too-large)"},
	} {
		_, err := client.Export(withKey(t.Context(), c.key), c.req, c.opts...)
		st := status.Convert(err)
		if st.Code() != c.code || !strings.Contains(st.Message(), c.text) || retryInfo(st) != nil {
			t.Errorf("%s: %v %q %v, want %v with %q and no RetryInfo", c.name, st.Code(), st.Message(), st.Details(), c.code, c.text)
		}
	}
	if _, err := client.Export(t.Context(), logs(1)); status.Code(err) != codes.Unauthenticated {
		t.Errorf("no key: %v", err)
	}
	// A10: services that are not ours authenticate too.
	err := g.dial().Invoke(t.Context(), "/grpc.reflection.v1.ServerReflection/X", &spb.Status{}, &spb.Status{})
	if status.Code(err) != codes.Unauthenticated {
		t.Errorf("unknown service without a key: %v", err)
	}
}

func retryInfo(st *status.Status) *errdetails.RetryInfo {
	for _, d := range st.Details() {
		if r, ok := d.(*errdetails.RetryInfo); ok {
			return r
		}
	}
	return nil
}

// TestG12KeyIsCheckedBeforeTheBody sends headers alone and gets the answer without sending the body they announce.
func TestG12KeyIsCheckedBeforeTheBody(t *testing.T) {
	g := start(t, Options{})
	for _, expect := range []string{"", "Expect: 100-continue\r\n"} {
		c, err := net.Dial("tcp", strings.TrimPrefix(g.http, "http://"))
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		if err := c.SetDeadline(time.Now().Add(20 * time.Second)); err != nil {
			t.Fatal(err)
		}
		const announced = 8 << 10 // fasthttp hands over once it has read so much
		fmt.Fprintf(c, "POST /v1/logs HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer hg_no\r\nContent-Type: %s\r\nContent-Length: 60000000\r\n%s\r\n", protoType, expect)
		if expect == "" {
			if _, err := c.Write(make([]byte, announced)); err != nil {
				t.Fatal(err)
			}
			if err := c.(*net.TCPConn).CloseWrite(); err != nil {
				t.Fatal(err)
			}
		}
		resp, err := http.ReadResponse(bufio.NewReader(c), nil)
		if err != nil {
			t.Fatalf("expect %q: %v", expect, err)
		}
		if resp.StatusCode != 401 {
			t.Errorf("expect %q: %d, want 401", expect, resp.StatusCode)
		}
	}
}

// TestH26RefusedBodyIsDrained: the connection goes on with the next request, and no byte of the body is taken for one.
func TestH26RefusedBodyIsDrained(t *testing.T) {
	g := start(t, Options{})
	_, key := g.tenant("acme", auth.NewTenant{})
	c, err := net.Dial("tcp", strings.TrimPrefix(g.http, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if err := c.SetDeadline(time.Now().Add(30 * time.Second)); err != nil {
		t.Fatal(err)
	}
	smuggled := strings.Repeat("POST /v1/logs HTTP/1.1\r\nHost: x\r\n\r\n", 20_000)
	br := bufio.NewReader(c)
	for _, auth := range []string{"hg_no", key} {
		body := smuggled
		if auth == key {
			body = "{}"
		}
		go fmt.Fprintf(c, "POST /v1/logs HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer %s\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s", auth, len(body), body)
		resp, err := http.ReadResponse(br, nil)
		if err != nil {
			t.Fatalf("read the answer: %v", err)
		}
		text, _ := io.ReadAll(resp.Body)
		if want := map[bool]int{true: 200, false: 401}[auth == key]; resp.StatusCode != want {
			t.Fatalf("answer %d %s, want %d", resp.StatusCode, text, want)
		}
	}
}

// TestS12SpentLimitSaysWhenItResets: 429 and RESOURCE_EXHAUSTED with the true time, and the same id.
func TestS12SpentLimitSaysWhenItResets(t *testing.T) {
	g := start(t, Options{})
	raw := encode(t, logs(1), protobuf)
	limit := int64(len(raw))
	id, key := g.tenant("acme", auth.NewTenant{DailyBytes: &limit})
	post := func() answer { return g.post("/v1/logs", bytes.NewReader(raw), "key", key, "Content-Type", protoType) }
	if a := post(); a.status != 200 || !bytes.Contains(a.body, []byte("daily byte limit is 100% used")) {
		t.Errorf("the first: %d %q", a.status, a.body)
	}
	now := g.server.receiver.opt.Now
	begun := now()
	midnight := begun.UTC().Truncate(24 * time.Hour).Add(24 * time.Hour)
	a := post()
	// right says of a delay that it led to midnight from a moment since the request was begun, to the second.
	right := func(delay time.Duration) bool {
		return delay <= midnight.Sub(begun)+time.Second && delay >= midnight.Sub(now())-time.Second
	}
	st := wantStatus(t, a, 429, protoType, "limit-daily-bytes")
	for _, want := range []string{fmt.Sprintf("used %d of %d", limit, limit), midnight.Format(time.RFC3339)} {
		if !strings.Contains(st.GetMessage(), want) {
			t.Errorf("message %q lacks %q", st.GetMessage(), want)
		}
	}
	after, err := strconv.Atoi(a.header.Get("Retry-After"))
	if err != nil || !right(time.Duration(after)*time.Second) {
		t.Errorf("Retry-After %q, want %v", a.header.Get("Retry-After"), midnight.Sub(begun))
	}
	_, err = plogotlp.NewGRPCClient(g.dial()).Export(withKey(t.Context(), key), logs(1))
	gst := status.Convert(err)
	info := retryInfo(gst)
	if gst.Code() != codes.ResourceExhausted || info == nil || !right(info.RetryDelay.AsDuration()) {
		t.Errorf("grpc: %v, RetryInfo %v", gst, info)
	}
	if n := g.rows(schema.Logs, id); n != 1 {
		t.Errorf("%d rows, want 1", n)
	}
}

func TestPoliciesAtTheLimit(t *testing.T) {
	g := start(t, Options{})
	raw := encode(t, logs(4), jsonEncoding)
	size := int64(len(encode(t, logs(4), protobuf)))
	limit := size + 1
	send := func(key string) answer {
		return g.post("/v1/logs", bytes.NewReader(raw), "key", key, "Content-Type", jsonType)
	}
	for _, c := range []struct {
		policy  tenant.Policy
		second  string // of the answer to the second and third request
		third   string
		rows    uint64
		billed  int64
		overage int64
	}{
		{tenant.Drop, `"rejectedLogRecords":"4"`, `"rejectedLogRecords":"4"`, 4, size, 0},
		{tenant.Bill, `{}`, `{}`, 12, 3 * size, 3*size - limit},
		{tenant.Sample, `{}`, `(limit-daily-bytes)`, 8, size, 0},
		{tenant.Refuse, `(limit-daily-bytes)`, `(limit-daily-bytes)`, 4, size, 0},
	} {
		id, key := g.tenant(string(c.policy), auth.NewTenant{DailyBytes: &limit, AtLimit: c.policy})
		for i, want := range []string{"daily byte limit is 99% used", c.second, c.third} {
			a := send(key)
			if i == 0 && a.status != 200 || !strings.Contains(string(a.body), want) {
				t.Errorf("%s: %d %s, want %s", c.policy, a.status, a.body, want)
			}
		}
		bill := g.billed(id)
		if n := g.rows(schema.Logs, id); n != c.rows || bill.BilledBytes != c.billed || bill.OverageBytes != c.overage {
			t.Errorf("%s: %d rows, %+v; want %d rows, %d billed, %d overage", c.policy, n, bill, c.rows, c.billed, c.overage)
		}
	}
}

// TestA12RevokedKeyStopsOnOpenConnections: each call is authenticated anew.
func TestA12RevokedKeyStopsOnOpenConnections(t *testing.T) {
	g := start(t, Options{})
	_, key := g.tenant("acme", auth.NewTenant{})
	client := plogotlp.NewGRPCClient(g.dial())
	export := func() error { _, err := client.Export(withKey(t.Context(), key), logs(1)); return err }
	if err := export(); err != nil {
		t.Fatalf("Export: %v", err)
	}
	keyID := strings.Split(key, "_")[1]
	if _, err := g.directory.Keys().Revoke(t.Context(), g.operator, keyID); err != nil {
		t.Fatal(err)
	}
	if err := export(); status.Code(err) != codes.Unauthenticated {
		t.Errorf("Export after the revocation = %v, want Unauthenticated", err)
	}
}

// TestA5OutageIsNeverAnAuthenticationFailure stops the engine for good: good keys are served from the log until that is
// full, and then get retryable answers, on both transports.
func TestA5OutageIsNeverAnAuthenticationFailure(t *testing.T) {
	e := chtest.StartOwn(t, chtest.Options(t.TempDir()))
	if err := e.Open(t, "").Exec(t.Context(), "CREATE DATABASE outage"); err != nil {
		t.Fatal(err)
	}
	g := startWith(t, e.Open(t, "outage"), Options{}, storage.LogOptions{MaxBytes: 4 << 20, SegmentBytes: 1 << 20})
	_, key := g.tenant("acme", auth.NewTenant{})
	client := plogotlp.NewGRPCClient(g.dial())
	if err := syscall.Kill(e.PID(), syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	e.Stop()
	acked := 0.0
	var err error
	for ; err == nil; acked++ {
		_, err = client.Export(withKey(t.Context(), key), logs(200))
	}
	if st := status.Convert(err); st.Code() != codes.Unavailable || retryInfo(st) == nil {
		t.Errorf("grpc with a full log: %v, want Unavailable with RetryInfo", err)
	}
	a := g.post("/v1/logs", bytes.NewReader(encode(t, logs(200), protobuf)), "key", key, "Content-Type", protoType)
	wantStatus(t, a, 503, protoType, "unavailable")
	if n, err := strconv.Atoi(a.header.Get("Retry-After")); err != nil || n < 1 || n > 5 {
		t.Errorf("Retry-After %q, want 1 to 5", a.header.Get("Retry-After"))
	}
	if n := g.metric("headgate_storage_log_requests"); n != acked-1 {
		t.Errorf("%v requests wait for ClickHouse, %v were acked", n, acked-1)
	}
}

// TestRowsThatNoLogTakesAreRefusedForGood: a request whose rows do not compress into a segment is not to be sent again.
func TestRowsThatNoLogTakesAreRefusedForGood(t *testing.T) {
	conn := chtest.Start(t).Open(t, chtest.Database(t))
	g := startWith(t, conn, Options{}, storage.LogOptions{MaxBytes: 8 << 20, SegmentBytes: 1 << 20})
	id, key := g.tenant("acme", auth.NewTenant{})
	noise := make([]byte, 1<<20)
	for i := range noise {
		noise[i] = byte(rand.Uint32())
	}
	req := plogotlp.NewExportRequest()
	req.Logs().ResourceLogs().AppendEmpty().ScopeLogs().AppendEmpty().LogRecords().AppendEmpty().Body().SetEmptyBytes().FromRaw(noise)
	a := g.post("/v1/logs", bytes.NewReader(encode(t, req, protobuf)), "key", key, "Content-Type", protoType)
	wantStatus(t, a, 413, protoType, "too-large")
	want200(t, g.post("/v1/logs", bytes.NewReader(encode(t, logs(1), protobuf)), "key", key, "Content-Type", protoType), protoType, "")
	if bill := g.billed(id); bill.Requests != 1 {
		t.Errorf("billed %+v, want the good request alone", bill)
	}
}

// TestX11StatusTextIsPrintable: what a client sent cannot forge lines of a log or break a trailer.
func TestX11StatusTextIsPrintable(t *testing.T) {
	f := fail(undecodable, "bad\r\nthing \x1b[31m é %s", strings.Repeat("x", 5000))
	text := f.status().GetMessage()
	if len(text) > maxStatusBytes || strings.ContainsFunc(text, func(r rune) bool { return r < 0x20 || r > 0x7e }) {
		t.Errorf("%d bytes: %.60q", len(text), text)
	}
}

// TestX2ObjectBombIsRefusedWhole: millions of empty records in a small body are refused on both transports, for good.
func TestX2ObjectBombIsRefusedWhole(t *testing.T) {
	g := start(t, Options{})
	id, key := g.tenant("acme", auth.NewTenant{})
	bomb := plogotlp.NewExportRequest()
	records := bomb.Logs().ResourceLogs().AppendEmpty().ScopeLogs().AppendEmpty().LogRecords()
	records.EnsureCapacity(300_000)
	for range 300_000 {
		records.AppendEmpty()
	}
	a := g.post("/v1/logs", bytes.NewReader(zipped(t, encode(t, bomb, protobuf))), "key", key, "Content-Type", protoType, "Content-Encoding", "gzip")
	wantStatus(t, a, 413, protoType, "too-many-records")
	_, err := plogotlp.NewGRPCClient(g.dial()).Export(withKey(t.Context(), key), bomb)
	if st := status.Convert(err); st.Code() != codes.ResourceExhausted || retryInfo(st) != nil || !strings.Contains(st.Message(), "(too-many-records)") {
		t.Errorf("grpc: %v", err)
	}
	if bill := g.billed(id); bill.BilledBytes != 0 || g.rows(schema.Logs, id) != 0 {
		t.Errorf("billed %+v", bill)
	}
}
