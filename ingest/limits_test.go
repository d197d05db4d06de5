package ingest

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"go.opentelemetry.io/collector/pdata/plog/plogotlp"
	"google.golang.org/grpc/codes"

	"github.com/headgate-io/headgate/internal/chtest"
	"github.com/headgate-io/headgate/internal/tenant"
	"github.com/headgate-io/headgate/internal/timetest"
	"github.com/headgate-io/headgate/storage"
)

// limitCase is one kind of limit that refuses a request of logs, of a tenant's; keys' and parents' differ in names alone.
type limitCase struct {
	name    string
	kind    tenant.Kind
	daily   int64
	bounds  []tenant.Bound
	records int  // of each request
	passes  bool // the first request, not the second
	stored  int64
	// What the refusal says: before the body is read, which may be for any request, and after.
	early, late   time.Duration
	text          string // with what, and how much for who may know
	policy, limit string
}

// limitCases are all kinds of limits. size is of a request of one record.
func limitCases(size int64, now time.Time) []limitCase {
	midnight := now.Truncate(24*time.Hour).AddDate(0, 0, 1)
	untilReset := (midnight.Sub(now) + time.Second - 1).Truncate(time.Second)
	resets, t := " reached: %sresets "+midnight.Format(time.RFC3339), int64(untilReset.Seconds())
	day := func(name, what string, limit int64, text string) limitCase {
		used := min(size, limit)
		return limitCase{name: name, kind: tenant.DailyBytes, daily: tenant.Unlimited, records: 1, passes: used > 0, early: untilReset, late: untilReset,
			text:   text + strings.ReplaceAll(resets, "%s", fmt.Sprintf("«used %d of %d, »", used, limit)),
			policy: fmt.Sprintf(`"daily§%s";q=%d;w=86400;qu="content-bytes"`, what, limit), limit: fmt.Sprintf(`"daily§%s";r=%d;t=%d`, what, limit-used, t)}
	}
	spent, room := day("day", "", size, "daily byte limit"), day("day, with room for less", "", size+5, "daily byte limit")
	shut, logs := day("day, shut", "", 0, "daily byte limit"), day("day of a signal", "-logs", size, "daily byte limit for logs")
	spent.daily, room.daily, shut.daily = size, size+5, 0
	logs.bounds = []tenant.Bound{{Kind: tenant.DailyBytes, Signal: "logs", Max: size}}
	return []limitCase{
		spent, room, shut, logs,
		{name: "bytes per second", kind: tenant.BytesPerSecond, bounds: []tenant.Bound{{Kind: tenant.BytesPerSecond, Max: 1000, Burst: size}},
			records: 1, passes: true, early: time.Millisecond, late: time.Duration(size) * time.Millisecond,
			text:   "limit of bytes per second reached: «at most 1000, »try again in 1s",
			policy: `"bytes-per-second§";q=1000;w=1;qu="content-bytes"`, limit: `"bytes-per-second§";r=0;t=1`},
		{name: "bytes per second of a signal, slow", kind: tenant.BytesPerSecond, bounds: []tenant.Bound{{Kind: tenant.BytesPerSecond, Signal: "logs", Max: 1}},
			records: 1, passes: true, early: time.Duration(size) * time.Second, late: time.Duration(size) * time.Second,
			text:   fmt.Sprintf("limit of bytes per second for logs reached: «at most 1, »try again in %v", time.Duration(size)*time.Second),
			policy: `"bytes-per-second§-logs";q=1;w=1;qu="content-bytes"`, limit: fmt.Sprintf(`"bytes-per-second§-logs";r=0;t=%d`, size)},
		{name: "requests per second", kind: tenant.RequestsPerSecond, bounds: []tenant.Bound{{Kind: tenant.RequestsPerSecond, Max: 4, Burst: 1}},
			records: 1, passes: true, early: 250 * time.Millisecond, late: 250 * time.Millisecond,
			text:   "limit of requests per second reached: «at most 4, »try again in 1s",
			policy: `"requests-per-second§";q=4;w=1;qu="requests"`, limit: `"requests-per-second§";r=0;t=1`},
		{name: "records per request", kind: tenant.RecordsPerRequest, bounds: []tenant.Bound{{Kind: tenant.RecordsPerRequest, Max: 1}}, records: 2,
			text: "limit of records per request: «2 records, at most 1 are accepted; »send smaller batches"},
		{name: "requests in flight", kind: tenant.InFlightRequests, bounds: []tenant.Bound{{Kind: tenant.InFlightRequests, Max: 0}},
			records: 1, early: time.Second, late: time.Second, text: "limit of requests in flight reached: «0 of 0, »try again in 1s",
			policy: `"in-flight-requests§";q=0;qu="concurrent-requests"`, limit: `"in-flight-requests§";r=0;t=1`},
		{name: "stored bytes", kind: tenant.StorageBytes, bounds: []tenant.Bound{{Kind: tenant.StorageBytes, Max: 100}}, stored: 107,
			records: 1, early: 10 * time.Minute, late: 10 * time.Minute,
			text:   "limit of stored bytes reached: «107 of 100 are kept; »delete data or wait for it to expire",
			policy: `"storage-bytes§";q=100;qu="content-bytes"`, limit: `"storage-bytes§";r=0;t=600`},
	}
}

