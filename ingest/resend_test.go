package ingest

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.opentelemetry.io/collector/pdata/plog/plogotlp"
	"go.opentelemetry.io/collector/pdata/ptrace"
	"go.opentelemetry.io/collector/pdata/ptrace/ptraceotlp"
	"google.golang.org/grpc"

	"github.com/headgate-io/headgate/auth"
	"github.com/headgate-io/headgate/internal/chtest"
	"github.com/headgate-io/headgate/internal/faultfs"
	"github.com/headgate-io/headgate/internal/tenant"
	"github.com/headgate-io/headgate/internal/timetest"
	"github.com/headgate-io/headgate/storage"
	"github.com/headgate-io/headgate/storage/schema"
)

// startKnowing starts a gateway that knows requests again for a minute.
func startKnowing(t *testing.T) *gateway {
	t.Helper()
	return startWith(t, chtest.Start(t).Open(t, chtest.Database(t)), Options{}, knowing)
}

var knowing = storage.LogOptions{Window: time.Minute, MaxDelay: 10 * time.Millisecond}

// ways are the ways of sending a request of spans. Each returns what the partial success of the answer says.
func (g *gateway) ways(req ptraceotlp.ExportRequest) map[string]func(key string) (ptraceotlp.ExportPartialSuccess, error) {
	g.t.Helper()
	raw, text := encode(g.t, req, protobuf), encode(g.t, req, jsonEncoding)
	client := ptraceotlp.NewGRPCClient(g.dial())
	call := func(opts ...grpc.CallOption) func(string) (ptraceotlp.ExportPartialSuccess, error) {
		return func(key string) (ptraceotlp.ExportPartialSuccess, error) {
			resp, err := client.Export(withKey(g.t.Context(), key), req, opts...)
			if err != nil {
				return ptraceotlp.NewExportPartialSuccess(), err
			}
			return resp.PartialSuccess(), nil
		}
	}
	post := func(body []byte, contentType string, headers ...string) func(string) (ptraceotlp.ExportPartialSuccess, error) {
		return func(key string) (ptraceotlp.ExportPartialSuccess, error) {
			a := g.post("/v1/traces", bytes.NewReader(body), append(headers, "key", key, "Content-Type", contentType)...)
			resp := ptraceotlp.NewExportResponse()
			read := resp.UnmarshalProto
			if contentType == jsonType {
				read = resp.UnmarshalJSON
			}
			if a.status != http.StatusOK {
				return resp.PartialSuccess(), fmt.Errorf("status %d: %q", a.status, a.body)
			}
			return resp.PartialSuccess(), read(a.body)
		}
	}
	return map[string]func(string) (ptraceotlp.ExportPartialSuccess, error){
		"grpc":               call(),
		"grpc-gzip":          call(grpc.UseCompressor("gzip")),
		"http-protobuf":      post(raw, protoType),
		"http-protobuf-gzip": post(zipped(g.t, raw), protoType, "Content-Encoding", "gzip"),
		"http-json":          post(text, jsonType),
		"http-json-gzip":     post(zipped(g.t, text), jsonType, "Content-Encoding", "gzip"),
	}
}

// wantOnce checks that of a tenant's requests of three spans one was stored and billed, however many were answered.
func (g *gateway) wantOnce(what, id string, bad int) {
	g.t.Helper()
	if n := g.rows(schema.Traces, id); n != uint64(3-bad) {
		g.t.Errorf("%s: %d rows, want %d", what, n, 3-bad)
	}
	if bill := g.billed(id); bill.Requests != 1 || bill.Records != int64(3-bad) || bill.RejectedRecords != int64(bad) {
		g.t.Errorf("%s: billed %+v, want one request of %d records, %d rejected", what, bill, 3-bad, bad)
	}
}

// outcomes returns how many requests had an outcome.
func (g *gateway) outcomes(outcome string) float64 {
	g.t.Helper()
	return g.metricOf("headgate_ingest_requests_total", map[string]string{"outcome": outcome})
}

// TestRepeatedRequestIsStoredAndBilledOnce sends the same request three times in every form, whole and with a bad span:
// each answer tells of the rejection.
func TestRepeatedRequestIsStoredAndBilledOnce(t *testing.T) {
	g := startKnowing(t)
	accepted, repeated := 0.0, 0.0
	for bad := range 2 {
		for way, send := range g.ways(spans(bad)) {
			what := fmt.Sprintf("%s-%d-bad", way, bad)
			id, key := g.tenant(what, auth.NewTenant{})
			for i := range 3 {
				p, err := send(key)
				if err != nil || p.RejectedSpans() != int64(bad) || (p.ErrorMessage() != "") != (bad > 0) {
					t.Errorf("%s, time %d: %d rejected, %q, %v, want %d", what, i+1, p.RejectedSpans(), p.ErrorMessage(), err, bad)
				}
			}
			accepted, repeated = accepted+1, repeated+2
			g.wantOnce(what, id, bad)
		}
	}
	if a, r := g.outcomes("accepted"), g.outcomes("repeated"); a != accepted || r != repeated {
		t.Errorf("%v were counted as accepted and %v as repeated, want %v and %v", a, r, accepted, repeated)
	}
}

// TestRepetitionIsKnownAcrossTransports: an exporter may try another endpoint, or compression, or key.
func TestRepetitionIsKnownAcrossTransports(t *testing.T) {
	g := startKnowing(t)
	id, key := g.tenant("acme", auth.NewTenant{})
	_, other, err := g.directory.Keys().Create(t.Context(), g.operator, auth.NewKey{Tenant: "acme", Scopes: []auth.KeyScope{auth.ScopeIngest}})
	if err != nil {
		t.Fatal(err)
	}
	for way, send := range g.ways(spans(0)) {
		if strings.Contains(way, "json") {
			continue // its protobuf is not pdata's, byte for byte
		}
		for _, key := range []string{key, other} {
			if _, err := send(key); err != nil {
				t.Errorf("%s: %v", way, err)
			}
		}
	}
	g.wantOnce("all ways", id, 0)
}

// TestEqualRequestsOfTenantsAndSignalsAreDifferent: nothing of one is taken for another's, and nobody learns from an answer
// what others have sent.
func TestEqualRequestsOfTenantsAndSignalsAreDifferent(t *testing.T) {
	g := startKnowing(t)
	ways := g.ways(spans(1))
	for _, name := range []string{"acme", "globex", "initech"} {
		id, key := g.tenant(name, auth.NewTenant{})
		if _, err := ways["grpc"](key); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		g.wantOnce(name, id, 1)
	}
	// A resource without records is a request of any signal.
	td := spans(0).Traces()
	td.ResourceSpans().At(0).Resource().Attributes().PutStr("service.name", "checkout")
	td.ResourceSpans().At(0).ScopeSpans().RemoveIf(func(ptrace.ScopeSpans) bool { return true })
	raw := encode(t, ptraceotlp.NewExportRequestFromTraces(td), protobuf)
	id, key := g.tenant("signals", auth.NewTenant{})
	for _, path := range []string{"/v1/logs", "/v1/traces", "/v1/metrics"} {
		for range 2 {
			want200(t, g.post(path, bytes.NewReader(raw), "key", key, "Content-Type", protoType), protoType, "")
		}
	}
	if bill := g.billed(id); bill.Requests != 3 || bill.BilledBytes != int64(3*len(raw)) {
		t.Errorf("billed %+v, want a request of %d bytes per signal", bill, len(raw))
	}
}

// untimed is a request of n records one of which has no time.
func untimed(n int) plogotlp.ExportRequest {
	req := logs(n)
	req.Logs().ResourceLogs().At(0).ScopeLogs().At(0).LogRecords().At(n / 2).SetTimestamp(0)
	return req
}

// TestRequestWithAnUntimedRecordIsStoredEachTime: two such requests may be equal and both meant, one after the other or at
// once.
func TestRequestWithAnUntimedRecordIsStoredEachTime(t *testing.T) {
	g := startKnowing(t)
	id, key := g.tenant("acme", auth.NewTenant{})
	raw := encode(t, untimed(5), protobuf)
	send := func() {
		want200(t, g.post("/v1/logs", bytes.NewReader(raw), "key", key, "Content-Type", protoType), protoType, "")
	}
	for range 3 {
		send()
	}
	var wg sync.WaitGroup
	for range 10 {
		wg.Go(send)
	}
	wg.Wait()
	if n, bill := g.rows(schema.Logs, id), g.billed(id); n != 65 || bill.Requests != 13 {
		t.Errorf("%d rows, billed %+v, want 65 of 13 requests", n, bill)
	}
	g = g.restart()
	want200(t, g.post("/v1/logs", bytes.NewReader(raw), "key", key, "Content-Type", protoType), protoType, "")
	if n := g.rows(schema.Logs, id); n != 70 {
		t.Errorf("%d rows after a restart, want 70", n)
	}
}