// of is what the refusal is when the limit is an owner's. What stands between guillemets is for who may know, and § is where a
// key is named.
//
// SECURITY: of a parent no number is told, nor how it is limited.
func (c limitCase) of(owner tenant.Owner) (text, id, policy, limit string) {
	id, text = "limit-"+string(c.kind), c.text
	named := strings.NewReplacer("§", "", "«", "", "»", "")
	switch owner {
	case tenant.OwnerKey:
		id += "-key"
		named = strings.NewReplacer("§", "-key", "«", "", "»", "")
	case tenant.OwnerParent:
		id += "-parent"
		before, after, _ := strings.Cut(text, "«")
		_, after, _ = strings.Cut(after, "»")
		what, rest, _ := strings.Cut(before+after, ":")
		what, reached := strings.CutSuffix(what, " reached")
		if what += " of a parent organization"; reached {
			what += " reached"
		}
		return what + ":" + rest + " (" + id + ")", id, "", ""
	}
	return named.Replace(text) + " (" + id + ")", id, named.Replace(c.policy), named.Replace(c.limit)
}

// TestEveryLimitRefusesOnEveryTransport: with its status, its id, its numbers where they may be known, the exact time to come
// again, and without a trace in what is counted.
func TestEveryLimitRefusesOnEveryTransport(t *testing.T) {
	for name, window := range map[string]time.Duration{"before the body is read": 0, "after the body is read": time.Minute} {
		t.Run(name, func(t *testing.T) { testEveryLimitRefuses(t, window) })
	}
}