// TestEqualRequestsAtOnceAreStoredOnce: the disk takes its time with the first until all others are there; then every one
// is answered, and tells of the rejection.
func TestEqualRequestsAtOnceAreStoredOnce(t *testing.T) {
	var slow atomic.Pointer[chan struct{}]
	opt := knowing
	opt.FS = faultfs.Hooked{FS: faultfs.OS{}, BeforeSync: func() error {
		if c := slow.Load(); c != nil {
			<-*c
		}
		return nil
	}}
	g := startWith(t, chtest.Start(t).Open(t, chtest.Database(t)), Options{}, opt)
	id, key := g.tenant("acme", auth.NewTenant{})
	synced := make(chan struct{})
	slow.Store(&synced)
	release := sync.OnceFunc(func() { close(synced) })
	t.Cleanup(release)
	ways := g.ways(spans(1))
	for _, json := range []string{"http-json", "http-json-gzip"} {
		delete(ways, json) // another request, to the byte
	}
	var wg sync.WaitGroup
	for range 12 {
		for way, send := range ways {
			wg.Go(func() {
				if p, err := send(key); err != nil || p.RejectedSpans() != 1 {
					t.Errorf("%s: %d rejected, %v, want 1", way, p.RejectedSpans(), err)
				}
			})
		}
	}
	for range 2 {
		wg.Go(func() {
			if _, err := ways["grpc"](key); err != nil {
				t.Errorf("grpc: %v", err)
			}
		})
	}
	q := g.server.receiver.small
	timetest.Eventually(t, "49 of 50 wait: some for the first, the others for a turn", func() bool {
		q.mu.Lock()
		defer q.mu.Unlock()
		for _, l := range q.lines { // one tenant's
			return l.running == q.each && l.running+l.waiting.Len() == 49
		}
		return false
	})
	release()
	answered := make(chan struct{})
	go func() { wg.Wait(); close(answered) }()
	select {
	case <-answered:
	case <-time.After(30 * time.Second):
		t.Fatal("some wait on, although the first was answered")
	}
	g.wantOnce("50 at once", id, 1)
	if a, r := g.outcomes("accepted"), g.outcomes("repeated"); a != 1 || r != 49 {
		t.Errorf("%v were counted as accepted and %v as repeated, want 1 and 49", a, r)
	}
}

// TestRequestThatWasNotAckedIsStoredWhenItComesAgain: the disk refuses the first syncs; those requests are not known, what
// they held of the limit is given back, and the one that is acked in the end is stored once.
func TestRequestThatWasNotAckedIsStoredWhenItComesAgain(t *testing.T) {
	var failing atomic.Int64
	opt := knowing
	opt.FS = faultfs.Hooked{FS: faultfs.OS{}, BeforeSync: func() error {
		if failing.Add(-1) >= 0 {
			return errors.New("input/output error")
		}
		return nil
	}}
	g := startWith(t, chtest.Start(t).Open(t, chtest.Database(t)), Options{}, opt)
	limit := int64(len(encode(t, spans(0), protobuf)))
	id, key := g.tenant("acme", auth.NewTenant{DailyBytes: &limit}) // room for one
	send := g.ways(spans(0))["http-protobuf"]
	refused := 0
	failing.Store(3)
	for deadline := time.Now().Add(time.Minute); ; refused++ {
		if _, err := send(key); err == nil {
			break
		}
		if time.Now().After(deadline) {
			t.Fatal("the disk is well, and nothing is acked")
		}
	}
	if refused == 0 {
		t.Error("a request was acked whose sync failed")
	}
	if _, err := send(key); err != nil {
		t.Errorf("once more: %v", err)
	}
	g.wantOnce("after failed syncs", id, 0)
	if n := g.outcomes("unavailable"); n != float64(refused) {
		t.Errorf("%v were counted as unavailable, want %d", n, refused)
	}
}

// TestRequestRefusedByAFullLogIsStoredWhenItComesAgain: so is one that found no room, and what was acked before it is known.
func TestRequestRefusedByAFullLogIsStoredWhenItComesAgain(t *testing.T) {
	e := chtest.Start(t)
	proxy := chtest.StartProxy(t, e.Addr())
	proxy.Choose(func(r *http.Request) chtest.Fault {
		if chtest.IsInsert(r) {
			return chtest.Refuse
		}
		return chtest.Pass
	})
	opt := knowing
	opt.MaxBytes, opt.SegmentBytes = 4<<20, 1<<20
	g := startWith(t, e.OpenAt(t, proxy.Addr(), chtest.Database(t)), Options{}, opt)
	id, key := g.tenant("acme", auth.NewTenant{})
	_, flood := g.tenant("flood", auth.NewTenant{})
	_, flood2 := g.tenant("flood2", auth.NewTenant{})
	ways := g.ways(spans(0))
	acked, refused := ways["http-protobuf"], g.ways(spans(1))["http-protobuf"]
	if _, err := acked(key); err != nil {
		t.Fatal(err)
	}
	client := plogotlp.NewGRPCClient(g.dial())
	for i, full := 0, 0; full < 2; i++ { // each has its half
		if _, err := client.Export(withKey(t.Context(), []string{flood, flood2}[full]), bulk(i)); err != nil {
			full++
		}
	}
	if _, err := refused(key); err == nil || !strings.Contains(err.Error(), "503") {
		t.Errorf("a new request at a full log: %v, want 503", err)
	}
	if _, err := acked(key); err != nil {
		t.Errorf("an acked request at a full log: %v, want it known", err)
	}
	proxy.Choose(func(*http.Request) chtest.Fault { return chtest.Pass })
	g.wantOnce("acked before the log was full", id, 0)
	timetest.Eventually(t, "room in the log", func() bool { _, err := refused(key); return err == nil })
	if p, err := refused(key); err != nil || p.RejectedSpans() != 1 {
		t.Errorf("the refused request, acked by now: %d rejected, %v", p.RejectedSpans(), err)
	}
	if n, bill := g.rows(schema.Traces, id), g.billed(id); n != 5 || bill.Requests != 2 {
		t.Errorf("%d rows, billed %+v, want 5 of 2 requests", n, bill)
	}
}

// bulk is the i-th of different requests of logs that do not compress.
func bulk(i int) plogotlp.ExportRequest {
	req := logs(500)
	records := req.Logs().ResourceLogs().At(0).ScopeLogs().At(0).LogRecords()
	text := make([]byte, 200)
	rng := rand.New(rand.NewPCG(uint64(i), 1))
	for n := range records.Len() {
		for k := range text {
			text[k] = byte('!' + rng.IntN(90))
		}
		records.At(n).Body().SetStr(string(text))
	}
	return req
}

// TestRepetitionIsKnownAfterARestart: whether the log was flushed before or not.
func TestRepetitionIsKnownAfterARestart(t *testing.T) {
	e := chtest.Start(t)
	proxy := chtest.StartProxy(t, e.Addr())
	var away atomic.Bool
	proxy.Choose(func(r *http.Request) chtest.Fault {
		if away.Load() && chtest.IsInsert(r) {
			return chtest.Refuse
		}
		return chtest.Pass
	})
	g := startWith(t, e.OpenAt(t, proxy.Addr(), chtest.Database(t)), Options{}, knowing)
	id, key := g.tenant("acme", auth.NewTenant{})
	waitID, waitKey := g.tenant("globex", auth.NewTenant{})
	send := func(key string) {
		t.Helper()
		if p, err := g.ways(spans(1))["grpc"](key); err != nil || p.RejectedSpans() != 1 {
			t.Errorf("%d rejected, %v, want 1", p.RejectedSpans(), err)
		}
	}
	send(key)
	g.flushed()
	away.Store(true)
	send(waitKey)
	for range 2 {
		g = g.restart()
		send(key)
		send(waitKey)
		if n := g.outcomes("repeated"); n != 2 {
			t.Errorf("%v requests were known, want 2", n)
		}
	}
	away.Store(false)
	g.wantOnce("flushed before", id, 1)
	g.wantOnce("flushed after", waitID, 1)
}