// testEveryLimitRefuses with a window in which requests are known again: then bodies are read at a spent limit.
func testEveryLimitRefuses(t *testing.T, window time.Duration) {
	clock := newHandClock()
	conn := chtest.Start(t).Open(t, chtest.Database(t))
	g := startWith(t, conn, Options{Now: clock.now}, storage.LogOptions{Window: window, MaxDelay: 10 * time.Millisecond})
	size := int64(len(encode(t, logs(1), protobuf)))
	cases, senders := limitCases(size, clock.now()), g.senders()
	keys, stored := map[string]string{}, map[string]int64{}
	each := func(do func(c limitCase, owner tenant.Owner, sender, key string)) {
		for i, c := range cases {
			for _, owner := range []tenant.Owner{tenant.OwnerKey, tenant.OwnerTenant, tenant.OwnerParent} {
				if c.kind == tenant.StorageBytes && owner == tenant.OwnerKey {
					continue // keys keep nothing
				}
				for sender := range senders {
					name := fmt.Sprint("t", i, "-", owner, "-", strings.NewReplacer(" ", "-", "/", "-").Replace(sender))
					do(c, owner, sender, name)
				}
			}
		}
	}
	each(func(c limitCase, owner tenant.Owner, _, name string) {
		daily := int64(tenant.Unlimited)
		if c.kind == tenant.DailyBytes {
			daily = c.daily
		}
		keys[name] = g.limited(name, owner, daily, c.bounds...)
		for _, l := range g.principal(keys[name]).Chain() {
			if l.Owner == owner && c.stored > 0 {
				stored[l.ID] = c.stored
			}
		}
	})
	g.server.receiver.Meter.SetStorage(stored)
	each(func(c limitCase, owner tenant.Owner, sender, name string) {
		what, key, send := fmt.Sprintf("%s of a %s, %s", c.name, owner, sender), keys[name], senders[sender]
		if c.passes {
			if got := send(key, logs(c.records)); got.code != codes.OK || owner == tenant.OwnerParent && got.policy+got.limit+got.message != "" {
				t.Errorf("%s: the first: %+v", what, got)
			}
		}
		before := g.counted(key)
		again := logs(c.records)
		again.Logs().ResourceLogs().At(0).ScopeLogs().At(0).LogRecords().At(0).Body().SetStr("order plaCed") // not the first again
		got, want := send(key, again), told{code: codes.ResourceExhausted, delay: c.late}
		if window == 0 {
			want.delay = c.early
		}
		if sender != "grpc" {
			if want.http = http.StatusTooManyRequests; want.delay > 0 {
				want.retryAfter = strconv.FormatInt(int64((want.delay+time.Second-1)/time.Second), 10)
			} else {
				want.http = http.StatusRequestEntityTooLarge
			}
		}
		want.text, _, want.policy, want.limit = c.of(owner)
		if got != want {
			t.Errorf("%s:\n got %+v\nwant %+v", what, got, want)
		}
		checkQuotaFields(t, got.policy, got.limit)
		if after := g.counted(key); after != before {
			t.Errorf("%s: counted before\n%s\nand after\n%s", what, before, after)
		}
	})
}

// TestRequestsInFlightAreHeldToTheirLimit from their head on, on each transport, until they end.
func TestRequestsInFlightAreHeldToTheirLimit(t *testing.T) {
	g := start(t, Options{Now: newHandClock().now})
	hold := map[string]func(key string) (end func()){
		"http": func(key string) func() { c := stall(t, g, key, 64<<10); return func() { _ = c.Close() } },
		"grpc": func(key string) func() {
			body, more := io.Pipe()
			ctx, cancel := context.WithCancel(within(t))
			done := make(chan struct{})
			go func() {
				defer close(done)
				_, _ = tryGRPC(ctx, http2Client(t), "http://"+g.grpc, body, "key", key)
			}()
			if _, err := more.Write([]byte{0, 0}); err != nil {
				t.Fatal(err)
			}
			return func() { cancel(); _ = more.Close(); <-done }
		},
	}
	senders := g.senders()
	for _, owner := range []tenant.Owner{tenant.OwnerKey, tenant.OwnerTenant} {
		for kind, begin := range hold {
			key := g.limited(fmt.Sprint(kind, "-", owner), owner, tenant.Unlimited, tenant.Bound{Kind: tenant.InFlightRequests, Max: 2})
			var ends []func()
			for i := range 2 {
				ends = append(ends, begin(key))
				timetest.Eventually(t, "it is in flight", func() bool { return g.flying(key) == int64(i+1) })
			}
			for name, send := range senders {
				got := send(key, logs(1))
				if got.code != codes.ResourceExhausted || got.delay != time.Second || !strings.HasPrefix(got.text, "limit of requests in flight reached: 2 of 2, try again in 1s (limit-in-flight-requests") {
					t.Errorf("%s beside two over %s: %+v", name, kind, got)
				}
				if quota, left, after := checkQuotaFields(t, got.policy, got.limit); quota != 2 || left != 0 || after != 1 {
					t.Errorf("%s: %s, %s", name, got.policy, got.limit)
				}
			}
			ends[0]()
			timetest.Eventually(t, "one has ended", func() bool { return g.flying(key) == 1 })
			for name, send := range senders {
				if got := send(key, logs(1)); got.code != codes.OK {
					t.Errorf("%s beside one over %s: %+v", name, kind, got)
				}
			}
			ends[1]()
			timetest.Eventually(t, "both have ended", func() bool { return g.flying(key) == 0 })
		}
	}
}