// TestRepetitionAtASpentLimitIsAnswered: what was acked was paid for, under every policy, after a restart too. It debits
// nothing; what is new is refused as ever.
func TestRepetitionAtASpentLimitIsAnswered(t *testing.T) {
	g := startKnowing(t)
	raw := encode(t, spans(0), protobuf)
	limit := int64(len(raw))
	type sender struct{ id, key string }
	senders := map[tenant.Policy]sender{}
	for _, policy := range []tenant.Policy{tenant.Refuse, tenant.Drop, tenant.Sample, tenant.Bill} {
		id, key := g.tenant(string(policy), auth.NewTenant{DailyBytes: &limit, AtLimit: policy})
		senders[policy] = sender{id, key}
		if _, err := g.ways(spans(0))["grpc"](key); err != nil {
			t.Fatalf("%s: %v", policy, err)
		}
	}
	for range 2 {
		for policy, s := range senders {
			for _, way := range []string{"grpc-gzip", "http-protobuf", "http-protobuf-gzip"} {
				if p, err := g.ways(spans(0))[way](s.key); err != nil || p.RejectedSpans() != 0 {
					t.Errorf("%s, %s: %d rejected, %v", policy, way, p.RejectedSpans(), err)
				}
			}
			g.wantOnce(string(policy), s.id, 0)
			if bill := g.billed(s.id); bill.BilledBytes != limit || bill.OverageBytes != 0 || bill.UnbilledBytes != 0 || bill.RefusedRequests != 0 {
				t.Errorf("%s: billed %+v, want %d bytes and nothing else", policy, bill, limit)
			}
		}
		g = g.restart()
	}
	if _, err := g.ways(spans(1))["http-protobuf"](senders[tenant.Refuse].key); err == nil || !strings.Contains(err.Error(), "429") {
		t.Errorf("a new request: %v, want 429", err)
	}
}

// TestTenantThatKeepsResendsIsStoredEachTime, from the moment that it is set, and is recognised again once it is not; its
// child has its own setting.
func TestTenantThatKeepsResendsIsStoredEachTime(t *testing.T) {
	g := startKnowing(t)
	id, key := g.tenant("acme", auth.NewTenant{KeepResends: true})
	childID, childKey := g.tenant("acme-dev", auth.NewTenant{Parent: "acme"})
	ways := g.ways(spans(0))
	send := func(key string) {
		t.Helper()
		for _, way := range []string{"grpc", "http-protobuf"} {
			if _, err := ways[way](key); err != nil {
				t.Errorf("%s: %v", way, err)
			}
		}
	}
	want := func(requests int64) {
		t.Helper()
		if n, bill := g.rows(schema.Traces, id), g.billed(id); n != uint64(3*requests) || bill.Requests != requests {
			t.Errorf("%d rows, billed %+v, want those of %d requests", n, bill, requests)
		}
	}
	set := func(keep bool) {
		t.Helper()
		if _, err := g.directory.Tenants().Set(t.Context(), g.operator, "acme", auth.Patch{KeepResends: &keep}); err != nil {
			t.Fatal(err)
		}
	}
	send(key)
	send(childKey)
	want(2)
	g.wantOnce("child", childID, 0)
	set(false)
	send(key) // the first one is new: nothing was remembered of those before
	want(3)
	set(true)
	send(key)
	want(5)
	if n := g.outcomes("repeated"); n != 2 {
		t.Errorf("%v were counted as repeated, want the child's and one of the parent's", n)
	}
}

func TestSpentLimitReadsBodiesOnlyAfterAnAck(t *testing.T) {
	now := time.Unix(1_700_000_000, 0)
	a := newAcks(time.Minute, now)
	acme := someTenant(t)
	want := func(what string, want bool) {
		t.Helper()
		if got := a.may(acme, now); got != want {
			t.Errorf("%s: %v, want %v", what, got, want)
		}
	}
	want("at the start", true) // an earlier process may have acked it
	now = now.Add(2 * time.Minute)
	want("without an ack", false)
	a.note(acme, now)
	want("after an ack", true)
	now = now.Add(2*time.Minute - 1)
	want("a moment before two windows", true)
	now = now.Add(1)
	want("after two windows", false)
	if a.note(acme, now.Add(time.Hour)); len(a.last) != 1 {
		t.Errorf("%d tenants are remembered, want 1", len(a.last))
	}
	off := newAcks(0, now)
	if off.note(acme, now); off.may(acme, now) || len(off.last) > 0 {
		t.Error("without a window bodies are read at a spent limit")
	}
}