// TestLaterRefusalsGiveBackWhatWasHeld: a request that fits all limits and is then refused, for what is in it or because the
// log is full, was never counted.
func TestLaterRefusalsGiveBackWhatWasHeld(t *testing.T) {
	e := chtest.StartOwn(t, chtest.Options(t.TempDir()))
	if err := e.Open(t, "").Exec(t.Context(), "CREATE DATABASE outage"); err != nil {
		t.Fatal(err)
	}
	g := startWith(t, e.Open(t, "outage"), Options{Now: newHandClock().now}, storage.LogOptions{MaxBytes: 4 << 20, SegmentBytes: 1 << 20})
	every := []tenant.Bound{
		{Kind: tenant.DailyBytes, Signal: "logs", Max: 1 << 40}, {Kind: tenant.BytesPerSecond, Max: 1 << 20, Burst: 1 << 40},
		{Kind: tenant.RequestsPerSecond, Max: 10, Burst: 1 << 20}, {Kind: tenant.RecordsPerRequest, Max: 1 << 20}, {Kind: tenant.InFlightRequests, Max: 100},
	}
	var keys []string
	for _, owner := range []tenant.Owner{tenant.OwnerKey, tenant.OwnerTenant, tenant.OwnerParent} {
		keys = append(keys, g.limited("t-"+string(owner), owner, 1<<40, every...))
	}
	unchanged := func(what, key string, refuse func() bool) {
		t.Helper()
		before := g.counted(key)
		if !refuse() {
			t.Errorf("%s: not refused as it should be", what)
		}
		if after := g.counted(key); after != before {
			t.Errorf("%s: counted before\n%s\nand after\n%s", what, before, after)
		}
	}
	garbage, noise := []byte("\x0a\x03\x12\x05x"), make([]byte, 2<<20)
	for i := range noise {
		noise[i] = byte(rand.Uint32())
	}
	large := plogotlp.NewExportRequest()
	large.Logs().ResourceLogs().AppendEmpty().ScopeLogs().AppendEmpty().LogRecords().AppendEmpty().Body().SetEmptyBytes().FromRaw(noise)
	senders := g.senders()
	for _, key := range keys {
		for name, send := range senders { // so that there is something to change
			if got := send(key, logs(2)); got.code != codes.OK {
				t.Errorf("%s: %+v", name, got)
			}
			unchanged(name+", rows that no log takes", key, func() bool {
				return strings.Contains(send(key, large).text, "(too-large)")
			})
		}
		unchanged("garbage over http", key, func() bool {
			a := g.post("/v1/logs", bytes.NewReader(garbage), "key", key, "Content-Type", protoType)
			return a.status == 400 && strings.Contains(string(a.body), "(undecodable)")
		})
		unchanged("garbage over grpc", key, func() bool {
			a := callGRPC(t, "http://"+g.grpc, bytes.NewReader(prefixed(0, garbage)), "key", key)
			return a.code == codes.InvalidArgument && strings.Contains(a.message, "(undecodable)")
		})
	}
	if err := syscall.Kill(e.PID(), syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	e.Stop()
	for full := 0; full < len(keys); { // a tenant's part is full before the log is
		full = 0
		for _, key := range keys {
			if senders["grpc"](key, logs(2000)).code == codes.Unavailable {
				full++
			}
		}
	}
	for _, key := range keys {
		for name, send := range senders {
			unchanged(name+", a full log", key, func() bool { return strings.HasSuffix(send(key, logs(2000)).text, "(unavailable)") })
		}
	}
}
